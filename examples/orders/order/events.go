package order

import (
	"time"

	"github.com/annals-es/annals/eventstore"
)

// An Event is something that happened to an order.
type Event interface{ orderEvent() }

// Placed starts an order.
type Placed struct {
	Customer string    `json:"customer"`
	Region   string    `json:"region"`
	At       time.Time `json:"at"`
}

// ItemAdded puts pieces of an article into the order, at a price a piece.
type ItemAdded struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Price    Money  `json:"price"`
}

// ItemRemoved takes pieces of an article out again.
type ItemRemoved struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// Paid closes the order to changes of its items.
type Paid struct {
	Amount Money     `json:"amount"`
	At     time.Time `json:"at"`
	// Items is what was paid for: whoever handles the event need not know the
	// order's history.
	Items []Line `json:"items"`
}

// StockReserved says that every item lies ready in the warehouse.
type StockReserved struct{}

// Shipped ends the order well.
type Shipped struct {
	Tracking string    `json:"tracking"`
	At       time.Time `json:"at"`
}

// Cancelled ends the order otherwise. Refund is what the customer gets back.
type Cancelled struct {
	Reason string    `json:"reason"`
	Refund Money     `json:"refund"`
	At     time.Time `json:"at"`
}

func (Placed) orderEvent()        {}
func (ItemAdded) orderEvent()     {}
func (ItemRemoved) orderEvent()   {}
func (Paid) orderEvent()          {}
func (StockReserved) orderEvent() {}
func (Shipped) orderEvent()       {}
func (Cancelled) orderEvent()     {}

// Types declares the events under the names that they are stored by.
func Types() []eventstore.TypeDef {
	return []eventstore.TypeDef{
		eventstore.Type[Placed]("order.placed"),
		eventstore.Type[ItemAdded]("order.item_added"),
		eventstore.Type[ItemRemoved]("order.item_removed"),
		eventstore.Type[Paid]("order.paid"),
		eventstore.Type[StockReserved]("order.stock_reserved"),
		eventstore.Type[Shipped]("order.shipped"),
		eventstore.Type[Cancelled]("order.cancelled"),
	}
}
