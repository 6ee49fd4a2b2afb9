package projection_test

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
)

// A readCounter counts the events that are read.
type readCounter struct {
	*simstore.Store
	read atomic.Int64
}

func (c *readCounter) ReadStream(ctx context.Context, s eventstore.StreamID, q eventstore.StreamQuery) iter.Seq2[eventstore.Event, error] {
	return c.count(c.Store.ReadStream(ctx, s, q))
}

func (c *readCounter) ReadLog(ctx context.Context, q eventstore.LogQuery) iter.Seq2[eventstore.Event, error] {
	return c.count(c.Store.ReadLog(ctx, q))
}

func (c *readCounter) count(events iter.Seq2[eventstore.Event, error]) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		for e, err := range events {
			c.read.Add(1)
			if !yield(e, err) {
				return
			}
		}
	}
}

func sums(limit int) *projection.LiveView[int] {
	return projection.NewLiveView(limit, projection.Decoded(registry(), func(sum int, payload any, _ eventstore.Event) (int, error) {
		if c, ok := payload.(counted); ok {
			if c.N == 666 {
				panic("evil")
			}
			sum += c.N
		}
		return sum, nil
	}))
}

func TestLiveStream(t *testing.T) {
	t.Parallel()
	store := &readCounter{Store: newStore(t, simstore.Config{})}
	live := sums(0)
	check := func(sum int, version eventstore.Version, reads int64) {
		t.Helper()
		before := store.read.Load()
		got, v, err := live.Stream(t.Context(), store, "test-1")
		require.NoError(t, err)
		require.Equal(t, sum, got)
		require.Equal(t, version, v)
		require.Equal(t, reads, store.read.Load()-before, "events read")
	}
	check(0, 0, 0)
	add(t, store.Store, numbers(1, 10)...)
	check(55, 10, 10)
	check(55, 10, 0)
	add(t, store.Store, counted{N: 5}, ignored{N: 9})
	check(60, 12, 2)
	require.NoError(t, store.Truncate(t.Context(), "test-1", 11))
	check(5, 12, 2)
	require.NoError(t, store.Delete(t.Context(), "test-1", eventstore.Any))
	check(0, 0, 0)
	add(t, store.Store, counted{N: 7})
	check(7, 13, 1)
	add(t, store.Store, counted{N: 666})
	_, _, err := live.Stream(t.Context(), store, "test-1")
	require.ErrorContains(t, err, "evil")
}

func TestLiveCategoryAndQuery(t *testing.T) {
	t.Parallel()
	store := &readCounter{Store: newStore(t, simstore.Config{})}
	live := sums(0)
	for i := range 5 {
		addTo(t, store.Store, eventstore.StreamID(fmt.Sprint("a-", i)), counted{N: i}, ignored{N: 1})
		addTo(t, store.Store, eventstore.StreamID(fmt.Sprint("b-", i)), counted{N: 10 * i})
	}
	got, position, err := live.Category(t.Context(), store, "a")
	require.NoError(t, err)
	require.Equal(t, 10, got)
	require.Equal(t, eventstore.Position(15), position)
	got, _, err = live.Query(t.Context(), store, eventstore.Filter{Types: []eventstore.EventType{"counted"}})
	require.NoError(t, err)
	require.Equal(t, 110, got)
	before := store.read.Load()
	addTo(t, store.Store, "a-1", counted{N: 5})
	got, position, err = live.Category(t.Context(), store, "a")
	require.NoError(t, err)
	require.Equal(t, 15, got)
	require.Equal(t, eventstore.Position(16), position)
	require.Equal(t, int64(1), store.read.Load()-before, "what came since")
}

func TestLiveIsBoundedAndShared(t *testing.T) {
	t.Parallel()
	store := &readCounter{Store: newStore(t, simstore.Config{})}
	for i := range 3 {
		addTo(t, store.Store, eventstore.StreamID(fmt.Sprint("test-", i)), numbers(1, 10)...)
	}
	live := sums(2)
	for _, s := range []eventstore.StreamID{"test-0", "test-1", "test-0", "test-2", "test-0"} {
		_, _, err := live.Stream(t.Context(), store, s)
		require.NoError(t, err)
	}
	require.Equal(t, int64(30), store.read.Load())
	_, _, err := live.Stream(t.Context(), store, "test-1")
	require.NoError(t, err)
	require.Equal(t, int64(40), store.read.Load(), "the least recently used was dropped")

	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			sum, _, err := live.Stream(t.Context(), store, "test-2")
			if err != nil || sum != 55 {
				t.Errorf("%d, %v", sum, err)
			}
		})
	}
	wg.Wait()
	none := sums(-1)
	for range 2 {
		sum, _, err := none.Stream(t.Context(), store, "test-2")
		require.NoError(t, err)
		require.Equal(t, 55, sum)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, _, err = none.Stream(ctx, store, "test-2")
	require.ErrorIs(t, err, context.Canceled)
	_, _, err = none.Category(ctx, store, "test")
	require.ErrorIs(t, err, context.Canceled)
}
