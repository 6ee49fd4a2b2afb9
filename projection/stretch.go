package projection

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/annals-es/annals/eventstore"
)

const (
	// pieceMost is how many events are kept in hand at once.
	pieceMost = 5_000
	// chunkMost is how many events are folded at once while catching up.
	chunkMost = 1_000
	// spanFirst is how many events the first step has of a partition that is far
	// behind. It doubles from step to step.
	spanFirst = 20_000
	// slowStep is how long a step may take before the next ones are made smaller.
	// A server ends a transaction after a minute.
	slowStep = 5 * time.Second
)

func (p *partition) pieceMost() int { return min(p.cfg.BatchSize, pieceMost) }

// chunkMost is smaller than a step, so that small steps are made in several
// chunks, too.
func (p *partition) chunkMost() int { return min(max(1, p.cfg.BatchSize/4), chunkMost) }

// A chunk is a run of the log on its way to the documents.
type chunk struct {
	items   []item
	events  int // read, those that concern nobody here included
	bytes   int
	through eventstore.Position
	err     error
}

// stretch handles the log up to a position.
func (p *partition) stretch(ctx, soft context.Context, number int, through, hold eventstore.Position) error {
	far := through-p.read > eventstore.Position(p.chunkMost())
	switch {
	case far && p.read < p.narrow:
		return p.pieces(ctx, soft, number, p.chunks(soft, p.query(min(through, p.narrow)), hold, min(p.size, p.chunkMost()), p.cfg.BatchBytes/4))
	case far && !p.cuts && !p.plan.Direct && p.plan.Batch == nil && p.plan.Dispatcher == nil:
		return p.flow(ctx, soft, number, through, hold)
	}
	if !far {
		return p.pieces(ctx, soft, number, p.chunks(soft, p.query(through), hold, p.size, p.cfg.BatchBytes))
	}
	reading, cancel := context.WithCancel(soft)
	chunks, wait := ahead(p.chunks(reading, p.query(through), hold, p.size, p.cfg.BatchBytes/2), 0)
	defer wait()
	defer cancel()
	return p.pieces(ctx, soft, number, chunks)
}

func (p *partition) query(through eventstore.Position) eventstore.LogQuery {
	q := eventstore.LogQuery{After: p.read, Through: through, Filter: p.plan.Filter}
	if p.plan.ByStream && p.count > 1 {
		q.Filter.Share = eventstore.Share{Index: p.index, Of: p.count}
	}
	return q
}

// chunks reads the log in runs of at most size events, which are not added to
// when they have as many bytes. The last one reaches the end of the query, unless
// it comes with an error.
func (p *partition) chunks(soft context.Context, q eventstore.LogQuery, hold eventstore.Position, size, bytes int) iter.Seq[chunk] {
	return func(yield func(chunk) bool) {
		c := chunk{through: q.After}
		for e, err := range p.log.ReadLog(soft, q) {
			if err != nil {
				yield(chunk{err: fmt.Errorf("read the log behind %d: %w", c.through, err)})
				return
			}
			if it, ok := p.route(e); ok {
				it.Held = e.Position <= hold
				c.items = append(c.items, it)
			}
			c.through = e.Position
			c.events++
			if c.bytes += len(e.Data); c.events < size && c.bytes < bytes {
				continue
			}
			if !yield(c) {
				return
			}
			c = chunk{items: make([]item, 0, min(len(c.items), size)), through: c.through}
		}
		if soft.Err() == nil {
			c.through = q.Through
			yield(c)
		}
	}
}

// ahead has a sequence produced by a goroutine that is a number of elements ahead,
// and one. Stop waits for its end, which it makes come after the element in hand.
func ahead[T any](seq iter.Seq[T], n int) (_ iter.Seq[T], stop func()) {
	elements, quit := make(chan T, n), make(chan struct{})
	go func() {
		defer close(elements)
		for e := range seq {
			select {
			case elements <- e:
			case <-quit:
				return
			}
		}
	}()
	received := func(yield func(T) bool) {
		for e := range elements {
			if !yield(e) {
				return
			}
		}
	}
	return received, func() {
		close(quit)
		for range elements { //nolint:revive // it waits for the goroutine's end
		}
	}
}

// pieces makes a step of each chunk, or more where an event fails.
func (p *partition) pieces(ctx, soft context.Context, number int, chunks iter.Seq[chunk]) error {
	for c := range chunks {
		if c.err != nil {
			if soft.Err() != nil {
				return nil
			}
			return c.err
		}
		if err := p.batch(ctx, soft, c.items, c.through); err != nil {
			return err
		}
		if _, now := p.told(); now != number || soft.Err() != nil {
			return nil
		}
	}
	return nil
}

// flow folds one chunk after the other and commits what has come of them now and
// then: in the whole history of a projection, a document is written the fewer
// times the more events a step has. The events are not kept. When something fails,
// nothing of the step remains, and the same events are read again to be gone
// through in pieces.
func (p *partition) flow(ctx, soft context.Context, number int, through, hold eventstore.Position) error {
	const lead = 2 // and one each with the reader, in its hands, and in ours
	size := min(p.size, p.chunkMost())
	reading, cancel := context.WithCancel(soft)
	chunks, wait := ahead(p.chunks(reading, p.query(through), hold, size, p.cfg.BatchBytes/(lead+2)), lead)
	defer wait()
	defer cancel()
	s := stride{p: p}
	for c := range chunks {
		if c.err != nil {
			if soft.Err() != nil {
				break
			}
			return errors.Join(s.end(ctx), c.err)
		}
		if !s.take(ctx, soft, c) {
			return s.err
		}
		if s.full() || p.size < size {
			if err := s.end(ctx); err != nil || p.read < p.narrow || p.size < size {
				return err
			}
		}
		if _, now := p.told(); now != number || soft.Err() != nil {
			break
		}
	}
	return s.end(ctx)
}

// A stride is a step that is taken chunk by chunk.
type stride struct {
	p             *partition
	step          Commit
	last          *eventstore.Event
	events, bytes int // read
	handled       int
	err           error
}

// take folds a chunk. It reports whether the stride can go on.
func (s *stride) take(ctx, soft context.Context, c chunk) bool {
	p := s.p
	if s.err = p.load(ctx, c.items); s.err != nil {
		p.work.rewind()
		return false
	}
	if f := p.stage(ctx, soft, c.items, nil, &s.step); f != nil {
		p.work.rewind()
		p.narrow = c.through
		p.span = p.pieceMost() // where one fails there may be more
		p.cuts = p.cuts || errors.Is(f, errCut)
		return false
	}
	s.events += c.events
	s.bytes += c.bytes
	s.handled += len(c.items)
	s.step.To = c.through
	if len(c.items) > 0 {
		e := c.items[len(c.items)-1].Event
		s.last = &e
	}
	return true
}

// full reports whether the stride must be ended.
func (s *stride) full() bool {
	w := s.p.work
	return s.events >= s.p.span || s.bytes >= s.p.cfg.BatchBytes || w.size >= s.p.cfg.BatchBytes ||
		len(w.touched) >= maxKeptDocs || len(s.step.Parked) >= chunkMost
}

// end commits what was folded and starts the next stride.
func (s *stride) end(ctx context.Context) error {
	p, done := s.p, *s
	*s = stride{p: p}
	if done.step.To == 0 {
		return nil
	}
	if done.handled == 0 {
		p.read = done.step.To
		p.report.at(p.read, 0, time.Time{}, p.parkedEvents())
		return p.flushIdle(ctx)
	}
	since := time.Now()
	err := p.finish(ctx, nil, done.step)
	tooLarge := errors.Is(err, eventstore.ErrTooLarge)
	switch {
	case tooLarge || errors.As(err, new(*DocumentError)) || errors.As(err, new(*LimitError)):
		if tooLarge {
			p.spanMost = max(1, done.events/2)
			p.span = min(p.span, p.spanMost)
		}
		p.narrow = done.step.To
		return nil
	case err != nil:
		// It may have been too much for the time that there is.
		p.span = max(1, done.events/4)
		if time.Since(since) > slowStep {
			p.spanMost = max(1, done.events/2)
		}
		return err
	case time.Since(since) > slowStep:
		p.span = max(1, done.events/2)
	case done.events >= p.span:
		p.span = min(2*p.span, p.spanMost)
	}
	p.work.forget(p.cfg.BatchBytes)
	p.report.at(p.read, done.handled, done.last.Time, p.parkedEvents())
	return nil
}
