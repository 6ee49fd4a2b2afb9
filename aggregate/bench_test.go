package aggregate_test

import (
	"fmt"
	"testing"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/snapshot"
)

// BenchmarkLoad loads an aggregate of 1,000 events: all of them, the snapshot and
// the rest, or what the cache has.
func BenchmarkLoad(b *testing.B) {
	const events = 1_000
	store := newStore(b)
	data := make([]eventstore.EventData, events)
	for i := range data {
		d, err := registry().Encode(deposited{Cents: int64(i)})
		if err != nil {
			b.Fatal(err)
		}
		data[i] = d[0]
	}
	if _, err := eventstore.Append(b.Context(), store, "account-a", eventstore.NoStream, data...); err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name string
		cfg  aggregate.Config[account]
	}{
		{"events", aggregate.Config[account]{}},
		{"snapshot", aggregate.Config[account]{Snapshots: store.Snapshots(), SnapshotPolicy: snapshot.Every(10)}},
		{"cache", aggregate.Config[account]{CacheSize: 10}},
	} {
		b.Run(c.name, func(b *testing.B) {
			r := newRepository(b, store, c.cfg)
			if _, err := r.Run(b.Context(), "a", 1); err != nil { // takes the snapshot, fills the cache
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if _, err := r.Load(b.Context(), "a"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// BenchmarkRun runs commands on as many aggregates as there are iterations.
func BenchmarkRun(b *testing.B) {
	r := newRepository(b, newStore(b), aggregate.Config[account]{})
	b.ReportAllocs()
	n := 0
	for b.Loop() {
		n++
		if _, err := r.Run(b.Context(), fmt.Sprint(n), 1); err != nil {
			b.Fatal(err)
		}
	}
}
