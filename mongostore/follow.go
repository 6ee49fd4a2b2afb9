package mongostore

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

const (
	// sequencerLease is the name of the lease that saves sequencers from doing
	// the same work twice.
	sequencerLease = "log-sequencer"
	// awaitTime is how long the server waits for something new before it answers
	// a getMore of a change stream.
	awaitTime = time.Second
	// followBatch is how many changes are asked for at a time.
	followBatch = 1_000
)

// A follower keeps the store's tail up to date, from when the log is first used
// until the store is closed: by writing the log while it holds the sequencer's
// lease, else by watching it.
type follower struct {
	store *Store // in a turn, as bound to the turn's client
	owner string
	once  sync.Once
	// unanswered counts the turns in a row in which a change stream was asked and
	// never answered. It is given longer the next time: one that is opened at an old
	// place may have much to read.
	unanswered *atomic.Int32

	mu      sync.Mutex
	endTurn context.CancelFunc
}

func newFollower(s *Store) *follower {
	return &follower{store: s, owner: eventstore.NewEventID().String(), unanswered: new(atomic.Int32)}
}

// restart makes the follower go on with the client of the moment.
func (f *follower) restart() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.endTurn != nil {
		f.endTurn()
	}
}

// onPresentClient makes a turn on the client of the moment. That it is ended by
// restart is no error.
func (f *follower) onPresentClient(ctx context.Context) error {
	turn, end := context.WithCancel(ctx)
	defer end()
	f.mu.Lock()
	f.endTurn = end
	f.mu.Unlock()
	s := f.store.enter(turn) // after endTurn: a Rebind in between ends the turn
	defer s.leave()
	err := (&follower{store: s, owner: f.owner, unanswered: f.unanswered}).turn(turn)
	if turn.Err() != nil {
		return nil
	}
	if s.reauthenticated(ctx, err) {
		return nil
	}
	return err
}

// start makes the follower run; it may be called any number of times.
func (f *follower) start() {
	f.once.Do(func() {
		if !f.store.closed.Load() {
			f.store.work.Go(func() { f.run(f.store.life) })
		}
	})
}

func (f *follower) run(ctx context.Context) {
	for attempt := 0; ctx.Err() == nil; {
		started := time.Now()
		err := f.onPresentClient(ctx)
		if ctx.Err() != nil {
			return
		}
		if err == nil {
			attempt = 0
			continue
		}
		if time.Since(started) > 10*time.Second {
			attempt = 0
		}
		f.report(err, attempt)
		pause(ctx, attempt, 5*time.Second)
		attempt++
	}
}

// lostAttempts is how many turns in a row may end with a place in the oplog lost.
// The next one asks for another place: a watcher for the present one, a sequencer
// for the one from where it recovers.
const lostAttempts = 8

// report tells of an error. One that will not pass by itself is shown to those
// who wait for the log; the others only wait longer.
func (f *follower) report(err error, attempt int) {
	s := f.store
	s.retried("follow the log")(err)
	passes := isRetryable(err) || errors.Is(err, context.DeadlineExceeded) || isHistoryLost(err) && attempt < lostAttempts
	if passes {
		s.logger.Info("the log cannot be followed for the moment", slog.Any("error", err))
		return
	}
	s.logger.Error("the log cannot be followed", slog.Any("error", err))
	s.tail.fail(wrap("follow the log", err))
}

// turn sequences the log if it can have the lease, and else watches it until the
// lease may be had or something fails.
func (f *follower) turn(ctx context.Context) error {
	if f.store.cfg.Sequencing == Never {
		return f.watch(ctx)
	}
	lease, err := f.acquire(ctx)
	switch {
	case err == nil:
		return f.sequence(ctx, lease)
	case !isLeaseHeld(err):
		return err
	}
	watching, cancel := context.WithCancel(ctx)
	defer cancel()
	acquired := make(chan projection.Lease, 1)
	go func() {
		defer close(acquired)
		defer cancel()
		if lease, ok := f.campaign(watching); ok {
			acquired <- lease
		}
	}()
	err = f.watch(watching)
	cancel()
	if lease, ok := <-acquired; ok {
		return f.sequence(ctx, lease)
	}
	if ctx.Err() == nil && errors.Is(err, context.Canceled) {
		return nil
	}
	return err
}

func (f *follower) acquire(ctx context.Context) (projection.Lease, error) {
	return answered(ctx, f.store.answer, func(ctx context.Context) (projection.Lease, error) {
		return f.store.Leases().AcquireLease(ctx, sequencerLease, f.owner, f.store.cfg.LeaseTTL)
	})
}

// campaign tries to get the lease until it succeeds or ctx ends.
func (f *follower) campaign(ctx context.Context) (projection.Lease, bool) {
	tick := time.NewTicker(f.store.cfg.LeaseTTL / 4)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return projection.Lease{}, false
		case <-tick.C:
		}
		if lease, err := f.acquire(ctx); err == nil {
			return lease, true
		}
	}
}

// keep prolongs a lease until ctx ends, and cancels when it is lost.
func (f *follower) keep(ctx context.Context, cancel context.CancelFunc) {
	defer cancel()
	tick := time.NewTicker(f.store.cfg.LeaseTTL / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, err := f.acquire(ctx); isLeaseHeld(err) {
			return
		}
		// After any other error the lease may run out. Somebody else sequences
		// then, which does no harm to either.
	}
}

// sequence writes the log while the lease is held.
func (f *follower) sequence(ctx context.Context, lease projection.Lease) error {
	run, cancel := context.WithCancel(ctx)
	kept := make(chan struct{})
	go func() {
		defer close(kept)
		f.keep(run, cancel)
	}()
	err := newSequencer(f).run(run)
	lost := run.Err() != nil && ctx.Err() == nil
	cancel()
	<-kept
	release, done := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
	defer done()
	if rerr := f.store.Leases().ReleaseLease(release, lease); rerr != nil && ctx.Err() == nil {
		f.store.logger.InfoContext(ctx, "the sequencer's lease was not released and will run out", slog.Any("error", rerr))
	}
	if lost {
		return nil
	}
	return err
}

// watch keeps the tail up to date by the change stream of the log.
func (f *follower) watch(ctx context.Context) error {
	s := f.store
	sess, err := s.session()
	if err != nil {
		return err
	}
	defer sess.EndSession(context.WithoutCancel(ctx))
	cs, err := openStream(ctx, s.answer, f.unanswered, func(ctx context.Context) (*mongo.ChangeStream, error) {
		return s.watchLog(ctx, sess)
	})
	if err != nil {
		return err
	}
	defer closeChangeStream(ctx, cs)
	// What was inserted before the stream begins is read; the session makes the
	// read see all of it.
	catchUp := func(ctx context.Context) error { return s.catchUp(mongo.NewSessionContext(ctx, sess)) }
	if err := ask(ctx, s.answer, catchUp); err != nil {
		return err
	}
	s.tail.fail(nil)
	var decoder logDecoder
	for {
		next, err := tryNext(ctx, cs, s.answer, f.unanswered)
		switch {
		case err != nil:
			return err
		case !next && cs.ID() == 0:
			return errStreamEnded
		case !next:
			continue
		}
		// Readers ask for a state no older than what they were told of.
		if t, i, ok := cs.Current.Lookup("clusterTime").TimestampOK(); ok {
			s.observeTime(bson.Timestamp{T: t, I: i})
		}
		if op, _ := cs.Current.Lookup("operationType").StringValueOK(); op != "insert" {
			return errStreamEnded
		}
		doc, ok := cs.Current.Lookup("fullDocument").DocumentOK()
		if !ok {
			return malformed("a change of the log comes without its document")
		}
		d, err := decoder.decode(doc)
		if err != nil {
			return err
		}
		if !s.tail.add(d) {
			if err := ask(ctx, s.answer, catchUp); err != nil {
				return err
			}
		}
	}
}

// watchLog opens a change stream of the log from now on. The session is advanced to
// where it begins.
func (s *Store) watchLog(ctx context.Context, sess *mongo.Session) (*mongo.ChangeStream, error) {
	now, err := s.clusterTime(ctx, sess)
	if err != nil {
		return nil, err
	}
	return s.log.Watch(ctx,
		mongo.Pipeline{
			{{Key: "$match", Value: bson.D{{Key: "operationType", Value: bson.D{{Key: "$in", Value: append(bson.A{"insert"}, endings()...)}}}}}},
			{{Key: "$project", Value: bson.D{{Key: "operationType", Value: 1}, {Key: "clusterTime", Value: 1}, {Key: "fullDocument", Value: 1}}}},
		},
		options.ChangeStream().SetStartAtOperationTime(&now).SetMaxAwaitTime(awaitTime).SetBatchSize(100))
}

// openStream opens a change stream, which has to answer within a time, longer when
// it has not done so before.
func openStream(ctx context.Context, answer time.Duration, unanswered *atomic.Int32, open func(context.Context) (*mongo.ChangeStream, error)) (*mongo.ChangeStream, error) {
	cs, err := answered(ctx, answer<<min(unanswered.Load(), 5), open)
	if isNoAnswer(err) {
		unanswered.Add(1)
	}
	return cs, err
}

// tryNext is the change stream's, which has to answer as for [openStream], and its
// error.
func tryNext(ctx context.Context, cs *mongo.ChangeStream, answer time.Duration, unanswered *atomic.Int32) (next bool, err error) {
	if cs.RemainingBatchLength() > 0 { // nobody is asked
		return cs.TryNext(ctx), cs.Err()
	}
	limit := awaitTime + answer<<min(unanswered.Load(), 5)
	next, err = answered(ctx, limit, func(ctx context.Context) (bool, error) { return cs.TryNext(ctx), cs.Err() })
	switch {
	case isNoAnswer(err):
		unanswered.Add(1)
	case err == nil:
		unanswered.Store(0)
	}
	return next, err
}

// errStreamEnded says that a change stream has come to its end: its collection
// was dropped or renamed.
var errStreamEnded = &Error{Op: "follow a collection", Kind: ErrHistoryLost, Retryable: true, Err: errors.New("it was dropped or renamed")}

// endings are the operations after which a change stream of a collection ends.
func endings() bson.A { return bson.A{"drop", "rename", "dropDatabase", "invalidate"} }

func closeChangeStream(ctx context.Context, cs *mongo.ChangeStream) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_ = cs.Close(ctx)
}

// clusterTime returns the present time of the cluster: whatever is committed
// later has a later time, and a read in the session sees everything earlier.
func (s *Store) clusterTime(ctx context.Context, sess *mongo.Session) (bson.Timestamp, error) {
	err := s.meta.FindOne(mongo.NewSessionContext(ctx, sess), bson.D{{Key: "_id", Value: "schema"}}).Err()
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return bson.Timestamp{}, err
	}
	t := sess.OperationTime()
	if t == nil {
		return bson.Timestamp{}, malformed("the server's replies carry no operationTime")
	}
	return *t, nil
}

// catchUp brings the tail up to what the log has.
func (s *Store) catchUp(ctx context.Context) error {
	head, known, _, _ := s.tail.state()
	last, err := s.lastLogDoc(ctx)
	if err != nil {
		return err
	}
	s.observe(mongo.SessionFromContext(ctx)) // before anybody reads what is there
	if !known || last.last() > head+eventstore.Position(s.cfg.RecentEntries) {
		s.tail.skip(last.last(), last.mark)
		return nil
	}
	if last.last() <= head {
		return nil
	}
	cur, err := s.log.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: int64(head)}}}},
		options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return err
	}
	defer closeCursor(ctx, cur)
	var decoder logDecoder
	for cur.Next(ctx) {
		d, err := decoder.decode(cur.Current)
		if err != nil {
			return err
		}
		s.observe(mongo.SessionFromContext(ctx))
		if !s.tail.add(d) {
			s.tail.skip(d.last(), d.mark)
		}
	}
	return cur.Err()
}

// lastLogDoc reads the log's last document, a zero one when the log is empty.
func (s *Store) lastLogDoc(ctx context.Context) (logDoc, error) {
	raw, err := s.log.FindOne(ctx, bson.D{}, options.FindOne().SetSort(bson.D{{Key: "_id", Value: -1}})).Raw()
	if errors.Is(err, mongo.ErrNoDocuments) {
		return logDoc{first: 1}, nil // last() is 0
	}
	if err != nil {
		return logDoc{}, err
	}
	var decoder logDecoder
	return decoder.decode(raw)
}
