package readmodel

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/projection"
)

// errMismatch says that the stored checkpoint is not the one a commit builds on.
var errMismatch = errors.New("the checkpoint is another one")

// errNarrow has a commit made again with one statement in each command, to find
// the one that the server does not take.
var errNarrow = errors.New("a command was refused as a whole")

// errNotNew has a commit made again without inserts: a document that was said to
// be new is not.
var errNotNew = errors.New("a new document is there already")

// A step is a commit on its way.
type step struct {
	projection.Commit
	// mark tells this commit's checkpoint from that of any other.
	mark bson.ObjectID
	plan *plan
	// narrow has each statement sent by itself.
	narrow bool
	// known has no document taken for new.
	known bool
	// maybe is set when an attempt may have been committed.
	maybe bool
}

func (s *step) next() projection.Checkpoint {
	return projection.Checkpoint{Position: s.To, Fence: s.Fence, Revision: s.From.Revision + 1}
}

// Commit implements [projection.Committer]: a transaction, or only the update of
// the checkpoint where there is nothing else to write. Removals are made before
// other changes. Updates are what [projection.Change] says.
func (b *Backend) Commit(ctx context.Context, c projection.Commit) (projection.Checkpoint, error) {
	if inTransaction(ctx) {
		return projection.Checkpoint{}, invalid("context", "carries a transaction; a commit is one of its own")
	}
	if err := check(c); err != nil {
		return projection.Checkpoint{}, err
	}
	s := &step{Commit: c, mark: bson.NewObjectID()}
	if err := b.prepare(s); err != nil {
		return projection.Checkpoint{}, eventstore.NotWritten(err)
	}
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return projection.Checkpoint{}, eventstore.NotWritten(err)
	}
	defer done()
	return b.commit(ctx, run, on, s)
}

// prepare encodes what is to be written.
func (b *Backend) prepare(s *step) (err error) {
	most := maxStatements
	if s.narrow {
		most = 1
	}
	if s.plan, err = b.plan(s.Changes, most, !s.known); err != nil {
		return err
	}
	letters := b.cfg.Prefix + lettersName
	for i := range s.Unparked {
		if err := s.plan.unpark(letters, s.Unparked[i]); err != nil {
			return err
		}
	}
	for i := range s.Parked {
		if err := s.plan.park(letters, &s.Parked[i]); err != nil {
			return err
		}
	}
	return nil
}

// commit makes a step until its outcome is known or the time is up.
func (b *Backend) commit(ctx, run context.Context, on *binding, s *step) (projection.Checkpoint, error) {
	op := fmt.Sprintf("commit %s from %d to %d", s.Key, s.From.Position, s.To)
	for attempt := 0; ; attempt++ {
		err := b.attempt(run, on, s)
		b.observe(mongo.SessionFromContext(run))
		switch {
		case err == nil:
			return s.next(), nil
		case errors.Is(err, errMismatch):
			settled, err := b.judge(run, s)
			if settled {
				return s.next(), nil
			}
			if err != nil && !isRetryable(err) {
				return projection.Checkpoint{}, b.gaveUp(ctx, op, s, err)
			}
		case errors.Is(err, errNarrow), errors.Is(err, errNotNew):
			s.narrow = s.narrow || errors.Is(err, errNarrow)
			s.known = s.known || errors.Is(err, errNotNew)
			if err := b.prepare(s); err != nil {
				return projection.Checkpoint{}, b.gaveUp(ctx, op, s, err)
			}
			continue
		case errors.Is(err, eventstore.ErrOutcomeUnknown):
			s.maybe = true
		case hasCode(err, codeNotInTransaction):
			b.made.Clear() // a collection was dropped by somebody else
		case !isRetryable(err):
			return projection.Checkpoint{}, b.gaveUp(ctx, op, s, err)
		}
		if !pause(run, attempt) {
			return projection.Checkpoint{}, b.gaveUp(ctx, op, s, run.Err())
		}
	}
}

// gaveUp marks an error with what is known of the outcome.
func (b *Backend) gaveUp(ctx context.Context, op string, s *step, err error) error {
	err = b.failed(ctx, op, err)
	if errors.Is(err, projection.ErrFenced) || errors.Is(err, projection.ErrMoved) {
		return err
	}
	if s.maybe {
		return eventstore.OutcomeUnknown(err)
	}
	return eventstore.NotWritten(err)
}

// attempt makes a step once.
func (b *Backend) attempt(run context.Context, on *binding, s *step) error {
	if len(s.plan.commands) == 0 {
		return b.moveOnly(run, on, s)
	}
	for _, c := range s.plan.commands {
		if err := b.make(run, c.coll); err != nil {
			return err
		}
	}
	return mongostore.TransactIn(run, mongo.SessionFromContext(run), func(ctx context.Context) error {
		if err := moveCheckpoint(ctx, on, s); err != nil {
			return err
		}
		for _, c := range s.plan.commands {
			if err := send(ctx, on.db, c, s.narrow); err != nil {
				return err
			}
		}
		return nil
	})
}

// checkpointUpdate returns the filter and update that move a checkpoint, and
// whether the checkpoint may be made by it.
func (s *step) checkpointUpdate() (filter, update bson.D, upsert bool) {
	var revision any = s.From.Revision
	if s.From.Revision == 0 { // SaveCheckpoint may have made it
		revision = bson.D{{Key: "$in", Value: bson.A{int64(0), nil}}}
	}
	filter = bson.D{
		{Key: "_id", Value: checkpointID(s.Key)},
		{Key: "position", Value: int64(s.From.Position)},
		{Key: "fence", Value: bson.D{{Key: "$lte", Value: s.Fence}}},
		{Key: "revision", Value: revision},
	}
	update = bson.D{
		{Key: "$set", Value: bson.D{
			{Key: "position", Value: int64(s.To)},
			{Key: "fence", Value: s.Fence},
			{Key: "revision", Value: s.From.Revision + 1},
			{Key: "commit", Value: s.mark},
		}},
		{Key: "$currentDate", Value: bson.D{{Key: "at", Value: true}}},
	}
	return filter, update, s.From.Position == 0 && s.From.Revision == 0
}

// moveCheckpoint moves the checkpoint within the transaction. It comes first, so
// that a commit that is refused has cost one command.
func moveCheckpoint(ctx context.Context, on *binding, s *step) error {
	filter, update, upsert := s.checkpointUpdate()
	r, err := on.checkpoints.UpdateOne(ctx, filter, update, options.UpdateOne().SetUpsert(upsert))
	switch {
	case hasCode(err, codeDuplicateKey) && !isTransient(err):
		return errMismatch
	case err != nil:
		return err
	case r.MatchedCount+r.UpsertedCount == 0:
		return errMismatch
	}
	return nil
}

// moveOnly makes a step that writes nothing but the checkpoint.
func (b *Backend) moveOnly(run context.Context, on *binding, s *step) error {
	err := moveCheckpoint(run, on, s)
	if err == nil || errors.Is(err, errMismatch) {
		return err
	}
	if e, ok := errors.AsType[*mongostore.Error](mongostore.Classify("", err)); ok && e.Outcome != mongostore.WrittenNothing {
		return eventstore.OutcomeUnknown(err)
	}
	return err
}

// judge finds out why the checkpoint is not what a step builds on: settled, the
// step was made before. Neither settled nor an error, it is that checkpoint after
// all.
func (b *Backend) judge(run context.Context, s *step) (settled bool, err error) {
	stored, err := b.loadCheckpoint(run, s.Key)
	switch {
	case err != nil:
		return false, err
	case stored.Commit == s.mark:
		return true, nil
	case stored.Fence > s.Fence:
		return false, fmt.Errorf("commit to %s with fencing token %d: %w (token %d)", s.Key, s.Fence, projection.ErrFenced, stored.Fence)
	case stored.Position != s.From.Position || stored.Revision != s.From.Revision:
		return false, fmt.Errorf("commit to %s from position %d, revision %d: %w: it is at %d, revision %d",
			s.Key, s.From.Position, s.From.Revision, projection.ErrMoved, stored.Position, stored.Revision)
	}
	return false, nil
}

// send sends a command of a transaction.
func send(ctx context.Context, db *mongo.Database, c *command, narrow bool) error {
	err := db.RunCommand(ctx, c.bytes()).Err()
	if err == nil || isTransient(err) {
		return err
	}
	if about, e, ok := failedStatement(c, err); ok {
		switch {
		case !isOfID(e):
		case c.verb == "insert":
			return errNotNew
		default: // somebody else has just made the document
			return &transientError{err}
		}
		return documentError(about, err)
	}
	switch {
	case hasCode(err, codeTooLarge):
		return &eventstore.TooLargeError{What: "commit: " + err.Error(), Limit: eventstore.MaxAppendSize}
	case !slices.ContainsFunc(c.subjects, func(s subject) bool { return isOf(s, err) }):
		return err
	case narrow || len(c.subjects) == 1:
		return documentError(c.subjects[0], err)
	}
	return errNarrow
}

func documentError(about subject, err error) error {
	err = mongostore.Classify("", err)
	if about.model == "" || isRetryable(err) {
		return err
	}
	return &projection.DocumentError{Model: about.model, Key: about.key, Err: err}
}

// isOf reports whether a command may have been refused for what it says of a
// document. Of a replacement only certain errors are that, of an update in the
// caller's words all that nothing else is known of.
func isOf(s subject, err error) bool {
	e, ok := errors.AsType[*mongostore.Error](mongostore.Classify("", err))
	if !ok || e.Retryable {
		return false
	}
	return errors.Is(e, mongostore.ErrValidation) || errors.Is(e, mongostore.ErrBSON) || (s.partial && e.Kind == mongostore.ErrQuery)
}

// isOfID reports whether a write met the key of a document that was made since
// the transaction began.
func isOfID(e mongo.WriteError) bool {
	if e.Code != codeDuplicateKey {
		return false
	}
	pattern, ok := e.Raw.Lookup("keyPattern").DocumentOK()
	if !ok {
		return false
	}
	elem, rest, ok := bsoncore.ReadElement(pattern[4:])
	return ok && elem.Key() == "_id" && len(rest) == 1
}

func isRetryable(err error) bool {
	return errors.Is(mongostore.Classify("", err), eventstore.ErrUnavailable)
}

// pause waits before an attempt, longer with each up to a quarter of a second,
// and reports whether there is time for it.
func pause(ctx context.Context, attempt int) bool {
	d := min(2*time.Millisecond<<min(attempt, 10), 250*time.Millisecond)
	t := time.NewTimer(d/2 + rand.N(d/2)) //nolint:gosec // spreads retries, no secret
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
