package projectiontest

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/projection"
)

// LeaseStore holds a lease store to its contract. Setup returns an empty store
// for each test and a function that lets its clock move on by at least d; a store
// on a clock that cannot be moved waits.
func LeaseStore(t *testing.T, setup func(t *testing.T) (s projection.LeaseStore, pass func(d time.Duration))) {
	const ttl = 500 * time.Millisecond

	t.Run("one owner at a time", func(t *testing.T) {
		t.Parallel()
		s, _ := setup(t)
		a, err := s.AcquireLease(t.Context(), "p/0", "a", time.Minute)
		require.NoError(t, err)
		require.Equal(t, "p/0", a.Name)
		require.Equal(t, "a", a.Owner)
		require.Positive(t, a.Fence)
		_, err = s.AcquireLease(t.Context(), "p/0", "b", time.Minute)
		require.ErrorIs(t, err, projection.ErrLeaseHeld)
		_, err = s.AcquireLease(t.Context(), "p/1", "b", time.Minute)
		require.NoError(t, err, "another name is another lease")
	})

	t.Run("the owner prolongs it and keeps its fence", func(t *testing.T) {
		t.Parallel()
		s, _ := setup(t)
		a, err := s.AcquireLease(t.Context(), "p/0", "a", time.Minute)
		require.NoError(t, err)
		again, err := s.AcquireLease(t.Context(), "p/0", "a", 2*time.Minute)
		require.NoError(t, err)
		require.Equal(t, a.Fence, again.Fence)
		require.True(t, again.Expires.After(a.Expires), "%v is not after %v", again.Expires, a.Expires)
	})

	t.Run("released is free, with a higher fence", func(t *testing.T) {
		t.Parallel()
		s, _ := setup(t)
		a, err := s.AcquireLease(t.Context(), "p/0", "a", time.Minute)
		require.NoError(t, err)
		require.NoError(t, s.ReleaseLease(t.Context(), a))
		require.NoError(t, s.ReleaseLease(t.Context(), a), "releasing twice does nothing")
		b, err := s.AcquireLease(t.Context(), "p/0", "b", time.Minute)
		require.NoError(t, err)
		require.Greater(t, b.Fence, a.Fence)
		require.NoError(t, s.ReleaseLease(t.Context(), a), "releasing a lost lease does nothing")
		_, err = s.AcquireLease(t.Context(), "p/0", "c", time.Minute)
		require.ErrorIs(t, err, projection.ErrLeaseHeld)
	})

	t.Run("expired is free, with a higher fence", func(t *testing.T) {
		t.Parallel()
		s, pass := setup(t)
		a, err := s.AcquireLease(t.Context(), "p/0", "a", ttl)
		require.NoError(t, err)
		pass(ttl + 50*time.Millisecond)
		b, err := s.AcquireLease(t.Context(), "p/0", "b", time.Minute)
		require.NoError(t, err)
		require.Greater(t, b.Fence, a.Fence)
		_, err = s.AcquireLease(t.Context(), "p/0", "a", time.Minute)
		require.ErrorIs(t, err, projection.ErrLeaseHeld, "the former owner has lost it")
	})

	t.Run("an owner that was expired gets a higher fence", func(t *testing.T) {
		t.Parallel()
		s, pass := setup(t)
		a, err := s.AcquireLease(t.Context(), "p/0", "a", ttl)
		require.NoError(t, err)
		pass(ttl + 50*time.Millisecond)
		b, err := s.AcquireLease(t.Context(), "p/0", "b", ttl)
		require.NoError(t, err)
		pass(ttl + 50*time.Millisecond)
		again, err := s.AcquireLease(t.Context(), "p/0", "a", time.Minute)
		require.NoError(t, err)
		require.Greater(t, b.Fence, a.Fence)
		require.Greater(t, again.Fence, b.Fence)
	})

	t.Run("listed by prefix, in order, unless expired", func(t *testing.T) {
		t.Parallel()
		s, pass := setup(t)
		for _, name := range []string{"p/2", "p/1", "q/1", "p+"} {
			_, err := s.AcquireLease(t.Context(), name, "a", time.Minute)
			require.NoError(t, err)
		}
		_, err := s.AcquireLease(t.Context(), "p/3", "a", ttl)
		require.NoError(t, err)
		pass(ttl + 50*time.Millisecond)
		leases, err := s.Leases(t.Context(), "p/")
		require.NoError(t, err)
		require.Len(t, leases, 2)
		require.Equal(t, "p/1", leases[0].Name)
		require.Equal(t, "p/2", leases[1].Name)
		require.Equal(t, "a", leases[0].Owner)
	})

	t.Run("of many that race one wins", func(t *testing.T) {
		t.Parallel()
		s, _ := setup(t)
		for round := range 5 {
			var won atomic.Int32
			var lease atomic.Pointer[projection.Lease]
			var wg sync.WaitGroup
			for i := range 8 {
				wg.Go(func() {
					l, err := s.AcquireLease(t.Context(), "p/0", string(rune('a'+i)), time.Minute)
					if err == nil {
						won.Add(1)
						lease.Store(&l)
					} else if !errors.Is(err, projection.ErrLeaseHeld) {
						t.Errorf("round %d: %v", round, err)
					}
				})
			}
			wg.Wait()
			require.EqualValues(t, 1, won.Load(), "round %d", round)
			require.NoError(t, s.ReleaseLease(t.Context(), *lease.Load()))
		}
	})

	t.Run("a cancelled context is an error", func(t *testing.T) {
		t.Parallel()
		s, _ := setup(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := s.AcquireLease(ctx, "p/0", "a", time.Minute)
		require.ErrorIs(t, err, context.Canceled)
		_, err = s.Leases(ctx, "p")
		require.ErrorIs(t, err, context.Canceled)
	})
}
