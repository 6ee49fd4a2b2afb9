package projection

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// A LimitError says that a partition has stopped because too much is parked: not
// single events are poisoned then, the handlers or what they need are broken.
// [Control.Resume] has it go on after the mend.
type LimitError struct {
	Projection CheckpointKey
	// Parked is the number of events that would be parked in all of the version,
	// Limit the greatest number allowed.
	Parked, Limit int
	// Err is why the last event that was parked could not be handled, empty when
	// it was another worker that parked it.
	Err string
}

func (e *LimitError) Error() string {
	text := fmt.Sprintf("projection %s has stopped: %d events would be parked, the limit is %d", e.Projection, e.Parked, e.Limit)
	if e.Err != "" {
		text += "; the last failed with: " + e.Err
	}
	return text
}

// withinLimit refuses a step that would park too much.
func (p *partition) withinLimit(ctx context.Context, step Commit) error {
	if len(step.Parked) == 0 || p.cfg.MaxParked < 0 {
		return nil
	}
	n := p.total + len(step.Parked)
	if n > p.cfg.MaxParked || p.cfg.Now().Sub(p.counted) > time.Second {
		parked, err := p.backend.ParkedKeys(ctx, p.key.Projection, p.key.Version)
		if err != nil {
			return fmt.Errorf("count what is parked: %w", err)
		}
		n = len(step.Parked)
		for _, c := range parked {
			n += c
		}
		p.counted = p.cfg.Now()
	}
	p.total = n
	if n <= p.cfg.MaxParked {
		return nil
	}
	return &LimitError{Projection: p.key, Parked: n, Limit: p.cfg.MaxParked, Err: p.poison}
}

// carryOut does what operators have asked for as far as it concerns this
// partition.
func (p *partition) carryOut(ctx, soft context.Context, requests []request) error {
	for _, r := range requests {
		if _, done := p.carried[r.ID]; done || !p.owns(r.Key) {
			continue
		}
		var err error
		switch r.Kind {
		case retryLetters:
			err = p.retry(ctx, soft, r.Key)
		case skipLetter:
			if err = p.drop(ctx, LetterQuery{Key: r.Key, After: r.Position - 1, Limit: 1}, r); err == nil {
				err = p.retry(ctx, soft, r.Key)
			}
		case discardLetters:
			err = p.drop(ctx, LetterQuery{Key: r.Key}, r)
		}
		if err != nil {
			return err
		}
		p.carried[r.ID] = struct{}{}
		p.done(r.ID)
	}
	return nil
}

// letters lists dead letters of this version.
func (p *partition) letters(ctx context.Context, q LetterQuery) ([]DeadLetter, error) {
	q.Projection, q.Version = p.key.Projection, p.key.Version
	letters, err := p.backend.DeadLetters(ctx, q)
	if err != nil {
		return nil, fmt.Errorf("load dead letters of key %q: %w", q.Key, err)
	}
	return letters, nil
}

// retry applies what is parked for a key, in order, until something fails again.
func (p *partition) retry(ctx, soft context.Context, key string) error {
	applied := 0
	for soft.Err() == nil {
		letters, err := p.letters(ctx, LetterQuery{Key: key, Limit: min(p.cfg.BatchSize, 100)})
		if err != nil {
			return err
		}
		if len(letters) == 0 {
			// What other workers have removed is not counted any more.
			delete(p.parked, key)
			p.report.at(p.read, 0, p.report.eventTime(), p.parkedEvents())
			p.logger.InfoContext(ctx, "key is free again", "key", key, "applied", applied)
			return nil
		}
		failed, err := p.retrySome(ctx, soft, letters)
		if err != nil {
			return err
		}
		p.report.at(p.read, 0, p.report.eventTime(), p.parkedEvents())
		if failed {
			return nil
		}
		applied += len(letters)
	}
	return soft.Err()
}

// retrySome applies letters of one key and reports whether one has failed again.
func (p *partition) retrySome(ctx, soft context.Context, letters []DeadLetter) (failed bool, err error) {
	items := make([]item, len(letters))
	for i := range letters {
		items[i] = p.itemOf(&letters[i])
	}
	for len(items) > 0 {
		err := p.attempt(ctx, soft, items, p.read, nil)
		f, ok := errors.AsType[*failure](err)
		switch {
		case err == nil:
			return false, nil
		case !ok:
			return false, err
		case f.index > 0 && f.committed && soft.Err() != nil:
			return true, soft.Err()
		case f.index > 0 && f.committed:
			items = items[f.index:]
		case f.index > 0:
			if failed, err := p.retryItems(ctx, soft, items[:f.index]); failed || err != nil {
				return failed, err
			}
			items = items[f.index:]
		case len(items) > 1:
			items = items[:1] // find out whether it is this one
		default:
			if soft.Err() != nil {
				return true, soft.Err()
			}
			return true, p.failAgain(ctx, items[0], f)
		}
	}
	return false, nil
}

func (p *partition) retryItems(ctx, soft context.Context, items []item) (bool, error) {
	letters := make([]DeadLetter, len(items))
	for i, it := range items {
		letters[i] = *it.letter
	}
	return p.retrySome(ctx, soft, letters)
}

// itemOf makes an item of a letter: for the letter's key alone, or, when that
// stands in for a stream, for all keys of the event.
func (p *partition) itemOf(l *DeadLetter) item {
	it, _ := p.route(l.Event)
	it.letter = l
	if it.unroutable != nil || l.Key != p.standIn(l.Event.Stream) {
		it.keys = []string{l.Key}
	}
	return it
}

// failAgain notes another failure in a letter.
func (p *partition) failAgain(ctx context.Context, it item, f *failure) error {
	l := *it.letter
	l.Attempts++
	l.Error, l.Last = f.err.Error(), p.cfg.Now().UTC()
	p.logger.WarnContext(ctx, "parked event fails again", "key", l.Key, "position", l.Position, "attempts", l.Attempts, "error", f.err)
	return p.commit(ctx, Commit{To: p.read, Parked: []DeadLetter{l}})
}

// drop removes letters that there were when a request was made, without applying
// them.
func (p *partition) drop(ctx context.Context, q LetterQuery, r request) error {
	for {
		q := q
		if q.Limit == 0 {
			q.Limit = 500
		}
		letters, err := p.letters(ctx, q)
		if err != nil {
			return err
		}
		var ids []LetterID
		for _, l := range letters {
			if l.Position <= r.Position {
				ids = append(ids, l.LetterID)
			}
		}
		if len(ids) == 0 {
			break
		}
		if err := p.commit(ctx, Commit{To: p.read, Unparked: ids}); err != nil {
			return err
		}
		p.logger.WarnContext(ctx, "parked events dropped", "key", r.Key, "events", len(ids))
		if p.parked[r.Key] -= len(ids); p.parked[r.Key] <= 0 {
			delete(p.parked, r.Key)
		}
	}
	p.report.at(p.read, 0, p.report.eventTime(), p.parkedEvents())
	return nil
}
