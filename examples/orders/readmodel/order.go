package readmodel

import (
	"maps"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
)

// An Order is an order as customers and clerks see it.
type Order struct {
	// ID is the document's key, which is kept beside the document.
	ID       string       `json:"id" bson:"_id,omitempty"`
	Customer string       `json:"customer" bson:"customer"`
	Region   string       `json:"region" bson:"region"`
	Status   order.Status `json:"status" bson:"status"`
	Items    int          `json:"items" bson:"items"`
	Total    order.Money  `json:"total" bson:"total"`
	PlacedAt time.Time    `json:"placed_at" bson:"placed_at"`
	// PaidAt is missing until the order is paid.
	PaidAt *time.Time  `json:"paid_at,omitempty" bson:"paid_at,omitempty"`
	Refund order.Money `json:"refund" bson:"refund"`
	Reason string      `json:"reason,omitempty" bson:"reason,omitempty"`
	// Version is that of the last event applied.
	Version eventstore.Version `json:"version" bson:"version"`
	// Prices are needed to take items out again.
	Prices map[string]order.Money `json:"-" bson:"prices,omitempty"`
}

// Apply returns the document after an event.
func (o Order) Apply(event order.Event, e eventstore.Event) Order {
	o.Version = e.Version
	switch p := event.(type) {
	case order.Placed:
		o.Customer, o.Region, o.PlacedAt, o.Status = p.Customer, p.Region, p.At, order.Open
	case order.ItemAdded:
		o.Items += p.Quantity
		o.Total += p.Price * order.Money(p.Quantity)
		o.Prices = withPrice(o.Prices, p.SKU, p.Price)
	case order.ItemRemoved:
		o.Items -= p.Quantity
		o.Total -= o.Prices[p.SKU] * order.Money(p.Quantity)
	case order.Paid:
		o.Status, o.PaidAt = order.PaidFor, &p.At
	case order.StockReserved:
		o.Status = order.Ready
	case order.Shipped:
		o.Status = order.OnItsWay
	case order.Cancelled:
		o.Status, o.Refund, o.Reason = order.CalledOff, p.Refund, p.Reason
	}
	return o
}

func withPrice(prices map[string]order.Money, sku string, price order.Money) map[string]order.Money {
	updated := make(map[string]order.Money, len(prices)+1)
	maps.Copy(updated, prices)
	updated[sku] = price
	return updated
}
