package order_test

import (
	"testing"
	"time"

	"github.com/annals-es/annals/aggregate/aggregatetest"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
)

var (
	noon    = time.Date(2026, 3, 14, 12, 0, 0, 0, time.UTC)
	placed  = order.Placed{Customer: "c-1", Region: "eu", At: noon}
	lamp    = order.ItemAdded{SKU: "lamp", Quantity: 2, Price: 1250}
	paid    = order.Paid{Amount: 2500, At: noon, Items: []order.Line{{SKU: "lamp", Quantity: 2, Price: 1250}}}
	shipped = order.Shipped{Tracking: "t-1", At: noon}
)

func TestOrder(t *testing.T) {
	t.Parallel()
	registry := eventstore.MustRegistry(order.Types()...)
	type events = []order.Event
	for name, c := range map[string]struct {
		given events
		when  order.Command
		then  events
		err   error
	}{
		"placed":                      {nil, order.Place{Customer: "c-1", Region: "eu", At: noon}, events{placed}, nil},
		"placed without a customer":   {nil, order.Place{Region: "eu"}, nil, order.ErrIncomplete},
		"placed twice":                {events{placed}, order.Place{Customer: "c-1", Region: "eu"}, nil, order.ErrAlreadyPlaced},
		"item before placed":          {nil, order.AddItem{SKU: "lamp", Quantity: 1, Price: 1}, nil, order.ErrNotPlaced},
		"item added":                  {events{placed}, order.AddItem{SKU: "lamp", Quantity: 2, Price: 1250}, events{lamp}, nil},
		"no pieces added":             {events{placed}, order.AddItem{SKU: "lamp", Price: 1}, nil, order.ErrIncomplete},
		"item added after paying":     {events{placed, lamp, paid}, order.AddItem{SKU: "pen", Quantity: 1, Price: 1}, nil, order.ErrClosed},
		"item removed":                {events{placed, lamp}, order.RemoveItem{SKU: "lamp", Quantity: 1}, events{order.ItemRemoved{SKU: "lamp", Quantity: 1}}, nil},
		"more removed than there is":  {events{placed, lamp}, order.RemoveItem{SKU: "lamp", Quantity: 3}, nil, order.ErrNotInOrder},
		"no pieces removed":           {events{placed, lamp}, order.RemoveItem{SKU: "lamp"}, nil, order.ErrIncomplete},
		"item removed after paying":   {events{placed, lamp, paid}, order.RemoveItem{SKU: "lamp", Quantity: 1}, nil, order.ErrClosed},
		"paid":                        {events{placed, lamp}, order.Pay{Amount: 2500, At: noon}, events{paid}, nil},
		"paid too little":             {events{placed, lamp}, order.Pay{Amount: 2499}, nil, order.ErrWrongAmount},
		"paid twice":                  {events{placed, lamp, paid}, order.Pay{Amount: 2500}, nil, order.ErrClosed},
		"paid for nothing":            {events{placed}, order.Pay{}, nil, order.ErrEmpty},
		"stock reserved":              {events{placed, lamp, paid}, order.ConfirmStock{}, events{order.StockReserved{}}, nil},
		"stock reserved twice":        {events{placed, lamp, paid, order.StockReserved{}}, order.ConfirmStock{}, nil, nil},
		"stock reserved, not paid":    {events{placed, lamp}, order.ConfirmStock{}, nil, order.ErrClosed},
		"shipped":                     {events{placed, lamp, paid, order.StockReserved{}}, order.Ship{Tracking: "t-1", At: noon}, events{shipped}, nil},
		"shipped without a number":    {events{placed, lamp, paid, order.StockReserved{}}, order.Ship{}, nil, order.ErrIncomplete},
		"shipped without stock":       {events{placed, lamp, paid}, order.Ship{Tracking: "t-1"}, nil, order.ErrNotReady},
		"cancelled before paying":     {events{placed, lamp}, order.Cancel{Reason: "changed my mind", At: noon}, events{order.Cancelled{Reason: "changed my mind", At: noon}}, nil},
		"cancelled with a refund":     {events{placed, lamp, paid}, order.Cancel{Reason: "late", At: noon}, events{order.Cancelled{Reason: "late", Refund: 2500, At: noon}}, nil},
		"cancelled without a reason":  {events{placed}, order.Cancel{}, nil, order.ErrIncomplete},
		"cancelled after shipping":    {events{placed, lamp, paid, order.StockReserved{}, shipped}, order.Cancel{Reason: "late"}, nil, order.ErrShipped},
		"cancelled twice, no trouble": {events{placed, order.Cancelled{Reason: "late"}}, order.Cancel{Reason: "late"}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := aggregatetest.For(t, order.Decider()).Given(c.given...).Encoded(registry).When(c.when)
			if c.err != nil {
				s.ThenError(c.err)
			} else {
				s.Then(c.then...)
			}
		})
	}
}

func TestTotalFollowsItems(t *testing.T) {
	t.Parallel()
	state := aggregatetest.For(t, order.Decider()).
		Given(placed, lamp, order.ItemAdded{SKU: "pen", Quantity: 1, Price: 99}).
		When(order.RemoveItem{SKU: "lamp", Quantity: 1}).
		State()
	if got := state.Total(); got != 1349 {
		t.Errorf("total is %s, want 13.49", got)
	}
}
