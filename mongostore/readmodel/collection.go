package readmodel

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/projection"
)

// Collections gives readers the collection that holds the documents of a
// projection's current version, as package query takes it. It is safe for
// concurrent use.
type Collections struct {
	backend  *Backend
	resolver *projection.Resolver
}

// Collections returns the read models of all projections on the backend. Its
// answers are at most maxStale old, a second when zero: for so long after a
// promotion or a rollback readers may still ask the version before, which is kept
// for much longer.
func (b *Backend) Collections(maxStale time.Duration) *Collections {
	return &Collections{backend: b, resolver: projection.NewResolver(b, maxStale)}
}

// Collection returns the collection of a projection's current version. Its
// documents have their key in _id. It is meant for one query and not to be kept:
// another version may be the current one next time. It is
// [projection.ErrNotBuilt] while the first version is being built.
//
// Reads have the backend's concerns: from the primary, what a majority has.
func (c *Collections) Collection(ctx context.Context, name string) (*mongo.Collection, error) {
	model, _, err := c.resolver.Model(ctx, name)
	if err != nil {
		return nil, err
	}
	return c.backend.Model(model)
}

// Model returns the collection of a model by its own name, see
// [projection.ModelName]: to make indexes on a version that is still being built,
// for instance.
func (b *Backend) Model(model string) (*mongo.Collection, error) {
	name, err := b.collectionOf(model)
	if err != nil {
		return nil, err
	}
	return b.on.Load().db.Collection(name), nil
}
