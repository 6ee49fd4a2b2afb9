package mongostore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore/mongosim"
)

// load lets writers append until stop is closed, and returns how many events they
// have written.
func load(t testing.TB, s *Store, writers int, stop <-chan struct{}) func() int {
	t.Helper()
	var n atomic.Int64
	var wg sync.WaitGroup
	failed := make(chan struct{})
	t.Cleanup(func() { close(failed); wg.Wait() })
	for w := range writers {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(1, uint64(w)))
			for {
				select {
				case <-stop:
					return
				case <-failed:
					return
				default:
				}
				events := eventsUpTo(1 + r.IntN(3))
				stream := eventstore.StreamID(fmt.Sprintf("load-%d", r.IntN(12)))
				if _, err := eventstore.Append(context.Background(), s, stream, eventstore.Any, events...); err != nil {
					t.Errorf("append: %v", err)
					return
				}
				n.Add(int64(len(events)))
			}
		})
	}
	return func() int { wg.Wait(); return int(n.Load()) }
}

// checkLog waits until the log holds as many events as there are and verifies
// that it is dense, has each event once, and each stream in version order.
func checkLog(t testing.TB, s *Store, want int) {
	t.Helper()
	ctx := testContext(t)
	var head eventstore.Position
	for head < eventstore.Position(want) {
		var err error
		head, err = s.Wait(ctx, head)
		require.NoError(t, err, "the log has %d of %d events", head, want)
	}
	next := map[eventstore.StreamID]eventstore.Version{}
	n := eventstore.Position(0)
	for e, err := range s.ReadLog(ctx, eventstore.LogQuery{}) {
		require.NoError(t, err)
		n++
		require.Equal(t, n, e.Position)
		next[e.Stream]++
		require.Equal(t, next[e.Stream], e.Version, "version of %s at position %d", e.Stream, n)
	}
	require.Equal(t, eventstore.Position(want), n)
	for stream, v := range next {
		info, err := s.StreamInfo(ctx, stream)
		require.NoError(t, err)
		require.Equal(t, info.Head, v, "head of %s", stream)
	}
}

func never(c *Config) { c.Sequencing = Never }

// Sequencers without a lease between them do each other no harm.
func TestSequencersRacing(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	ctx, cancel := context.WithCancel(context.Background())
	var racing sync.WaitGroup
	stores := make([]*Store, 3)
	for i := range stores {
		stores[i] = srv.open(t, never)
		racing.Go(func() {
			for ctx.Err() == nil {
				_ = newSequencer(stores[i].follow).run(ctx)
			}
		})
	}
	stop := make(chan struct{})
	written := load(t, stores[0], 6, stop)
	require.Eventually(t, func() bool { h, _ := stores[1].Head(testContext(t)); return h > 600 }, time.Minute, 5*time.Millisecond)
	close(stop)
	checkLog(t, stores[2], written())
	cancel()
	racing.Wait()
}

// A sequencer that sleeps through its lease in the middle of its work writes
// nothing twice when it wakes up.
func TestSequencerPausedBeyondItsLease(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	ctx := testContext(t)
	sleeper, other := srv.open(t, never), srv.open(t, never)
	_, err := eventstore.Append(ctx, sleeper, "a-1", eventstore.NoStream, eventsUpTo(3)...)
	require.NoError(t, err)
	q := newSequencer(sleeper.follow)
	require.NoError(t, q.load(ctx))
	// It has read three events and is about to insert them ...
	for e, err := range sleeper.ReadStream(ctx, "a-1", eventstore.StreamQuery{}) {
		require.NoError(t, err)
		var doc struct {
			ID bson.ObjectID `bson:"_id"`
		}
		require.NoError(t, sleeper.events.FindOne(ctx, bson.D{{Key: "stream_id", Value: "a-1"}, {Key: "version", Value: int64(e.Version)}}).Decode(&doc))
		q.pending = append(q.pending, logEntry{id: doc.ID, stream: e.Stream, version: e.Version, typ: e.Type})
	}
	// ... when another one takes over and goes on.
	run, cancel := context.WithCancel(ctx)
	ran := make(chan struct{})
	go func() { defer close(ran); _ = newSequencer(other.follow).run(run) }()
	res, err := eventstore.Append(ctx, other, "a-1", eventstore.Exact(3), eventsUpTo(2)...)
	require.NoError(t, err)
	_, err = other.Await(ctx, res.Token)
	require.NoError(t, err)
	require.ErrorIs(t, q.flush(ctx, bson.Raw{5, 0, 0, 0, 0}, false), errOvertaken)
	cancel()
	<-ran
	// Awake, it goes on behind the other.
	run, cancel = context.WithCancel(ctx)
	ran = make(chan struct{})
	go func() { defer close(ran); _ = q.run(run) }()
	_, err = eventstore.Append(ctx, other, "a-1", eventstore.Exact(5), eventsUpTo(2)...)
	require.NoError(t, err)
	checkLog(t, other, 7)
	cancel()
	<-ran
}

// The sequencer's lease passes on when a store is closed, at once, and when it
// vanishes, after the lease.
func TestSequencerTakesOver(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	ctx := testContext(t)
	soon := func(c *Config) { c.LeaseTTL = 400 * time.Millisecond }
	first, second := srv.open(t, soon), srv.open(t, soon)
	appendAndAwait := func(by *Store, n int) {
		t.Helper()
		res, err := eventstore.Append(ctx, by, "a-1", eventstore.Any, event(n))
		require.NoError(t, err)
		for _, s := range []*Store{first, second} {
			if s.closed.Load() {
				continue
			}
			p, err := s.Await(ctx, res.Token)
			require.NoError(t, err)
			require.Equal(t, eventstore.Position(n), p)
		}
	}
	appendAndAwait(first, 1)
	appendAndAwait(second, 2)
	closeStore(t, first)
	appendAndAwait(second, 3)
	require.Eventually(t, func() bool { // on a busy machine it may have expired for a moment
		leases, err := second.Leases().Leases(ctx, "")
		require.NoError(t, err)
		return len(leases) == 1 && leases[0].Owner == second.follow.owner
	}, patience, poll)
}

// scatterIDs gives all events ids of writers whose clocks are hours apart, and
// times that say nothing.
func scatterIDs(t testing.TB, s *Store) {
	t.Helper()
	ctx := testContext(t)
	cur, err := s.events.Find(ctx, bson.D{})
	require.NoError(t, err)
	var docs []bson.D
	require.NoError(t, cur.All(ctx, &docs))
	_, err = s.events.DeleteMany(ctx, bson.D{})
	require.NoError(t, err)
	for _, d := range docs {
		at := time.Now().Add(time.Duration(rand.IntN(96)-48) * time.Hour)
		d[0].Value = bson.NewObjectIDFromTimestamp(at)
		_, err := s.events.InsertOne(ctx, d)
		require.NoError(t, err)
	}
}

// A collection without a log is sequenced from scratch while writers go on.
func TestFirstSequencing(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	ctx := testContext(t)
	writer := srv.open(t, never)
	before := 0
	for i := range 30 {
		events := eventsUpTo(1 + i%5)
		_, err := eventstore.Append(ctx, writer, eventstore.StreamID(fmt.Sprintf("load-%d", i%12)), eventstore.Any, events...)
		require.NoError(t, err)
		before += len(events)
	}
	scatterIDs(t, writer)
	require.NoError(t, writer.Tombstone(ctx, "closed-1", eventstore.NoStream))
	stop := make(chan struct{})
	written := load(t, writer, 4, stop)
	var last atomic.Pointer[RecoveryProgress]
	s := srv.open(t, func(c *Config) {
		c.LogBatch = 7
		c.Hooks.Recovery = func(p RecoveryProgress) { last.Store(&p) }
	})
	_, err := s.Wait(ctx, eventstore.Position(before+200))
	require.NoError(t, err)
	close(stop)
	checkLog(t, s, before+written())
	p := last.Load()
	require.NotNil(t, p, "no progress was told")
	require.True(t, p.Done)
	require.GreaterOrEqual(t, p.Logged, int64(before))
	require.Empty(t, markers(t, s))
}

// recoveries counts how often a store's log was recovered.
func recoveries(n *atomic.Int64) func(*Config) {
	return func(c *Config) {
		c.Hooks.Recovery = func(p RecoveryProgress) {
			if p.Done {
				n.Add(1)
			}
		}
	}
}

// When the oplog has moved on, nothing is lost or doubled.
func TestRecoveryAfterTheOplogMovedOn(t *testing.T) {
	t.Parallel()
	srv := simFor(t)
	srv.migrate(t)
	ctx := testContext(t)
	first := srv.open(t)
	stop := make(chan struct{})
	written := load(t, first, 4, stop)
	_, err := first.Wait(ctx, 100)
	require.NoError(t, err)
	close(stop)
	n := written()
	checkLog(t, first, n)
	closeStore(t, first)

	// Nobody sequences for a while, and the oplog is cut.
	writer := srv.open(t, never)
	for i := range 20 {
		_, err := eventstore.Append(ctx, writer, eventstore.StreamID(fmt.Sprintf("load-%d", i%12)), eventstore.Any, eventsUpTo(2)...)
		require.NoError(t, err)
		n += 2
	}
	srv.sim.TruncateOplog()
	stop = make(chan struct{})
	written = load(t, writer, 4, stop)
	var count atomic.Int64
	second := srv.open(t, recoveries(&count))
	_, err = second.Wait(ctx, eventstore.Position(n+100))
	require.NoError(t, err)
	close(stop)
	checkLog(t, second, n+written())
	require.Equal(t, int64(1), count.Load())
	closeStore(t, second)

	// What it found out was kept: the next one starts without a recovery.
	third := srv.open(t, recoveries(&count))
	res, err := eventstore.Append(ctx, third, "a-1", eventstore.Any, event(1))
	require.NoError(t, err)
	_, err = third.Await(ctx, res.Token)
	require.NoError(t, err)
	require.Equal(t, int64(1), count.Load())
}

// A recovery that is cut off half way is made again by the next sequencer.
func TestRecoveryInterrupted(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	writer := srv.open(t, never, func(c *Config) { c.LogBatch = 5 })
	n := 0
	for i := range 40 {
		_, err := eventstore.Append(testContext(t), writer, eventstore.StreamID(fmt.Sprintf("load-%d", i%7)), eventstore.Any, eventsUpTo(3)...)
		require.NoError(t, err)
		n += 3
	}
	stop := make(chan struct{})
	written := load(t, writer, 2, stop)
	for round := range 12 {
		ctx, cancel := context.WithCancel(context.Background())
		s := srv.open(t, never, func(c *Config) {
			c.LogBatch = 5
			left := atomic.Int64{}
			left.Store(int64(1 + 3*round))
			c.Hooks.Sequenced = func(SequenceStats) {
				if left.Add(-1) == 0 {
					cancel()
				}
			}
		})
		_ = newSequencer(s.follow).run(ctx)
		cancel()
	}
	close(stop)
	checkLog(t, srv.open(t), n+written())
}

// Dropping the events, or renaming them away and back, ends the change stream.
func TestRecoveryAfterInvalidation(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	ctx := testContext(t)
	var count atomic.Int64
	s := srv.open(t, recoveries(&count))
	for i := range 10 {
		_, err := eventstore.Append(ctx, s, "a-1", eventstore.Any, event(i))
		require.NoError(t, err)
	}
	checkLog(t, s, 10)
	admin := srv.client.Database("admin")
	rename := func(from, to string) {
		require.NoError(t, admin.RunCommand(ctx, bson.D{{Key: "renameCollection", Value: srv.database + "." + from}, {Key: "to", Value: srv.database + "." + to}}).Err())
	}
	rename("events", "elsewhere")
	rename("elsewhere", "events")
	for i := range 10 {
		_, err := eventstore.Append(ctx, s, "a-1", eventstore.Any, event(i))
		require.NoError(t, err)
	}
	checkLog(t, s, 20)
	require.GreaterOrEqual(t, count.Load(), int64(2))
}

// Tokens lead to positions in other processes, now and much later.
func TestAwaitFindsOldAppends(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	ctx := testContext(t)
	s := srv.open(t, func(c *Config) { c.LogBatch, c.RecentEntries = 4, 8 })
	type made struct {
		token eventstore.Token
		last  eventstore.Position
	}
	var all []made
	n := eventstore.Position(0)
	for i := range 60 {
		req := eventstore.AppendRequest{Streams: []eventstore.StreamAppend{
			{Stream: eventstore.StreamID(fmt.Sprintf("a-%d", i%5)), Expected: eventstore.Any, Events: eventsUpTo(1 + i%3)},
		}}
		if i%4 == 0 {
			req.Streams = append(req.Streams, eventstore.StreamAppend{Stream: "b-1", Expected: eventstore.Any, Events: eventsUpTo(2)})
		}
		res, err := s.Append(ctx, req)
		require.NoError(t, err)
		for _, st := range req.Streams {
			n += eventstore.Position(len(st.Events))
		}
		p, err := s.Await(ctx, res.Token)
		require.NoError(t, err)
		require.Equal(t, n, p)
		all = append(all, made{res.Token, n})
	}
	other := srv.open(t, func(c *Config) { c.RecentEntries = 8 })
	for _, m := range all {
		p, err := other.Await(ctx, m.token)
		require.NoError(t, err)
		require.Equal(t, m.last, p)
		decoded, err := decodeToken(m.token)
		require.NoError(t, err)
		p, ok, err := other.searchLog(ctx, decoded, n, false)
		require.NoError(t, err)
		require.True(t, ok, "it is found only by going through all of the log")
		require.Equal(t, m.last, p)
	}
	absent := token{until: bson.Timestamp{T: 1}, ids: []bson.ObjectID{bson.NewObjectID()}}
	_, err := other.Await(ctx, absent.encode())
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}

// A reader's memory is bounded also when events are large and come in an order
// that is not that of their ids.
func TestReadLogOfLargeEvents(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	large := func(size int) eventstore.EventData {
		data, err := bson.Marshal(bson.D{{Key: "x", Value: make([]byte, size)}})
		require.NoError(t, err)
		return eventstore.EventData{Type: "large", Data: data}
	}
	for i := range 24 {
		_, err := eventstore.Append(ctx, s, "a-1", eventstore.Any, large(1<<20))
		require.NoError(t, err, "event %d", i)
	}
	scatterIDs(t, s)
	_, err := s.log.DeleteMany(ctx, bson.D{})
	require.NoError(t, err)
	_, err = s.meta.DeleteOne(ctx, bson.D{{Key: "_id", Value: "sequencer"}})
	require.NoError(t, err)
	checkLog(t, srv.open(t), 24)
}

// A log that names what is not there is told apart from an end.
func TestReadLogWithMissingEvent(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	res, err := eventstore.Append(ctx, s, "a-1", eventstore.Any, eventsUpTo(3)...)
	require.NoError(t, err)
	_, err = s.Await(ctx, res.Token)
	require.NoError(t, err)
	_, err = s.events.DeleteOne(ctx, bson.D{{Key: "version", Value: int64(2)}})
	require.NoError(t, err)
	_, err = eventstore.Collect(s.ReadLog(ctx, eventstore.LogQuery{}))
	require.ErrorIs(t, err, ErrMissingEvent)
}

// The log is followed over elections and lost connections.
func TestFollowOverFailures(t *testing.T) {
	t.Parallel()
	srv := simFor(t)
	srv.migrate(t)
	s, other := srv.open(t), srv.open(t)
	ctx := testContext(t)
	stop := make(chan struct{})
	written := load(t, s, 4, stop)
	head := eventstore.Position(0)
	for i := range 6 {
		if i%2 == 0 {
			srv.sim.StepDown(20 * time.Millisecond)
		} else {
			srv.sim.DropConnections()
		}
		for _, store := range []*Store{s, other} {
			var err error
			head, err = store.Wait(ctx, head)
			require.NoError(t, err)
		}
	}
	close(stop)
	n := written()
	checkLog(t, s, n)
	checkLog(t, other, n)
}

// Whoever waits for the log does not learn that a place in the oplog was lost: the
// sequencer recovers, and who watches begins anew.
func TestFollowOverLostHistory(t *testing.T) {
	t.Parallel()
	srv := simFor(t)
	srv.migrate(t)
	s, other := srv.open(t), srv.open(t)
	ctx := testContext(t)
	head := eventstore.Position(0)
	for range 3 {
		waited := make(chan error, 2)
		for _, store := range []*Store{s, other} {
			go func() {
				_, err := store.Wait(ctx, head)
				waited <- err
			}()
		}
		fired := srv.sim.FailPointFired()
		require.NoError(t, srv.sim.FailCommand(mongosim.FailPoint{Commands: []string{"getMore"}, Times: 2, ErrorCode: 286}))
		require.Eventually(t, func() bool { return srv.sim.FailPointFired() == fired+2 }, time.Minute, time.Millisecond)
		_, err := eventstore.Append(ctx, s, "a-1", eventstore.Any, event(int(head)))
		require.NoError(t, err)
		require.NoError(t, <-waited)
		require.NoError(t, <-waited)
		head++
	}
	checkLog(t, s, 3)
	checkLog(t, other, 3)
}
