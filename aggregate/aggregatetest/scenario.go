package aggregatetest

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
)

// A Scenario is a test of one command. Its methods return it, so that they chain;
// a scenario is used by one goroutine.
type Scenario[S, C, E any] struct {
	t       testing.TB
	decider aggregate.Decider[S, C, E]
	given   []E
	options []cmp.Option

	decided bool
	command C
	events  []E
	err     error
}

// For starts a scenario of a decider.
func For[S, C, E any](t testing.TB, d aggregate.Decider[S, C, E]) *Scenario[S, C, E] {
	t.Helper()
	return &Scenario[S, C, E]{t: t, decider: d, options: []cmp.Option{
		cmp.Exporter(exportAll),
		cmpopts.IgnoreTypes(aggregate.Root[E]{}), // what a root has recorded is not its state
	}}
}

// ForRoot starts a scenario of a root; its commands are functions that call the
// root's methods.
func ForRoot[R aggregate.Rooted[E], E any](t testing.TB, newRoot func() R) *Scenario[R, func(R) error, E] {
	t.Helper()
	return For(t, aggregate.FromRoot[R, E](newRoot))
}

// Given adds events that have happened. Without it the aggregate is new.
func (s *Scenario[S, C, E]) Given(events ...E) *Scenario[S, C, E] {
	s.t.Helper()
	if s.decided {
		s.t.Fatal("aggregatetest: Given was called after When")
	}
	s.given = append(s.given, events...)
	return s
}

// exportAll lets cmp look into unexported fields: states are compared whole.
func exportAll(reflect.Type) bool { return true }

// Compare adds options for the comparison of events and states, for times or ids
// that a command makes up, say.
func (s *Scenario[S, C, E]) Compare(options ...cmp.Option) *Scenario[S, C, E] {
	s.options = append(s.options, options...)
	return s
}

// Encoded checks that the events of the scenario, given and decided, survive
// being stored: encoded and decoded by a registry they are what they were. Call
// it after Given and before When.
func (s *Scenario[S, C, E]) Encoded(r *eventstore.Registry) *Scenario[S, C, E] {
	s.t.Helper()
	s.checkEncoded(r, s.given)
	decide := s.decider.Decide
	s.decider.Decide = func(state S, command C) ([]E, error) {
		s.t.Helper()
		events, err := decide(state, command)
		s.checkEncoded(r, events)
		return events, err
	}
	return s
}

func (s *Scenario[S, C, E]) checkEncoded(r *eventstore.Registry, events []E) {
	s.t.Helper()
	for _, want := range events {
		data, err := r.Encode(want)
		if err != nil {
			s.t.Errorf("event %T cannot be stored: %v", want, err)
			continue
		}
		got, err := r.Decode(eventstore.Event{Type: data[0].Type, Schema: data[0].Schema, Format: data[0].Format, Data: data[0].Data})
		if err != nil {
			s.t.Errorf("event %T cannot be read back: %v", want, err)
			continue
		}
		if diff := cmp.Diff(any(dereferenced(want)), got, s.options...); diff != "" {
			s.t.Errorf("event %T changes when it is stored (-before +after):\n%s", want, diff)
		}
	}
}

func dereferenced(v any) any {
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Pointer && !rv.IsNil() {
		return rv.Elem().Interface()
	}
	return v
}

// When decides a command on the state that the given events fold to.
func (s *Scenario[S, C, E]) When(command C) *Scenario[S, C, E] {
	s.t.Helper()
	if s.decided {
		s.t.Fatal("aggregatetest: When was called twice; a scenario tests one command")
	}
	s.decided, s.command = true, command
	if reflect.TypeFor[C]().Kind() != reflect.Func {
		s.checkPure(command)
	}
	s.events, s.err = s.decider.Decide(s.decider.Start(s.given...), command)
	return s
}

// checkPure checks that Decide leaves the state as it was. A root's methods
// apply what they record and are exempt.
func (s *Scenario[S, C, E]) checkPure(command C) {
	s.t.Helper()
	before, state := s.decider.Start(s.given...), s.decider.Start(s.given...)
	if diff := cmp.Diff(before, state, s.options...); diff != "" {
		s.t.Errorf("folding the given events twice gives two states (-first +second):\n%s", diff)
		return
	}
	_, _ = s.decider.Decide(state, command)
	if diff := cmp.Diff(before, state, s.options...); diff != "" {
		s.t.Errorf("Decide(%T) changes the state, which only Evolve may (-before +after):\n%s", command, diff)
	}
}

// Then checks that exactly these events were decided, in this order.
func (s *Scenario[S, C, E]) Then(want ...E) *Scenario[S, C, E] {
	s.t.Helper()
	s.mustHaveDecided("Then")
	if len(want) == 0 {
		return s.ThenNothing()
	}
	if s.err != nil {
		s.t.Errorf("%s was rejected: %v\nwanted events:\n%s", s.describe(), s.err, list(want))
		return s
	}
	if diff := cmp.Diff(want, s.events, s.options...); diff != "" {
		s.t.Errorf("%s decided other events (-want +got):\n%s", s.describe(), diff)
	}
	return s
}

// ThenNothing checks that the command was accepted and led to no event.
func (s *Scenario[S, C, E]) ThenNothing() *Scenario[S, C, E] {
	s.t.Helper()
	s.mustHaveDecided("ThenNothing")
	switch {
	case s.err != nil:
		s.t.Errorf("%s was rejected: %v\nwanted it accepted without events", s.describe(), s.err)
	case len(s.events) > 0:
		s.t.Errorf("%s decided events where none were wanted:\n%s", s.describe(), list(s.events))
	}
	return s
}

// ThenError checks that the command was rejected with an error that matches
// target by [errors.Is].
func (s *Scenario[S, C, E]) ThenError(target error) *Scenario[S, C, E] {
	s.t.Helper()
	s.mustHaveDecided("ThenError")
	switch {
	case s.err == nil:
		s.t.Errorf("%s was accepted, wanted the error %q; it decided:\n%s", s.describe(), target, list(s.events))
	case !errors.Is(s.err, target):
		s.t.Errorf("%s was rejected with another error\nwant %q\ngot  %q", s.describe(), target, s.err)
	}
	return s
}

// ThenErrorIs checks that the command was rejected with an error for which check
// reports true: for typed errors.
func (s *Scenario[S, C, E]) ThenErrorIs(check func(error) bool) *Scenario[S, C, E] {
	s.t.Helper()
	s.mustHaveDecided("ThenErrorIs")
	if s.err == nil {
		s.t.Errorf("%s was accepted, wanted an error; it decided:\n%s", s.describe(), list(s.events))
	} else if !check(s.err) {
		s.t.Errorf("%s was rejected with another error: %v", s.describe(), s.err)
	}
	return s
}

// ThenState checks the state after the given and the decided events.
func (s *Scenario[S, C, E]) ThenState(want S) *Scenario[S, C, E] {
	s.t.Helper()
	events := append(append([]E{}, s.given...), s.events...)
	if diff := cmp.Diff(want, s.decider.Start(events...), s.options...); diff != "" {
		s.t.Errorf("the state after %d events is another (-want +got):\n%s", len(events), diff)
	}
	return s
}

// State returns the state after the given and the decided events.
func (s *Scenario[S, C, E]) State() S {
	return s.decider.Start(append(append([]E{}, s.given...), s.events...)...)
}

func (s *Scenario[S, C, E]) mustHaveDecided(method string) {
	s.t.Helper()
	if !s.decided {
		s.t.Fatalf("aggregatetest: %s was called before When", method)
	}
}

func (s *Scenario[S, C, E]) describe() string {
	if reflect.TypeFor[C]().Kind() == reflect.Func {
		return "the command"
	}
	return show(s.command)
}

// show names a value's type and says what is in it.
func show(v any) string {
	switch reflect.ValueOf(v).Kind() {
	case reflect.Struct, reflect.Pointer, reflect.Map, reflect.Slice, reflect.Array:
		return fmt.Sprintf("%T%+v", v, v)
	case reflect.String:
		return fmt.Sprintf("%T(%q)", v, v)
	}
	return fmt.Sprintf("%T(%v)", v, v)
}

func list[E any](events []E) string {
	if len(events) == 0 {
		return "  (no events)"
	}
	lines := make([]string, len(events))
	for i, e := range events {
		lines[i] = fmt.Sprintf("  %d. %s", i+1, show(e))
	}
	return strings.Join(lines, "\n")
}
