package readmodel

import (
	"context"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/projection"
)

// A Backend is a [projection.Backend] on MongoDB. [Open] makes one; it is safe
// for concurrent use, runs nothing on its own account and needs no closing.
type Backend struct {
	projection.LeaseStore

	store *mongostore.Store
	cfg   Config
	bindings
	left stranded

	// observed is the latest operation time of any reply. Reads ask for a state
	// no older: after an election, what a commit builds on includes what the
	// commit before it wrote.
	observed atomic.Uint64

	// made are the collections of models that are known to exist. A
	// transaction that makes a collection by writing to it would meet others
	// that do.
	made sync.Map
}

var _ projection.Backend = (*Backend)(nil)

// Open returns a backend on a connected client, which remains the caller's. It
// makes the collections that are missing; those of models are made when they are
// first written to. The privilege to create collections is needed, then.
//
// Leases are those of store, which inline projections append to; it is on the
// same deployment.
func Open(ctx context.Context, client *mongo.Client, store *mongostore.Store, cfg Config) (*Backend, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return nil, err
	}
	if client == nil || store == nil {
		return nil, &eventstore.InvalidError{What: "readmodel.Open", Reason: "needs a client and an event store, for its leases"}
	}
	b := &Backend{LeaseStore: store.Leases(), store: store, cfg: cfg}
	on := b.bind(client)
	b.on.Store(on)
	for _, c := range []*mongo.Collection{on.checkpoints, on.letters, on.rows} {
		if err := b.make(ctx, c.Name()); err != nil {
			return nil, err
		}
	}
	return b, nil
}

// make makes a collection unless it is known to exist.
func (b *Backend) make(ctx context.Context, name string) error {
	if _, ok := b.made.Load(name); ok {
		return nil
	}
	err := b.boundTo(ctx).db.CreateCollection(ctx, name)
	if err != nil && !hasCode(err, codeNamespaceExists) && !isUnconfirmed(err) {
		return b.failed(ctx, "create collection "+name, err)
	}
	b.made.Store(name, struct{}{})
	return nil
}
