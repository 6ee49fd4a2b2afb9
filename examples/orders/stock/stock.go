// Package stock is the stock of one article in the warehouse, written as an
// aggregate root: a struct whose methods check and record, and whose Apply
// changes it.
package stock

import (
	"errors"
	"fmt"
	"maps"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
)

// Category is the category of the streams of articles; the key is the SKU.
const Category = "stock"

// An Event is something that happened to an article's stock.
type Event interface{ stockEvent() }

// The events of an article. Reserved pieces belong to an order and lie there
// until they are released or dispatched.
type (
	// Received pieces are free.
	Received struct {
		Quantity int `json:"quantity"`
	}
	// Reserved pieces are held for an order.
	Reserved struct {
		Order    string `json:"order"`
		Quantity int    `json:"quantity"`
	}
	// Released pieces are free again.
	Released struct {
		Order    string `json:"order"`
		Quantity int    `json:"quantity"`
	}
	// Dispatched pieces have left.
	Dispatched struct {
		Order    string `json:"order"`
		Quantity int    `json:"quantity"`
	}
)

func (Received) stockEvent()   {}
func (Reserved) stockEvent()   {}
func (Released) stockEvent()   {}
func (Dispatched) stockEvent() {}

// Types declares the events under the names that they are stored by.
func Types() []eventstore.TypeDef {
	return []eventstore.TypeDef{
		eventstore.Type[Received]("stock.received"),
		eventstore.Type[Reserved]("stock.reserved"),
		eventstore.Type[Released]("stock.released"),
		eventstore.Type[Dispatched]("stock.dispatched"),
	}
}

// Reasons to reject.
var (
	ErrShort    = errors.New("not enough in stock")
	ErrQuantity = errors.New("the quantity must be positive")
)

// An Article is the stock of one article.
type Article struct {
	aggregate.Root[Event]
	// Free pieces can be reserved.
	Free int
	// Held pieces are reserved, by order.
	Held map[string]int
}

// New returns an article without stock.
func New() *Article { return &Article{Held: map[string]int{}} }

// Clone returns a copy that shares nothing with a.
func (a *Article) Clone() *Article {
	return &Article{Free: a.Free, Held: maps.Clone(a.Held)}
}

// Receive puts pieces into stock.
func (a *Article) Receive(quantity int) error {
	if quantity < 1 {
		return ErrQuantity
	}
	a.Record(Received{Quantity: quantity})
	return nil
}

// Reserve holds pieces for an order. It does nothing if the order holds some.
func (a *Article) Reserve(order string, quantity int) error {
	switch {
	case quantity < 1:
		return ErrQuantity
	case a.Held[order] > 0:
		return nil
	case a.Free < quantity:
		return fmt.Errorf("%w: %d free, %d wanted", ErrShort, a.Free, quantity)
	}
	a.Record(Reserved{Order: order, Quantity: quantity})
	return nil
}

// Release gives up what an order holds, if anything.
func (a *Article) Release(order string) error {
	if held := a.Held[order]; held > 0 {
		a.Record(Released{Order: order, Quantity: held})
	}
	return nil
}

// Dispatch takes what an order holds out of the warehouse, if anything.
func (a *Article) Dispatch(order string) error {
	if held := a.Held[order]; held > 0 {
		a.Record(Dispatched{Order: order, Quantity: held})
	}
	return nil
}

// Apply changes the stock by an event.
func (a *Article) Apply(event Event) {
	switch e := event.(type) {
	case Received:
		a.Free += e.Quantity
	case Reserved:
		a.Free -= e.Quantity
		a.Held[e.Order] += e.Quantity
	case Released:
		a.Free += e.Quantity
		delete(a.Held, e.Order)
	case Dispatched:
		delete(a.Held, e.Order)
	}
}
