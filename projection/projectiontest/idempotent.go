package projectiontest

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// A Model is a projection and what its read model holds.
type Model struct {
	Projection projection.Projection
	// Dump returns the read model as a value that cmp can compare.
	Dump func() any
}

// Idempotent checks that a projection bears to get events again, as it does when
// a worker dies between handling and saving the checkpoint. It runs the
// projection once over the payloads, and then repeatedly with the runner thrown
// back: once over everything from the start, and at random places by a few
// events. All must leave the same read model. New returns a projection on an empty
// read model.
//
// It reports to t, and prints the seed of the random places.
func Idempotent(t testing.TB, registry *eventstore.Registry, payloads []any, newModel func() Model, options ...cmp.Option) {
	t.Helper()
	log, err := NewLog(registry, payloads...)
	if err != nil {
		t.Fatalf("projectiontest: %v", err)
	}
	end := eventstore.Position(len(payloads))
	once := newModel()
	run(t, log, registry, once, end, nil)
	want := once.Dump()

	again := newModel()
	run(t, log, registry, again, end, []throwback{{from: end, to: 0}})
	if diff := cmp.Diff(want, again.Dump(), options...); diff != "" {
		t.Errorf("the read model is another after all events came twice (-once +twice):\n%s", diff)
	}

	seed := rand.Uint64()
	random := rand.New(rand.NewPCG(seed, 0))
	var backs []throwback
	for at := eventstore.Position(0); at < end; {
		at = min(end, at+1+eventstore.Position(random.Int64N(int64(max(1, end/4)))))
		backs = append(backs, throwback{from: at, to: eventstore.Position(random.Int64N(int64(at + 1)))})
	}
	crashed := newModel()
	run(t, log, registry, crashed, end, backs)
	if diff := cmp.Diff(want, crashed.Dump(), options...); diff != "" {
		t.Errorf("the read model is another after a few events came again (seed %d, thrown back %v) (-once +again):\n%s", seed, backs, diff)
	}
}

// A throwback is a loss of the last checkpoints: having handled everything up to
// from, the projection goes on behind to.
type throwback struct{ from, to eventstore.Position }

func run(t testing.TB, log *Log, registry *eventstore.Registry, m Model, end eventstore.Position, backs []throwback) {
	t.Helper()
	checkpoints := &checkpoints{}
	for _, b := range backs {
		runTo(t, log, registry, checkpoints, m, b.from)
		checkpoints.position = b.to
	}
	runTo(t, log, registry, checkpoints, m, end)
}

func runTo(t testing.TB, log *Log, registry *eventstore.Registry, checkpoints *checkpoints, m Model, end eventstore.Position) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	r, err := projection.NewRunner(&prefix{Log: log, end: end}, registry, checkpoints, m.Projection, projection.Config{MaxAttempts: 1})
	if err != nil {
		t.Fatalf("projectiontest: %v", err)
	}
	checkpoints.reached = func(p eventstore.Position) {
		if p >= end {
			cancel()
		}
	}
	if checkpoints.position >= end {
		return
	}
	if err := r.Run(ctx); err != nil {
		t.Fatalf("projectiontest: %v", err)
	}
}

// A prefix is a log that ends early.
type prefix struct {
	*Log
	end eventstore.Position
}

func (p *prefix) Wait(ctx context.Context, after eventstore.Position) (eventstore.Position, error) {
	if after >= p.end {
		<-ctx.Done()
		return 0, ctx.Err()
	}
	head, err := p.Log.Wait(ctx, after)
	return min(head, p.end), err
}

// checkpoints holds the one checkpoint of a run.
type checkpoints struct {
	mu       sync.Mutex
	position eventstore.Position
	reached  func(eventstore.Position)
}

func (c *checkpoints) LoadCheckpoint(ctx context.Context, _ projection.CheckpointKey) (projection.Checkpoint, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return projection.Checkpoint{Position: c.position}, ctx.Err()
}

func (c *checkpoints) SaveCheckpoint(_ context.Context, _ projection.CheckpointKey, cp projection.Checkpoint) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.position = cp.Position
	c.reached(cp.Position)
	return nil
}

func (c *checkpoints) DeleteCheckpoint(context.Context, projection.CheckpointKey) error {
	return errors.New("projectiontest: the checkpoint is not to be deleted here")
}
