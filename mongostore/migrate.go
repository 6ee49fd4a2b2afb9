package mongostore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
)

// schemaVersion is the version of what is stored. A database of a newer one is
// refused.
const schemaVersion = 1

const (
	versionIndex  = "stream_version"
	appendsIndex  = "at_ttl"
	snapshotIndex = "stream"
)

// Migrate makes the collections and indexes that a store needs, or brings those
// of an older version up to date. It may be repeated and run by several
// processes at once. It needs the privileges to create collections and indexes,
// which a running store does not.
//
// With validators, MongoDB itself refuses documents that are not events from
// being inserted into the events collection by other programs.
func Migrate(ctx context.Context, client *mongo.Client, cfg Config, opts ...MigrateOption) error {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return err
	}
	if client == nil {
		return errNoClient()
	}
	m := migration{collections: collectionsOf(client, cfg), cfg: cfg}
	for _, opt := range opts {
		opt(&m)
	}
	if err := checkServer(ctx, client); err != nil {
		return err
	}
	if err := checkSchema(ctx, &m.collections, false); err != nil {
		return err
	}
	for _, step := range []func(context.Context) error{m.createCollections, m.createIndexes, m.setTTL, m.setValidator, m.setSchema} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("migrate database %s: %w", cfg.Database, err)
		}
	}
	return nil
}

// A MigrateOption is an option of [Migrate].
type MigrateOption func(*migration)

// WithValidator makes Migrate set a validator on the events collection.
func WithValidator() MigrateOption { return func(m *migration) { m.validate = true } }

type migration struct {
	collections
	cfg      Config
	validate bool
}

// createCollections makes all collections beforehand: one that came into being
// with its first document, inside a transaction, would make concurrent first
// appends fail.
func (m *migration) createCollections(ctx context.Context) error {
	for _, c := range m.all() {
		if err := m.db.CreateCollection(ctx, c.Name()); err != nil && !hasCode(err, codeNamespaceExists) {
			return wrap("create collection "+c.Name(), err)
		}
	}
	return nil
}

func (m *migration) createIndexes(ctx context.Context) error {
	indexes := []struct {
		on    *mongo.Collection
		model mongo.IndexModel
	}{
		{m.events, mongo.IndexModel{
			Keys:    bson.D{{Key: "stream_id", Value: 1}, {Key: "version", Value: 1}},
			Options: options.Index().SetName(versionIndex).SetUnique(true),
		}},
		{m.snapshots, mongo.IndexModel{
			Keys:    bson.D{{Key: "stream_id", Value: 1}},
			Options: options.Index().SetName(snapshotIndex),
		}},
	}
	for _, ix := range indexes {
		_, err := ix.on.Indexes().CreateOne(ctx, ix.model)
		if hasCode(err, 85, 86) { // IndexOptionsConflict, IndexKeySpecsConflict
			return &eventstore.InvalidError{What: "collection " + ix.on.Name(), Reason: fmt.Sprintf("has another index of the same fields or name than the one to be made; drop it and migrate again: %v", err)}
		}
		if err != nil {
			return wrap("create an index on "+ix.on.Name(), err)
		}
	}
	return nil
}

// setTTL makes the index that lets ids of appends expire, or changes its time.
func (m *migration) setTTL(ctx context.Context) error {
	seconds := int32(m.cfg.KeepAppendIDs / time.Second)
	_, err := m.appends.Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys:    bson.D{{Key: "at", Value: 1}},
		Options: options.Index().SetName(appendsIndex).SetExpireAfterSeconds(seconds),
	})
	if hasCode(err, 85, 86) { // IndexOptionsConflict, IndexKeySpecsConflict: it exists with another time
		err = m.db.RunCommand(ctx, bson.D{
			{Key: "collMod", Value: m.appends.Name()},
			{Key: "index", Value: bson.D{{Key: "name", Value: appendsIndex}, {Key: "expireAfterSeconds", Value: seconds}}},
		}).Err()
	}
	return wrap("create an index on "+m.appends.Name(), err)
}

func (m *migration) setValidator(ctx context.Context) error {
	if !m.validate {
		return nil
	}
	err := m.db.RunCommand(ctx, bson.D{
		{Key: "collMod", Value: m.events.Name()},
		{Key: "validator", Value: bson.D{{Key: "$jsonSchema", Value: bson.D{
			{Key: "required", Value: bson.A{"stream_id", "version", "event_type"}},
			{Key: "properties", Value: bson.D{
				{Key: "_id", Value: bson.D{{Key: "bsonType", Value: "objectId"}}},
				{Key: "stream_id", Value: bson.D{{Key: "bsonType", Value: "string"}, {Key: "minLength", Value: 1}}},
				{Key: "version", Value: bson.D{{Key: "bsonType", Value: "long"}, {Key: "minimum", Value: 1}}},
				{Key: "event_type", Value: bson.D{{Key: "bsonType", Value: "string"}, {Key: "minLength", Value: 1}}},
				{Key: "timestamp", Value: bson.D{{Key: "bsonType", Value: "date"}}},
				{Key: "event_id", Value: bson.D{{Key: "bsonType", Value: "binData"}}},
			}},
		}}}},
	}).Err()
	return wrap("set the validator of "+m.events.Name(), err)
}

func (m *migration) setSchema(ctx context.Context) error {
	_, err := m.meta.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: "schema"}},
		bson.D{{Key: "$max", Value: bson.D{{Key: "version", Value: int32(schemaVersion)}}}},
		options.UpdateOne().SetUpsert(true))
	if mongo.IsDuplicateKeyError(err) { // another process was quicker
		return nil
	}
	return wrap("write the schema's version", err)
}

// errNotMigrated says what to do about a database that is not ready.
func errNotMigrated(format string, args ...any) error {
	return &eventstore.InvalidError{What: "database", Reason: fmt.Sprintf(format, args...) + "; run mongostore.Migrate"}
}

// check refuses what the store cannot run on.
func check(ctx context.Context, client *mongo.Client, c *collections) error {
	if err := checkServer(ctx, client); err != nil {
		return err
	}
	if err := checkSchema(ctx, c, true); err != nil {
		return err
	}
	return checkVersionIndex(ctx, c)
}

// minWireVersion is that of MongoDB 4.4.
const minWireVersion = 9

func checkServer(ctx context.Context, client *mongo.Client) error {
	var hello struct {
		SetName string `bson:"setName"`
		Msg     string `bson:"msg"`
		Wire    int32  `bson:"maxWireVersion"`
	}
	if err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		if !hasCode(err, 59) { // CommandNotFound: before 4.4.2
			return wrap("ask the server what it is", err)
		}
		if err := client.Database("admin").RunCommand(ctx, bson.D{{Key: "isMaster", Value: 1}}).Decode(&hello); err != nil {
			return wrap("ask the server what it is", err)
		}
	}
	switch {
	case hello.Wire < minWireVersion:
		return &eventstore.InvalidError{What: "server", Reason: fmt.Sprintf("speaks wire version %d; MongoDB 4.4 (wire version %d) or newer is needed", hello.Wire, minWireVersion)}
	case hello.SetName == "" && hello.Msg != "isdbgrid":
		return &eventstore.InvalidError{
			What:   "server",
			Reason: "is a standalone, which has neither transactions nor change streams; start it with --replSet and run rs.initiate() once, a set of one member is enough",
		}
	}
	return nil
}

func checkSchema(ctx context.Context, c *collections, required bool) error {
	var doc struct {
		Version int32 `bson:"version"`
	}
	err := c.meta.FindOne(ctx, bson.D{{Key: "_id", Value: "schema"}}).Decode(&doc)
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		if required {
			return errNotMigrated("%s holds no event store yet", c.db.Name())
		}
		return nil
	case err != nil:
		return wrap("read the schema's version", err)
	case doc.Version > schemaVersion:
		return &eventstore.InvalidError{What: "database", Reason: fmt.Sprintf("%s has schema version %d and this program knows up to %d; use a newer one", c.db.Name(), doc.Version, schemaVersion)}
	case doc.Version < schemaVersion && required:
		return errNotMigrated("%s has schema version %d, this program needs %d", c.db.Name(), doc.Version, schemaVersion)
	}
	return nil
}

// checkVersionIndex looks for the one index that everything rests on.
func checkVersionIndex(ctx context.Context, c *collections) error {
	specs, err := c.events.Indexes().ListSpecifications(ctx)
	if err != nil {
		return wrap("list the indexes of "+c.events.Name(), err)
	}
	for _, spec := range specs {
		if !isVersionKey(spec.KeysDocument) {
			continue
		}
		if spec.Unique == nil || !*spec.Unique || (spec.Sparse != nil && *spec.Sparse) {
			return errNotMigrated("%s has an index %s on collection %s that is not unique, or is sparse: drop it", c.db.Name(), spec.Name, c.events.Name())
		}
		return nil
	}
	return errNotMigrated("%s has no unique index on stream_id and version of collection %s", c.db.Name(), c.events.Name())
}

func isVersionKey(keys bson.Raw) bool {
	elems, err := keys.Elements()
	if err != nil || len(elems) != 2 {
		return false
	}
	for i, name := range []string{"stream_id", "version"} {
		dir, ok := elems[i].Value().AsInt64OK()
		if elems[i].Key() != name || !ok || dir != 1 {
			return false
		}
	}
	return true
}
