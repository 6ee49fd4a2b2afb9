package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/readmodel"
	"github.com/annals-es/annals/examples/orders/shop"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/mongostore/client"
	"github.com/annals-es/annals/mongostore/metrics"
	mongomodel "github.com/annals-es/annals/mongostore/readmodel"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
	"github.com/annals-es/annals/simstore/mongosim"
)

// A backend is where the shop keeps everything.
type backend struct {
	shop.Stores
	name string
	// Nil in memory.
	mongodb *mongodb
	close   func(context.Context) error
}

// mongodb is what a backend in MongoDB has besides.
type mongodb struct {
	client *client.Client
	store  *mongostore.Store
	models *readmodel.MongoDB
}

// environment is how the environment is asked: [os.LookupEnv] in programs.
type environment func(name string) (string, bool)

func (e environment) get(name string) string {
	value, _ := e(name)
	return value
}

// options are those of a backend in MongoDB.
type options struct {
	// database is the name of the database. Empty stands for one of its own that
	// is dropped when the backend is closed.
	database   string
	registerer prometheus.Registerer // of metrics; none when nil
	logger     *slog.Logger
}

func openMemory() *backend {
	store := simstore.New(simstore.Config{})
	return &backend{
		Stores: shop.Stores{Events: store, Snapshots: store.Snapshots(), Backend: store, Models: readmodel.InMemory(store)},
		name:   "a store in memory",
		close:  func(context.Context) error { return store.Close() },
	}
}

// openMongoDB opens a backend on the server of MONGODB_URI, which is a simulated
// one in this process when the variable is not set.
func openMongoDB(ctx context.Context, env environment, o options) (b *backend, err error) {
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

	cfg, name, stop, err := configure(env)
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
	if o.database == "" {
		storeConfig.Database = "orders_" + eventstore.NewEventID().String()
		undo = append(undo, func(ctx context.Context) error { return c.Mongo().Database(storeConfig.Database).Drop(ctx) })
	}
	storeConfig.Reauthenticate = c.Refresh
	if err := mongostore.Migrate(ctx, c.Mongo(), storeConfig); err != nil {
		return nil, err
	}
	store, err := mongostore.Open(ctx, c.Mongo(), storeConfig)
	if err != nil {
		return nil, err
	}
	undo = append(undo, store.Close)
	projections, err := mongomodel.Open(ctx, c.Mongo(), store, mongomodel.Config{Database: storeConfig.Database})
	if err != nil {
		return nil, err
	}
	// New credentials come with a new client: everything moves over to it.
	c.OnSwap(store.Rebind)
	c.OnSwap(projections.Rebind)
	models, err := readmodel.InMongoDB(ctx, projection.NewControl(store, projections), projections, cursorKey(env))
	if err != nil {
		return nil, err
	}
	return &backend{
		Stores:  shop.Stores{Events: store, Snapshots: store.Snapshots(), Backend: projections, Models: models},
		name:    name,
		mongodb: &mongodb{client: c, store: store, models: models},
		close:   closeAll,
	}, nil
}

// configure returns the configuration of the environment, or that of a simulated
// server when the environment names none.
func configure(env environment) (cfg client.Config, name string, stop func(context.Context) error, err error) {
	stop = func(context.Context) error { return nil }
	if env.get("MONGODB_URI") != "" {
		cfg, err = client.FromEnv(env)
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
func cursorKey(env environment) []byte {
	if key := env.get("ORDERS_KEY"); key != "" {
		return []byte(key)
	}
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return key
}
