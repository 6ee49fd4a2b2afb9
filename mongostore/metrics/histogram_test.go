package metrics

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
)

// A batchHistogram says what the library's says of the same durations.
func TestBatchHistogram(t *testing.T) {
	t.Parallel()
	batched := newBatchHistogram("a_seconds", "a", latencies())
	single := prometheus.NewHistogram(prometheus.HistogramOpts{Name: "a_seconds", Help: "a", Buckets: latencies()})
	var all sync.WaitGroup
	for g := range 4 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(g)))
			for range 200 {
				b := batched.batch()
				for range r.IntN(40) {
					d := time.Duration(r.Int64N(1 << (4 + r.IntN(32))))
					if r.IntN(8) == 0 { // on a bound
						d = time.Duration(latencies()[r.IntN(len(latencies()))] * float64(time.Second))
					}
					b.add(d)
					single.Observe(d.Seconds())
				}
				b.observe()
			}
		})
	}
	all.Wait()
	got, want := read(t, batched), read(t, single)
	require.Equal(t, want.GetSampleCount(), got.GetSampleCount())
	require.InEpsilon(t, want.GetSampleSum(), got.GetSampleSum(), 1e-9)
	require.Len(t, got.GetBucket(), len(want.GetBucket()))
	for i, b := range want.GetBucket() {
		require.Equal(t, b.GetUpperBound(), got.GetBucket()[i].GetUpperBound()) //nolint:testifylint // the same bound
		require.Equal(t, b.GetCumulativeCount(), got.GetBucket()[i].GetCumulativeCount(), "up to %v", b.GetUpperBound())
	}
}

func read(t *testing.T, c prometheus.Collector) *dto.Histogram {
	t.Helper()
	metrics := make(chan prometheus.Metric, 1)
	c.Collect(metrics)
	var m dto.Metric
	require.NoError(t, (<-metrics).Write(&m))
	return m.GetHistogram()
}
