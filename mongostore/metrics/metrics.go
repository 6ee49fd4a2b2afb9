package metrics

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/annals-es/annals/mongostore/client"
)

// Config says what is measured. The zero value works.
type Config struct {
	// Collections are the names of collections that always have series of their
	// own. Others get one while there are fewer than MaxCollections; what comes
	// later is counted as "other".
	Collections []string
	// MaxCollections is the greatest number of collections told apart; 50 when
	// zero.
	MaxCollections int
	// NativeHistograms adds native histograms to the classic ones, for servers
	// that scrape them. The duration of appends has a classic one only: it is
	// observed for each append and not for each group of them, and would cost
	// more than all other metrics of an append together.
	NativeHistograms bool
}

// Metrics are the metrics of one program. They are safe for concurrent use.
type Metrics struct {
	operations   *prometheus.CounterVec
	durations    *prometheus.HistogramVec
	failures     *prometheus.CounterVec
	changeEvents *prometheus.CounterVec
	pools        *pools
	store        storeMetrics
	names        *names
	flying       flying
	streams      streams
	series       seriesMap
}

// New makes the metrics and registers them. It is an error if some of them are
// registered already.
func New(r prometheus.Registerer, cfg Config) (*Metrics, error) {
	if cfg.MaxCollections == 0 {
		cfg.MaxCollections = 50
	}
	m := &Metrics{
		operations: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mongodb_operations_total", Help: "MongoDB operations that have ended, well or not.",
		}, []string{"op", "coll"}),
		durations: prometheus.NewHistogramVec(histogram(cfg, prometheus.HistogramOpts{
			Name: "mongodb_operation_duration_seconds", Help: "How long MongoDB operations took.", Buckets: latencies(),
		}), []string{"op", "coll"}),
		failures: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mongodb_operation_errors_total", Help: "MongoDB operations that failed, by kind of error.",
		}, []string{"op", "coll", "kind"}),
		changeEvents: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "mongodb_change_stream_events_total", Help: "Events that change streams have delivered.",
		}, []string{"coll"}),
		pools: &pools{desc: prometheus.NewDesc("mongodb_pool_connections", "Connections to MongoDB by state; max is the limit to one server.", []string{"state"}, nil)},
		store: newStoreMetrics(cfg),
		names: newNames(cfg),
	}
	var errs []error
	for _, c := range append([]prometheus.Collector{m.operations, m.durations, m.failures, m.changeEvents, m.pools}, m.store.collectors()...) {
		errs = append(errs, r.Register(c))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return m, nil
}

// latencies are the bounds of the buckets for durations, in seconds: from half a
// millisecond, which no remote server beats, to the time limits of clients.
func latencies() []float64 {
	return []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}
}

func histogram(cfg Config, o prometheus.HistogramOpts) prometheus.HistogramOpts {
	if cfg.NativeHistograms {
		o.NativeHistogramBucketFactor = 1.1
		o.NativeHistogramMaxBucketNumber = 100
		o.NativeHistogramMinResetDuration = time.Hour
	}
	return o
}

// Watch adds the connections of a client to what is measured, until the returned
// function is called.
func (m *Metrics) Watch(c *client.Client) (stop func()) { return m.pools.add(c.State) }
