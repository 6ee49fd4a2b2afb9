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

// Models are the read models. They are safe for concurrent use.
type Models interface {
	// Orders returns all orders by customer, and a customer's by their ids.
	Orders(ctx context.Context) ([]Order, error)
	// Articles returns the stock of all articles by SKU.
	Articles(ctx context.Context) ([]Article, error)
	// Revenue returns the revenue by day and region. Orders count on the day
	// that they were paid, cancelled ones not at all.
	Revenue(ctx context.Context) ([]Revenue, error)

	updateOrder(ctx context.Context, id string, apply func(Order) Order) error
	updateArticle(ctx context.Context, sku string, apply func(Article) Article) error
}

// Revenue is what a region paid on a day.
type Revenue struct {
	Day    string      `json:"day" bson:"day"` // as 2026-03-14, UTC
	Region string      `json:"region" bson:"region"`
	Orders int         `json:"orders" bson:"orders"`
	Amount order.Money `json:"amount" bson:"amount"`
}

// Projections returns what keeps models up to date.
func Projections(m Models) []projection.Projection {
	return []projection.Projection{
		{
			Name: "orders",
			Handlers: []projection.Handler{
				onOrder[order.Placed](m), onOrder[order.ItemAdded](m), onOrder[order.ItemRemoved](m), onOrder[order.Paid](m),
				onOrder[order.StockReserved](m), onOrder[order.Shipped](m), onOrder[order.Cancelled](m),
			},
		},
		{
			Name: "stock",
			Handlers: []projection.Handler{
				onStock[stock.Received](m), onStock[stock.Reserved](m), onStock[stock.Released](m), onStock[stock.Dispatched](m),
			},
		},
	}
}

func onOrder[E order.Event](m Models) projection.Handler {
	return projection.On(func(ctx context.Context, payload E, e eventstore.Event) error {
		return m.updateOrder(ctx, e.Stream.Key(), func(o Order) Order { return o.Apply(payload, e) })
	})
}

func onStock[E stock.Event](m Models) projection.Handler {
	return projection.On(func(ctx context.Context, payload E, e eventstore.Event) error {
		return m.updateArticle(ctx, e.Stream.Key(), func(a Article) Article { return a.Apply(payload, e) })
	})
}

func byCustomer(a, b Order) int {
	return cmp.Or(cmp.Compare(a.Customer, b.Customer), cmp.Compare(a.ID, b.ID))
}

func sortRevenue(r []Revenue) {
	slices.SortFunc(r, func(a, b Revenue) int { return cmp.Or(cmp.Compare(a.Day, b.Day), cmp.Compare(a.Region, b.Region)) })
}
