package projection

import (
	"errors"
	"log/slog"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// Config says how a [Runner] works. The zero value works.
type Config struct {
	// BatchSize is the greatest number of events between two checkpoints; 500
	// when zero.
	BatchSize int
	// MaxAttempts is how often an event is tried before the runner gives up; 10
	// when zero, without end when negative.
	MaxAttempts int
	// Backoff is the pause between attempts, from 50ms to 10s when zero.
	Backoff Backoff
	// SaveTimeout bounds the saving of the last checkpoint when the runner is
	// stopped; 5s when zero.
	SaveTimeout time.Duration
	// Now is the clock; time.Now when nil.
	Now func() time.Time
	// Logger is told of start, stop, catching up and retries. Nothing is logged
	// when nil.
	Logger *slog.Logger
}

func (c Config) withDefaults() (Config, error) {
	var errs []error
	if c.BatchSize < 0 {
		errs = append(errs, &eventstore.InvalidError{What: "projection.Config.BatchSize", Reason: "is negative; 0 stands for 500"})
	}
	if c.Backoff.First < 0 || c.Backoff.Max < 0 || c.SaveTimeout < 0 {
		errs = append(errs, &eventstore.InvalidError{What: "projection.Config.Backoff or SaveTimeout", Reason: "is negative; 0 stands for the default"})
	}
	if c.BatchSize == 0 {
		c.BatchSize = 500
	}
	if c.MaxAttempts == 0 {
		c.MaxAttempts = 10
	}
	if c.Backoff.First == 0 {
		c.Backoff.First = 50 * time.Millisecond
	}
	if c.Backoff.Max == 0 {
		c.Backoff.Max = max(10*time.Second, c.Backoff.First)
	}
	if c.SaveTimeout == 0 {
		c.SaveTimeout = 5 * time.Second
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c, errors.Join(errs...)
}
