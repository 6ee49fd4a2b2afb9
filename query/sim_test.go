package query_test

import (
	"testing"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

func simulated(t testing.TB, opts ...*options.ClientOptions) *mongo.Client {
	t.Skip("no server")
	return nil
}
