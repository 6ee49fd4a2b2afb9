package projection_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
)

// A madeLog makes its events when they are read, so that their number costs nothing.
type madeLog struct {
	length  eventstore.Position
	streams eventstore.Position
	data    []byte
	handed  atomic.Int64 // events that a reader was given
}

func (l *madeLog) ReadLog(ctx context.Context, q eventstore.LogQuery) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		for p := q.After + 1; p <= l.length && (q.Through == 0 || p <= q.Through); p++ {
			if err := ctx.Err(); err != nil {
				yield(eventstore.Event{}, err)
				return
			}
			e := eventstore.Event{
				Stream: eventstore.StreamID(fmt.Sprint("test-", p%l.streams)), Type: "padded", Position: p,
				Format: eventstore.BSON, Data: append([]byte{}, l.data...),
			}
			l.handed.Add(1)
			if !yield(e, nil) {
				return
			}
		}
	}
}

func (l *madeLog) Head(context.Context) (eventstore.Position, error) { return l.length, nil }

func (l *madeLog) Wait(ctx context.Context, after eventstore.Position) (eventstore.Position, error) {
	if after < l.length {
		return l.length, nil
	}
	<-ctx.Done()
	return 0, ctx.Err()
}

func (*madeLog) Await(context.Context, eventstore.Token) (eventstore.Position, error) {
	return 0, errors.New("a made log takes no tokens")
}

// padded is an event of any size.
type padded struct{ Padding string }

func paddedRegistry() *eventstore.Registry {
	return eventstore.MustRegistry(eventstore.Type[padded]("padded"))
}

func newMadeLog(t testing.TB, length, streams, size int) *madeLog {
	t.Helper()
	data, err := eventstore.NewBSONCodec().Marshal(padded{Padding: string(make([]byte, size))})
	require.NoError(t, err)
	return &madeLog{length: eventstore.Position(length), streams: eventstore.Position(streams), data: data}
}

// A watchedBackend notes the most changes that a step has, and their bytes.
type watchedBackend struct {
	projection.Backend
	most, bytes, steps int64
}

func (b *watchedBackend) Commit(ctx context.Context, c projection.Commit) (projection.Checkpoint, error) {
	size := int64(0)
	for _, change := range c.Changes {
		size += int64(len(change.Data))
	}
	b.most, b.bytes, b.steps = max(b.most, int64(len(c.Changes))), max(b.bytes, size), b.steps+1
	return b.Backend.Commit(ctx, c)
}

// build has one worker build a model from a log and calls each for every event
// that is folded, with their number so far.
func build(t testing.TB, log *madeLog, backend projection.Backend, cfg projection.WorkerConfig, each func(folded int64)) {
	t.Helper()
	cfg.Partitions, cfg.LeaseTTL = 1, 10*time.Minute // however busy the machine is
	folded := int64(0)
	fold := projection.Fold[tally]{Name: "sums", Handlers: []projection.FoldHandler[tally]{
		projection.FoldOn(nil, func(d tally, _ padded, e eventstore.Event) tally {
			folded++
			each(folded)
			return tally{Sum: d.Sum + int(e.Position)}
		}),
	}}
	w, err := projection.NewWorker(log, paddedRegistry(), backend, cfg, fold)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	require.NoError(t, projection.NewControl(log, backend).WaitUntil(ctx, "sums", 0, log.length))
	cancel()
	require.NoError(t, <-done)
	require.EqualValues(t, log.length, folded, "nothing has failed, so nothing is folded twice")
}

// What a partition has in memory is bounded by its batch, however long the history
// and however large its events are: events that were read and not yet folded, and
// documents of one step.
func TestMemoryIsBoundedByTheBatch(t *testing.T) {
	t.Parallel()
	const docsMost = 20_000 + 1_000
	for name, test := range map[string]struct {
		length, streams, size int
		cfg                   projection.WorkerConfig
		events, bytes         int64 // read and not folded, at most
		steps                 int64 // at most
	}{
		"short":               {length: 20_000, streams: 500, size: 50, events: 5_000, steps: 3},
		"ten times as long":   {length: 200_000, streams: 500, size: 50, events: 5_000, steps: 8},
		"a document an event": {length: 60_000, streams: 60_000, size: 50, events: 5_000, steps: 5},
		"large events": {
			length: 600, streams: 10, size: 64 << 10, cfg: projection.WorkerConfig{BatchBytes: 1 << 20}, bytes: 1<<20 + 5*65<<10, steps: 50,
		},
		"a small batch": {length: 2_000, streams: 10, size: 50, cfg: projection.WorkerConfig{BatchSize: 100}, events: 125, steps: 25},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			log := newMadeLog(t, test.length, test.streams, test.size)
			backend := &watchedBackend{Backend: newStore(t, simstore.Config{})}
			waiting := int64(0)
			build(t, log, backend, test.cfg, func(folded int64) { waiting = max(waiting, log.handed.Load()-folded) })
			if test.events > 0 {
				require.LessOrEqual(t, waiting, test.events, "events that wait to be folded")
			}
			if test.bytes > 0 {
				require.LessOrEqual(t, waiting*int64(len(log.data)), test.bytes, "bytes of events that wait to be folded")
			}
			require.LessOrEqual(t, backend.most, int64(docsMost), "documents in a step")
			require.LessOrEqual(t, backend.steps, test.steps)
		})
	}
}

// BenchmarkMemory reports what is in use after garbage collections in the midst of
// a rebuild with 5,000 documents, for histories of two lengths.
func BenchmarkMemory(b *testing.B) {
	for _, length := range []int{100_000, 1_000_000} {
		b.Run(fmt.Sprintf("events=%d", length), func(b *testing.B) {
			most := uint64(0)
			for b.Loop() {
				log := newMadeLog(b, length, 5_000, 100)
				store := simstore.New(simstore.Config{})
				before := inUse()
				build(b, log, store, projection.WorkerConfig{}, func(folded int64) {
					if folded%int64(length/10) == 0 {
						most = max(most, inUse()-min(before, inUse()))
					}
				})
				require.NoError(b, store.Close())
			}
			b.ReportMetric(float64(most)/(1<<20), "MiB")
		})
	}
}

func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
