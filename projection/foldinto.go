package projection

import (
	"context"
	"errors"

	"github.com/annals-es/annals/eventstore"
)

// FoldInto applies events to the documents of a model without a worker: for
// backends that write read models together with the events. Events that the plan
// does not handle are passed over.
//
// Load is asked for documents that handlers need, and write is given what became
// of them: once, with applied = len(events), or in several steps where an event
// needs a document as a partial update before has left it; then applied says how
// many of the events the step and those before it cover. Write may be called with
// no changes. Errors of load and write are returned as they are, those of handlers
// as a [*HandlerError].
//
// A plan whose handlers have effects besides documents is an
// [*eventstore.InvalidError].
func (p *Plan) FoldInto(
	ctx context.Context, model string, events []eventstore.Event,
	load func(ctx context.Context, keys []string) ([]Document, error),
	write func(ctx context.Context, changes []Change, applied int) error,
) error {
	if p.Direct || p.Effects || p.Batch != nil || p.Dispatcher != nil {
		return &eventstore.InvalidError{What: "projection " + p.Name, Reason: "does more than to write documents, which only a worker can do"}
	}
	f := folding{plan: p, work: newWork(model, p.Codec), load: load}
	if err := f.route(events); err != nil {
		return err
	}
	for start := 0; ; {
		applied, end, err := len(events), len(f.routed), f.stage(ctx, start, len(f.routed))
		if cut, ok := errors.AsType[*cutError](err); ok {
			f.work.rewind()
			applied, end = f.index[cut.at], cut.at
			err = f.stage(ctx, start, end)
		}
		if err != nil {
			return err
		}
		changes, err := f.work.changes()
		if err != nil {
			return err
		}
		if err := write(ctx, changes, applied); err != nil {
			return err
		}
		if end == len(f.routed) {
			return nil
		}
		f.work.committed()
		start = end
	}
}

// folding is one call of FoldInto.
type folding struct {
	plan   *Plan
	work   *Work
	load   func(ctx context.Context, keys []string) ([]Document, error)
	routed []Routed
	index  []int // of each routed event among all
}

func (f *folding) route(events []eventstore.Event) error {
	matches := f.plan.Filter.Matcher()
	for i, e := range events {
		if !matches(e.Stream, e.Type) {
			continue
		}
		r, err := f.plan.route(e)
		if err != nil {
			return f.failed(e, err)
		}
		f.routed, f.index = append(f.routed, r), append(f.index, i)
	}
	return nil
}

// stage loads the documents of routed events and applies the events.
func (f *folding) stage(ctx context.Context, start, end int) error {
	var keys []string
	for _, r := range f.routed[start:end] {
		if r.Load {
			keys = append(keys, r.Keys...)
		}
	}
	if keys = f.work.missing(keys); len(keys) > 0 {
		docs, err := f.load(ctx, keys)
		if err != nil {
			return err
		}
		f.work.fill(keys, docs)
	}
	for i := start; i < end; i++ {
		for _, key := range f.routed[i].Keys {
			err := f.plan.apply(ctx, f.work, f.routed[i], key)
			if errors.Is(err, errCut) && i > start {
				return &cutError{at: i}
			}
			if err != nil {
				return f.failed(f.routed[i].Event, err)
			}
		}
	}
	return nil
}

func (f *folding) failed(e eventstore.Event, err error) error {
	return &HandlerError{
		Projection: CheckpointKey{Projection: f.plan.Name, Version: f.plan.Version}, Event: e.Ref(), Attempts: 1, Err: err,
	}
}

// cutError says before which event there must be a write.
type cutError struct{ at int }

func (*cutError) Error() string { return errCut.Error() }
