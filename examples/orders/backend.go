package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/readmodel"
	"github.com/annals-es/annals/examples/orders/shop"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/mongostore/client"
	"github.com/annals-es/annals/mongostore/metrics"
	mongomodel "github.com/annals-es/annals/mongostore/readmodel"
	"github.com/annals-es/annals/simstore"
	"github.com/annals-es/annals/simstore/mongosim"
)

// A backend is where the shop keeps everything.
type backend struct {
	shop.Stores
	name   string
	client *client.Client // nil in memory
	close  func(context.Context) error
}

// options are those of a backend in MongoDB.
type options struct {
	// database is the name of the database. Empty stands for one of its own that
	// is dropped when the backend is closed.
	database   string
	registerer prometheus.Registerer // of metrics; none when nil
	logger     *slog.Logger
}

// openBackend opens the store that a flag names: "memory", or "mongodb" for the
// server of MONGODB_URI, which is a simulated one in this process when the
// variable is not set.
func openBackend(ctx context.Context, store string) (*backend, error) {
	switch store {
	case "memory":
		return openMemory(), nil
	case "mongodb":
		return openMongoDB(ctx, options{})
	}
	return nil, fmt.Errorf("-store is %q; it takes mongodb or memory", store)
}

func openMemory() *backend {
	store := simstore.New(simstore.Config{})
	return &backend{
		Stores: shop.Stores{Events: store, Snapshots: store.Snapshots(), Checkpoints: store, Backend: store, Models: readmodel.InMemory()},
		name:   "a store in memory",
		close:  func(context.Context) error { return store.Close() },
	}
}

func openMongoDB(ctx context.Context, o options) (b *backend, err error) {
	var undo []func(context.Context) error
	closeAll := func(ctx context.Context) error {
		var errs []error
		for _, step := range slices.Backward(undo) {
			errs = append(errs, step(ctx))
		}
		return errors.Join(errs...)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, closeAll(context.WithoutCancel(ctx)))
		}
	}()

	cfg, name, stop, err := configure()
	if err != nil {
		return nil, err
	}
	undo = append(undo, stop)
	cfg.Logger = o.logger
	storeConfig := mongostore.Config{Database: o.database, WriteTimeout: cfg.WriteConcern.Timeout, Logger: o.logger}
	var measured *metrics.Metrics
	if o.registerer != nil {
		if measured, err = metrics.New(o.registerer, metrics.Config{}); err != nil {
			return nil, err
		}
		cfg.CommandMonitor = measured.CommandMonitor(nil)
		storeConfig.Hooks = measured.Hooks()
	}
	c, err := client.Connect(ctx, cfg)
	if err != nil {
		return nil, err
	}
	undo = append(undo, c.Close)
	if measured != nil {
		measured.Watch(c)
	}
	database := o.database
	if database == "" {
		database = "orders_" + eventstore.NewEventID().String()
		storeConfig.Database = database
		undo = append(undo, func(ctx context.Context) error { return c.Mongo().Database(database).Drop(ctx) })
	}
	if err := mongostore.Migrate(ctx, c.Mongo(), storeConfig); err != nil {
		return nil, err
	}
	store, err := mongostore.Open(ctx, c.Mongo(), storeConfig)
	if err != nil {
		return nil, err
	}
	undo = append(undo, store.Close)
	processes, err := mongomodel.Open(ctx, c.Mongo(), store, mongomodel.Config{Database: database})
	if err != nil {
		return nil, err
	}
	models, err := readmodel.InMongoDB(ctx, c.Mongo().Database(database), cursorKey())
	if err != nil {
		return nil, err
	}
	return &backend{
		Stores: shop.Stores{Events: store, Snapshots: store.Snapshots(), Checkpoints: store.Checkpoints(), Backend: processes, Models: models},
		name:   name,
		client: c,
		close:  closeAll,
	}, nil
}

// configure returns the configuration of the environment, or that of a simulated
// server when the environment names none.
func configure() (cfg client.Config, name string, stop func(context.Context) error, err error) {
	stop = func(context.Context) error { return nil }
	if os.Getenv("MONGODB_URI") != "" {
		cfg, err = client.FromEnv(os.LookupEnv)
		return cfg, "the MongoDB server of MONGODB_URI", stop, errors.Join(err, cfg.ForEvents())
	}
	server, err := mongosim.New(mongosim.Config{})
	if err != nil {
		return cfg, "", stop, err
	}
	stop = func(context.Context) error { server.Close(); return nil }
	cfg = client.Config{URI: server.URI(), Dialer: server, SimulationMode: client.SimulationServer}
	return cfg, "a simulated MongoDB server in this process", stop, nil
}

// cursorKey returns the key that signs the cursors of pages: that of ORDERS_KEY,
// which all processes of one service share, or a random one.
func cursorKey() []byte {
	if key := os.Getenv("ORDERS_KEY"); key != "" {
		return []byte(key)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}
