package query

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// Retry says how often reads are repeated by this package. It counts on top of the
// driver, which by itself repeats a read once, at once, on another connection.
//
// Repeated are: find, aggregate without $out and $merge, count, distinct and
// explain, when they fail before the first result with an error that says
// nothing about the query (network, failover, shutdown). Not repeated are
// writes, fetching further batches of a cursor, and anything inside a session,
// whose transaction must be repeated as a whole by whoever began it.
type Retry struct {
	// Attempts is how often a read is tried; 0 means 3, 1 means no repetition.
	Attempts int
	// MinBackoff is the longest wait before the second attempt; it doubles with each further one. 0 means 20 ms.
	MinBackoff time.Duration
	// MaxBackoff bounds the wait; 0 means 500 ms.
	MaxBackoff time.Duration
}

func (r Retry) withDefaults() (Retry, error) {
	switch {
	case r.Attempts < 0:
		return r, invalidf("query: Retry.Attempts is %d, it can't be negative", r.Attempts)
	case r.MinBackoff < 0 || r.MaxBackoff < 0:
		return r, invalidf("query: Retry.MinBackoff and MaxBackoff can't be negative")
	}
	if r.Attempts == 0 {
		r.Attempts = 3
	}
	if r.MinBackoff == 0 {
		r.MinBackoff = 20 * time.Millisecond
	}
	if r.MaxBackoff == 0 {
		r.MaxBackoff = max(500*time.Millisecond, r.MinBackoff)
	}
	if r.MaxBackoff < r.MinBackoff {
		return r, invalidf("query: Retry.MaxBackoff is less than MinBackoff")
	}
	return r, nil
}

// read runs a read until it succeeds, fails for good or has had its attempts.
func (r Retry) read(ctx context.Context, do func(context.Context) error) error {
	backoff := r.MinBackoff
	for attempt := 1; ; attempt++ {
		err := do(ctx)
		if err == nil || attempt >= r.Attempts || ctx.Err() != nil || mongo.SessionFromContext(ctx) != nil || !retryableRead(err) {
			return err
		}
		if !wait(ctx, rand.N(backoff)+1) {
			return err
		}
		backoff = min(2*backoff, r.MaxBackoff)
	}
}

// wait reports false if the context ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// retryableReadCodes are the server's answers that say "not now" and nothing about the command.
var retryableReadCodes = [...]int{
	6,     // HostUnreachable
	7,     // HostNotFound
	89,    // NetworkTimeout
	91,    // ShutdownInProgress
	134,   // ReadConcernMajorityNotAvailableYet
	189,   // PrimarySteppedDown
	262,   // ExceededTimeLimit
	9001,  // SocketException
	10107, // NotWritablePrimary
	11600, // InterruptedAtShutdown
	11602, // InterruptedDueToReplStateChange
	13435, // NotPrimaryNoSecondaryOk
	13436, // NotPrimaryOrSecondary
}

// retryableRead reports whether repeating a read can help.
func retryableRead(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || mongo.IsTimeout(err) {
		return false
	}
	if mongo.IsNetworkError(err) {
		return true
	}
	var server mongo.ServerError
	if !errors.As(err, &server) {
		return false
	}
	for _, code := range retryableReadCodes {
		if server.HasErrorCode(code) {
			return true
		}
	}
	return false
}
