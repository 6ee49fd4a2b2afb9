package mongostore

import (
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
)

// collections are a store's collections, with the read and write concerns that
// its guarantees rest on, whatever the client's are.
type collections struct {
	db        *mongo.Database
	events    *mongo.Collection
	log       *mongo.Collection
	streams   *mongo.Collection
	appends   *mongo.Collection
	snapshots *mongo.Collection
	points    *mongo.Collection // checkpoints
	leases    *mongo.Collection
	meta      *mongo.Collection
}

func collectionsOf(client *mongo.Client, cfg Config) collections {
	db := client.Database(cfg.Database, options.Database().
		SetReadConcern(readconcern.Majority()).
		SetWriteConcern(writeconcern.Majority()).
		SetReadPreference(readpref.Primary()))
	named := func(name string) *mongo.Collection { return db.Collection(cfg.Prefix + name) }
	return collections{
		db:        db,
		events:    named("events"),
		log:       named("log"),
		streams:   named("streams"),
		appends:   named("appends"),
		snapshots: named("snapshots"),
		points:    named("checkpoints"),
		leases:    named("leases"),
		meta:      named("meta"),
	}
}

// all are the collections that Migrate makes.
func (c *collections) all() []*mongo.Collection {
	return []*mongo.Collection{c.events, c.log, c.streams, c.appends, c.snapshots, c.points, c.leases, c.meta}
}
