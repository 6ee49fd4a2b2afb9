package readmodel

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

// A checkpoint is stored as package mongostore stores it, with the number of
// commits and the mark of the last one besides.
type checkpointRecord struct {
	Position eventstore.Position `bson:"position"`
	Fence    int64               `bson:"fence"`
	Revision int64               `bson:"revision"`
	Commit   bson.ObjectID       `bson:"commit"`
}

func (r checkpointRecord) checkpoint() projection.Checkpoint {
	return projection.Checkpoint{Position: r.Position, Fence: r.Fence, Revision: r.Revision}
}

func checkpointID(k projection.CheckpointKey) bson.D {
	return bson.D{{Key: "projection", Value: k.Projection}, {Key: "version", Value: int64(k.Version)}, {Key: "partition", Value: int64(k.Partition)}}
}

// LoadCheckpoint implements [projection.CheckpointStore].
func (b *Backend) LoadCheckpoint(ctx context.Context, key projection.CheckpointKey) (projection.Checkpoint, error) {
	r, err := b.loadCheckpoint(ctx, key)
	return r.checkpoint(), err
}

func (b *Backend) loadCheckpoint(ctx context.Context, key projection.CheckpointKey) (r checkpointRecord, err error) {
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return r, err
	}
	defer done()
	err = on.checkpoints.FindOne(run, bson.D{{Key: "_id", Value: checkpointID(key)}}).Decode(&r)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return checkpointRecord{}, nil
	}
	return r, b.failed(ctx, fmt.Sprintf("load checkpoint %s", key), err)
}

// SaveCheckpoint implements [projection.CheckpointStore].
func (b *Backend) SaveCheckpoint(ctx context.Context, key projection.CheckpointKey, p projection.Checkpoint) error {
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	op := fmt.Sprintf("save checkpoint %s", key)
	for attempt := 0; ; attempt++ {
		_, err := on.checkpoints.UpdateOne(run,
			bson.D{{Key: "_id", Value: checkpointID(key)}, {Key: "fence", Value: bson.D{{Key: "$lte", Value: p.Fence}}}},
			bson.D{
				{Key: "$set", Value: bson.D{{Key: "position", Value: int64(p.Position)}, {Key: "fence", Value: p.Fence}}},
				{Key: "$currentDate", Value: bson.D{{Key: "at", Value: true}}},
			},
			options.UpdateOne().SetUpsert(true))
		if !hasCode(err, codeDuplicateKey) {
			return b.failed(ctx, op, err)
		}
		// There is one that does not match: with a higher fence, unless it was
		// only just inserted, which a second attempt finds out. A transaction is
		// over after the first.
		if attempt > 0 || inTransaction(ctx) {
			return fmt.Errorf("%s with fencing token %d: %w", op, p.Fence, projection.ErrFenced)
		}
	}
}

// DeleteCheckpoint implements [projection.CheckpointStore].
func (b *Backend) DeleteCheckpoint(ctx context.Context, key projection.CheckpointKey) error {
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	_, err = on.checkpoints.DeleteOne(run, bson.D{{Key: "_id", Value: checkpointID(key)}})
	return b.failed(ctx, fmt.Sprintf("delete checkpoint %s", key), err)
}
