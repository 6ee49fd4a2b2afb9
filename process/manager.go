package process

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// A Manager is the definition of a process manager with states of type S.
type Manager[S any] struct {
	// Name, Version and Categories are as in [projection.Fold]. A new version
	// folds all events into new states without sending anything, and takes over
	// where the old one stands; timers that have not run out for the new states
	// are its own then. One that ran out under the old version is among them, and
	// runs out again with the same ids of commands, unless an event has ended the
	// process: have what a timer sets off come back as an event that does.
	Name       string
	Version    int
	Categories []string
	// Handlers say what events do, at most one for each event type.
	Handlers []Handler[S]
	// Timeouts say what happens when a timer of a name runs out. Each name that
	// is set must be here.
	Timeouts map[string]Timeout[S]
	// Commands knows the Go types of the commands. It is a registry as the one of
	// events is, so commands in the outbox survive changes of their types.
	Commands *eventstore.Registry
	// Send carries a command out, or hands it on. It is called in the order in
	// which the commands of one key were sent; for different keys concurrently.
	// An error has it called again after a pause, without end, while the
	// commands of other keys go on; a [projection.Permanent] one is a rejection.
	// The context carries the event that the command follows from as its cause.
	Send func(ctx context.Context, c Command) error
	// Rejected says what happens when a command is rejected. When nil, it is
	// kept aside ([Rejected]).
	Rejected func(s *S, c Command, reason string, do *Do) (*S, error)
	// Codec encodes states; BSON when nil.
	Codec eventstore.Codec
}

// A Timeout says what happens when a timer runs out: as a handler does, it gets
// the state and returns what it has become, nil to end the process.
type Timeout[S any] func(s *S, do *Do) (*S, error)

// A Handler says what events of one Go type do. [On] makes one.
type Handler[S any] struct {
	what  string
	types func(*eventstore.Registry) []eventstore.EventType
	key   func(payload any, e eventstore.Event) string
	fn    func(s *S, payload any, e eventstore.Event, do *Do) (*S, error)
}

// On has events whose payload is of type E handled by fn. Key returns the
// correlation key of the process that the event belongs to; empty for none.
//
// Fn is pure. It gets the state, nil when there is no process of that key, which
// it may change, and returns what it has become: nil to end the process, or not to
// start one. What is to be done besides it says with do. An error has the event
// tried again and then parked for its key.
func On[S, E any](key func(E, eventstore.Event) string, fn func(s *S, payload E, e eventstore.Event, do *Do) (*S, error)) Handler[S] {
	return Handler[S]{
		what:  fmt.Sprintf("Go type %T", *new(E)),
		types: eventstore.Names[E],
		key:   func(payload any, e eventstore.Event) string { return key(payload.(E), e) },
		fn: func(s *S, payload any, e eventstore.Event, do *Do) (*S, error) {
			return fn(s, payload.(E), e, do)
		},
	}
}

// Do collects what a handler wants done.
type Do struct {
	// Key is the correlation key.
	Key string
	// Now is the time that timers count from: that of the event, or the one at
	// which the timer ran out.
	Now time.Time

	commands []any
	timers   []timerChange
}

type timerChange struct {
	name string
	due  time.Time // zero to stop it
}

// Send has a command sent, of a type that the manager's Commands know.
func (d *Do) Send(command any) { d.commands = append(d.commands, command) }

// After sets the timer of a name, or sets it anew. Its time counts from the
// event's, and is judged by the backend's clock.
func (d *Do) After(name string, wait time.Duration) { d.At(name, d.Now.Add(wait)) }

// At sets the timer of a name to a time, or sets it anew. It runs out once, over
// all workers, at that time or as soon after as there is a worker.
func (d *Do) At(name string, due time.Time) {
	d.timers = append(d.timers, timerChange{name: name, due: time.UnixMilli(max(1, due.UnixMilli())).UTC()})
}

// Stop stops the timer of a name. It need not run. The timers of a process that
// ends are stopped with it.
func (d *Do) Stop(name string) { d.timers = append(d.timers, timerChange{name: name}) }

// instance is a process as it is stored.
type instance[S any] struct {
	State S `json:"state"`
	// Timers holds when each timer runs out, in milliseconds since 1970.
	Timers map[string]int64 `json:"timers,omitempty"`
}

// Models besides that of the states.
const (
	outboxModel   = "_outbox"
	timerModel    = "_timers"
	rejectedModel = "_rejected"
)

// Plan implements [projection.Definition].
func (m Manager[S]) Plan(r *eventstore.Registry) (*projection.Plan, error) {
	p := &projection.Plan{
		Name:    m.Name,
		Version: m.Version,
		Filter:  eventstore.Filter{Categories: m.Categories},
		Codec:   m.Codec,
		Effects: true,
		Models:  []string{outboxModel, timerModel, rejectedModel},
		Carried: []string{outboxModel, rejectedModel},
	}
	errs := []error{p.Check()}
	invalid := func(format string, args ...any) {
		errs = append(errs, &eventstore.InvalidError{What: "process manager " + m.Name, Reason: fmt.Sprintf(format, args...)})
	}
	if len(m.Handlers) == 0 {
		invalid("has no handlers")
	}
	if m.Send == nil || m.Commands == nil {
		invalid("needs Send and Commands")
	}
	handlers := map[eventstore.EventType]*Handler[S]{}
	for i := range m.Handlers {
		h := &m.Handlers[i]
		if h.types == nil {
			invalid("has a handler that was not made by On")
			continue
		}
		types := h.types(r)
		if len(types) == 0 {
			invalid("handles %s, which is not registered", h.what)
		}
		for _, t := range types {
			if handlers[t] != nil {
				invalid("has two handlers for event type %s", t)
			}
			handlers[t] = h
			p.Filter.Types = append(p.Filter.Types, t)
		}
	}
	for name, fn := range m.Timeouts {
		if name == "" || fn == nil {
			invalid("has a timeout without a name or function")
		}
	}
	p.Route = func(e eventstore.Event) (projection.Routed, error) {
		payload, err := r.Decode(e)
		if err != nil {
			return projection.Routed{}, projection.Permanent(err)
		}
		return projection.Routed{Payload: payload, Keys: []string{handlers[e.Type].key(payload, e)}, Load: true}, nil
	}
	p.Apply = func(ctx context.Context, w *projection.Work, routed projection.Routed, key string) error {
		e := routed.Event
		return m.step(w, key, source{name: "event", at: e.Time, position: e.Position, held: routed.Held, cause: causeOf(ctx, e)},
			func(s *S, do *Do) (*S, error) { return handlers[e.Type].fn(s, routed.Payload, e, do) })
	}
	p.Dispatcher = func(s *projection.Session) projection.Dispatcher {
		return &dispatcher[S]{m: m, s: s, outbox: true, timers: true, blocked: map[string]*block{}}
	}
	return p, errors.Join(errs...)
}

// A source is what a step comes from: an event, a timer that ran out, or the
// rejection of a command. Name tells sources of one key at one position apart.
type source struct {
	name     string
	at       time.Time
	position eventstore.Position
	held     bool
	cause    eventstore.Metadata
}

// step lets fn work on the process of a key, and puts what comes of it down as
// changes of documents.
func (m *Manager[S]) step(w *projection.Work, key string, src source, fn func(s *S, do *Do) (*S, error)) error {
	old, err := projection.Load[instance[S]](w, key)
	if err != nil {
		return err
	}
	var state *S
	timers := map[string]int64{}
	if old != nil {
		state = &old.State
		if old.Timers != nil {
			timers = old.Timers
		}
	}
	do := &Do{Key: key, Now: src.at}
	next, err := fn(state, do)
	if err != nil {
		return err
	}
	if err := m.setTimers(w, key, timers, do.timers, next == nil); err != nil {
		return err
	}
	switch {
	case next != nil:
		err = w.Put(key, &instance[S]{State: *next, Timers: timers})
	case old != nil:
		err = w.Delete(key)
	}
	if err != nil || src.held {
		return err
	}
	for i, c := range do.commands {
		if err := m.post(w, key, src, i, c); err != nil {
			return err
		}
	}
	return nil
}

// setTimers changes the timers of a process; all of them stop when it ends.
func (m *Manager[S]) setTimers(w *projection.Work, key string, timers map[string]int64, changes []timerChange, ended bool) error {
	for _, c := range changes {
		if _, ok := m.Timeouts[c.name]; !ok {
			return projection.Permanent(&eventstore.InvalidError{What: "timer", Reason: fmt.Sprintf("%q is not among the Timeouts of process manager %s", c.name, m.Name)})
		}
		if due, ok := timers[c.name]; ok {
			w.DeleteIn(timerModel, timerKey(due, c.name, key))
			delete(timers, c.name)
		}
		if c.due.IsZero() || ended {
			continue
		}
		due := c.due.UnixMilli()
		timers[c.name] = due
		if err := w.PutIn(timerModel, timerKey(due, c.name, key), timerDoc{Key: key, Name: c.name, Due: due}); err != nil {
			return err
		}
	}
	if !ended {
		return nil
	}
	for name, due := range timers {
		w.DeleteIn(timerModel, timerKey(due, name, key))
	}
	return nil
}

// A timerDoc is a timer as it is stored, under a key that sorts by time.
type timerDoc struct {
	Key  string `json:"key"`
	Name string `json:"name"`
	Due  int64  `json:"due"`
}

func timerKey(due int64, name, key string) string {
	return fmt.Sprintf("%016d/%s/%s", due, name, key)
}
