package eventstoretest_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/eventstore/eventstoretest"
	"github.com/annals-es/annals/simstore"
)

// story writes attempts down as they would have been recorded.
type story struct {
	t       *testing.T
	store   *simstore.Store
	history eventstoretest.History
}

func newStory(t *testing.T) *story {
	s := &story{t: t, store: simstore.New(simstore.Config{})}
	t.Cleanup(func() { _ = s.store.Close() })
	return s
}

func partOf(stream eventstore.StreamID, expected eventstore.ExpectedVersion, events ...eventstore.EventData) eventstore.StreamAppend {
	return eventstore.StreamAppend{Stream: stream, Expected: expected, Events: events}
}

func newEvent() eventstore.EventData {
	return eventstore.EventData{ID: eventstore.NewEventID(), Type: "x", Data: []byte{5, 0, 0, 0, 0}}
}

// write makes an append, unrecorded.
func (s *story) write(parts ...eventstore.StreamAppend) eventstoretest.Attempt {
	s.t.Helper()
	a := eventstoretest.Attempt{Request: eventstore.AppendRequest{Streams: parts}}
	if a.Result, a.Err = s.store.Append(s.t.Context(), a.Request); a.Err != nil {
		s.t.Fatal(a.Err)
	}
	return a
}

func (s *story) add(a eventstoretest.Attempt, begin, end int64) {
	a.Begin, a.End = begin, end
	s.history.Add(a)
}

// check ends the test unless the judge says just this, or nothing.
func (s *story) check(want string) {
	s.t.Helper()
	err := s.history.Check(s.t.Context(), s.store)
	switch {
	case want == "" && err != nil:
		s.t.Fatalf("a history that is fine is refused: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		s.t.Fatalf("got %v instead of an error that says %q", err, want)
	}
}

func TestHistoryAcceptsUnknownOutcomes(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	lost := eventstoretest.Attempt{Request: eventstore.AppendRequest{Streams: []eventstore.StreamAppend{partOf("a", eventstore.Exact(1), newEvent())}}}
	lost.Err = eventstore.OutcomeUnknown(errors.New("connection lost"))
	first := s.write(partOf("a", eventstore.NoStream, newEvent()))
	first.Result, first.Err = eventstore.AppendResult{}, eventstore.OutcomeUnknown(errors.New("connection lost"))
	again := s.write(first.Request.Streams...)
	s.add(first, 1, 2)
	s.add(again, 3, 4)
	s.add(lost, 5, 6)
	s.add(eventstoretest.Attempt{Request: lost.Request}, 7, 0) // never returned
	s.check("")
}

func TestHistoryRefusesWhatCannotBe(t *testing.T) {
	t.Parallel()
	for want, tell := range map[string]func(s *story){
		"written against its word": func(s *story) {
			a := s.write(partOf("a", eventstore.Any, newEvent()))
			a.Err = eventstore.NotWritten(context.Canceled)
			s.add(a, 1, 2)
		},
		"lost:": func(s *story) {
			a := s.write(partOf("a", eventstore.Any, newEvent()))
			a.Request.Streams = []eventstore.StreamAppend{partOf("a", eventstore.Any, newEvent())}
			s.add(a, 1, 2)
		},
		"invented": func(s *story) {
			a := s.write(partOf("a", eventstore.Any, newEvent()))
			s.write(partOf("a", eventstore.Any, newEvent()))
			s.add(a, 1, 2)
		},
		"doubled": func(s *story) {
			p := partOf("a", eventstore.Any, newEvent())
			s.add(s.write(p), 1, 2)
			s.add(s.write(p), 3, 4)
		},
		"acknowledged 2 times as new": func(s *story) {
			a := s.write(partOf("a", eventstore.NoStream, newEvent()))
			s.add(a, 1, 2)
			s.add(a, 3, 4)
		},
		"partial batch": func(s *story) {
			a := s.write(partOf("a", eventstore.Any, newEvent()))
			a.Err = eventstore.OutcomeUnknown(context.Canceled)
			a.Request.Streams = []eventstore.StreamAppend{partOf("a", eventstore.Any, append(a.Request.Streams[0].Events, newEvent())...)}
			s.add(a, 1, 2)
		},
		"changed: ": func(s *story) {
			e := newEvent()
			a := s.write(partOf("a", eventstore.Any, e))
			e.Type = "y"
			a.Request.Streams = []eventstore.StreamAppend{partOf("a", eventstore.Any, e)}
			s.add(a, 1, 2)
		},
		"lost update": func(s *story) {
			a := s.write(partOf("a", eventstore.Any, newEvent(), newEvent()))
			b := s.write(partOf("a", eventstore.Any, newEvent()))
			b.Request.Streams[0].Expected = eventstore.Exact(1)
			s.add(a, 1, 2)
			s.add(b, 3, 4)
		},
		"expected \"a\" to exist": func(s *story) {
			a := s.write(partOf("a", eventstore.Any, newEvent()))
			a.Request.Streams[0].Expected = eventstore.Exists
			s.add(a, 1, 2)
		},
		"does not say whether it was written": func(s *story) {
			s.add(eventstoretest.Attempt{
				Request: eventstore.AppendRequest{Streams: []eventstore.StreamAppend{partOf("a", eventstore.Any, newEvent())}}, Err: context.Canceled,
			}, 1, 2)
		},
		"which it does not name": func(s *story) {
			a := s.write(partOf("a", eventstore.Any, newEvent()))
			s.add(a, 1, 2)
			a.Request.Streams = []eventstore.StreamAppend{partOf("a", eventstore.NoStream, newEvent())}
			a.Err = &eventstore.ConflictError{Stream: "b", Expected: eventstore.NoStream, Actual: 1}
			s.add(a, 3, 4)
		},
		"unreal conflict": func(s *story) {
			a := s.write(partOf("a", eventstore.Any, newEvent()))
			s.add(a, 1, 2)
			a.Request.Streams = []eventstore.StreamAppend{partOf("a", eventstore.Exact(1), newEvent())}
			a.Err = &eventstore.ConflictError{Stream: "a", Expected: eventstore.Exact(1), Actual: 1}
			s.add(a, 3, 4)
		},
		"misplaced": func(s *story) {
			a := s.write(partOf("a", eventstore.Any, newEvent(), newEvent()))
			a.Result.Streams[0].First, a.Result.Streams[0].Last = 2, 3
			s.add(a, 1, 2)
		},
		"with versions 1 to 1": func(s *story) {
			a := s.write(partOf("a", eventstore.Any, newEvent(), newEvent()))
			a.Result.Streams[0].Last = 1
			s.add(a, 1, 2)
		},
		"has a result of 0 streams": func(s *story) {
			a := s.write(partOf("a", eventstore.Any, newEvent()))
			a.Result.Streams = nil
			s.add(a, 1, 2)
		},
		// One after the other by the clock, and the other way round in the stream.
		"no order explains this": func(s *story) {
			first := s.write(partOf("a", eventstore.Any, newEvent()))
			second := s.write(partOf("a", eventstore.Any, newEvent()))
			s.add(second, 1, 2)
			s.add(first, 3, 4)
		},
		// A conflict with what was written only later.
		"refusal of": func(s *story) {
			first := s.write(partOf("a", eventstore.Any, newEvent()))
			refused := eventstoretest.Attempt{
				Request: eventstore.AppendRequest{Streams: []eventstore.StreamAppend{partOf("a", eventstore.NoStream, newEvent())}},
				Err:     &eventstore.ConflictError{Stream: "a", Expected: eventstore.NoStream, Actual: 1},
			}
			s.add(refused, 1, 2)
			s.add(first, 3, 4)
		},
		// Two appends that each checked that the other had not been made.
		"[check \"b\" at no stream]": func(s *story) {
			a := s.write(partOf("a", eventstore.NoStream, newEvent()))
			b := s.write(partOf("b", eventstore.NoStream, newEvent()))
			a.Request.Streams = append(a.Request.Streams, partOf("b", eventstore.NoStream))
			b.Request.Streams = append(b.Request.Streams, partOf("a", eventstore.NoStream))
			a.Result.Streams = append(a.Result.Streams, eventstore.StreamResult{Stream: "b"})
			b.Result.Streams = append(b.Result.Streams, eventstore.StreamResult{Stream: "a"})
			s.add(a, 1, 10)
			s.add(b, 1, 10)
		},
	} {
		t.Run(want, func(t *testing.T) {
			t.Parallel()
			s := newStory(t)
			tell(s)
			s.check(want)
		})
	}
}

// A check of a version that had been left behind before it began.
func TestHistoryRefusesAStaleCheck(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	s.add(s.write(partOf("a", eventstore.NoStream, newEvent())), 1, 2)
	s.add(s.write(partOf("a", eventstore.Exact(1), newEvent())), 3, 4)
	stale := s.write(partOf("b", eventstore.NoStream, newEvent()))
	stale.Request.Streams = append(stale.Request.Streams, partOf("a", eventstore.Exact(1)))
	stale.Result.Streams = append(stale.Result.Streams, eventstore.StreamResult{Stream: "a", Last: 1})
	s.add(stale, 5, 6)
	s.check("no order explains this")
}

// A read that misses what had been acknowledged before it began.
func TestHistoryRefusesAStaleRead(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	ctx := t.Context()
	if _, err := s.history.Append(ctx, s.store, eventstore.AppendRequest{Streams: []eventstore.StreamAppend{partOf("a", eventstore.Any, newEvent())}}); err != nil {
		t.Fatal(err)
	}
	empty := newStory(t)
	if _, err := s.history.ReadStream(ctx, empty.store, "a"); err != nil {
		t.Fatal(err)
	}
	s.check("read of \"a\" up to version 0")
}

// After a failover another handle may lag, the same one may not.
func TestHistoryOfAFailover(t *testing.T) {
	t.Parallel()
	for _, same := range []bool{false, true} {
		s := newStory(t)
		s.history.Failover = true
		ctx := t.Context()
		if _, err := s.history.Append(ctx, s.store, eventstore.AppendRequest{Streams: []eventstore.StreamAppend{partOf("a", eventstore.Any, newEvent())}}); err != nil {
			t.Fatal(err)
		}
		handle := &lagging{}
		want := ""
		if same {
			handle.StreamReader, want = s.store, "though the same handle"
			if _, err := s.history.ReadStream(ctx, handle, "a"); err != nil {
				t.Fatal(err)
			}
		}
		handle.StreamReader = newStory(t).store
		if _, err := s.history.ReadStream(ctx, handle, "a"); err != nil {
			t.Fatal(err)
		}
		s.check(want)
	}
}

// lagging is a handle whose server can be replaced.
type lagging struct{ eventstore.StreamReader }

func TestHistoryGivesUpWaitingForTheLog(t *testing.T) {
	t.Parallel()
	s := newStory(t)
	defer s.store.HoldLog()()
	s.add(s.write(partOf("a", eventstore.NoStream, newEvent())), 1, 2)
	ctx, cancel := context.WithCancel(t.Context())
	fault := s.store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpWait}, Before: func(context.Context) { cancel() }})
	defer fault.Remove()
	err := s.history.Check(ctx, s.store)
	if !errors.Is(err, context.Canceled) || !strings.Contains(err.Error(), "did not come into the log") {
		t.Fatalf("got %v", err)
	}
}
