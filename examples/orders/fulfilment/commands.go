package fulfilment

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/examples/orders/stock"
	"github.com/annals-es/annals/process"
	"github.com/annals-es/annals/projection"
)

// The commands of the process, as they are kept until they are carried out.
type (
	// Reserve holds pieces of an article for an order.
	Reserve struct {
		Order    string `json:"order"`
		SKU      string `json:"sku"`
		Quantity int    `json:"quantity"`
	}
	// Release gives them up.
	Release struct {
		Order string `json:"order"`
		SKU   string `json:"sku"`
	}
	// Dispatch takes them out of the warehouse.
	Dispatch struct {
		Order string `json:"order"`
		SKU   string `json:"sku"`
	}
	// Confirm tells the order that everything lies ready.
	Confirm struct {
		Order string `json:"order"`
	}
	// Cancel calls an order off.
	Cancel struct {
		Order  string    `json:"order"`
		Reason string    `json:"reason"`
		At     time.Time `json:"at"`
	}
	// Expire calls an order off unless it was paid.
	Expire struct {
		Order string    `json:"order"`
		At    time.Time `json:"at"`
	}
)

func commands() *eventstore.Registry {
	return eventstore.MustRegistry(
		eventstore.Type[Reserve]("fulfilment.reserve"),
		eventstore.Type[Release]("fulfilment.release"),
		eventstore.Type[Dispatch]("fulfilment.dispatch"),
		eventstore.Type[Confirm]("fulfilment.confirm"),
		eventstore.Type[Cancel]("fulfilment.cancel"),
		eventstore.Type[Expire]("fulfilment.expire"),
	)
}

// The repositories that commands go to.
type (
	// Orders keeps orders.
	Orders = *aggregate.Repository[order.State, order.Command, order.Event]
	// Articles keeps the stock of articles.
	Articles = *aggregate.Repository[*stock.Article, func(*stock.Article) error, stock.Event]
)

type sender struct {
	orders   Orders
	articles Articles
}

// send carries a command out. The command's id makes that happen once, also when
// it is sent again after a crash.
func (s sender) send(ctx context.Context, c process.Command) error {
	ctx = aggregate.WithCommandID(ctx, c.ID)
	var err error
	switch p := c.Payload.(type) {
	case Reserve:
		_, err = s.articles.Run(ctx, p.SKU, func(a *stock.Article) error { return a.Reserve(p.Order, p.Quantity) })
	case Release:
		_, err = s.articles.Run(ctx, p.SKU, func(a *stock.Article) error { return a.Release(p.Order) })
	case Dispatch:
		_, err = s.articles.Run(ctx, p.SKU, func(a *stock.Article) error { return a.Dispatch(p.Order) })
	case Confirm:
		_, err = s.orders.Run(ctx, p.Order, order.ConfirmStock{})
	case Cancel:
		_, err = s.orders.Run(ctx, p.Order, order.Cancel{Reason: p.Reason, At: p.At})
	case Expire:
		_, err = s.orders.Run(ctx, p.Order, order.Expire{At: p.At})
	default:
		err = projection.Permanent(fmt.Errorf("%T is no command of the process", p))
	}
	return rejection(err)
}

// rejection marks an error as one that sending the command again does not cure:
// a rule has rejected it. Everything else is tried again.
func rejection(err error) error {
	for _, rule := range []error{
		stock.ErrShort, stock.ErrQuantity,
		order.ErrNotPlaced, order.ErrClosed, order.ErrShipped, order.ErrIncomplete,
	} {
		if errors.Is(err, rule) {
			return projection.Permanent(err)
		}
	}
	return err
}
