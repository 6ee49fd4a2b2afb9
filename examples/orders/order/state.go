package order

import "slices"

// Category is the category of the streams of orders.
const Category = "order"

// A Status is how far an order has got.
type Status string

// The statuses in their usual order. The zero Status is that of an order which
// was not placed.
const (
	Open      Status = "open"
	PaidFor   Status = "paid"
	Ready     Status = "ready to ship"
	OnItsWay  Status = "shipped"
	CalledOff Status = "cancelled"
)

// A Line is what is ordered of one article.
type Line struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
	Price    Money  `json:"price"`
}

// State is what the rules need to know of an order.
type State struct {
	Status   Status `json:"status"`
	Customer string `json:"customer"`
	Lines    []Line `json:"lines"`
}

// Total is what the order costs.
func (s State) Total() Money {
	var total Money
	for _, l := range s.Lines {
		total += l.Price * Money(l.Quantity)
	}
	return total
}

func (s State) quantityOf(sku string) int {
	for _, l := range s.Lines {
		if l.SKU == sku {
			return l.Quantity
		}
	}
	return 0
}

// evolve returns the state after an event. It changes nothing in place.
func evolve(s State, event Event) State {
	switch e := event.(type) {
	case Placed:
		s.Status, s.Customer = Open, e.Customer
	case ItemAdded:
		s.Lines = withAdded(s.Lines, e)
	case ItemRemoved:
		s.Lines = withRemoved(s.Lines, e)
	case Paid:
		s.Status = PaidFor
	case StockReserved:
		s.Status = Ready
	case Shipped:
		s.Status = OnItsWay
	case Cancelled:
		s.Status = CalledOff
	}
	return s
}

func withAdded(lines []Line, e ItemAdded) []Line {
	lines = slices.Clone(lines)
	for i := range lines {
		if lines[i].SKU == e.SKU && lines[i].Price == e.Price {
			lines[i].Quantity += e.Quantity
			return lines
		}
	}
	return append(lines, Line(e))
}

func withRemoved(lines []Line, e ItemRemoved) []Line {
	lines = slices.Clone(lines)
	for i := range lines {
		if lines[i].SKU == e.SKU {
			lines[i].Quantity -= e.Quantity
		}
	}
	return slices.DeleteFunc(lines, func(l Line) bool { return l.Quantity <= 0 })
}
