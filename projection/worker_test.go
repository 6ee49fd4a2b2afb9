package projection_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
)

// tally is a document that shows what was folded into it, in which order.
type tally struct {
	Sum   int   `json:"sum"`
	Count int   `json:"count"`
	Ns    []int `json:"ns"`
}

func tallies(handlers ...projection.FoldHandler[tally]) projection.Fold[tally] {
	if len(handlers) == 0 {
		handlers = append(handlers, projection.FoldOn(nil, addUp))
	}
	return projection.Fold[tally]{Name: "tallies", Handlers: handlers}
}

func addUp(t tally, c counted, _ eventstore.Event) tally {
	t.Sum += c.N
	t.Count++
	t.Ns = append(t.Ns, c.N)
	return t
}

// A site is a store with workers on it.
type site struct {
	t       *testing.T
	store   *simstore.Store
	control *projection.Control
	cfg     projection.WorkerConfig
}

func newSite(t *testing.T, cfg projection.WorkerConfig) *site {
	t.Helper()
	store := newStore(t, simstore.Config{})
	if testing.Verbose() && os.Getenv("LOG") != "" {
		cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelInfo}))
	}
	return &site{t: t, store: store, control: projection.NewControl(store, store), cfg: cfg}
}

// work starts a worker and returns what stops it.
func (s *site) work(name string, definitions ...projection.Definition) (stop func()) {
	s.t.Helper()
	cfg := s.cfg
	cfg.Name = name
	w, err := projection.NewWorker(s.store, registry(), s.store, cfg, definitions...)
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

// reach waits until a version has applied all that there is.
func (s *site) reach(name string, version int) {
	s.t.Helper()
	head, err := s.store.Head(s.t.Context())
	require.NoError(s.t, err)
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Minute)
	defer cancel()
	require.NoError(s.t, s.control.WaitUntil(ctx, name, version, head))
}

func (s *site) status(name string) projection.ProjectionStatus {
	s.t.Helper()
	status, err := s.control.Status(s.t.Context(), name)
	if errors.Is(err, projection.ErrNoProjection) {
		return projection.ProjectionStatus{Versions: make([]projection.VersionStatus, 1)}
	}
	require.NoError(s.t, err)
	return status
}

// until waits until a condition holds, looking every now and then.
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

func (s *site) docs(model string) map[string]tally {
	s.t.Helper()
	docs, err := s.store.ScanDocuments(s.t.Context(), model, "", "", 0)
	require.NoError(s.t, err)
	all := map[string]tally{}
	for _, d := range docs {
		var v tally
		require.NoError(s.t, eventstore.NewBSONCodec().Unmarshal(d.Data, &v))
		all[d.Key] = v
	}
	return all
}

// fill appends n events to each of streams test-0 to test-(streams-1).
func (s *site) fill(streams, n int) {
	s.t.Helper()
	for i := range n {
		for k := range streams {
			addTo(s.t, s.store, eventstore.StreamID(fmt.Sprint("test-", k)), counted{N: i + 1})
		}
	}
}

// folded is what fill's events fold into.
func folded(streams, n int) map[string]tally {
	all := map[string]tally{}
	for k := range streams {
		var t tally
		for i := range n {
			t = addUp(t, counted{N: i + 1}, eventstore.Event{})
		}
		all[fmt.Sprint(k)] = t
	}
	return all
}

func TestWorkerFolds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{})
		s.fill(10, 20)
		stop := s.work("a", tallies())
		s.reach("tallies", 0)
		require.Equal(t, folded(10, 20), s.docs("tallies_v1"))
		s.fill(3, 0)
		addTo(t, s.store, "test-3", counted{N: 100})
		s.reach("tallies", 0)
		require.Equal(t, 310, s.docs("tallies_v1")["3"].Sum)
		s.until("promotion", func() bool { return s.status("tallies").Current == 1 })
		stop()
		status := s.status("tallies").Versions[0]
		require.Equal(t, projection.Stopped, status.State)
		require.Len(t, status.Partitions, 4)
		require.Zero(t, status.Lag)
	})
}

func TestWorkersShareAndTakeOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 6})
		owners := func() map[string]int {
			n := map[string]int{}
			for _, p := range s.status("tallies").Versions[0].Partitions {
				n[p.Owner]++
			}
			return n
		}
		s.fill(20, 5)
		stopA := s.work("a", tallies())
		s.reach("tallies", 0)
		require.Equal(t, map[string]int{"a": 6}, owners())
		stopB := s.work("b", tallies())
		s.until("half each", func() bool { return owners()["a"] == 3 && owners()["b"] == 3 })
		stopC := s.work("c", tallies())
		s.until("a third each", func() bool { o := owners(); return o["a"] == 2 && o["b"] == 2 && o["c"] == 2 })

		start := time.Now()
		stopA()
		s.until("a's are taken over", func() bool { o := owners(); return o["b"] == 3 && o["c"] == 3 })
		require.Less(t, time.Since(start), 3*time.Second, "without waiting for a lease to expire")
		s.fill(20, 5)
		s.reach("tallies", 0)
		stopB()
		stopC()
		for _, d := range s.docs("tallies_v1") {
			require.Equal(t, []int{1, 2, 3, 4, 5, 1, 2, 3, 4, 5}, d.Ns)
		}
	})
}

func TestPoisonIsParked(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{})
		broken := true
		fold := tallies(projection.ReduceOn(nil, func(d *tally, c counted, e eventstore.Event) (*tally, error) {
			if d == nil {
				d = new(tally)
			}
			*d = addUp(*d, c, e)
			if broken && e.Stream == "test-3" && c.N == 4 {
				if c.N%2 == 0 {
					panic("four")
				}
			}
			return d, nil
		}))
		s.fill(10, 6)
		s.work("a", fold)
		s.reach("tallies", 0)
		want := folded(10, 6)
		want["3"] = folded(4, 3)["3"]
		require.Equal(t, want, s.docs("tallies_v1"))
		letters, err := s.control.DeadLetters(t.Context(), projection.LetterQuery{Projection: "tallies"})
		require.NoError(t, err)
		require.Len(t, letters, 3)
		require.Equal(t, "3", letters[0].Key)
		require.Equal(t, "panic: four", letters[0].Error)
		require.Equal(t, 5, letters[0].Attempts)
		require.Zero(t, letters[1].Attempts)
		require.Equal(t, eventstore.StreamID("test-3"), letters[1].Event.Stream)

		require.NoError(t, s.control.Retry(t.Context(), "tallies", 0, "3"))
		s.until("a failed retry", func() bool {
			letters, err := s.control.DeadLetters(t.Context(), projection.LetterQuery{Projection: "tallies"})
			require.NoError(t, err)
			return letters[0].Attempts == 6
		})
		addTo(t, s.store, "test-3", counted{N: 7})
		s.reach("tallies", 0)
		require.Equal(t, want, s.docs("tallies_v1"), "what follows waits")

		synctest.Wait()
		broken = false
		require.NoError(t, s.control.Retry(t.Context(), "tallies", 0, ""))
		s.until("all applied", func() bool { return s.status("tallies").Versions[0].Parked == 0 })
		want["3"] = addUp(folded(4, 6)["3"], counted{N: 7}, eventstore.Event{})
		require.Equal(t, want, s.docs("tallies_v1"))
	})
}

func TestSkipAndDrain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 2})
		fold := tallies(projection.ReduceOn(nil, func(d *tally, c counted, e eventstore.Event) (*tally, error) {
			if c.N == 2 {
				return nil, projection.Permanent(errors.New("no twos"))
			}
			if d == nil {
				d = new(tally)
			}
			*d = addUp(*d, c, e)
			return d, nil
		}))
		s.fill(2, 4)
		s.work("a", fold)
		s.reach("tallies", 0)
		require.Equal(t, 6, s.status("tallies").Versions[0].Parked)
		letters, err := s.control.DeadLetters(t.Context(), projection.LetterQuery{Projection: "tallies", Key: "0"})
		require.NoError(t, err)
		require.Equal(t, 1, letters[0].Attempts, "permanent")
		require.NoError(t, s.control.Skip(t.Context(), "tallies", 0, "0", letters[0].Position))
		require.NoError(t, s.control.Drain(t.Context(), "tallies", 0, "1"))
		s.until("nothing is parked", func() bool { return s.status("tallies").Versions[0].Parked == 0 })
		require.Equal(t, []int{1, 3, 4}, s.docs("tallies_v1")["0"].Ns)
		require.Equal(t, []int{1}, s.docs("tallies_v1")["1"].Ns)
		addTo(t, s.store, "test-1", counted{N: 9})
		s.reach("tallies", 0)
		require.Equal(t, []int{1, 9}, s.docs("tallies_v1")["1"].Ns)
	})
}

func TestRepartition(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 2})
		s.fill(10, 3)
		s.work("a", tallies())
		s.work("b", tallies())
		s.reach("tallies", 0)
		for _, n := range []int{5, 1, 3} {
			require.NoError(t, s.control.Repartition(t.Context(), "tallies", 0, n))
			require.ErrorIs(t, s.control.Repartition(t.Context(), "tallies", 0, 9), projection.ErrBusy)
			for range 20 {
				s.fill(10, 1)
				time.Sleep(100 * time.Millisecond)
			}
			s.until("repartitioned", func() bool {
				v := s.status("tallies").Versions[0]
				return v.NextPartitions == 0 && len(v.Partitions) == n
			})
		}
		s.reach("tallies", 0)
		docs := s.docs("tallies_v1")
		require.Len(t, docs, 10)
		for key, d := range docs {
			require.Equal(t, 63, d.Count, "key %s: %v", key, d.Ns)
		}
	})
}

func TestRebuild(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 2, Keep: time.Hour})
		v2 := tallies(projection.FoldOn(nil, func(t tally, c counted, e eventstore.Event) tally {
			t = addUp(t, c, e)
			t.Sum += 1000
			return t
		}))
		v2.Version = 2
		s.fill(5, 10)
		stopOld := s.work("old", tallies())
		s.until("promotion", func() bool { return s.status("tallies").Current == 1 })
		resolver := projection.NewResolver(s.store, time.Second)
		view := projection.NewView(tallies(), s.store, resolver)
		d, ok, err := view.Get(t.Context(), "2")
		require.NoError(t, err)
		require.True(t, ok)
		require.Equal(t, 55, d.Sum)

		s.work("new", v2)
		s.until("the new version", func() bool { return s.status("tallies").Current == 2 })
		time.Sleep(time.Second)
		d, _, err = view.Get(t.Context(), "2")
		require.NoError(t, err)
		require.Equal(t, 10055, d.Sum)

		s.fill(5, 1)
		s.reach("tallies", 1)
		require.NoError(t, s.control.Rollback(t.Context(), "tallies"))
		time.Sleep(time.Second)
		d, _, err = view.Get(t.Context(), "2")
		require.NoError(t, err)
		require.Equal(t, 56, d.Sum, "the old one has been kept up to date")
		require.NoError(t, s.control.Rollback(t.Context(), "tallies"))
		stopOld()
		time.Sleep(2 * time.Hour)
		status := s.status("tallies")
		require.Equal(t, 2, status.Current)
		require.Zero(t, status.Previous)
		require.Len(t, status.Versions, 1, "the old one was removed")
		require.Empty(t, s.docs("tallies_v1"))
		require.ErrorIs(t, s.control.Rollback(t.Context(), "tallies"), projection.ErrNoVersion)
		s.work("late", tallies())
		time.Sleep(time.Minute)
		require.Empty(t, s.docs("tallies_v1"), "and does not come again")
	})
}

func TestPauseStopResumeReset(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 2})
		state := func() projection.State { return s.status("tallies").Versions[0].State }
		s.fill(5, 2)
		s.work("a", tallies())
		s.until("live", func() bool { return state() == projection.Live })
		require.NoError(t, s.control.Pause(t.Context(), "tallies", 0))
		s.until("paused", func() bool { return state() == projection.Paused })
		s.fill(5, 1)
		time.Sleep(time.Minute)
		require.Equal(t, folded(5, 2), s.docs("tallies_v1"))
		require.EqualValues(t, 5, s.status("tallies").Versions[0].Lag)
		require.Equal(t, time.Minute, s.status("tallies").Versions[0].LagTime.Round(time.Second))
		require.NoError(t, s.control.Resume(t.Context(), "tallies", 0))
		s.reach("tallies", 0)
		require.NoError(t, s.control.Stop(t.Context(), "tallies", 0))
		s.until("stopped", func() bool { return state() == projection.Stopped })
		require.NoError(t, s.control.Resume(t.Context(), "tallies", 0))
		s.until("live", func() bool { return state() == projection.Live })

		require.NoError(t, s.control.Reset(t.Context(), "tallies", 0, 0))
		s.until("reset", func() bool { return s.status("tallies").Versions[0].Model == "tallies_v1_1" })
		s.reach("tallies", 0)
		require.Len(t, s.docs("tallies_v1_1"), 5)
		require.Empty(t, s.docs("tallies_v1"))
		require.ErrorIs(t, s.control.Reset(t.Context(), "tallies", 0, 7), eventstore.ErrInvalid)
		require.ErrorIs(t, s.control.Pause(t.Context(), "none", 0), projection.ErrNoProjection)
		require.ErrorIs(t, s.control.Rollback(t.Context(), "none"), projection.ErrNoProjection)
		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorContains(t, s.control.WaitUntil(short, "none", 0, 1), "no worker has run it")
		require.ErrorIs(t, s.control.Rollback(t.Context(), "tallies"), projection.ErrNoVersion)
		require.ErrorIs(t, s.control.Pause(t.Context(), "tallies", 9), projection.ErrNoVersion)
	})
}

func TestHandlersOfTheirOwnKindOnWorkers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 3})
		played := &tape{}
		s.fill(6, 10)
		s.work("a", counting(played))
		s.reach("counting", 0)
		require.Len(t, played.played(), 60, "every event once, since nothing has failed")
	})
}

func TestPublisher(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 2})
		var mu sync.Mutex
		got := map[eventstore.StreamID][]eventstore.Version{}
		calls := 0
		p := projection.Publisher{Name: "out", Categories: []string{"test"}, Publish: func(_ context.Context, events []eventstore.Event) error {
			mu.Lock()
			defer mu.Unlock()
			if calls++; calls < 20 {
				return errors.New("the broker is down")
			}
			for _, e := range events {
				if e.Stream == "test-1" && e.Version == 3 {
					return projection.Permanent(errors.New("cannot be published"))
				}
			}
			for _, e := range events {
				got[e.Stream] = append(got[e.Stream], e.Version)
			}
			return nil
		}}
		s.fill(4, 5)
		s.work("a", p)
		s.reach("out", 0)
		mu.Lock()
		defer mu.Unlock()
		require.Equal(t, []eventstore.Version{1, 2}, got["test-1"])
		for _, k := range []eventstore.StreamID{"test-0", "test-2", "test-3"} {
			require.Equal(t, []eventstore.Version{1, 2, 3, 4, 5}, got[k])
		}
		require.Equal(t, 3, s.status("out").Versions[0].Parked)
	})
}

func TestNewWorkerRefuses(t *testing.T) {
	t.Parallel()
	store := newStore(t, simstore.Config{})
	for want, try := range map[string]func() error{
		"needs a log": func() error {
			_, err := projection.NewWorker(nil, registry(), store, projection.WorkerConfig{}, tallies())
			return err
		},
		"Heartbeat": func() error {
			_, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{Heartbeat: time.Hour}, tallies())
			return err
		},
		"LeaseTTL": func() error {
			_, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{LeaseTTL: -1}, tallies())
			return err
		},
		"defined twice": func() error {
			_, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{}, tallies(), tallies())
			return err
		},
		"has no handlers": func() error {
			_, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{}, projection.Fold[tally]{Name: "x"})
			return err
		},
		"not registered": func() error {
			_, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{}, tallies(projection.FoldOn(nil, func(t tally, _ struct{ X int }, _ eventstore.Event) tally { return t })))
			return err
		},
		"two handlers": func() error {
			_, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{}, tallies(projection.FoldOn(nil, addUp), projection.FoldOn(nil, addUp)))
			return err
		},
		"field _id": func() error {
			type keyed struct {
				ID string `bson:"_id"`
			}
			_, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{}, projection.Fold[keyed]{
				Name:     "x",
				Handlers: []projection.FoldHandler[keyed]{projection.FoldOn(nil, func(d keyed, _ counted, _ eventstore.Event) keyed { return d })},
			})
			return err
		},
		"int, which is not written as a document": func() error {
			_, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{}, projection.Fold[int]{
				Name:     "x",
				Handlers: []projection.FoldHandler[int]{projection.FoldOn(nil, func(n int, _ counted, _ eventstore.Event) int { return n + 1 })},
			})
			return err
		},
		"nil as definition 2": func() error {
			_, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{}, tallies(), nil)
			return err
		},
		"has the name": func() error {
			_, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{}, projection.Fold[tally]{Name: "a/b", Handlers: tallies().Handlers})
			return err
		},
		"has no Publish": func() error {
			_, err := projection.NewWorker(store, registry(), store, projection.WorkerConfig{}, projection.Publisher{Name: "x"})
			return err
		},
	} {
		err := try()
		require.ErrorIs(t, err, eventstore.ErrInvalid, want)
		require.ErrorContains(t, err, want)
	}
}
