package mongostore

import (
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// Checkpoints is a [projection.CheckpointStore] on MongoDB. With a transaction in
// the context, a checkpoint is saved as part of it; see [WithTransaction].
type Checkpoints struct{ store *Store }

var _ projection.CheckpointStore = (*Checkpoints)(nil)

// Checkpoints returns the store's checkpoints.
func (s *Store) Checkpoints() *Checkpoints { return &Checkpoints{store: s} }

// checkpointKey is a checkpoint's _id. Its fields are kept apart, so that no name
// of a projection can be taken for another's.
func checkpointKey(k projection.CheckpointKey) bson.D {
	return bson.D{{Key: "projection", Value: k.Projection}, {Key: "version", Value: int64(k.Version)}, {Key: "partition", Value: int64(k.Partition)}}
}

// LoadCheckpoint implements [projection.CheckpointStore].
func (c *Checkpoints) LoadCheckpoint(ctx context.Context, key projection.CheckpointKey) (projection.Checkpoint, error) {
	s := c.store.enter(ctx)
	defer s.leave()
	var doc struct {
		Position eventstore.Position `bson:"position"`
		Fence    int64               `bson:"fence"`
	}
	err := s.points.FindOne(ctx, bson.D{{Key: "_id", Value: checkpointKey(key)}}).Decode(&doc)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return projection.Checkpoint{}, nil
	}
	if err != nil {
		return projection.Checkpoint{}, s.failed(ctx, fmt.Sprintf("load checkpoint %s", key), err)
	}
	return projection.Checkpoint{Position: doc.Position, Fence: doc.Fence}, nil
}

// SaveCheckpoint implements [projection.CheckpointStore].
func (c *Checkpoints) SaveCheckpoint(ctx context.Context, key projection.CheckpointKey, p projection.Checkpoint) error {
	s := c.store.enter(ctx)
	defer s.leave()
	op := fmt.Sprintf("save checkpoint %s", key)
	for attempt := 0; ; attempt++ {
		_, err := s.points.UpdateOne(ctx,
			bson.D{{Key: "_id", Value: checkpointKey(key)}, {Key: "fence", Value: bson.D{{Key: "$lte", Value: p.Fence}}}},
			bson.D{
				{Key: "$set", Value: bson.D{{Key: "position", Value: int64(p.Position)}, {Key: "fence", Value: p.Fence}}},
				{Key: "$currentDate", Value: bson.D{{Key: "at", Value: true}}},
			},
			options.UpdateOne().SetUpsert(true))
		if !mongo.IsDuplicateKeyError(err) {
			return s.failed(ctx, op, err)
		}
		// There is one that does not match: with a higher fence, unless it was
		// only just inserted, which a second attempt finds out. A transaction is
		// over after the first.
		if attempt > 0 || inTransaction(ctx) {
			return fmt.Errorf("%s with fence %d: %w", op, p.Fence, projection.ErrFenced)
		}
	}
}

// DeleteCheckpoint implements [projection.CheckpointStore].
func (c *Checkpoints) DeleteCheckpoint(ctx context.Context, key projection.CheckpointKey) error {
	s := c.store.enter(ctx)
	defer s.leave()
	_, err := s.points.DeleteOne(ctx, bson.D{{Key: "_id", Value: checkpointKey(key)}})
	return s.failed(ctx, fmt.Sprintf("delete checkpoint %s", key), err)
}
