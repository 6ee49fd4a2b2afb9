package projection_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
)

func ints(from, to int) []int {
	var ns []int
	for n := from; n <= to; n++ {
		ns = append(ns, n)
	}
	return ns
}

func TestRunnerGoesFromCheckpointToLive(t *testing.T) {
	t.Parallel()
	store := newStore(t, simstore.Config{})
	add(t, store, numbers(1, 25)...)
	var p tape
	r := newRunner(t, store, counting(&p), projection.Config{BatchSize: 10})
	stop := start(t, r)
	token := add(t, store, numbers(26, 30)...)
	require.NoError(t, r.WaitFor(t.Context(), token))
	require.Equal(t, ints(1, 30), p.played())
	require.NoError(t, stop())

	checkpoint, err := store.LoadCheckpoint(t.Context(), projection.CheckpointKey{Projection: "counting", Version: 1})
	require.NoError(t, err)
	require.Equal(t, eventstore.Position(30), checkpoint.Position)

	// Another runner goes on where this one stopped, and so does this one.
	add(t, store, counted{N: 31})
	next := newRunner(t, store, counting(&p), projection.Config{})
	stop = start(t, next)
	require.NoError(t, next.WaitUntil(t.Context(), 31))
	require.NoError(t, stop())
	token = add(t, store, counted{N: 32})
	stop = start(t, r)
	require.NoError(t, r.WaitFor(t.Context(), token))
	require.NoError(t, stop())
	require.Equal(t, ints(1, 32), p.played())
}

func TestHandlersAreTheFilter(t *testing.T) {
	t.Parallel()
	store := newStore(t, simstore.Config{})
	add(t, store, counted{N: 1}, ignored{N: 2}, renamed{N: 3})
	addTo(t, store, "other-1", counted{N: 4})
	data, err := registry().Encode(renamed{N: 5})
	require.NoError(t, err)
	data[0].Type = "former"
	_, err = eventstore.Append(t.Context(), store, "test-2", eventstore.Any, data...)
	require.NoError(t, err)
	last := add(t, store, ignored{N: 6})

	var p tape
	var raw []eventstore.EventType
	r := newRunner(t, store, projection.Projection{
		Name:       "some",
		Categories: []string{"test"},
		Handlers: []projection.Handler{
			projection.On(func(_ context.Context, c renamed, e eventstore.Event) error { p.add(c.N, e); return nil }),
			projection.OnEvent("counted", func(_ context.Context, e eventstore.Event) error { raw = append(raw, e.Type); return nil }),
		},
	}, projection.Config{})
	stop := start(t, r)
	require.NoError(t, r.WaitFor(t.Context(), last), "the position moves on over events that are not handled")
	require.NoError(t, stop())
	require.Equal(t, []int{3, 5}, p.played(), "also under a former name")
	require.Equal(t, []eventstore.EventType{"counted"}, raw, "not of the other category")
}

func TestHandlersAppendWithTheirCause(t *testing.T) {
	t.Parallel()
	store := newStore(t, simstore.Config{})
	r := newRunner(t, store, projection.Projection{Name: "echo", Handlers: []projection.Handler{
		projection.On(func(ctx context.Context, c counted, _ eventstore.Event) error {
			data, err := registry().Encode(ignored(c))
			if err != nil {
				return err
			}
			_, err = eventstore.Append(ctx, store, "echo-1", eventstore.Any, data...)
			return err
		}),
	}}, projection.Config{})
	stop := start(t, r)
	require.NoError(t, r.WaitFor(t.Context(), add(t, store, counted{N: 1})))
	require.NoError(t, stop())
	cause, err := eventstore.Collect(store.ReadStream(t.Context(), "test-1", eventstore.StreamQuery{}))
	require.NoError(t, err)
	echo, err := eventstore.Collect(store.ReadStream(t.Context(), "echo-1", eventstore.StreamQuery{}))
	require.NoError(t, err)
	require.Equal(t, cause[0].ID.String(), echo[0].Metadata.CausationID)
	require.Equal(t, cause[0].ID.String(), echo[0].Metadata.CorrelationID)
}

func TestFailingHandlerIsTriedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, simstore.Config{})
		add(t, store, numbers(1, 5)...)
		var log bytes.Buffer
		var p tape
		failures := 0
		r := newRunner(t, store, projection.Projection{Name: "flaky", Handlers: []projection.Handler{
			projection.On(func(_ context.Context, c counted, e eventstore.Event) error {
				if c.N == 3 && failures < 6 {
					failures++
					if failures%2 == 0 {
						panic(errors.New("at the disco"))
					}
					return errors.New("no")
				}
				p.add(c.N, e)
				return nil
			}),
		}}, projection.Config{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		stop := start(t, r)
		require.NoError(t, r.WaitUntil(t.Context(), 5))
		require.NoError(t, stop())
		require.Equal(t, ints(1, 5), p.played(), "nothing skipped, nothing twice")
		require.Equal(t, 6, failures)
		require.Contains(t, log.String(), "event not handled, trying again")
		require.Contains(t, log.String(), "at the disco")
	})
}

func TestRunnerGivesUp(t *testing.T) {
	t.Parallel()
	boom := errors.New("boom")
	for name, c := range map[string]struct {
		err      error
		attempts int
	}{
		"after so many attempts": {boom, 4},
		"at once if permanent":   {projection.Permanent(boom), 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t, simstore.Config{})
				add(t, store, numbers(1, 5)...)
				r := newRunner(t, store, projection.Projection{Name: "poisoned", Handlers: []projection.Handler{
					projection.On(func(_ context.Context, p counted, _ eventstore.Event) error {
						if p.N == 3 {
							return c.err
						}
						return nil
					}),
				}}, projection.Config{MaxAttempts: 4})
				err := r.Run(t.Context())
				var failed *projection.HandlerError
				require.ErrorAs(t, err, &failed)
				require.ErrorIs(t, err, boom)
				require.Equal(t, c.attempts, failed.Attempts)
				require.Equal(t, eventstore.Position(3), failed.Event.Position)
				require.ErrorContains(t, err, `counted at position 3 ("test-1" version 3)`)

				checkpoint, err := store.LoadCheckpoint(t.Context(), projection.CheckpointKey{Projection: "poisoned", Version: 1})
				require.NoError(t, err)
				require.Equal(t, eventstore.Position(2), checkpoint.Position, "what was handled before does not come again")

				status, err := r.Status(t.Context())
				require.NoError(t, err)
				require.Equal(t, projection.Failed, status.State)
				require.ErrorIs(t, status.Err, boom)
				require.ErrorIs(t, r.WaitUntil(t.Context(), 5), boom, "waiters learn of it")
			})
		})
	}
}

func TestUndecodableEventStopsAtOnce(t *testing.T) {
	t.Parallel()
	store := newStore(t, simstore.Config{})
	data, err := registry().Encode(counted{N: 1})
	require.NoError(t, err)
	data[0].Schema = 9
	_, err = eventstore.Append(t.Context(), store, "test-1", eventstore.Any, data...)
	require.NoError(t, err)
	var p tape
	err = newRunner(t, store, counting(&p), projection.Config{}).Run(t.Context())
	require.ErrorIs(t, err, eventstore.ErrUndecodable)
	require.True(t, projection.IsPermanent(err))
}

func TestPanicIsAnError(t *testing.T) {
	t.Parallel()
	store := newStore(t, simstore.Config{})
	add(t, store, counted{N: 1})
	r := newRunner(t, store, projection.Projection{Name: "panics", Handlers: []projection.Handler{
		projection.On(func(context.Context, counted, eventstore.Event) error { panic("disco") }),
	}}, projection.Config{MaxAttempts: 1})
	err := r.Run(t.Context())
	var p *projection.PanicError
	require.ErrorAs(t, err, &p)
	require.Equal(t, "disco", p.Value)
	require.Contains(t, string(p.Stack), "runner_test.go")
	require.ErrorContains(t, err, "panic: disco")
	require.NoError(t, p.Unwrap())
}

func TestStopFinishesTheEventInHand(t *testing.T) {
	t.Parallel()
	store := newStore(t, simstore.Config{})
	add(t, store, numbers(1, 5)...)
	ctx, cancel := context.WithCancel(t.Context())
	var p tape
	r := newRunner(t, store, projection.Projection{Name: "stopped", Handlers: []projection.Handler{
		projection.On(func(_ context.Context, c counted, e eventstore.Event) error {
			if c.N == 3 {
				cancel()
			}
			p.add(c.N, e)
			return nil
		}),
	}}, projection.Config{})
	require.NoError(t, r.Run(ctx), "stopping is no error")
	require.Equal(t, ints(1, 3), p.played())
	checkpoint, err := store.LoadCheckpoint(t.Context(), projection.CheckpointKey{Projection: "stopped", Version: 1})
	require.NoError(t, err)
	require.Equal(t, eventstore.Position(3), checkpoint.Position)
}

func TestStopDuringRetryAndWhileWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, simstore.Config{})
		var p tape
		idle := newRunner(t, store, counting(&p), projection.Config{})
		stop := start(t, idle)
		synctest.Wait()
		require.NoError(t, stop())

		add(t, store, counted{N: 1})
		failing := newRunner(t, store, projection.Projection{Name: "failing", Handlers: []projection.Handler{
			projection.On(func(context.Context, counted, eventstore.Event) error { return errors.New("no") }),
		}}, projection.Config{Backoff: projection.Backoff{First: time.Hour, Max: time.Hour}})
		stop = start(t, failing)
		synctest.Wait()
		status, err := failing.Status(t.Context())
		require.NoError(t, err)
		require.Equal(t, projection.Retrying, status.State)
		require.EqualValues(t, 1, status.Lag)
		require.NoError(t, stop())
	})
}

func TestOneRunAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, simstore.Config{})
		var p tape
		r := newRunner(t, store, counting(&p), projection.Config{})
		stop := start(t, r)
		synctest.Wait()
		require.ErrorIs(t, r.Run(t.Context()), projection.ErrRunning)
		require.ErrorIs(t, r.Reset(t.Context(), 0), projection.ErrRunning)
		require.NoError(t, stop())
	})
}

func TestReset(t *testing.T) {
	t.Parallel()
	store := newStore(t, simstore.Config{})
	add(t, store, numbers(1, 5)...)
	var p tape
	r := newRunner(t, store, counting(&p), projection.Config{})
	for _, position := range []eventstore.Position{0, 0, 3} {
		require.NoError(t, r.Reset(t.Context(), position))
		stop := start(t, r)
		require.NoError(t, r.WaitUntil(t.Context(), 5))
		require.NoError(t, stop())
	}
	require.Equal(t, []int{1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 4, 5}, p.played())
	for _, position := range []eventstore.Position{-1, 6} {
		require.ErrorIs(t, r.Reset(t.Context(), position), eventstore.ErrInvalid)
	}
}

func TestVersionsHaveCheckpointsOfTheirOwn(t *testing.T) {
	t.Parallel()
	store := newStore(t, simstore.Config{})
	add(t, store, numbers(1, 3)...)
	var p tape
	for _, version := range []int{0, 1, 2} { // 0 stands for 1
		v := counting(&p)
		v.Version = version
		r := newRunner(t, store, v, projection.Config{})
		stop := start(t, r)
		require.NoError(t, r.WaitUntil(t.Context(), 3))
		require.NoError(t, stop())
	}
	require.Equal(t, []int{1, 2, 3, 1, 2, 3}, p.played())
}

func TestUnavailableStoreIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, op := range []simstore.Op{simstore.OpReadLog, simstore.OpWait, simstore.OpLoadCheckpoint, simstore.OpSaveCheckpoint} {
		t.Run(string(op), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t, simstore.Config{})
				add(t, store, numbers(1, 5)...)
				fault := store.Inject(simstore.Fault{Ops: []simstore.Op{op}, Kind: simstore.Unavailable, Times: 3})
				var p tape
				r := newRunner(t, store, counting(&p), projection.Config{})
				stop := start(t, r)
				require.NoError(t, r.WaitUntil(t.Context(), 5))
				require.NoError(t, stop())
				require.Equal(t, 3, fault.Fired())
				if op != simstore.OpSaveCheckpoint { // there they come again: at least once
					require.Equal(t, ints(1, 5), p.played())
				}
			})
		})
	}
}

func TestUnavailableStoreGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, simstore.Config{})
		store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpLoadCheckpoint}, Kind: simstore.Unavailable})
		var p tape
		err := newRunner(t, store, counting(&p), projection.Config{MaxAttempts: 3}).Run(t.Context())
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
		require.ErrorContains(t, err, "load checkpoint")
	})
}

func TestClosedStoreIsAnError(t *testing.T) {
	t.Parallel()
	store := simstore.New(simstore.Config{})
	var p tape
	r := newRunner(t, store, counting(&p), projection.Config{})
	require.NoError(t, store.Close())
	require.ErrorIs(t, r.Run(t.Context()), eventstore.ErrClosed)
	_, err := r.Status(t.Context())
	require.ErrorIs(t, err, eventstore.ErrClosed)
	require.ErrorIs(t, r.WaitFor(t.Context(), "x"), eventstore.ErrClosed)
}

func TestStatus(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, simstore.Config{})
		add(t, store, numbers(1, 3)...)
		release := make(chan struct{})
		r := newRunner(t, store, projection.Projection{Name: "slow", Version: 7, Handlers: []projection.Handler{
			projection.On(func(context.Context, counted, eventstore.Event) error { <-release; return nil }),
		}}, projection.Config{BatchSize: 1})
		status := func() projection.Status {
			synctest.Wait()
			s, err := r.Status(t.Context())
			require.NoError(t, err)
			return s
		}
		s := status()
		require.Equal(t, projection.Stopped, s.State)
		require.Equal(t, projection.CheckpointKey{Projection: "slow", Version: 7}, s.Key)
		require.EqualValues(t, 3, s.Lag)

		stop := start(t, r)
		release <- struct{}{}
		s = status()
		require.Equal(t, projection.CatchingUp, s.State)
		require.EqualValues(t, 1, s.Position)
		require.EqualValues(t, 2, s.Lag)
		require.EqualValues(t, 1, s.Handled)
		require.False(t, s.EventTime.IsZero())

		close(release)
		s = status()
		require.Equal(t, projection.Live, s.State)
		require.Zero(t, s.Lag)
		require.NoError(t, stop())
		require.Equal(t, projection.Stopped, status().State)
	})
}

func TestWaiting(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t, simstore.Config{LogDelay: time.Second})
		var p tape
		r := newRunner(t, store, counting(&p), projection.Config{})
		token := add(t, store, numbers(1, 2)...)
		key := projection.CheckpointKey{Projection: "counting", Version: 1}

		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.ErrorIs(t, r.WaitFor(ctx, token), context.DeadlineExceeded, "it does not run")
		ctx, cancel = context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		require.ErrorIs(t, projection.WaitFor(ctx, store, store, key, token), context.DeadlineExceeded)

		stop := start(t, r)
		token = add(t, store, counted{N: 3})
		require.NoError(t, r.WaitFor(t.Context(), token), "the log lags, and is waited for")
		require.NoError(t, projection.WaitFor(t.Context(), store, store, key, token))
		require.Equal(t, ints(1, 3), p.played())
		require.NoError(t, stop())

		store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpLoadCheckpoint}, Kind: simstore.Unavailable})
		require.ErrorIs(t, projection.WaitFor(t.Context(), store, store, key, token), eventstore.ErrUnavailable)
		store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpAwait}, Kind: simstore.Unavailable})
		require.ErrorIs(t, projection.WaitFor(t.Context(), store, store, key, token), eventstore.ErrUnavailable)
	})
}

func TestNewRunnerValidates(t *testing.T) {
	t.Parallel()
	store := newStore(t, simstore.Config{})
	handler := projection.On(func(context.Context, counted, eventstore.Event) error { return nil })
	type unknown struct{}
	for name, c := range map[string]struct {
		p    projection.Projection
		cfg  projection.Config
		want string
	}{
		"no name":          {projection.Projection{Handlers: []projection.Handler{handler}}, projection.Config{}, "name"},
		"odd name":         {projection.Projection{Name: "a/b", Handlers: []projection.Handler{handler}}, projection.Config{}, "must not"},
		"no handlers":      {projection.Projection{Name: "a"}, projection.Config{}, "has no handlers"},
		"negative version": {projection.Projection{Name: "a", Version: -1, Handlers: []projection.Handler{handler}}, projection.Config{}, "version -1"},
		"two handlers":     {projection.Projection{Name: "a", Handlers: []projection.Handler{handler, handler}}, projection.Config{}, "two handlers for event type counted"},
		"not registered": {projection.Projection{Name: "a", Handlers: []projection.Handler{
			projection.On(func(context.Context, unknown, eventstore.Event) error { return nil }),
		}}, projection.Config{}, "unknown, which is not registered"},
		"negative batch":   {projection.Projection{Name: "a", Handlers: []projection.Handler{handler}}, projection.Config{BatchSize: -1}, "BatchSize"},
		"negative backoff": {projection.Projection{Name: "a", Handlers: []projection.Handler{handler}}, projection.Config{SaveTimeout: -1}, "SaveTimeout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := projection.NewRunner(store, registry(), store, c.p, c.cfg)
			require.ErrorIs(t, err, eventstore.ErrInvalid)
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := projection.NewRunner(nil, registry(), store, projection.Projection{}, projection.Config{})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}
