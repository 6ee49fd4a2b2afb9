package projection

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-es/annals/eventstore"
)

// An item is an event on its way through a partition.
type item struct {
	Routed
	// keys are those of the event's keys that belong to the partition.
	keys []string
	// unroutable says why the keys cannot be found out; keys holds the one that
	// stands in for the stream then.
	unroutable error
	// letter is the dead letter that the event comes from, if any.
	letter *DeadLetter
}

// route finds out which keys of this partition an event concerns, if any.
func (p *partition) route(e eventstore.Event) (item, bool) {
	r, err := p.plan.route(e)
	if err != nil {
		return item{Routed: Routed{Event: e}, keys: []string{p.standIn(e.Stream)}, unroutable: err}, true
	}
	it := item{Routed: r}
	for _, key := range r.Keys {
		if p.owns(key) {
			it.keys = append(it.keys, key)
		}
	}
	return it, len(it.keys) > 0
}

// A failure says which event of a batch the rest of the batch has to be parted
// from.
type failure struct {
	index int
	// key is the one that cannot be brought up to date, empty when the batch
	// need only be parted before the event.
	key string
	err error
	// committed says that everything before the event was committed already.
	committed bool
	// whole says that the batch is to be tried again as it is.
	whole bool
}

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// process brings items through the partition, which ends at position through
// then. It parts what fails from what does not.
func (p *partition) process(ctx, soft context.Context, items []item, through eventstore.Position) error {
	for attempt := 1; ; {
		err := p.attempt(ctx, soft, items, through, nil)
		f, ok := errors.AsType[*failure](err)
		switch {
		case !ok:
			return err
		case f.whole:
			p.failing(ctx, items[0], f, attempt)
			if err := p.cfg.Backoff.wait(soft, attempt); err != nil {
				return err
			}
			attempt++
			continue
		case f.index > 0 && f.committed && soft.Err() != nil:
			return soft.Err()
		case f.index > 0:
			if !f.committed {
				if err := p.process(ctx, soft, items[:f.index], items[f.index].Event.Position-1); err != nil {
					return err
				}
			}
			items = items[f.index:]
		case len(items) > 1:
			if err := p.single(ctx, soft, items[0], items[1].Event.Position-1, f); err != nil {
				return err
			}
			items = items[1:]
		default:
			return p.single(ctx, soft, items[0], through, f)
		}
		attempt = 1
	}
}

// single tries an event that has failed until it succeeds, parking it for the
// keys for which it does not.
func (p *partition) single(ctx, soft context.Context, it item, through eventstore.Position, f *failure) error {
	poisoned := map[string]DeadLetter{}
	for attempt := 1; ; attempt++ {
		if p.hopeless(f, attempt) {
			poisoned[f.key] = p.letter(it, f.key, f.err, attempt)
			p.poison = f.err.Error()
			p.logger.ErrorContext(ctx, "event parked", "key", f.key, "type", it.Event.Type, "stream", it.Event.Stream,
				"position", it.Event.Position, "attempts", attempt, "error", f.err)
			attempt = 0
		} else {
			p.failing(ctx, it, f, attempt)
			if err := p.cfg.Backoff.wait(soft, attempt); err != nil {
				return err
			}
		}
		err := p.attempt(ctx, soft, []item{it}, through, poisoned)
		next, ok := errors.AsType[*failure](err)
		if !ok {
			return err
		}
		if next.key != f.key {
			attempt = 0
		}
		f = next
	}
}

// hopeless says that an event is not to be tried again.
func (p *partition) hopeless(f *failure, attempt int) bool {
	if f.whole {
		return false // what it is handed to is down
	}
	return IsPermanent(f.err) || attempt >= p.cfg.MaxAttempts || errors.As(f.err, new(*DocumentError))
}

func (p *partition) failing(ctx context.Context, it item, f *failure, attempt int) {
	p.report.retrying(&HandlerError{Projection: p.key, Event: it.Event.Ref(), Attempts: attempt, Err: f.err})
	p.logger.WarnContext(ctx, "event not handled, trying again", "key", f.key, "type", it.Event.Type, "stream", it.Event.Stream,
		"position", it.Event.Position, "attempt", attempt, "error", f.err)
}

// letter makes the dead letter of an event for a key.
func (p *partition) letter(it item, key string, err error, attempts int) DeadLetter {
	now := p.cfg.Now().UTC()
	l := DeadLetter{
		LetterID: LetterID{Projection: p.key.Projection, Version: p.key.Version, Key: key, Position: it.Event.Position},
		Event:    it.Event,
		First:    now,
		Last:     now,
		Attempts: attempts,
	}
	if err != nil {
		l.Error = err.Error()
	}
	return l
}

// attempt tries to bring all items through in one step. Poisoned says for which
// keys the only item is to be parked. An error is a *failure, or of the backend.
func (p *partition) attempt(ctx, soft context.Context, items []item, through eventstore.Position, poisoned map[string]DeadLetter) error {
	if err := p.load(ctx, items); err != nil {
		return err
	}
	step := Commit{To: through}
	if f := p.stage(ctx, soft, items, poisoned, &step); f != nil {
		if f.index == 0 || !p.plan.Direct || p.plan.Batch != nil {
			p.work.rewind()
			return f
		}
		step.To, f.committed = items[f.index].Event.Position-1, true
		if items[0].letter != nil {
			step.To = through
		}
		if err := p.finish(ctx, items[:f.index], step); err != nil {
			return err
		}
		return f
	}
	return p.finish(ctx, items, step)
}

// load loads the documents that items need and that are not there yet.
func (p *partition) load(ctx context.Context, items []item) error {
	var keys []string
	for _, it := range items {
		if it.Load {
			keys = append(keys, it.keys...)
		}
	}
	keys = p.work.missing(keys)
	if len(keys) == 0 {
		return nil
	}
	docs, err := p.backend.LoadDocuments(ctx, p.work.model, keys)
	if err != nil {
		return fmt.Errorf("load %d documents of %s: %w", len(keys), p.work.model, err)
	}
	before := p.work.size
	p.work.fill(keys, docs)
	// The number of events in hand follows the size of their documents, so that
	// both stay in bounds.
	switch loaded := p.work.size - before; {
	case loaded > p.cfg.BatchBytes/4:
		p.size = max(1, p.size/2)
	case loaded < p.cfg.BatchBytes/16:
		p.size = min(p.pieceMost(), p.size*2)
	}
	return nil
}

// stage applies items and notes in step what is to be parked.
func (p *partition) stage(ctx, soft context.Context, items []item, poisoned map[string]DeadLetter, step *Commit) *failure {
	if p.plan.Batch != nil {
		return p.stageBatch(ctx, items, poisoned, step)
	}
	for i, it := range items {
		if p.plan.Direct && i > 0 && soft.Err() != nil {
			return &failure{index: i, err: soft.Err()}
		}
		if it.Held && p.plan.Direct {
			continue // the version before has handled it, or has handed it on as a dead letter
		}
		if len(p.parked) > 0 && p.parked[p.standIn(it.Event.Stream)] > 0 && !it.isFor(p.standIn(it.Event.Stream)) {
			step.Parked = append(step.Parked, p.letter(it, p.standIn(it.Event.Stream), nil, 0))
			continue
		}
		for _, key := range it.keys {
			if l, ok := poisoned[key]; ok {
				step.Parked = append(step.Parked, l)
				continue
			}
			if p.parked[key] > 0 && !it.isFor(key) {
				step.Parked = append(step.Parked, p.letter(it, key, nil, 0))
				continue
			}
			err := it.unroutable
			if err == nil {
				err = p.plan.apply(ctx, p.work, it.Routed, key)
			}
			switch {
			case err == nil:
			case errors.Is(err, errCut) && i > 0:
				return &failure{index: i, err: err}
			default:
				return &failure{index: i, key: key, err: err}
			}
		}
	}
	return nil
}

// isFor reports whether the item comes from a dead letter of a key: the one thing
// that passes a parked key.
func (it item) isFor(key string) bool { return it.letter != nil && it.letter.Key == key }

// stageBatch hands all items that are not to be parked over at once.
func (p *partition) stageBatch(ctx context.Context, items []item, poisoned map[string]DeadLetter, step *Commit) *failure {
	var events []eventstore.Event
	for _, it := range items {
		if it.Held {
			continue
		}
		key := it.keys[0]
		if l, ok := poisoned[key]; ok {
			step.Parked = append(step.Parked, l)
		} else if p.parked[key] > 0 && !it.isFor(key) {
			step.Parked = append(step.Parked, p.letter(it, key, nil, 0))
		} else {
			events = append(events, it.Event)
		}
	}
	if len(events) == 0 {
		return nil
	}
	err := p.plan.batch(ctx, events)
	switch {
	case err == nil:
		return nil
	case !IsPermanent(err):
		return &failure{key: items[0].keys[0], err: err, whole: true}
	case len(items) > 1:
		return &failure{index: len(items) / 2, err: err}
	}
	return &failure{key: items[0].keys[0], err: err}
}

// finish commits a step with what items have made of the documents.
func (p *partition) finish(ctx context.Context, items []item, step Commit) error {
	changes, err := p.work.changes()
	if err == nil {
		step.Changes = changes
		for _, it := range items {
			if it.letter != nil && !parks(step.Parked, it.letter.LetterID) {
				step.Unparked = append(step.Unparked, it.letter.LetterID)
			}
		}
		if err = p.withinLimit(ctx, step); err == nil {
			err = p.commit(ctx, step)
		}
	}
	if err != nil {
		p.work.rewind()
		return p.blame(items, err)
	}
	p.session.note(step.Changes)
	p.work.committed()
	for _, l := range step.Parked {
		p.parked[l.Key]++
	}
	for _, id := range step.Unparked {
		if p.parked[id.Key]--; p.parked[id.Key] <= 0 {
			delete(p.parked, id.Key)
		}
	}
	return nil
}

func parks(parked []DeadLetter, id LetterID) bool {
	for _, l := range parked {
		if l.LetterID == id {
			return true
		}
	}
	return false
}

// blame finds the event behind an error of a commit, if one can be found.
func (p *partition) blame(items []item, err error) error {
	if len(items) == 0 {
		return err
	}
	var refused *DocumentError
	switch {
	case errors.As(err, &refused):
		var touching []int
		for i, it := range items {
			for _, key := range it.keys {
				if key == refused.Key && refused.Model == p.work.model {
					touching = append(touching, i)
				}
			}
		}
		if len(touching) == 0 { // of a further model
			return &failure{index: len(items) / 2, key: items[0].keys[0], err: err}
		}
		// The document may be fine up to any of the events.
		return &failure{index: touching[len(touching)/2], key: refused.Key, err: err}
	case errors.Is(err, eventstore.ErrTooLarge):
		return &failure{index: len(items) / 2, key: items[0].keys[0], err: err}
	}
	return err
}
