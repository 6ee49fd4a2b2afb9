package projectiontest

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// CheckpointStore holds a checkpoint store to its contract. Setup returns an
// empty store for each test.
func CheckpointStore(t *testing.T, setup func(t *testing.T) projection.CheckpointStore) {
	key := projection.CheckpointKey{Projection: "orders", Version: 1}

	t.Run("none is zero", func(t *testing.T) {
		t.Parallel()
		c, err := setup(t).LoadCheckpoint(t.Context(), key)
		require.NoError(t, err)
		require.Zero(t, c)
	})

	t.Run("saved is loaded", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		for _, want := range []projection.Checkpoint{
			{Position: 1}, {Position: 1 << 40}, {Position: 7}, {Position: 8, Fence: 3}, {},
		} {
			if want.Fence == 0 {
				require.NoError(t, s.DeleteCheckpoint(t.Context(), key), "a checkpoint without a fence follows one with")
			}
			require.NoError(t, s.SaveCheckpoint(t.Context(), key, want))
			got, err := s.LoadCheckpoint(t.Context(), key)
			require.NoError(t, err)
			require.Equal(t, want, got)
		}
	})

	t.Run("keys are apart", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		keys := []projection.CheckpointKey{
			key,
			{Projection: "orders", Version: 2},
			{Projection: "orders", Version: 1, Partition: 1},
			{Projection: "Orders", Version: 1},
			{Projection: "orders ", Version: 1},
			{Projection: "bestellungen-für-müller.✓", Version: 1},
		}
		for i, k := range keys {
			require.NoError(t, s.SaveCheckpoint(t.Context(), k, projection.Checkpoint{Position: eventstore.Position(i + 1)}))
		}
		for i, k := range keys {
			c, err := s.LoadCheckpoint(t.Context(), k)
			require.NoError(t, err)
			require.Equal(t, eventstore.Position(i+1), c.Position, "key %s", k)
		}
	})

	t.Run("may go back", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		require.NoError(t, s.SaveCheckpoint(t.Context(), key, projection.Checkpoint{Position: 10}))
		require.NoError(t, s.SaveCheckpoint(t.Context(), key, projection.Checkpoint{Position: 4}))
		c, err := s.LoadCheckpoint(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, eventstore.Position(4), c.Position)
	})

	t.Run("a lower fence is refused and changes nothing", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		require.NoError(t, s.SaveCheckpoint(t.Context(), key, projection.Checkpoint{Position: 10, Fence: 5}))
		require.NoError(t, s.SaveCheckpoint(t.Context(), key, projection.Checkpoint{Position: 11, Fence: 5}), "the same fence")
		for _, fence := range []int64{0, 4} {
			err := s.SaveCheckpoint(t.Context(), key, projection.Checkpoint{Position: 99, Fence: fence})
			require.ErrorIs(t, err, projection.ErrFenced, "fence %d below 5", fence)
		}
		c, err := s.LoadCheckpoint(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, projection.Checkpoint{Position: 11, Fence: 5}, c)
		require.NoError(t, s.SaveCheckpoint(t.Context(), key, projection.Checkpoint{Position: 12, Fence: 6}), "a higher fence")
	})

	t.Run("deleted is gone", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		require.NoError(t, s.DeleteCheckpoint(t.Context(), key), "there need not be one")
		require.NoError(t, s.SaveCheckpoint(t.Context(), key, projection.Checkpoint{Position: 10}))
		require.NoError(t, s.DeleteCheckpoint(t.Context(), key))
		c, err := s.LoadCheckpoint(t.Context(), key)
		require.NoError(t, err)
		require.Zero(t, c)
	})

	t.Run("concurrent savers leave the highest fence", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		var wg sync.WaitGroup
		errs := make(chan error, 64)
		for fence := int64(1); fence <= 16; fence++ {
			wg.Go(func() {
				for i := range eventstore.Position(4) {
					if err := s.SaveCheckpoint(t.Context(), key, projection.Checkpoint{Position: 100*eventstore.Position(fence) + i, Fence: fence}); err != nil {
						errs <- err
					}
				}
			})
		}
		wg.Wait()
		close(errs)
		for err := range errs {
			require.ErrorIs(t, err, projection.ErrFenced)
		}
		c, err := s.LoadCheckpoint(t.Context(), key)
		require.NoError(t, err)
		require.Equal(t, projection.Checkpoint{Position: 1603, Fence: 16}, c)
	})

	t.Run("a cancelled context is an error", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.LoadCheckpoint(ctx, key)
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, s.SaveCheckpoint(ctx, key, projection.Checkpoint{Position: 1}), context.Canceled)
		require.ErrorIs(t, s.DeleteCheckpoint(ctx, key), context.Canceled)
	})

	t.Run("many keys", func(t *testing.T) {
		t.Parallel()
		s := setup(t)
		for i := range 50 {
			k := projection.CheckpointKey{Projection: fmt.Sprint("p", i%5), Version: 1, Partition: i / 5}
			require.NoError(t, s.SaveCheckpoint(t.Context(), k, projection.Checkpoint{Position: eventstore.Position(i)}))
		}
		for i := range 50 {
			k := projection.CheckpointKey{Projection: fmt.Sprint("p", i%5), Version: 1, Partition: i / 5}
			c, err := s.LoadCheckpoint(t.Context(), k)
			require.NoError(t, err)
			require.Equal(t, eventstore.Position(i), c.Position)
		}
	})
}
