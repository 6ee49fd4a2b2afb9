package main

import (
	"context"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/simstore/mongosim"
)

// A target is a server to work on, with a database that is dropped at the end.
type target struct {
	uri      string
	database string
	sim      *mongosim.Server
	clients  []*mongo.Client
}

// newTarget takes the server at uri, or a simulated one when it is empty.
func newTarget(ctx context.Context, uri string) (*target, error) {
	t := &target{uri: uri, database: fmt.Sprintf("annals_bench_%x", time.Now().UnixNano())}
	if uri == "" {
		sim, err := mongosim.New(mongosim.Config{})
		if err != nil {
			return nil, err
		}
		t.sim = sim
	}
	client, err := t.client()
	if err != nil {
		return nil, err
	}
	if err := mongostore.Migrate(ctx, client, mongostore.Config{Database: t.database}); err != nil {
		t.close() //nolint:contextcheck // also after an interrupt
		return nil, err
	}
	return t, nil
}

// client returns a client of its own, as a process has it.
func (t *target) client() (*mongo.Client, error) {
	opts := options.Client().ApplyURI(t.uri)
	if t.sim != nil {
		opts = t.sim.ClientOptions()
	}
	client, err := mongo.Connect(opts.SetServerMonitoringMode(options.ServerMonitoringModePoll).SetHeartbeatInterval(time.Second))
	if err != nil {
		return nil, fmt.Errorf("connect: %w", err)
	}
	t.clients = append(t.clients, client)
	return client, nil
}

// store opens a store with a client of its own.
func (t *target) store(ctx context.Context, cfg mongostore.Config) (*mongostore.Store, *mongo.Client, error) {
	client, err := t.client()
	if err != nil {
		return nil, nil, err
	}
	cfg.Database = t.database
	s, err := mongostore.Open(ctx, client, cfg)
	return s, client, err
}

// describe names the server.
func (t *target) describe(ctx context.Context) string {
	var info struct {
		Version string `bson:"version"`
	}
	if err := t.clients[0].Database("admin").RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info); err != nil {
		return "unknown"
	}
	if t.sim != nil {
		return "mongosim as " + info.Version
	}
	return "MongoDB " + info.Version
}

func (t *target) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if len(t.clients) > 0 {
		_ = t.clients[0].Database(t.database).Drop(ctx)
	}
	for _, c := range t.clients {
		_ = c.Disconnect(ctx)
	}
	if t.sim != nil {
		t.sim.Close()
	}
}
