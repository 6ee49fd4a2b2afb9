// Orders is a small shop on Annals: orders are placed, paid and shipped, stock
// is reserved for them, and read models show how things stand.
//
//	go run ./examples/orders
//
// walks through it on a store in memory and explains what happens.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"time"

	"github.com/annals-es/annals/examples/orders/shop"
	"github.com/annals-es/annals/simstore"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		stop()
		os.Exit(1)
	}
}

// run walks through the shop and writes what happens to w.
func run(ctx context.Context, w io.Writer) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()

	store := simstore.New(simstore.Config{})
	defer store.Close()
	events := &witness{EventStore: store}
	s, err := shop.New(shop.Stores{Events: events, Snapshots: store.Snapshots(), Checkpoints: store}, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	projections := make(chan error, 1)
	go func() { projections <- s.Run(ctx) }()

	t := tour{Shop: s, events: events, w: w}
	err = t.walk(ctx)
	cancel()
	if failed := <-projections; failed != nil {
		return failed
	}
	return err
}
