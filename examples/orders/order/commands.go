package order

import (
	"errors"
	"fmt"
	"time"

	"github.com/annals-es/annals/aggregate"
)

// A Command is something that somebody wants of an order.
type Command interface{ orderCommand() }

// The commands. Times are when the customer or the warehouse acted.
type (
	// Place starts an order.
	Place struct {
		Customer, Region string
		At               time.Time
	}
	// AddItem puts pieces of an article into the order, at a price a piece.
	AddItem struct {
		SKU      string
		Quantity int
		Price    Money
	}
	// RemoveItem takes pieces out again.
	RemoveItem struct {
		SKU      string
		Quantity int
	}
	// Pay pays the order's total.
	Pay struct {
		Amount Money
		At     time.Time
	}
	// ConfirmStock says that all items lie ready.
	ConfirmStock struct{}
	// Ship sends the order.
	Ship struct {
		Tracking string
		At       time.Time
	}
	// Cancel calls the order off; what was paid is given back.
	Cancel struct {
		Reason string
		At     time.Time
	}
	// Expire calls the order off if it was not paid.
	Expire struct {
		At time.Time
	}
)

func (Place) orderCommand()        {}
func (AddItem) orderCommand()      {}
func (RemoveItem) orderCommand()   {}
func (Pay) orderCommand()          {}
func (ConfirmStock) orderCommand() {}
func (Ship) orderCommand()         {}
func (Cancel) orderCommand()       {}
func (Expire) orderCommand()       {}

// Reasons to reject a command.
var (
	ErrNotPlaced     = errors.New("the order was not placed")
	ErrAlreadyPlaced = errors.New("the order was placed already")
	ErrClosed        = errors.New("the order is closed to changes")
	ErrEmpty         = errors.New("the order has no items")
	ErrNotInOrder    = errors.New("the order does not hold that much of the article")
	ErrWrongAmount   = errors.New("the amount is not what the order costs")
	ErrNotReady      = errors.New("the order is not ready to ship")
	ErrShipped       = errors.New("the order was shipped")
	ErrIncomplete    = errors.New("the command lacks something")
)

// Decider holds the rules of orders.
func Decider() aggregate.Decider[State, Command, Event] {
	return aggregate.Decider[State, Command, Event]{Decide: decide, Evolve: evolve}
}

func decide(s State, command Command) ([]Event, error) {
	if _, ok := command.(Place); !ok && s.Status == "" {
		return nil, ErrNotPlaced
	}
	switch c := command.(type) {
	case Place:
		return place(s, c)
	case AddItem:
		return addItem(s, c)
	case RemoveItem:
		return removeItem(s, c)
	case Pay:
		return pay(s, c)
	case ConfirmStock:
		return confirmStock(s)
	case Ship:
		return ship(s, c)
	case Cancel:
		return cancel(s, c)
	case Expire:
		return expire(s, c)
	}
	return nil, fmt.Errorf("%w: unknown command %T", ErrIncomplete, command)
}

func place(s State, c Place) ([]Event, error) {
	switch {
	case s.Status != "":
		return nil, ErrAlreadyPlaced
	case c.Customer == "" || c.Region == "":
		return nil, fmt.Errorf("%w: an order needs a customer and a region", ErrIncomplete)
	}
	return []Event{Placed(c)}, nil
}

func addItem(s State, c AddItem) ([]Event, error) {
	switch {
	case s.Status != Open:
		return nil, fmt.Errorf("%w: it is %s", ErrClosed, s.Status)
	case c.SKU == "" || c.Quantity < 1 || c.Price < 1:
		return nil, fmt.Errorf("%w: an item needs an article, a quantity and a price", ErrIncomplete)
	}
	return []Event{ItemAdded(c)}, nil
}

func removeItem(s State, c RemoveItem) ([]Event, error) {
	switch {
	case s.Status != Open:
		return nil, fmt.Errorf("%w: it is %s", ErrClosed, s.Status)
	case c.Quantity < 1:
		return nil, fmt.Errorf("%w: say how many pieces to remove", ErrIncomplete)
	case s.quantityOf(c.SKU) < c.Quantity:
		return nil, fmt.Errorf("%w: %d of %s, not %d", ErrNotInOrder, s.quantityOf(c.SKU), c.SKU, c.Quantity)
	}
	return []Event{ItemRemoved(c)}, nil
}

func pay(s State, c Pay) ([]Event, error) {
	switch {
	case s.Status != Open:
		return nil, fmt.Errorf("%w: it is %s", ErrClosed, s.Status)
	case len(s.Lines) == 0:
		return nil, ErrEmpty
	case c.Amount != s.Total():
		return nil, fmt.Errorf("%w: it costs %s, not %s", ErrWrongAmount, s.Total(), c.Amount)
	}
	return []Event{Paid{Amount: c.Amount, At: c.At, Items: s.Lines}}, nil
}

// confirmStock does nothing the second time: the message that the stock is
// reserved may come twice.
func confirmStock(s State) ([]Event, error) {
	switch s.Status {
	case PaidFor:
		return []Event{StockReserved{}}, nil
	case Ready, OnItsWay:
		return nil, nil
	}
	return nil, fmt.Errorf("%w: it is %s", ErrClosed, s.Status)
}

func ship(s State, c Ship) ([]Event, error) {
	switch {
	case s.Status != Ready:
		return nil, fmt.Errorf("%w: it is %s", ErrNotReady, s.Status)
	case c.Tracking == "":
		return nil, fmt.Errorf("%w: a parcel needs a tracking number", ErrIncomplete)
	}
	return []Event{Shipped(c)}, nil
}

func cancel(s State, c Cancel) ([]Event, error) {
	switch {
	case s.Status == OnItsWay:
		return nil, ErrShipped
	case s.Status == CalledOff:
		return nil, nil
	case c.Reason == "":
		return nil, fmt.Errorf("%w: say why", ErrIncomplete)
	}
	var refund Money
	if s.Status != Open {
		refund = s.Total()
	}
	return []Event{Cancelled{Reason: c.Reason, Refund: refund, At: c.At}}, nil
}

// expire does nothing to an order that was paid at the last moment.
func expire(s State, c Expire) ([]Event, error) {
	if s.Status != Open {
		return nil, nil
	}
	return []Event{Cancelled{Reason: "not paid in time", At: c.At}}, nil
}
