package eventstoretest

import (
	"fmt"

	"github.com/annals-es/annals/eventstore"
)

func appendTests() []test {
	return []test{
		{"VersionsStartAtOneAndFollow", func(f *fixture) {
			for v := range eventstore.Version(5) {
				res := f.append("order-1", eventstore.Exact(v), f.event(int(v)))
				f.same("streams of the result", res.Streams, []eventstore.StreamResult{{Stream: "order-1", First: v + 1, Last: v + 1}})
				if res.Token == "" || res.Duplicate {
					f.Fatalf("result of a new append: token %q, duplicate %t", res.Token, res.Duplicate)
				}
			}
			f.same("versions", f.versions("order-1", eventstore.StreamQuery{}), []eventstore.Version{1, 2, 3, 4, 5})
		}},
		{"BatchKeepsItsOrder", func(f *fixture) {
			first, second := f.events(7), f.events(3)
			res := f.append("order-1", eventstore.NoStream, first...)
			f.same("first result", res.Streams, []eventstore.StreamResult{{Stream: "order-1", First: 1, Last: 7}})
			res = f.append("order-1", eventstore.Exact(7), second...)
			f.same("second result", res.Streams, []eventstore.StreamResult{{Stream: "order-1", First: 8, Last: 10}})
			f.holds("order-1", 1, append(first, second...)...)
		}},
		{"ExpectedVersions", testExpectedVersions},
		{"VersionAboveTheHeadIsAConflict", func(f *fixture) {
			f.append("order-1", eventstore.NoStream, f.events(2)...)
			_, err := eventstore.Append(f.ctx(), f, "order-1", eventstore.Exact(5), f.event(0))
			f.conflicts("append above the head", err, "order-1", eventstore.Exact(5), 2)
			_, err = eventstore.Append(f.ctx(), f, "order-2", eventstore.Exact(1), f.event(0))
			f.conflicts("append above the head of no stream", err, "order-2", eventstore.Exact(1), 0)
			f.same("versions", f.versions("order-1", eventstore.StreamQuery{}), []eventstore.Version{1, 2})
			f.logCount(2)
		}},
		{"SecondOfTwoWritersConflicts", func(f *fixture) {
			f.append("order-1", eventstore.NoStream, f.event(0))
			winner := f.events(1)
			f.append("order-1", eventstore.Exact(1), winner...)
			for range 3 { // a loser who tries again does not become a winner
				loser := f.events(2)
				_, err := eventstore.Append(f.ctx(), f, "order-1", eventstore.Exact(1), loser...)
				f.conflicts("append of the loser", err, "order-1", eventstore.Exact(1), 2)
				_, err = eventstore.Append(f.ctx(), f, "order-1", eventstore.Exact(1), loser...)
				f.conflicts("the same append again", err, "order-1", eventstore.Exact(1), 2)
			}
			f.holds("order-1", 2, winner...)
			f.logCount(2)
		}},
		{"AnyGoesBehindWhatIsThere", func(f *fixture) {
			for i := range 5 {
				res := f.append("order-1", eventstore.Any, f.event(i))
				f.same("versions", res.Streams[0].First, eventstore.Version(i+1))
			}
		}},
		{"StreamsAreIndependent", func(f *fixture) {
			for i := range 4 {
				for s := range 3 {
					f.append(eventstore.NewStreamID("order", fmt.Sprint(s)), eventstore.Exact(eventstore.Version(i)), f.event(10*s+i))
				}
			}
			for s := range 3 {
				f.holds(eventstore.NewStreamID("order", fmt.Sprint(s)), 1, f.event(10*s), f.event(10*s+1), f.event(10*s+2), f.event(10*s+3))
			}
		}},
		{"WithoutEventsOnlyChecks", testAppendWithoutEvents},
		{"RefusesWhatMakesNoSense", testInvalidAppends},
		{"CallerMayChangeWhatItPassed", testCallerChanges},
		{"IdsAreMade", func(f *fixture) {
			f.append("order-1", eventstore.Any, f.event(1), f.event(1), f.event(1))
			seen := map[eventstore.EventID]bool{{}: true}
			for _, e := range f.read("order-1", eventstore.StreamQuery{}) {
				if seen[e.ID] {
					f.Fatalf("event id %s is zero or there twice", e.ID)
				}
				seen[e.ID] = true
				if e.ID.Version() != 7 {
					f.Fatalf("event id %s is no UUIDv7", e.ID)
				}
			}
		}},
	}
}

func testExpectedVersions(f *fixture) {
	for _, head := range []eventstore.Version{0, 1, 3} {
		for i, c := range []struct {
			expected eventstore.ExpectedVersion
			ok       bool
		}{
			{eventstore.Any, true},
			{eventstore.NoStream, head == 0},
			{eventstore.Exists, head > 0},
			{eventstore.Exact(0), head == 0},
			{eventstore.Exact(1), head == 1},
			{eventstore.Exact(2), false},
			{eventstore.Exact(3), head == 3},
			{eventstore.Exact(4), false},
			{eventstore.Exact(1 << 40), false},
		} {
			stream := eventstore.NewStreamID("order", fmt.Sprintf("%d-%d", head, i))
			for range head {
				f.append(stream, eventstore.Any, f.event(0))
			}
			what := fmt.Sprintf("append to a stream at %d expecting %s", head, c.expected)
			res, err := eventstore.Append(f.ctx(), f, stream, c.expected, f.event(0), f.event(1))
			if !c.ok {
				f.conflicts(what, err, stream, c.expected, head)
				f.same("events after a conflict", len(f.read(stream, eventstore.StreamQuery{})), int(head))
				continue
			}
			f.ok(what, err)
			f.same(what, res.Streams, []eventstore.StreamResult{{Stream: stream, First: head + 1, Last: head + 2}})
			f.same("events", len(f.read(stream, eventstore.StreamQuery{})), int(head)+2)
		}
	}
}

func testAppendWithoutEvents(f *fixture) {
	f.append("order-1", eventstore.NoStream, f.events(3)...)
	for _, expected := range []eventstore.ExpectedVersion{eventstore.Any, eventstore.Exists, eventstore.Exact(3)} {
		res := f.append("order-1", expected)
		f.same("result of a check", res, eventstore.AppendResult{Streams: []eventstore.StreamResult{{Stream: "order-1", Last: 3}}})
	}
	res := f.append("order-2", eventstore.NoStream)
	f.same("result of a check of no stream", res, eventstore.AppendResult{Streams: []eventstore.StreamResult{{Stream: "order-2"}}})
	for _, c := range []struct {
		stream   eventstore.StreamID
		expected eventstore.ExpectedVersion
		actual   eventstore.Version
	}{{"order-1", eventstore.NoStream, 3}, {"order-1", eventstore.Exact(2), 3}, {"order-1", eventstore.Exact(4), 3}, {"order-2", eventstore.Exists, 0}} {
		_, err := eventstore.Append(f.ctx(), f, c.stream, c.expected)
		f.conflicts("check", err, c.stream, c.expected, c.actual)
	}
	f.same("events of a stream that was only checked", len(f.read("order-2", eventstore.StreamQuery{})), 0)
	f.append("order-2", eventstore.NoStream, f.event(0))
	f.logCount(4)
}

func testInvalidAppends(f *fixture) {
	good := f.event(0)
	with := func(change func(e *eventstore.EventData)) eventstore.EventData {
		e := good
		change(&e)
		return e
	}
	twice := f.events(1)[0]
	for what, req := range map[string]eventstore.AppendRequest{
		"append of nothing":             {},
		"append with an id of nothing":  {ID: eventstore.NewEventID()},
		"append to no name":             request(part("", eventstore.Any, good)),
		"append expecting nothing":      request(part("order-1", 0, good)),
		"append expecting less":         request(part("order-1", -7, good)),
		"append expecting Exact(-1)":    request(part("order-1", eventstore.Exact(-1), good)),
		"check expecting nothing":       request(part("order-1", 0)),
		"append to a stream twice":      request(part("order-1", eventstore.Any, good), part("order-1", eventstore.Any, good)),
		"append and check of a stream":  request(part("order-1", eventstore.Any, good), part("order-1", eventstore.Exact(1))),
		"append of no type":             request(part("order-1", eventstore.Any, with(func(e *eventstore.EventData) { e.Type = "" }))),
		"append of a store's type":      request(part("order-1", eventstore.Any, with(func(e *eventstore.EventData) { e.Type = eventstore.ErasedType }))),
		"append of schema -1":           request(part("order-1", eventstore.Any, with(func(e *eventstore.EventData) { e.Schema = -1 }))),
		"append of no data":             request(part("order-1", eventstore.Any, with(func(e *eventstore.EventData) { e.Data = nil }))),
		"append of what is no BSON":     request(part("order-1", eventstore.Any, with(func(e *eventstore.EventData) { e.Data = []byte("{}") }))),
		"append of BSON and more":       request(part("order-1", eventstore.Any, with(func(e *eventstore.EventData) { e.Data = append(f.encode(payload{}), 0) }))),
		"append of what is no JSON":     request(part("order-1", eventstore.Any, with(func(e *eventstore.EventData) { e.Format = eventstore.JSON }))),
		"append of a JSON array":        request(part("order-1", eventstore.Any, eventstore.EventData{Type: "x", Format: eventstore.JSON, Data: []byte("[]")})),
		"append of an unknown format":   request(part("order-1", eventstore.Any, with(func(e *eventstore.EventData) { e.Format = 77 }))),
		"append of an empty custom key": request(part("order-1", eventstore.Any, with(func(e *eventstore.EventData) { e.Metadata.Custom = map[string]string{"": "x"} }))),
		"append of a $ custom key":      request(part("order-1", eventstore.Any, with(func(e *eventstore.EventData) { e.Metadata.Custom = map[string]string{"$x": "x"} }))),
		"append of an id twice":         request(part("order-1", eventstore.Any, twice, twice)),
		"append of an id to two":        request(part("order-1", eventstore.Any, twice), part("order-2", eventstore.Any, twice)),
		"append, the last event broken": request(part("order-1", eventstore.Any, good, good, with(func(e *eventstore.EventData) { e.Type = "" }))),
		"append, the last stream broken": request(part("order-1", eventstore.Any, good),
			part("order-2", eventstore.Any, with(func(e *eventstore.EventData) { e.Data = nil }))),
	} {
		_, err := f.Append(f.ctx(), req)
		f.refused(what, err, eventstore.ErrInvalid)
	}
	f.same("events after refused appends", len(f.read("order-1", eventstore.StreamQuery{})), 0)
	f.logCount(0)
}

func testCallerChanges(f *fixture) {
	events := f.events(3)
	for i := range events {
		events[i].Metadata.Custom = map[string]string{"key": fmt.Sprint("value ", i)}
	}
	want := make([]eventstore.EventData, len(events))
	for i, e := range events {
		e.Data = []byte(string(e.Data))
		want[i] = e
	}
	parts := []eventstore.StreamAppend{part("order-1", eventstore.NoStream, events...)}
	res := f.appendAll(eventstore.AppendRequest{Streams: parts})
	for i := range events {
		clear(events[i].Data)
		events[i].Metadata.Custom["key"] = "changed"
		events[i].Metadata.Custom["new"] = "new"
		events[i].Type = "test.changed"
	}
	parts[0].Stream = "order-9"
	parts[0].Events = nil
	f.holds("order-1", 1, want...)
	for source, stored := range map[string][]eventstore.Event{"the stream": f.read("order-1", eventstore.StreamQuery{}), "the log": f.log(res, eventstore.LogQuery{})} {
		for i, e := range stored {
			f.same("metadata in "+source, e.Metadata.Custom, map[string]string{"key": fmt.Sprint("value ", i)})
			f.same("data in "+source, string(e.Data), string(want[i].Data))
		}
	}
}
