package eventstoretest

import (
	"sync"

	"github.com/annals-es/annals/eventstore"
)

func idempotenceTests() []test {
	return []test{
		{"SameIdsAtTheSamePlace", func(f *fixture) {
			for _, head := range []eventstore.Version{0, 2} {
				stream := eventstore.NewStreamID("order", string(rune('a'+head)))
				for range head {
					f.append(stream, eventstore.Any, f.event(0))
				}
				events := f.events(3)
				first := f.append(stream, eventstore.Exact(head), events...)
				f.duplicate(first, f.append(stream, eventstore.Exact(head), events...))
				f.append(stream, eventstore.Exact(head+3), f.event(9))
				f.duplicate(first, f.append(stream, eventstore.Exact(head), events...))
				f.same("events", len(f.read(stream, eventstore.StreamQuery{})), int(head)+4)
			}
			f.logCount(4 + 6)
		}},
		{"OtherPlaceIsAConflict", func(f *fixture) {
			events := f.events(2)
			f.append("order-1", eventstore.NoStream, f.event(0))
			f.append("order-1", eventstore.Exact(1), events...)
			_, err := eventstore.Append(f.ctx(), f, "order-1", eventstore.NoStream, events...)
			f.conflicts("append of the same ids a place before", err, "order-1", eventstore.NoStream, 3)
			_, err = eventstore.Append(f.ctx(), f, "order-1", eventstore.Exact(2), events...)
			f.conflicts("append of the same ids a place behind", err, "order-1", eventstore.Exact(2), 3)
		}},
		{"OtherIdsAreAConflict", func(f *fixture) {
			events := f.events(3)
			f.append("order-1", eventstore.NoStream, events...)
			for what, other := range map[string][]eventstore.EventData{
				"in another order": {events[1], events[0], events[2]},
				"and one more":     append(append([]eventstore.EventData{}, events...), f.events(1)...),
				"but for the last": {events[0], events[1], f.events(1)[0]},
				"but for the first": {
					f.events(1)[0], events[1], events[2],
				},
			} {
				_, err := eventstore.Append(f.ctx(), f, "order-1", eventstore.NoStream, other...)
				f.conflicts("append of the same ids "+what, err, "order-1", eventstore.NoStream, 3)
			}
			f.holds("order-1", 1, events...)
		}},
		{"BeginningOfALongerAppend", func(f *fixture) {
			events := f.events(3)
			f.append("order-1", eventstore.NoStream, events...)
			res := f.append("order-1", eventstore.NoStream, events[:2]...)
			f.same("result", res.Streams, []eventstore.StreamResult{{Stream: "order-1", First: 1, Last: 2}})
			f.same("duplicate", res.Duplicate, true)
			f.logCount(3)
		}},
		{"RetryDoesNotLandBehindTheWinner", func(f *fixture) {
			f.append("order-1", eventstore.NoStream, f.event(0))
			mine, rival := f.events(1), f.events(1)
			f.append("order-1", eventstore.Exact(1), rival...)
			for range 3 {
				_, err := eventstore.Append(f.ctx(), f, "order-1", eventstore.Exact(1), mine...)
				f.conflicts("append behind a rival's", err, "order-1", eventstore.Exact(1), 2)
			}
			f.holds("order-1", 2, rival...)
			f.logCount(2)
		}},
		{"SeveralStreams", func(f *fixture) {
			a, b := f.events(2), f.events(1)
			f.append("order-c", eventstore.NoStream, f.event(0))
			req := request(part("order-a", eventstore.NoStream, a...), part("order-c", eventstore.Exact(1)), part("order-b", eventstore.NoStream, b...))
			first := f.appendAll(req)
			f.append("order-c", eventstore.Exact(1), f.event(0)) // only checked: not looked at again
			f.append("order-b", eventstore.Exact(1), f.event(0))
			second := f.appendAll(req)
			f.same("duplicate", second.Duplicate, true)
			f.same("streams", []eventstore.StreamResult{second.Streams[0], second.Streams[2]}, []eventstore.StreamResult{first.Streams[0], first.Streams[2]})
			f.same("position", f.await(second), f.await(first))
			f.logCount(6)

			half := request(part("order-a", eventstore.NoStream, a...), part("order-d", eventstore.NoStream, f.events(1)...))
			_, err := f.Append(f.ctx(), half)
			f.conflicts("append of which one half was made", err, "order-a", eventstore.NoStream, 2)
			f.same("events", len(f.read("order-d", eventstore.StreamQuery{})), 0)
		}},
		{"AppendIDWithAnyExpectation", func(f *fixture) {
			for _, expected := range []eventstore.ExpectedVersion{eventstore.Any, eventstore.Exists, eventstore.Exact(1), eventstore.NoStream} {
				stream := eventstore.NewStreamID("order", expected.String())
				if expected != eventstore.NoStream {
					f.append(stream, eventstore.NoStream, f.event(0))
				}
				req := eventstore.AppendRequest{ID: eventstore.NewEventID(), Streams: []eventstore.StreamAppend{part(stream, expected, f.event(1), f.event(2))}}
				first := f.appendAll(req)
				f.duplicate(first, f.appendAll(req))
				f.append(stream, eventstore.Any, f.event(3))
				f.duplicate(first, f.appendAll(req))
			}
			f.logCount(3 + 4*3)
		}},
		{"AppendIDOfSeveralStreams", func(f *fixture) {
			f.append("order-c", eventstore.NoStream, f.event(0))
			req := request(part("order-a", eventstore.Any, f.event(1)), part("order-c", eventstore.Exists), part("order-b", eventstore.Any, f.event(2)))
			req.ID = eventstore.NewEventID()
			first := f.appendAll(req)
			f.append("order-c", eventstore.Any, f.event(3))
			f.duplicate(first, f.appendAll(req)) // with the head that order-c had then
			f.logCount(4)
		}},
		{"AppendIDOfAnotherAppend", func(f *fixture) {
			req := request(part("order-1", eventstore.Any, f.event(1)))
			req.ID = eventstore.NewEventID()
			first := f.appendAll(req)
			other := request(part("order-2", eventstore.Any, f.event(1)))
			other.ID = req.ID
			_, err := f.Append(f.ctx(), other)
			f.refused("append to another stream with an id that was used", err, eventstore.ErrAppendIDReused)
			f.same("events", len(f.read("order-2", eventstore.StreamQuery{})), 0)
			more := request(part("order-1", eventstore.Any, f.event(1)), part("order-2", eventstore.Any, f.event(1)))
			more.ID = req.ID
			_, err = f.Append(f.ctx(), more)
			f.refused("append to more streams with an id that was used", err, eventstore.ErrAppendIDReused)
			same := request(part("order-1", eventstore.Any, f.event(7), f.event(8)))
			same.ID = req.ID
			f.duplicate(first, f.appendAll(same))
			f.logCount(1)
		}},
		{"RefusedAppendDoesNotUseUpItsID", func(f *fixture) {
			req := request(part("order-1", eventstore.Exact(1), f.event(1)))
			req.ID = eventstore.NewEventID()
			_, err := f.Append(f.ctx(), req)
			f.conflicts("append", err, "order-1", eventstore.Exact(1), 0)
			f.append("order-1", eventstore.NoStream, f.event(0))
			res := f.appendAll(req)
			f.same("result", res.Streams, []eventstore.StreamResult{{Stream: "order-1", First: 2, Last: 2}})
			f.same("duplicate", res.Duplicate, false)
		}},
		{"AppendIDWithoutEventsAsks", func(f *fixture) {
			ask := request(part("order-1", eventstore.Any))
			ask.ID = eventstore.NewEventID()
			for range 2 { // asking does not use up the id
				res := f.appendAll(ask)
				f.same("answer about an append that was not made", res.Duplicate, false)
			}
			req := request(part("order-1", eventstore.Any, f.events(2)...))
			req.ID = ask.ID
			first := f.appendAll(req)
			f.same("duplicate", first.Duplicate, false)
			f.append("order-1", eventstore.Any, f.event(0))
			f.duplicate(first, f.appendAll(ask))
			f.logCount(3)
		}},
		{"OneOfManyAtOnceWrites", testConcurrentRepetition},
	}
}

// duplicate ends the test unless the second result is the first one, marked as a
// duplicate.
func (f *fixture) duplicate(first, second eventstore.AppendResult) {
	f.Helper()
	f.same("an append made again is marked as a duplicate", second.Duplicate, true)
	f.same("the result of an append made again", second.Streams, first.Streams)
	f.same("the position of an append made again", f.await(second), f.await(first))
}

func testConcurrentRepetition(f *fixture) {
	rounds := f.suite.size(30, 5)
	for round := range rounds {
		req := request(part(eventstore.NewStreamID("order", string(rune('a'+round))), eventstore.NoStream, f.events(2)...))
		if round%2 == 1 {
			req.ID = eventstore.NewEventID()
			req.Streams[0].Expected = eventstore.Any
		}
		var wg sync.WaitGroup
		results, errs := make([]eventstore.AppendResult, 6), make([]error, 6)
		for i := range results {
			wg.Go(func() { results[i], errs[i] = f.Append(f.ctx(), req) })
		}
		wg.Wait()
		fresh := 0
		for i, res := range results {
			f.ok("one of several equal appends at once", errs[i])
			f.same("versions", res.Streams, results[0].Streams)
			if !res.Duplicate {
				fresh++
			}
		}
		f.same("number of equal appends at once that say they wrote", fresh, 1)
		f.holds(req.Streams[0].Stream, 1, req.Streams[0].Events...)
	}
	f.logCount(2 * rounds)
}
