package mongostore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	monitoring "go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore/mongosim"
)

func versions(t testing.TB, s *Store, stream eventstore.StreamID) []eventstore.Version {
	t.Helper()
	var got []eventstore.Version
	for e, err := range s.ReadStream(testContext(t), stream, eventstore.StreamQuery{}) {
		require.NoError(t, err)
		got = append(got, e.Version)
	}
	return got
}

func TestExactBeyondTheHeadMakesNoGap(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	_, err := eventstore.Append(ctx, s, "order-1", eventstore.NoStream, eventsUpTo(3)...)
	require.NoError(t, err)
	for _, store := range []*Store{s, srv.open(t)} { // one that knows the head, one that does not
		_, err = eventstore.Append(ctx, store, "order-1", eventstore.Exact(5), event(1))
		var conflict *eventstore.ConflictError
		require.ErrorAs(t, err, &conflict)
		require.Equal(t, eventstore.Version(3), conflict.Actual)
	}
	require.Equal(t, []eventstore.Version{1, 2, 3}, versions(t, s, "order-1"))
}

// Two appends that each check the stream that the other writes must not both
// succeed: a snapshot alone would let them.
func TestCheckedStreamsExcludeWriteSkew(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	a, b := srv.open(t), srv.open(t)
	ctx := testContext(t)
	for round := range 40 {
		x, y := eventstore.StreamID(fmt.Sprintf("x-%d", round)), eventstore.StreamID(fmt.Sprintf("y-%d", round))
		appendChecking := func(s *Store, write, check eventstore.StreamID) error {
			_, err := s.Append(ctx, eventstore.AppendRequest{Streams: []eventstore.StreamAppend{
				{Stream: write, Expected: eventstore.NoStream, Events: eventsUpTo(1)},
				{Stream: check, Expected: eventstore.NoStream},
			}})
			return err
		}
		var errA, errB error
		var wg sync.WaitGroup
		wg.Go(func() { errA = appendChecking(a, x, y) })
		wg.Go(func() { errB = appendChecking(b, y, x) })
		wg.Wait()
		oneOf(t, errA, errB)
	}
}

// oneOf ends the test unless one of two errors is nil and the other a conflict.
func oneOf(t *testing.T, a, b error) {
	t.Helper()
	if a != nil {
		a, b = b, a
	}
	require.NoError(t, a)
	require.ErrorIs(t, b, eventstore.ErrConflict)
}

// The same against a single-event append, which is no transaction.
func TestCheckedStreamMeetsPlainAppend(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	a, b := srv.open(t), srv.open(t)
	ctx := testContext(t)
	both, checked := 0, 0
	for round := range 60 {
		stream := eventstore.StreamID(fmt.Sprintf("x-%d", round))
		var checkErr, plainErr error
		var done, began atomic.Int64
		var clock atomic.Int64
		var wg sync.WaitGroup
		wg.Go(func() {
			_, checkErr = a.Append(ctx, eventstore.AppendRequest{Streams: []eventstore.StreamAppend{
				{Stream: stream + "-other", Expected: eventstore.Any, Events: eventsUpTo(1)},
				{Stream: stream, Expected: eventstore.NoStream},
			}})
			done.Store(clock.Add(1))
		})
		wg.Go(func() {
			began.Store(clock.Add(1))
			_, plainErr = eventstore.Append(ctx, b, stream, eventstore.NoStream, event(1))
		})
		wg.Wait()
		require.NoError(t, plainErr)
		if checkErr == nil {
			both++ // the check came first
		} else {
			require.ErrorIs(t, checkErr, eventstore.ErrConflict)
			checked++
		}
	}
	t.Logf("the check came first %d times, the append %d times", both, checked)
	require.Empty(t, markers(t, a), "guards were left behind")
}

func markers(t testing.TB, s *Store) []bson.Raw {
	t.Helper()
	cur, err := s.events.Find(testContext(t), bson.D{{Key: "event_type", Value: bson.D{{Key: "$in", Value: bson.A{guardType, markType}}}}})
	require.NoError(t, err)
	var docs []bson.Raw
	require.NoError(t, cur.All(testContext(t), &docs))
	return docs
}

// Appends that are written together get their own results.
func TestGroupedAppendsHaveTheirOwnResults(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	var flights, together atomic.Int64
	s := srv.open(t, func(c *Config) {
		c.Flights = 1
		c.Hooks.Flight = func(f FlightStats) {
			flights.Add(1)
			if f.Appends > 1 {
				together.Add(1)
			}
		}
	})
	ctx := testContext(t)
	_, err := eventstore.Append(ctx, s, "taken-1", eventstore.NoStream, event(0))
	require.NoError(t, err)
	other := srv.open(t) // knows nothing of taken-1
	_ = other
	const writers = 48
	errs := make([]error, writers)
	var wg sync.WaitGroup
	for i := range writers {
		wg.Go(func() {
			switch i % 4 {
			case 0: // one event
				_, errs[i] = eventstore.Append(ctx, s, eventstore.StreamID(fmt.Sprintf("one-%d", i)), eventstore.NoStream, event(i))
			case 1: // several events
				_, errs[i] = eventstore.Append(ctx, s, eventstore.StreamID(fmt.Sprintf("many-%d", i)), eventstore.NoStream, eventsUpTo(3)...)
			case 2: // a conflict
				_, errs[i] = eventstore.Append(ctx, s, "taken-1", eventstore.NoStream, event(i))
			case 3: // all to one stream
				_, errs[i] = eventstore.Append(ctx, s, "hot-1", eventstore.Any, event(i))
			}
		})
	}
	wg.Wait()
	for i, err := range errs {
		if i%4 == 2 {
			require.ErrorIs(t, err, eventstore.ErrConflict)
			continue
		}
		require.NoError(t, err)
	}
	require.Len(t, versions(t, s, "hot-1"), writers/4)
	require.Positive(t, together.Load(), "no appends went together in %d flights", flights.Load())
}

// A member of a group that cannot be written does not keep the others from it.
func TestOneRefusedAppendOfATransaction(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	_, err := eventstore.Append(ctx, srv.open(t), "b-1", eventstore.NoStream, eventsUpTo(2)...)
	require.NoError(t, err)
	group := make([]*pending, 3)
	for i, stream := range []eventstore.StreamID{"a-1", "b-1", "c-1"} {
		req, err := eventstore.Prepare(ctx, eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{Stream: stream, Expected: eventstore.NoStream, Events: eventsUpTo(2)}}}, time.Now())
		require.NoError(t, err)
		group[i] = newPending(req, time.Now())
		require.NoError(t, s.encode(group[i]))
	}
	s.flyTransaction(group)
	require.Equal(t, []outcome{written, lost, written}, []outcome{group[0].outcome, group[1].outcome, group[2].outcome})
	require.Len(t, versions(t, s, "c-1"), 2)
}

func TestCancelledWhileWaiting(t *testing.T) {
	t.Parallel()
	srv := simFor(t)
	srv.migrate(t)
	s := srv.open(t, func(c *Config) { c.Flights = 1 })
	ctx := testContext(t)
	require.NoError(t, srv.sim.FailCommand(mongosim.FailPoint{Commands: []string{"insert"}, Times: 1, Block: time.Hour}))
	first, cancelFirst := context.WithCancel(ctx)
	defer cancelFirst()
	inFlight, queued := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := eventstore.Append(first, s, "a-1", eventstore.Any, event(1))
		inFlight <- err
	}()
	require.Eventually(t, func() bool {
		s.groups.mu.Lock()
		defer s.groups.mu.Unlock()
		return s.groups.free[inserts] == 0
	}, time.Minute, time.Millisecond)
	second, cancelSecond := context.WithCancel(ctx)
	defer cancelSecond()
	go func() {
		_, err := eventstore.Append(second, s, "b-1", eventstore.Any, event(1))
		queued <- err
	}()
	require.Eventually(t, func() bool {
		s.groups.mu.Lock()
		defer s.groups.mu.Unlock()
		return len(s.groups.queue) == 1
	}, time.Minute, time.Millisecond)
	cancelSecond()
	err := <-queued
	require.ErrorIs(t, err, eventstore.ErrNotWritten)
	require.ErrorIs(t, err, context.Canceled)
	cancelFirst()
	err = <-inFlight
	require.ErrorIs(t, err, eventstore.ErrOutcomeUnknown)
	require.ErrorIs(t, err, context.Canceled)
	res, err := eventstore.Append(ctx, s, "a-1", eventstore.Any, event(2))
	require.NoError(t, err)
	require.Len(t, versions(t, s, "a-1"), int(res.Streams[0].Last), "the first one has happened or has not")
	require.Empty(t, versions(t, s, "b-1"))
}

// A caller that goes away while its append is under way with others does not keep
// these from being written.
func TestCancelledInAGroup(t *testing.T) {
	t.Parallel()
	srv := simFor(t)
	srv.migrate(t)
	inserting, pass := make(chan struct{}), make(chan struct{})
	client, err := mongo.Connect(srv.sim.ClientOptions().SetServerMonitoringMode(options.ServerMonitoringModePoll).SetHeartbeatInterval(500 * time.Millisecond).SetMonitor(&monitoring.CommandMonitor{Started: func(_ context.Context, e *monitoring.CommandStartedEvent) {
		if e.CommandName == "insert" {
			inserting <- struct{}{}
			<-pass
		}
	}}))
	require.NoError(t, err)
	t.Cleanup(func() { _ = client.Disconnect(context.Background()) })
	var appends atomic.Int64
	ctx := testContext(t)
	s, err := Open(ctx, client, Config{Database: srv.database, Flights: 1, Sequencing: Never, Hooks: Hooks{
		Flight: func(f FlightStats) { appends.Store(int64(f.Appends)) },
	}})
	require.NoError(t, err)
	t.Cleanup(func() { closeStore(t, s) })
	start := func(ctx context.Context, stream eventstore.StreamID) <-chan error {
		answer := make(chan error, 1)
		go func() {
			_, err := eventstore.Append(ctx, s, stream, eventstore.NoStream, event(1))
			answer <- err
		}()
		return answer
	}
	first := start(ctx, "first-1")
	<-inserting
	leavingCtx, leave := context.WithCancel(ctx)
	defer leave()
	leaving, staying := start(leavingCtx, "leaving-1"), start(ctx, "staying-1")
	require.Eventually(t, func() bool {
		s.groups.mu.Lock()
		defer s.groups.mu.Unlock()
		return len(s.groups.queue) == 2
	}, patience, poll)
	pass <- struct{}{}
	require.NoError(t, <-first)
	<-inserting
	leave()
	err = <-leaving
	require.ErrorIs(t, err, eventstore.ErrOutcomeUnknown)
	require.ErrorIs(t, err, context.Canceled)
	pass <- struct{}{}
	require.NoError(t, <-staying)
	require.Equal(t, int64(2), appends.Load())
	require.Len(t, versions(t, s, "leaving-1"), 1)
}

// A lone append is written by its caller, whatever was written before it, and one
// that meets a taken place is told so.
func TestLoneAppends(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s, other := srv.open(t), srv.open(t)
	ctx := testContext(t)
	for i := range 3 {
		for _, store := range []*Store{s, other} { // either finds its place taken by the other
			res, err := eventstore.Append(ctx, store, "a-1", eventstore.Any, event(i))
			require.NoError(t, err)
			_, err = eventstore.Append(ctx, store, "a-1", eventstore.Exact(res.Streams[0].Last-1), event(i))
			require.ErrorIs(t, err, eventstore.ErrConflict)
		}
	}
	require.Equal(t, []eventstore.Version{1, 2, 3, 4, 5, 6}, versions(t, s, "a-1"))
}

// The largest event that the contract allows goes through.
func TestLargestEvent(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	appended := func(size int) error {
		data, err := bson.Marshal(bson.D{{Key: "pad", Value: bson.Binary{Data: make([]byte, size)}}})
		require.NoError(t, err)
		_, err = eventstore.Append(ctx, s, "large-1", eventstore.NoStream, eventstore.EventData{Type: "padded", Data: data})
		return err
	}
	var large *eventstore.TooLargeError
	require.ErrorAs(t, appended(maxDocument), &large)
	require.NoError(t, appended(maxDocument-(large.Size-large.Limit)))
	require.Len(t, versions(t, s, "large-1"), 1)
}

// An insert whose reply was lost is found to have been made.
func TestLoneAppendWhoseReplyIsLost(t *testing.T) {
	t.Parallel()
	srv := simFor(t)
	srv.migrate(t)
	s := srv.open(t)
	ctx := testContext(t)
	for _, expected := range []eventstore.ExpectedVersion{eventstore.NoStream, eventstore.Any, eventstore.Exact(2)} {
		require.NoError(t, srv.sim.FailCommand(mongosim.FailPoint{Commands: []string{"insert"}, Times: 1, LoseReply: true}))
		res, err := eventstore.Append(ctx, s, "a-1", expected, event(1))
		require.NoError(t, err)
		p, err := s.Await(ctx, res.Token)
		require.NoError(t, err)
		require.Equal(t, int64(res.Streams[0].Last), int64(p))
	}
	require.Equal(t, []eventstore.Version{1, 2, 3}, versions(t, s, "a-1"))
}

func TestAppendInTheCallersTransaction(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	own := srv.client.Database(srv.database).Collection("own")
	require.NoError(t, srv.client.Database(srv.database).CreateCollection(ctx, "own"))
	_, err := eventstore.Append(ctx, s, "order-1", eventstore.NoStream, event(1))
	require.NoError(t, err)

	var res eventstore.AppendResult
	runs := 0
	err = WithTransaction(ctx, srv.client, func(ctx context.Context) error {
		runs++
		if _, err := own.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}}); err != nil {
			return err
		}
		if res, err = eventstore.Append(ctx, s, "order-1", eventstore.Exact(1), eventsUpTo(2)...); err != nil {
			return err
		}
		seen, err := eventstore.Collect(s.ReadStream(ctx, "order-1", eventstore.StreamQuery{}))
		if err == nil && len(seen) != 3 {
			err = fmt.Errorf("the transaction sees %d events of its own stream", len(seen))
		}
		return err
	})
	require.NoError(t, err)
	require.Equal(t, []eventstore.Version{1, 2, 3}, versions(t, s, "order-1"))
	p, err := s.Await(ctx, res.Token)
	require.NoError(t, err)
	require.Equal(t, eventstore.Position(3), p)
	require.NoError(t, own.FindOne(ctx, bson.D{{Key: "_id", Value: 1}}).Err())

	mine := errors.New("no")
	err = WithTransaction(ctx, srv.client, func(ctx context.Context) error {
		if _, err := eventstore.Append(ctx, s, "order-1", eventstore.Any, event(9)); err != nil {
			return err
		}
		return mine
	})
	require.ErrorIs(t, err, mine)
	require.Len(t, versions(t, s, "order-1"), 3)

	err = WithTransaction(ctx, srv.client, func(ctx context.Context) error {
		if _, err := own.InsertOne(ctx, bson.D{{Key: "_id", Value: 2}}); err != nil {
			return err
		}
		_, err := eventstore.Append(ctx, s, "order-1", eventstore.Exact(1), event(9))
		return err
	})
	var conflict *eventstore.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, eventstore.Version(3), conflict.Actual)
	require.ErrorIs(t, own.FindOne(ctx, bson.D{{Key: "_id", Value: 2}}).Err(), mongo.ErrNoDocuments)
}

// A transaction within one is part of it: what the inner one has done goes when the
// outer one is not committed, and meets no locks of the outer one.
func TestTransactionWithinOne(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	mine := errors.New("no")
	for _, outcome := range []error{mine, nil} {
		err := WithTransaction(ctx, srv.client, func(ctx context.Context) error {
			if _, err := eventstore.Append(ctx, s, "order-1", eventstore.NoStream, event(1)); err != nil {
				return err
			}
			err := WithTransaction(ctx, srv.client, func(ctx context.Context) error {
				_, err := eventstore.Append(ctx, s, "order-1", eventstore.Exact(1), event(2))
				return err
			})
			return errors.Join(err, outcome)
		})
		require.ErrorIs(t, err, outcome)
		want := []eventstore.Version(nil)
		if outcome == nil {
			want = []eventstore.Version{1, 2}
		}
		require.Equal(t, want, versions(t, s, "order-1"))
	}
}

// Transactions of users that meet each other and plain appends all get through.
func TestTransactionsUnderContention(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	var wg sync.WaitGroup
	const writers, each = 6, 8
	errs := make(chan error, 2*writers*each)
	for range writers {
		wg.Go(func() {
			for i := range each {
				errs <- WithTransaction(ctx, srv.client, func(ctx context.Context) error {
					_, err := eventstore.Append(ctx, s, "hot-1", eventstore.Any, event(i))
					return err
				})
			}
		})
		wg.Go(func() {
			for i := range each {
				_, err := eventstore.Append(ctx, s, "hot-1", eventstore.Any, event(i))
				errs <- err
			}
		})
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		require.NoError(t, err)
	}
	got := versions(t, s, "hot-1")
	require.Len(t, got, 2*writers*each)
	require.Equal(t, eventstore.Version(len(got)), got[len(got)-1])
}

// A transaction whose caller has gone away does not hold its locks.
func TestAbortDoesNotDependOnTheCaller(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	// Before the server ends the transaction itself the append would be given up.
	s := srv.open(t, func(c *Config) { c.WriteTimeout = 30 * time.Second })
	ctx, cancel := context.WithCancel(testContext(t))
	err := WithTransaction(ctx, srv.client, func(ctx context.Context) error {
		if _, err := eventstore.Append(ctx, s, "order-1", eventstore.NoStream, event(1)); err != nil {
			return err
		}
		cancel()
		return ctx.Err()
	})
	require.ErrorIs(t, err, context.Canceled)
	_, err = eventstore.Append(testContext(t), s, "order-1", eventstore.NoStream, event(1))
	require.NoError(t, err)
}

func TestAppendIDsExpire(t *testing.T) {
	t.Parallel()
	srv := simFor(t)
	cfg := Config{Database: srv.database, KeepAppendIDs: time.Hour}
	ctx := testContext(t)
	require.NoError(t, Migrate(ctx, srv.client, cfg))
	past := time.Now().Add(-2 * time.Hour)
	s := srv.open(t, func(c *Config) { c.Clock = func() time.Time { return past } })
	req := eventstore.AppendRequest{ID: eventstore.NewEventID(), Streams: []eventstore.StreamAppend{{Stream: "a-1", Expected: eventstore.Any, Events: eventsUpTo(1)}}}
	_, err := s.Append(ctx, req)
	require.NoError(t, err)
	res, err := s.Append(ctx, req)
	require.NoError(t, err)
	require.True(t, res.Duplicate)
	n, err := srv.sim.DeleteExpired(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	res, err = s.Append(ctx, req)
	require.NoError(t, err)
	require.False(t, res.Duplicate)
}
