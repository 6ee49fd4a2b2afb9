package projection

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/annals-es/annals/eventstore"
)

// A Projection says which events are handled and how.
type Projection struct {
	// Name is the projection's stable name: its checkpoint is kept under it. It
	// is not empty and holds none of "@", "/" and NUL.
	Name string
	// Version is raised when the projection is to start over from the first
	// event, because it now does something else with old ones. 1 when zero.
	Version int
	// Handlers handle the events, at most one for each event type. Events
	// without a handler are not read.
	Handlers []Handler
	// Categories restricts the projection to streams of these categories.
	Categories []string
	// Effects says that the handlers do what must not be done again when a new
	// version is built: send mail, call others. A new version takes over where
	// the old one stands then, and handles nothing before. [Worker] heeds it;
	// [Runner] does not.
	Effects bool
}

// A Handler handles events of one Go type or one event type. [On] and [OnEvent]
// make one.
type Handler struct {
	what   string
	types  func(*eventstore.Registry) []eventstore.EventType
	handle func(ctx context.Context, r *eventstore.Registry, e eventstore.Event) error
}

// On handles events whose payload is registered as Go type T, under its present
// and former names. The context carries the event as the cause of whatever is
// appended with it ([eventstore.CausedBy]).
//
// An error has the event handled again after a pause; see [Config] and
// [Permanent].
func On[T any](fn func(ctx context.Context, payload T, e eventstore.Event) error) Handler {
	return Handler{
		what:  fmt.Sprintf("Go type %T", *new(T)),
		types: eventstore.Names[T],
		handle: func(ctx context.Context, r *eventstore.Registry, e eventstore.Event) error {
			v, err := r.Decode(e)
			if err != nil {
				return Permanent(err)
			}
			return fn(ctx, v.(T), e)
		},
	}
}

// OnEvent handles events of a type as they are stored, without decoding them.
func OnEvent(name eventstore.EventType, fn func(ctx context.Context, e eventstore.Event) error) Handler {
	return Handler{
		what:  "event type " + string(name),
		types: func(*eventstore.Registry) []eventstore.EventType { return []eventstore.EventType{name} },
		handle: func(ctx context.Context, _ *eventstore.Registry, e eventstore.Event) error {
			return fn(ctx, e)
		},
	}
}

// Plan implements [Definition]. A [Worker] partitions the projection by stream,
// and a stream is what is parked.
func (p Projection) Plan(r *eventstore.Registry) (*Plan, error) {
	c, err := compile(p, r)
	plan := &Plan{
		Name:     p.Name,
		Version:  c.key.Version,
		Filter:   c.filter,
		ByStream: true,
		Hash:     func(key string) uint32 { return eventstore.StreamID(key).ShareHash() },
		Effects:  p.Effects,
		Direct:   true,
		Route: func(e eventstore.Event) (Routed, error) {
			return Routed{Keys: []string{string(e.Stream)}}, nil
		},
		Apply: func(ctx context.Context, _ *Work, r Routed, _ string) error {
			return c.handle(ctx, r.Event)
		},
	}
	if err != nil {
		return plan, err
	}
	return plan, plan.Check()
}

// compiled is a projection whose handlers are found by event type.
type compiled struct {
	key      CheckpointKey
	filter   eventstore.Filter
	handlers map[eventstore.EventType]Handler
	registry *eventstore.Registry
}

func compile(p Projection, r *eventstore.Registry) (compiled, error) {
	var errs []error
	invalid := func(format string, args ...any) {
		errs = append(errs, &eventstore.InvalidError{What: "projection " + p.Name, Reason: fmt.Sprintf(format, args...)})
	}
	if p.Name == "" || strings.ContainsAny(p.Name, "@/\x00") {
		invalid("has the name %q; it must not be empty or hold @, / or NUL", p.Name)
	}
	if p.Version < 0 {
		invalid("has version %d; versions start at 1", p.Version)
	}
	if len(p.Handlers) == 0 {
		invalid("has no handlers")
	}
	c := compiled{
		key:      CheckpointKey{Projection: p.Name, Version: max(p.Version, 1)},
		filter:   eventstore.Filter{Categories: p.Categories},
		handlers: map[eventstore.EventType]Handler{},
		registry: r,
	}
	for _, h := range p.Handlers {
		types := h.types(r)
		if len(types) == 0 {
			invalid("handles %s, which is not registered", h.what)
		}
		for _, t := range types {
			if _, ok := c.handlers[t]; ok {
				invalid("has two handlers for event type %s", t)
			}
			c.handlers[t] = h
			c.filter.Types = append(c.filter.Types, t)
		}
	}
	return c, errors.Join(errs...)
}

// handle hands one event to its handler; a panic is an error.
func (c compiled) handle(ctx context.Context, e eventstore.Event) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = newPanicError(p)
		}
	}()
	return c.handlers[e.Type].handle(eventstore.CausedBy(ctx, e), c.registry, e)
}
