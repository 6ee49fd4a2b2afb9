package projection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/annals-es/annals/eventstore"
)

// A Worker runs its share of the partitions of projections, beside the workers of
// other processes. Any number of workers may run the same projections; each
// partition is run by one of them at a time, and what one writes that has lost a
// partition without noticing is refused.
type Worker struct {
	log     eventstore.Log
	backend Backend
	cfg     WorkerConfig
	plans   []*Plan
	running atomic.Bool
}

// NewWorker returns a worker. The registry must hold the Go types of all
// handlers. Several versions of one projection may be run by one worker.
// Definitions and settings that make no sense are an error that names what is
// wrong with them.
func NewWorker(log eventstore.Log, registry *eventstore.Registry, backend Backend, cfg WorkerConfig, definitions ...Definition) (*Worker, error) {
	if log == nil || registry == nil || backend == nil || len(definitions) == 0 {
		return nil, &eventstore.InvalidError{What: "projection worker", Reason: "needs a log, a registry, a backend and at least one definition"}
	}
	cfg, err := cfg.withDefaults()
	errs := []error{err}
	w := &Worker{log: log, backend: backend, cfg: cfg}
	seen := map[string]struct{}{}
	for i, d := range definitions {
		if d == nil {
			errs = append(errs, &eventstore.InvalidError{What: "projection worker", Reason: fmt.Sprintf("is given nil as definition %d", i+1)})
			continue
		}
		p, err := d.Plan(registry)
		if err == nil {
			err = p.Check()
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		name := versionName(p.Name, p.Version)
		if _, ok := seen[name]; ok {
			errs = append(errs, &eventstore.InvalidError{What: "projection " + name, Reason: "is defined twice"})
		}
		seen[name] = struct{}{}
		w.plans = append(w.plans, p)
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return w, nil
}

// Name is the worker's name, which is the owner's in [PartitionStatus].
func (w *Worker) Name() string { return w.cfg.Name }

// Run works until ctx is cancelled, which is a clean stop and returns nil: every
// partition finishes the batch in hand, saves it and is given up, so that others
// take over at once. A second Run at the same time is [ErrRunning].
//
// Nothing that happens to the backend, the log or the handlers ends Run: it goes
// on when it can, and says so in log and status.
func (w *Worker) Run(ctx context.Context) error {
	if !w.running.CompareAndSwap(false, true) {
		return fmt.Errorf("worker %s: %w", w.cfg.Name, ErrRunning)
	}
	defer w.running.Store(false)
	var wg sync.WaitGroup
	for _, p := range w.plans {
		s := newStation(w, p)
		wg.Go(func() { s.run(ctx) })
	}
	wg.Wait()
	return nil
}
