package mongostore

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Tokens is a [TokenStore] on MongoDB, for places of [Watch] and triggers. With a
// transaction in the context a place is saved as part of it. It is safe for
// concurrent use.
type Tokens struct {
	coll *mongo.Collection
	seat *seat
}

var _ TokenStore = (*Tokens)(nil)

// NewTokens returns a TokenStore that keeps its documents in a collection.
func NewTokens(coll *mongo.Collection) *Tokens {
	return &Tokens{coll: coll, seat: newSeat(coll.Database().Client())}
}

// Rebind moves to the collection of the same name on another client, with that
// client's concerns. The channel is closed when nothing uses the old client any
// more. The function suits client.Client.OnSwap.
func (t *Tokens) Rebind(client *mongo.Client) (drained <-chan struct{}) { return t.seat.rebind(client) }

// on returns the collection on the client of the moment, or of the caller's
// transaction, which is in use until leave.
func (t *Tokens) on(ctx context.Context) (coll *mongo.Collection, leave func()) {
	leave = func() {}
	var client *mongo.Client
	if inTransaction(ctx) {
		client = mongo.SessionFromContext(ctx).Client()
	} else {
		on := t.seat.enter()
		client, leave = on.client, on.used.Leave
	}
	if db := t.coll.Database(); db.Client() != client {
		return client.Database(db.Name()).Collection(t.coll.Name()), leave
	}
	return t.coll, leave
}

// LoadToken implements [TokenStore].
func (t *Tokens) LoadToken(ctx context.Context, name string) (bson.Raw, error) {
	coll, leave := t.on(ctx)
	defer leave()
	var doc struct {
		Token bson.Raw `bson:"token"`
	}
	err := coll.FindOne(ctx, bson.D{{Key: "_id", Value: name}}).Decode(&doc)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return nil, nil
	}
	return doc.Token, wrap(fmt.Sprintf("load token %q", name), err)
}

// SaveToken implements [TokenStore].
func (t *Tokens) SaveToken(ctx context.Context, name string, token bson.Raw) error {
	coll, leave := t.on(ctx)
	defer leave()
	_, err := coll.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: name}},
		bson.D{{Key: "$set", Value: bson.D{{Key: "token", Value: token}}}, {Key: "$currentDate", Value: bson.D{{Key: "at", Value: true}}}},
		options.UpdateOne().SetUpsert(true))
	return wrap(fmt.Sprintf("save token %q", name), err)
}
