package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/annals-es/annals/examples/orders/api"
	"github.com/annals-es/annals/examples/orders/shop"
)

// A role is what a process does in the service.
type role struct {
	listen   string
	database string
	// front serves the shop to its customers, workers keeps the read models and
	// runs the fulfilment process.
	front, workers bool
	// demo fills an empty shop with the orders of the tour.
	demo bool
}

// flags returns the flags that all roles have.
func (r *role) flags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.StringVar(&r.listen, "listen", "127.0.0.1:8080", "address to serve on")
	flags.StringVar(&r.database, "database", "annals_orders", "database of the shop")
	return flags
}

// serve serves the shop over HTTP until ctx ends, and writes its address to w
// when it is ready.
func serve(ctx context.Context, args []string, env environment, w io.Writer) error {
	r := role{front: true}
	flags := r.flags("orders serve")
	flags.BoolVar(&r.workers, "workers", true, "keep the read models and run the fulfilment process; false leaves that to orders worker")
	flags.BoolVar(&r.demo, "demo", env.get("MONGODB_URI") == "", "fill an empty shop with the orders of the tour, before other processes work on it")
	if err := parse(flags, args); err != nil {
		return err
	}
	return r.play(ctx, env, w)
}

// work takes part in the work behind the shop until ctx ends, and serves nothing
// but health and metrics.
func work(ctx context.Context, args []string, env environment, w io.Writer) error {
	r := role{workers: true}
	if err := parse(r.flags("orders worker"), args); err != nil {
		return err
	}
	return r.play(ctx, env, w)
}

// play does what a process of a role does until ctx ends.
func (r *role) play(ctx context.Context, env environment, w io.Writer) error {
	if env.get("MONGODB_URI") == "" && (!r.front || !r.workers) {
		return errors.New("MONGODB_URI is not set: a simulated server is in one process, which has to do all of the work")
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	b, err := openMongoDB(ctx, env, options{database: r.database, registerer: registry, logger: logger})
	if err != nil {
		return err
	}
	defer func() {
		closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
		defer cancel()
		if err := b.close(closing); err != nil {
			logger.ErrorContext(ctx, "not closed cleanly", "error", err)
		}
	}()
	if r.demo {
		if err := fill(ctx, b); err != nil {
			return err
		}
	}
	s, err := shop.New(b.Stores, logger)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", r.listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "http://%s/ on %s\n", l.Addr(), b.name)
	mux := operations(r, b, s, registry, logger)
	if r.front {
		mux.Handle("/", api.New(s, b.mongodb.models, b.mongodb.client, logger))
	}
	working := func(ctx context.Context) error { <-ctx.Done(); return nil }
	if r.workers {
		working = s.Work
	}
	return serveOn(ctx, l, mux, working, logger)
}

// isEmpty returns an error if the shop has events.
func isEmpty(ctx context.Context, b *backend) error {
	head, err := b.Events.Head(ctx)
	if err == nil && head > 0 {
		err = errNotEmpty
	}
	return err
}

var errNotEmpty = errors.New("the shop has been used; the tour starts with an empty one")

// fill takes the tour in silence if the shop has no events.
func fill(ctx context.Context, b *backend) error {
	err := isEmpty(ctx, b)
	if errors.Is(err, errNotEmpty) {
		return nil
	}
	if err != nil {
		return err
	}
	return walkThrough(ctx, b, io.Discard)
}

// serveOn serves, and works beside it, until ctx ends or one of the two fails.
// Requests under way are finished, and the work is handed over to others.
func serveOn(ctx context.Context, l net.Listener, h http.Handler, work func(context.Context) error, logger *slog.Logger) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	working := make(chan error, 1)
	go func() {
		working <- work(ctx)
		cancel()
	}()
	serving := make(chan error, 1)
	go func() {
		serving <- server.Serve(l)
		cancel()
	}()
	<-ctx.Done()
	logger.InfoContext(ctx, "stopping")
	closing, done := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer done()
	err := server.Shutdown(closing)
	if served := <-serving; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return errors.Join(err, <-working)
}
