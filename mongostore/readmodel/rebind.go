package readmodel

import (
	"context"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/annals-es/annals/mongostore/internal/handover"
)

// A binding is what of a backend belongs to one client of the driver. An
// operation stays on the one that it has entered: sessions and collections of
// different clients do not mix.
type binding struct {
	client      *mongo.Client
	db          *mongo.Database
	checkpoints *mongo.Collection
	letters     *mongo.Collection
	rows        *mongo.Collection
	used        handover.Use
}

// bindings are the present binding, and the one before for the sake of
// transactions that were begun on its client.
type bindings struct {
	on     atomic.Pointer[binding]
	before atomic.Pointer[binding]
	moving sync.Mutex
}

func (b *Backend) bind(client *mongo.Client) *binding {
	db := client.Database(b.cfg.Database, options.Database().
		SetReadConcern(readconcern.Majority()).
		SetWriteConcern(writeconcern.Majority()).
		SetReadPreference(readpref.Primary()))
	named := func(name string) *mongo.Collection { return db.Collection(b.cfg.Prefix + name) }
	return &binding{
		client:      client,
		db:          db,
		checkpoints: named("checkpoints"),
		letters:     named(lettersName),
		rows:        named("projection_rows"),
	}
}

// Rebind moves the backend to another client of the same deployment, as after a
// change of credentials. What is under way ends on the old one, and nothing fails
// for it. The channel is closed when nothing uses the old client any more. It is
// handed to client.Client.OnSwap after the event store's, which is to move first:
//
//	c.OnSwap(store.Rebind)
//	c.OnSwap(backend.Rebind)
func (b *Backend) Rebind(client *mongo.Client) (drained <-chan struct{}) {
	b.moving.Lock()
	defer b.moving.Unlock()
	old := b.on.Load()
	if old.client == client {
		return handover.Nothing()
	}
	b.before.Store(old)
	b.on.Store(b.bind(client))
	return old.used.Retire()
}

// enter returns the binding of the moment, or that of the caller's transaction,
// which stays in use until it is left.
func (b *Backend) enter(ctx context.Context) *binding {
	if inTransaction(ctx) {
		on := b.boundTo(ctx)
		on.used.MustEnter()
		return on
	}
	for {
		if on := b.on.Load(); on.used.Enter() {
			return on
		}
	}
}

// boundTo returns the binding to the client of the session that ctx carries, the
// one of the moment when it carries none.
func (b *Backend) boundTo(ctx context.Context) *binding {
	if sess := mongo.SessionFromContext(ctx); sess != nil {
		if before := b.before.Load(); before != nil && before.client == sess.Client() {
			return before
		}
	}
	return b.on.Load()
}
