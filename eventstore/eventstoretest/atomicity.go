package eventstoretest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/annals-es/annals/eventstore"
)

func atomicityTests() []test {
	return []test{
		{"SeveralStreamsAtOnce", func(f *fixture) {
			f.append("order-b", eventstore.NoStream, f.event(0))
			a, b, c := f.events(2), f.events(1), f.events(3)
			res := f.appendAll(request(part("order-a", eventstore.NoStream, a...), part("order-b", eventstore.Exact(1), b...), part("stock-c", eventstore.Any, c...)))
			f.same("result", res.Streams, []eventstore.StreamResult{
				{Stream: "order-a", First: 1, Last: 2}, {Stream: "order-b", First: 2, Last: 2}, {Stream: "stock-c", First: 1, Last: 3},
			})
			f.holds("order-a", 1, a...)
			f.holds("order-b", 2, b...)
			f.holds("stock-c", 1, c...)
			p := f.await(res)
			f.same("position of the last event of an append", p, eventstore.Position(7))
			f.same("events in the log up to there", len(f.log(res, eventstore.LogQuery{Through: p})), 7)
		}},
		{"OneConflictWritesNothing", func(f *fixture) {
			f.append("order-b", eventstore.NoStream, f.event(0))
			bad := part("order-b", eventstore.NoStream, f.event(1))
			good := func(s eventstore.StreamID) eventstore.StreamAppend {
				return part(s, eventstore.NoStream, f.event(1), f.event(2))
			}
			for _, parts := range [][]eventstore.StreamAppend{
				{bad, good("order-a")},
				{good("order-a"), bad},
				{good("order-a"), bad, good("order-c")},
				{good("order-a"), part("order-b", eventstore.Exact(2)), good("order-c")},
				{good("order-a"), part("order-d", eventstore.Exists)},
			} {
				_, err := f.Append(f.ctx(), request(parts...))
				f.refused("append to several streams, one of which conflicts", err, eventstore.ErrConflict)
				var conflict *eventstore.ConflictError
				if !errors.As(err, &conflict) || (conflict.Stream != "order-b" && conflict.Stream != "order-d") {
					f.Fatalf("the conflict does not name the stream that has it: %v", err)
				}
			}
			f.same("events", len(f.read("order-a", eventstore.StreamQuery{}))+len(f.read("order-c", eventstore.StreamQuery{})), 0)
			f.logCount(1)
		}},
		{"RefusedBatchWritesNothing", func(f *fixture) {
			f.append("order-1", eventstore.NoStream, f.event(0))
			events := f.events(5)
			_, err := eventstore.Append(f.ctx(), f, "order-1", eventstore.NoStream, events...)
			f.conflicts("append of a batch", err, "order-1", eventstore.NoStream, 1)
			events[4].Data = []byte("no document")
			_, err = eventstore.Append(f.ctx(), f, "order-1", eventstore.Exact(1), events...)
			f.refused("append of a batch whose last event is broken", err, eventstore.ErrInvalid)
			f.same("events", len(f.read("order-1", eventstore.StreamQuery{})), 1)
			f.logCount(1)
		}},
		{"ChecksOtherStreams", func(f *fixture) {
			f.append("account-1", eventstore.NoStream, f.events(2)...)
			res := f.appendAll(request(part("account-1", eventstore.Exact(2)), part("order-1", eventstore.NoStream, f.event(0)), part("account-2", eventstore.NoStream)))
			f.same("result", res.Streams, []eventstore.StreamResult{
				{Stream: "account-1", Last: 2}, {Stream: "order-1", First: 1, Last: 1}, {Stream: "account-2"},
			})
			_, err := f.Append(f.ctx(), request(part("account-1", eventstore.Exact(1)), part("order-2", eventstore.NoStream, f.event(0))))
			f.conflicts("append with a check that fails", err, "account-1", eventstore.Exact(1), 2)
			// A check leaves no trace: the streams go on as if nothing had been.
			f.append("account-1", eventstore.Exact(2), f.event(0))
			f.append("account-2", eventstore.NoStream, f.event(0))
			f.append("order-2", eventstore.NoStream, f.event(0))
			f.logCount(6)
		}},
		{"ManyStreams", func(f *fixture) {
			n := f.suite.size(100, 40)
			var parts []eventstore.StreamAppend
			for i := range n {
				parts = append(parts, part(eventstore.NewStreamID("order", fmt.Sprint(i)), eventstore.NoStream, f.event(i)))
			}
			res := f.appendAll(request(parts...))
			f.same("position", f.await(res), eventstore.Position(n))
			for i := range n {
				f.same("result", res.Streams[i], eventstore.StreamResult{Stream: parts[i].Stream, First: 1, Last: 1})
			}
			parts[n-1].Stream = "order-new"
			for i := range n - 1 {
				parts[i].Events = f.events(1)
				parts[i].Expected = eventstore.Exact(1)
			}
			parts[n/2].Expected = eventstore.Exact(2)
			_, err := f.Append(f.ctx(), request(parts...))
			f.conflicts("append to many streams, one of which conflicts", err, parts[n/2].Stream, eventstore.Exact(2), 1)
			f.logCount(n)
		}},
		{"ChecksHoldAtTheMomentOfTheWrite", testWriteSkew},
		{"OppositeOrdersDoNotBlock", testOppositeOrders},
	}
}

// testWriteSkew has two writers each check that the other has not written. If
// checks were made before the write instead of with it, both could.
func testWriteSkew(f *fixture) {
	rounds := f.suite.size(200, 25)
	for round := range rounds {
		a, b := eventstore.NewStreamID("doctor", fmt.Sprint(2*round)), eventstore.NewStreamID("doctor", fmt.Sprint(2*round+1))
		var wg sync.WaitGroup
		var errs [2]error
		for i, streams := range [2][2]eventstore.StreamID{{a, b}, {b, a}} {
			wg.Go(func() {
				_, errs[i] = f.Append(f.ctx(), request(part(streams[0], eventstore.NoStream), part(streams[1], eventstore.NoStream, f.event(i))))
			})
		}
		wg.Wait()
		written := 0
		for i, err := range errs {
			if err == nil {
				written++
				continue
			}
			f.conflicts("append with a check", err, [2]eventstore.StreamID{a, b}[i], eventstore.NoStream, 1)
		}
		if written != 1 {
			f.Fatalf("%d of two appends were written, each of which checked that the other was not", written)
		}
	}
	f.logCount(rounds)
}

// testOppositeOrders has writers name the same streams in opposite orders.
func testOppositeOrders(f *fixture) {
	const writers = 4
	rounds := f.suite.size(100, 10)
	f.together("appends to two streams in opposite orders", writers, func(w int) error {
		streams := []eventstore.StreamID{"order-a", "order-b"}
		for i := range rounds {
			first, second := streams[(w+i)%2], streams[(w+i+1)%2]
			if _, err := f.Append(f.ctx(), request(part(first, eventstore.Any, f.event(i)), part(second, eventstore.Any, f.event(i)))); err != nil {
				return err
			}
		}
		return nil
	})
	f.logCount(writers * 2 * rounds)
}
