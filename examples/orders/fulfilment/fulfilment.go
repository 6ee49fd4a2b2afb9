// Package fulfilment gets paid orders out of the warehouse. It is a process
// manager: it reacts to what happens to orders with commands to the articles and
// back to the order.
package fulfilment

import (
	"context"
	"crypto/sha256"
	"errors"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/examples/orders/stock"
	"github.com/annals-es/annals/projection"
)

// The repositories that commands go to.
type (
	// Orders keeps orders.
	Orders = *aggregate.Repository[order.State, order.Command, order.Event]
	// Articles keeps the stock of articles.
	Articles = *aggregate.Repository[*stock.Article, func(*stock.Article) error, stock.Event]
)

// Projection returns the process. An event that it gets again, after a crash,
// leads to the same commands with the same ids, which the store recognises.
func Projection(orders Orders, articles Articles) projection.Projection {
	p := process{orders: orders, articles: articles}
	return projection.Projection{
		Name:       "fulfilment",
		Categories: []string{order.Category},
		Handlers: []projection.Handler{
			projection.On(p.paid),
			projection.On(p.shipped),
			projection.On(p.cancelled),
		},
	}
}

type process struct {
	orders   Orders
	articles Articles
}

// paid reserves what was paid for, all of it or nothing: if an article is short,
// the rest is released and the order cancelled.
func (p process) paid(ctx context.Context, paid order.Paid, e eventstore.Event) error {
	key := e.Stream.Key()
	for _, line := range paid.Items {
		_, err := p.articles.Run(withStep(ctx, e, "reserve"), line.SKU, func(a *stock.Article) error {
			return a.Reserve(key, line.Quantity)
		})
		if errors.Is(err, stock.ErrShort) {
			_, err := p.orders.Run(withStep(ctx, e, "cancel"), key, order.Cancel{Reason: line.SKU + " is sold out", At: paid.At})
			return ignore(err, order.ErrShipped)
		}
		if err != nil {
			return err
		}
	}
	_, err := p.orders.Run(withStep(ctx, e, "confirm"), key, order.ConfirmStock{})
	return ignore(err, order.ErrClosed) // cancelled in the meantime: cancelled releases
}

func (p process) shipped(ctx context.Context, _ order.Shipped, e eventstore.Event) error {
	return p.eachArticle(ctx, e, "dispatch", (*stock.Article).Dispatch)
}

func (p process) cancelled(ctx context.Context, _ order.Cancelled, e eventstore.Event) error {
	return p.eachArticle(ctx, e, "release", (*stock.Article).Release)
}

// eachArticle runs a command on every article of an order.
func (p process) eachArticle(ctx context.Context, e eventstore.Event, step string, command func(*stock.Article, string) error) error {
	key := e.Stream.Key()
	o, err := p.orders.Load(ctx, key)
	if err != nil {
		return err
	}
	for _, line := range o.State.Lines {
		if _, err := p.articles.Run(withStep(ctx, e, step), line.SKU, func(a *stock.Article) error { return command(a, key) }); err != nil {
			return err
		}
	}
	return nil
}

// withStep gives a command an id of its own that is the same whenever the event
// is handled.
func withStep(ctx context.Context, e eventstore.Event, step string) context.Context {
	sum := sha256.Sum256(append(e.ID[:], step...))
	return aggregate.WithCommandID(ctx, aggregate.CommandID(sum[:16]))
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}
