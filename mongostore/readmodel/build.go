package readmodel

import (
	"context"
	"fmt"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

const (
	// inlinePartition keeps the checkpoints of inline models apart from those of
	// workers.
	inlinePartition = -1
	// buildBatch is the number of events that are folded at once.
	buildBatch = 5_000
)

// Rebuild makes the models anew from the log: when a projection is put inline
// that has a history, or was changed. Nobody may append until it has returned
// nil, nor rely on the models. Where it was broken off it goes on with the next
// call. It begins by waiting until the log has all events: some store must write
// the log, as that of the backend does unless it was told not to.
func (in *Inline) Rebuild(ctx context.Context) error {
	head, err := in.backend.store.AwaitAll(ctx)
	if err != nil {
		return fmt.Errorf("rebuild inline models: %w", err)
	}
	for _, m := range in.models {
		if err := in.rebuild(ctx, m, head); err != nil {
			return fmt.Errorf("rebuild model %s: %w", m.name, err)
		}
	}
	return nil
}

func (in *Inline) rebuild(ctx context.Context, m inlineModel, head eventstore.Position) error {
	key := projection.CheckpointKey{Projection: m.plan.Name, Version: m.plan.Version, Partition: inlinePartition}
	at, err := in.backend.LoadCheckpoint(ctx, key)
	if err != nil {
		return err
	}
	if at == (projection.Checkpoint{}) { // nothing was begun
		if err := in.backend.DropModel(ctx, m.name); err != nil {
			return err
		}
	}
	q := eventstore.LogQuery{After: at.Position, Filter: m.plan.Filter}
	var batch []eventstore.Event
	flush := func(to eventstore.Position) error {
		at, err = in.foldBatch(ctx, m, key, at, batch, to)
		batch = batch[:0]
		return err
	}
	for e, err := range in.ReadLog(ctx, q) {
		if err != nil {
			return err
		}
		if e.Position > head {
			break
		}
		if batch = append(batch, e); len(batch) == buildBatch {
			if err := flush(e.Position); err != nil {
				return err
			}
		}
	}
	if err := flush(head); err != nil {
		return err
	}
	return in.backend.DeleteCheckpoint(ctx, key)
}

// foldBatch folds events into the model and moves the checkpoint to a position.
func (in *Inline) foldBatch(ctx context.Context, m inlineModel, key projection.CheckpointKey, at projection.Checkpoint, events []eventstore.Event, to eventstore.Position) (projection.Checkpoint, error) {
	load := func(ctx context.Context, keys []string) ([]projection.Document, error) {
		return in.backend.LoadDocuments(ctx, m.name, keys)
	}
	err := m.plan.FoldInto(ctx, m.name, events, load, func(ctx context.Context, changes []projection.Change, applied int) error {
		c := projection.Commit{Key: key, From: at, To: to, Changes: changes}
		if applied < len(events) {
			c.To = events[applied].Position - 1
		}
		var err error
		at, err = in.backend.Commit(ctx, c)
		return err
	})
	return at, err
}
