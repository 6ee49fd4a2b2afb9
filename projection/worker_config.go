package projection

import (
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// WorkerConfig says how a [Worker] works. The zero value works.
type WorkerConfig struct {
	// Name is the worker's name, which no other has at the same time; made of
	// the host's name and a random part when empty. It holds no slash.
	Name string
	// Partitions is the number of partitions of a projection that nobody has run
	// before; as many as its version before has, or 4, when zero. Later it is
	// changed with [Control.Repartition].
	Partitions int

	// BatchSize is the greatest number of events in a step; 50,000 when zero. Only
	// a partition of a [Fold] that is far behind makes steps as large, and the
	// larger they are the less often a document is written that many events
	// concern. It does not keep the events of such a step. All others have at most
	// 5,000 events in hand, a [Publisher]'s function too.
	BatchSize int
	// BatchBytes bounds what a partition keeps in memory; 8 MiB when zero. A step
	// ends when its events' data is as large, or the documents that it has loaded
	// are; at most as much is read ahead while a step is made, and as much is kept
	// of documents between steps. A few large documents may exceed it: then fewer
	// events are taken at a time.
	BatchBytes int
	// IdleSave is the shortest time between a save and a further one that is
	// only of progress over events which concern nobody in a partition; 100ms when
	// zero. [Control.WaitFor] may wait as long while much is written; on a system
	// that is idle such progress is saved at once.
	IdleSave time.Duration

	// MaxAttempts is how often an event is tried for a key before it is parked;
	// 5 when zero.
	MaxAttempts int
	// Backoff is the pause between attempts, from 50ms to 5s when zero.
	Backoff Backoff
	// MaxParked is the greatest number of events parked in one version of a
	// projection, above which the partition that would park another one stops
	// ([*LimitError]); 10,000 when zero, no limit when negative.
	MaxParked int

	// LeaseTTL is how long a partition stays with a worker that is not heard of;
	// 10s when zero.
	LeaseTTL time.Duration
	// Heartbeat is how often a worker renews its leases, looks for work to take
	// over or to hand over, for what operators want, and reports; 1s when zero.
	// At most a third of LeaseTTL.
	Heartbeat time.Duration
	// StopTimeout is how long a partition that is to stop may take for the batch
	// in hand; 10s when zero.
	StopTimeout time.Duration

	// PromoteByHand leaves a new version that has caught up to
	// [Control.Promote]; it is promoted at once otherwise.
	PromoteByHand bool
	// PromoteLag is how many events behind the log's head a version may be to
	// count as caught up; 100 when zero.
	PromoteLag int64
	// Keep is how long the version before is kept after a promotion, for
	// [Control.Rollback]; 24h when zero.
	Keep time.Duration

	// Now is the clock; time.Now when nil. Leases and what has been agreed on
	// with others go by the backend's clock.
	Now func() time.Time
	// Logger is told what operators want to know. Nothing is logged when nil.
	Logger *slog.Logger
}

func (c WorkerConfig) withDefaults() (WorkerConfig, error) {
	var errs []error
	for _, f := range []struct {
		name  string
		value int64
	}{
		{"Partitions", int64(c.Partitions)},
		{"BatchSize", int64(c.BatchSize)},
		{"BatchBytes", int64(c.BatchBytes)},
		{"IdleSave", int64(c.IdleSave)},
		{"MaxAttempts", int64(c.MaxAttempts)},
		{"Backoff.First", int64(c.Backoff.First)},
		{"Backoff.Max", int64(c.Backoff.Max)},
		{"LeaseTTL", int64(c.LeaseTTL)},
		{"Heartbeat", int64(c.Heartbeat)},
		{"StopTimeout", int64(c.StopTimeout)},
		{"PromoteLag", c.PromoteLag},
		{"Keep", int64(c.Keep)},
	} {
		if f.value < 0 {
			errs = append(errs, invalidConfig(f.name, "is negative; 0 stands for the default"))
		}
	}
	if c.Partitions > maxPartitions {
		errs = append(errs, invalidConfig("Partitions", fmt.Sprintf("is %d; the limit is %d", c.Partitions, maxPartitions)))
	}
	if strings.Contains(c.Name, "/") {
		errs = append(errs, invalidConfig("Name", fmt.Sprintf("%q holds a slash", c.Name)))
	}
	if c.Name == "" {
		host, err := os.Hostname()
		if err != nil {
			host = "worker"
		}
		c.Name = strings.ReplaceAll(host, "/", "_") + "-" + rand.Text()[:8]
	}
	setDefault(&c.BatchSize, 50_000)
	setDefault(&c.BatchBytes, 8<<20)
	setDefault(&c.IdleSave, 100*time.Millisecond)
	setDefault(&c.MaxAttempts, 5)
	setDefault(&c.Backoff.First, 50*time.Millisecond)
	setDefault(&c.Backoff.Max, max(5*time.Second, c.Backoff.First))
	setDefault(&c.MaxParked, 10_000)
	setDefault(&c.LeaseTTL, 10*time.Second)
	setDefault(&c.Heartbeat, min(time.Second, c.LeaseTTL/3))
	setDefault(&c.StopTimeout, 10*time.Second)
	setDefault(&c.PromoteLag, 100)
	setDefault(&c.Keep, 24*time.Hour)
	if c.Heartbeat > c.LeaseTTL/3 {
		errs = append(errs, invalidConfig("Heartbeat", fmt.Sprintf("is %s, more than a third of LeaseTTL (%s)", c.Heartbeat, c.LeaseTTL)))
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}

// maxPartitions bounds the number of partitions of a projection.
const maxPartitions = 1024

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func invalidConfig(field, reason string) error {
	return &eventstore.InvalidError{What: "projection.WorkerConfig." + field, Reason: reason}
}
