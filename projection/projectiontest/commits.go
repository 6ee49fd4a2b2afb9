package projectiontest

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// Commits holds a backend's commits to their contract. Setup returns an empty
// backend for each test.
func Commits(t *testing.T, setup func(t *testing.T) projection.Backend) {
	const model = "orders_v1"

	t.Run("the checkpoint moves with the documents", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		c.commit(put(t, model, "a", 1))
		c.unchanged()
		step := c.step(put(t, model, "a", 2))
		step.To, step.Fence = 1000, 7
		c.do(step)
		c.unchanged()
		step = c.step()
		step.To = c.from.Position
		c.do(step)
		step = c.step()
		step.To = 5
		c.do(step)
		c.unchanged()
		other := newCommitter(t, b)
		other.key.Partition = 1
		other.commit(put(t, model, "b", 1))
		other.unchanged()
		c.unchanged()
	})

	t.Run("a document that is said to be new", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		change := func(key string, n int64) projection.Change {
			change := put(t, model, key, n)
			change.New = true
			return change
		}
		c.commit(change("a", 1), put(t, model, "b", 2))
		// It need not be.
		c.commit(change("a", 3), change("b", 4), change("c", 5))
		c.unchanged()
		require.Equal(t, map[string]int64{"a": 3, "b": 4, "c": 5}, numbers(t, b, model, "a", "b", "c"))
	})

	t.Run("a saved checkpoint is built upon", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		require.NoError(t, b.SaveCheckpoint(t.Context(), c.key, projection.Checkpoint{Position: 50, Fence: 2}))
		c.from = projection.Checkpoint{Position: 50, Fence: 2}
		c.commit(put(t, model, "a", 1))
		require.NoError(t, b.SaveCheckpoint(t.Context(), c.key, projection.Checkpoint{Position: 9, Fence: 3}))
		c.from = projection.Checkpoint{Position: 9, Fence: 3, Revision: 1}
		c.unchanged()
	})

	t.Run("the same commit again is refused", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		first := c.step(put(t, model, "a", 1))
		c.do(first)
		_, err := b.Commit(t.Context(), first)
		require.ErrorIs(t, err, projection.ErrMoved)
		c.commit(put(t, model, "a", 2))
		_, err = b.Commit(t.Context(), first)
		require.ErrorIs(t, err, projection.ErrMoved)
		require.Equal(t, map[string]int64{"a": 2}, numbers(t, b, model, "a"))
		c.unchanged()
	})

	t.Run("one that does not move on is refused again, too", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		c.commit()
		step := c.step(put(t, model, "a", 1))
		step.To = step.From.Position
		c.do(step)
		_, err := b.Commit(t.Context(), step)
		require.ErrorIs(t, err, projection.ErrMoved)
	})

	t.Run("a lower fence is refused", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		step := c.step(put(t, model, "a", 1))
		step.Fence = 5
		c.do(step)
		step = c.step(put(t, model, "a", 2))
		step.Fence = 4
		_, err := b.Commit(t.Context(), step)
		require.ErrorIs(t, err, projection.ErrFenced)
		require.NotErrorIs(t, err, projection.ErrMoved)
		require.ErrorIs(t, b.SaveCheckpoint(t.Context(), c.key, projection.Checkpoint{Position: 9, Fence: 4}), projection.ErrFenced)
		require.Equal(t, map[string]int64{"a": 1}, numbers(t, b, model, "a"))
		c.unchanged()
	})

	t.Run("of many that build on the same one wins", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		for round := range 4 {
			var won atomic.Int64
			var wg sync.WaitGroup
			for i := range 6 {
				step := c.step(put(t, model, "a", int64(i)), put(t, model, "b", int64(i)))
				wg.Go(func() {
					_, err := b.Commit(t.Context(), step)
					switch {
					case err == nil:
						require.Zero(t, won.Swap(int64(i+1)), "a second one has won")
					case !errors.Is(err, projection.ErrMoved):
						t.Errorf("round %d: %v", round, err)
					}
				})
			}
			wg.Wait()
			require.NotZero(t, won.Load())
			require.Equal(t, map[string]int64{"a": won.Load() - 1, "b": won.Load() - 1}, numbers(t, b, model, "a", "b"))
			c.from.Position++
			c.from.Revision++
			c.unchanged()
		}
	})

	t.Run("partitions do not hinder each other", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		var wg sync.WaitGroup
		for p := range 4 {
			c := newCommitter(t, b)
			c.key.Partition = p
			wg.Go(func() {
				for i := range 10 {
					step := c.step(put(t, model, fmt.Sprint(p), int64(i)))
					next, err := b.Commit(t.Context(), step)
					if err != nil {
						t.Errorf("partition %d: %v", p, err)
						return
					}
					c.from = next
				}
			})
		}
		wg.Wait()
		require.Equal(t, map[string]int64{"0": 9, "1": 9, "2": 9, "3": 9}, numbers(t, b, model, "0", "1", "2", "3"))
	})

	t.Run("several models in one", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		c.commit(put(t, model, "a", 1), put(t, "other_v1", "a", 2))
		require.Equal(t, map[string]int64{"a": 1}, numbers(t, b, model, "a"))
		require.Equal(t, map[string]int64{"a": 2}, numbers(t, b, "other_v1", "a"))
	})

	t.Run("what makes no sense is refused", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		_, err := b.Commit(t.Context(), c.step(put(t, model, "a", 1), remove(model, "a")))
		require.ErrorIs(t, err, eventstore.ErrInvalid, "two changes of a document")
		both := put(t, model, "a", 1)
		both.Updates = []any{projection.Patch{}}
		_, err = b.Commit(t.Context(), c.step(both))
		require.ErrorIs(t, err, eventstore.ErrInvalid, "data and updates")
		step := c.step()
		step.To = -1
		_, err = b.Commit(t.Context(), step)
		require.ErrorIs(t, err, eventstore.ErrInvalid, "a negative position")
		_, err = b.Commit(cancelled(t), c.step(put(t, model, "a", 1)))
		require.Error(t, err)
		require.Empty(t, numbers(t, b, model, "a"))
		c.unchanged()
	})

	t.Run("too much for one commit is refused", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		var changes []projection.Change
		for i := range 4 {
			changes = append(changes, projection.Change{Model: model, Key: fmt.Sprint(i), Data: encode(t, doc{Name: strings.Repeat("x", 15<<20)})})
		}
		_, err := b.Commit(t.Context(), c.step(changes...))
		require.ErrorIs(t, err, eventstore.ErrTooLarge)
		c.unchanged()
		c.commit(changes[0])
	})
}
