package simstore_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore"
)

// orderPlaced is an event of the size and shape that people store.
type orderPlaced struct {
	OrderID    string      `json:"orderId"`
	CustomerID string      `json:"customerId"`
	Total      int64       `json:"total"`
	Currency   string      `json:"currency"`
	PlacedAt   time.Time   `json:"placedAt"`
	Lines      []orderLine `json:"lines"`
}

type orderLine struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Price    int64  `json:"price"`
}

func benchRegistry() *eventstore.Registry {
	return eventstore.MustRegistry(
		eventstore.Type[orderPlaced]("order.placed"),
		eventstore.Type[itemAdded]("order.item-added"),
	)
}

func benchPayload() orderPlaced {
	return orderPlaced{
		OrderID: "order-7f3c9a", CustomerID: "customer-118", Total: 12_900, Currency: "EUR",
		PlacedAt: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC),
		Lines:    []orderLine{{SKU: "A-100", Quantity: 2, Price: 4_950}, {SKU: "B-7", Quantity: 1, Price: 3_000}},
	}
}

// itemAdded is a small event.
type itemAdded struct {
	OrderID  string `json:"orderId"`
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Price    int64  `json:"price"`
}

// BenchmarkAppend appends single events to many streams from two goroutines, once
// encoding the payload of each with a registry before it is appended, as programs
// do, and once with events that were encoded before, for what the store alone
// takes. It reports events per second and the memory that an event takes once
// stored, all that the store keeps about it included.
func BenchmarkAppend(b *testing.B) {
	small := itemAdded{OrderID: "order-7f3c9a", SKU: "A-100", Quantity: 2, Price: 4_950}
	b.Run("80-byte payload", func(b *testing.B) { benchmarkAppend(b, encodeEach(small)) })
	b.Run("80-byte payload, encoded before", func(b *testing.B) { benchmarkAppend(b, encodeOnce(small)) })
	b.Run("270-byte payload", func(b *testing.B) { benchmarkAppend(b, encodeEach(benchPayload())) })
	b.Run("270-byte payload, encoded before", func(b *testing.B) { benchmarkAppend(b, encodeOnce(benchPayload())) })
}

// An encoding returns the events of one append.
type encoding func(*eventstore.Registry) ([]eventstore.EventData, error)

func encodeEach[T any](payload T) encoding {
	return func(r *eventstore.Registry) ([]eventstore.EventData, error) { return r.Encode(payload) }
}

func encodeOnce[T any](payload T) encoding {
	events, err := benchRegistry().Encode(payload)
	return func(*eventstore.Registry) ([]eventstore.EventData, error) { return events, err }
}

func benchmarkAppend(b *testing.B, encode encoding) {
	const writers, streams, events = 2, 10_000, 400_000
	registry, ctx := benchRegistry(), context.Background()
	names := make([]eventstore.StreamID, streams)
	for i := range names {
		names[i] = eventstore.NewStreamID("order", fmt.Sprint(i))
	}
	before := heapInUse()
	b.ReportAllocs()
	var store *simstore.Store
	for b.Loop() {
		store = simstore.New(simstore.Config{})
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for i := w; i < events; i += writers {
					encoded, err := encode(registry)
					if err != nil {
						b.Error(err)
						return
					}
					if _, err := eventstore.Append(ctx, store, names[i%streams], eventstore.Any, encoded...); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
	b.ReportMetric(float64(b.N*events)/b.Elapsed().Seconds(), "events/s")
	b.ReportMetric(float64(heapInUse()-before)/events, "stored-B/event")
	runtime.KeepAlive(store)
	_ = store.Close()
}

func heapInUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// BenchmarkLoad reads a stream of 1,000 events over and over, as events and
// decoded into Go types.
func BenchmarkLoad(b *testing.B) {
	registry, ctx := benchRegistry(), context.Background()
	store := simstore.New(simstore.Config{})
	defer store.Close()
	events, err := registry.Encode(benchPayload())
	if err != nil {
		b.Fatal(err)
	}
	for range 1_000 {
		if _, err := eventstore.Append(ctx, store, "order-1", eventstore.Any, events...); err != nil {
			b.Fatal(err)
		}
	}
	b.Run("events", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			for _, err := range store.ReadStream(ctx, "order-1", eventstore.StreamQuery{}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("decoded", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			for e, err := range store.ReadStream(ctx, "order-1", eventstore.StreamQuery{}) {
				if err != nil {
					b.Fatal(err)
				}
				if _, err := registry.Decode(e); err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	})
	b.Run("log", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			for _, err := range store.ReadLog(ctx, eventstore.LogQuery{}) {
				if err != nil {
					b.Fatal(err)
				}
				n++
			}
		}
		b.ReportMetric(float64(n)/b.Elapsed().Seconds(), "events/s")
	})
}
