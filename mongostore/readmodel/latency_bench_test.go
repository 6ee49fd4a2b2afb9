package readmodel

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// BenchmarkLatency measures how long it takes on an idle system from an append's
// acknowledgement until its effect can be read from the model, by polling.
func BenchmarkLatency(b *testing.B) {
	e := setup(b)
	worker, err := projection.NewWorker(e.store, benchRegistry(), e, projection.WorkerConfig{Partitions: 1}, summaries())
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		require.NoError(b, <-done)
	})
	codec := eventstore.NewBSONCodec()
	model := projection.ModelName("summaries", 1, 0)
	one := func(key string) time.Duration {
		data, err := codec.Marshal(lineAdded{Order: key, Article: "article-4711", Amount: 3, Price: 1999})
		require.NoError(b, err)
		_, err = e.store.Append(ctx, eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{
			Stream: eventstore.StreamID("order-" + key), Expected: eventstore.NoStream,
			Events: []eventstore.EventData{{Type: "order.line-added", Data: data}},
		}}})
		require.NoError(b, err)
		for acknowledged := time.Now(); ; time.Sleep(200 * time.Microsecond) {
			docs, err := e.LoadDocuments(ctx, model, []string{key})
			require.NoError(b, err)
			if len(docs) == 1 {
				return time.Since(acknowledged)
			}
		}
	}
	one("first")
	var all []time.Duration
	for i := 0; b.Loop(); i++ {
		all = append(all, one(fmt.Sprintf("n%d", i)))
		time.Sleep(3 * time.Millisecond) // idle
	}
	slices.Sort(all)
	b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, "p99-ms")
}
