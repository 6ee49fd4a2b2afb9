package process

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

const (
	// page is how many commands or timers are read at once.
	page = 128
	// senders is how many commands are sent at the same time.
	senders = 8
	// recheck bounds how long a timer is waited for by the worker's clock alone.
	recheck = 5 * time.Second
	// heldCheck is how often it is looked whether effects need no longer be held
	// back.
	heldCheck = time.Second
)

// A dispatcher sends the commands of a partition and lets its timers run out.
type dispatcher[S any] struct {
	m Manager[S]
	s *projection.Session
	// outbox and timers say that there may be something.
	outbox, timers bool
	blocked        map[string]*block // keys whose commands or timers wait after a failure
	nextTimer      time.Time         // when timers were to be looked at again
	rejected       bool              // what was behind a rejected command can be sent now
}

// A block is a key's pause after failures.
type block struct {
	failures int
	until    time.Time
}

// Dispatch implements [projection.Dispatcher].
func (d *dispatcher[S]) Dispatch(ctx context.Context) (time.Time, error) {
	d.outbox = d.outbox || d.s.Written(outboxModel)
	if d.s.Written(timerModel) {
		d.timers, d.nextTimer = true, time.Time{}
	}
	if d.s.Holding() {
		return d.s.Now().Add(heldCheck), nil
	}
	var timerErr error
	if d.nextTimer.IsZero() || !d.s.Now().Before(d.nextTimer) {
		d.nextTimer, timerErr = d.runTimers(ctx)
	}
	sendErr := d.send(ctx)
	for d.rejected && sendErr == nil && ctx.Err() == nil {
		d.rejected, d.nextTimer = false, time.Time{} // what reacted may have set timers
		d.timers = true
		sendErr = d.send(ctx)
	}
	next := d.nextTimer
	if d.timers && next.IsZero() {
		next = d.s.Now()
	}
	for _, b := range d.blocked {
		if next.IsZero() || b.until.Before(next) {
			next = b.until
		}
	}
	return next, errors.Join(timerErr, sendErr)
}

// waits reports whether a key is in a pause, or parked.
func (d *dispatcher[S]) waits(key string) bool {
	b := d.blocked[key]
	return d.s.Parked(key) || (b != nil && d.s.Now().Before(b.until))
}

// fails begins or prolongs a key's pause.
func (d *dispatcher[S]) fails(key string) {
	b := d.blocked[key]
	if b == nil {
		b = &block{}
		d.blocked[key] = b
	}
	b.failures++
	b.until = d.s.Now().Add(d.s.Retry(b.failures))
}

// runTimers lets timers run out that are due, and returns when to look again.
func (d *dispatcher[S]) runTimers(ctx context.Context) (time.Time, error) {
	if !d.timers {
		return time.Time{}, nil
	}
	now, err := d.s.StoreNow(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the time: %w", err)
	}
	var errs []error
	after := ""
	for {
		docs, err := d.s.Scan(ctx, timerModel, after, "", page)
		if err != nil {
			return time.Time{}, errors.Join(append(errs, fmt.Errorf("look for timers: %w", err))...)
		}
		for _, doc := range docs {
			after = doc.Key + "\x00"
			var t timerDoc
			if err := d.m.codec().Unmarshal(doc.Data, &t); err != nil {
				errs = append(errs, fmt.Errorf("timer %q: %w", doc.Key, err))
				continue
			}
			if !d.s.Owns(t.Key) {
				continue
			}
			due := time.UnixMilli(t.Due)
			if due.After(now) {
				return d.s.Now().Add(min(due.Sub(now), recheck)), errors.Join(errs...)
			}
			if d.waits(t.Key) {
				continue
			}
			if err := d.runOut(ctx, t); err != nil {
				if isFatal(err) {
					return time.Time{}, err
				}
				d.fails(t.Key)
				errs = append(errs, fmt.Errorf("timer %s of %q: %w", t.Name, t.Key, err))
			} else {
				delete(d.blocked, t.Key)
			}
		}
		if len(docs) < page {
			break
		}
	}
	if len(errs) == 0 && after == "" {
		d.timers = false // there are none at all
		return time.Time{}, nil
	}
	return d.s.Now().Add(recheck), errors.Join(errs...)
}

// isFatal reports whether an error is the partition's to deal with: it has to
// start over.
func isFatal(err error) bool {
	return errors.Is(err, projection.ErrFenced) || errors.Is(err, projection.ErrMoved)
}

// runOut lets one timer run out: its effects and its end are one step.
func (d *dispatcher[S]) runOut(ctx context.Context, t timerDoc) error {
	src := source{
		name:     fmt.Sprintf("timer/%016d/%s", t.Due, t.Name),
		at:       time.UnixMilli(t.Due).UTC(),
		position: d.s.Position(),
		cause:    eventstore.Metadata{CausationID: fmt.Sprintf("timer %s of %s %s", t.Name, d.m.Name, t.Key)},
	}
	err := d.s.Commit(ctx, []string{t.Key}, func(w *projection.Work) error {
		w.DeleteIn(timerModel, timerKey(t.Due, t.Name, t.Key))
		old, err := projection.Load[instance[S]](w, t.Key)
		if err != nil {
			return err
		}
		if old == nil || old.Timers[t.Name] != t.Due {
			return nil // a leftover
		}
		fn := d.m.Timeouts[t.Name]
		if fn == nil {
			return fmt.Errorf("no timeout of this name in process manager %s", d.m.Name)
		}
		delete(old.Timers, t.Name)
		return d.m.step(w, t.Key, src, fn)
	})
	d.outbox = true
	return err
}

// A sending is a command on its way.
type sending struct {
	at  string // its key in the outbox
	doc commandDoc
	err error
}

// send sends what is in the outbox.
func (d *dispatcher[S]) send(ctx context.Context) error {
	if !d.outbox {
		return nil
	}
	var errs []error
	after, left := "", false
	for {
		docs, err := d.s.Scan(ctx, outboxModel, after, "", page)
		if err != nil {
			return errors.Join(append(errs, fmt.Errorf("read the outbox: %w", err))...)
		}
		byKey := map[string][]sending{}
		var keys []string
		for _, doc := range docs {
			after = doc.Key + "\x00"
			s := sending{at: doc.Key}
			if err := d.m.codec().Unmarshal(doc.Data, &s.doc); err != nil {
				errs = append(errs, fmt.Errorf("command %q: %w", doc.Key, err))
				continue
			}
			key := s.doc.Key
			switch {
			case !d.s.Owns(key):
				continue
			case d.waits(key):
				left = true
				continue
			case byKey[key] == nil:
				keys = append(keys, key)
			}
			byKey[key] = append(byKey[key], s)
		}
		d.sendAll(ctx, keys, byKey)
		again, err := d.acknowledge(ctx, keys, byKey)
		if isFatal(err) {
			return err
		}
		if err != nil {
			errs = append(errs, err)
			left = true
		}
		left = left || again
		if len(docs) < page || d.rejected || ctx.Err() != nil {
			break
		}
	}
	d.outbox = left
	return errors.Join(errs...)
}

// sendAll sends the commands of each key one after the other, up to the first
// that fails, and those of several keys at once.
func (d *dispatcher[S]) sendAll(ctx context.Context, keys []string, byKey map[string][]sending) {
	var wg sync.WaitGroup
	free := make(chan struct{}, senders)
	for _, key := range keys {
		free <- struct{}{}
		sendings := byKey[key]
		wg.Go(func() {
			defer func() { <-free }()
			for i := range sendings {
				s := &sendings[i]
				if s.err = d.sendOne(ctx, s.doc); s.err != nil {
					for j := i + 1; j < len(sendings); j++ {
						sendings[j].err = errBehind
					}
					return
				}
			}
		})
	}
	wg.Wait()
}

// errBehind says that a command was not tried, since one before it failed.
var errBehind = errors.New("a command before it has failed")

func (d *dispatcher[S]) sendOne(ctx context.Context, doc commandDoc) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	c, err := doc.command(d.m.Commands)
	if err != nil {
		return projection.Permanent(err)
	}
	return d.m.Send(doc.context(ctx), c)
}

// acknowledge takes what was sent out of the outbox, and deals with what was
// rejected. It reports whether something is left.
func (d *dispatcher[S]) acknowledge(ctx context.Context, keys []string, byKey map[string][]sending) (left bool, err error) {
	var errs []error
	var sent []string
	for _, key := range keys {
		for _, s := range byKey[key] {
			switch {
			case s.err == nil:
				sent = append(sent, s.at)
				delete(d.blocked, key)
			case errors.Is(s.err, errBehind):
				left = true
			case projection.IsPermanent(s.err):
				left = true // what was behind it
				if err := d.reject(ctx, s); err != nil {
					if isFatal(err) {
						return left, err
					}
					d.fails(key)
					errs = append(errs, err)
				} else {
					d.rejected = true
					d.s.Logger().WarnContext(ctx, "command rejected", "key", key, "type", s.doc.Type, "id", s.doc.ID, "error", s.err)
				}
			default:
				left = true
				d.fails(key)
				errs = append(errs, fmt.Errorf("send command %s of %q: %w", s.doc.Type, key, s.err))
			}
		}
	}
	if len(sent) > 0 {
		slices.Sort(sent)
		err := d.s.Commit(ctx, nil, func(w *projection.Work) error {
			for _, at := range sent {
				w.DeleteIn(outboxModel, at)
			}
			return nil
		})
		if err != nil {
			return true, errors.Join(append(errs, fmt.Errorf("take sent commands out of the outbox: %w", err))...)
		}
	}
	return left, errors.Join(errs...)
}

// reject takes a rejected command out of the outbox and lets the process react,
// or keeps the command aside.
func (d *dispatcher[S]) reject(ctx context.Context, s sending) error {
	return d.s.Commit(ctx, []string{s.doc.Key}, func(w *projection.Work) error {
		w.DeleteIn(outboxModel, s.at)
		c, err := s.doc.command(d.m.Commands)
		if d.m.Rejected == nil || err != nil {
			s.doc.Reason = s.err.Error()
			return w.PutIn(rejectedModel, s.at, s.doc)
		}
		now, err := d.s.StoreNow(ctx)
		if err != nil {
			return err
		}
		src := source{name: "rejected/" + s.doc.ID, at: now, position: d.s.Position(), cause: eventstore.MetadataFrom(s.doc.context(ctx))}
		return d.m.step(w, s.doc.Key, src, func(state *S, do *Do) (*S, error) {
			return d.m.Rejected(state, c, s.err.Error(), do)
		})
	})
}
