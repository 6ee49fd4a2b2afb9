package mongostore

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/annals-es/annals/eventstore"
)

func TestMigrateMayBeRepeatedAndRaced(t *testing.T) {
	t.Parallel()
	srv := serverFor(t)
	cfg := Config{Database: srv.database}
	errs := make([]error, 4)
	var wg sync.WaitGroup
	for i := range errs {
		wg.Go(func() { errs[i] = Migrate(context.Background(), srv.client, cfg, WithValidator()) })
	}
	wg.Wait()
	for _, err := range errs {
		require.NoError(t, err)
	}
	require.NoError(t, Migrate(testContext(t), srv.client, cfg))
	s := srv.open(t)
	_, err := eventstore.Append(testContext(t), s, "a-1", eventstore.NoStream, eventsUpTo(2)...)
	require.NoError(t, err)
	_, err = s.events.InsertOne(testContext(t), bson.D{{Key: "stream_id", Value: "a-1"}, {Key: "version", Value: "3"}})
	require.Error(t, err, "the validator lets pass what is no event")
	require.ErrorIs(t, Classify("insert", err), ErrInvalidDocument)
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, says string
		spoil      func(ctx context.Context, db *mongo.Database) error
	}{
		{"a database without a store", "Migrate", func(ctx context.Context, db *mongo.Database) error { return db.Drop(ctx) }},
		{"a missing version index", "unique index", func(ctx context.Context, db *mongo.Database) error {
			return db.Collection("events").Indexes().DropOne(ctx, versionIndex)
		}},
		{"a version index that is not unique", "not unique", func(ctx context.Context, db *mongo.Database) error {
			if err := db.Collection("events").Indexes().DropOne(ctx, versionIndex); err != nil {
				return err
			}
			_, err := db.Collection("events").Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "stream_id", Value: 1}, {Key: "version", Value: 1}}, Options: options.Index().SetName("other")})
			return err
		}},
		{"a newer schema", "newer", func(ctx context.Context, db *mongo.Database) error {
			_, err := db.Collection("meta").UpdateOne(ctx, bson.D{{Key: "_id", Value: "schema"}}, bson.D{{Key: "$set", Value: bson.D{{Key: "version", Value: 99}}}})
			return err
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			srv := migrated(t)
			ctx := testContext(t)
			db := srv.client.Database(srv.database, options.Database().SetWriteConcern(writeconcern.Majority()))
			require.NoError(t, c.spoil(ctx, db))
			_, err := Open(ctx, srv.client, Config{Database: srv.database})
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, c.says)
			require.ErrorContains(t, err, "database "+srv.database+" ")
		})
	}
}

// An index that is in the way of Migrate's is not its to drop.
func TestMigrateOverAnotherIndex(t *testing.T) {
	t.Parallel()
	srv := serverFor(t)
	ctx := testContext(t)
	events := srv.client.Database(srv.database).Collection("events")
	_, err := events.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "stream_id", Value: 1}, {Key: "version", Value: 1}}, Options: options.Index().SetName(versionIndex)})
	require.NoError(t, err)
	cfg := Config{Database: srv.database}
	err = Migrate(ctx, srv.client, cfg)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorContains(t, err, "drop it and migrate again")
	require.NoError(t, events.Indexes().DropOne(ctx, versionIndex))
	require.NoError(t, Migrate(ctx, srv.client, cfg))
}

func TestNoClient(t *testing.T) {
	t.Parallel()
	_, err := Open(t.Context(), nil, Config{Database: "shop"})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	require.ErrorIs(t, Migrate(t.Context(), nil, Config{Database: "shop"}), eventstore.ErrInvalid)
}

func TestConfigIsValidated(t *testing.T) {
	t.Parallel()
	for field, cfg := range map[string]Config{
		"Database":      {},
		"Flights":       {Database: "d", Flights: -1},
		"MaxGroup":      {Database: "d", MaxGroup: 20_000},
		"LogBatch":      {Database: "d", LogBatch: 20_000},
		"LeaseTTL":      {Database: "d", LeaseTTL: 1},
		"WriteTimeout":  {Database: "d", WriteTimeout: -1},
		"KeepAppendIDs": {Database: "d", KeepAppendIDs: 1},
		"Sequencing":    {Database: "d", Sequencing: 9},
	} {
		_, err := cfg.withDefaults()
		require.ErrorIs(t, err, eventstore.ErrInvalid, field)
		require.ErrorContains(t, err, "Config."+field)
	}
}
