package mongostore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/eventstore/eventstoretest"
	"github.com/annals-es/annals/simstore/mongosim"
)

// Every command that appends and the sequencer send fails in every way, under
// concurrent writers. The history that results must be one of a store that keeps
// its contract.
func TestFaults(t *testing.T) {
	t.Parallel()
	commands := []string{"insert", "find", "commitTransaction", "abortTransaction", "aggregate", "getMore", "delete", "findAndModify", "update", "killCursors"}
	kinds := []struct {
		name string
		fail func(*mongosim.FailPoint)
	}{
		{"refused by a server that is no primary", func(f *mongosim.FailPoint) { f.ErrorCode = 10107 }},
		{"interrupted by a stepdown", func(f *mongosim.FailPoint) { f.ErrorCode = 11602 }},
		{"connection closed before", func(f *mongosim.FailPoint) { f.CloseConnection = true }},
		{"reply lost after", func(f *mongosim.FailPoint) { f.LoseReply = true }},
		{"transient", func(f *mongosim.FailPoint) { f.ErrorCode, f.ErrorLabels = 112, []string{"TransientTransactionError"} }},
		{"slow", func(f *mongosim.FailPoint) { f.Block = 30 * time.Millisecond }},
		{"write concern not met", func(f *mongosim.FailPoint) {
			f.WriteConcernError = &mongosim.WriteConcernError{Code: 91, Name: "ShutdownInProgress", Message: "shutting down"}
		}},
		{"cursor lost", func(f *mongosim.FailPoint) { f.ErrorCode = 43 }},
	}
	for _, command := range commands {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			for _, kind := range kinds {
				if kind.name == "cursor lost" && command != "getMore" {
					continue
				}
				t.Run(kind.name, func(t *testing.T) {
					t.Parallel()
					underFault(t, 50*time.Millisecond, func(n int) mongosim.FailPoint {
						f := mongosim.FailPoint{Commands: []string{command}, Times: 1 + n%3}
						kind.fail(&f)
						return f
					}, nil)
				})
			}
		})
	}
	t.Run("stepdown", func(t *testing.T) {
		t.Parallel()
		underFault(t, 600*time.Millisecond, nil, func(sim *mongosim.Server) { sim.StepDown(10 * time.Millisecond) })
	})
	t.Run("network", func(t *testing.T) {
		t.Parallel()
		underFault(t, 100*time.Millisecond, nil, func(sim *mongosim.Server) { sim.DropConnections() })
	})
	t.Run("oplog", func(t *testing.T) {
		t.Parallel()
		underFault(t, 100*time.Millisecond, nil, func(sim *mongosim.Server) { sim.TruncateOplog(); sim.DropConnections() })
	})
}

// underFault has writers append through two stores while a fault is set again and
// again, and judges the history.
func underFault(t *testing.T, every time.Duration, fault func(n int) mongosim.FailPoint, shake func(*mongosim.Server)) {
	srv := simFor(t)
	srv.migrate(t)
	quick := func(c *Config) {
		c.LeaseTTL = 300 * time.Millisecond
		c.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	}
	stores := []*Store{srv.open(t, quick), srv.open(t, quick)}
	ctx := testContext(t)
	for _, s := range stores {
		s.follow.start()
	}
	stop := make(chan struct{})
	var history eventstoretest.History
	var writing sync.WaitGroup
	for w := range 6 {
		writing.Go(func() {
			r := rand.New(rand.NewPCG(7, uint64(w)))
			for range 400 {
				select {
				case <-stop:
					return
				default:
				}
				if err := writeOnce(ctx, &history, stores[w%2], r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	const rounds = 8
	tick := time.NewTicker(every)
	defer tick.Stop()
	for n := range rounds {
		if fault != nil {
			require.NoError(t, srv.sim.FailCommand(fault(n)))
		} else {
			shake(srv.sim)
		}
		<-tick.C
	}
	close(stop)
	writing.Wait()
	srv.sim.ClearFailPoint()
	srv.sim.Elect()
	for _, s := range stores {
		require.NoError(t, history.Check(ctx, s))
	}
}

// writeOnce makes one append of a random kind and repeats it while that is
// reasonable. What it returns no store may answer.
func writeOnce(ctx context.Context, h *eventstoretest.History, s *Store, r *rand.Rand) error {
	req := eventstore.AppendRequest{}
	if r.IntN(4) == 0 {
		req.ID = eventstore.NewEventID()
	}
	for i, k := range r.Perm(4)[:1+r.IntN(2)] {
		stream := eventstore.StreamID(fmt.Sprintf("fault-%d", k))
		st := eventstore.StreamAppend{Stream: stream, Expected: eventstore.Any}
		if r.IntN(2) == 0 {
			events, err := h.ReadStream(ctx, s, stream)
			if err != nil && !errors.Is(err, eventstore.ErrUnavailable) {
				return fmt.Errorf("read: %w", err)
			}
			if err == nil {
				st.Expected = eventstore.Exact(eventstore.Version(len(events)))
			}
		}
		if i == 0 || r.IntN(3) > 0 {
			st.Events = eventsUpTo(1 + r.IntN(2)*r.IntN(3))
		}
		req.Streams = append(req.Streams, st)
	}
	for range 5 {
		_, err := h.Append(ctx, s, req)
		repeatable := req.ID != eventstore.AppendID{}
		switch {
		case err == nil, errors.Is(err, eventstore.ErrConflict):
			return nil
		case !eventstore.Retryable(err):
			return fmt.Errorf("append: %w", err)
		case !repeatable && !errors.Is(err, eventstore.ErrNotWritten):
			return nil
		}
	}
	return nil
}
