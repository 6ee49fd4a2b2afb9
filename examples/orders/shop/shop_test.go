package shop_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/examples/orders/readmodel"
	"github.com/annals-es/annals/examples/orders/shop"
	"github.com/annals-es/annals/examples/orders/stock"
	"github.com/annals-es/annals/simstore"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m)
}

// open returns a shop that runs until the test ends, in a bubble of synctest's: nobody
// waits for the time that customers have to pay, and nobody misses it.
func open(t *testing.T, payWithin time.Duration) *shop.Shop {
	t.Helper()
	store := simstore.New(simstore.Config{})
	s, err := shop.New(shop.Stores{
		Events: store, Snapshots: store.Snapshots(), Backend: store,
		Models: readmodel.InMemory(store), PayWithin: payWithin,
	}, nil)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Work(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-done)
		require.NoError(t, store.Close())
	})
	return s
}

func run(t *testing.T, s *shop.Shop, key string, commands ...order.Command) {
	t.Helper()
	for _, c := range commands {
		_, err := s.Orders.Run(t.Context(), key, c)
		require.NoError(t, err)
	}
}

// next returns the first event of a type in the log, waiting for it.
func next(t *testing.T, s *shop.Shop, name eventstore.EventType) eventstore.Event {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	for e, err := range eventstore.Subscribe(ctx, s.Events, eventstore.LogQuery{Filter: eventstore.Filter{Types: []eventstore.EventType{name}}}) {
		require.NoError(t, err, "waiting for %s", name)
		return e
	}
	return eventstore.Event{}
}

func TestOrdersThatAreNotPaidInTimeAreCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, time.Minute)
		run(t, s, "late", order.Place{Customer: "anna", Region: "eu"}, order.AddItem{SKU: "pen", Quantity: 1, Price: 150})
		e := next(t, s, "order.cancelled")
		require.Equal(t, "late", e.Stream.Key())
		payload, err := shop.Registry().Decode(e)
		require.NoError(t, err)
		require.Equal(t, "not paid in time", payload.(order.Cancelled).Reason)
		require.Zero(t, payload.(order.Cancelled).Refund)
		placed := next(t, s, "order.placed")
		require.GreaterOrEqual(t, e.Time.Sub(placed.Time), time.Minute)
	})
}

func TestPaidOrdersAreReservedAndNotCancelled(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, time.Minute)
		_, err := s.Articles.Run(t.Context(), "pen", func(a *stock.Article) error { return a.Receive(10) })
		require.NoError(t, err)
		run(
			t, s, "paid", order.Place{Customer: "anna", Region: "eu"},
			// Two lines of one article, at two prices, are one reservation.
			order.AddItem{SKU: "pen", Quantity: 1, Price: 150}, order.AddItem{SKU: "pen", Quantity: 2, Price: 100}, order.Pay{Amount: 350},
		)
		require.Equal(t, "paid", next(t, s, "order.stock_reserved").Stream.Key())
		payload, err := shop.Registry().Decode(next(t, s, "stock.reserved"))
		require.NoError(t, err)
		require.Equal(t, stock.Reserved{Order: "paid", Quantity: 3}, payload)

		// The one that comes after it is cancelled; the paid one is not.
		run(t, s, "unpaid", order.Place{Customer: "ben", Region: "us"})
		require.Equal(t, "unpaid", next(t, s, "order.cancelled").Stream.Key())
	})
}
