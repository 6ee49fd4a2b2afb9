// Package fulfilment gets orders paid for and out of the warehouse. It is a
// process manager: it remembers how far each order has got, reacts to what happens
// to orders and to stock with commands, and cancels an order that is not paid in
// time.
package fulfilment

import (
	"slices"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/examples/orders/stock"
	"github.com/annals-es/annals/process"
)

// Name is the name of the process.
const Name = "fulfilment"

// payment is the timer of an order that was not paid yet.
const payment = "payment"

// State is what the process remembers of an order.
type State struct {
	// Needs is what was paid for, each article once.
	Needs []Need `json:"needs"`
	// Reserved is the number of articles that lie ready.
	Reserved int       `json:"reserved"`
	PaidAt   time.Time `json:"paid_at"`
}

// A Need is how much an order needs of an article.
type Need struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

// Manager returns the process. Customers have payWithin to pay, from when the
// order was placed.
func Manager(orders Orders, articles Articles, payWithin time.Duration) process.Manager[State] {
	return process.Manager[State]{
		Name:       Name,
		Categories: []string{order.Category, stock.Category},
		Handlers: []process.Handler[State]{
			process.On(ofOrder[order.Placed], func(_ *State, _ order.Placed, _ eventstore.Event, do *process.Do) (*State, error) {
				do.After(payment, payWithin)
				return &State{}, nil
			}),
			process.On(ofOrder[order.Paid], paid),
			process.On(func(r stock.Reserved, _ eventstore.Event) string { return r.Order }, reserved),
			process.On(ofOrder[order.Shipped], func(s *State, _ order.Shipped, _ eventstore.Event, do *process.Do) (*State, error) {
				s.each(func(n Need) { do.Send(Dispatch{Order: do.Key, SKU: n.SKU}) })
				return nil, nil
			}),
			process.On(ofOrder[order.Cancelled], func(s *State, _ order.Cancelled, _ eventstore.Event, do *process.Do) (*State, error) {
				s.each(func(n Need) { do.Send(Release{Order: do.Key, SKU: n.SKU}) })
				return nil, nil
			}),
		},
		Timeouts: map[string]process.Timeout[State]{
			payment: func(s *State, do *process.Do) (*State, error) {
				do.Send(Expire{Order: do.Key, At: do.Now})
				return s, nil
			},
		},
		Commands: commands(),
		Send:     sender{orders: orders, articles: articles}.send,
		Rejected: rejected,
	}
}

func ofOrder[E order.Event](_ E, e eventstore.Event) string { return e.Stream.Key() }

func (s *State) each(fn func(Need)) {
	if s != nil {
		for _, n := range s.Needs {
			fn(n)
		}
	}
}

// paid has everything reserved that was paid for.
func paid(s *State, p order.Paid, _ eventstore.Event, do *process.Do) (*State, error) {
	do.Stop(payment)
	if s == nil { // the order is from before there was the process
		s = &State{}
	}
	s.PaidAt = p.At
	for _, line := range p.Items {
		at := slices.IndexFunc(s.Needs, func(n Need) bool { return n.SKU == line.SKU })
		if at < 0 {
			at = len(s.Needs)
			s.Needs = append(s.Needs, Need{SKU: line.SKU})
		}
		s.Needs[at].Quantity += line.Quantity
	}
	s.each(func(n Need) { do.Send(Reserve{Order: do.Key, SKU: n.SKU, Quantity: n.Quantity}) })
	return s, nil
}

// reserved confirms the order when all its articles lie ready.
func reserved(s *State, _ stock.Reserved, _ eventstore.Event, do *process.Do) (*State, error) {
	if s == nil { // cancelled meanwhile: the release is on its way
		return nil, nil
	}
	if s.Reserved++; s.Reserved == len(s.Needs) {
		do.Send(Confirm{Order: do.Key})
	}
	return s, nil
}

// rejected cancels an order when an article is short. Other commands are rejected
// when the order has got further than they knew: what that takes is on its way.
func rejected(s *State, c process.Command, _ string, do *process.Do) (*State, error) {
	if r, ok := c.Payload.(Reserve); ok && s != nil {
		do.Send(Cancel{Order: r.Order, Reason: r.SKU + " is sold out", At: s.PaidAt})
	}
	return s, nil
}
