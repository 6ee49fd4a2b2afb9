package query_test

import (
	"context"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// dbForTest is how every test of this package gets a server: the one at
// MONGODB_URI, or else a simulated one of its own. The database is new, and is
// gone afterwards.
func dbForTest(t testing.TB, opts ...*options.ClientOptions) *mongo.Database {
	t.Helper()
	uri := os.Getenv("MONGODB_URI")
	if uri == "" && os.Getenv("REQUIRE_MONGO") == "1" {
		t.Fatal("REQUIRE_MONGO=1 demands a real server: set MONGODB_URI")
	}
	var client *mongo.Client
	if uri == "" {
		client = simulated(t, opts...)
	} else {
		c, err := mongo.Connect(append([]*options.ClientOptions{options.Client().ApplyURI(uri).SetMaxPoolSize(8)}, opts...)...)
		require.NoError(t, err)
		t.Cleanup(func() { _ = c.Disconnect(context.Background()) })
		client = c
	}
	db := client.Database("query_" + bson.NewObjectID().Hex())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		_ = db.Drop(ctx)
	})
	return db
}

// serverVersion is the first two parts of the server's version: 44, 50, 60, …
func serverVersion(t testing.TB, db *mongo.Database) int {
	t.Helper()
	var info struct {
		VersionArray []int `bson:"versionArray"`
	}
	require.NoError(t, db.RunCommand(t.Context(), bson.D{{Key: "buildInfo", Value: 1}}).Decode(&info))
	return info.VersionArray[0]*10 + info.VersionArray[1]
}

// oneFailPoint is held by a test that uses the fail point of a shared server: a
// server has only one, so those tests take turns. Simulated servers are not shared.
var oneFailPoint sync.Mutex

// takeFailPoint waits for the fail point and keeps it until the test ends.
func takeFailPoint(t testing.TB) {
	t.Helper()
	if os.Getenv("MONGODB_URI") == "" {
		return
	}
	oneFailPoint.Lock()
	t.Cleanup(oneFailPoint.Unlock)
}

// failPoint makes commands fail, for this test's client alone (which must have
// been made with appName), until the test ends.
func failPoint(t testing.TB, db *mongo.Database, appName string, mode any, data bson.D) {
	t.Helper()
	admin := db.Client().Database("admin")
	data = append(bson.D{{Key: "appName", Value: appName}}, data...)
	err := admin.RunCommand(t.Context(), bson.D{
		{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: mode}, {Key: "data", Value: data},
	}).Err()
	if err != nil && strings.Contains(err.Error(), "no such command") {
		t.Skip("the server was started without enableTestCommands")
	}
	require.NoError(t, err)
	t.Cleanup(func() {
		_ = admin.RunCommand(context.Background(), bson.D{
			{Key: "configureFailPoint", Value: "failCommand"}, {Key: "mode", Value: "off"},
		}).Err()
	})
}
