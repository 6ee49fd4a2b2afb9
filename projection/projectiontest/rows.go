package projectiontest

import (
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/projection"
)

// Rows holds a backend's rows and clock to their contract. Setup is as in
// [Backend].
func Rows(t *testing.T, setup func(t *testing.T) (projection.Backend, func(time.Duration))) {
	save := func(t *testing.T, b projection.RowStore, name string, revision, n int64) projection.Row {
		t.Helper()
		r, err := b.SaveRow(t.Context(), projection.Row{Name: name, Revision: revision, Data: encode(t, doc{N: n})})
		require.NoError(t, err)
		return r
	}

	t.Run("saved and loaded", func(t *testing.T) {
		t.Parallel()
		b, _ := setup(t)
		r, err := b.LoadRow(t.Context(), "control/p")
		require.NoError(t, err)
		require.Equal(t, projection.Row{Name: "control/p"}, r)
		before, err := b.Now(t.Context())
		require.NoError(t, err)
		saved := save(t, b, "control/p", 0, 1)
		require.Equal(t, int64(1), saved.Revision)
		require.False(t, saved.At.Before(before.Truncate(time.Millisecond)), "%v is before %v", saved.At, before)
		r, err = b.LoadRow(t.Context(), "control/p")
		require.NoError(t, err)
		require.Equal(t, saved, r)
		require.Equal(t, encode(t, doc{N: 1}), r.Data)
		require.Equal(t, int64(2), save(t, b, "control/p", 1, 2).Revision)
	})

	t.Run("a stale revision is refused", func(t *testing.T) {
		t.Parallel()
		b, _ := setup(t)
		for _, revision := range []int64{1, 5} {
			_, err := b.SaveRow(t.Context(), projection.Row{Name: "r", Revision: revision, Data: encode(t, doc{})})
			require.ErrorIs(t, err, projection.ErrMoved, "there is none")
		}
		save(t, b, "r", 0, 1)
		save(t, b, "r", 1, 2)
		for _, revision := range []int64{0, 1, 3} {
			_, err := b.SaveRow(t.Context(), projection.Row{Name: "r", Revision: revision, Data: encode(t, doc{N: 9})})
			require.ErrorIs(t, err, projection.ErrMoved)
		}
		r, err := b.LoadRow(t.Context(), "r")
		require.NoError(t, err)
		require.Equal(t, int64(2), decode(t, r.Data).N)
	})

	t.Run("any revision", func(t *testing.T) {
		t.Parallel()
		b, _ := setup(t)
		require.Equal(t, int64(1), save(t, b, "r", projection.AnyRevision, 1).Revision)
		require.Equal(t, int64(2), save(t, b, "r", projection.AnyRevision, 2).Revision)
	})

	t.Run("deleted and made again", func(t *testing.T) {
		t.Parallel()
		b, _ := setup(t)
		require.NoError(t, b.DeleteRow(t.Context(), "r"), "there need not be one")
		save(t, b, "r", 0, 1)
		require.NoError(t, b.DeleteRow(t.Context(), "r"))
		r, err := b.LoadRow(t.Context(), "r")
		require.NoError(t, err)
		require.Zero(t, r.Revision)
		require.Equal(t, int64(1), save(t, b, "r", 0, 1).Revision)
	})

	t.Run("listed by prefix, in order", func(t *testing.T) {
		t.Parallel()
		b, _ := setup(t)
		for _, name := range []string{"s/2", "s/10", "s", "s.x", "t/1", "s/1"} {
			save(t, b, name, 0, 1)
		}
		rows, err := b.Rows(t.Context(), "s/")
		require.NoError(t, err)
		var names []string
		for _, r := range rows {
			names = append(names, r.Name)
			require.Equal(t, int64(1), r.Revision)
			require.Equal(t, int64(1), decode(t, r.Data).N)
			require.False(t, r.At.IsZero())
		}
		require.Equal(t, []string{"s/1", "s/10", "s/2"}, names)
		rows, err = b.Rows(t.Context(), "none")
		require.NoError(t, err)
		require.Empty(t, rows)
	})

	t.Run("of many that race one wins", func(t *testing.T) {
		t.Parallel()
		b, _ := setup(t)
		for round := range int64(4) {
			var won atomic.Int32
			var wg sync.WaitGroup
			for range 6 {
				r := projection.Row{Name: "r", Revision: round, Data: encode(t, doc{N: round})}
				wg.Go(func() {
					_, err := b.SaveRow(t.Context(), r)
					if err == nil {
						won.Add(1)
					} else if !errors.Is(err, projection.ErrMoved) {
						t.Errorf("round %d: %v", round, err)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, won.Load())
		}
	})

	t.Run("the clock goes on", func(t *testing.T) {
		t.Parallel()
		b, pass := setup(t)
		before, err := b.Now(t.Context())
		require.NoError(t, err)
		require.Equal(t, time.UTC, before.Location())
		l, err := b.AcquireLease(t.Context(), "l", "me", time.Hour)
		require.NoError(t, err)
		require.WithinDuration(t, before.Add(time.Hour), l.Expires, time.Minute, "it is the clock of the leases")
		pass(100 * time.Millisecond)
		after, err := b.Now(t.Context())
		require.NoError(t, err)
		require.GreaterOrEqual(t, after.Sub(before), 100*time.Millisecond)
	})

	t.Run("what makes no sense is refused", func(t *testing.T) {
		t.Parallel()
		b, _ := setup(t)
		_, err := b.SaveRow(t.Context(), projection.Row{Data: encode(t, doc{})})
		require.Error(t, err, "no name")
		_, err = b.SaveRow(t.Context(), projection.Row{Name: "r", Data: []byte("x")})
		require.Error(t, err, "no document")
		ctx := cancelled(t)
		_, err = b.LoadRow(ctx, "r")
		require.Error(t, err)
		_, err = b.SaveRow(ctx, projection.Row{Name: "r", Data: encode(t, doc{})})
		require.Error(t, err)
		_, err = b.Rows(ctx, "r")
		require.Error(t, err)
		_, err = b.Now(ctx)
		require.Error(t, err)
		require.Error(t, b.DeleteRow(ctx, "r"))
	})
}
