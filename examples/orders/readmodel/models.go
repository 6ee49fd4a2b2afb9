package readmodel

import (
	"cmp"
	"context"
	"slices"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/examples/orders/stock"
	"github.com/annals-es/annals/projection"
)

// Orders is the read model of orders, one document for each. Raise its Version
// when [Order.Apply] changes: the new one is built beside the old one.
func Orders() projection.Fold[Order] {
	return projection.Fold[Order]{
		Name: "orders",
		Handlers: []projection.FoldHandler[Order]{
			onOrder[order.Placed](),
			onOrder[order.ItemAdded](),
			onOrder[order.ItemRemoved](),
			onOrder[order.Paid](),
			onOrder[order.StockReserved](),
			onOrder[order.Shipped](),
			onOrder[order.Cancelled](),
		},
	}
}

// Stock is the read model of the stock, one document for each article.
func Stock() projection.Fold[Article] {
	return projection.Fold[Article]{
		Name: "stock",
		Handlers: []projection.FoldHandler[Article]{
			onArticle[stock.Received](),
			onArticle[stock.Reserved](),
			onArticle[stock.Released](),
			onArticle[stock.Dispatched](),
		},
	}
}

// onOrder folds events of one type into the order whose stream they are in: that
// is what leaving the key out stands for.
func onOrder[E order.Event]() projection.FoldHandler[Order] {
	return projection.FoldOn(nil, func(o Order, event E, e eventstore.Event) Order { return o.Apply(event, e) })
}

func onArticle[E stock.Event]() projection.FoldHandler[Article] {
	return projection.FoldOn(nil, func(a Article, event E, e eventstore.Event) Article { return a.Apply(event, e) })
}

// Models answers questions about the read models. It is safe for concurrent use.
// Errors match [projection.ErrNotBuilt] until they have been built for the first
// time.
type Models interface {
	// Orders returns all orders by customer, and a customer's by their ids.
	Orders(ctx context.Context) ([]Order, error)
	// Articles returns the stock of all articles by SKU.
	Articles(ctx context.Context) ([]Article, error)
	// Revenue returns the revenue by day and region. Orders count on the day
	// that they were paid, cancelled ones not at all.
	Revenue(ctx context.Context) ([]Revenue, error)
}

// Revenue is what a region paid on a day.
type Revenue struct {
	Day    string      `json:"day" bson:"day"` // as 2026-03-14, UTC
	Region string      `json:"region" bson:"region"`
	Orders int         `json:"orders" bson:"orders"`
	Amount order.Money `json:"amount" bson:"amount"`
}

func byCustomer(a, b Order) int {
	return cmp.Or(cmp.Compare(a.Customer, b.Customer), cmp.Compare(a.ID, b.ID))
}

func sortRevenue(r []Revenue) {
	slices.SortFunc(r, func(a, b Revenue) int { return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Region, b.Region)) })
}
