package projectiontest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// errDead is what a dead process would get, if it were there to get anything.
var errDead = errors.New("projectiontest: the process is dead")

// faults says how often what goes wrong; each is a probability.
type faults struct {
	refused float64 // not done, unavailable
	lost    float64 // done, and the answer is lost
	late    float64 // a commit whose answer is lost arrives once more, later
	slow    float64 // a long pause before
	pause   time.Duration
}

// A flaky backend is a backend as one process sees it: over a network that loses
// questions and answers, until the process dies.
type flaky struct {
	b       projection.Backend
	f       faults
	network *network
	dead    atomic.Bool
	counts  *counts

	mu   sync.Mutex
	rand *rand.Rand
}

var _ projection.Backend = (*flaky)(nil)

// A network is what all processes share. The zero value loses nothing.
type network struct {
	mu    sync.Mutex
	bad   bool // faults happen
	lates sync.WaitGroup
}

func (n *network) set(bad bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.bad = bad
}

func (n *network) isBad() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.bad
}

// later delivers something late, unless the network has become good meanwhile.
func (n *network) later(deliver func()) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.bad {
		n.lates.Go(deliver)
	}
	return n.bad
}

// calm ends all faults and waits for what is still on its way.
func (n *network) calm() {
	n.set(false)
	n.lates.Wait()
}

// counts tells what has happened in a run.
type counts struct{ refused, lost, late, slow, kills, steals, jumps, repartitions, retries, appends atomic.Int64 }

func (c *counts) String() string {
	return fmt.Sprintf("%d appends, %d refused, %d answers lost, %d late commits, %d pauses, %d kills, %d leases stolen, %d clock jumps, %d repartitions, %d retries of dead letters",
		c.appends.Load(), c.refused.Load(), c.lost.Load(), c.late.Load(), c.slow.Load(), c.kills.Load(), c.steals.Load(), c.jumps.Load(), c.repartitions.Load(), c.retries.Load())
}

func (f *flaky) draw(p float64) bool {
	if p == 0 || !f.network.isBad() {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.rand.Float64() < p
}

func (f *flaky) upTo(d time.Duration) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Duration(f.rand.Int64N(int64(d) + 1))
}

// call makes one call over the network.
func call[R any](ctx context.Context, f *flaky, do func(context.Context) (R, error)) (R, error) {
	var none R
	if f.dead.Load() {
		return none, errDead
	}
	if f.draw(f.f.slow) {
		f.counts.slow.Add(1)
		timer := time.NewTimer(f.upTo(f.f.pause))
		defer timer.Stop()
		select {
		case <-timer.C: // a paused process does not see that its context has ended
		case <-ctx.Done():
		}
	}
	if f.draw(f.f.refused) {
		f.counts.refused.Add(1)
		return none, fmt.Errorf("projectiontest: refused: %w", eventstore.ErrUnavailable)
	}
	r, err := do(ctx)
	if f.dead.Load() {
		return none, errDead
	}
	if err == nil && f.draw(f.f.lost) {
		f.counts.lost.Add(1)
		return none, eventstore.OutcomeUnknown(fmt.Errorf("projectiontest: answer lost: %w", eventstore.ErrUnavailable))
	}
	return r, err
}

func do(ctx context.Context, f *flaky, fn func(context.Context) error) error {
	_, err := call(ctx, f, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
	return err
}

// Commit is repeated now and then behind the caller's back, as a network may.
func (f *flaky) Commit(ctx context.Context, c projection.Commit) (projection.Checkpoint, error) {
	next, err := call(ctx, f, func(ctx context.Context) (projection.Checkpoint, error) { return f.b.Commit(ctx, c) })
	if f.draw(f.f.late) && f.network.later(func() {
		time.Sleep(f.upTo(f.f.pause / 4))
		_, _ = f.b.Commit(context.WithoutCancel(ctx), c)
	}) {
		f.counts.late.Add(1)
	}
	// An answer that is lost is not the same as a refusal.
	if err != nil && errors.Is(err, eventstore.ErrOutcomeUnknown) {
		return projection.Checkpoint{}, eventstore.OutcomeUnknown(errors.New("projectiontest: answer lost"))
	}
	return next, err
}

func (f *flaky) LoadCheckpoint(ctx context.Context, key projection.CheckpointKey) (projection.Checkpoint, error) {
	return call(ctx, f, func(ctx context.Context) (projection.Checkpoint, error) { return f.b.LoadCheckpoint(ctx, key) })
}

func (f *flaky) SaveCheckpoint(ctx context.Context, key projection.CheckpointKey, c projection.Checkpoint) error {
	return do(ctx, f, func(ctx context.Context) error { return f.b.SaveCheckpoint(ctx, key, c) })
}

func (f *flaky) DeleteCheckpoint(ctx context.Context, key projection.CheckpointKey) error {
	return do(ctx, f, func(ctx context.Context) error { return f.b.DeleteCheckpoint(ctx, key) })
}

func (f *flaky) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (projection.Lease, error) {
	return call(ctx, f, func(ctx context.Context) (projection.Lease, error) { return f.b.AcquireLease(ctx, name, owner, ttl) })
}

func (f *flaky) ReleaseLease(ctx context.Context, l projection.Lease) error {
	return do(ctx, f, func(ctx context.Context) error { return f.b.ReleaseLease(ctx, l) })
}

func (f *flaky) Leases(ctx context.Context, prefix string) ([]projection.Lease, error) {
	return call(ctx, f, func(ctx context.Context) ([]projection.Lease, error) { return f.b.Leases(ctx, prefix) })
}

func (f *flaky) LoadDocuments(ctx context.Context, model string, keys []string) ([]projection.Document, error) {
	return call(ctx, f, func(ctx context.Context) ([]projection.Document, error) { return f.b.LoadDocuments(ctx, model, keys) })
}

func (f *flaky) ScanDocuments(ctx context.Context, model, from, to string, limit int) ([]projection.Document, error) {
	return call(ctx, f, func(ctx context.Context) ([]projection.Document, error) {
		return f.b.ScanDocuments(ctx, model, from, to, limit)
	})
}

func (f *flaky) DropModel(ctx context.Context, model string) error {
	return do(ctx, f, func(ctx context.Context) error { return f.b.DropModel(ctx, model) })
}

func (f *flaky) DeadLetters(ctx context.Context, q projection.LetterQuery) ([]projection.DeadLetter, error) {
	return call(ctx, f, func(ctx context.Context) ([]projection.DeadLetter, error) { return f.b.DeadLetters(ctx, q) })
}

func (f *flaky) ParkedKeys(ctx context.Context, name string, version int) (map[string]int, error) {
	return call(ctx, f, func(ctx context.Context) (map[string]int, error) { return f.b.ParkedKeys(ctx, name, version) })
}

func (f *flaky) DropDeadLetters(ctx context.Context, name string, version int) error {
	return do(ctx, f, func(ctx context.Context) error { return f.b.DropDeadLetters(ctx, name, version) })
}

func (f *flaky) LoadRow(ctx context.Context, name string) (projection.Row, error) {
	return call(ctx, f, func(ctx context.Context) (projection.Row, error) { return f.b.LoadRow(ctx, name) })
}

func (f *flaky) SaveRow(ctx context.Context, r projection.Row) (projection.Row, error) {
	return call(ctx, f, func(ctx context.Context) (projection.Row, error) { return f.b.SaveRow(ctx, r) })
}

func (f *flaky) DeleteRow(ctx context.Context, name string) error {
	return do(ctx, f, func(ctx context.Context) error { return f.b.DeleteRow(ctx, name) })
}

func (f *flaky) Rows(ctx context.Context, prefix string) ([]projection.Row, error) {
	return call(ctx, f, func(ctx context.Context) ([]projection.Row, error) { return f.b.Rows(ctx, prefix) })
}

func (f *flaky) Now(ctx context.Context) (time.Time, error) {
	return call(ctx, f, func(ctx context.Context) (time.Time, error) { return f.b.Now(ctx) })
}
