package eventstore

import (
	"context"
	"errors"
	"iter"
)

// DefaultBatch is the greatest number of events in a batch of [Follow] unless
// told otherwise.
const DefaultBatch = 1_000

// Subscribe yields what q asks for, as ReadLog does, and then waits for more. It
// ends with an error, at q.Through or after q.Limit events; cancelling ctx ends
// it with the context's error.
func Subscribe(ctx context.Context, log Log, q LogQuery) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for batch, err := range Follow(ctx, log, q, DefaultBatch) {
			if err != nil {
				yield(Event{}, err)
				return
			}
			for _, e := range batch.Events {
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

// A Batch is a stretch of the log: all events up to Through that passed the
// filter, behind those of the batch before.
type Batch struct {
	// Events may be empty when nothing in the stretch passed the filter.
	Events []Event
	// Through is the position up to which the log was read. It is a checkpoint:
	// it moves on also over events that did not pass.
	Through Position
}

// Follow yields the log in batches, behind q.After and without end: it waits at
// the head. It ends as Subscribe does. A batch has at most size events
// ([DefaultBatch] when zero); what is there is yielded at once and never held
// back to fill one. The slice of a batch is the caller's.
//
// It is what a projection runs on: progress is known even when nothing passes
// the filter.
func Follow(ctx context.Context, log Log, q LogQuery, size int) iter.Seq2[Batch, error] {
	return func(yield func(Batch, error) bool) {
		if err := q.Validate(); err != nil {
			yield(Batch{}, err)
			return
		}
		if size <= 0 {
			size = DefaultBatch
		}
		f := follower{log: log, query: q, size: size}
		for !f.done() {
			if err := f.stretch(ctx, yield); err != nil {
				if !errors.Is(err, errBreak) {
					yield(Batch{}, err)
				}
				return
			}
		}
	}
}

// errBreak says that the consumer has left the loop.
var errBreak = errors.New("break")

// A follower follows the log; its query moves on with what was yielded.
type follower struct {
	log   Log
	query LogQuery
	size  int
	full  bool // the query's limit was reached
}

func (f *follower) done() bool {
	return f.full || (f.query.Through > 0 && f.query.After >= f.query.Through)
}

// stretch waits for something behind the query's position and yields all of the
// log up to its present head.
func (f *follower) stretch(ctx context.Context, yield func(Batch, error) bool) error {
	head, err := f.log.Wait(ctx, f.query.After)
	if err != nil {
		return err
	}
	q := f.query
	if q.Through == 0 || q.Through > head {
		q.Through = head
	}
	var events []Event
	for e, err := range f.log.ReadLog(ctx, q) {
		if err != nil {
			return err
		}
		if events = append(events, e); len(events) < f.size {
			continue
		}
		if !f.yield(events, e.Position, yield) {
			return errBreak
		}
		events = nil
	}
	if f.query.Limit > 0 && len(events) == f.query.Limit {
		q.Through = events[len(events)-1].Position
	}
	if f.query.After < q.Through && !f.full && !f.yield(events, q.Through, yield) {
		return errBreak
	}
	return nil
}

func (f *follower) yield(events []Event, through Position, yield func(Batch, error) bool) bool {
	f.query.After = through
	if f.query.Limit > 0 {
		f.query.Limit -= len(events)
		f.full = f.query.Limit == 0
	}
	return yield(Batch{Events: events, Through: through}, nil)
}

// Collect returns all events of a read, and the error that ended it.
func Collect(events iter.Seq2[Event, error]) ([]Event, error) {
	var all []Event
	for e, err := range events {
		if err != nil {
			return all, err
		}
		all = append(all, e)
	}
	return all, nil
}
