package metrics

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
)

// storeMetrics are those of event stores.
type storeMetrics struct {
	appends       *prometheus.CounterVec
	appendTime    *batchHistogram
	events        prometheus.Counter
	groupSize     *prometheus.HistogramVec
	retries       *prometheus.CounterVec
	sequencedTo   prometheus.Gauge
	sequenced     prometheus.Counter
	sequenceTime  prometheus.Histogram
	sequenceLag   prometheus.Gauge
	recoveries    prometheus.Counter
	recoverMissed prometheus.Counter
	reads         *prometheus.CounterVec
	readEvents    *prometheus.CounterVec
	heads         *prometheus.CounterVec
}

func newStoreMetrics(cfg Config) storeMetrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	}
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	}
	seconds := func(name, help string) prometheus.Histogram {
		return prometheus.NewHistogram(histogram(cfg, prometheus.HistogramOpts{Name: name, Help: help, Buckets: latencies()}))
	}
	return storeMetrics{
		appends:    counters("annals_appends_total", "Appends by result: written, duplicate, conflict, unknown, refused or failed.", "result"),
		appendTime: newBatchHistogram("annals_append_duration_seconds", "How long appends took, waiting for their group included.", latencies()),
		events:     counter("annals_events_appended_total", "Events appended."),
		groupSize: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "annals_append_group_size", Help: "Appends that were written together.", Buckets: prometheus.ExponentialBuckets(1, 2, 11),
		}, []string{"way"}),
		retries:       counters("annals_retries_total", "Operations that were made again after a failure.", "op"),
		sequencedTo:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "annals_sequencer_position", Help: "Last position that this process gave."}),
		sequenced:     counter("annals_sequencer_events_total", "Events that this process gave positions to."),
		sequenceTime:  seconds("annals_sequencer_write_duration_seconds", "How long writing a document of the log took."),
		sequenceLag:   prometheus.NewGauge(prometheus.GaugeOpts{Name: "annals_sequencer_lag_seconds", Help: "How long ago the last event was committed that this process gave a position to, at that moment; in whole seconds."}),
		recoveries:    counter("annals_sequencer_recoveries_total", "Comparisons of events and log that this process has finished."),
		recoverMissed: counter("annals_sequencer_recovered_events_total", "Events that recoveries found missing in the log."),
		reads:         counters("annals_reads_total", "Reads of streams and of the log, by result.", "source", "result"),
		readEvents:    counters("annals_events_read_total", "Events read from streams and from the log.", "source"),
		heads:         counters("annals_head_cache_requests_total", "Appends that looked for the head of their streams in memory: hit or miss.", "result"),
	}
}

func (s storeMetrics) collectors() []prometheus.Collector {
	return []prometheus.Collector{
		s.appends, s.appendTime, s.events, s.groupSize, s.retries, s.sequencedTo, s.sequenced,
		s.sequenceTime, s.recoveries, s.recoverMissed, s.reads, s.readEvents,
		s.sequenceLag, s.heads,
	}
}

// Hooks returns hooks for mongostore.Config that measure a store.
func (m *Metrics) Hooks() mongostore.Hooks {
	s := m.store
	byInsert, byTransaction := s.groupSize.WithLabelValues("insert"), s.groupSize.WithLabelValues("transaction")
	return mongostore.Hooks{
		Appends: s.appended(),
		Flight: func(f mongostore.FlightStats) {
			if f.Transaction {
				byTransaction.Observe(float64(f.Appends))
				return
			}
			byInsert.Observe(float64(f.Appends))
		},
		Sequenced: func(q mongostore.SequenceStats) {
			s.sequencedTo.Set(float64(q.First) + float64(q.Events) - 1)
			s.sequenced.Add(float64(q.Events))
			s.sequenceTime.Observe(q.Duration.Seconds())
			s.sequenceLag.Set(q.Delay.Seconds())
		},
		Recovery: func(p mongostore.RecoveryProgress) {
			if p.Done {
				s.recoveries.Inc()
				s.recoverMissed.Add(float64(p.Logged))
			}
		},
		Retry: func(op string, _ error) { s.retries.WithLabelValues(retried(op)).Inc() },
		Read: func(r mongostore.ReadStats) {
			source := "stream"
			if r.Log {
				source = "log"
			}
			ended := "ok"
			if r.Err != nil {
				ended = "failed"
			}
			s.reads.WithLabelValues(source, ended).Inc()
			s.readEvents.WithLabelValues(source).Add(float64(r.Events))
		},
	}
}

// appended counts appends that have ended.
func (s storeMetrics) appended() func([]mongostore.AppendStats) {
	ok := s.appends.WithLabelValues("written")
	hits, misses := s.heads.WithLabelValues("hit"), s.heads.WithLabelValues("miss")
	return func(ended []mongostore.AppendStats) {
		var written, events, hit, missed int
		times := s.appendTime.batch()
		for i := range ended {
			a := &ended[i]
			times.add(a.Duration)
			switch a.Head {
			case mongostore.HeadHit:
				hit++
			case mongostore.HeadMiss:
				missed++
			}
			if a.Err != nil || a.Duplicate {
				s.appends.WithLabelValues(result(a)).Inc()
				continue
			}
			written++
			events += a.Events
		}
		times.observe()
		add(ok, written)
		add(s.events, events)
		add(hits, hit)
		add(misses, missed)
	}
}

// add leaves a counter alone that nothing is to be added to.
func add(c prometheus.Counter, n int) {
	if n > 0 {
		c.Add(float64(n))
	}
}

// retried bounds and spells the names of operations.
func retried(op string) string {
	switch op {
	case "append", "delete", "tombstone", "truncate", "erase":
		return op
	case "follow the log":
		return "follow_log"
	}
	return "other"
}

func result(a *mongostore.AppendStats) string {
	switch {
	case a.Err == nil && a.Duplicate:
		return "duplicate"
	case a.Err == nil:
		return "written"
	case errors.Is(a.Err, eventstore.ErrConflict):
		return "conflict"
	case errors.Is(a.Err, eventstore.ErrOutcomeUnknown):
		return "unknown"
	case errors.Is(a.Err, eventstore.ErrInvalid), errors.Is(a.Err, eventstore.ErrTooLarge), errors.Is(a.Err, eventstore.ErrTombstoned):
		return "refused"
	}
	return "failed"
}
