package mongostore

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/eventstore"
)

var (
	_ eventstore.EventStore = (*Store)(nil)
	_ eventstore.Streams    = (*Store)(nil)
)

// A Store is an event store on MongoDB. [Open] makes one; it is safe for
// concurrent use.
type Store struct {
	*shared
	*binding
}

// shared is what of a store is the same on every client.
type shared struct {
	bindings
	cfg   Config
	heads *heads
	// appended is Config.Hooks.Appends.
	appended *appendsHook
	ids      *objectIDs
	groups   *grouper
	tail     *tail
	follow   *follower
	logger   *slog.Logger

	// observed is the latest operation time that a reply to this store carried.
	// Reads ask for a state no older, so that a store sees its own writes even
	// when another server has become primary since.
	observed atomic.Uint64

	answer time.Duration // see answerTime

	// life ends with Close; what the store runs on its own account runs in it.
	life   context.Context
	end    context.CancelFunc
	work   sync.WaitGroup
	closed atomic.Bool
}

// Open returns a store on a client that is connected, after checking that the
// server is a replica set or sharded, is new enough, and holds what [Migrate]
// makes. The client remains the caller's, to be disconnected after
// [Store.Close]; [Store.Rebind] moves the store to another one.
//
// Errors: [eventstore.ErrInvalid] for a server or database that cannot be used,
// with what to do about it; an [*Error] when the server could not be asked.
func Open(ctx context.Context, client *mongo.Client, cfg Config) (*Store, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if client == nil {
		return nil, errNoClient()
	}
	c := collectionsOf(client, cfg)
	if err := check(ctx, client, &c); err != nil {
		return nil, err
	}
	known, err := newHeads(cfg.Heads)
	if err != nil {
		return nil, err
	}
	ids, err := newObjectIDs()
	if err != nil {
		return nil, err
	}
	s := (&shared{
		cfg:      cfg,
		heads:    known,
		appended: &appendsHook{call: cfg.Hooks.Appends},
		ids:      ids,
		tail:     newTail(cfg.RecentEntries),
		logger:   cfg.Logger.With(slog.String("database", cfg.Database)),
	}).bind(client, c)
	s.current.Store(s)
	s.answer = answerTime
	s.life, s.end = context.WithCancel(context.WithoutCancel(ctx))
	s.groups = newGrouper(s)
	s.follow = newFollower(s)
	if cfg.Sequencing == Always {
		s.follow.start()
	}
	return s, nil
}

func errNoClient() error {
	return &eventstore.InvalidError{What: "client", Reason: "is nil; connect one with mongo.Connect or client.Connect"}
}

// Close ends all reads and subscriptions with [eventstore.ErrClosed], waits for
// appends that are being written, and gives up the sequencer's lease. When ctx
// ends first it stops waiting and returns the context's error; what was going on
// ends soon after. It may be called again.
func (s *Store) Close(ctx context.Context) error {
	s.closed.Store(true)
	s.groups.close()
	idle := make(chan struct{})
	go func() {
		s.groups.wait()
		s.end()
		s.work.Wait()
		close(idle)
	}()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		s.end()
		return ctx.Err()
	}
}

// ready reports why an operation cannot start.
func (s *Store) ready(ctx context.Context) error {
	if s.closed.Load() {
		return eventstore.ErrClosed
	}
	return ctx.Err()
}

// failed turns the error of an operation into what its caller is told: the
// context's error when that is why, ErrClosed when the store was closed
// meanwhile.
func (s *Store) failed(ctx context.Context, op string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded) && nearDeadline(ctx):
		<-ctx.Done() // the driver gives up a little earlier
		return ctx.Err()
	case s.closed.Load() && (errors.Is(err, context.Canceled) || errors.Is(err, mongo.ErrClientDisconnected)):
		return eventstore.ErrClosed
	}
	return wrap(op, err)
}

func nearDeadline(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < 100*time.Millisecond
}

// bounded returns a context that ends with ctx and with the store.
func (s *Store) bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	stop := context.AfterFunc(s.life, cancel)
	return ctx, func() { stop(); cancel() }
}

// session starts a session that sees everything this store has seen.
func (s *Store) session() (*mongo.Session, error) {
	sess, err := s.client.StartSession()
	if err != nil {
		return nil, err
	}
	if t := unpackTime(s.observed.Load()); !t.IsZero() {
		if err := sess.AdvanceOperationTime(&t); err != nil {
			return nil, err
		}
	}
	return sess, nil
}

// reading returns a context for reading: within the caller's transaction when
// there is one, else in a session of its own, which done ends.
func (s *Store) reading(ctx context.Context) (_ context.Context, done func(), err error) {
	if inTransaction(ctx) {
		return ctx, func() {}, nil
	}
	sess, err := s.session()
	if err != nil {
		return nil, nil, err
	}
	return mongo.NewSessionContext(ctx, sess), func() {
		s.observe(sess)
		sess.EndSession(context.WithoutCancel(ctx))
	}, nil
}

// observe notes the time of a session's last operation.
func (s *Store) observe(sess *mongo.Session) { s.observeTime(timeOf(sess)) }

func (s *Store) observeTime(t bson.Timestamp) {
	for v := packTime(t); ; {
		old := s.observed.Load()
		if v <= old || s.observed.CompareAndSwap(old, v) {
			return
		}
	}
}

func packTime(t bson.Timestamp) uint64 { return uint64(t.T)<<32 | uint64(t.I) }

func unpackTime(v uint64) bson.Timestamp { return bson.Timestamp{T: uint32(v >> 32), I: uint32(v)} }

// inTransaction reports whether ctx carries a transaction of the caller's.
func inTransaction(ctx context.Context) bool {
	sess := mongo.SessionFromContext(ctx)
	return sess != nil && sess.TransactionRunning()
}

// pause waits before an attempt, longer with each, and reports whether there is
// time for it.
func pause(ctx context.Context, attempt int, longest time.Duration) bool {
	return sleep(ctx, jitter(min(2*time.Millisecond<<min(attempt, 10), longest)))
}

// sleep reports whether ctx let it.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
