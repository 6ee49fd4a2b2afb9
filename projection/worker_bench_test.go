package projection_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
)

type balance struct {
	Sum   int `json:"sum"`
	Count int `json:"count"`
}

// BenchmarkRebuild folds 100,000 events of 5,000 streams into as many documents.
func BenchmarkRebuild(b *testing.B) {
	const events, streams = 100_000, 5_000
	for _, partitions := range []int{1, 2, 4} {
		b.Run(fmt.Sprintf("partitions=%d", partitions), func(b *testing.B) {
			store := newStore(b, simstore.Config{})
			for i := range events / 100 {
				data, err := registry().Encode(numbers(1, 100)...)
				require.NoError(b, err)
				var parts []eventstore.StreamAppend
				for j, d := range data {
					parts = append(parts, eventstore.StreamAppend{Stream: eventstore.StreamID(fmt.Sprint("test-", (i*100+j)%streams)), Expected: eventstore.Any, Events: []eventstore.EventData{d}})
				}
				_, err = store.Append(b.Context(), eventstore.AppendRequest{Streams: parts})
				require.NoError(b, err)
			}
			n := 0
			for b.Loop() {
				n++
				fold := projection.Fold[balance]{Name: fmt.Sprint("p", n), Handlers: []projection.FoldHandler[balance]{
					projection.FoldOn(nil, func(t balance, c counted, _ eventstore.Event) balance {
						return balance{Sum: t.Sum + c.N, Count: t.Count + 1}
					}),
				}}
				w, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{Partitions: partitions}, fold)
				require.NoError(b, err)
				ctx, cancel := context.WithCancel(b.Context())
				done := make(chan error, 1)
				start := time.Now()
				go func() { done <- w.Run(ctx) }()
				require.NoError(b, projection.NewControl(store, store).WaitUntil(ctx, fold.Name, 0, events))
				b.ReportMetric(events/time.Since(start).Seconds(), "events/s")
				cancel()
				require.NoError(b, <-done)
			}
		})
	}
}
