package query_test

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/simstore/mongosim"
)

// simulated starts a simulated server for one test and connects to it.
func simulated(t testing.TB, opts ...*options.ClientOptions) *mongo.Client {
	t.Helper()
	return mongosim.Start(t).Client(t, opts...)
}
