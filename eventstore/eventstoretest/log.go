package eventstoretest

import (
	"fmt"
	"slices"
	"sync"

	"github.com/annals-es/annals/eventstore"
)

func logTests() []test {
	return []test{
		{"PositionsAreDenseAndStable", testPositions},
		{"AfterThroughAndLimit", testLogRanges},
		{"Filters", testFilters},
		{"SameEventsAsTheStreams", func(f *fixture) {
			var last eventstore.AppendResult
			for i := range 12 {
				last = f.append(eventstore.NewStreamID("order", fmt.Sprint(i%3)), eventstore.Any, f.event(i), f.event(i))
			}
			next := map[eventstore.StreamID][]eventstore.Event{}
			for i := range 3 {
				stream := eventstore.NewStreamID("order", fmt.Sprint(i))
				next[stream] = f.read(stream, eventstore.StreamQuery{})
			}
			for _, e := range f.log(last, eventstore.LogQuery{}) {
				if len(next[e.Stream]) == 0 || !e.Equal(next[e.Stream][0]) {
					f.Fatalf("position %d has %+v; the stream goes on with %+v", e.Position, e, next[e.Stream])
				}
				next[e.Stream] = next[e.Stream][1:]
			}
			for stream, left := range next {
				f.same("events of "+string(stream)+" that are not in the log", len(left), 0)
			}
		}},
		{"EmptyLog", func(f *fixture) {
			head, err := f.Head(f.ctx())
			f.ok("head", err)
			f.same("head of an empty log", head, eventstore.Position(0))
			events, err := eventstore.Collect(f.ReadLog(f.ctx(), eventstore.LogQuery{}))
			f.ok("read", err)
			f.same("events", len(events), 0)
		}},
		{"HeadIsTheLastPosition", func(f *fixture) {
			for i := range 5 {
				p := f.await(f.append("order-1", eventstore.Any, f.event(i)))
				head, err := f.Head(f.ctx())
				f.ok("head", err)
				f.same("head", head, p)
			}
		}},
		{"RefusesWhatMakesNoSense", func(f *fixture) {
			for what, q := range map[string]eventstore.LogQuery{"after -1": {After: -1}, "through -1": {Through: -1}, "limit -1": {Limit: -1}} {
				f.fails("read the log "+what, eventstore.ErrInvalid, func() error {
					_, err := eventstore.Collect(f.ReadLog(f.ctx(), q))
					return err
				})
			}
		}},
		{"BreakAndIterateAgain", func(f *fixture) {
			last := f.appendN("order-1", 300)
			f.await(last)
			log := f.ReadLog(f.ctx(), eventstore.LogQuery{})
			for _, stop := range []int{1, 150, 300} {
				seen := 0
				for _, err := range log {
					f.ok("read", err)
					if seen++; seen == stop {
						break
					}
				}
				f.same("events before the break", seen, stop)
			}
		}},
		{"ReadersDuringWritesSeeOneHistory", testLogDuringWrites},
	}
}

// testPositions appends to several streams and reads the log again and again: it
// only grows.
func testPositions(f *fixture) {
	var seen []eventstore.Event
	total := 0
	for i := range 10 {
		n := i%3 + 1
		total += n
		last := f.append(eventstore.NewStreamID("order", fmt.Sprint(i%4)), eventstore.Any, f.events(n)...)
		f.same("position of the last event", f.await(last), eventstore.Position(total))
		log := f.log(last, eventstore.LogQuery{})
		f.same("events in the log", len(log), total)
		for j, e := range log {
			f.same("position", e.Position, eventstore.Position(j+1))
			if j < len(seen) && (!e.Equal(seen[j])) {
				f.Fatalf("position %d was %+v and is now %+v", j+1, seen[j], e)
			}
		}
		seen = log
	}
}

func testLogRanges(f *fixture) {
	const head = 8
	f.append("order-1", eventstore.NoStream, f.events(5)...)
	f.await(f.append("order-2", eventstore.NoStream, f.events(head-5)...))
	for after := range eventstore.Position(head + 3) {
		for through := range eventstore.Position(head + 3) {
			for _, limit := range []int{0, 1, 3, head, head + 1} {
				q := eventstore.LogQuery{After: after, Through: through, Limit: limit}
				var want, got []eventstore.Position
				for p := after + 1; p <= head && (through == 0 || p <= through) && (limit == 0 || len(want) < limit); p++ {
					want = append(want, p)
				}
				for e, err := range f.ReadLog(f.ctx(), q) {
					f.ok("read the log", err)
					got = append(got, e.Position)
				}
				f.same(fmt.Sprintf("positions for %+v", q), got, want)
			}
		}
	}
}

func testFilters(f *fixture) {
	streams := []eventstore.StreamID{"order-1", "order-2", "orders-1", "order", "Order-1", "stock-order-1", "-order"}
	types := []eventstore.EventType{"placed", "place", "placed.again", "Placed", "x$"}
	var last eventstore.AppendResult
	for _, s := range streams {
		for _, typ := range types {
			last = f.append(s, eventstore.Any, f.eventOf(typ, 0))
		}
	}
	all := f.log(last, eventstore.LogQuery{})
	for _, filter := range []eventstore.Filter{
		{},
		{Types: types[:1]},
		{Types: types[1:3]},
		{Types: []eventstore.EventType{"unknown"}},
		{Types: []eventstore.EventType{"place.*"}},
		{Categories: []string{"order"}},
		{Categories: []string{"order", "stock"}},
		{Categories: []string{"Order"}},
		{Categories: []string{"order-1"}},
		{Categories: []string{""}},
		{Categories: []string{"ord"}},
		{Categories: []string{"order", "order"}},
		{Types: types[:2], Categories: []string{"order", "orders"}},
		{Types: []eventstore.EventType{"unknown"}, Categories: []string{"order"}},
		{Types: []eventstore.EventType{}, Categories: []string{}},
	} {
		for _, limit := range []int{0, 2} {
			q := eventstore.LogQuery{After: 3, Filter: filter, Limit: limit}
			var want, got []eventstore.Position
			for _, e := range all[3:] {
				if passes(filter, e) && (limit == 0 || len(want) < limit) {
					want = append(want, e.Position)
				}
			}
			for e, err := range f.ReadLog(f.ctx(), q) {
				f.ok("read the log", err)
				got = append(got, e.Position)
			}
			f.same(fmt.Sprintf("positions for %+v", q), got, want)
		}
	}
}

// passes says by the words of the contract whether an event passes a filter.
func passes(filter eventstore.Filter, e eventstore.Event) bool {
	return (len(filter.Types) == 0 || slices.Contains(filter.Types, e.Type)) &&
		(len(filter.Categories) == 0 || slices.Contains(filter.Categories, e.Stream.Category()))
}

// testLogDuringWrites has readers read the log while writers append. What any
// reader saw at a position is what all see there, and none sees a later position
// before an earlier one.
func testLogDuringWrites(f *fixture) {
	const writers = 4
	each := f.suite.size(200, 30)
	var writing, reading sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			for i := range each {
				stream := eventstore.NewStreamID("order", fmt.Sprint((w+i)%3))
				if _, err := eventstore.Append(f.ctx(), f, stream, eventstore.Any, f.event(i), f.event(i)); err != nil {
					f.Errorf("append: %v", err)
					return
				}
			}
		})
	}
	total := writers * each * 2
	logs := make([][]eventstore.Event, 3)
	for r := range logs {
		reading.Go(func() { logs[r] = f.readInSteps(r, total) })
	}
	writing.Wait()
	reading.Wait()
	if f.Failed() {
		return
	}
	final, err := eventstore.Collect(f.ReadLog(f.ctx(), eventstore.LogQuery{}))
	f.ok("read the log", err)
	f.same("events in the log", len(final), total)
	versions := map[eventstore.StreamID]eventstore.Version{}
	for i, e := range final {
		f.same("position", e.Position, eventstore.Position(i+1))
		versions[e.Stream]++
		f.same("version of the next event of "+string(e.Stream)+" in the log", e.Version, versions[e.Stream])
		for r, log := range logs {
			if !log[i].Equal(e) || log[i].Position != e.Position {
				f.Fatalf("reader %d saw %+v at position %d, where now is %+v", r, log[i], i+1, e)
			}
		}
	}
}

// readInSteps reads the log from behind what it has seen, until it has seen it
// all, waiting at its head.
func (f *fixture) readInSteps(reader, total int) []eventstore.Event {
	ctx := f.ctx()
	var seen []eventstore.Event
	for len(seen) < total {
		if _, err := f.Wait(ctx, eventstore.Position(len(seen))); err != nil {
			f.Errorf("wait behind position %d: %v", len(seen), err)
			return nil
		}
		// Some read little at a time, some all that there is.
		for e, err := range f.ReadLog(ctx, eventstore.LogQuery{After: eventstore.Position(len(seen)), Limit: reader * 7}) {
			if err != nil {
				f.Errorf("read the log behind position %d: %v", len(seen), err)
				return nil
			}
			if e.Position != eventstore.Position(len(seen)+1) {
				f.Errorf("skipped position: after position %d a reader saw %d", len(seen), e.Position)
				return nil
			}
			seen = append(seen, e)
		}
	}
	return seen
}
