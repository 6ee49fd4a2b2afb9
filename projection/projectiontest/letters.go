package projectiontest

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// DeadLetters holds a backend's dead letters to their contract. Setup returns an
// empty backend for each test.
func DeadLetters(t *testing.T, setup func(t *testing.T) projection.Backend) {
	letter := func(key string, position eventstore.Position) projection.DeadLetter {
		return projection.DeadLetter{
			LetterID: projection.LetterID{Projection: "p", Version: 1, Key: key, Position: position},
			Event:    event(position),
			Error:    "no such customer",
			Attempts: 3,
			First:    time.UnixMilli(1_700_000_000_001).UTC(),
			Last:     time.UnixMilli(1_700_000_000_002).UTC(),
		}
	}
	list := func(t *testing.T, b projection.Backend, q projection.LetterQuery) []projection.LetterID {
		t.Helper()
		q.Projection, q.Version = "p", 1
		letters, err := b.DeadLetters(t.Context(), q)
		require.NoError(t, err)
		var ids []projection.LetterID
		for _, l := range letters {
			ids = append(ids, l.LetterID)
		}
		return ids
	}

	t.Run("parked with the commit, and as they were", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		want := letter("a", 7)
		step := c.step()
		step.Parked = []projection.DeadLetter{want}
		c.do(step)
		letters, err := b.DeadLetters(t.Context(), projection.LetterQuery{Projection: "p", Version: 1})
		require.NoError(t, err)
		require.Equal(t, []projection.DeadLetter{want}, letters)

		want.Attempts, want.Error, want.Last = 4, "still none", want.Last.Add(time.Hour)
		step = c.step()
		step.Parked = []projection.DeadLetter{want}
		c.do(step)
		letters, err = b.DeadLetters(t.Context(), projection.LetterQuery{Projection: "p", Version: 1})
		require.NoError(t, err)
		require.Equal(t, []projection.DeadLetter{want}, letters, "written over")
	})

	t.Run("an event without metadata, in BSON", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		want := letter("a", 7)
		want.Event.Metadata, want.Event.Format, want.Event.Data = eventstore.Metadata{}, eventstore.BSON, encode(t, doc{N: 1})
		step := c.step()
		step.Parked = []projection.DeadLetter{want}
		c.do(step)
		letters, err := b.DeadLetters(t.Context(), projection.LetterQuery{Projection: "p", Version: 1})
		require.NoError(t, err)
		require.Len(t, letters, 1)
		require.True(t, want.Event.Equal(letters[0].Event), "%+v", letters[0].Event)
	})

	t.Run("a refused commit parks nothing", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		c.commit()
		step := c.step()
		step.From.Revision = 77
		step.Parked = []projection.DeadLetter{letter("a", 1)}
		_, err := b.Commit(t.Context(), step)
		require.ErrorIs(t, err, projection.ErrMoved)
		require.Empty(t, list(t, b, projection.LetterQuery{}))
	})

	t.Run("listed by position, key and limit", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		other := letter("a", 1)
		other.Version = 2
		step := c.step()
		step.Parked = []projection.DeadLetter{letter("b", 10), letter("a", 2), letter("a", 10), letter("c", 5), other}
		c.do(step)
		id := func(key string, p eventstore.Position) projection.LetterID { return letter(key, p).LetterID }
		require.Equal(t, []projection.LetterID{id("a", 2), id("c", 5), id("a", 10), id("b", 10)}, list(t, b, projection.LetterQuery{}))
		require.Equal(t, []projection.LetterID{id("a", 2), id("a", 10)}, list(t, b, projection.LetterQuery{Key: "a"}))
		require.Equal(t, []projection.LetterID{id("a", 10)}, list(t, b, projection.LetterQuery{Key: "a", After: 2}))
		require.Equal(t, []projection.LetterID{id("c", 5)}, list(t, b, projection.LetterQuery{After: 2, Limit: 1}))
		_, err := b.DeadLetters(t.Context(), projection.LetterQuery{Limit: -1})
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		keys, err := b.ParkedKeys(t.Context(), "p", 1)
		require.NoError(t, err)
		require.Equal(t, map[string]int{"a": 2, "b": 1, "c": 1}, keys)
		keys, err = b.ParkedKeys(t.Context(), "q", 1)
		require.NoError(t, err)
		require.Empty(t, keys)
	})

	t.Run("unparked and dropped", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		other := letter("a", 1)
		other.Version = 2
		step := c.step()
		step.Parked = []projection.DeadLetter{letter("a", 1), letter("b", 1), letter("b", 2), other}
		c.do(step)
		step = c.step()
		step.Unparked = []projection.LetterID{letter("a", 1).LetterID, letter("b", 2).LetterID, letter("never", 1).LetterID}
		c.do(step)
		require.Equal(t, []projection.LetterID{letter("b", 1).LetterID}, list(t, b, projection.LetterQuery{}))
		require.NoError(t, b.DropDeadLetters(t.Context(), "p", 1))
		require.NoError(t, b.DropDeadLetters(t.Context(), "p", 1), "there need not be any")
		require.Empty(t, list(t, b, projection.LetterQuery{}))
		keys, err := b.ParkedKeys(t.Context(), "p", 2)
		require.NoError(t, err)
		require.Equal(t, map[string]int{"a": 1}, keys)
	})

	t.Run("a cancelled context is an error", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		ctx := cancelled(t)
		_, err := b.DeadLetters(ctx, projection.LetterQuery{Projection: "p", Version: 1})
		require.Error(t, err)
		_, err = b.ParkedKeys(ctx, "p", 1)
		require.Error(t, err)
		require.Error(t, b.DropDeadLetters(ctx, "p", 1))
	})
}
