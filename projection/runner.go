package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A Runner runs one projection in this process: from its checkpoint to the log's
// head, and then live. Its methods are safe for concurrent use.
//
// A runner takes no lease. Two of the same projection do its work twice.
type Runner struct {
	log         eventstore.Log
	checkpoints CheckpointStore
	projection  compiled
	cfg         Config
	logger      *slog.Logger
	progress    *progress
}

// NewRunner returns a runner. The registry must hold the Go types of all
// handlers. A projection or configuration that makes no sense is an error that
// names what is wrong with it.
func NewRunner(log eventstore.Log, registry *eventstore.Registry, checkpoints CheckpointStore, p Projection, cfg Config) (*Runner, error) {
	if log == nil || registry == nil || checkpoints == nil {
		return nil, &eventstore.InvalidError{What: "projection " + p.Name, Reason: "needs a log, a registry and a checkpoint store"}
	}
	cfg, err := cfg.withDefaults()
	c, err2 := compile(p, registry)
	if err := errors.Join(err, err2); err != nil {
		return nil, err
	}
	return &Runner{
		log:         log,
		checkpoints: checkpoints,
		projection:  c,
		cfg:         cfg,
		logger:      cfg.Logger.With("projection", c.key.Projection, "version", c.key.Version),
		progress:    newProgress(cfg.Now),
	}, nil
}

// Run runs the projection until ctx is cancelled, which is a clean stop and
// returns nil: the event in hand is finished, and the checkpoint saved. It
// returns an error when the log or the checkpoint store fail, and a
// [*HandlerError] when an event cannot be handled; what was handled before it is
// in the checkpoint. A second Run at the same time is [ErrRunning]; after it has
// returned, Run can be called again.
//
// The log and the checkpoint store are tried again as handlers are while they
// are unavailable.
func (r *Runner) Run(ctx context.Context) (err error) {
	if !r.progress.start() {
		return fmt.Errorf("projection %s: %w", r.projection.key, ErrRunning)
	}
	defer func() {
		if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
			err = nil
		}
		r.progress.stop(err)
		if err != nil {
			r.logger.ErrorContext(ctx, "projection failed", "position", r.progress.position(), "error", err)
		} else {
			r.logger.InfoContext(ctx, "projection stopped", "position", r.progress.position())
		}
	}()
	for failures := 0; ; {
		before := r.progress.position()
		err := r.follow(ctx)
		if !errors.Is(err, eventstore.ErrUnavailable) || errors.As(err, new(*HandlerError)) {
			return err
		}
		if r.progress.position() > before {
			failures = 0
		}
		if failures++; r.cfg.MaxAttempts > 0 && failures >= r.cfg.MaxAttempts {
			return err
		}
		r.logger.WarnContext(ctx, "store unavailable, trying again", "attempt", failures, "error", err)
		r.progress.retrying(err)
		if err := r.cfg.Backoff.wait(ctx, failures); err != nil {
			return err
		}
	}
}

// follow follows the log from the saved checkpoint.
func (r *Runner) follow(ctx context.Context) error {
	checkpoint, err := r.checkpoints.LoadCheckpoint(ctx, r.projection.key)
	if err != nil {
		return fmt.Errorf("projection %s: load checkpoint: %w", r.projection.key, err)
	}
	r.progress.resume(checkpoint.Position)
	r.logger.InfoContext(ctx, "projection running", "position", checkpoint.Position)
	q := eventstore.LogQuery{After: checkpoint.Position, Filter: r.projection.filter}
	for batch, err := range eventstore.Follow(ctx, r.log, q, r.cfg.BatchSize) {
		if err != nil {
			return fmt.Errorf("projection %s: read the log after %d: %w", r.projection.key, r.progress.position(), err)
		}
		if err := r.apply(ctx, batch); err != nil {
			return err
		}
	}
	return nil
}

// apply handles a batch and saves the checkpoint behind what was handled, all of
// it or not.
func (r *Runner) apply(ctx context.Context, batch eventstore.Batch) error {
	through, handled := batch.Through, 0
	var failed error
	for _, e := range batch.Events {
		if failed = r.handle(ctx, e); failed != nil {
			through = e.Position - 1
			break
		}
		handled++
	}
	if through <= r.progress.position() {
		return failed
	}
	if err := r.save(ctx, through); err != nil {
		return errors.Join(failed, err)
	}
	r.progress.advance(through, handled, lastTime(batch.Events[:handled]))
	return failed
}

func lastTime(events []eventstore.Event) time.Time {
	if len(events) == 0 {
		return time.Time{}
	}
	return events[len(events)-1].Time
}

// handle hands an event to its handler until that succeeds.
func (r *Runner) handle(ctx context.Context, e eventstore.Event) error {
	for attempt := 1; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := r.projection.handle(ctx, e)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		failed := &HandlerError{Projection: r.projection.key, Event: e.Ref(), Attempts: attempt, Err: err}
		if IsPermanent(err) || (r.cfg.MaxAttempts > 0 && attempt >= r.cfg.MaxAttempts) {
			return failed
		}
		r.progress.retrying(failed)
		r.logger.WarnContext(ctx, "event not handled, trying again",
			"type", e.Type, "stream", e.Stream, "position", e.Position, "attempt", attempt, "error", err)
		if err := r.cfg.Backoff.wait(ctx, attempt); err != nil {
			return err
		}
	}
}

// save saves the checkpoint, also when the runner is being stopped: what was
// handled should not come again.
func (r *Runner) save(ctx context.Context, through eventstore.Position) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), r.cfg.SaveTimeout)
	defer cancel()
	if err := r.checkpoints.SaveCheckpoint(ctx, r.projection.key, Checkpoint{Position: through}); err != nil {
		return fmt.Errorf("projection %s: save checkpoint %d: %w", r.projection.key, through, err)
	}
	return nil
}

// Reset moves the checkpoint so that the next Run starts behind position: zero
// for everything, and at most the log's head. It is refused with [ErrRunning] while
// the runner runs. The read model is not touched.
func (r *Runner) Reset(ctx context.Context, position eventstore.Position) error {
	if !r.progress.start() {
		return fmt.Errorf("reset projection %s: %w; stop it first", r.projection.key, ErrRunning)
	}
	defer r.progress.stop(nil)
	if err := checkStart(ctx, r.log, position); err != nil {
		return fmt.Errorf("reset projection %s: %w", r.projection.key, err)
	}
	if err := r.save(ctx, position); err != nil {
		return err
	}
	r.progress.resume(position)
	return nil
}
