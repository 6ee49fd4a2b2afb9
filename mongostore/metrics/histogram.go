package metrics

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A batchHistogram is a histogram of durations that takes many at a time. The
// library's takes one, with four writes to memory that all processors share: for an
// append that is more than all other metrics together.
//
// What is collected while a batch comes in may have a part of it in its buckets and
// not yet in its sum.
type batchHistogram struct {
	desc    *prometheus.Desc
	created time.Time
	bounds  []float64       // upper bounds of buckets, in seconds
	limits  []time.Duration // the same
	counts  []atomic.Uint64 // by bucket; the last one is of what is over all bounds
	sum     atomic.Uint64   // of a float64: seconds
}

func newBatchHistogram(name, help string, bounds []float64) *batchHistogram {
	h := &batchHistogram{
		desc:    prometheus.NewDesc(name, help, nil, nil),
		created: time.Now(),
		bounds:  bounds,
		limits:  make([]time.Duration, len(bounds)),
		counts:  make([]atomic.Uint64, len(bounds)+1),
	}
	for i, b := range bounds {
		h.limits[i] = time.Duration(math.Round(b * float64(time.Second)))
	}
	return h
}

// A batch is what is to be added to a histogram.
type batch struct {
	of      *batchHistogram
	pending uint64 // in bucket
	bucket  int
	sum     time.Duration
}

func (h *batchHistogram) batch() batch { return batch{of: h} }

// add notes a duration. What is written together takes about the same time, so
// most of a batch is in one bucket.
func (b *batch) add(d time.Duration) {
	b.sum += d
	if !b.of.holds(b.bucket, d) {
		b.flush()
		for b.bucket = 0; !b.of.holds(b.bucket, d); b.bucket++ {
			continue
		}
	}
	b.pending++
}

func (h *batchHistogram) holds(bucket int, d time.Duration) bool {
	return (bucket == len(h.limits) || d <= h.limits[bucket]) && (bucket == 0 || d > h.limits[bucket-1])
}

func (b *batch) flush() {
	if b.pending > 0 {
		b.of.counts[b.bucket].Add(b.pending)
		b.pending = 0
	}
}

// observe puts the batch into its histogram.
func (b *batch) observe() {
	b.flush()
	for {
		old := b.of.sum.Load()
		if b.of.sum.CompareAndSwap(old, math.Float64bits(math.Float64frombits(old)+b.sum.Seconds())) {
			return
		}
	}
}

// Describe implements [prometheus.Collector].
func (h *batchHistogram) Describe(ch chan<- *prometheus.Desc) { ch <- h.desc }

// Collect implements [prometheus.Collector].
func (h *batchHistogram) Collect(ch chan<- prometheus.Metric) {
	sum := math.Float64frombits(h.sum.Load())
	buckets := make(map[float64]uint64, len(h.bounds))
	var count uint64
	for i := range h.counts {
		count += h.counts[i].Load()
		if i < len(h.bounds) {
			buckets[h.bounds[i]] = count
		}
	}
	ch <- prometheus.MustNewConstHistogramWithCreatedTimestamp(h.desc, count, sum, buckets, h.created)
}
