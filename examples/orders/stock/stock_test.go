package stock_test

import (
	"testing"

	"github.com/annals-es/annals/aggregate/aggregatetest"
	"github.com/annals-es/annals/examples/orders/stock"
)

func TestArticle(t *testing.T) {
	t.Parallel()
	t.Run("reserves what is free", func(t *testing.T) {
		t.Parallel()
		aggregatetest.ForRoot(t, stock.New).
			Given(stock.Received{Quantity: 3}).
			When(func(a *stock.Article) error { return a.Reserve("o-1", 2) }).
			Then(stock.Reserved{Order: "o-1", Quantity: 2}).
			ThenState(&stock.Article{Free: 1, Held: map[string]int{"o-1": 2}})
	})
	t.Run("does not reserve more", func(t *testing.T) {
		t.Parallel()
		aggregatetest.ForRoot(t, stock.New).
			Given(stock.Received{Quantity: 1}).
			When(func(a *stock.Article) error { return a.Reserve("o-1", 2) }).
			ThenError(stock.ErrShort)
	})
	t.Run("reserves once for an order", func(t *testing.T) {
		t.Parallel()
		aggregatetest.ForRoot(t, stock.New).
			Given(stock.Received{Quantity: 3}, stock.Reserved{Order: "o-1", Quantity: 2}).
			When(func(a *stock.Article) error { return a.Reserve("o-1", 2) }).
			ThenNothing()
	})
	t.Run("releases what is held", func(t *testing.T) {
		t.Parallel()
		aggregatetest.ForRoot(t, stock.New).
			Given(stock.Received{Quantity: 3}, stock.Reserved{Order: "o-1", Quantity: 2}).
			When(func(a *stock.Article) error { return a.Release("o-1") }).
			Then(stock.Released{Order: "o-1", Quantity: 2}).
			ThenState(&stock.Article{Free: 3, Held: map[string]int{}})
	})
	t.Run("dispatches what is held", func(t *testing.T) {
		t.Parallel()
		aggregatetest.ForRoot(t, stock.New).
			Given(stock.Received{Quantity: 3}, stock.Reserved{Order: "o-1", Quantity: 2}).
			When(func(a *stock.Article) error { return a.Dispatch("o-1") }).
			Then(stock.Dispatched{Order: "o-1", Quantity: 2}).
			ThenState(&stock.Article{Free: 1, Held: map[string]int{}})
	})
	t.Run("refuses no pieces", func(t *testing.T) {
		t.Parallel()
		aggregatetest.ForRoot(t, stock.New).
			When(func(a *stock.Article) error { return a.Receive(0) }).
			ThenError(stock.ErrQuantity)
	})
}
