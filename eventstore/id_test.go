package eventstore

import (
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestNewEventIDIsAUUIDv7OfNow(t *testing.T) {
	t.Parallel()
	var last atomic.Uint64
	now := time.Date(2026, 3, 1, 12, 30, 15, 123_456_789, time.FixedZone("", 3600))
	for range 1000 {
		last.Store(0)
		id := newEventID(&last, now)
		require.Equal(t, uuid.Version(7), id.Version())
		require.Equal(t, uuid.RFC4122, id.Variant())
		sec, nsec := id.Time().UnixTime()
		require.Equal(t, now.Truncate(time.Millisecond).UTC(), time.Unix(sec, nsec).UTC())
		fraction := int64(id[6]&0xf)<<8 | int64(id[7])
		require.InDelta(t, 456_789, fraction*1_000_000/4096, 250)
	}
}

func TestNewEventIDAscendsWhenTheClockIsSetBack(t *testing.T) {
	t.Parallel()
	var last atomic.Uint64
	now := time.Unix(1_700_000_000, 0)
	before := newEventID(&last, now)
	for i := range 10_000 {
		id := newEventID(&last, now.Add(-time.Duration(i)*time.Second))
		require.Less(t, before.String(), id.String())
		before = id
	}
}

func TestNewEventIDIsUniqueAndAscendingInEveryGoroutine(t *testing.T) {
	t.Parallel()
	const goroutines, each = 8, 5_000
	made := make([][]EventID, goroutines)
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for range each {
				made[g] = append(made[g], NewEventID())
			}
		})
	}
	wg.Wait()
	seen := map[EventID]bool{}
	for _, ids := range made {
		for i, id := range ids {
			require.False(t, seen[id])
			seen[id] = true
			if i > 0 {
				require.Less(t, ids[i-1].String(), id.String())
			}
		}
	}
	assert.Len(t, seen, goroutines*each)
}
