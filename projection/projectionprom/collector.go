// Package projectionprom tells Prometheus how projections are doing.
package projectionprom

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/annals-es/annals/projection"
)

// A Source tells how all projections are doing; [*projection.Control] is one.
type Source interface {
	Statuses(ctx context.Context) ([]projection.ProjectionStatus, error)
}

// Config says how a [Collector] works. The zero value works.
type Config struct {
	// Timeout bounds the time of one scrape; 5s when zero.
	Timeout time.Duration
	// Logger is told of scrapes that fail. Nothing is logged when nil.
	Logger *slog.Logger
}

// A Collector collects metrics of all projections of a backend when it is
// scraped, whichever processes run them. One process has to offer it; more do no
// harm but the work. It is safe for concurrent use.
//
// Lag and parked events of the version with current="true" are what alerts
// should go by.
type Collector struct {
	source Source
	cfg    Config
	up     *prometheus.Desc
	// of a projection
	current *prometheus.Desc
	// of a version
	lag, lagTime, rate, remaining, parked, parkedKeys, partitions *prometheus.Desc
	// of a partition
	position, owned, state, handledAt *prometheus.Desc
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns a collector.
func New(source Source, cfg Config) *Collector {
	if cfg.Timeout <= 0 {
		cfg.Timeout = 5 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("annals_projection_"+name, help, labels, nil)
	}
	version := []string{"projection", "version", "current"}
	partition := []string{"projection", "version", "partition"}
	return &Collector{
		source:     source,
		cfg:        cfg,
		up:         desc("up", "Whether the state of the projections could be read."),
		current:    desc("current_version", "The version that readers use, 0 while none has been built.", "projection"),
		lag:        desc("lag_events", "Positions between the partition furthest behind and the log's head.", version...),
		lagTime:    desc("lag_seconds", "Age of the first event that is not handled yet, 0 when all are.", version...),
		rate:       desc("events_per_second", "Events handled in a second, by all partitions.", version...),
		remaining:  desc("remaining_seconds", "Estimated time to catch up, +Inf when it cannot be told.", version...),
		parked:     desc("parked_events", "Events in dead letters.", version...),
		parkedKeys: desc("parked_keys", "Keys with dead letters.", version...),
		partitions: desc("partitions", "Number of partitions.", version...),
		position:   desc("position", "Position up to which a partition has handled the log.", partition...),
		owned:      desc("owned", "Whether a worker runs the partition.", partition...),
		state:      desc("state", "1 for the state that a partition is in.", append(partition, "state")...),
		handledAt:  desc("last_event_timestamp_seconds", "Time of the last event that a partition handled.", partition...),
	}
}

// Describe implements [prometheus.Collector].
func (c *Collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{c.up, c.current, c.lag, c.lagTime, c.rate, c.remaining, c.parked, c.parkedKeys, c.partitions, c.position, c.owned, c.state, c.handledAt} {
		ch <- d
	}
}

// Collect implements [prometheus.Collector]. When the state cannot be read there
// is only annals_projection_up, with 0.
func (c *Collector) Collect(ch chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), c.cfg.Timeout)
	defer cancel()
	statuses, err := c.source.Statuses(ctx)
	if err != nil {
		c.cfg.Logger.WarnContext(ctx, "projections could not be scraped", "error", err)
		ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, 0)
		return
	}
	ch <- prometheus.MustNewConstMetric(c.up, prometheus.GaugeValue, 1)
	for _, s := range statuses {
		ch <- prometheus.MustNewConstMetric(c.current, prometheus.GaugeValue, float64(s.Current), s.Name)
		for _, v := range s.Versions {
			c.version(ch, s, v)
		}
	}
}

func (c *Collector) version(ch chan<- prometheus.Metric, s projection.ProjectionStatus, v projection.VersionStatus) {
	number := strconv.Itoa(v.Version)
	gauge := func(d *prometheus.Desc, value float64) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, s.Name, number, strconv.FormatBool(v.Version == s.Current))
	}
	gauge(c.lag, float64(v.Lag))
	gauge(c.lagTime, v.LagTime.Seconds())
	gauge(c.rate, v.Rate)
	remaining := v.Remaining.Seconds()
	if remaining < 0 {
		remaining = math.Inf(1)
	}
	gauge(c.remaining, remaining)
	gauge(c.parked, float64(v.Parked))
	gauge(c.parkedKeys, float64(v.ParkedKeys))
	gauge(c.partitions, float64(len(v.Partitions)))
	for _, p := range v.Partitions {
		labels := []string{s.Name, number, strconv.Itoa(p.Key.Partition)}
		of := func(d *prometheus.Desc, value float64, more ...string) {
			ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append(labels[:3:3], more...)...)
		}
		of(c.position, float64(p.Position))
		of(c.owned, boolValue(p.Owner != ""))
		of(c.state, 1, string(p.State))
		if !p.EventTime.IsZero() {
			of(c.handledAt, float64(p.EventTime.UnixMilli())/1000)
		}
	}
}

func boolValue(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
