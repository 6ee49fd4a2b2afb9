package readmodel

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"golang.org/x/sync/errgroup"

	"github.com/annals-es/annals/projection"
)

// BenchmarkLatency measures how long it takes on an idle system from an append's
// acknowledgement until its effect can be read from the model, by polling. Beside it
// stands what the work alone takes when whoever has appended does it by hand, right
// away and with nobody to be told: a find, a bulk write and a checkpoint.
func BenchmarkLatency(b *testing.B) {
	e := setup(b)
	worker, err := projection.NewWorker(e.store, benchRegistry(), e, projection.WorkerConfig{Partitions: 1}, summaries())
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	var working errgroup.Group
	working.Go(func() error { return worker.Run(ctx) })
	b.Cleanup(func() {
		cancel()
		require.NoError(b, working.Wait())
	})
	model := projection.ModelName("summaries", 1, 0)
	one := func(key string) time.Duration {
		require.NoError(b, appendOne(ctx, e.store, key))
		for acknowledged := time.Now(); ; time.Sleep(200 * time.Microsecond) {
			docs, err := e.LoadDocuments(ctx, model, []string{key})
			require.NoError(b, err)
			if len(docs) == 1 {
				return time.Since(acknowledged)
			}
		}
	}
	byHand := newRaw(b, e, "raw")
	one("first")
	var all, raw []float64
	for i := 0; b.Loop(); i++ {
		key := fmt.Sprintf("n%d", i)
		all = append(all, one(key).Seconds())
		time.Sleep(3 * time.Millisecond) // idle
		start := time.Now()
		require.NoError(b, byHand.load(ctx, []string{key}, nil))
		require.NoError(b, byHand.write(ctx, []mongo.WriteModel{replacement(key, newSummary(i))}, int64(i)))
		raw = append(raw, time.Since(start).Seconds())
		time.Sleep(3 * time.Millisecond)
	}
	slices.Sort(all)
	b.ReportMetric(1000*median(all), "p50-ms")
	b.ReportMetric(1000*all[len(all)*99/100], "p99-ms")
	b.ReportMetric(1000*median(raw), "work-p50-ms")
	b.ReportMetric(0, "ns/op")
}
