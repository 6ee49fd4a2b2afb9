package eventstoretest

import (
	"fmt"
	"sync"

	"github.com/annals-es/annals/eventstore"
)

func readTests() []test {
	return []test{
		{"DirectionFromAndLimit", testReadRanges},
		{"MissingStreamIsEmpty", func(f *fixture) {
			f.append("order-1", eventstore.NoStream, f.event(0))
			for _, q := range []eventstore.StreamQuery{{}, {From: 5}, {Limit: 3}, {Direction: eventstore.Backward}, {Direction: eventstore.Backward, From: 2}} {
				f.same("events of a stream that is not there", len(f.read("order-2", q)), 0)
			}
		}},
		{"RefusesWhatMakesNoSense", func(f *fixture) {
			f.append("order-1", eventstore.NoStream, f.event(0))
			for what, q := range map[string]eventstore.StreamQuery{
				"read from -1": {From: -1}, "read with limit -1": {Limit: -1}, "read sideways": {Direction: 2},
			} {
				f.fails(what, eventstore.ErrInvalid, func() error {
					_, err := eventstore.Collect(f.ReadStream(f.ctx(), "order-1", q))
					return err
				})
			}
			f.fails("read of no name", eventstore.ErrInvalid, func() error {
				_, err := eventstore.Collect(f.ReadStream(f.ctx(), "", eventstore.StreamQuery{}))
				return err
			})
		}},
		{"SeesWhatWasAppendedBefore", func(f *fixture) {
			for i := range f.suite.size(200, 50) {
				f.append("order-1", eventstore.Any, f.event(i))
				last := f.versions("order-1", eventstore.StreamQuery{Direction: eventstore.Backward, Limit: 1})
				f.same("last version right after an append", last, []eventstore.Version{eventstore.Version(i + 1)})
			}
		}},
		{"BreakReleasesEverything", func(f *fixture) {
			n := f.suite.size(600, 300)
			f.appendN("order-1", n)
			for _, stop := range []int{1, 2, n / 2, n} {
				seen := 0
				for e, err := range f.ReadStream(f.ctx(), "order-1", eventstore.StreamQuery{}) {
					f.ok("read", err)
					seen++
					f.same("version", e.Version, eventstore.Version(seen))
					if seen == stop {
						break
					}
				}
				f.append("order-1", eventstore.Any, f.event(0))
			}
			f.same("events", len(f.read("order-1", eventstore.StreamQuery{})), n+4)
		}},
		{"IteratingAgainReadsAgain", func(f *fixture) {
			f.append("order-1", eventstore.NoStream, f.events(3)...)
			events := f.ReadStream(f.ctx(), "order-1", eventstore.StreamQuery{})
			for want := 3; want < 6; want++ {
				got, err := eventstore.Collect(events)
				f.ok("read", err)
				f.same("events", len(got), want)
				f.append("order-1", eventstore.Any, f.event(0))
			}
		}},
		{"ReadsOverlapAndNest", func(f *fixture) {
			f.append("order-1", eventstore.NoStream, f.events(20)...)
			outer := 0
			for _, err := range f.ReadStream(f.ctx(), "order-1", eventstore.StreamQuery{}) {
				f.ok("outer read", err)
				outer++
				f.same("inner read", len(f.read("order-1", eventstore.StreamQuery{Direction: eventstore.Backward, Limit: outer})), outer)
				f.append("order-2", eventstore.Any, f.event(outer)) // no lock is held while reading
			}
			f.same("outer read", outer, 20)
		}},
		{"StartedBeforeOrDuringWrites", testReadDuringWrites},
		{"LongStream", func(f *fixture) {
			n := f.suite.size(5_000, 1_500)
			f.appendN("order-1", n)
			f.append("order-2", eventstore.Any, f.event(0))
			want := eventstore.Version(0)
			for e, err := range f.ReadStream(f.ctx(), "order-1", eventstore.StreamQuery{}) {
				f.ok("read", err)
				want++
				f.same("version", e.Version, want)
			}
			f.same("last version forward", want, eventstore.Version(n))
			for e, err := range f.ReadStream(f.ctx(), "order-1", eventstore.StreamQuery{Direction: eventstore.Backward}) {
				f.ok("read", err)
				f.same("version", e.Version, want)
				want--
			}
			f.same("version after the last backward", want, eventstore.Version(0))
		}},
		{"PositionIsZero", func(f *fixture) {
			f.await(f.append("order-1", eventstore.NoStream, f.events(2)...))
			for _, e := range f.read("order-1", eventstore.StreamQuery{}) {
				f.same("position of an event read from its stream", e.Position, eventstore.Position(0))
			}
		}},
		{"ReaderMayChangeWhatItGot", testReaderChanges},
	}
}

// fails ends the test unless fn returns an error of a kind.
func (f *fixture) fails(what string, kind error, fn func() error) {
	f.Helper()
	err := fn()
	if err == nil || !isKind(err, kind) {
		f.Fatalf("%s: got error %v instead of one that matches %q", what, err, kind)
	}
}

func testReadRanges(f *fixture) {
	const head = 10
	f.append("order-1", eventstore.NoStream, f.events(4)...)
	f.append("order-1", eventstore.Exact(4), f.events(head-4)...)
	for from := range eventstore.Version(head + 3) {
		for _, limit := range []int{0, 1, 3, head - 1, head, head + 1, 1 << 30} {
			for _, d := range []eventstore.Direction{eventstore.Forward, eventstore.Backward} {
				q := eventstore.StreamQuery{Direction: d, From: from, Limit: limit}
				f.same(fmt.Sprintf("versions for %+v", q), f.versions("order-1", q), wantVersions(1, head, q))
			}
		}
	}
}

// wantVersions returns the versions that a query gives of a stream that has those
// from first to head.
func wantVersions(first, head eventstore.Version, q eventstore.StreamQuery) []eventstore.Version {
	var want []eventstore.Version
	v, step := max(q.From, first), eventstore.Version(1)
	if q.Direction == eventstore.Backward {
		v, step = head, -1
		if q.From > 0 {
			v = min(q.From, head)
		}
	}
	for ; v >= first && v <= head && (q.Limit == 0 || len(want) < q.Limit); v += step {
		want = append(want, v)
	}
	return want
}

// testReadDuringWrites reads while events are appended. A read gives everything
// from before it began, no gap, and perhaps more.
func testReadDuringWrites(f *fixture) {
	const before = 150
	f.appendN("order-1", before)
	seen, added := 0, 0
	for e, err := range f.ReadStream(f.ctx(), "order-1", eventstore.StreamQuery{}) {
		f.ok("read", err)
		seen++
		f.same("version", e.Version, eventstore.Version(seen))
		if seen%10 == 0 && added < 20 {
			f.append("order-1", eventstore.Any, f.event(seen))
			added++
		}
	}
	if seen < before || seen > before+added {
		f.Fatalf("a read of a stream that had %d events, with %d appended meanwhile, gave %d", before, added, seen)
	}

	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range f.suite.size(300, 60) {
			if _, err := eventstore.Append(f.ctx(), f, "order-1", eventstore.Any, f.event(i), f.event(i)); err != nil {
				f.Errorf("append: %v", err)
				return
			}
		}
	})
	defer wg.Wait()
	least := before + added
	for range f.suite.size(50, 10) {
		got := f.versions("order-1", eventstore.StreamQuery{})
		f.same("versions during writes", got, wantVersions(1, eventstore.Version(len(got)), eventstore.StreamQuery{}))
		if len(got) < least {
			f.Fatalf("a read gave %d events after an earlier one had given %d", len(got), least)
		}
		if (len(got)-before-added)%2 != 0 {
			f.Fatalf("a read gave half of an append: %d events of pairs", len(got)-before-added)
		}
		least = len(got)
	}
}

func testReaderChanges(f *fixture) {
	events := f.events(5)
	for i := range events {
		events[i].Metadata.Custom = map[string]string{"key": "value"}
	}
	res := f.append("order-1", eventstore.NoStream, events...)
	for range 2 { // the second round sees what the first one did
		for source, got := range map[string][]eventstore.Event{"the stream": f.read("order-1", eventstore.StreamQuery{}), "the log": f.log(res, eventstore.LogQuery{})} {
			for i := range got {
				f.same("data from "+source, string(got[i].Data), string(events[i].Data))
				f.same("metadata from "+source, got[i].Metadata.Custom, map[string]string{"key": "value"})
				clear(got[i].Data)
				got[i].Data = append(got[i].Data, "more"...) // nor does this reach the next event
				got[i].Metadata.Custom["key"] = "changed"
			}
		}
	}
}
