package readmodel

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// lineAdded is an event of a usual size.
type lineAdded struct {
	Order   string `json:"order"`
	Article string `json:"article"`
	Amount  int64  `json:"amount"`
	Price   int64  `json:"price"`
}

func benchRegistry() *eventstore.Registry {
	return eventstore.MustRegistry(eventstore.Type[lineAdded]("order.line-added"))
}

func summaries() projection.Fold[summary] {
	return projection.Fold[summary]{Name: "summaries", Handlers: []projection.FoldHandler[summary]{
		projection.FoldOn(nil, func(s summary, v lineAdded, e eventstore.Event) summary {
			if s.Events == 0 {
				s = summary{Customer: "customer-" + v.Order, Status: "open", Note: "leave it with the neighbours if nobody is at home"}
			}
			s.Events++
			s.Total += v.Amount * v.Price
			if len(s.Lines) < 4 {
				s.Lines = append(s.Lines, v.Amount)
			}
			return s
		}),
	}}
}

// BenchmarkRebuild builds a folding projection from a history with ten events to a
// stream. Those of a stream are next to each other's (a hundred streams are active
// at a time) or scattered over the whole history.
//
// ANNALS_BENCH_EVENTS sets the length of the history.
func BenchmarkRebuild(b *testing.B) {
	events := 100_000
	if text := os.Getenv("ANNALS_BENCH_EVENTS"); text != "" {
		var err error
		events, err = strconv.Atoi(text)
		require.NoError(b, err)
	}
	for _, active := range []int{100, events / 10} {
		name := "near"
		if active != 100 {
			name = "scattered"
		}
		b.Run(name, func(b *testing.B) {
			e := setup(b)
			head := history(b, e, events, active)
			for _, size := range []int{0, 5_000} {
				for _, partitions := range []int{1, 2, 4} {
					b.Run(fmt.Sprintf("batch=%d/partitions=%d", size, partitions), func(b *testing.B) {
						for b.Loop() {
							rebuild(b, e, head, projection.WorkerConfig{BatchSize: size, Partitions: partitions})
						}
						b.ReportMetric(float64(events*b.N)/b.Elapsed().Seconds(), "events/s")
					})
				}
			}
		})
	}
}

// history appends events, a hundred or so to an append, and waits for the log.
func history(b testing.TB, e *env, events, active int) eventstore.Position {
	b.Helper()
	codec := eventstore.NewBSONCodec()
	r := rand.New(rand.NewPCG(1, 2))
	var writers errgroup.Group
	writers.SetLimit(16)
	// Rounds of active streams, each of which gets its ten events in ten turns.
	for first := 0; first < events/10; first += active {
		for range 10 {
			streams := r.Perm(active)
			for len(streams) > 0 {
				n := min(100, len(streams))
				part := streams[:n]
				streams = streams[n:]
				req := eventstore.AppendRequest{}
				for _, s := range part {
					id := fmt.Sprintf("%07d", first+s)
					data, err := codec.Marshal(lineAdded{Order: id, Article: "article-4711", Amount: 3, Price: 1999})
					require.NoError(b, err)
					req.Streams = append(req.Streams, eventstore.StreamAppend{
						Stream: eventstore.StreamID("order-" + id), Expected: eventstore.Any,
						Events: []eventstore.EventData{{Type: "order.line-added", Data: data}},
					})
				}
				writers.Go(func() error {
					_, err := e.store.Append(context.WithoutCancel(b.Context()), req)
					return err
				})
			}
			require.NoError(b, writers.Wait())
		}
	}
	for {
		head, err := e.store.Head(b.Context())
		require.NoError(b, err)
		if head >= eventstore.Position(events) {
			return head
		}
		_, err = e.store.Wait(b.Context(), head)
		require.NoError(b, err)
	}
}

// rebuild runs a new version up to the head. Its models are of its own backend.
func rebuild(b *testing.B, e *env, head eventstore.Position, cfg projection.WorkerConfig) {
	b.Helper()
	backend := e.backend(b, func(c *Config) { c.Prefix = fmt.Sprintf("b%x_", time.Now().UnixNano()) })
	worker, err := projection.NewWorker(e.store, benchRegistry(), backend, cfg, summaries())
	require.NoError(b, err)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- worker.Run(ctx) }()
	control := projection.NewControl(e.store, backend)
	for {
		err = control.WaitUntil(ctx, "summaries", 1, head)
		if err == nil {
			break
		}
		time.Sleep(time.Millisecond) // nobody has run it yet
	}
	b.StopTimer()
	cancel()
	require.NoError(b, <-done)
	b.StartTimer()
}
