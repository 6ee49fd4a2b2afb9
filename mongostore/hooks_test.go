package mongostore

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
)

// The hook is told of each append once, with the result that the caller gets and
// before the caller gets it, also when the caller goes away while a flight writes.
func TestAppendsHookIsToldOnce(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	var (
		mu   sync.Mutex
		told = map[string]int{}
		most int
	)
	result := func(duplicate bool, err error) string {
		switch {
		case err == nil && duplicate:
			return "duplicate"
		case err == nil:
			return "written"
		case errors.Is(err, eventstore.ErrConflict):
			return "conflict"
		case errors.Is(err, eventstore.ErrOutcomeUnknown):
			return "unknown"
		}
		return "not written"
	}
	s := srv.open(t, func(c *Config) {
		c.Hooks.Appends = func(ended []AppendStats) {
			mu.Lock()
			defer mu.Unlock()
			most = max(most, len(ended))
			for _, a := range ended {
				told[result(a.Duplicate, a.Err)]++
				if a.Streams != 1 || a.Events < 1 || a.Duration <= 0 || a.Duration > time.Hour {
					t.Errorf("told of %+v", a)
				}
			}
		}
	})
	var (
		got   = map[string]int{}
		early atomic.Int64
		all   sync.WaitGroup
	)
	for w := range 32 {
		all.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for range 40 {
				ctx, cancel := context.WithCancel(t.Context())
				if r.IntN(3) == 0 {
					ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(4_000))*time.Microsecond)
				}
				stream := eventstore.StreamID([]string{"a-1", "a-2", "a-3", "b-" + eventstore.NewEventID().String()}[r.IntN(4)])
				expected := []eventstore.ExpectedVersion{eventstore.Any, eventstore.Any, eventstore.NoStream}[r.IntN(3)]
				events := eventsUpTo(1 + r.IntN(4)/3)
				for i := range events {
					events[i].ID = eventstore.NewEventID()
				}
				res, err := s.Append(ctx, eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{Stream: stream, Expected: expected, Events: events}}})
				cancel()
				mu.Lock()
				got[result(res.Duplicate, err)]++
				sum := 0
				for _, n := range got {
					sum += n
				}
				for _, n := range told {
					sum -= n
				}
				mu.Unlock()
				if sum > 0 {
					early.Add(1)
				}
			}
		})
	}
	all.Wait()
	require.Zero(t, early.Load(), "callers had more results than the hook")
	require.Equal(t, got, told)
	require.Positive(t, got["written"])
	require.Positive(t, got["conflict"])
	require.Greater(t, most, 1, "no two were told together")
}
