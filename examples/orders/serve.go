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
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/annals-es/annals/examples/orders/api"
	"github.com/annals-es/annals/examples/orders/readmodel"
	"github.com/annals-es/annals/examples/orders/shop"
	"github.com/annals-es/annals/mongostore/client"
)

// serve serves the shop over HTTP until ctx ends, and writes its address to w
// when it is ready.
func serve(ctx context.Context, args []string, w io.Writer) error {
	flags := flag.NewFlagSet("orders serve", flag.ContinueOnError)
	listen := flags.String("listen", "127.0.0.1:8080", "address to serve on")
	database := flags.String("database", "annals_orders", "database of the shop")
	demo := flags.Bool("demo", os.Getenv("MONGODB_URI") == "", "fill an empty shop with the orders of the tour")
	if err := flags.Parse(args); err != nil {
		return err
	}
	logger := slog.New(slog.NewTextHandler(os.Stderr, nil))
	registry := prometheus.NewRegistry()
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	b, err := openMongoDB(ctx, options{database: *database, registerer: registry, logger: logger})
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
	if *demo {
		if err := fill(ctx, b); err != nil {
			return err
		}
	}
	s, err := shop.New(b.Stores, logger)
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	fmt.Fprintf(w, "http://%s/ on %s\n", l.Addr(), b.name)
	return serveOn(ctx, l, handler(b, s, registry, logger), s, logger)
}

// fill takes the tour in silence if the shop has no events.
func fill(ctx context.Context, b *backend) error {
	head, err := b.Events.Head(ctx)
	if err != nil || head > 0 {
		return err
	}
	return walkThrough(ctx, b, io.Discard)
}

func handler(b *backend, s *shop.Shop, registry *prometheus.Registry, logger *slog.Logger) http.Handler {
	health := client.NewHealthHandler(b.client, client.HealthConfig{})
	checks := []client.Check{client.Reachable(health)}
	for name, lag := range s.Lags() {
		checks = append(checks, client.LagBelow(name, 10_000, lag))
	}
	mux := http.NewServeMux()
	mux.Handle("/health/mongodb", health)
	mux.Handle("/live", client.Live())
	mux.Handle("/ready", client.Ready(checks...))
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.Handle("/", api.New(s, b.Models.(*readmodel.MongoDB), logger))
	return mux
}

// serveOn serves until ctx ends or the projections fail. Requests under way are
// finished.
func serveOn(ctx context.Context, l net.Listener, h http.Handler, s *shop.Shop, logger *slog.Logger) error {
	server := &http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, IdleTimeout: time.Minute}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	projections := make(chan error, 1)
	go func() {
		projections <- s.Run(ctx)
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
	return errors.Join(err, <-projections)
}
