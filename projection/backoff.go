package projection

import (
	"context"
	"math/rand/v2"
	"time"
)

// A Backoff says how long to wait between attempts: a random time between half
// of and the whole of First, doubling with each attempt up to Max.
type Backoff struct {
	First, Max time.Duration
}

func (b Backoff) delay(attempt int) time.Duration {
	limit := min(b.First<<min(attempt-1, 30), b.Max)
	if limit <= 0 {
		limit = b.Max
	}
	return limit/2 + rand.N(limit/2+1)
}

// wait waits before another attempt. It returns the context's error when that
// ends first.
func (b Backoff) wait(ctx context.Context, attempt int) error {
	timer := time.NewTimer(b.delay(attempt))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
