package simstore_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
	"github.com/annals-es/annals/snapshot"
)

func fresh(t testing.TB, cfg simstore.Config) *simstore.Store {
	store := simstore.New(cfg)
	t.Cleanup(func() { _ = store.Close() })
	return store
}

func anEvent() eventstore.EventData {
	return eventstore.EventData{ID: eventstore.NewEventID(), Type: "test.happened", Data: []byte{5, 0, 0, 0, 0}}
}

func appendOne(t testing.TB, s *simstore.Store, stream eventstore.StreamID) eventstore.AppendResult {
	t.Helper()
	res, err := eventstore.Append(t.Context(), s, stream, eventstore.Any, anEvent())
	require.NoError(t, err)
	return res
}

func count(t testing.TB, s *simstore.Store, stream eventstore.StreamID) int {
	t.Helper()
	events, err := eventstore.Collect(s.ReadStream(t.Context(), stream, eventstore.StreamQuery{}))
	require.NoError(t, err)
	return len(events)
}

func TestFaultsOfAppends(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		kind    simstore.FaultKind
		is      []error
		written int
	}{
		{simstore.Unavailable, []error{eventstore.ErrUnavailable, eventstore.ErrNotWritten}, 0},
		{simstore.Conflict, []error{eventstore.ErrConflict, eventstore.ErrNotWritten}, 0},
		{simstore.UnknownWritten, []error{eventstore.ErrOutcomeUnknown}, 1},
		{simstore.UnknownNotWritten, []error{eventstore.ErrOutcomeUnknown}, 0},
	} {
		t.Run(c.kind.String(), func(t *testing.T) {
			t.Parallel()
			s := fresh(t, simstore.Config{})
			in := s.Inject(simstore.Fault{Kind: c.kind, Times: 1})
			e := anEvent()
			_, err := eventstore.Append(t.Context(), s, "order-1", eventstore.NoStream, e)
			for _, kind := range c.is {
				require.ErrorIs(t, err, kind)
			}
			require.Equal(t, errors.Is(err, eventstore.ErrNotWritten), !errors.Is(err, eventstore.ErrOutcomeUnknown))
			require.Equal(t, c.kind != simstore.Conflict, eventstore.Retryable(err))
			require.Equal(t, 1, in.Fired())
			require.Equal(t, c.written, count(t, s, "order-1"))

			res, err := eventstore.Append(t.Context(), s, "order-1", eventstore.NoStream, e)
			require.NoError(t, err)
			require.Equal(t, c.written == 1, res.Duplicate)
			require.Equal(t, 1, count(t, s, "order-1"))
		})
	}
}

func TestInjectedConflictNamesAStreamWithAnExpectation(t *testing.T) {
	t.Parallel()
	s := fresh(t, simstore.Config{})
	appendOne(t, s, "order-2")
	in := s.Inject(simstore.Fault{Kind: simstore.Conflict})
	appendOne(t, s, "order-1") // expects anything: cannot conflict
	require.Zero(t, in.Fired())
	_, err := s.Append(t.Context(), eventstore.AppendRequest{Streams: []eventstore.StreamAppend{
		{Stream: "order-1", Expected: eventstore.Any, Events: []eventstore.EventData{anEvent()}},
		{Stream: "order-2", Expected: eventstore.Exact(1), Events: []eventstore.EventData{anEvent()}},
	}})
	var conflict *eventstore.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, eventstore.ConflictError{Stream: "order-2", Expected: eventstore.Exact(1), Actual: 1}, *conflict)
}

func TestFaultOfARealRival(t *testing.T) {
	t.Parallel()
	s := fresh(t, simstore.Config{})
	s.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpAppend}, Stream: "order-1", Times: 1, Before: func(ctx context.Context) {
		_, err := eventstore.Append(ctx, s, "order-1", eventstore.NoStream, anEvent())
		assert.NoError(t, err)
	}})
	_, err := eventstore.Append(t.Context(), s, "order-1", eventstore.NoStream, anEvent())
	require.ErrorIs(t, err, eventstore.ErrConflict)
	require.Equal(t, 1, count(t, s, "order-1"))
}

func TestReadThatBreaksOff(t *testing.T) {
	t.Parallel()
	s := fresh(t, simstore.Config{})
	for range 5 {
		appendOne(t, s, "order-1")
	}
	for _, events := range []int{0, 3, 5, 99} {
		for name, read := range map[simstore.Op]func() ([]eventstore.Event, error){
			simstore.OpReadStream: func() ([]eventstore.Event, error) {
				return eventstore.Collect(s.ReadStream(t.Context(), "order-1", eventstore.StreamQuery{}))
			},
			simstore.OpReadLog: func() ([]eventstore.Event, error) {
				return eventstore.Collect(s.ReadLog(t.Context(), eventstore.LogQuery{}))
			},
		} {
			in := s.Inject(simstore.Fault{Ops: []simstore.Op{name}, Kind: simstore.Unavailable, Events: events})
			got, err := read()
			require.ErrorIs(t, err, eventstore.ErrUnavailable)
			require.Len(t, got, min(events, 5))
			in.Remove()
			in.Remove()
			got, err = read()
			require.NoError(t, err)
			require.Len(t, got, 5)
		}
	}
}

func TestFaultsByOperationAndNumber(t *testing.T) {
	t.Parallel()
	s := fresh(t, simstore.Config{Faults: []simstore.Fault{
		{Ops: []simstore.Op{simstore.OpHead}, Kind: simstore.Unavailable, Skip: 2, Times: 3},
		{Kind: simstore.UnknownWritten}, // does not apply to Head
		{Stream: "order-2", Kind: simstore.Unavailable},
	}})
	var failed []int
	for i := range 10 {
		if _, err := s.Head(t.Context()); err != nil {
			require.ErrorIs(t, err, eventstore.ErrUnavailable)
			failed = append(failed, i)
		}
	}
	require.Equal(t, []int{2, 3, 4}, failed)
	_, err := s.StreamInfo(t.Context(), "order-2")
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	_, err = s.StreamInfo(t.Context(), "order-1")
	require.NoError(t, err)
}

func TestEveryOperationMeetsFaults(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := fresh(t, simstore.Config{})
	token := appendOne(t, s, "order-1").Token
	key := projection.CheckpointKey{Projection: "p"}
	all := map[simstore.Op]func(context.Context) error{
		simstore.OpAppend: func(ctx context.Context) error {
			_, err := eventstore.Append(ctx, s, "order-1", eventstore.Any, anEvent())
			return err
		},
		simstore.OpReadStream: func(ctx context.Context) error {
			_, err := eventstore.Collect(s.ReadStream(ctx, "order-1", eventstore.StreamQuery{}))
			return err
		},
		simstore.OpReadLog: func(ctx context.Context) error {
			_, err := eventstore.Collect(s.ReadLog(ctx, eventstore.LogQuery{}))
			return err
		},
		simstore.OpHead:       func(ctx context.Context) error { _, err := s.Head(ctx); return err },
		simstore.OpWait:       func(ctx context.Context) error { _, err := s.Wait(ctx, 0); return err },
		simstore.OpAwait:      func(ctx context.Context) error { _, err := s.Await(ctx, token); return err },
		simstore.OpStreamInfo: func(ctx context.Context) error { _, err := s.StreamInfo(ctx, "order-1"); return err },
		simstore.OpTruncate:   func(ctx context.Context) error { return s.Truncate(ctx, "order-1", 1) },
		simstore.OpDelete:     func(ctx context.Context) error { return s.Delete(ctx, "order-2", eventstore.Any) },
		simstore.OpTombstone:  func(ctx context.Context) error { return s.Tombstone(ctx, "order-3", eventstore.Any) },
		simstore.OpErase:      func(ctx context.Context) error { return s.Erase(ctx, "order-4") },
		simstore.OpSaveSnapshot: func(ctx context.Context) error {
			return s.Snapshots().Save(ctx, snapshot.Snapshot{Key: snapshot.Key{Stream: "order-1"}, Version: 1})
		},
		simstore.OpLoadSnapshot: func(ctx context.Context) error {
			if _, err := s.Snapshots().Load(ctx, snapshot.Key{Stream: "order-1"}); !errors.Is(err, snapshot.ErrNotFound) {
				return err
			}
			return nil
		},
		simstore.OpDeleteSnapshot:   func(ctx context.Context) error { return s.Snapshots().Delete(ctx, "order-1") },
		simstore.OpLoadCheckpoint:   func(ctx context.Context) error { _, err := s.LoadCheckpoint(ctx, key); return err },
		simstore.OpSaveCheckpoint:   func(ctx context.Context) error { return s.SaveCheckpoint(ctx, key, projection.Checkpoint{}) },
		simstore.OpDeleteCheckpoint: func(ctx context.Context) error { return s.DeleteCheckpoint(ctx, key) },
		simstore.OpAcquireLease:     func(ctx context.Context) error { _, err := s.AcquireLease(ctx, "l", "o", time.Hour); return err },
		simstore.OpReleaseLease:     func(ctx context.Context) error { return s.ReleaseLease(ctx, projection.Lease{Name: "l"}) },
		simstore.OpLeases:           func(ctx context.Context) error { _, err := s.Leases(ctx, ""); return err },
	}
	for op, call := range all {
		in := s.Inject(simstore.Fault{Ops: []simstore.Op{op}, Kind: simstore.Unavailable})
		for other, call := range all {
			err := call(ctx)
			if other != op {
				require.NoError(t, err, "%s, with a fault of %s", other, op)
				continue
			}
			require.ErrorIs(t, err, eventstore.ErrUnavailable, op)
		}
		require.Equal(t, 1, in.Fired(), op)
		in.Remove()
		require.NoError(t, call(ctx))

		// A delay that is cut short is the context's error.
		in = s.Inject(simstore.Fault{Ops: []simstore.Op{op}, Delay: time.Hour})
		short, cancel := context.WithTimeout(ctx, time.Millisecond)
		require.ErrorIs(t, call(short), context.DeadlineExceeded, op)
		cancel()
		in.Remove()
	}
	require.NoError(t, s.Close())
	for op, call := range all {
		require.ErrorIs(t, call(ctx), eventstore.ErrClosed, op)
	}
}

func TestProbabilityIsDecidedBySeed(t *testing.T) {
	t.Parallel()
	hits := func(seed uint64, skip int) string {
		s := fresh(t, simstore.Config{Seed: seed})
		s.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpHead}, Kind: simstore.Unavailable, Probability: 0.3, Skip: skip})
		var b strings.Builder
		for range 1000 {
			if _, err := s.Head(t.Context()); err != nil {
				b.WriteByte('x')
			} else {
				b.WriteByte('.')
			}
		}
		return b.String()
	}
	first := hits(1, 0)
	require.Equal(t, first, hits(1, 0))
	require.NotEqual(t, first, hits(2, 0))
	require.Equal(t, first[100:], hits(1, 100)[100:])
	require.InDelta(t, 300, strings.Count(first, "x"), 60)
}

func TestDelaysArePassedInVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := fresh(t, simstore.Config{})
		s.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpAppend}, Delay: time.Minute})
		begin := time.Now()
		appendOne(t, s, "order-1")
		require.Equal(t, time.Minute, time.Since(begin))
	})
}

func TestLogDelayInVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := fresh(t, simstore.Config{LogDelay: time.Second})
		begin := time.Now()
		first := appendOne(t, s, "order-1")
		time.Sleep(400 * time.Millisecond)
		second := appendOne(t, s, "order-1")
		require.Equal(t, 2, count(t, s, "order-1"))
		head, err := s.Head(t.Context())
		require.NoError(t, err)
		require.Zero(t, head)
		p, err := s.Await(t.Context(), first.Token)
		require.NoError(t, err)
		require.Equal(t, eventstore.Position(1), p)
		require.Equal(t, time.Second, time.Since(begin))
		head, err = s.Wait(t.Context(), 1)
		require.NoError(t, err)
		require.Equal(t, eventstore.Position(2), head)
		require.Equal(t, 1400*time.Millisecond, time.Since(begin))
		_, err = s.Await(t.Context(), second.Token)
		require.NoError(t, err)
	})
}

func TestHeldLog(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := fresh(t, simstore.Config{})
		appendOne(t, s, "order-1")
		release := s.HoldLog()
		releaseToo := s.HoldLog()
		appendOne(t, s, "order-1")
		var seen []eventstore.Position
		go func() {
			for e, err := range eventstore.Subscribe(t.Context(), s, eventstore.LogQuery{Limit: 3}) {
				assert.NoError(t, err)
				seen = append(seen, e.Position)
			}
		}()
		synctest.Wait()
		require.Equal(t, []eventstore.Position{1}, seen)
		release()
		release() // once is enough
		synctest.Wait()
		require.Len(t, seen, 1)
		releaseToo()
		synctest.Wait()
		require.Equal(t, []eventstore.Position{1, 2}, seen)
		appendOne(t, s, "order-1")
		synctest.Wait()
		require.Equal(t, []eventstore.Position{1, 2, 3}, seen)
	})
}

func TestClockGivesTimesAndJudgesLeases(t *testing.T) {
	t.Parallel()
	now := time.Date(2030, 1, 1, 0, 0, 0, 123_456_789, time.FixedZone("", 7200))
	s := fresh(t, simstore.Config{Clock: func() time.Time { return now }})
	appendOne(t, s, "order-1")
	for e, err := range s.ReadStream(t.Context(), "order-1", eventstore.StreamQuery{}) {
		require.NoError(t, err)
		require.Equal(t, time.Date(2029, 12, 31, 22, 0, 0, 123_000_000, time.UTC), e.Time)
	}
	l, err := s.AcquireLease(t.Context(), "l", "a", time.Minute)
	require.NoError(t, err)
	require.Equal(t, now.Add(time.Minute).UTC(), l.Expires)
	_, err = s.AcquireLease(t.Context(), "l", "b", time.Minute)
	require.ErrorIs(t, err, projection.ErrLeaseHeld)
	now = now.Add(time.Minute)
	l, err = s.AcquireLease(t.Context(), "l", "b", time.Minute)
	require.NoError(t, err)
	require.Equal(t, int64(2), l.Fence)
}

func TestConfigAndFaultsAreValidated(t *testing.T) {
	t.Parallel()
	for text, f := range map[string]simstore.Fault{
		"Kind is none": {Kind: 99}, "Delay is negative": {Delay: -1}, "Events is negative": {Events: -1}, "Skip is negative": {Skip: -1},
		"Times is negative": {Times: -1}, "Probability is not between 0 and 1": {Probability: 1.5},
	} {
		require.Contains(t, panicOf(func() { simstore.New(simstore.Config{Faults: []simstore.Fault{{}, f}}) }), "Config.Faults[1]."+text)
		s := fresh(t, simstore.Config{})
		require.Contains(t, panicOf(func() { s.Inject(f) }), "Fault."+text)
	}
	require.Contains(t, panicOf(func() { simstore.New(simstore.Config{LogDelay: -1}) }), "Config.LogDelay")
	require.Equal(t, "FaultKind(99)", simstore.FaultKind(99).String())
}

func panicOf(fn func()) (text string) {
	defer func() { text, _ = recover().(string) }()
	fn()
	return ""
}

func TestTokenOfAnotherStore(t *testing.T) {
	t.Parallel()
	s := fresh(t, simstore.Config{})
	_, err := s.Await(t.Context(), "1")
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	_, err = s.Wait(t.Context(), -1)
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}

func TestErasureInTheMiddleOfARead(t *testing.T) {
	t.Parallel()
	s := fresh(t, simstore.Config{})
	for range 300 {
		appendOne(t, s, "order-1")
	}
	seen := 0
	var last error
	for e, err := range s.ReadStream(t.Context(), "order-1", eventstore.StreamQuery{}) {
		if last = err; err == nil {
			require.False(t, e.Erased())
			if seen++; seen == 10 {
				require.NoError(t, s.Erase(t.Context(), "order-1"))
			}
		}
	}
	require.ErrorIs(t, last, eventstore.ErrTombstoned)
	require.Less(t, seen, 300)
}

func TestRefusedArguments(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := fresh(t, simstore.Config{})
	for _, err := range []error{
		func() error { _, err := s.AcquireLease(ctx, "", "o", time.Second); return err }(),
		func() error { _, err := s.AcquireLease(ctx, "l", "", time.Second); return err }(),
		func() error { _, err := s.AcquireLease(ctx, "l", "o", 0); return err }(),
		s.SaveCheckpoint(ctx, projection.CheckpointKey{}, projection.Checkpoint{Position: -1}),
		s.Snapshots().Save(ctx, snapshot.Snapshot{Key: snapshot.Key{Stream: "order-1"}}),
		s.Snapshots().Save(ctx, snapshot.Snapshot{Version: 1}),
	} {
		require.ErrorIs(t, err, eventstore.ErrInvalid)
	}
}
