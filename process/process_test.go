package process_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/process"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	placed   struct{ Order string }
	paid     struct{ Order string }
	reserved struct{ Order string }
	noted    struct{ Order string }

	reserve struct{ Order string }
	ship    struct{ Order string }
	cancel  struct{ Order string }
	refund  struct{ Order string }
)

func events() *eventstore.Registry {
	return eventstore.MustRegistry(eventstore.Type[placed]("placed"), eventstore.Type[paid]("paid"), eventstore.Type[reserved]("reserved"), eventstore.Type[noted]("noted"))
}

func commands() *eventstore.Registry {
	return eventstore.MustRegistry(eventstore.Type[reserve]("reserve"), eventstore.Type[ship]("ship"), eventstore.Type[cancel]("cancel"), eventstore.Type[refund]("refund"))
}

// order is the state of an order on its way.
type order struct {
	Paid     bool     `json:"paid"`
	Reserved bool     `json:"reserved"`
	Steps    []string `json:"steps"`
}

func (o *order) note(step string) *order { o.Steps = append(o.Steps, step); return o }

// fulfil reserves stock for orders that were placed, ships what is paid and
// cancels what is not paid within a minute.
func fulfil(post *office) process.Manager[order] {
	proceed := func(o *order, key string, do *process.Do) (*order, error) {
		if o.Paid && o.Reserved {
			do.Send(ship{Order: key})
			do.Stop("unpaid")
			return o.note("shipped"), nil
		}
		return o, nil
	}
	return process.Manager[order]{
		Name: "fulfilment",
		Handlers: []process.Handler[order]{
			process.On(func(p placed, _ eventstore.Event) string { return p.Order }, func(_ *order, p placed, _ eventstore.Event, do *process.Do) (*order, error) {
				do.Send(reserve(p))
				do.After("unpaid", time.Minute)
				return (&order{}).note("placed"), nil
			}),
			process.On(func(p paid, _ eventstore.Event) string { return p.Order }, func(o *order, p paid, _ eventstore.Event, do *process.Do) (*order, error) {
				if o == nil {
					do.Send(refund(p))
					return nil, nil
				}
				o.Paid = true
				return proceed(o.note("paid"), p.Order, do)
			}),
			process.On(func(r reserved, _ eventstore.Event) string { return r.Order }, func(o *order, r reserved, _ eventstore.Event, do *process.Do) (*order, error) {
				if o == nil {
					return nil, nil
				}
				o.Reserved = true
				return proceed(o.note("reserved"), r.Order, do)
			}),
		},
		Timeouts: map[string]process.Timeout[order]{
			"unpaid": func(_ *order, do *process.Do) (*order, error) {
				do.Send(cancel{Order: do.Key})
				return nil, nil
			},
		},
		Commands: commands(),
		Send:     post.send,
	}
}

// An office receives commands and remembers each once, and none that another one
// has had: they are sent at least once, and known by their ids.
type office struct {
	mu       sync.Mutex
	other    *office
	byID     map[eventstore.AppendID]int
	received []string
	fail     func(c process.Command) error
}

func newOffice() *office { return &office{byID: map[eventstore.AppendID]int{}} }

func (o *office) send(_ context.Context, c process.Command) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.fail != nil {
		if err := o.fail(c); err != nil {
			return err
		}
	}
	if o.other != nil && o.other.had(c.ID) {
		return nil
	}
	if o.byID[c.ID]++; o.byID[c.ID] == 1 {
		o.received = append(o.received, fmt.Sprintf("%T %s", c.Payload, c.Key))
	}
	return nil
}

func (o *office) had(id eventstore.AppendID) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.byID[id] > 0
}

func (o *office) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return append([]string{}, o.received...)
}

type site struct {
	t       *testing.T
	store   *simstore.Store
	control *projection.Control
	cfg     projection.WorkerConfig
}

func newSite(t *testing.T, cfg simstore.Config) *site {
	t.Helper()
	store := simstore.New(cfg)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return &site{t: t, store: store, control: projection.NewControl(store, store), cfg: projection.WorkerConfig{Partitions: 2}}
}

func (s *site) add(stream eventstore.StreamID, payloads ...any) {
	s.t.Helper()
	data, err := events().Encode(payloads...)
	require.NoError(s.t, err)
	_, err = eventstore.Append(s.t.Context(), s.store, stream, eventstore.Any, data...)
	require.NoError(s.t, err)
}

func (s *site) work(name string, definitions ...projection.Definition) (stop func()) {
	s.t.Helper()
	cfg := s.cfg
	cfg.Name = name
	w, err := projection.NewWorker(s.store, events(), s.store, cfg, definitions...)
	require.NoError(s.t, err)
	ctx, cancel := context.WithCancel(s.t.Context())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		require.NoError(s.t, <-done)
	})
	s.t.Cleanup(stop)
	return stop
}

func (s *site) until(what string, condition func() bool) {
	s.t.Helper()
	for range 10_000 {
		if condition() {
			return
		}
		time.Sleep(50 * time.Millisecond) // of the bubble's time
	}
	s.t.Fatalf("never came: %s", what)
}

func (s *site) count(model string) int {
	s.t.Helper()
	docs, err := s.store.ScanDocuments(s.t.Context(), model, "", "", 0)
	require.NoError(s.t, err)
	return len(docs)
}

func TestManager(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, simstore.Config{})
		post := newOffice()
		s.work("a", fulfil(post))
		s.add("order-1", placed{"1"})
		s.add("order-2", placed{"2"})
		s.add("stock-1", reserved{"1"}, reserved{"2"})
		s.until("reservations", func() bool { return len(post.all()) == 2 })
		s.add("payment-1", paid{"1"})
		s.until("shipment", func() bool { return len(post.all()) == 3 })
		require.ElementsMatch(t, []string{"process_test.reserve 1", "process_test.reserve 2", "process_test.ship 1"}, post.all())
		require.Equal(t, 1, s.count("fulfilment_v1_timers"), "that of the order which is not paid")
		time.Sleep(59 * time.Second)
		require.Len(t, post.all(), 3)
		time.Sleep(2 * time.Second)
		require.Contains(t, post.all(), "process_test.cancel 2")
		require.Len(t, post.all(), 4)
		require.Equal(t, 1, s.count("fulfilment_v1"), "the cancelled one has ended")
		require.Zero(t, s.count("fulfilment_v1_timers"))
		require.Zero(t, s.count("fulfilment_v1_outbox"))
		s.add("payment-2", paid{"2"})
		s.until("refund", func() bool { return len(post.all()) == 5 })
		time.Sleep(10 * time.Minute)
		require.Len(t, post.all(), 5, "each once")
	})
}

// A timer that runs out while no worker is there does so when one comes.
func TestTimersAreDurable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, simstore.Config{})
		post := newOffice()
		stop := s.work("a", fulfil(post))
		s.add("order-1", placed{"1"})
		s.until("reservation", func() bool { return len(post.all()) == 1 })
		stop()
		time.Sleep(time.Hour)
		s.work("b", fulfil(post))
		s.work("c", fulfil(post))
		s.until("cancellation", func() bool { return len(post.all()) == 2 })
		time.Sleep(10 * time.Minute)
		require.Equal(t, []string{"process_test.reserve 1", "process_test.cancel 1"}, post.all())
		for id, times := range post.byID {
			require.Equal(t, 1, times, "%s", id)
		}
	})
}

func TestFailingCommandsHoldUpTheirKeyAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, simstore.Config{})
		post := newOffice()
		down := true
		post.fail = func(c process.Command) error {
			if c.Key == "1" && down {
				return errors.New("warehouse 1 is down")
			}
			return nil
		}
		s.work("a", fulfil(post))
		for _, o := range []string{"1", "2", "3", "4"} {
			s.add(eventstore.NewStreamID("order", o), placed{o}, paid{o}, reserved{o})
		}
		s.until("the others", func() bool { return len(post.all()) == 6 })
		s.until("the failure is told", func() bool {
			status, err := s.control.Status(t.Context(), "fulfilment")
			require.NoError(t, err)
			return status.Versions[0].LastError == `send command reserve of "1": warehouse 1 is down`
		})
		require.Len(t, post.all(), 6)
		post.mu.Lock()
		down = false
		post.mu.Unlock()
		s.until("those held up", func() bool { return len(post.all()) == 8 })
		require.Equal(t, []string{"process_test.reserve 1", "process_test.ship 1"}, post.all()[6:])
	})
}

func TestRejectedCommands(t *testing.T) {
	t.Parallel()
	reject := func(c process.Command) error {
		if _, ok := c.Payload.(reserve); ok {
			return projection.Permanent(errors.New("out of stock"))
		}
		return nil
	}
	t.Run("kept aside", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, simstore.Config{})
			post := newOffice()
			post.fail = reject
			m := fulfil(post)
			s.work("a", m)
			s.add("order-1", placed{"1"}, paid{"1"}, reserved{"1"})
			s.until("what follows", func() bool { return len(post.all()) == 1 })
			rejected, err := process.Rejected(t.Context(), m, s.store, projection.NewResolver(s.store, 0), 0)
			require.NoError(t, err)
			require.Len(t, rejected, 1)
			require.Equal(t, "out of stock", rejected[0].Reason)
			require.Equal(t, reserve{"1"}, rejected[0].Command.Payload)
			require.Equal(t, eventstore.Position(1), rejected[0].Command.Position)
		})
	})
	t.Run("reacted to", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, simstore.Config{})
			post := newOffice()
			post.fail = reject
			m := fulfil(post)
			m.Rejected = func(o *order, c process.Command, reason string, do *process.Do) (*order, error) {
				do.Send(cancel{Order: c.Key})
				require.Equal(t, "out of stock", reason)
				return nil, nil
			}
			s.work("a", m)
			s.add("order-1", placed{"1"})
			s.until("cancellation", func() bool { return len(post.all()) == 1 })
			require.Equal(t, []string{"process_test.cancel 1"}, post.all())
			require.Zero(t, s.count("fulfilment_v1"))
			require.Zero(t, s.count("fulfilment_v1_timers"))
		})
	})
}

// Whatever the store does to workers, the commands are those of a quiet run, and
// each has one id.
func TestManagerUnderFaults(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, faults ...simstore.Fault) (map[eventstore.AppendID]int, []string) {
		var ids map[eventstore.AppendID]int
		var received []string
		synctest.Test(t, func(t *testing.T) {
			s := newSite(t, simstore.Config{Seed: 7})
			s.cfg.BatchSize = 3
			post := newOffice()
			var injected []*simstore.Injection
			for _, f := range faults {
				injected = append(injected, s.store.Inject(f))
			}
			stopA := s.work("a", fulfil(post))
			s.work("b", fulfil(post))
			for i := range 30 {
				o := fmt.Sprint(i)
				s.add(eventstore.NewStreamID("order", o), placed{o})
				if i%3 > 0 {
					s.add(eventstore.NewStreamID("stock", o), reserved{o})
				}
				if i%3 > 1 {
					s.add(eventstore.NewStreamID("payment", o), paid{o})
				}
				time.Sleep(time.Second)
				if i == 15 {
					stopA()
					s.work("c", fulfil(post))
				}
			}
			time.Sleep(5 * time.Minute)
			for _, i := range injected {
				i.Remove()
			}
			time.Sleep(5 * time.Minute)
			ids, received = post.byID, post.all()
			require.Equal(t, 10, s.count("fulfilment_v1"))
			require.Zero(t, s.count("fulfilment_v1_outbox"))
			require.Zero(t, s.count("fulfilment_v1_timers"))
		})
		return ids, received
	}
	quiet, want := run(t)
	require.Len(t, want, 60)
	loud, got := run(t,
		simstore.Fault{Ops: []simstore.Op{simstore.OpCommit}, Kind: simstore.UnknownWritten, Probability: 0.1},
		simstore.Fault{Ops: []simstore.Op{simstore.OpCommit}, Kind: simstore.UnknownNotWritten, Probability: 0.1},
		simstore.Fault{Ops: []simstore.Op{simstore.OpCommit, simstore.OpLoadDocuments, simstore.OpScanDocuments, simstore.OpNow, simstore.OpAcquireLease, simstore.OpLoadRow}, Kind: simstore.Unavailable, Probability: 0.1},
	)
	require.ElementsMatch(t, want, got)
	require.Len(t, loud, 60)
	for id := range quiet {
		require.Contains(t, loud, id, "ids are the same in every run")
	}
}

func TestNewVersionTakesOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, simstore.Config{})
		post := newOffice()
		stop := s.work("a", fulfil(post))
		for i := range 10 {
			o := fmt.Sprint(i)
			s.add(eventstore.NewStreamID("order", o), placed{o})
		}
		s.until("reservations", func() bool { return len(post.all()) == 10 })
		second := newOffice()
		second.other = post
		m := fulfil(second)
		m.Version = 2
		s.work("b", m)
		s.until("promotion", func() bool {
			status, err := s.control.Status(t.Context(), "fulfilment")
			require.NoError(t, err)
			return status.Current == 2
		})
		stop()
		require.Empty(t, second.all(), "nothing is sent again")
		for i := range 10 {
			o := fmt.Sprint(i)
			s.add(eventstore.NewStreamID("stock", o), reserved{o}, paid{o})
		}
		s.until("shipments by the new one", func() bool { return len(second.all()) == 10 })
		require.Len(t, post.all(), 10)
		time.Sleep(10 * time.Minute)
		require.Len(t, second.all(), 10)
	})
}

// What the old version has not got rid of is the new one's to send, and so are
// timers that were set before it took over.
func TestNewVersionTakesOverTheOutbox(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, simstore.Config{})
		post := newOffice()
		post.fail = func(process.Command) error { return errors.New("down") }
		stop := s.work("a", fulfil(post))
		for i := range 10 {
			o := fmt.Sprint(i)
			s.add(eventstore.NewStreamID("order", o), placed{o})
		}
		s.until("orders are in the outbox", func() bool { return s.count("fulfilment_v1_outbox") == 10 })
		second := newOffice()
		m := fulfil(second)
		m.Version = 2
		s.work("b", m)
		s.until("promotion", func() bool {
			status, err := s.control.Status(t.Context(), "fulfilment")
			require.NoError(t, err)
			return status.Current == 2
		})
		stop()
		s.until("reservations", func() bool { return len(second.all()) == 10 })
		time.Sleep(2 * time.Minute)
		require.Len(t, second.all(), 20, "the cancellations")
		require.Empty(t, post.all())
		require.Zero(t, s.count("fulfilment_v1_outbox"))
		require.Zero(t, s.count("fulfilment_v2_outbox"))
	})
}

func TestManagerRefuses(t *testing.T) {
	t.Parallel()
	post := newOffice()
	for want, change := range map[string]func(m *process.Manager[order]){
		"has no handlers":                   func(m *process.Manager[order]) { m.Handlers = nil },
		"needs Send and Commands":           func(m *process.Manager[order]) { m.Send = nil },
		"has two handlers":                  func(m *process.Manager[order]) { m.Handlers = append(m.Handlers, m.Handlers[0]) },
		"has a handler that was not made":   func(m *process.Manager[order]) { m.Handlers = []process.Handler[order]{{}} },
		"has a timeout without a name or f": func(m *process.Manager[order]) { m.Timeouts[""] = nil },
		"which is not registered": func(m *process.Manager[order]) {
			m.Handlers = []process.Handler[order]{process.On(func(struct{ Z int }, eventstore.Event) string { return "" }, func(o *order, _ struct{ Z int }, _ eventstore.Event, _ *process.Do) (*order, error) { return o, nil })}
		},
	} {
		m := fulfil(post)
		change(&m)
		_, err := m.Plan(events())
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, want)
	}
}

// What a handler must not do parks the key: an unknown timer, an unknown command.
func TestMistakesOfHandlersPark(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, simstore.Config{})
		m := fulfil(newOffice())
		m.Handlers = append(m.Handlers, process.On(func(n noted, _ eventstore.Event) string { return n.Order }, func(o *order, n noted, _ eventstore.Event, do *process.Do) (*order, error) {
			if n.Order == "1" {
				do.After("no such timer", time.Second)
			} else {
				do.Send(struct{ Unknown bool }{})
			}
			return &order{}, nil
		}))
		s.add("order-1", noted{"1"}, noted{"2"})
		s.work("a", m)
		s.until("both are parked", func() bool {
			letters, err := s.control.DeadLetters(t.Context(), projection.LetterQuery{Projection: "fulfilment"})
			return err == nil && len(letters) == 2
		})
		require.Zero(t, s.count("fulfilment_v1"))

		// They have had no effect yet: a new version waits until they are seen to.
		current := func() int {
			status, err := s.control.Status(t.Context(), "fulfilment")
			require.NoError(t, err)
			return status.Current
		}
		s.until("promotion", func() bool { return current() == 1 })
		second := fulfil(newOffice())
		second.Version = 2
		var lines strings.Builder
		s.cfg.Logger = slog.New(slog.NewTextHandler(&lines, nil))
		stop := s.work("b", second)
		time.Sleep(time.Minute)
		require.Equal(t, 1, current())
		require.NoError(t, s.control.Drain(t.Context(), "fulfilment", 1, ""))
		s.until("the new version", func() bool { return current() == 2 })
		stop()
		require.Equal(t, 1, strings.Count(lines.String(), "promotion waits"), "said once, and not with every heartbeat")
	})
}
