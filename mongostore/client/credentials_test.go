package client_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/mongostore/client"
	"github.com/annals-es/annals/simstore/mongosim"
)

func withUsers(c *mongosim.Config) {
	c.Users = []mongosim.User{{Name: "first", Password: "pw 1"}, {Name: "second", Password: "pw/2"}}
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	user, password := write(t, dir, "user", []byte("first\n")), write(t, dir, "password", []byte(" pw 1\n"))
	vars := lookup(map[string]string{"U": "first", "P": "pw 1"})
	for name, c := range map[string]struct {
		provider client.Provider
		want     string
	}{
		"static":         {client.Static(client.Credential{Username: "first", Password: "pw 1"}), ""},
		"files":          {client.FromFiles(user, password, 0), ""},
		"environment":    {client.FromVariables(vars, "U", "P"), ""},
		"wrong password": {client.Static(client.Credential{Username: "first", Password: "hunter2"}), "auth"},
		"none":           {nil, "auth"},
		"no file":        {client.FromFiles(user, filepath.Join(dir, "none"), 0), "read credentials"},
		"empty file":     {client.FromFiles(write(t, dir, "empty", []byte("\n")), password, 0), "is empty"},
		"no user":        {client.FromVariables(vars, "X", "P"), "X is not set"},
		"no password":    {client.FromVariables(vars, "U", "X"), "X is not set"},
		"provider failed": {client.ProviderFunc(func(context.Context) (client.Credential, error) {
			return client.Credential{}, errors.New("vault is sealed")
		}), "vault is sealed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cl, err := connect(t, mongosim.Start(t, withUsers), client.Config{Credentials: c.provider})
			if err == nil {
				_, err = cl.Mongo().Database("db").Collection("c").InsertOne(t.Context(), bson.D{{Key: "x", Value: 1}})
			}
			if c.want == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.want)
			require.NotContains(t, err.Error(), "hunter2")
			require.NotContains(t, err.Error(), "pw 1")
		})
	}
}

// rotating gives one credential and then another, each valid for a short time.
func rotating(calls *atomic.Int64, validity time.Duration) client.Provider {
	return client.ProviderFunc(func(context.Context) (client.Credential, error) {
		c := client.Credential{Username: "first", Password: "pw 1"}
		if calls.Add(1)%2 == 0 {
			c = client.Credential{Username: "second", Password: "pw/2"}
		}
		c.Expires = time.Now().Add(validity)
		return c, nil
	})
}

// TestRotationUnderLoad swaps credentials again and again while operations are
// under way; none fails.
func TestRotationUnderLoad(t *testing.T) {
	t.Parallel()
	var calls, swaps, done atomic.Int64
	c, err := connect(t, mongosim.Start(t, withUsers), client.Config{Credentials: rotating(&calls, 60*time.Millisecond), MinPool: 1})
	require.NoError(t, err)
	c.OnSwap(func(*mongo.Client) <-chan struct{} { swaps.Add(1); return nil })
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for swaps.Load() < 5 {
				err := c.Use(t.Context(), func(ctx context.Context, m *mongo.Client) error {
					_, err := m.Database("db").Collection("c").InsertOne(ctx, bson.D{})
					return err
				})
				if err != nil {
					t.Errorf("after %d swaps: %v", swaps.Load(), err)
					return
				}
				done.Add(1)
			}
		})
	}
	wg.Wait()
	n, err := c.Mongo().Database("db").Collection("c").CountDocuments(t.Context(), bson.D{})
	require.NoError(t, err)
	require.Equal(t, done.Load(), n, "each operation was made once")
}

// TestRefusedCredentialsAreRefreshed has the server refuse an operation's
// connection.
func TestRefusedCredentialsAreRefreshed(t *testing.T) {
	t.Parallel()
	server := mongosim.Start(t, withUsers)
	var calls atomic.Int64
	c, err := connect(t, server, client.Config{Credentials: rotating(&calls, time.Hour)})
	require.NoError(t, err)
	require.NoError(t, server.FailCommand(mongosim.FailPoint{Commands: []string{"count", "aggregate"}, Times: 1, ErrorCode: 391, ErrorLabels: []string{}}))
	require.NoError(t, c.Use(t.Context(), func(ctx context.Context, m *mongo.Client) error {
		_, err := m.Database("db").Collection("c").CountDocuments(ctx, bson.D{})
		return err
	}))
	require.EqualValues(t, 2, calls.Load())
}

func TestRefreshThatFailsKeepsTheOldClient(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	c, err := connect(t, mongosim.Start(t, withUsers), client.Config{ServerSelectionTimeout: 10 * time.Second, Credentials: client.ProviderFunc(
		func(context.Context) (client.Credential, error) {
			if calls.Add(1) > 1 {
				return client.Credential{Username: "first", Password: "wrong"}, nil
			}
			return client.Credential{Username: "first", Password: "pw 1"}, nil
		})})
	require.NoError(t, err)
	before := c.Mongo()
	require.Error(t, c.Refresh(t.Context()))
	require.Same(t, before, c.Mongo())
	require.NoError(t, c.Mongo().Ping(t.Context(), nil))
}

func TestSameCredentialsKeepTheClient(t *testing.T) {
	t.Parallel()
	c, err := connect(t, mongosim.Start(t, withUsers), client.Config{Credentials: client.Static(client.Credential{Username: "first", Password: "pw 1"})})
	require.NoError(t, err)
	before := c.Mongo()
	require.NoError(t, c.Refresh(t.Context()))
	require.Same(t, before, c.Mongo())
}

func TestWaitQueue(t *testing.T) {
	t.Parallel()
	c, err := connect(t, mongosim.Start(t), client.Config{MaxPool: 1, WaitQueueTimeout: 20 * time.Millisecond})
	require.NoError(t, err)
	nothing := func(context.Context, *mongo.Client) error { return nil }
	require.NoError(t, c.Use(t.Context(), func(ctx context.Context, _ *mongo.Client) error {
		require.ErrorIs(t, c.Use(ctx, nothing), client.ErrPoolExhausted)
		ctx, cancel := context.WithCancel(ctx)
		cancel()
		require.ErrorIs(t, c.Use(ctx, nothing), context.Canceled)
		return nil
	}))
	require.NoError(t, c.Use(t.Context(), nothing))
	require.NoError(t, c.Close(t.Context()))
	require.ErrorIs(t, c.Use(t.Context(), nothing), client.ErrClosed)
	require.NoError(t, c.Refresh(t.Context()))
}
