package mongostore

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
)

func BenchmarkAppend(b *testing.B) {
	for _, events := range []int{1, 3} {
		for _, writers := range []int{1, 16, 64} {
			b.Run(fmt.Sprintf("events=%d/writers=%d", events, writers), func(b *testing.B) {
				srv := migrated(b)
				var flights, appends atomic.Int64
				s := srv.open(b, func(c *Config) {
					c.Hooks.Flight = func(f FlightStats) { flights.Add(1); appends.Add(int64(f.Appends)) }
				})
				some := eventsUpTo(events)
				for i := range some {
					some[i].ID = eventstore.EventID{}
				}
				b.ReportAllocs()
				b.ResetTimer()
				var n atomic.Int64
				var wg sync.WaitGroup
				for range writers {
					wg.Go(func() {
						for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
							if _, err := eventstore.Append(context.Background(), s, eventstore.StreamID(fmt.Sprintf("order-%d", i)), eventstore.NoStream, some...); err != nil {
								b.Error(err)
								return
							}
						}
					})
				}
				wg.Wait()
				b.ReportMetric(float64(appends.Load())/float64(flights.Load()), "appends/flight")
				b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "appends/s")
			})
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for _, n := range []int{10, 100, 1_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			srv := migrated(b)
			s := srv.open(b)
			_, err := eventstore.Append(context.Background(), s, "order-1", eventstore.NoStream, eventsUpTo(n)...)
			require.NoError(b, err)
			b.ReportAllocs()
			for b.Loop() {
				for _, err := range s.ReadStream(context.Background(), "order-1", eventstore.StreamQuery{}) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}
			b.ReportMetric(float64(b.N*n)/b.Elapsed().Seconds(), "events/s")
		})
	}
}

func BenchmarkDecodeEvent(b *testing.B) {
	e := event(1)
	e.Schema = 1
	e.Metadata = eventstore.Metadata{CorrelationID: "0190c0de-0000-7000-8000-000000000001", CausationID: "0190c0de-0000-7000-8000-000000000002"}
	ids, err := newObjectIDs()
	require.NoError(b, err)
	doc, err := encodeEvent(ids.next(), "order-1", 1, &e)
	require.NoError(b, err)
	var d eventDecoder
	b.ReportAllocs()
	for b.Loop() {
		if _, _, err := d.decode(doc); err != nil {
			b.Fatal(err)
		}
	}
}
