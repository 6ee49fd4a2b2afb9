package aggregate_test

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore"
	"github.com/annals-es/annals/snapshot"
)

// reads counts the events that a store hands out.
type reads struct {
	*simstore.Store
	n int
}

func (r *reads) ReadStream(ctx context.Context, s eventstore.StreamID, q eventstore.StreamQuery) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		for e, err := range r.Store.ReadStream(ctx, s, q) {
			r.n++
			if !yield(e, err) {
				return
			}
		}
	}
}

func fill(t testing.TB, r repository, key string, n int) {
	t.Helper()
	for range n {
		_, err := r.Run(t.Context(), key, 1)
		require.NoError(t, err)
	}
}

func TestCacheLoadsOnlyWhatIsNew(t *testing.T) {
	t.Parallel()
	store := &reads{Store: newStore(t)}
	writer := newRepository(t, store, aggregate.Config[account]{})
	fill(t, writer, "a", 50)
	r := newRepository(t, store, aggregate.Config[account]{CacheSize: 1})
	for _, c := range []struct{ add, read int }{{0, 50}, {0, 1}, {3, 4}, {0, 1}} {
		fill(t, writer, "a", c.add)
		store.n = 0
		l, err := r.Load(t.Context(), "a")
		require.NoError(t, err)
		require.Equal(t, l.Version, eventstore.Version(l.State.Balance))
		require.Equal(t, c.read, store.n, "after %d more: the last known event and the new ones", c.add)
	}
	fill(t, writer, "b", 1)
	_, err := r.Load(t.Context(), "b")
	require.NoError(t, err)
	store.n = 0
	_, err = r.Load(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, 53, store.n, "a was the least recently used and has gone")
}

func TestCachedStatesAreNotShared(t *testing.T) {
	t.Parallel()
	r := newRepository(t, newStore(t), aggregate.Config[account]{CacheSize: 4})
	result, err := r.Run(t.Context(), "a", 5)
	require.NoError(t, err)
	result.State.Seen["in"] = 1_000_000
	l, err := r.Load(t.Context(), "a")
	require.NoError(t, err)
	l.State.Seen["in"] += 1_000_000
	l, err = r.Load(t.Context(), "a")
	require.NoError(t, err)
	require.EqualValues(t, 5, l.State.Seen["in"])
}

func TestCacheNoticesDeletionAndTruncation(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	r := newRepository(t, store, aggregate.Config[account]{CacheSize: 4})
	fill(t, r, "a", 3)
	require.NoError(t, store.Delete(t.Context(), r.Stream("a"), eventstore.Any))
	l, err := r.Load(t.Context(), "a")
	require.NoError(t, err)
	require.Zero(t, l.State.Balance)
	require.Zero(t, l.Version)
	result, err := r.Run(t.Context(), "a", 9)
	require.NoError(t, err)
	require.Equal(t, eventstore.Version(4), result.Version)
	require.EqualValues(t, 9, result.State.Balance)

	// A stream that went on after its deletion, unseen by the cache.
	other := newRepository(t, store, aggregate.Config[account]{})
	require.NoError(t, store.Delete(t.Context(), r.Stream("a"), eventstore.Any))
	fill(t, other, "a", 2)
	l, err = r.Load(t.Context(), "a")
	require.NoError(t, err)
	require.EqualValues(t, 2, l.State.Balance)

	require.NoError(t, store.Tombstone(t.Context(), r.Stream("a"), eventstore.Any))
	_, err = r.Load(t.Context(), "a")
	require.ErrorIs(t, err, eventstore.ErrTombstoned)
	_, err = r.Run(t.Context(), "a", 1)
	require.ErrorIs(t, err, eventstore.ErrTombstoned)
}

func TestSnapshotsShortenLoading(t *testing.T) {
	t.Parallel()
	store := &reads{Store: newStore(t)}
	cfg := aggregate.Config[account]{Snapshots: store.Snapshots(), SnapshotPolicy: snapshot.Every(10)}
	r := newRepository(t, store, cfg)
	fill(t, r, "a", 25)
	s, err := store.Snapshots().Load(t.Context(), snapshot.Key{Stream: r.Stream("a"), Schema: 1})
	require.NoError(t, err)
	require.Equal(t, eventstore.Version(20), s.Version)

	store.n = 0
	l, err := newRepository(t, store, cfg).Load(t.Context(), "a")
	require.NoError(t, err)
	require.EqualValues(t, 25, l.State.Balance)
	require.EqualValues(t, 25, l.State.Seen["in"])
	require.Equal(t, 5, store.n)

	cfg.Schema = 2
	store.n = 0
	_, err = newRepository(t, store, cfg).Load(t.Context(), "a")
	require.NoError(t, err)
	require.Equal(t, 25, store.n, "a snapshot of another schema version is ignored")

	require.NoError(t, r.Forget(t.Context(), "a"))
	_, err = store.Snapshots().Load(t.Context(), snapshot.Key{Stream: r.Stream("a"), Schema: 1})
	require.ErrorIs(t, err, snapshot.ErrNotFound)
}

func TestSnapshotFailuresAreLoggedOnly(t *testing.T) {
	t.Parallel()
	for name, break_ := range map[string]func(*simstore.Store, *snapshot.Store){
		"load fails": func(s *simstore.Store, _ *snapshot.Store) {
			s.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpLoadSnapshot}, Kind: simstore.Unavailable})
		},
		"save fails": func(s *simstore.Store, _ *snapshot.Store) {
			s.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpSaveSnapshot}, Kind: simstore.Unavailable})
		},
		"garbage": func(_ *simstore.Store, s *snapshot.Store) { *s = garbage{*s} },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var log bytes.Buffer
			store := newStore(t)
			var snapshots snapshot.Store = store.Snapshots()
			break_(store, &snapshots)
			r := newRepository(t, store, aggregate.Config[account]{
				Snapshots: snapshots, SnapshotPolicy: snapshot.Every(1),
				Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			fill(t, r, "a", 3)
			l, err := r.Load(t.Context(), "a")
			require.NoError(t, err)
			require.EqualValues(t, 3, l.State.Balance)
			require.Contains(t, log.String(), "snapshot not")
		})
	}
}

// garbage returns snapshots that cannot be decoded.
type garbage struct{ snapshot.Store }

func (g garbage) Load(ctx context.Context, k snapshot.Key) (snapshot.Snapshot, error) {
	s, err := g.Store.Load(ctx, k)
	s.State = []byte("garbage")
	return s, err
}

func TestForgetReportsFailure(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpDeleteSnapshot}, Kind: simstore.Unavailable})
	r := newRepository(t, store, aggregate.Config[account]{Snapshots: store.Snapshots(), CacheSize: 3})
	require.ErrorIs(t, r.Forget(t.Context(), "a"), eventstore.ErrUnavailable)
	require.NoError(t, newRepository(t, store, aggregate.Config[account]{}).Forget(t.Context(), "a"))
}

func TestLoadFails(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	r := newRepository(t, store, aggregate.Config[account]{CacheSize: 2})
	fill(t, r, "a", 1)

	fault := store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpReadStream}, Kind: simstore.Unavailable})
	_, err := r.Load(t.Context(), "a")
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.ErrorContains(t, err, `load "account-a"`)
	_, err = r.Run(t.Context(), "b", 1)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	fault.Remove()

	foreigners, err := registry().Encode(foreign{X: 1})
	require.NoError(t, err)
	_, err = eventstore.Append(t.Context(), store, r.Stream("a"), eventstore.Any, foreigners...)
	require.NoError(t, err)
	_, err = r.Load(t.Context(), "a")
	require.ErrorContains(t, err, "no event of this aggregate")

	_, err = eventstore.Append(t.Context(), store, r.Stream("c"), eventstore.Any,
		eventstore.EventData{Type: "never.heard.of", Data: []byte{5, 0, 0, 0, 0}})
	require.NoError(t, err)
	_, err = r.Load(t.Context(), "c")
	require.ErrorIs(t, err, eventstore.ErrUnregistered)
}

func TestUnregisteredEventIsNotAppended(t *testing.T) {
	t.Parallel()
	d := decider()
	r, err := aggregate.NewRepository(newStore(t), eventstore.MustRegistry(eventstore.Type[withdrawn]("w")), d, aggregate.Config[account]{Category: "account"})
	require.NoError(t, err)
	_, err = r.Run(t.Context(), "a", 5)
	require.ErrorIs(t, err, eventstore.ErrUnregistered)
	require.ErrorContains(t, err, "deposited")
}

func TestConfigIsValidated(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	for name, c := range map[string]struct {
		cfg  aggregate.Config[account]
		want string
	}{
		"no category":       {aggregate.Config[account]{}, "Category"},
		"hyphen":            {aggregate.Config[account]{Category: "a-b"}, "Category"},
		"negative schema":   {aggregate.Config[account]{Category: "a", Schema: -1}, "Schema"},
		"negative cache":    {aggregate.Config[account]{Category: "a", CacheSize: -1}, "CacheSize"},
		"negative attempts": {aggregate.Config[account]{Category: "a", MaxAttempts: -1}, "MaxAttempts"},
		"no clone":          {aggregate.Config[account]{Category: "a", CacheSize: 1}, "field Seen map[string]int64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := aggregate.NewRepository(store, registry(), decider(), c.cfg)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := aggregate.NewRepository[account, change, event](nil, registry(), decider(), aggregate.Config[account]{Category: "a"})
	require.ErrorIs(t, err, eventstore.ErrInvalid)

	type plain struct {
		N    [3]int
		When time.Time
	}
	_, err = aggregate.NewRepository(store, registry(), aggregate.Decider[plain, change, event]{
		Decide: func(plain, change) ([]event, error) { return nil, errors.New("no") },
		Evolve: func(p plain, _ event) plain { return p },
	}, aggregate.Config[plain]{Category: "a", CacheSize: 1})
	require.NoError(t, err, "a state without references needs no Clone")
}
