package projection

import (
	"context"
	"fmt"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// WaitFor waits until the projection has applied an append, so that its caller
// reads its own writes. Errors are those of [Runner.WaitUntil].
func (r *Runner) WaitFor(ctx context.Context, token eventstore.Token) error {
	position, err := r.log.Await(ctx, token)
	if err != nil {
		return fmt.Errorf("wait for projection %s: %w", r.projection.key, err)
	}
	return r.WaitUntil(ctx, position)
}

// WaitUntil waits until the projection has applied everything up to a position.
// It returns the error of a runner that has given up, and the context's error; a
// runner that is not running may be started later and is waited for.
func (r *Runner) WaitUntil(ctx context.Context, position eventstore.Position) error {
	for {
		status, changed := r.progress.watch()
		switch {
		case status.Position >= position:
			return nil
		case status.State == Failed:
			return fmt.Errorf("wait for projection %s to reach %d: it failed at %d: %w", r.projection.key, position, status.Position, status.Err)
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for projection %s to reach %d: it is at %d: %w", r.projection.key, position, status.Position, ctx.Err())
		}
	}
}

// WaitFor waits until a projection that may run in another process has applied
// an append, by looking at its checkpoint: every few milliseconds at first, ten
// times a second later.
func WaitFor(ctx context.Context, log eventstore.Log, checkpoints CheckpointStore, key CheckpointKey, token eventstore.Token) error {
	position, err := log.Await(ctx, token)
	if err != nil {
		return fmt.Errorf("wait for projection %s: %w", key, err)
	}
	for delay := 2 * time.Millisecond; ; delay = min(delay*3/2, 100*time.Millisecond) {
		c, err := checkpoints.LoadCheckpoint(ctx, key)
		if err != nil {
			return fmt.Errorf("wait for projection %s: %w", key, err)
		}
		if c.Position >= position {
			return nil
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return fmt.Errorf("wait for projection %s to reach %d: it is at %d: %w", key, position, c.Position, ctx.Err())
		}
	}
}
