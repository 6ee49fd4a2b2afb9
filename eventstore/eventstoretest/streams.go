package eventstoretest

import (
	"context"
	"fmt"

	"github.com/annals-es/annals/eventstore"
)

// streamsTests are the tests of the optional interface Streams.
func streamsTests() []test {
	tests := []test{
		{"InfoOfAStream", testStreamInfo},
		{"DeletedStreamReadsAsEmptyAndGoesOn", testDelete},
		{"DeleteExpectsAVersion", testDeleteExpects},
		{"RetryOverADeletion", testRetryOverDeletion},
		{"TombstonedStreamIsClosed", testTombstone},
		{"TruncatedEventsAreHidden", testTruncate},
		{"ErasedEventsLeavePlaceholders", testErase},
		{"EventsOfTheOtherStreamsStay", testNeighbours},
		{"RefusesWhatMakesNoSense", testInvalidStreams},
	}
	for i, t := range tests {
		tests[i].run = func(f *fixture) {
			if f.suite.withoutStreams {
				f.Skip("the store is declared to be without eventstore.Streams")
			}
			t.run(f)
		}
	}
	return tests
}

// info ends the test unless a stream is in a state.
func (f *fixture) info(stream eventstore.StreamID, head, first eventstore.Version, state eventstore.StreamState) {
	f.Helper()
	got, err := f.Streams.StreamInfo(f.ctx(), stream)
	f.ok("stream info", err)
	f.same("stream info", got, eventstore.StreamInfo{Stream: stream, Head: head, First: first, State: state})
}

func testStreamInfo(f *fixture) {
	f.info("order-1", 0, 1, eventstore.Live)
	f.append("order-1", eventstore.NoStream)
	f.info("order-1", 0, 1, eventstore.Live)
	f.append("order-1", eventstore.NoStream, f.events(3)...)
	f.info("order-1", 3, 1, eventstore.Live)
	f.append("order-1", eventstore.Any, f.event(0))
	f.info("order-1", 4, 1, eventstore.Live)
	f.info("order-11", 0, 1, eventstore.Live)
}

func testDelete(f *fixture) {
	for _, expected := range []eventstore.ExpectedVersion{eventstore.NoStream, eventstore.Any, eventstore.Exact(3)} {
		stream := eventstore.NewStreamID("order", expected.String())
		f.append(stream, eventstore.NoStream, f.events(3)...)
		f.ok("delete", f.Streams.Delete(f.ctx(), stream, eventstore.Exact(3)))
		f.ok("delete again", f.Streams.Delete(f.ctx(), stream, eventstore.Exact(3)))
		f.info(stream, 3, 4, eventstore.Deleted)
		for _, q := range []eventstore.StreamQuery{{}, {From: 1}, {Direction: eventstore.Backward}, {Direction: eventstore.Backward, From: 2}} {
			f.same("events of a deleted stream", len(f.read(stream, q)), 0)
		}
		_, err := eventstore.Append(f.ctx(), f, stream, eventstore.Exists, f.event(0))
		f.conflicts("append to a deleted stream that expects it to exist", err, stream, eventstore.Exists, 3)
		_, err = eventstore.Append(f.ctx(), f, stream, eventstore.Exact(2), f.event(0))
		f.conflicts("append to a deleted stream that expects an earlier version", err, stream, eventstore.Exact(2), 3)
		f.append(stream, eventstore.NoStream) // a check brings nothing back
		f.info(stream, 3, 4, eventstore.Deleted)

		again := f.events(2)
		res := f.append(stream, expected, again...)
		f.same("versions after a deletion", res.Streams, []eventstore.StreamResult{{Stream: stream, First: 4, Last: 5}})
		f.info(stream, 5, 4, eventstore.Live)
		f.holds(stream, 4, again...)
		f.same("versions from the first", f.versions(stream, eventstore.StreamQuery{From: 1}), []eventstore.Version{4, 5})
		f.same("versions backward", f.versions(stream, eventstore.StreamQuery{Direction: eventstore.Backward}), []eventstore.Version{5, 4})
	}
	f.logCount(3 * 5)
}

func testDeleteExpects(f *fixture) {
	f.append("order-1", eventstore.NoStream, f.events(2)...)
	for _, expected := range []eventstore.ExpectedVersion{eventstore.NoStream, eventstore.Exact(1), eventstore.Exact(3)} {
		f.conflicts("delete", f.Streams.Delete(f.ctx(), "order-1", expected), "order-1", expected, 2)
		f.conflicts("tombstone", f.Streams.Tombstone(f.ctx(), "order-1", expected), "order-1", expected, 2)
	}
	f.info("order-1", 2, 1, eventstore.Live)
	f.ok("delete of a stream without events", f.Streams.Delete(f.ctx(), "order-2", eventstore.Any))
	f.info("order-2", 0, 1, eventstore.Live)
	for i, expected := range []eventstore.ExpectedVersion{eventstore.Any, eventstore.Exists, eventstore.Exact(4)} {
		f.ok("delete", f.Streams.Delete(f.ctx(), "order-1", expected))
		f.append("order-1", eventstore.NoStream, f.event(i))
		f.info("order-1", eventstore.Version(3+i), eventstore.Version(3+i), eventstore.Live)
	}
}

// testRetryOverDeletion makes appends again that were made before or after a
// deletion: they are still the same appends.
func testRetryOverDeletion(f *fixture) {
	before, after := f.events(2), f.events(1)
	first := f.append("order-1", eventstore.NoStream, before...)
	f.ok("delete", f.Streams.Delete(f.ctx(), "order-1", eventstore.Exists))
	f.duplicate(first, f.append("order-1", eventstore.NoStream, before...))
	f.info("order-1", 2, 3, eventstore.Deleted)
	second := f.append("order-1", eventstore.NoStream, after...)
	f.duplicate(second, f.append("order-1", eventstore.NoStream, after...))
	f.duplicate(first, f.append("order-1", eventstore.NoStream, before...))
	f.info("order-1", 3, 3, eventstore.Live)
	f.logCount(3)
}

func testTombstone(f *fixture) {
	req := request(part("order-1", eventstore.NoStream, f.events(3)...))
	req.ID = eventstore.NewEventID()
	first := f.appendAll(req)
	f.append("order-2", eventstore.NoStream, f.event(0))
	f.ok("tombstone", f.Streams.Tombstone(f.ctx(), "order-1", eventstore.Exact(3)))
	f.ok("tombstone of a stream without events", f.Streams.Tombstone(f.ctx(), "order-3", eventstore.NoStream))
	f.ok("delete", f.Streams.Delete(f.ctx(), "order-2", eventstore.Any))
	f.ok("tombstone of a deleted stream", f.Streams.Tombstone(f.ctx(), "order-2", eventstore.Any))
	heads := map[eventstore.StreamID]eventstore.Version{"order-1": 3, "order-2": 1, "order-3": 0}
	for stream, head := range heads {
		f.ok("tombstone again", f.Streams.Tombstone(f.ctx(), stream, eventstore.Any))
		f.info(stream, head, head+1, eventstore.Tombstoned)
		for _, q := range []eventstore.StreamQuery{{}, {Direction: eventstore.Backward, Limit: 1}, {From: 100}} {
			f.fails("read of a tombstoned stream", eventstore.ErrTombstoned, func() error {
				_, err := eventstore.Collect(f.ReadStream(f.ctx(), stream, q))
				return err
			})
		}
		for _, expected := range []eventstore.ExpectedVersion{eventstore.Any, eventstore.NoStream, eventstore.Exists, eventstore.Exact(head), eventstore.Exact(head + 1)} {
			_, err := eventstore.Append(f.ctx(), f, stream, expected, f.event(0))
			f.refused(fmt.Sprintf("append to a tombstoned stream expecting %s", expected), err, eventstore.ErrTombstoned)
			_, err = f.Append(f.ctx(), request(part("order-9", eventstore.Any, f.event(0)), part(stream, expected)))
			f.refused("append that checks a tombstoned stream", err, eventstore.ErrTombstoned)
		}
		for what, op := range f.closingOperations(stream) {
			f.fails(what+" of a tombstoned stream", eventstore.ErrTombstoned, op)
		}
	}
	f.duplicate(first, f.appendAll(req)) // an append id is known whatever became of the stream
	f.logCount(4)
}

// closingOperations are those that a tombstoned stream refuses.
func (f *fixture) closingOperations(stream eventstore.StreamID) map[string]func() error {
	return map[string]func() error{
		"delete":   func() error { return f.Streams.Delete(f.ctx(), stream, eventstore.Any) },
		"truncate": func() error { return f.Streams.Truncate(f.ctx(), stream, 1) },
	}
}

func testTruncate(f *fixture) {
	events := f.events(10)
	last := f.append("order-1", eventstore.NoStream, events...)
	first := eventstore.Version(1)
	for _, before := range []eventstore.Version{0, 1, 4, 2, 4, 10} {
		f.ok("truncate", f.Streams.Truncate(f.ctx(), "order-1", before))
		first = max(first, before)
		f.info("order-1", 10, first, eventstore.Live)
		for _, q := range []eventstore.StreamQuery{{}, {From: 2}, {From: 9, Limit: 1}, {Direction: eventstore.Backward}, {Direction: eventstore.Backward, From: 5}, {Direction: eventstore.Backward, Limit: 8}} {
			f.same(fmt.Sprintf("versions for %+v after a truncation before %d", q, first), f.versions("order-1", q), wantVersions(first, 10, q))
		}
	}
	f.fails("truncation beyond the head", eventstore.ErrInvalid, func() error { return f.Streams.Truncate(f.ctx(), "order-1", 12) })
	f.fails("truncation beyond the head of no stream", eventstore.ErrInvalid, func() error { return f.Streams.Truncate(f.ctx(), "order-2", 2) })
	f.ok("truncation of no stream", f.Streams.Truncate(f.ctx(), "order-2", 1))
	f.ok("truncation of everything", f.Streams.Truncate(f.ctx(), "order-1", 11))
	f.info("order-1", 10, 11, eventstore.Live)
	f.same("events", len(f.read("order-1", eventstore.StreamQuery{})), 0)
	// Versions go on, what is hidden still counts, and the log has it all.
	f.duplicate(last, f.append("order-1", eventstore.NoStream, events...))
	_, err := eventstore.Append(f.ctx(), f, "order-1", eventstore.NoStream, f.event(0))
	f.conflicts("append to a truncated stream that expects none", err, "order-1", eventstore.NoStream, 10)
	f.append("order-1", eventstore.Exists, f.event(0))
	f.same("versions", f.versions("order-1", eventstore.StreamQuery{}), []eventstore.Version{11})
	f.logCount(11)
}

func testErase(f *fixture) {
	events := f.events(3)
	for i := range events {
		events[i].Metadata = eventstore.Metadata{Tenant: "secret", Custom: map[string]string{"secret": "secret"}}
	}
	f.append("other-1", eventstore.NoStream, f.event(0))
	both := f.appendAll(request(part("person-1", eventstore.NoStream, events...), part("other-1", eventstore.Exact(1), f.event(1))))
	before := f.log(both, eventstore.LogQuery{})
	f.ok("tombstone", f.Streams.Tombstone(f.ctx(), "person-1", eventstore.Any))
	for range 2 {
		f.ok("erase", f.Streams.Erase(f.ctx(), "person-1"))
		f.info("person-1", 3, 4, eventstore.Tombstoned)
		after := f.log(both, eventstore.LogQuery{})
		f.same("events in the log", len(after), len(before))
		for i, e := range after {
			if e.Stream != "person-1" {
				if !e.Equal(before[i]) || e.Position != before[i].Position {
					f.Fatalf("an erasure changed an event of another stream: %+v was %+v", e, before[i])
				}
				continue
			}
			f.same("Erased", e.Erased(), true)
			f.same("placeholder", e, eventstore.Event{Stream: "person-1", Version: before[i].Version, Position: before[i].Position, Type: eventstore.ErasedType})
		}
	}
	f.same("events of the other stream", len(f.read("other-1", eventstore.StreamQuery{})), 2)
	f.same("events by the type they had", len(f.log(both, eventstore.LogQuery{Filter: eventstore.Filter{Types: []eventstore.EventType{"test.happened"}}})), 2)
	f.same("events by category", len(f.log(both, eventstore.LogQuery{Filter: eventstore.Filter{Categories: []string{"person"}}})), 3)
	f.fails("read of an erased stream", eventstore.ErrTombstoned, func() error {
		_, err := eventstore.Collect(f.ReadStream(f.ctx(), "person-1", eventstore.StreamQuery{}))
		return err
	})
	f.ok("erasure of a stream without events", f.Streams.Erase(f.ctx(), "person-2"))
	_, err := eventstore.Append(f.ctx(), f, "person-2", eventstore.Any, f.event(0))
	f.refused("append to an erased stream", err, eventstore.ErrTombstoned)
	f.logCount(5)
}

// testNeighbours ends streams whose names begin like others'.
func testNeighbours(f *fixture) {
	names := []eventstore.StreamID{"order-1", "order-11", "order-", "order-1-1", "order-12", "order-13", "order", "order-2"}
	var last eventstore.AppendResult
	for _, name := range names {
		last = f.append(name, eventstore.NoStream, f.events(3)...)
	}
	f.await(last)
	f.ok("delete", f.Streams.Delete(f.ctx(), "order-1", eventstore.Any))
	f.ok("tombstone", f.Streams.Tombstone(f.ctx(), "order-", eventstore.Any))
	f.ok("erase", f.Streams.Erase(f.ctx(), "order"))
	f.ok("truncate", f.Streams.Truncate(f.ctx(), "order-2", 3))
	for _, name := range []eventstore.StreamID{"order-11", "order-1-1", "order-12", "order-13"} {
		f.info(name, 3, 1, eventstore.Live)
		f.same("versions of "+string(name), f.versions(name, eventstore.StreamQuery{}), []eventstore.Version{1, 2, 3})
	}
	erased := 0
	for _, e := range f.log(last, eventstore.LogQuery{}) {
		if e.Erased() {
			erased++
		}
	}
	f.same("placeholders", erased, 3)
}

func testInvalidStreams(f *fixture) {
	f.append("order-1", eventstore.NoStream, f.events(2)...)
	for _, name := range badNames() {
		stream := eventstore.StreamID(name)
		for what, op := range f.streamOperations(stream) {
			f.fails(fmt.Sprintf("%s of %.20q", what, name), eventstore.ErrInvalid, func() error { return op(f.ctx()) })
		}
	}
	f.fails("truncation before -1", eventstore.ErrInvalid, func() error { return f.Streams.Truncate(f.ctx(), "order-1", -1) })
	for _, expected := range []eventstore.ExpectedVersion{0, -9} {
		f.fails("delete expecting nothing", eventstore.ErrInvalid, func() error { return f.Streams.Delete(f.ctx(), "order-1", expected) })
		f.fails("tombstone expecting nothing", eventstore.ErrInvalid, func() error { return f.Streams.Tombstone(f.ctx(), "order-1", expected) })
	}
	f.info("order-1", 2, 1, eventstore.Live)
}

// streamOperations are all methods of Streams.
func (f *fixture) streamOperations(stream eventstore.StreamID) map[string]func(context.Context) error {
	if f.Streams == nil {
		return nil
	}
	return map[string]func(context.Context) error{
		"StreamInfo": func(ctx context.Context) error { _, err := f.Streams.StreamInfo(ctx, stream); return err },
		"Delete":     func(ctx context.Context) error { return f.Streams.Delete(ctx, stream, eventstore.Any) },
		"Tombstone":  func(ctx context.Context) error { return f.Streams.Tombstone(ctx, stream, eventstore.Any) },
		"Truncate":   func(ctx context.Context) error { return f.Streams.Truncate(ctx, stream, 1) },
		"Erase":      func(ctx context.Context) error { return f.Streams.Erase(ctx, stream) },
	}
}
