package mongostore

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore/internal/refusal"
)

// abortTimeout bounds the abort of a transaction, which does not depend on the
// caller's context: one that was cancelled would leave its locks behind until
// the server's limit of a minute.
const abortTimeout = 5 * time.Second

// WithTransaction runs fn in a transaction with snapshot reads and majority
// writes, and commits it when fn returns nil. What fn does with the context it
// is given, appends to a [Store] of the same client included, happens as a whole
// or not at all.
//
// fn is run again from the start when the transaction met another one or the
// server was lost, until ctx ends: it must have no effects besides, and do
// nothing concurrently on its context. Set a deadline on ctx; a server ends a
// transaction after a minute in any case. The context that fn gets ends up to a
// second after ctx, so that no operation is cut off while it is under way; nothing
// is committed then.
//
// In a context that carries a running transaction of the same client, as that of
// an fn around it, fn takes part in that one: it is called once, with ctx, and what
// it did is committed or not with the rest. So functions that each need a
// transaction can be composed.
//
// An error of fn is returned as it is, after an abort. When the commit's outcome
// cannot be found out the error matches [eventstore.ErrOutcomeUnknown], in every
// other case nothing was written.
func WithTransaction(ctx context.Context, client *mongo.Client, fn func(ctx context.Context) error) error {
	if outer := mongo.SessionFromContext(ctx); outer != nil && outer.TransactionRunning() && outer.Client() == client {
		return fn(ctx)
	}
	sess, err := client.StartSession()
	if err != nil {
		return wrap("start a session", err)
	}
	defer sess.EndSession(context.WithoutCancel(ctx))
	return transact(ctx, sess, answerTime, nil, fn)
}

// TransactIn is [WithTransaction] in a session of the caller's, which can be asked
// for the time of the commit afterwards.
func TransactIn(ctx context.Context, sess *mongo.Session, fn func(ctx context.Context) error) error {
	return transact(ctx, sess, answerTime, nil, fn)
}

// transact is the loop that the drivers' specification describes, with short
// pauses between attempts: transactions here are small, and long pauses starve
// writers of a busy stream. again is asked before each further attempt, after what
// error, and may be nil. A commit is answered in a time, or made again.
func transact(ctx context.Context, sess *mongo.Session, answer time.Duration, again func(error) bool, fn func(ctx context.Context) error) error {
	opts := options.Transaction().
		SetReadConcern(readconcern.Snapshot()).
		SetWriteConcern(writeconcern.Majority()).
		SetReadPreference(readpref.Primary())
	longer, cancel := outlasting(ctx)
	defer cancel()
	for attempt := 0; ; attempt++ {
		if err := ctx.Err(); err != nil {
			return eventstore.NotWritten(err)
		}
		if err := sess.StartTransaction(opts); err != nil {
			return eventstore.NotWritten(wrap("start a transaction", err))
		}
		err := fn(mongo.NewSessionContext(longer, sess))
		if err == nil {
			err = ctx.Err()
		}
		if err == nil && sess.TransactionRunning() {
			err = commit(ctx, sess, answer, again)
			if err == nil {
				return nil
			}
			if !hasLabel(err, driver.TransientTransactionError) {
				if isRefused(err) {
					err = &refusal.Stranded{Err: err, Session: sess.ID()}
				}
				return commitFailed(ctx, err)
			}
		} else {
			abort(ctx, sess)
		}
		if err == nil { // fn has ended the transaction itself
			return nil
		}
		if isRefused(err) {
			return &refusal.Stranded{Err: err, Session: sess.ID()}
		}
		if !hasLabel(err, driver.TransientTransactionError) {
			return err
		}
		if again != nil && !again(err) {
			return err
		}
		if !pause(ctx, attempt, 100*time.Millisecond) {
			return eventstore.NotWritten(ctx.Err())
		}
	}
}

// cutGrace is how long an operation of a transaction may go on after the caller's
// context has ended. One that is cut off when it was sent and the server has not
// seen it yet is overtaken by the abort, and starts the transaction after it: its
// locks would then stay until the server's limit of a minute.
const cutGrace = time.Second

// outlasting returns a context that ends cutGrace after ctx.
func outlasting(ctx context.Context) (context.Context, context.CancelFunc) {
	longer, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(cutGrace, cancel)
		context.AfterFunc(longer, func() { t.Stop() })
	})
	return longer, func() { stop(); cancel() }
}

func abort(ctx context.Context, sess *mongo.Session) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_ = sess.AbortTransaction(ctx) // the server aborts what is left
}

// commit repeats a commit of unknown outcome until it is known or ctx ends.
func commit(ctx context.Context, sess *mongo.Session, answer time.Duration, again func(error) bool) error {
	sending, cancel := outlasting(ctx)
	defer cancel()
	for attempt := 0; ; attempt++ {
		err := ask(sending, answer, sess.CommitTransaction)
		if err == nil || !hasLabel(err, driver.UnknownTransactionCommitResult) || hasCode(err, 50) {
			if err != nil && attempt > 0 && !isServerError(err) {
				return eventstore.OutcomeUnknown(wrap("commit", err)) // an attempt before may have been heard
			}
			return err
		}
		if again != nil && !again(err) || !pause(ctx, attempt, 250*time.Millisecond) {
			return err
		}
	}
}

func commitFailed(ctx context.Context, err error) error {
	if cause := ctx.Err(); cause != nil {
		return eventstore.OutcomeUnknown(cause)
	}
	if errors.Is(err, eventstore.ErrOutcomeUnknown) {
		return err
	}
	if e := Classify("commit", err); wroteNothing(err) {
		return eventstore.NotWritten(e)
	}
	return eventstore.OutcomeUnknown(wrap("commit", err))
}
