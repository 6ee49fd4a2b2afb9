package mongostore

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore/mongosim"
)

// A server is what a test runs against: the one that MONGODB_URI names, or a
// simulated one.
type server struct {
	client   *mongo.Client
	database string
	// connect makes a client. Polling spares tests the driver's wait for a heartbeat
	// when it disconnects.
	connect func() (*mongo.Client, error)
	// stop stops a simulated server.
	stop func()
	// sim is nil on a real server.
	sim *mongosim.Server
}

// serverFor returns a server with a database of the test's own, which is dropped
// when the test ends.
func serverFor(t testing.TB, opts ...mongosim.Option) server {
	t.Helper()
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		if os.Getenv("REQUIRE_MONGO") == "1" {
			t.Fatal("REQUIRE_MONGO=1 and MONGODB_URI is not set")
		}
		return simFor(t, opts...)
	}
	srv := server{database: databaseName(t), connect: func() (*mongo.Client, error) {
		return mongo.Connect(options.Client().ApplyURI(uri).SetServerMonitoringMode(options.ServerMonitoringModePoll).SetHeartbeatInterval(500 * time.Millisecond))
	}}
	srv.client = srv.newClient(t)
	srv.stop = func() {}
	t.Cleanup(func() {
		client, err := srv.connect()
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		require.NoError(t, client.Database(srv.database).Drop(ctx))
		require.NoError(t, client.Disconnect(ctx))
	})
	return srv
}

// simFor returns a simulated server, for tests that make it fail.
func simFor(t testing.TB, opts ...mongosim.Option) server {
	t.Helper()
	sim := mongosim.Start(t, opts...)
	srv := server{database: databaseName(t), sim: sim, stop: sim.Close, connect: func() (*mongo.Client, error) {
		return mongo.Connect(sim.ClientOptions().SetServerMonitoringMode(options.ServerMonitoringModePoll).SetHeartbeatInterval(500 * time.Millisecond))
	}}
	srv.client = srv.newClient(t)
	return srv
}

// newClient returns a client that is disconnected when the test ends.
func (srv server) newClient(t testing.TB) *mongo.Client {
	t.Helper()
	client, err := srv.connect()
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	return client
}

func databaseName(t testing.TB) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, t.Name())
	return fmt.Sprintf("annals_%.20s_%x", name, time.Now().UnixNano())
}

// migrated returns a server whose database is ready.
func migrated(t testing.TB, opts ...mongosim.Option) server {
	t.Helper()
	srv := serverFor(t, opts...)
	srv.migrate(t)
	return srv
}

func (srv server) migrate(t testing.TB) {
	t.Helper()
	require.NoError(t, Migrate(context.Background(), srv.client, Config{Database: srv.database}))
}

// open opens a store that is closed when the test ends.
func (srv server) open(t testing.TB, change ...func(*Config)) *Store {
	t.Helper()
	cfg := Config{Database: srv.database, WriteTimeout: 5 * time.Minute} // of which a busy machine may need a part
	for _, c := range change {
		c(&cfg)
	}
	s, err := Open(context.Background(), srv.client, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { closeStore(t, s) })
	return s
}

func closeStore(t testing.TB, s *Store) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	require.NoError(t, s.Close(ctx))
}

// testContext bounds a test that hangs, not one whose machine is busy.
func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

// event returns an event to append.
func event(n int) eventstore.EventData {
	data, err := eventstore.NewBSONCodec().Marshal(map[string]int{"n": n})
	if err != nil {
		panic(err)
	}
	return eventstore.EventData{ID: eventstore.NewEventID(), Type: "test.happened", Data: data}
}

func eventsUpTo(n int) []eventstore.EventData {
	events := make([]eventstore.EventData, n)
	for i := range events {
		events[i] = event(i + 1)
	}
	return events
}

// How long tests wait for what must come, and how often they look.
const (
	patience = time.Minute
	poll     = 2 * time.Millisecond
)
