package projectiontest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// CrashConfig says how [Crash] works. The zero value works.
type CrashConfig struct {
	// Duration is how long things go wrong: 2s when zero, unless the environment
	// says otherwise (ANNALS_CRASH=5m).
	Duration time.Duration
	// Seed decides what goes wrong; a random one when zero, unless the
	// environment says otherwise (ANNALS_CRASH_SEED=7). It is logged.
	Seed uint64
	// Workers is the number of workers; 3 when zero.
	Workers int
	// LeaseTTL is that of the workers; 400ms when zero. Backends that take long
	// for a commit need more.
	LeaseTTL time.Duration
	// Extra are definitions of one's own that run besides those of the test.
	Extra CrashExtra
}

// CrashExtra is what else workers run in [Crash].
type CrashExtra struct {
	// Types are those of the events that Write appends.
	Types []eventstore.TypeDef
	// Write returns what to append the n-th time, n counted from zero.
	Write func(n int) (eventstore.StreamID, []any)
	// Definitions are run by every worker, Names are those that have to have
	// applied everything before Check is called, all workers still running.
	Definitions []projection.Definition
	Names       []string
	Check       func(t *testing.T)
}

// A CrashBackend is what [Crash] runs on.
type CrashBackend struct {
	Store   Events
	Backend projection.Backend
	// Pass lets the backend's clock jump forward; nil when it cannot.
	Pass func(d time.Duration)
}

// Events is the part of an event store that is written and read.
type Events interface {
	eventstore.Appender
	eventstore.Log
}

// Events of the crash test.
type (
	transferred struct {
		From, To string
		Amount   int
	}
	closed struct{ Account string }
	// cursed cannot be handled until the curse is lifted.
	cursed struct{ Account string }
)

func crashRegistry(extra ...eventstore.TypeDef) *eventstore.Registry {
	return eventstore.MustRegistry(append([]eventstore.TypeDef{
		eventstore.Type[transferred]("transferred"), eventstore.Type[closed]("closed"), eventstore.Type[cursed]("cursed"),
	}, extra...)...)
}

// account is a read model that shows every event that was missed, doubled or
// taken out of order.
type account struct {
	Balance int    `json:"balance"`
	Count   int    `json:"count"`
	Chain   uint64 `json:"chain"`
}

func (a account) with(e eventstore.Event, amount int) account {
	a.Balance += amount
	a.Count++
	a.Chain = (a.Chain^uint64(e.Position))*1099511628211&(1<<62-1) + 1
	return a
}

// accounts is the fold under test.
func accounts(version int, lifted *atomic.Bool) projection.Fold[account] {
	both := func(t transferred, _ eventstore.Event) []string { return []string{t.From, t.To} }
	return projection.Fold[account]{Name: "accounts", Version: version, Handlers: []projection.FoldHandler[account]{
		projection.ReduceOn(both, func(a *account, t transferred, e eventstore.Event) (*account, error) {
			if a == nil {
				a = new(account)
			}
			*a = a.with(e, t.Amount)
			return a, nil
		}),
		projection.DeleteOn[account](func(c closed, _ eventstore.Event) []string { return []string{c.Account} }),
		projection.ReduceOn(func(c cursed, _ eventstore.Event) []string { return []string{c.Account} }, func(a *account, _ cursed, e eventstore.Event) (*account, error) {
			if a == nil {
				a = new(account)
			}
			*a = a.with(e, 0) // half done, and then
			if !lifted.Load() {
				panic("cursed")
			}
			return a, nil
		}),
	}}
}

// counters is a read model of partial updates.
func counters() projection.Fold[account] {
	return projection.Fold[account]{Name: "counters", Handlers: []projection.FoldHandler[account]{
		projection.UpdateOn[account](func(t transferred, _ eventstore.Event) []string { return []string{t.To} }, func(t transferred, _ eventstore.Event) (any, error) {
			return projection.Patch{Add: map[string]any{"count": 1, "balance": t.Amount}}, nil
		}),
	}}
}

// seen is what a handler of its own kind has been handed, once or more often.
type seen struct {
	mu     sync.Mutex
	events map[eventstore.StreamID][]eventstore.Version // each at its first time
	times  int
}

func (s *seen) handler() projection.Projection {
	return projection.Projection{Name: "seen", Handlers: []projection.Handler{
		projection.On(func(_ context.Context, _ transferred, e eventstore.Event) error {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.times++
			versions := s.events[e.Stream]
			if len(versions) == 0 || versions[len(versions)-1] < e.Version {
				s.events[e.Stream] = append(versions, e.Version)
			}
			return nil
		}),
	}}
}

// Crash lets workers die, lose leases, be paused beyond them and meet a network
// that loses questions and answers, while events are written, partitions change,
// a second version is built and dead letters are retried. When all is quiet, every
// read model must equal the fold of the log, and handlers of their own kind must
// have been handed every event, in order.
//
// It logs its seed and what has happened.
func Crash(t *testing.T, cfg CrashConfig, open func(t *testing.T) CrashBackend) {
	t.Helper()
	cfg = cfg.withDefaults(t)
	b := open(t)
	r := &crash{
		t:      t,
		cfg:    cfg,
		b:      b,
		rand:   rand.New(rand.NewPCG(cfg.Seed, 1)),
		seen:   &seen{events: map[eventstore.StreamID][]eventstore.Version{}},
		counts: &counts{},
	}
	t.Logf("seed %d (ANNALS_CRASH_SEED), %s (ANNALS_CRASH)", cfg.Seed, cfg.Duration)
	r.run()
	t.Log(r.counts)
}

func (c CrashConfig) withDefaults(t *testing.T) CrashConfig {
	t.Helper()
	if text := os.Getenv("ANNALS_CRASH"); text != "" {
		d, err := time.ParseDuration(text)
		require.NoError(t, err, "ANNALS_CRASH")
		c.Duration = d
	}
	if text := os.Getenv("ANNALS_CRASH_SEED"); text != "" {
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, "ANNALS_CRASH_SEED")
		c.Seed = seed
	}
	if c.Duration == 0 {
		c.Duration = 2 * time.Second
	}
	if c.Seed == 0 {
		c.Seed = rand.Uint64()
	}
	if c.Workers == 0 {
		c.Workers = 3
	}
	if c.LeaseTTL == 0 {
		c.LeaseTTL = 400 * time.Millisecond
	}
	return c
}

// A crash is one run.
type crash struct {
	t      *testing.T
	cfg    CrashConfig
	b      CrashBackend
	seen   *seen
	counts *counts

	network network
	lifted  atomic.Bool

	mu      sync.Mutex
	rand    *rand.Rand
	written []eventstore.Token
	settled map[string]bool // by model: those that were waited for
}

func (r *crash) intN(n int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.rand.IntN(n)
}

func (r *crash) run() {
	r.network.set(true)
	trouble, calm := context.WithTimeout(r.t.Context(), r.cfg.Duration)
	defer calm()
	workers, stop := context.WithCancel(r.t.Context())
	defer stop()
	var troubles, working sync.WaitGroup
	troubles.Go(func() { r.write(trouble) })
	troubles.Go(func() { r.meddle(trouble) })
	for i := range r.cfg.Workers {
		working.Go(func() { r.lives(workers, trouble, i) })
	}
	troubles.Wait()
	r.network.calm()
	r.settle()
	if r.cfg.Extra.Check != nil {
		r.cfg.Extra.Check(r.t)
	}
	stop()
	working.Wait()
	r.compare()
}

// write appends events, and what the backend's own test adds.
func (r *crash) write(ctx context.Context) {
	for n := 0; ctx.Err() == nil; n++ {
		name := func() string { return fmt.Sprint("a", r.intN(12)) }
		var payloads []any
		for range 1 + r.intN(6) {
			switch k := r.intN(100); {
			case k < 2:
				payloads = append(payloads, closed{Account: name()})
			case k < 3 && r.intN(4) == 0:
				payloads = append(payloads, cursed{Account: name()})
			default:
				payloads = append(payloads, transferred{From: name(), To: name(), Amount: r.intN(100)})
			}
		}
		err := r.append(ctx, eventstore.NewStreamID("bank", fmt.Sprint(r.intN(7))), payloads)
		if extra := r.cfg.Extra.Write; extra != nil && err == nil {
			stream, payloads := extra(n)
			err = r.append(ctx, stream, payloads)
		}
		if err != nil {
			r.t.Errorf("append: %v", err)
			return
		}
		r.counts.appends.Add(1)
		time.Sleep(time.Duration(r.intN(3)) * time.Millisecond)
	}
}

// append appends to one stream and remembers what the log is to have.
func (r *crash) append(ctx context.Context, stream eventstore.StreamID, payloads []any) error {
	data, err := crashRegistry(r.cfg.Extra.Types...).Encode(payloads...)
	if err != nil {
		return err
	}
	result, err := eventstore.Append(context.WithoutCancel(ctx), r.b.Store, stream, eventstore.Any, data...)
	if err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.written = append(r.written, result.Token)
	return nil
}

// lives runs one worker after the other, each until it dies.
func (r *crash) lives(ctx, trouble context.Context, number int) {
	for life := 0; ctx.Err() == nil; life++ {
		f := &flaky{
			b:       r.b.Backend,
			f:       faults{refused: 0.02, lost: 0.02, late: 0.02, slow: 0.01, pause: 2 * r.cfg.LeaseTTL},
			network: &r.network,
			counts:  r.counts,
			rand:    rand.New(rand.NewPCG(r.cfg.Seed, uint64(1000*number+life))),
		}
		definitions := []projection.Definition{accounts(1, &r.lifted), counters(), r.seen.handler()}
		if number != 0 && life > 0 {
			definitions = append(definitions, accounts(2, &r.lifted))
		}
		definitions = append(definitions, r.cfg.Extra.Definitions...)
		w, err := projection.NewWorker(r.b.Store, crashRegistry(r.cfg.Extra.Types...), f, projection.WorkerConfig{
			Name:        fmt.Sprintf("w%d-%d", number, life),
			Partitions:  3,
			BatchSize:   7,
			MaxAttempts: 2,
			Backoff:     projection.Backoff{First: time.Millisecond, Max: 10 * time.Millisecond},
			MaxParked:   -1,
			LeaseTTL:    r.cfg.LeaseTTL,
			Heartbeat:   r.cfg.LeaseTTL / 8,
			StopTimeout: r.cfg.LeaseTTL,
			Logger:      r.logger(),
		}, definitions...)
		if err != nil {
			r.t.Error(err)
			return
		}
		life, end := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = w.Run(life)
		}()
		select {
		case <-ctx.Done():
		case <-after(trouble, time.Duration(r.intN(int(3*r.cfg.LeaseTTL)))):
			if trouble.Err() == nil {
				if r.intN(3) > 0 { // dies, rather than stops
					f.dead.Store(true)
					r.counts.kills.Add(1)
				}
			} else {
				<-ctx.Done() // the last life goes on until all is settled
			}
		}
		end()
		<-done
	}
}

// names are those of all projections.
func (r *crash) names() []string {
	return append([]string{"accounts", "counters", "seen"}, r.cfg.Extra.Names...)
}

// logger writes to standard error when ANNALS_CRASH_LOG is set.
func (r *crash) logger() *slog.Logger {
	if os.Getenv("ANNALS_CRASH_LOG") == "" {
		return nil
	}
	return slog.New(slog.NewTextHandler(os.Stderr, nil))
}

// after is closed when the time has passed or ctx has ended.
func after(ctx context.Context, d time.Duration) <-chan struct{} {
	ctx, cancel := context.WithTimeout(ctx, d)
	context.AfterFunc(ctx, cancel)
	return ctx.Done()
}

// meddle steals leases, moves the clock, changes partitions and retries dead
// letters.
func (r *crash) meddle(ctx context.Context) {
	control := projection.NewControl(r.b.Store, r.b.Backend)
	for ctx.Err() == nil {
		<-after(ctx, time.Duration(r.intN(int(r.cfg.LeaseTTL/4))))
		switch k := r.intN(20); {
		case k < 10:
			leases, err := r.b.Backend.Leases(ctx, "partition/")
			if err == nil && len(leases) > 0 && r.b.Backend.ReleaseLease(ctx, leases[r.intN(len(leases))]) == nil {
				r.counts.steals.Add(1)
			}
		case k < 12:
			if r.b.Pass != nil {
				r.b.Pass(r.cfg.LeaseTTL)
				r.counts.jumps.Add(1)
			}
		case k < 16:
			names := r.names()
			name := names[r.intN(len(names))]
			if control.Repartition(ctx, name, 0, 1+r.intN(5)) == nil {
				r.counts.repartitions.Add(1)
			}
		default:
			r.lifted.Store(r.intN(3) > 0)
			if control.Retry(ctx, "accounts", 1+r.intN(2), "") == nil {
				r.counts.retries.Add(1)
			}
		}
	}
}

// settle lifts the curse and waits until everything is applied.
func (r *crash) settle() {
	r.lifted.Store(true)
	ctx, cancel := context.WithTimeout(r.t.Context(), 5*time.Minute+r.cfg.Duration)
	defer cancel()
	control := projection.NewControl(r.b.Store, r.b.Backend)
	// There are many after a long run, and a store may have to look for each.
	var awaiting errgroup.Group
	awaiting.SetLimit(16)
	for _, token := range r.written {
		awaiting.Go(func() error {
			_, err := r.b.Store.Await(ctx, token)
			return err
		})
	}
	require.NoError(r.t, awaiting.Wait(), "what was appended did not come into the log")
	r.settled = map[string]bool{}
	head, err := r.b.Store.Head(ctx)
	require.NoError(r.t, err)
	for _, name := range r.names() {
		status, err := control.Status(ctx, name)
		for ; errors.Is(err, projection.ErrNoProjection) && ctx.Err() == nil; status, err = control.Status(ctx, name) {
			<-after(ctx, r.cfg.LeaseTTL/8) // on a busy machine no worker has come as far as that
		}
		require.NoError(r.t, err)
		for _, v := range status.Versions {
			if v.Phase == projection.Retired {
				continue
			}
			err := r.applied(ctx, control, name, v.Version, head)
			if errors.Is(err, projection.ErrNoVersion) {
				continue // it was removed in the meantime
			}
			if err != nil {
				status, _ := control.Status(r.t.Context(), name)
				require.NoError(r.t, err, "%+v", status)
			}
			r.settled[v.Model] = true
		}
	}
}

// applied waits until a version has applied all events up to head, also those that it
// has parked. It asks for these behind the head only: what failed before the curse was
// lifted may be parked late.
func (r *crash) applied(ctx context.Context, control *projection.Control, name string, version int, head eventstore.Position) error {
	if err := control.WaitUntil(ctx, name, version, head); err != nil {
		return err
	}
	for {
		status, err := control.Status(ctx, name)
		if err != nil || status.Version(version).Parked == 0 {
			return err
		}
		if err := control.Retry(ctx, name, version, ""); err != nil {
			return err
		}
		<-after(ctx, r.cfg.LeaseTTL/2)
	}
}

// compare compares the read models that were waited for with the fold of the log. A
// worker that began late may have registered a version after that.
func (r *crash) compare() {
	ctx := r.t.Context()
	want, counts, streams := map[string]account{}, map[string]account{}, map[eventstore.StreamID][]eventstore.Version{}
	registry := crashRegistry(r.cfg.Extra.Types...)
	for e, err := range r.b.Store.ReadLog(ctx, eventstore.LogQuery{}) {
		require.NoError(r.t, err)
		payload, err := registry.Decode(e)
		require.NoError(r.t, err)
		switch v := payload.(type) {
		case transferred:
			for _, name := range slices.Compact([]string{v.From, v.To}) {
				want[name] = want[name].with(e, v.Amount)
			}
			c := counts[v.To]
			c.Count++
			c.Balance += v.Amount
			counts[v.To] = c
			streams[e.Stream] = append(streams[e.Stream], e.Version)
		case closed:
			delete(want, v.Account)
		case cursed:
			want[v.Account] = want[v.Account].with(e, 0)
		}
	}
	control, compared := projection.NewControl(r.b.Store, r.b.Backend), 0
	for name, want := range map[string]map[string]account{"accounts": want, "counters": counts} {
		status, err := control.Status(ctx, name)
		require.NoError(r.t, err)
		for _, v := range status.Versions {
			if v.Phase != projection.Retired && r.settled[v.Model] {
				require.Equal(r.t, want, r.documents(v.Model), "%s is not the fold of the log; %+v", v.Model, status)
				compared++
			}
		}
	}
	require.GreaterOrEqual(r.t, compared, 2, "a read model of each fold")
	r.seen.mu.Lock()
	defer r.seen.mu.Unlock()
	require.Equal(r.t, streams, r.seen.events, "a handler of its own kind was not handed every event in order")
	r.t.Logf("%d events handled %d times", total(streams), r.seen.times)
}

func total(streams map[eventstore.StreamID][]eventstore.Version) int {
	n := 0
	for versions := range maps.Values(streams) {
		n += len(versions)
	}
	return n
}

func (r *crash) documents(model string) map[string]account {
	docs, err := r.b.Backend.ScanDocuments(r.t.Context(), model, "", "", 0)
	require.NoError(r.t, err)
	all := map[string]account{}
	for _, d := range docs {
		var a account
		require.NoError(r.t, eventstore.NewBSONCodec().Unmarshal(d.Data, &a))
		all[d.Key] = a
	}
	return all
}
