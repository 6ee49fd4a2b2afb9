package simstore

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// Config configures a [Store]. The zero value works.
type Config struct {
	// Clock gives the time of events that have none, and judges leases.
	// time.Now by default. It is called concurrently.
	Clock func() time.Time
	// LogDelay is how long the log lags behind appends; none by default. It is
	// measured with timers, not with Clock.
	LogDelay time.Duration
	// Seed decides which calls a fault with a probability hits. The same seed
	// hits the same calls, counted per fault in the order of their arrival.
	Seed uint64
	// Faults are injected from the start, see [Store.Inject].
	Faults []Fault
}

// A Store is an event store in memory. It is safe for concurrent use.
type Store struct {
	log memoryLog

	cfgClock func() time.Time // nil for the system's
	closed   atomic.Bool
	faults   injector
	works    sync.Pool // *work

	seed   maphash.Seed
	shards [shardCount]shard

	// appends holds the results of appends with an id. Its lock is held during
	// the whole of such an append and comes before those of the shards.
	appendsMu sync.Mutex
	appends   map[eventstore.AppendID]eventstore.AppendResult

	snapshots   Snapshots
	checkpoints table[projection.CheckpointKey, projection.Checkpoint]
	leases      table[string, lease]
	models      readModels
	letters     table[letterScope, mailbox]
	rows        table[string, projection.Row]
}

var (
	_ eventstore.EventStore = (*Store)(nil)
	_ eventstore.Streams    = (*Store)(nil)
	_ projection.Backend    = (*Store)(nil)
)

// New returns an empty store. It panics, naming the field, on a configuration
// that makes no sense.
func New(cfg Config) *Store {
	if cfg.LogDelay < 0 {
		panic(fmt.Sprintf("simstore: Config.LogDelay is negative: %s", cfg.LogDelay))
	}
	s := &Store{
		cfgClock: cfg.Clock,
		seed:     maphash.MakeSeed(),
		appends:  map[eventstore.AppendID]eventstore.AppendResult{},
	}
	s.log.delay = cfg.LogDelay
	s.faults.seed = cfg.Seed
	s.snapshots.store = s
	s.models.codec = eventstore.NewBSONCodec()
	for i, f := range cfg.Faults {
		if m := f.mistake(); m != "" {
			panic(fmt.Sprintf("simstore: Config.Faults[%d].%s", i, m))
		}
		s.faults.add(f)
	}
	return s
}

// Close closes the store: operations under way that wait, and all later ones,
// end with [eventstore.ErrClosed]. It may be called more than once and returns
// nil.
func (s *Store) Close() error {
	s.closed.Store(true)
	s.log.wake()
	return nil
}

// HoldLog stops the log where it is: later appends are committed, and not in the
// log until release is called. Holds add up. release may be called more than
// once.
func (s *Store) HoldLog() (release func()) {
	s.log.hold()
	return sync.OnceFunc(s.log.release)
}

// clock gives the time.
func (s *Store) clock() time.Time {
	if s.cfgClock == nil {
		return time.Now()
	}
	return s.cfgClock()
}

// Snapshots returns the store's snapshots.
func (s *Store) Snapshots() *Snapshots { return &s.snapshots }

// ready is the first step of every operation.
func (s *Store) ready(ctx context.Context) error {
	if s.closed.Load() {
		return eventstore.ErrClosed
	}
	return ctx.Err()
}

// begin is the first step of every operation that neither appends nor reads
// events: those treat faults in their own way.
func (s *Store) begin(ctx context.Context, op Op, stream eventstore.StreamID) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if !s.faults.active() {
		return nil
	}
	f, err := s.faults.meet(ctx, op, stream)
	if err != nil {
		return err
	}
	if f != nil {
		return f.unavailable(op)
	}
	return s.ready(ctx) // a delay may have passed
}

// A table is a map with a lock.
type table[K comparable, V any] struct {
	mu   sync.Mutex
	rows map[K]V
}

// update hands the row of a key to fn, and keeps what fn changed it to.
func (t *table[K, V]) update(key K, fn func(row *V)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	row := t.rows[key]
	fn(&row)
	if t.rows == nil {
		t.rows = map[K]V{}
	}
	t.rows[key] = row
}
