package simstore

import (
	"context"
	"fmt"

	"github.com/annals-es/annals/projection"
)

// LoadCheckpoint implements [projection.CheckpointStore].
func (s *Store) LoadCheckpoint(ctx context.Context, key projection.CheckpointKey) (projection.Checkpoint, error) {
	if err := s.begin(ctx, OpLoadCheckpoint, ""); err != nil {
		return projection.Checkpoint{}, err
	}
	s.checkpoints.mu.Lock()
	defer s.checkpoints.mu.Unlock()
	return s.checkpoints.rows[key], nil
}

// SaveCheckpoint implements [projection.CheckpointStore].
func (s *Store) SaveCheckpoint(ctx context.Context, key projection.CheckpointKey, c projection.Checkpoint) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if c.Position < 0 {
		return invalidf("checkpoint's position", "is negative; 0 stands before the first event")
	}
	if err := s.begin(ctx, OpSaveCheckpoint, ""); err != nil {
		return err
	}
	var err error
	s.checkpoints.update(key, func(stored *projection.Checkpoint) {
		if stored.Fence > c.Fence {
			err = fmt.Errorf("save checkpoint %s with fencing token %d: %w (token %d)", key, c.Fence, projection.ErrFenced, stored.Fence)
			return
		}
		stored.Position, stored.Fence = c.Position, c.Fence
	})
	return err
}

// DeleteCheckpoint implements [projection.CheckpointStore].
func (s *Store) DeleteCheckpoint(ctx context.Context, key projection.CheckpointKey) error {
	if err := s.begin(ctx, OpDeleteCheckpoint, ""); err != nil {
		return err
	}
	s.checkpoints.mu.Lock()
	defer s.checkpoints.mu.Unlock()
	delete(s.checkpoints.rows, key)
	return nil
}
