// Orders is a small shop on Annals: orders are placed, paid and shipped, stock
// is reserved for them, and read models show how things stand.
//
//	go run ./examples/orders
//
// walks through it and explains what happens, on a simulated MongoDB server in
// the same process. With MONGODB_URI set it runs on that server, in a database of
// its own that is dropped at the end; with -store=memory on the store in memory.
// The domain code is the same, and so is the output.
//
//	go run ./examples/orders serve -listen 127.0.0.1:8080
//
// serves the shop over HTTP: a page to look at, a JSON API, health and metrics.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/annals-es/annals/examples/orders/shop"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "orders:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, w io.Writer) error {
	if len(args) > 0 && args[0] == "serve" {
		return serve(ctx, args[1:], w)
	}
	flags := flag.NewFlagSet("orders", flag.ContinueOnError)
	store := flags.String("store", "mongodb", "where to keep everything: mongodb (simulated unless MONGODB_URI is set) or memory")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	b, err := openBackend(ctx, *store)
	if err != nil {
		return err
	}
	err = walkThrough(ctx, b, w)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	if closed := b.close(closing); err == nil {
		err = closed
	}
	return err
}

// walkThrough takes the tour while the shop's projections run.
func walkThrough(ctx context.Context, b *backend, w io.Writer) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	events := &witness{EventStore: b.Events}
	stores := b.Stores
	stores.Events = events
	s, err := shop.New(stores, slog.New(slog.DiscardHandler))
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
