package eventstoretest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A fixture is a test with the store that it is about. What its methods call must
// succeed, or they end the test.
type fixture struct {
	*testing.T
	Store
	suite *suite
}

// ctx returns a context that ends with the test, or when patience does.
func (f *fixture) ctx() context.Context {
	ctx, cancel := context.WithTimeout(f.Context(), f.suite.patience)
	f.Cleanup(cancel)
	return ctx
}

// within returns the error of fn, or ends the test when it takes too long. Fn
// must leave it to the caller to fail the test: it may outlive it.
func (f *fixture) within(what string, fn func() error) error {
	f.Helper()
	return f.withinTimes(1, what, fn)
}

func (f *fixture) withinTimes(times int, what string, fn func() error) error {
	f.Helper()
	done := make(chan error, 1)
	go func() { done <- fn() }()
	limit := time.Duration(times) * f.suite.patience
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		f.Fatalf("%s did not return within %s", what, limit)
		return nil
	}
}

// together runs fn n times at once, and ends the test if one of them fails or
// hangs.
func (f *fixture) together(what string, n int, fn func(i int) error) {
	f.Helper()
	err := f.withinTimes(8, what, func() error {
		errs := make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() { errs[i] = fn(i) })
		}
		wg.Wait()
		return errors.Join(errs...)
	})
	f.ok(what, err)
}

// need returns an error unless err matches a kind.
func need(what string, err, kind error) error {
	switch {
	case err == nil:
		return fmt.Errorf("%s succeeded instead of failing with %q", what, kind.Error())
	case !errors.Is(err, kind):
		return fmt.Errorf("%s failed with %w instead of %q", what, err, kind.Error())
	}
	return nil
}

// payload is what the suite's events hold.
type payload struct {
	N    int    `json:"n"`
	Text string `json:"text"`
}

// event returns an event to append, without an id.
func (f *fixture) event(n int) eventstore.EventData {
	f.Helper()
	return f.eventOf("test.happened", n)
}

func (f *fixture) eventOf(typ eventstore.EventType, n int) eventstore.EventData {
	f.Helper()
	return eventstore.EventData{Type: typ, Data: f.encode(payload{N: n, Text: "text"})}
}

func (f *fixture) encode(v any) []byte {
	f.Helper()
	data, err := codec.Marshal(v)
	f.ok("encode", err)
	return data
}

var codec = eventstore.NewBSONCodec()

// events returns n events with ids.
func (f *fixture) events(n int) []eventstore.EventData {
	f.Helper()
	events := make([]eventstore.EventData, n)
	for i := range events {
		events[i] = f.event(i)
		events[i].ID = eventstore.NewEventID()
	}
	return events
}

func (f *fixture) ok(what string, err error) {
	f.Helper()
	if err != nil {
		f.Fatalf("%s: %v", what, err)
	}
}

// same ends the test unless two values are deeply equal.
func (f *fixture) same(what string, got, want any) {
	f.Helper()
	if !reflect.DeepEqual(got, want) {
		f.Fatalf("%s:\n\tgot  %+v\n\twant %+v", what, got, want)
	}
}

// append appends to one stream.
func (f *fixture) append(stream eventstore.StreamID, expected eventstore.ExpectedVersion, events ...eventstore.EventData) eventstore.AppendResult {
	f.Helper()
	res, err := eventstore.Append(f.ctx(), f, stream, expected, events...)
	if err != nil {
		f.Fatalf("append of %d events to %q expecting %s: %v", len(events), stream, expected, err)
	}
	return res
}

// appendN appends n events to one stream, in batches.
func (f *fixture) appendN(stream eventstore.StreamID, n int) eventstore.AppendResult {
	f.Helper()
	var res eventstore.AppendResult
	for start := 0; start < n; start += 500 {
		res = f.append(stream, eventstore.Any, f.events(min(500, n-start))...)
	}
	return res
}

func (f *fixture) appendAll(req eventstore.AppendRequest) eventstore.AppendResult {
	f.Helper()
	res, err := f.Append(f.ctx(), req)
	f.ok("append", err)
	return res
}

// read reads a stream.
func (f *fixture) read(stream eventstore.StreamID, q eventstore.StreamQuery) []eventstore.Event {
	f.Helper()
	events, err := eventstore.Collect(f.ReadStream(f.ctx(), stream, q))
	if err != nil {
		f.Fatalf("read %q: %v", stream, err)
	}
	return events
}

// versions returns the versions of the events of a stream.
func (f *fixture) versions(stream eventstore.StreamID, q eventstore.StreamQuery) []eventstore.Version {
	f.Helper()
	var versions []eventstore.Version
	for _, e := range f.read(stream, q) {
		versions = append(versions, e.Version)
	}
	return versions
}

// holds ends the test unless a stream has just these events from a version on,
// each being what was appended.
func (f *fixture) holds(stream eventstore.StreamID, first eventstore.Version, events ...eventstore.EventData) {
	f.Helper()
	got := f.read(stream, eventstore.StreamQuery{From: first})
	if len(got) != len(events) {
		f.Fatalf("stream %q has %d events from version %d on instead of %d", stream, len(got), first, len(events))
	}
	for i, want := range events {
		e := got[i]
		if e.Stream != stream || e.Version != first+eventstore.Version(i) {
			f.Fatalf("the event after version %d of %q is version %d of %q", int(first)+i-1, stream, e.Version, e.Stream)
		}
		if want.ID != (eventstore.EventID{}) && e.ID != want.ID {
			f.Fatalf("version %d of %q is event %s instead of %s", e.Version, stream, e.ID, want.ID)
		}
		if e.Type != want.Type || string(e.Data) != string(want.Data) {
			f.Fatalf("version %d of %q is %s %x instead of %s %x", e.Version, stream, e.Type, e.Data, want.Type, want.Data)
		}
	}
}

// await waits until the log includes an append.
func (f *fixture) await(res eventstore.AppendResult) eventstore.Position {
	f.Helper()
	p, err := f.Await(f.ctx(), res.Token)
	f.ok("await", err)
	return p
}

// log waits until the log includes an append and then reads from it.
func (f *fixture) log(last eventstore.AppendResult, q eventstore.LogQuery) []eventstore.Event {
	f.Helper()
	f.await(last)
	events, err := eventstore.Collect(f.ReadLog(f.ctx(), q))
	f.ok("read the log", err)
	return events
}

// logCount ends the test unless the log has n events. It appends one to see how
// long the log is once it has caught up, which does not count.
func (f *fixture) logCount(n int) {
	f.Helper()
	if got := f.await(f.append("probe-log", eventstore.Any, f.event(0))); got != eventstore.Position(n+1) {
		f.Fatalf("the log has %d events instead of %d", got-1, n)
	}
}

// refused ends the test unless an append failed with an error of a kind, and
// without a doubt that nothing was written.
func (f *fixture) refused(what string, err, kind error) {
	f.Helper()
	switch {
	case err == nil:
		f.Fatalf("%s succeeded instead of failing with %q", what, kind)
	case !errors.Is(err, kind):
		f.Fatalf("%s failed with %q instead of an error that matches %q", what, err, kind)
	case !errors.Is(err, eventstore.ErrNotWritten):
		f.Fatalf("%s failed with %q, which does not match ErrNotWritten", what, err)
	case errors.Is(err, eventstore.ErrOutcomeUnknown):
		f.Fatalf("%s failed with %q, which matches both ErrNotWritten and ErrOutcomeUnknown", what, err)
	}
}

// conflicts ends the test unless an append failed with a conflict that says just
// this.
func (f *fixture) conflicts(what string, err error, stream eventstore.StreamID, expected eventstore.ExpectedVersion, actual eventstore.Version) {
	f.Helper()
	f.refused(what, err, eventstore.ErrConflict)
	var conflict *eventstore.ConflictError
	if !errors.As(err, &conflict) {
		f.Fatalf("%s failed with %q (%T), which is no *ConflictError", what, err, err)
	}
	f.same(what+" conflicts", *conflict, eventstore.ConflictError{Stream: stream, Expected: expected, Actual: actual})
}

// part is one stream's part of an append.
func part(stream eventstore.StreamID, expected eventstore.ExpectedVersion, events ...eventstore.EventData) eventstore.StreamAppend {
	return eventstore.StreamAppend{Stream: stream, Expected: expected, Events: events}
}

func request(parts ...eventstore.StreamAppend) eventstore.AppendRequest {
	return eventstore.AppendRequest{Streams: parts}
}
