package projection_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
)

func (s *site) parked(name string) []projection.DeadLetter {
	s.t.Helper()
	letters, err := s.control.DeadLetters(s.t.Context(), projection.LetterQuery{Projection: name})
	require.NoError(s.t, err)
	return letters
}

// addRaw appends an event whose data does not decode.
func addRaw(t testing.TB, store *simstore.Store, stream eventstore.StreamID) {
	t.Helper()
	_, err := eventstore.Append(t.Context(), store, stream, eventstore.Any, eventstore.EventData{Type: "counted", Format: eventstore.JSON, Data: []byte(`{"N":"no number"}`)})
	require.NoError(t, err)
}

// byN keys documents by the parity of the number, so that keys and streams do not
// go together.
func byN(c counted, _ eventstore.Event) string { return []string{"even", "odd"}[c.N%2] }

// An event that cannot be decoded has its stream parked: what follows in it could
// concern the same key.
func TestUndecodableEventsParkTheirStream(t *testing.T) {
	t.Parallel()
	for _, partitions := range []int{1, 3} {
		t.Run(fmt.Sprint(partitions), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := newSite(t, projection.WorkerConfig{Partitions: partitions})
				addTo(t, s.store, "test-1", counted{N: 1}, counted{N: 2})
				addRaw(t, s.store, "test-1")
				addTo(t, s.store, "test-1", counted{N: 3}, counted{N: 4})
				addTo(t, s.store, "test-2", counted{N: 5}, counted{N: 6})
				s.work("a", tallies(projection.FoldOn(byN, addUp)))
				s.reach("tallies", 0)
				docs := s.docs("tallies_v1")
				require.Equal(t, []int{1, 5}, docs["odd"].Ns)
				require.Equal(t, []int{2, 6}, docs["even"].Ns)
				letters := s.parked("tallies")
				require.Len(t, letters, partitions+2, "the bad one in each partition, what follows where it belongs")
				require.ErrorContains(t, errors.New(letters[0].Error), "decode")

				if partitions > 1 {
					require.NoError(t, s.control.Repartition(t.Context(), "tallies", 0, 2))
					time.Sleep(time.Minute)
					require.Equal(t, 2, s.status("tallies").Versions[0].NextPartitions, "it waits until the streams are seen to")
				}
				for _, l := range s.parked("tallies") {
					if l.Error != "" {
						require.NoError(t, s.control.Skip(t.Context(), "tallies", 0, l.Key, l.Position))
					}
				}
				s.until("nothing is parked", func() bool { return len(s.parked("tallies")) == 0 })
				docs = s.docs("tallies_v1")
				require.Equal(t, []int{1, 5, 3}, docs["odd"].Ns)
				require.Equal(t, []int{2, 6, 4}, docs["even"].Ns)
				if partitions > 1 {
					s.until("repartitioned", func() bool { return s.status("tallies").Versions[0].NextPartitions == 0 })
				}
			})
		})
	}
}

// Of a batch that the backend refuses for one document, everything up to the
// event that made it bad is written.
func TestRefusedDocumentsAreNarrowedDown(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 1})
		s.fill(3, 40)
		fold := projection.Fold[map[string]any]{Name: "maps", Handlers: []projection.FoldHandler[map[string]any]{
			projection.FoldOn(nil, func(m map[string]any, c counted, e eventstore.Event) map[string]any {
				if m == nil {
					m = map[string]any{}
				}
				m["n"] = c.N
				if e.Stream == "test-1" && c.N == 17 {
					m["_id"] = "a field that no document has"
				}
				return m
			}),
		}}
		s.work("a", fold)
		s.reach("maps", 0)
		docs, err := s.store.ScanDocuments(t.Context(), "maps_v1", "", "", 0)
		require.NoError(t, err)
		require.Len(t, docs, 3)
		for _, d := range docs {
			var m map[string]any
			require.NoError(t, eventstore.NewBSONCodec().Unmarshal(d.Data, &m))
			if d.Key == "1" {
				require.EqualValues(t, 16, m["n"])
			} else {
				require.EqualValues(t, 40, m["n"])
			}
		}
		letters := s.parked("maps")
		require.Len(t, letters, 24)
		require.Equal(t, eventstore.Version(17), letters[0].Event.Version)
		require.Contains(t, letters[0].Error, "_id")
	})
}

// Documents that are large together make batches small, and a commit that is too
// large is made in parts.
func TestLargeDocuments(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 1})
		s.fill(8, 3)
		type large struct {
			Text  string `json:"text"`
			Count int    `json:"count"`
		}
		s.work("a", projection.Fold[large]{Name: "large", Handlers: []projection.FoldHandler[large]{
			projection.FoldOn(nil, func(l large, _ counted, _ eventstore.Event) large {
				return large{Text: strings.Repeat("x", 7<<20), Count: l.Count + 1}
			}),
		}})
		s.reach("large", 0)
		docs, err := s.store.ScanDocuments(t.Context(), "large_v1", "", "", 0)
		require.NoError(t, err)
		require.Len(t, docs, 8)
		for _, d := range docs {
			var l large
			require.NoError(t, eventstore.NewBSONCodec().Unmarshal(d.Data, &l))
			require.Equal(t, 3, l.Count)
		}
		require.Empty(t, s.parked("large"))
	})
}

func TestTooMuchParkedStopsLoudly(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var lines safeBuffer
		s := newSite(t, projection.WorkerConfig{Partitions: 1, MaxParked: 5, BatchSize: 3, Logger: slog.New(slog.NewTextHandler(&lines, nil))})
		var mended atomic.Bool
		fold := tallies(projection.ReduceOn(nil, func(d *tally, c counted, e eventstore.Event) (*tally, error) {
			if !mended.Load() {
				return nil, projection.Permanent(errors.New("all is broken"))
			}
			if d == nil {
				d = new(tally)
			}
			*d = addUp(*d, c, e)
			return d, nil
		}))
		s.fill(4, 5)
		s.work("a", fold)
		s.until("failure", func() bool { return s.status("tallies").Versions[0].State == projection.Failed })
		v := s.status("tallies").Versions[0]
		require.Equal(t, 5, v.Parked)
		require.Contains(t, v.LastError, "6 events would be parked, the limit is 5; the last failed with: all is broken")
		require.Contains(t, lines.String(), "partition failed")
		time.Sleep(time.Minute)
		require.Equal(t, 5, s.status("tallies").Versions[0].Parked)

		mended.Store(true)
		require.NoError(t, s.control.Retry(t.Context(), "tallies", 0, ""))
		require.NoError(t, s.control.Resume(t.Context(), "tallies", 0))
		s.reach("tallies", 0)
		s.until("nothing is parked", func() bool { return len(s.parked("tallies")) == 0 })
		require.Equal(t, folded(4, 5), s.docs("tallies_v1"))
	})
}

type safeBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *safeBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *safeBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// A retry of many applies those before the one that fails again.
func TestRetryStopsAtWhatFailsAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 1})
		var bad atomic.Int64
		bad.Store(2)
		fold := tallies(projection.ReduceOn(nil, func(d *tally, c counted, e eventstore.Event) (*tally, error) {
			if int64(c.N) == bad.Load() {
				return nil, projection.Permanent(fmt.Errorf("no %d", c.N))
			}
			if d == nil {
				d = new(tally)
			}
			*d = addUp(*d, c, e)
			return d, nil
		}))
		s.fill(1, 10)
		s.work("a", fold)
		s.reach("tallies", 0)
		require.Len(t, s.parked("tallies"), 9)
		bad.Store(7)
		require.NoError(t, s.control.Retry(t.Context(), "tallies", 0, "0"))
		s.until("up to the seventh", func() bool { return len(s.parked("tallies")) == 4 })
		s.until("the new error", func() bool { return s.parked("tallies")[0].Error == "no 7" })
		require.Equal(t, []int{1, 2, 3, 4, 5, 6}, s.docs("tallies_v1")["0"].Ns)
		bad.Store(0)
		require.NoError(t, s.control.Retry(t.Context(), "tallies", 0, "0"))
		s.until("all", func() bool { return len(s.parked("tallies")) == 0 })
		require.Equal(t, folded(1, 10), s.docs("tallies_v1"))
	})
}

func TestHandlersParkTheirStream(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 2})
		var broken atomic.Bool
		broken.Store(true)
		got := map[eventstore.StreamID][]int{}
		var mu sync.Mutex
		p := projection.Projection{Name: "mail", Handlers: []projection.Handler{
			projection.On(func(_ context.Context, c counted, e eventstore.Event) error {
				mu.Lock()
				defer mu.Unlock()
				if broken.Load() && c.N == 3 && e.Stream == "test-1" {
					return errors.New("bounced")
				}
				got[e.Stream] = append(got[e.Stream], c.N)
				return nil
			}),
		}}
		s.fill(3, 5)
		s.work("a", p)
		s.reach("mail", 0)
		require.Equal(t, map[eventstore.StreamID][]int{"test-0": {1, 2, 3, 4, 5}, "test-1": {1, 2}, "test-2": {1, 2, 3, 4, 5}}, got)
		require.Len(t, s.parked("mail"), 3)
		broken.Store(false)
		require.NoError(t, s.control.Retry(t.Context(), "mail", 0, "test-1"))
		s.until("delivered", func() bool { return len(s.parked("mail")) == 0 })
		require.Equal(t, []int{1, 2, 3, 4, 5}, got["test-1"], "each once")
	})
}

// A worker that is stopped finishes the event in hand, and no other; what it has
// handled does not come again.
func TestWorkersFinishTheEventInHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 1})
		played := &tape{}
		p := projection.Projection{Name: "slow", Handlers: []projection.Handler{
			projection.On(func(_ context.Context, c counted, e eventstore.Event) error {
				time.Sleep(time.Second)
				played.add(c.N, e)
				return nil
			}),
		}}
		s.fill(1, 20)
		stop := s.work("a", p)
		time.Sleep(5500 * time.Millisecond)
		start := time.Now()
		stop()
		require.Less(t, time.Since(start), time.Second)
		require.Len(t, played.played(), 6)
		s.work("b", p)
		s.reach("slow", 0)
		var want []int
		for n := range 20 {
			want = append(want, n+1)
		}
		require.Equal(t, want, played.played())
	})
}

// A pausable backend is one as a process sees it that is stopped for a while: its
// heartbeats wait, and what it was about to write goes out afterwards, whatever
// its contexts say by then.
type pausable struct {
	projection.Backend
	asleep  atomic.Bool
	refused atomic.Int64
}

func (p *pausable) gate() {
	for p.asleep.Load() {
		time.Sleep(time.Second)
	}
}

func (p *pausable) AcquireLease(ctx context.Context, name, owner string, ttl time.Duration) (projection.Lease, error) {
	p.gate()
	return p.Backend.AcquireLease(ctx, name, owner, ttl)
}

func (p *pausable) Commit(ctx context.Context, c projection.Commit) (projection.Checkpoint, error) {
	p.gate()
	next, err := p.Backend.Commit(context.WithoutCancel(ctx), c)
	if errors.Is(err, projection.ErrFenced) {
		p.refused.Add(1)
	}
	return next, err
}

// A worker that sleeps past its lease in the middle of a batch does not write what
// it has made.
func TestPausedWorkerCannotWrite(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 1})
		b := &pausable{Backend: s.store}
		fold := tallies(projection.FoldOn(nil, func(d tally, c counted, e eventstore.Event) tally {
			if c.N == 3 && d.Count == 2 && b.refused.Load() == 0 && b.asleep.CompareAndSwap(false, true) {
				b.gate()
			}
			return addUp(d, c, e)
		}))
		s.fill(1, 5)
		w, err := projection.NewWorker(s.store, registry(), b, projection.WorkerConfig{Name: "sleeper", Partitions: 1}, fold)
		require.NoError(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- w.Run(ctx) }()
		time.Sleep(time.Second)
		require.True(t, b.asleep.Load())
		s.work("b", tallies())
		s.reach("tallies", 0)
		require.Equal(t, folded(1, 5), s.docs("tallies_v1"))
		b.asleep.Store(false)
		s.until("what the sleeper writes is refused", func() bool { return b.refused.Load() == 1 })
		addTo(t, s.store, "test-0", counted{N: 6})
		s.reach("tallies", 0)
		require.Equal(t, folded(1, 6), s.docs("tallies_v1"))
		cancel()
		require.NoError(t, <-done)
	})
}

func TestUpdatesAndFoldsOfOneDocument(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 2})
		each := func(counted, eventstore.Event) []string { return []string{"x", "y", "x", ""} }
		fold := tallies(
			projection.FoldEach(each, addUp),
			projection.UpdateOn[tally](func(ignored, eventstore.Event) []string { return []string{"x", "z"} }, func(i ignored, _ eventstore.Event) (any, error) {
				if i.N == 0 {
					return nil, nil
				}
				return projection.Patch{Add: map[string]any{"sum": i.N}}, nil
			}),
			projection.DeleteOn[tally](func(renamed, eventstore.Event) []string { return []string{"y"} }),
		)
		add(t, s.store, counted{N: 1}, ignored{N: 10}, ignored{N: 20}, counted{N: 2}, ignored{N: 0}, renamed{}, ignored{N: 5}, counted{N: 3}, renamed{}, renamed{})
		s.work("a", fold)
		s.reach("tallies", 0)
		docs := s.docs("tallies_v1")
		require.Equal(t, tally{Sum: 41, Count: 3, Ns: []int{1, 2, 3}}, docs["x"])
		require.Equal(t, 35, docs["z"].Sum)
		require.NotContains(t, docs, "y")
		require.Len(t, docs, 2)
	})
}

// A new version of a projection with effects does nothing that the old one has
// done, and everything that it has not.
func TestEffectsAreHandedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 2})
		var mu sync.Mutex
		sent := map[string]int{}
		mail := func(version int) projection.Projection {
			return projection.Projection{Name: "mail", Version: version, Effects: true, Handlers: []projection.Handler{
				projection.On(func(_ context.Context, c counted, e eventstore.Event) error {
					mu.Lock()
					defer mu.Unlock()
					sent[fmt.Sprint(e.Stream, " ", c.N)]++
					return nil
				}),
			}}
		}
		s.fill(5, 10)
		stop := s.work("old", mail(1))
		s.until("promotion", func() bool { return s.status("mail").Current == 1 })
		s.work("new", mail(2))
		for n := range 50 {
			addTo(t, s.store, "test-9", counted{N: n})
			time.Sleep(100 * time.Millisecond)
		}
		s.until("the new version", func() bool { return s.status("mail").Current == 2 })
		stop()
		addTo(t, s.store, "test-9", counted{N: 50})
		s.reach("mail", 2)
		s.until("the old one is gone", func() bool { return len(s.status("mail").Versions) == 1 })
		require.Len(t, sent, 101)
		twice := 0
		for _, n := range sent {
			if n > 1 {
				twice++
			}
		}
		require.LessOrEqual(t, twice, 10, "but for what is in flight at the moment of the handover")
		require.ErrorIs(t, s.control.Rollback(t.Context(), "mail"), projection.ErrNoVersion)
		require.ErrorIs(t, s.control.Reset(t.Context(), "mail", 0, 1_000), eventstore.ErrInvalid, "but not behind the log's head")
		require.ErrorIs(t, s.control.Reset(t.Context(), "mail", 0, -1), eventstore.ErrInvalid)
		require.NoError(t, s.control.Reset(t.Context(), "mail", 0, 100), "handlers of their own kind can start anywhere")
		before := len(sent)
		s.until("reset", func() bool { mu.Lock(); defer mu.Unlock(); return sent["test-9 50"] > 1 })
		require.Len(t, sent, before)
	})
}

// What the old version of a projection with effects has parked stays parked in the
// new one.
func TestDeadLettersAreHandedOver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{Partitions: 2})
		var mu sync.Mutex
		sent := map[eventstore.StreamID][]int{}
		mail := func(version int) projection.Projection {
			return projection.Projection{Name: "mail", Version: version, Effects: true, Handlers: []projection.Handler{
				projection.On(func(_ context.Context, c counted, e eventstore.Event) error {
					if version == 1 && e.Stream == "test-1" && c.N == 3 {
						return projection.Permanent(errors.New("bounced"))
					}
					mu.Lock()
					defer mu.Unlock()
					sent[e.Stream] = append(sent[e.Stream], c.N)
					return nil
				}),
			}}
		}
		s.fill(3, 5)
		stop := s.work("old", mail(1))
		s.reach("mail", 1)
		s.until("promotion", func() bool { return s.status("mail").Current == 1 })
		require.Len(t, s.parked("mail"), 3)
		s.work("new", mail(2))
		s.until("the new version", func() bool { return s.status("mail").Current == 2 })
		stop()
		addTo(t, s.store, "test-1", counted{N: 6})
		addTo(t, s.store, "test-2", counted{N: 6})
		s.reach("mail", 2)
		s.until("what follows waits, too", func() bool { return len(s.parked("mail")) == 4 })
		require.NoError(t, s.control.Retry(t.Context(), "mail", 0, ""))
		s.until("all are sent", func() bool { return len(s.parked("mail")) == 0 })
		require.Equal(t, []int{1, 2, 3, 4, 5, 6}, sent["test-1"])
		require.Equal(t, []int{1, 2, 3, 4, 5, 6}, sent["test-2"])
	})
}

func TestPromotionByHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{PromoteByHand: true})
		s.fill(2, 2)
		s.work("a", tallies())
		s.reach("tallies", 1)
		time.Sleep(time.Minute)
		require.Zero(t, s.status("tallies").Current)
		resolver := projection.NewResolver(s.store, 0)
		_, _, err := projection.NewView(tallies(), s.store, resolver).Get(t.Context(), "0")
		require.ErrorIs(t, err, projection.ErrNotBuilt)
		require.NoError(t, s.control.Promote(t.Context(), "tallies", 1))
		s.until("promotion", func() bool { return s.status("tallies").Current == 1 })
		require.ErrorIs(t, s.control.Promote(t.Context(), "tallies", 1), eventstore.ErrInvalid)
		model, version, err := resolver.Model(t.Context(), "tallies")
		require.NoError(t, err)
		require.Equal(t, "tallies_v1", model)
		require.Equal(t, 1, version)
	})
}

func TestWaitForReadsOnesOwnWrites(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{})
		other := projection.NewControl(s.store, s.store)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		token := add(t, s.store, counted{N: 1})
		require.ErrorIs(t, other.WaitFor(ctx, "tallies", token), context.DeadlineExceeded, "nobody runs it")
		s.work("a", tallies())
		s.until("promotion", func() bool { return s.status("tallies").Current == 1 })
		for n := range 20 {
			token := add(t, s.store, counted{N: n})
			start := time.Now()
			require.NoError(t, other.WaitFor(t.Context(), "tallies", token))
			require.Less(t, time.Since(start), 150*time.Millisecond)
			require.Equal(t, n+2, s.docs("tallies_v1")["1"].Count)
		}
		require.NoError(t, other.WaitFor(t.Context(), "tallies", ""))
		_, err := s.control.Status(t.Context(), "none")
		require.ErrorIs(t, err, projection.ErrNoProjection)
		all, err := s.control.Statuses(t.Context())
		require.NoError(t, err)
		require.Len(t, all, 1)
	})
}

// Every operation of the backend fails now and then, and nothing comes of it.
func TestWorkersBearABackendThatFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, projection.WorkerConfig{BatchSize: 4})
		s.store.Inject(simstore.Fault{Kind: simstore.Unavailable, Probability: 0.1, Ops: []simstore.Op{
			simstore.OpLoadCheckpoint, simstore.OpAcquireLease, simstore.OpReleaseLease, simstore.OpLeases, simstore.OpLoadDocuments,
			simstore.OpCommit, simstore.OpParkedKeys, simstore.OpSaveRow, simstore.OpNow, simstore.OpWait, simstore.OpHead, simstore.OpReadLog,
		}})
		s.store.Inject(simstore.Fault{Kind: simstore.UnknownWritten, Probability: 0.1, Ops: []simstore.Op{simstore.OpCommit}})
		s.store.Inject(simstore.Fault{Kind: simstore.UnknownNotWritten, Probability: 0.1, Ops: []simstore.Op{simstore.OpCommit}})
		stop := s.work("a", tallies())
		s.work("b", tallies())
		for range 10 {
			s.fill(5, 1)
			time.Sleep(time.Second)
		}
		stop()
		s.fill(5, 1)
		time.Sleep(10 * time.Minute)
		docs := s.docs("tallies_v1")
		require.Len(t, docs, 5)
		for _, d := range docs {
			require.Equal(t, 11, d.Count)
		}
	})
}
