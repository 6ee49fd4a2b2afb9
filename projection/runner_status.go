package projection

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A Status tells how a projection is doing.
type Status struct {
	Key   CheckpointKey
	State State
	// Position is the checkpoint: everything up to it is applied. Head is the
	// log's, and Lag the number of positions between the two.
	Position, Head eventstore.Position
	Lag            int64
	// Handled is the number of events handled since the runner was made.
	Handled int64
	// EventTime is the time of the last event handled, and Updated when that
	// was; zero before the first.
	EventTime, Updated time.Time
	// Err is the last error; nil when the last attempt was a success.
	Err error
}

// Status tells how the projection is doing. It asks the log for its head; that
// it cannot is an error.
func (r *Runner) Status(ctx context.Context) (Status, error) {
	// The head is asked for first, so that a position read later is never
	// behind it by what was appended in between.
	head, err := r.log.Head(ctx)
	if err != nil {
		return Status{}, fmt.Errorf("status of projection %s: %w", r.projection.key, err)
	}
	s := r.progress.status()
	s.Key = r.projection.key
	s.Head = max(head, s.Position)
	s.Lag = int64(s.Head - s.Position)
	if s.State == Live && s.Lag > 0 {
		s.State = CatchingUp
	}
	return s, nil
}

// progress is what a runner knows of its own progress, and who waits for it.
type progress struct {
	now func() time.Time

	mu      sync.Mutex
	running bool
	s       Status        // Head and Lag unused
	changed chan struct{} // closed and replaced on every change of position or state
}

func newProgress(now func() time.Time) *progress {
	return &progress{now: now, s: Status{State: Stopped}, changed: make(chan struct{})}
}

func (p *progress) update(fn func(*Status)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn(&p.s)
	close(p.changed)
	p.changed = make(chan struct{})
}

// start reports whether the runner was not running, and is now.
func (p *progress) start() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.running {
		return false
	}
	p.running = true
	return true
}

func (p *progress) stop(err error) {
	p.update(func(s *Status) {
		p.running = false
		s.State = Stopped
		if err != nil {
			s.State, s.Err = Failed, err
		}
	})
}

func (p *progress) resume(at eventstore.Position) {
	p.update(func(s *Status) { s.Position, s.State = at, Live })
}

func (p *progress) retrying(err error) {
	p.update(func(s *Status) { s.State, s.Err = Retrying, err })
}

func (p *progress) advance(to eventstore.Position, handled int, eventTime time.Time) {
	p.update(func(s *Status) {
		s.Position, s.State, s.Err = to, Live, nil
		s.Handled += int64(handled)
		s.Updated = p.now()
		if !eventTime.IsZero() {
			s.EventTime = eventTime
		}
	})
}

func (p *progress) position() eventstore.Position { return p.status().Position }

func (p *progress) status() Status {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.s
}

// watch returns the present status and a channel that is closed when it has
// changed.
func (p *progress) watch() (Status, <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.s, p.changed
}
