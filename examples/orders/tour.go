package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/examples/orders/shop"
	"github.com/annals-es/annals/examples/orders/stock"
)

// A tour walks through a shop. Its times are made up, so that its output is the
// same every day.
type tour struct {
	*shop.Shop
	events *witness
	w      io.Writer
	seen   eventstore.Position // what was printed of the log
}

var (
	monday  = time.Date(2026, 3, 16, 9, 30, 0, 0, time.UTC)
	tuesday = monday.AddDate(0, 0, 1)
)

func (t *tour) walk(ctx context.Context) error {
	for _, chapter := range []func(context.Context) error{
		t.deliveries,
		t.anOrderFromStartToEnd,
		t.aRejectedCommand,
		t.aConflict,
		t.soldOut,
		t.theSameCommandTwice,
		t.readModels,
	} {
		if err := chapter(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (t *tour) deliveries(ctx context.Context) error {
	t.title("Goods arrive", "Stock is an aggregate root: its methods record events.")
	for _, d := range []struct {
		sku      string
		quantity int
	}{{"keyboard", 5}, {"lamp", 2}, {"pen", 100}} {
		t.say("command: receive %d of %s", d.quantity, d.sku)
		if _, err := t.Articles.Run(ctx, d.sku, func(a *stock.Article) error { return a.Receive(d.quantity) }); err != nil {
			return err
		}
	}
	return t.showAppended(ctx)
}

func (t *tour) anOrderFromStartToEnd(ctx context.Context) error {
	t.title("An order from start to end", "Orders are a decider: commands in, events out. Payment sets off the fulfilment process,",
		"which reserves stock in the articles' own streams and reports back to the order.")
	if err := t.commands(
		ctx, "1001",
		order.Place{Customer: "anna", Region: "eu", At: monday},
		order.AddItem{SKU: "keyboard", Quantity: 1, Price: 8900},
		order.AddItem{SKU: "pen", Quantity: 10, Price: 150},
		order.RemoveItem{SKU: "pen", Quantity: 5},
		order.Pay{Amount: 9650, At: monday},
	); err != nil {
		return err
	}
	if err := t.showAppended(ctx); err != nil {
		return err
	}
	if err := t.commands(ctx, "1001", order.Ship{Tracking: "EU-77-1001", At: tuesday}); err != nil {
		return err
	}
	return t.showAppended(ctx)
}

func (t *tour) aRejectedCommand(ctx context.Context) error {
	t.title("A rejected command", "The rules are checked against the order's history; nothing is appended.")
	for _, c := range []order.Command{
		order.Cancel{Reason: "changed my mind", At: tuesday},
		order.AddItem{SKU: "lamp", Quantity: 1, Price: 4500},
	} {
		t.say("command: %s", describe("1001", c))
		if _, err := t.Orders.Run(ctx, "1001", c); err != nil {
			t.say("   rejected: %v", err)
		} else {
			return fmt.Errorf("%T was accepted", c)
		}
	}
	return t.showAppended(ctx)
}

// aConflict has two clerks change one order at once: while the first decides,
// the second is faster.
func (t *tour) aConflict(ctx context.Context) error {
	t.title("A conflict, retried", "Two clerks change one order at once. The store takes the first append and refuses the second,",
		"which expected another version; the repository loads what is new, decides again and appends.")
	if err := t.commands(ctx, "1002", order.Place{Customer: "ben", Region: "us", At: tuesday}); err != nil {
		return err
	}
	slow := order.Decider()
	decide, interrupted := slow.Decide, false
	slow.Decide = func(s order.State, c order.Command) ([]order.Event, error) {
		events, err := decide(s, c)
		if !interrupted {
			interrupted = true
			t.say("   ... while the first clerk decides, the second one adds 2 pens")
			if _, err := t.Orders.Run(ctx, "1002", order.AddItem{SKU: "pen", Quantity: 2, Price: 150}); err != nil {
				return nil, err
			}
		}
		return events, err
	}
	first, err := aggregate.NewRepository(t.events, shop.Registry(), slow, aggregate.Config[order.State]{Category: order.Category})
	if err != nil {
		return err
	}
	c := order.AddItem{SKU: "lamp", Quantity: 1, Price: 4500}
	t.say("command: %s", describe("1002", c))
	result, err := first.Run(ctx, "1002", c)
	if err != nil {
		return err
	}
	t.say("   appended at the %s attempt, as version %d", ordinal(result.Attempts), result.Version)
	if _, err := eventstore.Append(ctx, t.events, t.Orders.Stream("1002"), eventstore.Exact(1)); errors.Is(err, eventstore.ErrConflict) {
		t.say("   what a conflict says: %v", err)
	}
	return t.showAppended(ctx)
}

func (t *tour) soldOut(ctx context.Context) error {
	t.title("Sold out", "Only one lamp is left after this: the process reserves for the first order and cancels the second,",
		"with a refund, and gives back what it had reserved for it.")
	if err := t.commands(ctx, "1002", order.Pay{Amount: 4800, At: tuesday}); err != nil {
		return err
	}
	if err := t.settle(ctx); err != nil {
		return err
	}
	if err := t.commands(
		ctx, "1003",
		order.Place{Customer: "anna", Region: "eu", At: tuesday},
		order.AddItem{SKU: "keyboard", Quantity: 1, Price: 8900},
		order.AddItem{SKU: "lamp", Quantity: 2, Price: 4500},
		order.Pay{Amount: 17900, At: tuesday},
	); err != nil {
		return err
	}
	return t.showAppended(ctx)
}

func (t *tour) theSameCommandTwice(ctx context.Context) error {
	t.title("The same command twice", "A client that lost the reply sends its command again, with the same id: it is done once.")
	ctx = aggregate.WithCommandID(ctx, aggregate.CommandID{0: 0x42, 15: 1})
	for range 2 {
		c := order.Place{Customer: "cleo", Region: "eu", At: tuesday}
		t.say("command: %s", describe("1004", c))
		result, err := t.Orders.Run(ctx, "1004", c)
		if err != nil {
			return err
		}
		t.say("   duplicate: %t, the order is at version %d", result.Duplicate, result.Version)
	}
	return t.showAppended(ctx)
}

func (t *tour) readModels(ctx context.Context) error {
	t.title("What the read models say", "Projections have followed the log all along.")
	if err := t.settle(ctx); err != nil {
		return err
	}
	orders, err := t.Models.Orders(ctx)
	if err != nil {
		return err
	}
	t.say("orders by customer")
	t.table("customer\torder\tstatus\titems\ttotal\trefund", func(row func(...any)) {
		for _, o := range orders {
			row(o.Customer, o.ID, o.Status, o.Items, o.Total, o.Refund)
		}
	})
	revenue, err := t.Models.Revenue(ctx)
	if err != nil {
		return err
	}
	t.say("revenue by day and region")
	t.table("day\tregion\torders\tamount", func(row func(...any)) {
		for _, r := range revenue {
			row(r.Day, r.Region, r.Orders, r.Amount)
		}
	})
	articles, err := t.Models.Articles(ctx)
	if err != nil {
		return err
	}
	t.say("stock")
	t.table("article\tfree\treserved\tsold", func(row func(...any)) {
		for _, a := range articles {
			row(a.SKU, a.Free, a.Reserved, a.Sold)
		}
	})
	return nil
}

// commands runs commands on an order, one after the other.
func (t *tour) commands(ctx context.Context, key string, commands ...order.Command) error {
	for _, c := range commands {
		t.say("command: %s", describe(key, c))
		if _, err := t.Orders.Run(ctx, key, c); err != nil {
			return err
		}
	}
	return nil
}

// settle waits until everything appended so far is applied, and what the
// fulfilment process has appended because of it.
func (t *tour) settle(ctx context.Context) error {
	for tokens := t.events.take(); len(tokens) > 0; tokens = t.events.take() {
		var last eventstore.Position
		for _, token := range tokens {
			p, err := t.events.Await(ctx, token)
			if err != nil {
				return err
			}
			last = max(last, p)
		}
		if err := t.Settle(ctx, last); err != nil {
			return err
		}
	}
	return nil
}

// showAppended prints what is new in the log, once everything has settled.
func (t *tour) showAppended(ctx context.Context) error {
	if err := t.settle(ctx); err != nil {
		return err
	}
	registry := shop.Registry()
	none := true
	for e, err := range t.events.ReadLog(ctx, eventstore.LogQuery{After: t.seen}) {
		if err != nil {
			return err
		}
		if none {
			t.say("appended, as the log has it:")
		}
		payload, err := registry.Decode(e)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("   %3d  %-16s version %-2d  %-20s %s", e.Position, e.Stream, e.Version, e.Type, fields(payload))
		t.say("%s", strings.TrimRight(line, " "))
		t.seen, none = e.Position, false
	}
	if none {
		t.say("appended: nothing")
	}
	return nil
}

func (t *tour) title(title string, explanation ...string) {
	fmt.Fprintf(t.w, "\n== %s\n", title)
	for _, line := range explanation {
		fmt.Fprintf(t.w, "   %s\n", line)
	}
	fmt.Fprintln(t.w)
}

func (t *tour) say(format string, args ...any) { fmt.Fprintf(t.w, format+"\n", args...) }

func (t *tour) table(header string, rows func(row func(...any))) {
	tw := tabwriter.NewWriter(t.w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(tw, "   "+header)
	rows(func(cells ...any) {
		texts := make([]string, len(cells))
		for i, c := range cells {
			texts[i] = fmt.Sprint(c)
		}
		fmt.Fprintln(tw, "   "+strings.Join(texts, "\t"))
	})
	_ = tw.Flush() // writes to t.w, as fmt.Fprintf does
	fmt.Fprintln(t.w)
}

// describe says what a command wants of which order.
func describe(key string, c order.Command) string {
	switch c := c.(type) {
	case order.Place:
		return fmt.Sprintf("place order %s for %s in %s", key, c.Customer, c.Region)
	case order.AddItem:
		return fmt.Sprintf("add %d %s at %s to order %s", c.Quantity, c.SKU, c.Price, key)
	case order.RemoveItem:
		return fmt.Sprintf("remove %d %s from order %s", c.Quantity, c.SKU, key)
	case order.Pay:
		return fmt.Sprintf("pay %s for order %s", c.Amount, key)
	case order.Ship:
		return fmt.Sprintf("ship order %s as %s", key, c.Tracking)
	case order.Cancel:
		return fmt.Sprintf("cancel order %s: %s", key, c.Reason)
	}
	return fmt.Sprintf("%T on order %s", c, key)
}

// fields shows what an event says in a few words.
func fields(payload any) string {
	switch e := payload.(type) {
	case order.Placed:
		return "by " + e.Customer + " in " + e.Region
	case order.ItemAdded:
		return fmt.Sprintf("%d x %s at %s", e.Quantity, e.SKU, e.Price)
	case order.ItemRemoved:
		return fmt.Sprintf("%d x %s", e.Quantity, e.SKU)
	case order.Paid:
		return e.Amount.String()
	case order.Shipped:
		return e.Tracking
	case order.Cancelled:
		return fmt.Sprintf("%s, refund %s", e.Reason, e.Refund)
	case stock.Received:
		return fmt.Sprint(e.Quantity)
	case stock.Reserved:
		return fmt.Sprintf("%d for order %s", e.Quantity, e.Order)
	case stock.Released:
		return fmt.Sprintf("%d of order %s", e.Quantity, e.Order)
	case stock.Dispatched:
		return fmt.Sprintf("%d of order %s", e.Quantity, e.Order)
	}
	return ""
}

func ordinal(n int) string {
	switch n {
	case 1:
		return "first"
	case 2:
		return "second"
	}
	return fmt.Sprintf("%dth", n)
}
