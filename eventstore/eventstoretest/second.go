package eventstoretest

import (
	"github.com/annals-es/annals/eventstore"
)

// secondTests are about two stores on the same data.
func secondTests() []test {
	tests := []test{
		{"SeesAndContinuesWhatTheFirstWrote", testSecondContinues},
		{"TokensAndWaitsCrossOver", testSecondWaits},
		{"WritersOfBoth", testSecondContends},
	}
	for i, t := range tests {
		tests[i].run = func(f *fixture) {
			if f.Second == nil {
				f.Skip("the store's data is declared to be its own: Store.Second is nil")
			}
			t.run(f)
		}
	}
	return tests
}

func testSecondContinues(f *fixture) {
	second := f.suite.start(f.T, f.Second)
	events := f.events(3)
	first := f.append("order-1", eventstore.NoStream, events...)
	res, err := eventstore.Append(f.ctx(), second, "order-1", eventstore.NoStream, events...)
	f.ok("append", err)
	f.duplicate(first, res)
	_, err = eventstore.Append(f.ctx(), second, "order-1", eventstore.Exact(2), f.event(0))
	f.conflicts("append", err, "order-1", eventstore.Exact(2), 3)
	last, err := eventstore.Append(f.ctx(), second, "order-1", eventstore.Exact(3), f.event(0))
	f.ok("append", err)
	f.same("versions", f.versions("order-1", eventstore.StreamQuery{}), []eventstore.Version{1, 2, 3, 4})
	f.ok("close", second.Close())
	f.same("events in the log", len(f.log(last, eventstore.LogQuery{})), 4)
}

func testSecondWaits(f *fixture) {
	second := f.suite.start(f.T, f.Second)
	for i := range 5 {
		done := make(chan error, 1)
		go func() {
			_, err := second.Wait(f.ctx(), eventstore.Position(i))
			done <- err
		}()
		res := f.append("order-1", eventstore.Any, f.event(i))
		p, err := second.Await(f.ctx(), res.Token)
		f.ok("await of another store's token", err)
		f.same("position", p, eventstore.Position(i+1))
		f.ok("wait", f.within("Wait for another store's append", func() error { return <-done }))
	}
}

func testSecondContends(f *fixture) {
	second := f.suite.start(f.T, f.Second)
	stores := []eventstore.EventStore{f, second}
	var history History
	f.together("writing", 6, func(w int) error {
		store := stores[w%2]
		for range f.suite.size(80, 20) {
			events, err := history.ReadStream(f.ctx(), store, "order-1")
			if err != nil {
				return err
			}
			expected := eventstore.Exact(eventstore.Version(len(events)))
			if _, err := history.Append(f.ctx(), store, request(part("order-1", expected, f.event(w)))); err != nil && !isKind(err, eventstore.ErrConflict) {
				return err
			}
		}
		return nil
	})
	for _, store := range stores {
		f.ok("history", history.Check(f.ctx(), store))
	}
}
