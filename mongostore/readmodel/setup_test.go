package readmodel

import (
	"context"
	"flag"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore/mongosim"
)

func TestMain(m *testing.M) {
	waitTogether()
	goleak.VerifyTestMain(m)
}

// waitTogether has more tests run at a time than there are cores, unless told how
// many: after a fault the driver looks at the server only every half second, and
// that is what most of them wait for.
func waitTogether() {
	flag.Parse()
	told := false
	flag.Visit(func(f *flag.Flag) { told = told || f.Name == "test.parallel" })
	if !told {
		_ = flag.Set("test.parallel", "12")
	}
}

// An env is a database of a test's own on the server that MONGODB_URI names, or on
// a simulated one, with an event store and a backend.
type env struct {
	client   *mongo.Client
	sim      *mongosim.Server // nil on a real server
	database string
	store    *mongostore.Store
	*Backend
}

// setup returns an environment, which is taken down when the test ends.
func setup(t testing.TB, change ...func(*Config)) *env {
	t.Helper()
	uri := os.Getenv("MONGODB_URI")
	if uri == "" {
		if os.Getenv("REQUIRE_MONGO") == "1" {
			t.Fatal("REQUIRE_MONGO=1 and MONGODB_URI is not set")
		}
		return simulated(t, change...)
	}
	e := &env{database: fmt.Sprintf("annals_rm_%x", time.Now().UnixNano())}
	e.connect(t, options.Client().ApplyURI(uri))
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		last, err := mongo.Connect(options.Client().ApplyURI(uri)) // e.client may have gone
		require.NoError(t, err)
		require.NoError(t, last.Database(e.database).Drop(ctx))
		require.NoError(t, last.Disconnect(ctx))
	})
	e.open(t, change...)
	return e
}

// simulated returns an environment on a simulated server, for tests that make it
// fail.
func simulated(t testing.TB, change ...func(*Config)) *env {
	t.Helper()
	e := &env{database: "annals", sim: mongosim.Start(t)}
	e.connect(t, e.sim.ClientOptions())
	e.open(t, change...)
	return e
}

// clientOptions are those of a client of the environment's server.
func (e *env) clientOptions() *options.ClientOptions {
	if e.sim != nil {
		return e.sim.ClientOptions()
	}
	return options.Client().ApplyURI(os.Getenv("MONGODB_URI"))
}

func (e *env) connect(t testing.TB, opts *options.ClientOptions) {
	t.Helper()
	var err error
	// Polling spares tests the driver's wait for a heartbeat when it disconnects.
	e.client, err = mongo.Connect(opts.SetServerMonitoringMode(options.ServerMonitoringModePoll))
	require.NoError(t, err)
	client := e.client // tests may move the environment to another one
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
}

func (e *env) open(t testing.TB, change ...func(*Config)) {
	t.Helper()
	ctx := context.Background()
	cfg := mongostore.Config{Database: e.database, LeaseTTL: time.Second, WriteTimeout: 5 * time.Minute}
	require.NoError(t, mongostore.Migrate(ctx, e.client, cfg))
	var err error
	e.store, err = mongostore.Open(ctx, e.client, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, e.store.Close(ctx)) })
	e.Backend = e.backend(t, change...)
}

// backend opens another backend on the same database, as another process has it.
func (e *env) backend(t testing.TB, change ...func(*Config)) *Backend {
	t.Helper()
	cfg := Config{Database: e.database, Timeout: 5 * time.Minute} // of which a busy machine may need a part
	for _, c := range change {
		c(&cfg)
	}
	b, err := Open(context.Background(), e.client, e.store, cfg)
	require.NoError(t, err)
	return b
}

type doc struct {
	N    int64  `json:"n"`
	Name string `json:"name,omitempty"`
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	data, err := eventstore.NewBSONCodec().Marshal(v)
	require.NoError(t, err)
	return data
}

func put(t testing.TB, model, key string, n int64) projection.Change {
	t.Helper()
	return projection.Change{Model: model, Key: key, Data: encode(t, doc{N: n})}
}

// numbers returns N of the documents that there are for keys.
func numbers(t testing.TB, b projection.DocumentStore, model string, keys ...string) map[string]int64 {
	t.Helper()
	docs, err := b.LoadDocuments(t.Context(), model, keys)
	require.NoError(t, err)
	all := map[string]int64{}
	for _, d := range docs {
		var v doc
		require.NoError(t, eventstore.NewBSONCodec().Unmarshal(d.Data, &v))
		all[d.Key] = v.N
	}
	return all
}

var orders = projection.CheckpointKey{Projection: "orders", Version: 1}

// next is a commit behind from, one position further on.
func next(from projection.Checkpoint, changes ...projection.Change) projection.Commit {
	return projection.Commit{Key: orders, From: from, To: from.Position + 1, Fence: from.Fence, Changes: changes}
}
