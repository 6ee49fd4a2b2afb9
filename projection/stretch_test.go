package projection_test

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
)

// A partition that is far behind makes long steps. What fails in the midst of one is
// found all the same, and nothing else is touched by it.
func TestFailureInALongStep(t *testing.T) {
	t.Parallel()
	for name, size := range map[string]int{"default": 0, "of four chunks": 40, "of one event": 1} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, projection.WorkerConfig{Partitions: 2, BatchSize: size})
				s.fill(9, 300)
				s.work("a", tallies(projection.ReduceOn(nil, func(d *tally, c counted, e eventstore.Event) (*tally, error) {
					if d == nil {
						d = new(tally)
					}
					*d = addUp(*d, c, e)
					switch {
					case e.Stream == "test-3" && c.N == 150:
						return nil, errors.New("no")
					case e.Stream == "test-5" && c.N == 290:
						panic("no")
					}
					return d, nil
				})))
				s.reach("tallies", 0)
				want := folded(9, 300)
				want["3"], want["5"] = folded(1, 149)["0"], folded(1, 289)["0"]
				require.Equal(t, want, s.docs("tallies_v1"))
				require.Len(t, s.parked("tallies"), 151+11)
			})
		})
	}
}

// A document that is folded and updated in turns is committed between the two, also
// in a long step.
func TestUpdatesInALongStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 1, BatchSize: 40})
		for i := range 100 {
			addTo(t, s.store, eventstore.StreamID(fmt.Sprint("test-", i%3)), counted{N: 1}, counted{N: 2}, ignored{N: 10}, ignored{N: 20})
		}
		s.work("a", tallies(
			projection.FoldOn(nil, addUp),
			projection.UpdateOn[tally](nil, func(i ignored, _ eventstore.Event) (any, error) {
				return projection.Patch{Add: map[string]any{"sum": i.N, "count": 1}}, nil
			}),
		))
		s.reach("tallies", 0)
		docs := s.docs("tallies_v1")
		require.Len(t, docs, 3)
		for key, n := range map[string]int{"0": 34, "1": 33, "2": 33} {
			require.Equal(t, 33*n, docs[key].Sum, key)
			require.Equal(t, 4*n, docs[key].Count, key)
		}
	})
}

// What a fold leaves as it is, is not written.
func TestUnchangedDocumentsAreNotWritten(t *testing.T) {
	t.Parallel()
	s := newSite(t, projection.WorkerConfig{})
	s.fill(5, 20)
	backend := &watchedBackend{Backend: s.store}
	fold := tallies(projection.FoldOn(nil, func(d tally, c counted, _ eventstore.Event) tally {
		d.Sum = max(d.Sum, min(c.N, 3))
		return d
	}))
	run := func() {
		w, err := projection.NewWorker(s.store, registry(), backend, projection.WorkerConfig{Partitions: 1, LeaseTTL: 10 * time.Minute}, fold)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		s.reach("tallies", 0)
		cancel()
		require.NoError(t, <-done)
	}
	run()
	require.Positive(t, backend.most)
	backend.most = 0
	s.fill(5, 2)
	run()
	require.Zero(t, backend.most)
	require.Equal(t, 3, s.docs("tallies_v1")["1"].Sum)
}

// A worker that is stopped in the midst of a long step keeps what it has folded.
func TestStopInALongStep(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 1})
		s.fill(10, 300)
		var folds atomic.Int64
		ctx, stop := context.WithCancel(t.Context())
		w, err := projection.NewWorker(s.store, registry(), s.store, projection.WorkerConfig{Name: "a", Partitions: 1, BatchSize: 2_000},
			tallies(projection.FoldOn(nil, func(d tally, c counted, e eventstore.Event) tally {
				if folds.Add(1) == 700 {
					stop()
					time.Sleep(time.Second) // of the bubble's time: the partition has heard of it
				}
				return addUp(d, c, e)
			})))
		require.NoError(t, err)
		require.NoError(t, w.Run(ctx))
		require.Less(t, folds.Load(), int64(3_000), "it has stopped in the midst")
		total := 0
		for _, d := range s.docs("tallies_v1") {
			total += d.Count
		}
		require.EqualValues(t, folds.Load(), total, "and what was folded is saved")
		s.work("b", tallies())
		s.reach("tallies", 0)
		require.Equal(t, folded(10, 300), s.docs("tallies_v1"))
	})
}

// A slowBackend takes no more than a number of changes in the time that a step has.
type slowBackend struct {
	projection.Backend
	most    int
	refused int
}

func (b *slowBackend) Commit(ctx context.Context, c projection.Commit) (projection.Checkpoint, error) {
	if len(c.Changes) > b.most {
		b.refused++
		return projection.Checkpoint{}, fmt.Errorf("given up after a while: %w", eventstore.ErrUnavailable)
	}
	return b.Backend.Commit(ctx, c)
}

// Where a long step cannot be made in time, shorter ones are tried.
func TestStepsThatTakeTooLongGetShorter(t *testing.T) {
	t.Parallel()
	log := newMadeLog(t, 24_000, 24_000, 10)
	backend := &slowBackend{Backend: newStore(t, simstore.Config{}), most: 1_500}
	cfg := projection.WorkerConfig{Partitions: 1, LeaseTTL: 10 * time.Minute, Backoff: projection.Backoff{First: time.Millisecond, Max: time.Millisecond}}
	fold := projection.Fold[tally]{Name: "sums", Handlers: []projection.FoldHandler[tally]{
		projection.FoldOn(nil, func(d tally, _ padded, e eventstore.Event) tally { return tally{Sum: d.Sum + int(e.Position)} }),
	}}
	w, err := projection.NewWorker(log, paddedRegistry(), backend, cfg, fold)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	require.NoError(t, projection.NewControl(log, backend).WaitUntil(ctx, "sums", 0, log.length))
	cancel()
	require.NoError(t, <-done)
	require.Positive(t, backend.refused)
}
