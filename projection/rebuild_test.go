package projection_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
)

// A new version is built while writers and readers go on. Readers never see less
// than what had been written when they first looked, whichever version they are
// given. ANNALS_REBUILD is the number of events in the log before; 30,000 if unset.
func TestRebuildUnderReadersAndWriters(t *testing.T) {
	t.Parallel()
	events := 30_000
	if text := os.Getenv("ANNALS_REBUILD"); text != "" {
		n, err := strconv.Atoi(text)
		require.NoError(t, err, "ANNALS_REBUILD")
		events = n
	}
	const streams = 100
	store := newStore(t, simstore.Config{})
	write := func(n int) {
		data, err := registry().Encode(numbers(1, n)...)
		require.NoError(t, err)
		var parts []eventstore.StreamAppend
		for i := range streams {
			parts = append(parts, eventstore.StreamAppend{Stream: eventstore.StreamID(fmt.Sprint("test-", i)), Expected: eventstore.Any, Events: data[i*n/streams : (i+1)*n/streams]})
		}
		_, err = store.Append(t.Context(), eventstore.AppendRequest{Streams: parts})
		require.NoError(t, err)
	}
	for range events / 1000 {
		write(1000)
	}
	fold := func(version int) projection.Fold[balance] {
		return projection.Fold[balance]{Name: "balances", Version: version, Handlers: []projection.FoldHandler[balance]{
			projection.FoldOn(nil, func(b balance, _ counted, _ eventstore.Event) balance {
				return balance{Sum: version, Count: b.Count + 1}
			}),
		}}
	}
	control := projection.NewControl(store, store)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var wg sync.WaitGroup
	work := func(definitions ...projection.Definition) {
		w, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{Heartbeat: 50 * time.Millisecond, BatchSize: 500}, definitions...)
		require.NoError(t, err)
		wg.Go(func() { _ = w.Run(ctx) })
	}
	current := func() int {
		s, err := control.Status(ctx, "balances")
		if err != nil {
			return 0
		}
		return s.Current
	}
	wait := func(version int) {
		for start := time.Now(); current() != version; time.Sleep(5 * time.Millisecond) {
			require.Less(t, time.Since(start), 10*time.Minute)
		}
	}
	work(fold(1))
	wait(1)
	require.NoError(t, control.WaitUntil(ctx, "balances", 1, eventstore.Position(events)))

	var versions [3]atomic.Int64
	view := projection.NewView(fold(1), store, projection.NewResolver(store, 20*time.Millisecond))
	for range 2 {
		wg.Go(func() {
			for ctx.Err() == nil {
				all, err := view.GetAll(ctx, "0", "57", "99")
				if ctx.Err() != nil {
					return
				}
				if err != nil || len(all) != 3 {
					t.Errorf("%d documents, %v", len(all), err)
					return
				}
				for key, b := range all {
					versions[b.Sum].Add(1)
					// A version may be promoted when it is 100 events behind.
					if b.Count < events/streams {
						t.Errorf("version %d of %s is half built: %d of %d", b.Sum, key, b.Count, events/streams)
						return
					}
				}
				time.Sleep(100 * time.Microsecond)
			}
		})
	}
	wg.Go(func() {
		for ctx.Err() == nil {
			write(streams)
			time.Sleep(2 * time.Millisecond)
		}
	})
	for { // so that what is promoted has all of the beginning
		head, err := store.Head(ctx)
		require.NoError(t, err)
		if head > eventstore.Position(events+10*streams) {
			break
		}
		time.Sleep(time.Millisecond)
	}
	start := time.Now()
	work(fold(2))
	wait(2)
	t.Logf("rebuilt %d events and more in %s", events, time.Since(start).Round(time.Millisecond))
	require.Positive(t, versions[1].Load())
	for versions[2].Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	cancel()
	wg.Wait()
}
