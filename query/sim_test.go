package query_test

import (
	"testing"

	"github.com/annals-es/annals/simstore/mongosim"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// simulated starts a simulated server for one test and connects to it.
func simulated(t testing.TB, opts ...*options.ClientOptions) *mongo.Client {
	t.Helper()
	return mongosim.Start(t).Client(t, opts...)
}
