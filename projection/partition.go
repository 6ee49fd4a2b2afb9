package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// noLimit is the limit of a partition that runs to the head.
const noLimit = eventstore.Position(math.MaxInt64)

// Orders are what a partition is told to do; they may change while it runs.
type orders struct {
	paused bool
	// limit is the position beyond which the partition must not go.
	limit eventstore.Position
	// hold is the position up to which effects are held back.
	hold eventstore.Position
	// requests are what operators ask for, those for other partitions included.
	requests []request
}

// A partition runs one partition of a projection under one lease.
type partition struct {
	plan    *Plan
	cfg     *WorkerConfig
	log     eventstore.Log
	backend Backend
	logger  *slog.Logger
	key     CheckpointKey
	index   int // among count
	count   int
	start   eventstore.Position // where it starts when it has no checkpoint
	fence   int64
	report  *report
	done    func(requestID string) // tells that a request was carried out

	mu         sync.Mutex
	orders     orders
	interrupt  context.CancelFunc // of what the partition waits for
	interrupts int

	// What follows belongs to the goroutine of run.
	cp       Checkpoint
	read     eventstore.Position // through which the log was read, and handled
	saved    time.Time           // when the checkpoint was last saved
	size     int                 // of what is loaded for at once, smaller when documents are large
	span     int                 // of a commit while catching up, in events
	spanMost int                 // what span may grow to
	cuts     bool                // there are events before which there must be a commit
	narrow   eventstore.Position // up to here events are gone through in small pieces, to find one that fails
	work     *Work
	parked   map[string]int
	total    int                 // of events parked in the whole version, as last counted
	counted  time.Time           // when that was
	poison   string              // the error of the event parked last
	carried  map[string]struct{} // requests carried out
	dispatch Dispatcher
	session  *Session
	due      time.Time // of the next Dispatch
	attended int       // the number of the orders at the last Dispatch
}

// tell changes the partition's orders and has it look at them.
func (p *partition) tell(o orders) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.orders.equal(o) {
		return
	}
	p.orders = o
	p.interrupts++
	if p.interrupt != nil {
		p.interrupt()
	}
}

func (o orders) equal(other orders) bool {
	if o.paused != other.paused || o.limit != other.limit || o.hold != other.hold || len(o.requests) != len(other.requests) {
		return false
	}
	for i, r := range o.requests {
		if r.ID != other.requests[i].ID {
			return false
		}
	}
	return true
}

// told returns the present orders and a number that changes with them.
func (p *partition) told() (orders, int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.orders, p.interrupts
}

// interruptible returns a context that ends when the orders are no longer those
// of a number.
func (p *partition) interruptible(ctx context.Context, number int) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.interrupts != number {
		cancel()
	}
	p.interrupt = cancel
	return ctx, cancel
}

// run runs the partition until soft ends, which lets the batch in hand be
// finished, or ctx does, which does not. It returns nil then. [ErrFenced] says
// that another worker has taken over, a [*LimitError] that too much is parked;
// everything else is tried again.
func (p *partition) run(ctx, soft context.Context) error {
	p.carried = map[string]struct{}{}
	p.size = p.pieceMost()
	p.span, p.spanMost = min(p.cfg.BatchSize, spanFirst), p.cfg.BatchSize
	for failures := 0; ; {
		before := p.cp.Revision
		err := p.follow(ctx, soft)
		if soft.Err() != nil || ctx.Err() != nil {
			return nil
		}
		if errors.Is(err, ErrFenced) || errors.As(err, new(*LimitError)) {
			return err
		}
		if p.cp.Revision > before {
			failures = 0
		}
		failures++
		p.report.retrying(err)
		p.logger.WarnContext(ctx, "partition tries again", "position", p.cp.Position, "attempt", failures, "error", err)
		if p.cfg.Backoff.wait(soft, failures) != nil {
			return nil
		}
	}
}

// open loads what the partition builds on.
func (p *partition) open(ctx context.Context) error {
	cp, err := p.backend.LoadCheckpoint(ctx, p.key)
	if err != nil {
		return fmt.Errorf("load checkpoint %s: %w", p.key, err)
	}
	if cp.Fence > p.fence {
		return fmt.Errorf("open %s with fencing token %d: %w (token %d)", p.key, p.fence, ErrFenced, cp.Fence)
	}
	parked, err := p.backend.ParkedKeys(ctx, p.key.Projection, p.key.Version)
	if err != nil {
		return fmt.Errorf("load parked keys of %s: %w", p.key, err)
	}
	p.parked = map[string]int{}
	for key, n := range parked {
		if p.owns(key) {
			p.parked[key] = n
		}
	}
	p.cp, p.read = cp, effective(cp, p.start)
	p.saved = p.cfg.Now()
	p.work = newWork(p.work.model, p.plan.Codec)
	if p.session == nil {
		p.session = &Session{p: p}
	}
	if p.plan.Dispatcher != nil {
		p.dispatch, p.attended = p.plan.Dispatcher(p.session), -1
	}
	p.report.at(p.read, 0, time.Time{}, p.parkedEvents())
	return nil
}

// effective returns how far a partition has got that may not have a checkpoint
// yet.
func effective(cp Checkpoint, start eventstore.Position) eventstore.Position {
	if cp.Revision == 0 && cp.Position == 0 {
		return start
	}
	return cp.Position
}

// owns reports whether a key belongs to the partition, also one that stands in
// for a stream.
func (p *partition) owns(key string) bool {
	if rest, ok := strings.CutPrefix(key, standInPrefix); ok {
		number, _, _ := strings.Cut(rest, ":")
		return number == strconv.Itoa(p.key.Partition)
	}
	return p.count == 1 || int(p.plan.Hash(key)%uint32(p.count)) == p.index
}

// standIn is the key under which a stream's events are parked when their own keys
// cannot be found out.
func (p *partition) standIn(s eventstore.StreamID) string {
	return standInPrefix + strconv.Itoa(p.key.Partition) + ":" + string(s)
}

// follow does everything that there is to do, and waits for more.
func (p *partition) follow(ctx, soft context.Context) error {
	if err := p.open(ctx); err != nil {
		return err
	}
	for soft.Err() == nil {
		o, number := p.told()
		if o.paused {
			if err := p.flush(ctx); err != nil {
				return err
			}
			p.report.state(Paused)
			p.rest(soft, number, time.Time{})
			continue
		}
		if err := p.carryOut(ctx, soft, o.requests); err != nil {
			return err
		}
		if p.dispatch != nil && (p.attended != number || (!p.due.IsZero() && !p.cfg.Now().Before(p.due))) {
			p.attended = number
			if err := p.attend(ctx); err != nil {
				return err
			}
		}
		if p.read >= o.limit {
			if err := p.flush(ctx); err != nil {
				return err
			}
			p.report.state(Waiting)
			p.rest(soft, number, p.due)
			continue
		}
		head, err := p.wait(soft, number)
		switch {
		case err != nil:
			return err
		case head > p.read:
			err = p.stretch(ctx, soft, number, min(head, o.limit), o.hold)
		default:
			err = p.flushIdle(ctx)
		}
		if err != nil {
			return err
		}
	}
	return p.flush(ctx)
}

// rest waits until the orders change, the time has come or soft ends.
func (p *partition) rest(soft context.Context, number int, until time.Time) {
	ctx, cancel := p.interruptible(soft, number)
	defer cancel()
	var timer <-chan time.Time
	if !until.IsZero() {
		t := time.NewTimer(max(until.Sub(p.cfg.Now()), time.Millisecond))
		defer t.Stop()
		timer = t.C
	}
	select {
	case <-ctx.Done():
	case <-timer:
	}
}

// wait waits for events behind what was read. It returns zero when there is
// something else to do.
func (p *partition) wait(soft context.Context, number int) (eventstore.Position, error) {
	head, err := p.report.knownHead(), error(nil)
	if head == 0 {
		head, err = p.log.Head(soft)
	}
	if err == nil {
		ctx, cancel := p.interruptible(soft, number)
		defer cancel()
		if until := p.nextDuty(); !until.IsZero() {
			// With a clock of its own a duty may be due by Now and not by timers.
			var stop context.CancelFunc
			ctx, stop = context.WithTimeout(ctx, max(until.Sub(p.cfg.Now()), time.Millisecond))
			defer stop()
		}
		if head <= p.read {
			p.report.live(p.read)
		}
		head, err = p.log.Wait(ctx, p.read)
		if err != nil && ctx.Err() != nil {
			return 0, nil
		}
	}
	if err != nil {
		if soft.Err() != nil {
			return 0, nil
		}
		return 0, fmt.Errorf("wait for the log behind %d: %w", p.read, err)
	}
	p.report.head(head)
	return head, nil
}

// nextDuty returns when there is something to do besides events, zero for never.
func (p *partition) nextDuty() time.Time {
	next := p.due
	if p.read > p.position() {
		if idle := p.saved.Add(p.cfg.IdleSave); next.IsZero() || idle.Before(next) {
			next = idle
		}
	}
	return next
}

// position returns how far everything is committed.
func (p *partition) position() eventstore.Position { return effective(p.cp, p.start) }

// batch handles a batch that reaches through a position.
func (p *partition) batch(ctx, soft context.Context, items []item, through eventstore.Position) error {
	if len(items) == 0 {
		p.read = through
		p.report.at(through, 0, time.Time{}, p.parkedEvents())
		return p.flushIdle(ctx)
	}
	if err := p.process(ctx, soft, items, through); err != nil {
		return err
	}
	p.work.forget(p.cfg.BatchBytes)
	last := items[len(items)-1].Event
	p.report.at(p.read, len(items), last.Time, p.parkedEvents())
	if p.dispatch != nil && len(p.session.written) > 0 {
		return p.attend(ctx)
	}
	return nil
}

// flushIdle saves the progress over events that concern nobody here, now and
// then.
func (p *partition) flushIdle(ctx context.Context) error {
	if p.cfg.Now().Sub(p.saved) < p.cfg.IdleSave {
		return nil
	}
	return p.flush(ctx)
}

// flush saves the progress over events that concern nobody here.
func (p *partition) flush(ctx context.Context) error {
	if p.read <= p.position() {
		return nil
	}
	return p.commit(ctx, Commit{To: p.read})
}

// attend lets the dispatcher work.
func (p *partition) attend(ctx context.Context) error {
	next, err := p.dispatch.Dispatch(ctx)
	p.session.clear()
	if errors.Is(err, ErrFenced) || errors.Is(err, ErrMoved) {
		return err
	}
	p.due = next
	if err != nil && ctx.Err() == nil {
		p.session.failures++
		p.report.retrying(err)
		p.logger.WarnContext(ctx, "dispatch failed, trying again", "attempt", p.session.failures, "error", err)
		if next.IsZero() {
			p.due = p.cfg.Now().Add(p.cfg.Backoff.delay(p.session.failures))
		}
		return nil
	}
	p.session.failures = 0
	return nil
}

// parkedEvents returns how many events are parked in this partition.
func (p *partition) parkedEvents() int {
	n := 0
	for _, c := range p.parked {
		n += c
	}
	return n
}

// commit makes one step, which starts at the present checkpoint. It tries again
// while the outcome is not known or the backend is unavailable, so what was done
// outside it is not done again needlessly.
func (p *partition) commit(ctx context.Context, c Commit) error {
	c.Key, c.From, c.Fence = p.key, p.cp, p.fence
	for attempt := 1; ; attempt++ {
		next, err := p.backend.Commit(ctx, c)
		if err == nil {
			p.cp, p.read, p.saved = next, max(p.read, effective(next, p.start)), p.cfg.Now()
			return nil
		}
		unknown := errors.Is(err, eventstore.ErrOutcomeUnknown)
		if (!unknown && !errors.Is(err, eventstore.ErrUnavailable)) || (attempt >= p.cfg.MaxAttempts) {
			return err
		}
		p.report.retrying(err)
		if waitErr := p.cfg.Backoff.wait(ctx, attempt); waitErr != nil {
			return err
		}
		if !unknown {
			continue
		}
		stored, loadErr := p.backend.LoadCheckpoint(ctx, p.key)
		if loadErr == nil && stored == (Checkpoint{Position: c.To, Fence: c.Fence, Revision: c.From.Revision + 1}) {
			p.cp, p.read, p.saved = stored, max(p.read, effective(stored, p.start)), p.cfg.Now()
			return nil // nobody else has this fencing token
		}
	}
}
