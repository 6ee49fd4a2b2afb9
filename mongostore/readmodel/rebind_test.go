package readmodel

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/projection"
)

// move moves the store and the backend to a new client, waits until nothing uses
// the old one, and disconnects it.
func (e *env) move(t *testing.T) {
	t.Helper()
	old := e.client
	e.client = e.newClient(t)
	drained := []<-chan struct{}{e.store.Rebind(e.client), e.Rebind(e.client)}
	for _, ch := range drained {
		<-ch
	}
	require.NoError(t, old.Disconnect(t.Context()))
}

// TestRebindLeavesNothingOnTheOldClient uses everything that a backend has made
// before.
func TestRebindLeavesNothingOnTheOldClient(t *testing.T) {
	t.Parallel()
	e := setup(t)
	ctx := t.Context()
	at, err := e.Commit(ctx, next(projection.Checkpoint{}, put(t, "m", "a", 1)))
	require.NoError(t, err)
	lease, err := e.AcquireLease(ctx, "l", "me", time.Minute)
	require.NoError(t, err)

	e.move(t)

	at, err = e.Commit(ctx, next(at, put(t, "m", "b", 2), put(t, "other", "c", 3)))
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"a": 1, "b": 2}, numbers(t, e, "m", "a", "b"))
	stored, err := e.LoadCheckpoint(ctx, orders)
	require.NoError(t, err)
	require.Equal(t, at, stored)
	_, err = e.SaveRow(ctx, projection.Row{Name: "r", Data: encode(t, doc{N: 1})})
	require.NoError(t, err)
	_, err = e.ParkedKeys(ctx, "orders", 1)
	require.NoError(t, err)
	require.NoError(t, e.ReleaseLease(ctx, lease))
	coll, err := e.Model("m")
	require.NoError(t, err)
	n, err := coll.CountDocuments(ctx, struct{}{})
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
}

// TestRebindDuringTheCallersTransaction reads and saves in a transaction that was
// begun on the client before.
func TestRebindDuringTheCallersTransaction(t *testing.T) {
	t.Parallel()
	e := setup(t)
	_, err := e.Commit(t.Context(), next(projection.Checkpoint{}, put(t, "m", "a", 1)))
	require.NoError(t, err)
	old := e.client
	var drained <-chan struct{}
	require.NoError(t, mongostore.WithTransaction(t.Context(), old, func(ctx context.Context) error {
		e.client = e.newClient(t)
		e.store.Rebind(e.client)
		drained = e.Rebind(e.client)
		if docs, err := e.LoadDocuments(ctx, "m", []string{"a"}); err != nil || len(docs) != 1 {
			return fmt.Errorf("found %d: %w", len(docs), err)
		}
		return e.SaveCheckpoint(ctx, orders, projection.Checkpoint{Position: 7})
	}))
	<-drained
	at, err := e.LoadCheckpoint(t.Context(), orders)
	require.NoError(t, err)
	require.EqualValues(t, 7, at.Position)
}

// TestRebindUnderLoad moves a backend again and again while commits that make
// collections, inline appends and reads are under way; none fails.
func TestRebindUnderLoad(t *testing.T) {
	t.Parallel()
	e := setup(t)
	registry := eventstore.MustRegistry(eventstore.Type[ticked]("ticked"))
	inline, err := e.Inline(t.Context(), registry, projection.Fold[doc]{
		Name:     "inline",
		Handlers: []projection.FoldHandler[doc]{projection.FoldOn(nil, func(d doc, _ ticked, _ eventstore.Event) doc { d.N++; return d })},
	})
	require.NoError(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	var stop atomic.Bool
	var done, appended atomic.Int64
	var load sync.WaitGroup
	for i := range 2 {
		load.Go(func() {
			key := projection.CheckpointKey{Projection: "load", Version: 1, Partition: i}
			for at := (projection.Checkpoint{}); !stop.Load(); {
				model, n := fmt.Sprintf("m%d_%d", i, at.Position/10), int64(at.Position)
				c := next(at, put(t, model, "a", n))
				c.Key = key
				var err error
				if at, err = e.Commit(ctx, c); err != nil {
					t.Errorf("commit: %v", err)
					return
				}
				docs, err := e.LoadDocuments(ctx, model, []string{"a"})
				if err != nil || len(docs) != 1 {
					t.Errorf("%d documents: %v", len(docs), err)
					return
				}
				done.Add(1)
			}
		})
	}
	load.Go(func() {
		for !stop.Load() {
			events, err := registry.Encode(ticked{})
			if err == nil {
				_, err = eventstore.Append(ctx, inline, "counter-1", eventstore.Any, events...)
			}
			if err != nil {
				t.Errorf("append: %v", err)
				return
			}
			appended.Add(1)
		}
	})
	defer load.Wait()
	defer stop.Store(true)
	for range 5 {
		n, m := done.Load(), appended.Load()
		e.move(t)
		require.Eventually(t, func() bool { return (done.Load() > n+4 && appended.Load() > m) || t.Failed() }, time.Minute, time.Millisecond)
	}
	stop.Store(true)
	load.Wait()
	require.Equal(t, appended.Load(), numbers(t, e, projection.ModelName("inline", 1, 0), "1")["1"])
}

type ticked struct{}

// newClient returns another client of the same server.
func (e *env) newClient(t *testing.T) *mongo.Client {
	t.Helper()
	other := &env{sim: e.sim}
	other.connect(t, e.clientOptions())
	return other.client
}
