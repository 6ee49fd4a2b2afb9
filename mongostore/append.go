package mongostore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"

	"github.com/annals-es/annals/eventstore"
)

// Append implements [eventstore.Appender]. Ids of appends are kept for
// Config.KeepAppendIDs.
//
// When ctx carries a running transaction (see [WithTransaction]), the append is
// part of it: it happens if and when that transaction is committed, and reads
// within it see the events before. An error means that the transaction cannot be
// continued, unless it is a conflict.
//
// When ctx ends while the append is being written, the error matches
// [eventstore.ErrOutcomeUnknown]; while it still waits for its turn,
// [eventstore.ErrNotWritten].
func (s *Store) Append(ctx context.Context, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	if s.closed.Load() {
		return eventstore.AppendResult{}, eventstore.NotWritten(eventstore.ErrClosed)
	}
	start := time.Now()
	prepared, err := eventstore.Prepare(ctx, req, s.cfg.Clock())
	if err != nil {
		s.appended.returned(newPending(req, start), false, err)
		return eventstore.AppendResult{}, err
	}
	a := newPending(prepared, start)
	before := s.current.Load()
	res, err := s.append(ctx, a)
	if errors.Is(err, eventstore.ErrNotWritten) && (s.reauthenticated(ctx, err) || s.hasMoved(ctx, err, before)) {
		a = newPending(prepared, start)
		res, err = s.append(ctx, a)
	}
	s.appended.returned(a, res.Duplicate, err)
	return res, err
}

func (s *Store) append(ctx context.Context, a *pending) (eventstore.AppendResult, error) {
	if err := s.encode(a); err != nil {
		return eventstore.AppendResult{}, err
	}
	switch {
	case inTransaction(ctx):
		s = s.enter(ctx)
		defer s.leave()
		return s.appendWithin(ctx, a)
	case a.needsReading():
		return s.appendAlone(ctx, a)
	}
	return s.appendGrouped(ctx, a)
}

// A pending is an append on its way.
type pending struct {
	req    eventstore.AppendRequest
	parts  []part // of req.Streams
	events int
	size   int

	// done is closed when a flight has carried the append while its caller waits;
	// outcome and err are set before.
	done    chan struct{}
	outcome outcome
	err     error
	// since and until bound the commit in the cluster's time.
	since, until bson.Timestamp
	// maybe is set when an attempt may have written without being acknowledged.
	maybe bool
	told  claim // who tells the hook of it
	mine  bool  // its caller has taken the claim

	queued bool // guarded by the grouper

	start time.Time
	head  HeadSource
}

func newPending(req eventstore.AppendRequest, start time.Time) *pending {
	a := &pending{req: req, start: start}
	for i := range req.Streams {
		a.events += len(req.Streams[i].Events)
	}
	return a
}

// A part is what an append does to one stream.
type part struct {
	// base is the version that the events follow. It is known to exist.
	base eventstore.Version
	docs []bson.Raw
}

// rebase moves the documents behind another version.
func (p *part) rebase(stream eventstore.StreamID, base eventstore.Version) {
	if p.base == base {
		return
	}
	p.base = base
	for i, doc := range p.docs {
		setVersion(doc, stream, base+eventstore.Version(i)+1)
	}
}

func (p *part) last() eventstore.Version { return p.base + eventstore.Version(len(p.docs)) }

// An outcome says what a flight did to an append.
type outcome uint8

const (
	failed  outcome = iota // see err
	written                // committed
	lost                   // a unique key was taken; nothing was written
)

// encode makes the documents of an append.
func (s *Store) encode(a *pending) error {
	a.parts = make([]part, len(a.req.Streams))
	for i := range a.req.Streams {
		st := &a.req.Streams[i]
		if len(st.Events) == 0 {
			continue
		}
		docs := make([]bson.Raw, len(st.Events))
		for j := range st.Events {
			doc, err := encodeEvent(s.ids.next(), st.Stream, eventstore.Version(j+1), &st.Events[j])
			if err != nil {
				return fmt.Errorf("append to %q: %w", st.Stream, err)
			}
			docs[j] = doc
			a.size += len(doc)
		}
		a.parts[i].docs = docs
	}
	return nil
}

// needsReading reports whether the append can be decided only in a transaction
// of its own that reads first: it checks streams that it does not write, or that
// a stream is not deleted, or writes nothing at all.
func (a *pending) needsReading() bool {
	for i := range a.parts {
		if len(a.parts[i].docs) == 0 || a.req.Streams[i].Expected == eventstore.Exists {
			return true
		}
	}
	return false
}

// single reports whether the append is one event that needs no transaction.
func (a *pending) single() bool {
	return a.events == 1 && len(a.parts) == 1 && a.req.ID == eventstore.AppendID{}
}

func (a *pending) result() eventstore.AppendResult {
	res := eventstore.AppendResult{Streams: make([]eventstore.StreamResult, len(a.parts))}
	for i := range a.parts {
		p := &a.parts[i]
		res.Streams[i] = eventstore.StreamResult{Stream: a.req.Streams[i].Stream, Last: p.last()}
		if len(p.docs) > 0 {
			res.Streams[i].First = p.base + 1
		}
	}
	if ids := a.lastIDs(); len(ids) > 0 {
		res.Token = token{since: a.since, until: a.until, ids: ids}.encode()
	}
	return res
}

// lastIDs are the ids of the last document of each stream.
func (a *pending) lastIDs() []bson.ObjectID {
	ids := make([]bson.ObjectID, 0, len(a.parts))
	for i := range a.parts {
		if docs := a.parts[i].docs; len(docs) > 0 {
			ids = append(ids, documentID(docs[len(docs)-1]))
		}
	}
	return ids
}

func documentID(doc bson.Raw) bson.ObjectID {
	const at = 4 + 1 + len("_id") + 1
	return bson.ObjectID(doc[at : at+12])
}

// appendGrouped has the append carried by a flight, and tries again behind the
// new head when somebody else was quicker and the expectation allows it.
func (s *Store) appendGrouped(ctx context.Context, a *pending) (eventstore.AppendResult, error) {
	placed := s.placeByMemory(a)
	a.head = HeadMiss
	if placed {
		a.head = HeadHit
	}
	for attempt := 0; ; attempt++ {
		if !placed {
			res, done, err := s.settleRetrying(ctx, a, a.start.Add(s.cfg.WriteTimeout))
			if err != nil {
				return eventstore.AppendResult{}, s.appendFailed(ctx, a, err)
			}
			if done {
				return res, nil
			}
		}
		placed = false
		if err := s.groups.carry(ctx, a); err != nil {
			return eventstore.AppendResult{}, err
		}
		switch a.outcome {
		case written:
			return a.result(), nil
		case failed:
			return eventstore.AppendResult{}, s.appendFailed(ctx, a, a.err)
		}
		if attempt > 3 && !pause(ctx, attempt-3, 20*time.Millisecond) {
			return eventstore.AppendResult{}, s.appendFailed(ctx, a, ctx.Err())
		}
	}
}

// settleRetrying is settle, made again while the server cannot be asked.
func (s *Store) settleRetrying(ctx context.Context, a *pending, giveUp time.Time) (eventstore.AppendResult, bool, error) {
	for attempt := 0; ; attempt++ {
		var done bool
		limit := max(min(s.answer, time.Until(giveUp)), time.Millisecond)
		res, err := answered(ctx, limit, func(ctx context.Context) (res eventstore.AppendResult, err error) {
			res, done, err = s.settleOnPresentClient(ctx, a)
			return res, err
		})
		if err == nil || ofContract(err) && !isNoAnswer(err) || !s.mayPass(ctx, err) || time.Now().After(giveUp) || s.closed.Load() {
			return res, done, err
		}
		s.retried("append")(err)
		if !pause(ctx, attempt, 500*time.Millisecond) {
			return res, false, ctx.Err()
		}
	}
}

func (s *Store) settleOnPresentClient(ctx context.Context, a *pending) (eventstore.AppendResult, bool, error) {
	s = s.enter(ctx)
	defer s.leave()
	return s.settle(ctx, a)
}

// placeByMemory finds the versions that the events follow from the expectations
// and from what is known of the streams. It reports false when the server has to
// be asked.
func (s *Store) placeByMemory(a *pending) bool {
	for i := range a.parts {
		st := &a.req.Streams[i]
		known := s.heads.get(st.Stream)
		switch v, exact := st.Expected.Version(); {
		case exact && known == v, st.Expected == eventstore.Any && known > 0:
			a.parts[i].rebase(st.Stream, known)
		default: // behind: the version must be seen to exist; ahead: it is a conflict or a repetition
			return false
		}
	}
	return true
}

// appendFailed marks an error with what is known of the outcome.
func (s *Store) appendFailed(ctx context.Context, a *pending, err error) error {
	err = s.failed(ctx, fmt.Sprintf("append to %q", a.req.Streams[0].Stream), err)
	if errors.Is(err, eventstore.ErrNotWritten) || errors.Is(err, eventstore.ErrOutcomeUnknown) {
		return err
	}
	if a.maybe {
		return eventstore.OutcomeUnknown(err)
	}
	return eventstore.NotWritten(err)
}

// appendAlone makes an append in a transaction of its own.
func (s *Store) appendAlone(ctx context.Context, a *pending) (eventstore.AppendResult, error) {
	return detached(ctx, s, eventstore.OutcomeUnknown, func(ctx context.Context) (eventstore.AppendResult, error) {
		return s.transactAppend(ctx, a)
	})
}

// detached runs fn to its end, whether its caller waits for that or not: a
// transaction that is cut off may keep its locks. What a caller gets who does not
// wait is the context's error, marked.
func detached[T any](ctx context.Context, s *Store, mark func(error) error, fn func(context.Context) (T, error)) (T, error) {
	type answer struct {
		res T
		err error
	}
	done := make(chan answer, 1)
	run, cancel := context.WithTimeout(mongo.NewSessionContext(context.WithoutCancel(ctx), nil), s.cfg.WriteTimeout)
	stop := context.AfterFunc(s.life, cancel) //nolint:contextcheck // the store's life ends it as well
	tracked := s.groups.track(func() {
		defer cancel()
		defer stop()
		res, err := fn(run)
		done <- answer{res, err}
	})
	if !tracked {
		stop()
		cancel()
		var none T
		return none, eventstore.NotWritten(eventstore.ErrClosed)
	}
	select {
	case r := <-done:
		return r.res, r.err
	case <-ctx.Done():
		var none T
		return none, mark(ctx.Err())
	}
}

func (s *Store) transactAppend(ctx context.Context, a *pending) (eventstore.AppendResult, error) {
	sess, err := s.session()
	if err != nil {
		return eventstore.AppendResult{}, eventstore.NotWritten(s.failed(ctx, "start a session", err))
	}
	defer sess.EndSession(context.WithoutCancel(ctx))
	var (
		res   eventstore.AppendResult
		start = time.Now()
		first = true
	)
	err = transact(ctx, sess, s.answer, s.again("append"), func(ctx context.Context) error {
		if a.maybe || !first {
			// A commit may have taken effect after all, unacknowledged.
			mine, err := answered(ctx, s.answer, func(ctx context.Context) (bool, error) { return s.findOwn(ctx, a) })
			if err != nil || mine {
				res = a.result()
				return err
			}
		}
		first = false
		var err error
		res, err = answered(ctx, s.answerFor(a.size), func(ctx context.Context) (eventstore.AppendResult, error) {
			return s.writeWithin(ctx, a)
		})
		return duplicateIsTransient(err)
	})
	s.observe(sess)
	if err != nil {
		return eventstore.AppendResult{}, s.alone(ctx, a, err)
	}
	if res.Duplicate || res.Token == "" {
		return res, nil
	}
	s.committed(a, windowOf(start, timeOf(sess)))
	return a.result(), nil
}

// alone marks the error of an append in a transaction of its own.
func (s *Store) alone(ctx context.Context, a *pending, err error) error {
	op := fmt.Sprintf("append to %q", a.req.Streams[0].Stream)
	unknown := errors.Is(err, eventstore.ErrOutcomeUnknown)
	marked := unknown || errors.Is(err, eventstore.ErrNotWritten)
	switch {
	case ctx.Err() != nil && unknown:
		return eventstore.OutcomeUnknown(s.givenUp(op, err))
	case ctx.Err() != nil && (!marked || ofContext(err)):
		e := s.givenUp(op, err)
		e.Outcome = WrittenNothing
		return eventstore.NotWritten(e)
	case marked:
		return err
	}
	return eventstore.NotWritten(wrap(op, err)) // it failed before the commit
}

func ofContext(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// givenUp is the error of an operation that has taken all of WriteTimeout. The
// deadline that has passed is not its caller's.
func (s *Store) givenUp(op string, err error) *Error {
	return &Error{Op: op, Kind: ErrTimeout, Retryable: true, Err: fmt.Errorf("given up after %s: %v", s.cfg.WriteTimeout, err)} //nolint:errorlint // see above
}

// committed notes the versions that exist now and when they were committed.
func (s *Store) committed(a *pending, w commitWindow) {
	a.since, a.until = w.since, w.until
	for i := range a.parts {
		s.heads.learn(a.req.Streams[i].Stream, a.parts[i].last())
	}
}

// A commitWindow bounds the time of a commit in the cluster's time.
type commitWindow struct{ since, until bson.Timestamp }

// windowOf bounds the time of what was committed since start and before the
// server's reply at a time of the cluster. The lower bound takes the clocks of
// servers and client to run at about the same speed; it only directs a search.
func windowOf(start time.Time, at bson.Timestamp) commitWindow {
	if at.IsZero() {
		return commitWindow{}
	}
	took := uint32(time.Since(start)/time.Second) + 2
	return commitWindow{since: bson.Timestamp{T: at.T - min(took, at.T)}, until: at}
}

// timeOf is the time of a session's last operation, zero where that is unknown.
func timeOf(sess *mongo.Session) (t bson.Timestamp) {
	if at := sess.OperationTime(); at != nil {
		t = *at
	}
	return t
}

func (s *Store) retried(op string) func(error) {
	return func(err error) {
		if hook := s.cfg.Hooks.Retry; hook != nil {
			hook(op, err)
		}
	}
}

// appendWithin makes an append in the caller's transaction.
func (s *Store) appendWithin(ctx context.Context, a *pending) (eventstore.AppendResult, error) {
	res, err := s.writeWithin(ctx, a)
	if err == nil {
		if t := mongo.SessionFromContext(ctx).OperationTime(); t != nil && !res.Duplicate && res.Token != "" {
			a.since = *t // the commit comes later
			return a.result(), nil
		}
		return res, nil
	}
	if errors.Is(err, eventstore.ErrNotWritten) {
		return eventstore.AppendResult{}, err
	}
	if ctx.Err() != nil {
		return eventstore.AppendResult{}, eventstore.NotWritten(ctx.Err())
	}
	err = duplicateIsTransient(err)
	return eventstore.AppendResult{}, eventstore.NotWritten(wrap(fmt.Sprintf("append to %q", a.req.Streams[0].Stream), err))
}

// duplicateIsTransient makes a duplicate key met within a transaction a reason to
// run it again: the reads of the next attempt see who was quicker.
func duplicateIsTransient(err error) error {
	if hasCode(err, codeDuplicateKey) {
		return &transientError{err}
	}
	return err
}

type transientError struct{ err error }

func (e *transientError) Error() string { return e.err.Error() }
func (e *transientError) Unwrap() error { return e.err }

// HasErrorLabel makes it a [mongo.LabeledError].
func (e *transientError) HasErrorLabel(label string) bool {
	return label == driver.TransientTransactionError
}

// writeWithin reads, checks and writes in the transaction that ctx carries.
//
// Streams that are checked without being written need more than a read: a
// snapshot does not keep others from appending to them before the commit (write
// skew). So the version after their head is inserted and deleted again. It takes
// the unique key for the duration of the transaction, and an append to the stream
// that commits after the snapshot, or tries to, meets it as a write conflict. That
// holds also where any version is accepted: the head that the result tells is one
// that the stream had when the append took effect.
func (s *Store) writeWithin(ctx context.Context, a *pending) (eventstore.AppendResult, error) {
	if a.req.ID != (eventstore.AppendID{}) {
		first, found, err := s.findAppendID(ctx, a)
		if err != nil || found {
			return first, err
		}
	}
	states := make([]streamState, len(a.parts))
	for i := range a.parts {
		var err error
		if states[i], err = s.stateWithin(ctx, a.req.Streams[i].Stream); err != nil {
			return eventstore.AppendResult{}, err
		}
	}
	if first, found, err := s.judge(ctx, a, states); err != nil || found {
		return first, err
	}
	var docs, guards []bson.Raw
	for i := range a.parts {
		st := &a.req.Streams[i]
		a.parts[i].rebase(st.Stream, states[i].Head)
		if len(a.parts[i].docs) == 0 {
			guards = append(guards, encodeMarker(s.ids.next(), st.Stream, states[i].Head+1, guardType))
		}
		docs = append(docs, a.parts[i].docs...)
	}
	if len(docs) == 0 { // asking uses up no id
		return a.result(), nil
	}
	if a.req.ID != (eventstore.AppendID{}) {
		if _, err := s.appends.InsertOne(ctx, s.appendRecord(a)); err != nil {
			return eventstore.AppendResult{}, err
		}
	}
	if _, err := s.events.InsertMany(ctx, slices.Concat(guards, docs)); err != nil {
		return eventstore.AppendResult{}, err
	}
	if err := s.deleteMarkers(ctx, guards); err != nil {
		return eventstore.AppendResult{}, err
	}
	return a.result(), nil
}

func (s *Store) deleteMarkers(ctx context.Context, markers []bson.Raw) error {
	if len(markers) == 0 {
		return nil
	}
	ids := make(bson.A, len(markers))
	for i, m := range markers {
		ids[i] = documentID(m)
	}
	_, err := s.events.DeleteMany(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}})
	return err
}
