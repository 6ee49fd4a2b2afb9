package handover_test

import (
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/mongostore/internal/handover"
)

func closed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

func TestUse(t *testing.T) {
	t.Parallel()
	var u handover.Use
	require.True(t, u.Enter())
	require.False(t, u.Retired())
	moved := u.Moved()
	require.False(t, closed(moved))
	drained := u.Retire()
	require.True(t, closed(moved))
	require.True(t, u.Retired())
	require.False(t, closed(drained))
	require.False(t, u.Enter(), "new users go elsewhere")
	u.MustEnter()
	u.Leave()
	require.False(t, closed(drained))
	u.Leave()
	require.True(t, closed(drained))
	require.Equal(t, drained, u.Retire(), "again")
	u.MustEnter() // late, and bound to it
	u.Leave()
}

func TestNobodyUsesIt(t *testing.T) {
	t.Parallel()
	var u handover.Use
	require.True(t, closed(u.Retire()))
	require.True(t, closed(u.Moved()))
	require.True(t, closed(handover.Nothing()))
}

// TestNobodyIsLeftBehind has users come and go while the place is given up.
func TestNobodyIsLeftBehind(t *testing.T) {
	t.Parallel()
	for range 100 {
		var u handover.Use
		var inside atomic.Int64
		var users sync.WaitGroup
		for range 4 {
			users.Go(func() {
				for u.Enter() {
					inside.Add(1)
					inside.Add(-1)
					u.Leave()
				}
			})
		}
		<-u.Retire()
		require.Zero(t, inside.Load())
		users.Wait()
	}
}
