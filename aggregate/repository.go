package aggregate

import (
	"context"
	"fmt"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/snapshot"
)

// A Store is what a repository needs of an event store.
type Store interface {
	eventstore.Appender
	eventstore.StreamReader
}

// A Repository loads aggregates of one category and runs commands on them. It is
// safe for concurrent use.
type Repository[S, C, E any] struct {
	store    Store
	registry *eventstore.Registry
	decider  Decider[S, C, E]
	cfg      Config[S]
	cache    *lru.Cache[eventstore.StreamID, loaded[S]] // nil without one
}

// NewRepository returns a repository on a store. The registry must hold all
// event types of the aggregate. A configuration that makes no sense is an error
// that names its fields.
func NewRepository[S, C, E any](store Store, registry *eventstore.Registry, d Decider[S, C, E], cfg Config[S]) (*Repository[S, C, E], error) {
	if store == nil || registry == nil || d.Decide == nil || d.Evolve == nil {
		return nil, &eventstore.InvalidError{What: "repository", Reason: "needs a store, a registry and a decider with Decide and Evolve"}
	}
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	r := &Repository[S, C, E]{store: store, registry: registry, decider: d, cfg: cfg}
	if cfg.CacheSize > 0 {
		if r.cache, err = lru.New[eventstore.StreamID, loaded[S]](cfg.CacheSize); err != nil {
			return nil, err
		}
	}
	return r, nil
}

// NewRootRepository is [NewRepository] for a root: its commands are functions
// that call the root's methods.
func NewRootRepository[R Rooted[E], E any](store Store, registry *eventstore.Registry, newRoot func() R, cfg Config[R]) (*Repository[R, func(R) error, E], error) {
	return NewRepository(store, registry, FromRoot[R, E](newRoot), cfg)
}

// Stream returns the name of the stream of the aggregate with a key.
func (r *Repository[S, C, E]) Stream(key string) eventstore.StreamID {
	return eventstore.NewStreamID(r.cfg.Category, key)
}

// A Loaded is an aggregate as it was when it was loaded.
type Loaded[S any] struct {
	State S
	// Version is the version of the last event folded into State, zero when the
	// stream has none.
	Version eventstore.Version
}

// Load returns the state of the aggregate with a key; the initial state at
// version 0 when it has no events. The state belongs to the caller.
func (r *Repository[S, C, E]) Load(ctx context.Context, key string) (Loaded[S], error) {
	l, err := r.load(ctx, r.Stream(key))
	if err != nil {
		return Loaded[S]{}, err
	}
	return Loaded[S]{State: l.state, Version: l.version}, nil
}

// loaded is a state and what the cache and the snapshot policy want to know of
// it.
type loaded[S any] struct {
	state    S
	version  eventstore.Version
	lastSnap eventstore.Version
	snapTime time.Time
	cached   bool // state came from the cache
	read     int  // events read from the store
	took     time.Duration
}

func (r *Repository[S, C, E]) load(ctx context.Context, stream eventstore.StreamID) (loaded[S], error) {
	start := r.cfg.Now()
	l, err := r.fromCache(ctx, stream)
	if err == nil && l == nil {
		l, err = r.fromStore(ctx, stream)
	}
	if err != nil {
		return loaded[S]{}, fmt.Errorf("load %q: %w", stream, err)
	}
	l.took = r.cfg.Now().Sub(start)
	if !l.cached || l.read > 0 {
		r.keep(stream, *l)
	}
	return *l, nil
}

// fromCache returns the cached state brought up to date, or nil. It reads from
// the last event that the state includes: if that is gone, the stream was
// deleted or truncated meanwhile and the state is not trusted.
func (r *Repository[S, C, E]) fromCache(ctx context.Context, stream eventstore.StreamID) (*loaded[S], error) {
	if r.cache == nil {
		return nil, nil
	}
	l, ok := r.cache.Get(stream)
	if !ok || l.version == 0 {
		return nil, nil
	}
	known, intact := l.version, false
	l.state, l.read, l.cached = r.copied(l.state), 0, true
	for e, err := range r.store.ReadStream(ctx, stream, eventstore.StreamQuery{From: known}) {
		if err != nil {
			return nil, err
		}
		if !intact {
			if intact = e.Version == known; !intact {
				break
			}
			continue
		}
		if err := r.fold(&l, e); err != nil {
			return nil, err
		}
		l.read++
	}
	if !intact {
		r.cache.Remove(stream)
		return nil, nil
	}
	return &l, nil
}

func (r *Repository[S, C, E]) fromStore(ctx context.Context, stream eventstore.StreamID) (*loaded[S], error) {
	l := r.fromSnapshot(ctx, stream)
	if l == nil {
		l = &loaded[S]{state: r.decider.initial()}
	}
	for e, err := range r.store.ReadStream(ctx, stream, eventstore.StreamQuery{From: l.version + 1}) {
		if err != nil {
			return nil, err
		}
		if err := r.fold(l, e); err != nil {
			return nil, err
		}
		l.read++
	}
	return l, nil
}

func (r *Repository[S, C, E]) fold(l *loaded[S], e eventstore.Event) error {
	v, err := r.registry.Decode(e)
	if err != nil {
		return err
	}
	event, ok := v.(E)
	if !ok {
		return fmt.Errorf("event %d has type %s (%T), which is no event of this aggregate", e.Version, e.Type, v)
	}
	l.state = r.decider.Evolve(l.state, event)
	l.version = e.Version
	return nil
}

// keep puts a copy of a state into the cache.
func (r *Repository[S, C, E]) keep(stream eventstore.StreamID, l loaded[S]) {
	if r.cache == nil || l.version == 0 {
		return
	}
	l.state = r.copied(l.state)
	r.cache.Add(stream, l)
}

func (r *Repository[S, C, E]) copied(state S) S {
	state = r.cfg.Clone(state)
	if r.decider.renew != nil {
		r.decider.renew(state)
	}
	return state
}

// Forget drops what the cache and the snapshot store have of an aggregate. Call
// it after deleting or erasing its stream.
func (r *Repository[S, C, E]) Forget(ctx context.Context, key string) error {
	stream := r.Stream(key)
	if r.cache != nil {
		r.cache.Remove(stream)
	}
	if r.cfg.Snapshots == nil {
		return nil
	}
	if err := r.cfg.Snapshots.Delete(ctx, stream); err != nil {
		return fmt.Errorf("delete snapshots of %q: %w", stream, err)
	}
	return nil
}

// fromSnapshot returns the state of the newest snapshot, or nil. A snapshot that
// cannot be had is logged: the events are the truth.
func (r *Repository[S, C, E]) fromSnapshot(ctx context.Context, stream eventstore.StreamID) *loaded[S] {
	if r.cfg.Snapshots == nil {
		return nil
	}
	s, err := r.cfg.Snapshots.Load(ctx, snapshot.Key{Stream: stream, Schema: r.cfg.Schema})
	if err != nil {
		if !isNotFound(err) {
			r.cfg.Logger.WarnContext(ctx, "snapshot not loaded, reading the whole stream", "stream", stream, "error", err)
		}
		return nil
	}
	// Decoding into the initial state keeps what a root was set up with.
	state := r.decider.initial()
	if err := r.cfg.StateCodec.Unmarshal(s.State, &state); err != nil {
		r.cfg.Logger.WarnContext(ctx, "snapshot not decoded, reading the whole stream; was the schema version raised?",
			"stream", stream, "schema", s.Schema, "error", err)
		return nil
	}
	return &loaded[S]{state: state, version: s.Version, lastSnap: s.Version, snapTime: s.Time}
}

// saveSnapshot takes a snapshot if the policy says so. A failure is logged: the
// command has succeeded.
func (r *Repository[S, C, E]) saveSnapshot(ctx context.Context, stream eventstore.StreamID, l *loaded[S]) {
	if r.cfg.Snapshots == nil || l.version <= l.lastSnap {
		return
	}
	now := r.cfg.Now()
	facts := snapshot.Facts{
		Version: l.version, Last: l.lastSnap, LastTime: l.snapTime, Now: now, LoadTime: l.took, Loaded: l.read,
	}
	if !r.cfg.SnapshotPolicy(facts) {
		return
	}
	state, err := r.cfg.StateCodec.Marshal(l.state)
	if err == nil {
		err = r.cfg.Snapshots.Save(ctx, snapshot.Snapshot{
			Key:     snapshot.Key{Stream: stream, Schema: r.cfg.Schema},
			Version: l.version,
			Format:  r.cfg.StateCodec.Format(),
			State:   state,
			Time:    now.UTC().Truncate(time.Millisecond),
		})
	}
	if err != nil {
		r.cfg.Logger.WarnContext(ctx, "snapshot not saved", "stream", stream, "version", l.version, "error", err)
		return
	}
	l.lastSnap, l.snapTime = l.version, now
}
