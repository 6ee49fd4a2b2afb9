package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/eventstore/eventstoretest"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/simstore/mongosim"
)

// A tortureConfig is what the command line asks for.
type tortureConfig struct {
	uri     string
	seconds float64
	round   float64
	writers int
	streams int
	seed    uint64
}

func tortureCommand() command {
	return command{
		name:  "torture",
		short: "write concurrently while servers fail, and judge what came of it",
		long: `Write concurrently while servers fail, and judge what came of it.

Writers append to few streams through several stores, as several processes would,
with all kinds of expectations, ids and cancellations, and record what they were
told. After each round the history is judged: nothing acknowledged lost, doubled or
reordered, no gap, every conflict real, the log dense and complete.

With -uri, somebody else is to make the servers fail meanwhile: kill the primary of
a replica set, cut its network, step it down. Without, the simulated server fails
by itself. It exits with 1 when something was found.`,
		setup: func(f *flag.FlagSet) func(context.Context, io.Writer) error {
			var cfg tortureConfig
			f.StringVar(&cfg.uri, "uri", "", "connection string; a simulated server when empty")
			f.Float64Var(&cfg.seconds, "seconds", 30, "how long to write, in all")
			f.Float64Var(&cfg.round, "round", 10, "seconds of a round; each starts with an empty store")
			f.IntVar(&cfg.writers, "writers", 12, "number of concurrent writers")
			f.IntVar(&cfg.streams, "streams", 24, "number of streams they write to")
			f.Uint64Var(&cfg.seed, "seed", 0, "seed of all random choices; random when 0")
			return func(ctx context.Context, out io.Writer) error {
				if cfg.writers < 1 || cfg.streams < 1 || cfg.seconds <= 0 || cfg.round <= 0 {
					return errors.New("writers, streams, seconds and round must be positive")
				}
				if cfg.seed == 0 {
					cfg.seed = rand.Uint64()
				}
				return torture(ctx, out, cfg)
			}
		},
	}
}

func torture(ctx context.Context, out io.Writer, cfg tortureConfig) error {
	t, err := newTarget(ctx, cfg.uri)
	if err != nil {
		return err
	}
	defer t.close() //nolint:contextcheck // also after an interrupt
	fmt.Fprintf(out, "%s, seed %d\n", t.describe(ctx), cfg.seed)
	var total tally
	for round, end := 1, time.Now().Add(time.Duration(cfg.seconds*float64(time.Second))); time.Now().Before(end); round++ {
		r := &tortureRound{cfg: cfg, target: t, prefix: fmt.Sprintf("r%d_", round), rand: rand.New(rand.NewPCG(cfg.seed, uint64(round)))} //nolint:gosec // repeatable
		if err := r.run(ctx); err != nil {
			return fmt.Errorf("round %d, seed %d: %w", round, cfg.seed, err)
		}
		fmt.Fprintf(out, "round %d: %s; the history is sound\n", round, &r.tally)
		total.add(&r.tally)
	}
	fmt.Fprintf(out, "in all: %s; nothing lost, doubled, reordered or skipped\n", &total)
	return nil
}

// A tally counts answers.
type tally struct {
	written, duplicates, conflicts, notWritten, unknown, cancelled atomic.Int64
	longest                                                        atomic.Int64 // of a call, in ns
}

func (t *tally) add(o *tally) {
	for _, c := range [][2]*atomic.Int64{
		{&t.written, &o.written},
		{&t.duplicates, &o.duplicates},
		{&t.conflicts, &o.conflicts},
		{&t.notWritten, &o.notWritten},
		{&t.unknown, &o.unknown},
		{&t.cancelled, &o.cancelled},
	} {
		c[0].Add(c[1].Load())
	}
	t.longest.Store(max(t.longest.Load(), o.longest.Load()))
}

func (t *tally) String() string {
	return fmt.Sprintf("%d appends written, %d repeated, %d conflicts, %d not written, %d of unknown outcome, %d cancelled, the longest took %s",
		t.written.Load(), t.duplicates.Load(), t.conflicts.Load(), t.notWritten.Load(), t.unknown.Load(), t.cancelled.Load(),
		time.Duration(t.longest.Load()).Round(time.Millisecond))
}

func (t *tally) count(res eventstore.AppendResult, err error, cancelled bool, took time.Duration) {
	for old := t.longest.Load(); int64(took) > old && !t.longest.CompareAndSwap(old, int64(took)); old = t.longest.Load() {
		continue
	}
	switch {
	case err == nil && res.Duplicate:
		t.duplicates.Add(1)
	case err == nil:
		t.written.Add(1)
	case errors.Is(err, eventstore.ErrConflict):
		t.conflicts.Add(1)
	case cancelled:
		t.cancelled.Add(1)
	case errors.Is(err, eventstore.ErrOutcomeUnknown):
		t.unknown.Add(1)
	default:
		t.notWritten.Add(1)
	}
}

// A tortureRound is one history, on collections of its own.
type tortureRound struct {
	cfg     tortureConfig
	target  *target
	prefix  string
	rand    *rand.Rand
	tally   tally
	history eventstoretest.History
	stores  []*mongostore.Store
}

// storesPerRound is how many stores, with a client each, stand for processes.
const storesPerRound = 3

func (r *tortureRound) run(ctx context.Context) error {
	cfg := mongostore.Config{Database: r.target.database, Prefix: r.prefix, LeaseTTL: time.Second, Sequencing: mongostore.Always}
	err := persist(ctx, func() error { return mongostore.Migrate(ctx, r.target.clients[0], cfg) })
	if err != nil {
		return err
	}
	defer r.close() //nolint:contextcheck // also after an interrupt
	for range storesPerRound {
		err := persist(ctx, func() error {
			s, _, err := r.target.store(ctx, cfg)
			if err == nil {
				r.stores = append(r.stores, s)
			}
			return err
		})
		if err != nil {
			return err
		}
	}
	if err := r.write(ctx); err != nil {
		return err
	}
	r.history.Failover = r.target.sim == nil // a simulated server that steps down keeps what it has
	return persist(ctx, func() error { return r.history.Check(ctx, r.stores[0]) })
}

func (r *tortureRound) close() {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	for _, s := range r.stores {
		_ = s.Close(ctx)
	}
}

// persist repeats what fails because a server does, for a while.
func persist(ctx context.Context, fn func() error) error {
	for giveUp := time.Now().Add(2 * time.Minute); ; {
		err := fn()
		if err == nil || !errors.Is(err, eventstore.ErrUnavailable) || time.Now().After(giveUp) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(250 * time.Millisecond):
		}
	}
}

// write lets writers loose for the time of a round.
func (r *tortureRound) write(ctx context.Context) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	end := time.Now().Add(time.Duration(r.cfg.round * float64(time.Second)))
	var writing, failing sync.WaitGroup
	for w := range r.cfg.writers {
		writer := tortureWriter{round: r, store: r.stores[w%len(r.stores)], rand: rand.New(rand.NewPCG(r.rand.Uint64(), uint64(w)))} //nolint:gosec // repeatable
		writing.Go(func() {
			for time.Now().Before(end) && ctx.Err() == nil {
				if err := writer.step(ctx); err != nil {
					cancel(err)
				}
			}
		})
	}
	stop := make(chan struct{})
	if r.target.sim != nil {
		failing.Go(func() { failAtRandom(r.target.sim, rand.New(rand.NewPCG(r.rand.Uint64(), 0)), stop) }) //nolint:gosec // repeatable
	}
	writing.Wait()
	close(stop)
	failing.Wait()
	return context.Cause(ctx)
}

// failAtRandom makes a simulated server fail until stop is closed.
func failAtRandom(sim *mongosim.Server, r *rand.Rand, stop <-chan struct{}) {
	defer sim.Elect()
	defer sim.ClearFailPoint()
	commands := []string{"insert", "find", "commitTransaction", "abortTransaction", "aggregate", "getMore", "findAndModify", "update"}
	for {
		f := mongosim.FailPoint{Commands: []string{commands[r.IntN(len(commands))]}, Times: 1 + r.IntN(3)}
		switch r.IntN(9) {
		case 0:
			sim.StepDown(time.Duration(r.IntN(100)) * time.Millisecond)
		case 1, 2:
			sim.DropConnections()
		case 3:
			sim.TruncateOplog()
		case 4:
			f.CloseConnection = true
			_ = sim.FailCommand(f)
		case 5:
			f.LoseReply = true
			_ = sim.FailCommand(f)
		case 6:
			f.ErrorCode = 11602
			_ = sim.FailCommand(f)
		case 7:
			f.Block = time.Duration(r.IntN(200)) * time.Millisecond
			_ = sim.FailCommand(f)
		case 8:
			f.ErrorCode = 10107
			_ = sim.FailCommand(f)
		}
		select {
		case <-stop:
			return
		case <-time.After(time.Duration(50+r.IntN(250)) * time.Millisecond):
		}
	}
}

// A tortureWriter appends and records what it is told.
type tortureWriter struct {
	round *tortureRound
	store *mongostore.Store
	rand  *rand.Rand
}

// step makes one append, and again as long as that is reasonable. Its error is an
// answer that no store may give.
func (w *tortureWriter) step(ctx context.Context) error {
	req, err := w.request(ctx)
	if err != nil {
		return err
	}
	for range 6 {
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if w.rand.IntN(8) == 0 {
			attempt, cancel = context.WithTimeout(ctx, time.Duration(w.rand.IntN(20_000))*time.Microsecond)
		}
		start := time.Now()
		res, err := w.round.history.Append(attempt, w.store, req)
		ended := attempt.Err() != nil
		w.round.tally.count(res, err, ended, time.Since(start))
		cancel()
		switch {
		case ctx.Err() != nil, errors.Is(err, eventstore.ErrConflict):
			return nil
		case err == nil && (w.rand.IntN(10) > 0 || !repeatable(req)): // at times also what was acknowledged
			return nil
		case err != nil && !ended && !eventstore.Retryable(err):
			return fmt.Errorf("append: %w", err)
		case err != nil && !repeatable(req) && !errors.Is(err, eventstore.ErrNotWritten):
			return nil // making it again would write it again
		}
	}
	return nil
}

// repeatable reports whether making an append again is recognised.
func repeatable(req eventstore.AppendRequest) bool {
	if req.ID != (eventstore.AppendID{}) {
		return true
	}
	for _, st := range req.Streams {
		if _, exact := st.Expected.Version(); !exact && len(st.Events) > 0 {
			return false
		}
	}
	return true
}

// request reads streams and asks for an append behind what is there.
func (w *tortureWriter) request(ctx context.Context) (eventstore.AppendRequest, error) {
	var req eventstore.AppendRequest
	if w.rand.IntN(4) == 0 {
		req.ID = eventstore.NewEventID()
	}
	n := 1
	if w.rand.IntN(4) == 0 {
		n = 1 + w.rand.IntN(min(3, w.round.cfg.streams))
	}
	for i, k := range w.rand.Perm(w.round.cfg.streams)[:n] {
		st := eventstore.StreamAppend{Stream: eventstore.StreamID(fmt.Sprintf("torture-%d", k)), Expected: eventstore.Any}
		if w.rand.IntN(3) > 0 {
			events, err := w.round.history.ReadStream(ctx, w.store, st.Stream)
			switch {
			case err == nil:
				st.Expected = eventstore.Exact(eventstore.Version(len(events)))
			case ctx.Err() == nil && !errors.Is(err, eventstore.ErrUnavailable):
				return req, fmt.Errorf("read: %w", err)
			}
		}
		if i == 0 || w.rand.IntN(3) > 0 { // others are only checked
			values := make([]eventstore.EventData, 1+w.rand.IntN(3)*w.rand.IntN(2))
			for j := range values {
				data, err := eventstore.NewBSONCodec().Marshal(map[string]int{"n": w.rand.IntN(1000)})
				if err != nil {
					return req, err
				}
				values[j] = eventstore.EventData{ID: eventstore.NewEventID(), Type: "torture.happened", Data: data}
			}
			st.Events = values
		}
		req.Streams = append(req.Streams, st)
	}
	return req, nil
}
