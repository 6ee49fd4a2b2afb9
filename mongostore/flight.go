package mongostore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/eventstore"
)

// flyInserts writes single events in one unordered insert and sets the outcome of
// each. After an error that leaves some in doubt it sends these again: the same
// document at the same version is written once at most, and the second time meets
// its own key. Ctx ends within the time that an append may take.
func (s *Store) flyInserts(ctx context.Context, group ...*pending) {
	start := time.Now()
	left := group
	var err error
	for attempt := 0; len(left) > 0; attempt++ {
		left, err = s.insertEach(ctx, left)
		if len(left) == 0 {
			break
		}
		if !s.mayPass(ctx, err) || !pause(ctx, attempt, 500*time.Millisecond) {
			break
		}
		s.retried("append")(err)
	}
	for _, a := range left {
		a.outcome, a.err = failed, s.flightFailed(ctx, err)
	}
	s.flown(group, FlightStats{Appends: len(group), Events: len(group), Err: err}, start)
}

// mayPass reports whether what has failed may succeed when it is made again, after
// renewing credentials that were refused.
func (s *Store) mayPass(ctx context.Context, err error) bool {
	return isRetryable(err) || s.reauthenticated(ctx, err)
}

func isRetryable(err error) bool {
	e, ok := errors.AsType[*Error](Classify("", err))
	return ok && e.Retryable
}

// flightFailed is the error of a flight that was given up. That it ran out of
// time is not its callers' deadline.
func (s *Store) flightFailed(ctx context.Context, err error) error {
	if ctx.Err() != nil && s.life.Err() == nil {
		return &Error{Op: "append", Kind: ErrTimeout, Retryable: true, Err: fmt.Errorf("given up after %s, the last error: %v", s.cfg.WriteTimeout, err)} //nolint:errorlint // see above
	}
	return err
}

// flown tells the hooks of a flight and of what it has written.
func (s *Store) flown(group []*pending, stats FlightStats, start time.Time) {
	end := time.Now()
	if hook := s.cfg.Hooks.Flight; hook != nil {
		stats.Duration = end.Sub(start)
		hook(stats)
	}
	s.appended.flown(group, end)
}

// insertEach makes one attempt and returns the appends that it leaves open, with
// the reason.
func (s *Store) insertEach(ctx context.Context, group []*pending) ([]*pending, error) {
	s = s.enter(ctx)
	defer s.leave()
	docs := make([]bson.Raw, len(group))
	size := 0
	for i, a := range group {
		docs[i] = a.parts[0].docs[0]
		size += len(docs[i])
	}
	start := time.Now()
	at, err := answered(ctx, s.answerFor(size), func(ctx context.Context) (bson.Timestamp, error) {
		return insert(ctx, s.events, false, docs...)
	})
	s.observeTime(at)
	if err == nil {
		window := windowOf(start, at)
		for _, a := range group {
			a.outcome = written
			s.committed(a, window)
		}
		return nil, nil
	}
	partly, ok := errors.AsType[mongo.WriteException](err)
	if !ok {
		if !wroteNothing(err) {
			for _, a := range group {
				a.maybe = true
			}
		}
		return group, err
	}
	return s.settleEach(group, partly, start, at)
}

// settleEach sets the outcomes of a group of which the server has refused some, or
// whose writes a majority has not acknowledged.
func (s *Store) settleEach(group []*pending, partly mongo.WriteException, start time.Time, at bson.Timestamp) (left []*pending, reason error) {
	refused := make(map[int]mongo.WriteError, len(partly.WriteErrors))
	for _, we := range partly.WriteErrors {
		refused[we.Index] = we
	}
	window := windowOf(start, at)
	for i, a := range group {
		we, no := refused[i]
		switch {
		case no && we.Code == codeDuplicateKey:
			a.outcome = lost
		case no && isRetryable(we):
			a.maybe = true
			left, reason = append(left, a), we
		case no:
			a.outcome, a.err = failed, we
		case partly.WriteConcernError != nil:
			a.maybe = true // written, and not known to be there to stay
			left, reason = append(left, a), mongo.WriteException{WriteConcernError: partly.WriteConcernError, Labels: partly.Labels}
		default:
			a.outcome = written
			s.committed(a, window)
		}
	}
	return left, reason
}

// flyTransaction writes a group of appends in one transaction and sets the
// outcome of each. Where one of them is why it cannot commit, the others go on
// without it.
func (s *Store) flyTransaction(group []*pending) {
	start := time.Now()
	ctx, cancel := context.WithTimeout(s.life, s.cfg.WriteTimeout)
	defer cancel()
	events := 0
	for _, a := range group {
		events += a.events
	}
	err := s.insertTogether(ctx, group)
	s.flown(group, FlightStats{Transaction: true, Appends: len(group), Events: events, Err: err}, start)
}

// insertTogether writes a group until each member has an outcome.
func (s *Store) insertTogether(ctx context.Context, group []*pending) error {
	var first error
	for attempt := 0; len(group) > 0; attempt++ {
		culprit, err := s.insertGroup(ctx, group)
		if err == nil {
			return first
		}
		if first == nil {
			first = err
		}
		switch {
		case culprit >= 0:
			// Its outcome is set; those chained behind it find their key free
			// and the one before missing, so they are lost as well.
			group = withoutCulprit(group, culprit)
		case s.mayPass(ctx, err) && pause(ctx, attempt, 500*time.Millisecond):
			s.retried("append")(err)
		case len(group) > 1 && ctx.Err() == nil:
			for _, a := range group {
				_ = s.insertTogether(ctx, []*pending{a})
			}
			return first
		default:
			for _, a := range group {
				a.outcome, a.err = failed, s.flightFailed(ctx, err)
			}
			return first
		}
	}
	return first
}

// withoutCulprit removes an append from a group, and those that were placed
// behind it.
func withoutCulprit(group []*pending, culprit int) []*pending {
	gone := map[eventstore.StreamID]struct{}{}
	drop := func(a *pending) {
		for i := range a.req.Streams {
			gone[a.req.Streams[i].Stream] = struct{}{}
		}
	}
	drop(group[culprit])
	left := append([]*pending(nil), group[:culprit]...)
	for _, a := range group[culprit+1:] {
		follows := false
		for i := range a.req.Streams {
			if _, ok := gone[a.req.Streams[i].Stream]; ok {
				follows = true
			}
		}
		if follows {
			a.outcome = lost
			drop(a)
			continue
		}
		left = append(left, a)
	}
	return left
}

// insertGroup makes one transaction of a group. When a member is refused, its
// outcome is set and its index returned.
func (s *Store) insertGroup(ctx context.Context, group []*pending) (culprit int, err error) {
	culprit = -1
	s = s.enter(ctx)
	defer s.leave()
	sess, err := s.session()
	if err != nil {
		return culprit, err
	}
	defer sess.EndSession(context.WithoutCancel(ctx))
	var docs []bson.Raw
	var owner []int
	size := 0
	var records []appendRecord
	var recordOwner []int
	for i, a := range group {
		size += a.size
		for p := range a.parts {
			docs = append(docs, a.parts[p].docs...)
			for range a.parts[p].docs {
				owner = append(owner, i)
			}
		}
		if a.req.ID != (eventstore.AppendID{}) {
			records = append(records, s.appendRecord(a))
			recordOwner = append(recordOwner, i)
		}
	}
	start := time.Now()
	err = transact(ctx, sess, s.answer, s.again("append"), func(ctx context.Context) error {
		if len(records) > 0 {
			err := ask(ctx, s.answer, func(ctx context.Context) error {
				_, err := s.appends.InsertMany(ctx, records)
				return err
			})
			if err != nil {
				culprit = refuse(group, recordOwner, err)
				return err
			}
		}
		err := ask(ctx, s.answerFor(size), func(ctx context.Context) error {
			_, err := s.events.InsertMany(ctx, docs)
			return err
		})
		if err != nil {
			culprit = refuse(group, owner, err)
		}
		return err
	})
	s.observe(sess)
	if err == nil {
		window := windowOf(start, timeOf(sess))
		for _, a := range group {
			a.outcome = written
			s.committed(a, window)
		}
		return -1, nil
	}
	if errors.Is(err, eventstore.ErrOutcomeUnknown) {
		for _, a := range group {
			a.maybe = true
		}
		return -1, err
	}
	return culprit, err
}

// refuse sets the outcome of the append whose document an ordered insert has
// stopped at, and returns its index, or -1 when the error is not a document's.
func refuse(group []*pending, owner []int, err error) int {
	bulk, ok := errors.AsType[mongo.BulkWriteException](err)
	if !ok || len(bulk.WriteErrors) == 0 || isRetryable(bulk.WriteErrors[0].WriteError) {
		return -1
	}
	we := bulk.WriteErrors[0].WriteError
	if we.Index >= len(owner) {
		return -1
	}
	a := group[owner[we.Index]]
	if we.Code == codeDuplicateKey {
		a.outcome = lost
	} else {
		a.outcome, a.err = failed, we
	}
	return owner[we.Index]
}
