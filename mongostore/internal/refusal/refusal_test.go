package refusal_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"

	"github.com/annals-es/annals/mongostore/internal/refusal"
	"github.com/annals-es/annals/simstore/mongosim"
)

func TestIs(t *testing.T) {
	t.Parallel()
	require.False(t, refusal.Is(nil))
	require.False(t, refusal.Is(errors.New("auth error: said by somebody")))
	require.False(t, refusal.Is(mongo.CommandError{Code: 13, Message: "not authorized"}), "known, and may not do this")
	require.True(t, refusal.Is(mongo.CommandError{Code: 18}))
	require.True(t, refusal.Is(fmt.Errorf("wrapped: %w", mongo.CommandError{Code: 391})))
}

// TestPoolsAreClearedForIt has many operations at once be refused. The driver tells
// some of them only that the pool was cleared.
func TestPoolsAreClearedForIt(t *testing.T) {
	t.Parallel()
	server := mongosim.Start(t, func(c *mongosim.Config) { c.Users = []mongosim.User{{Name: "app", Password: "old"}} })
	client, err := mongo.Connect(server.ClientOptions().SetAuth(options.Credential{Username: "app", Password: "old"}))
	require.NoError(t, err)
	defer func() { _ = client.Disconnect(context.Background()) }()
	require.NoError(t, client.Ping(t.Context(), nil))
	require.NoError(t, server.SetUsers(mongosim.User{Name: "app", Password: "new"}))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cleared := false
	for !cleared && ctx.Err() == nil {
		server.DropConnections()
		errs := make([]error, 8)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() { _, errs[i] = client.Database("db").Collection("c").InsertOne(ctx, bson.D{}) })
		}
		all.Wait()
		for _, err := range errs {
			if pool := driver.RetryablePoolError(nil); errors.As(err, &pool) && refusal.Is(err) {
				cleared = true
			}
		}
	}
	require.True(t, cleared, "the driver says so in other words now")
}
