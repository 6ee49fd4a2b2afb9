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
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
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
		projection.FoldOn(nil, func(s summary, v lineAdded, _ eventstore.Event) summary { return addLine(s, v) }),
	}}
}

func addLine(s summary, v lineAdded) summary {
	if s.Events == 0 {
		s = summary{Customer: "customer-" + v.Order, Status: "open", Note: "leave it with the neighbours if nobody is at home"}
	}
	s.Events++
	s.Total += v.Amount * v.Price
	if len(s.Lines) < 4 {
		s.Lines = append(s.Lines, v.Amount)
	}
	return s
}

func benchEvents(b testing.TB) int {
	b.Helper()
	text := os.Getenv("ANNALS_BENCH_EVENTS")
	if text == "" {
		return 100_000
	}
	events, err := strconv.Atoi(text)
	require.NoError(b, err)
	return events
}

// BenchmarkRebuild builds a folding projection at default settings from a history
// with ten events to a stream. Those of a stream are near each other (a hundred
// streams are active at a time) or scattered over the whole history. The raw work is
// one loop over the same log with a find, a bulk write and a checkpoint for each 500
// events.
//
// ANNALS_BENCH_EVENTS sets the length of the history.
func BenchmarkRebuild(b *testing.B) {
	events := benchEvents(b)
	for name, active := range map[string]int{"near": 100, "scattered": events / 10} {
		b.Run(name, func(b *testing.B) {
			e := setup(b)
			head := history(b, e, events, active)
			takeTurns(b, events,
				turn{"annals", func(int) error {
					rebuild(b, e, head, projection.WorkerConfig{}, 1, summaries())
					return nil
				}},
				turn{"raw", func(i int) error {
					return newRaw(b, e, fmt.Sprint("raw", i)).rebuild(b.Context(), e)
				}})
		})
	}
}

// BenchmarkWorkers has one, two and four workers run a projection of as many
// partitions: one that folds, which spends the processors, and one with a handler that
// waits for a millisecond, as for an answer of another service.
//
// ANNALS_BENCH_EVENTS sets the length of the history that is folded.
func BenchmarkWorkers(b *testing.B) {
	waits := projection.Projection{Name: "summaries", Handlers: []projection.Handler{
		projection.On(func(context.Context, lineAdded, eventstore.Event) error {
			time.Sleep(time.Millisecond)
			return nil
		}),
	}}
	for _, c := range []struct {
		name   string
		events int
		def    projection.Definition
	}{{"folding", benchEvents(b), summaries()}, {"waiting", 4_000, waits}} {
		b.Run(c.name, func(b *testing.B) {
			e := setup(b)
			head := history(b, e, c.events, 100)
			var turns []turn
			for _, n := range []int{4, 2, 1} {
				turns = append(turns, turn{fmt.Sprintf("%dworkers", n), func(int) error {
					rebuild(b, e, head, projection.WorkerConfig{Partitions: n}, n, c.def)
					return nil
				}})
			}
			takeTurns(b, c.events, turns...)
		})
	}
}

// rebuild does by hand what a projection of one partition does.
func (r *raw) rebuild(ctx context.Context, e *env) error {
	var batch []lineAdded
	flush := func(position eventstore.Position) error {
		docs := map[string]*summary{}
		var keys []string
		for _, v := range batch {
			if docs[v.Order] == nil {
				docs[v.Order] = new(summary)
				keys = append(keys, v.Order)
			}
		}
		err := r.load(ctx, keys, func(key string, d bson.Raw) error { return bson.Unmarshal(d, docs[key]) })
		if err != nil {
			return err
		}
		for _, v := range batch {
			*docs[v.Order] = addLine(*docs[v.Order], v)
		}
		models := make([]mongo.WriteModel, len(keys))
		for i, key := range keys {
			models[i] = replacement(key, *docs[key])
		}
		batch = batch[:0]
		return r.write(ctx, models, int64(position))
	}
	var last eventstore.Position
	for event, err := range e.store.ReadLog(ctx, eventstore.LogQuery{}) {
		if err != nil {
			return err
		}
		var v lineAdded
		if err := bson.Unmarshal(event.Data, &v); err != nil {
			return err
		}
		last = event.Position
		if batch = append(batch, v); len(batch) == 500 {
			if err := flush(last); err != nil {
				return err
			}
		}
	}
	if len(batch) == 0 {
		return nil
	}
	return flush(last)
}

// history appends events, hundreds to an append, and waits for the log.
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
				n := min(500, len(streams))
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

// rebuild has workers build a model up to the head. It is of a backend of its own.
func rebuild(b testing.TB, e *env, head eventstore.Position, cfg projection.WorkerConfig, workers int, def projection.Definition) {
	b.Helper()
	backend := e.backend(b, func(c *Config) { c.Prefix = fmt.Sprintf("b%x_", time.Now().UnixNano()) })
	ctx, cancel := context.WithCancel(context.WithoutCancel(b.Context()))
	var working errgroup.Group
	for range workers {
		w, err := projection.NewWorker(e.store, benchRegistry(), backend, cfg, def)
		require.NoError(b, err)
		working.Go(func() error { return w.Run(ctx) })
	}
	control := projection.NewControl(e.store, backend)
	for control.WaitUntil(ctx, "summaries", 1, head) != nil {
		time.Sleep(time.Millisecond) // nobody has run it yet
	}
	cancel()
	require.NoError(b, working.Wait())
}
