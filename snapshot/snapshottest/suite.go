// Package snapshottest holds snapshot stores to the contract of package snapshot.
//
//	func TestSnapshots(t *testing.T) {
//		snapshottest.Run(t, func(t testing.TB) snapshot.Store {
//			store := simstore.New(simstore.Config{})
//			t.Cleanup(func() { _ = store.Close() })
//			return store.Snapshots()
//		})
//	}
package snapshottest

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/snapshot"
)

// Run runs the suite. Open is called for each sub-test and returns a fresh, empty
// store, registering what is to be cleaned up.
func Run(t *testing.T, open func(t testing.TB) snapshot.Store) {
	t.Helper()
	for name, test := range map[string]func(*fixture){
		"MissingIsNotFound":         testMissing,
		"KeepsEverything":           testKeepsEverything,
		"NewestWins":                testNewestWins,
		"SchemasLiveSideBySide":     testSchemas,
		"DeleteRemovesAllOfAStream": testDelete,
		"SharesNoMemory":            testSharesNoMemory,
		"LargeStates":               testLarge,
		"CancelledContext":          testCancelled,
		"LateWritersDoNoHarm":       testConcurrentWriters,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(&fixture{T: t, Store: open(t)})
		})
	}
}

// A fixture is a test with the store that it is about. What its methods call must
// succeed, or they end the test.
type fixture struct {
	*testing.T
	snapshot.Store
}

func (f *fixture) save(s snapshot.Snapshot) {
	f.Helper()
	if err := f.Save(f.Context(), s); err != nil {
		f.Fatalf("save the snapshot of %q at version %d: %v", s.Stream, s.Version, err)
	}
}

// holds ends the test unless the store has just this for its key.
func (f *fixture) holds(want snapshot.Snapshot) {
	f.Helper()
	got, err := f.Load(f.Context(), want.Key)
	if err != nil {
		f.Fatalf("load %+v: %v", want.Key, err)
	}
	if !reflect.DeepEqual(got, want) {
		f.Fatalf("load %+v:\n\tgot  %+v\n\twant %+v", want.Key, got, want)
	}
}

func (f *fixture) missing(key snapshot.Key) {
	f.Helper()
	if got, err := f.Load(f.Context(), key); !errors.Is(err, snapshot.ErrNotFound) {
		f.Fatalf("load %+v: got %+v and error %v instead of ErrNotFound", key, got, err)
	}
}

// at returns a snapshot of a version.
func at(stream eventstore.StreamID, schema int, version eventstore.Version) snapshot.Snapshot {
	state, err := eventstore.NewBSONCodec().Marshal(map[string]int64{"version": int64(version)})
	if err != nil {
		panic(err) // a map of numbers
	}
	return snapshot.Snapshot{
		Key: snapshot.Key{Stream: stream, Schema: schema}, Version: version, State: state,
		Time: time.Date(2024, 2, 29, 12, 0, 0, int(version)*int(time.Millisecond), time.UTC),
	}
}

func testMissing(f *fixture) {
	f.missing(snapshot.Key{Stream: "order-1", Schema: 1})
	f.save(at("order-1", 1, 5))
	f.missing(snapshot.Key{Stream: "order-1", Schema: 2})
	f.missing(snapshot.Key{Stream: "order-11", Schema: 1})
	f.missing(snapshot.Key{Stream: "order-", Schema: 1})
}

func testKeepsEverything(f *fixture) {
	s := at("größe-$1.a/\"", 7, 1<<40)
	f.save(s)
	f.holds(s)
	s = at("order-1", 0, 1)
	s.Format, s.State = eventstore.JSON, []byte(`{"b":1, "a":2}`)
	f.save(s)
	f.holds(s)

	s = at("order-2", 1, 1)
	s.Time = time.Date(2024, 2, 29, 12, 0, 0, 123_456_789, time.FixedZone("", 3600))
	f.save(s)
	s.Time = time.Date(2024, 2, 29, 11, 0, 0, 123_000_000, time.UTC)
	f.holds(s)
}

func testNewestWins(f *fixture) {
	for _, v := range []eventstore.Version{3, 7, 5, 7, 6, 100, 1} {
		f.save(at("order-1", 1, v))
	}
	f.holds(at("order-1", 1, 100))
	replaced := at("order-1", 1, 100)
	replaced.Time = replaced.Time.Add(time.Hour)
	f.save(replaced) // one of the same version is not older
	f.holds(replaced)
}

func testSchemas(f *fixture) {
	f.save(at("order-1", 1, 10))
	f.save(at("order-1", 2, 4))
	f.save(at("order-1", 1, 11))
	f.holds(at("order-1", 1, 11))
	f.holds(at("order-1", 2, 4))
}

func testDelete(f *fixture) {
	for range 2 { // deleting what is not there is fine
		if err := f.Delete(f.Context(), "order-1"); err != nil {
			f.Fatalf("delete: %v", err)
		}
		f.missing(snapshot.Key{Stream: "order-1", Schema: 1})
		f.save(at("order-1", 1, 10))
		f.save(at("order-1", 2, 10))
		f.save(at("order-11", 1, 10))
	}
	if err := f.Delete(f.Context(), "order-1"); err != nil {
		f.Fatalf("delete: %v", err)
	}
	f.missing(snapshot.Key{Stream: "order-1", Schema: 1})
	f.missing(snapshot.Key{Stream: "order-1", Schema: 2})
	f.holds(at("order-11", 1, 10))
	f.save(at("order-1", 1, 2)) // nothing is left that would be newer
	f.holds(at("order-1", 1, 2))
}

func testSharesNoMemory(f *fixture) {
	want := at("order-1", 1, 10)
	s := at("order-1", 1, 10)
	f.save(s)
	clear(s.State)
	f.holds(want)
	got, err := f.Load(f.Context(), want.Key)
	if err != nil {
		f.Fatal(err)
	}
	clear(got.State)
	f.holds(want)
}

func testLarge(f *fixture) {
	s := at("order-1", 1, 10)
	state := map[string]string{"text": string(make([]byte, eventstore.MaxEventSize-100))}
	var err error
	if s.State, err = eventstore.NewBSONCodec().Marshal(state); err != nil {
		f.Fatal(err)
	}
	f.save(s)
	f.holds(s)
	s.Version++
	s.State = make([]byte, eventstore.MaxEventSize+1)
	// A store may have a limit, which it must say; one that takes more must keep it.
	switch err := f.Save(f.Context(), s); {
	case err == nil:
		f.holds(s)
	case !errors.Is(err, eventstore.ErrTooLarge):
		f.Fatalf("save of %d bytes: got error %v, neither none nor ErrTooLarge", len(s.State), err)
	}
}

func testCancelled(f *fixture) {
	f.save(at("order-1", 1, 10))
	ctx, cancel := context.WithCancel(f.Context())
	cancel()
	_, loadErr := f.Load(ctx, snapshot.Key{Stream: "order-1", Schema: 1})
	for what, err := range map[string]error{
		"load": loadErr, "save": f.Save(ctx, at("order-1", 1, 11)), "delete": f.Delete(ctx, "order-1"),
	} {
		if !errors.Is(err, context.Canceled) {
			f.Fatalf("%s with a cancelled context: got error %v", what, err)
		}
	}
	f.holds(at("order-1", 1, 10))
}

// testConcurrentWriters has writers save rising and falling versions at once. The
// newest is there in the end, and a reader never sees one go back.
func testConcurrentWriters(f *fixture) {
	const writers, each = 4, 25
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := range each {
				v := eventstore.Version(1 + w + writers*i)
				if w%2 == 1 {
					v = eventstore.Version(1 + w + writers*(each-1-i))
				}
				if err := f.Save(f.Context(), at("order-1", 1, v)); err != nil {
					f.Errorf("save: %v", err)
				}
			}
		})
	}
	wg.Go(func() {
		last := eventstore.Version(0)
		for range each {
			s, err := f.Load(f.Context(), snapshot.Key{Stream: "order-1", Schema: 1})
			if err != nil && !errors.Is(err, snapshot.ErrNotFound) {
				f.Errorf("load: %v", err)
			}
			if s.Version < last {
				f.Errorf("a reader saw version %d after version %d", s.Version, last)
			}
			if err == nil && !reflect.DeepEqual(s, at("order-1", 1, s.Version)) {
				f.Errorf("a reader saw a mixture: %s", fmt.Sprint(s))
			}
			last = s.Version
		}
	})
	wg.Wait()
	f.holds(at("order-1", 1, writers*each))
}
