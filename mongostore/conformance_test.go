package mongostore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/eventstore/eventstoretest"
)

func TestConformance(t *testing.T) {
	t.Parallel()
	options := []eventstoretest.Option{eventstoretest.Remote(), eventstoretest.Patience(60 * time.Second)}
	eventstoretest.Run(t, func(t testing.TB) eventstoretest.Store {
		srv := migrated(t)
		require.NoError(t, disconnect(srv.client))
		store := conformant(t, srv)
		closeStore := store.Close
		store.Close = func() error {
			err := closeStore()
			srv.stop()
			return err
		}
		return store
	}, options...)
}

// conformant opens a store with a client of its own, as a process has it.
func conformant(t testing.TB, srv server) eventstoretest.Store {
	srv.client = srv.newClient(t)
	s := srv.open(t, func(c *Config) { c.LeaseTTL = time.Second })
	return eventstoretest.Store{
		EventStore: s,
		Streams:    s,
		Close: func() error {
			if err := s.Close(context.Background()); err != nil {
				return err
			}
			return disconnect(srv.client)
		},
		Second: func(t testing.TB) eventstoretest.Store { return conformant(t, srv) },
	}
}

func disconnect(client *mongo.Client) error {
	if err := client.Disconnect(context.Background()); err != nil && !errors.Is(err, mongo.ErrClientDisconnected) {
		return err
	}
	return nil
}
