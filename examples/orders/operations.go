package main

import (
	"context"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/examples/orders/shop"
	"github.com/annals-es/annals/mongostore/client"
	"github.com/annals-es/annals/projection/projectionprom"
)

// The lags, in events, above which a front does not call itself ready.
const (
	maxSequencerLag  = 1_000
	maxProjectionLag = 10_000
)

// operations serves what those want to know who run the process: probes, health
// and metrics.
func operations(r *role, b *backend, s *shop.Shop, registry *prometheus.Registry, logger *slog.Logger) *http.ServeMux {
	registry.MustRegister(projectionprom.New(s.Control(), projectionprom.Config{Logger: logger}))
	health := client.NewHealthHandler(b.mongodb.client, client.HealthConfig{})
	checks := []client.Check{client.Reachable(health)}
	if r.front {
		// A worker that starts while there is much to do is ready to do it; what
		// readers would see does not matter to it.
		checks = append(checks, client.LagBelow("sequencer", maxSequencerLag, b.mongodb.store.SequencerLag))
		for name, lag := range s.Lags() {
			checks = append(checks, client.LagBelow(name, maxProjectionLag, throughClient(b.mongodb.client, lag)))
		}
	}
	mux := http.NewServeMux()
	mux.Handle("/health/mongodb", health)
	mux.Handle("/live", client.Live())
	mux.Handle("/ready", client.Ready(checks...))
	mux.Handle("/metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// throughClient asks again when credentials have just been replaced.
func throughClient(c *client.Client, lag func(context.Context) (int64, error)) func(context.Context) (int64, error) {
	return func(ctx context.Context) (n int64, err error) {
		err = c.Use(ctx, func(ctx context.Context, _ *mongo.Client) error {
			n, err = lag(ctx)
			return err
		})
		return n, err
	}
}
