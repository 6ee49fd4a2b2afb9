// Orders is a small shop on Annals: orders are placed, paid and shipped, stock
// is reserved for them, and read models show how things stand.
//
//	go run ./examples/orders
//
// walks through it and explains what happens, on a simulated MongoDB server in
// the same process. With MONGODB_URI set it runs on that server, in a database of
// its own that is dropped at the end unless -database names one to keep; with
// -store=memory on the store in memory. The domain code is the same, and so is the
// output.
//
//	go run ./examples/orders serve -listen 127.0.0.1:8080
//
// serves the shop over HTTP: a page to look at, a JSON API, health and metrics.
// It also keeps the read models up to date and runs the fulfilment process. With
// -workers=false that is left to other processes, as many as one likes:
//
//	go run ./examples/orders worker -listen 127.0.0.1:8081
//
// They share the work by leases, and what one leaves the others take over. All of
// them need the server of MONGODB_URI, then.
package main

import (
	"context"
	"errors"
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
	if err := run(ctx, os.Args[1:], os.LookupEnv, os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "orders:", err)
		stop()
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, env environment, w io.Writer) error {
	command := "tour"
	if len(args) > 0 && args[0] != "" && args[0][0] != '-' {
		command, args = args[0], args[1:]
	}
	switch command {
	case "tour":
		return takeTour(ctx, args, env, w)
	case "serve":
		return serve(ctx, args, env, w)
	case "worker":
		return work(ctx, args, env, w)
	}
	return fmt.Errorf("there is no command %q; there are serve and worker, and the tour without a command", command)
}

// parse reads the flags and refuses what is none.
func parse(flags *flag.FlagSet, args []string) error {
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("%q is no flag; %s -h tells which there are", flags.Arg(0), flags.Name())
	}
	return nil
}

func takeTour(ctx context.Context, args []string, env environment, w io.Writer) error {
	flags := flag.NewFlagSet("orders", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), "usage: orders [flags]         walk through the shop\n"+
			"       orders serve [flags]   serve it over HTTP\n"+
			"       orders worker [flags]  do the work behind it\n\nflags of the walk:\n")
		flags.PrintDefaults()
	}
	store := flags.String("store", "mongodb", "where to keep everything: mongodb (simulated unless MONGODB_URI is set) or memory")
	database := flags.String("database", "", "database to leave the orders in; one that is dropped when empty")
	if err := parse(flags, args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	var b *backend
	var err error
	switch *store {
	case "memory":
		b = openMemory()
	case "mongodb":
		b, err = openMongoDB(ctx, env, options{database: *database})
	default:
		err = fmt.Errorf("-store is %q; it takes mongodb or memory", *store)
	}
	if err != nil {
		return err
	}
	switch err = isEmpty(ctx, b); {
	case errors.Is(err, errNotEmpty):
		_, err = fmt.Fprintf(w, "%s: %v\n", *database, err)
	case err == nil:
		err = walkThrough(ctx, b, w)
	}
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
	working := make(chan error, 1)
	go func() { working <- s.Work(ctx) }()
	t := tour{Shop: s, events: events, w: w}
	err = t.walk(ctx)
	cancel()
	if failed := <-working; failed != nil {
		return failed
	}
	return err
}
