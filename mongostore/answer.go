package mongostore

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"
)

// answerTime is how long a server has to answer before what it was asked is taken
// to be lost, and is asked again of the one that is primary then.
//
// A server that hangs, or a network that swallows packets, closes no connection. The
// driver notices by its heartbeats, which takes it 40 seconds unless it is told
// otherwise, while the other servers have elected a new primary long before.
const answerTime = 10 * time.Second

// answerFor is how long a server has to answer a write of some size.
func (s *Store) answerFor(size int) time.Duration {
	return s.answer + time.Duration(size>>20)*time.Second
}

// answered runs fn, which asks a server, and ends its context when that takes longer
// than limit; there is no limit when it is zero. The error is a [*noAnswerError]
// then.
//
// The context has no deadline: the driver would tell the server of it, which would
// then give up by itself what is merely slow.
func answered[T any](ctx context.Context, limit time.Duration, fn func(context.Context) (T, error)) (T, error) {
	if limit == 0 {
		return fn(ctx)
	}
	asking, cancel := context.WithCancel(ctx)
	defer cancel()
	late := time.AfterFunc(limit, cancel)
	res, err := fn(asking)
	if late.Stop() || err == nil || ctx.Err() != nil || isReply(err) {
		return res, err
	}
	kind := ErrNetwork
	if _, ok := errors.AsType[topology.ServerSelectionError](err); ok { // there was none to be asked
		kind = ErrServerSelection
	}
	return res, &noAnswerError{cause: err, err: &Error{
		Op:        "ask the server",
		Kind:      kind,
		Retryable: true,
		Err:       fmt.Errorf("no answer within %s: %v", limit, err), //nolint:errorlint // its context is not the caller's
	}}
}

// ask is answered for what returns nothing but an error.
func ask(ctx context.Context, limit time.Duration, fn func(context.Context) error) error {
	_, err := answered(ctx, limit, func(ctx context.Context) (struct{}, error) { return struct{}{}, fn(ctx) })
	return err
}

// isReply reports whether a server has said that something is wrong.
func isReply(err error) bool {
	e, ok := errors.AsType[mongo.ServerError](err)
	return ok && !e.HasErrorLabel(driver.NetworkError)
}

// A noAnswerError says that a server has not answered in time.
type noAnswerError struct {
	err   *Error
	cause error
}

func (e *noAnswerError) Error() string { return e.err.Error() }
func (e *noAnswerError) Unwrap() error { return e.err }

// HasErrorLabel makes it a [mongo.LabeledError], as the driver's error is: what was
// not answered may be a transaction's.
func (e *noAnswerError) HasErrorLabel(label string) bool { return hasLabel(e.cause, label) }

// isNoAnswer reports whether a server was asked and has not answered in time.
func isNoAnswer(err error) bool {
	e, ok := errors.AsType[*noAnswerError](err)
	return ok && e.err.Kind == ErrNetwork
}

// readAttempts is how often a read is made that a lost server has broken off.
const readAttempts = 4

// persevere runs fn, which reads or may be made again, until it succeeds or fails for a reason that does
// not pass by itself, and ends an attempt that takes longer than limit, later ones
// when they take longer still. It is not for what is part of a caller's transaction.
func persevere[T any](ctx context.Context, limit time.Duration, fn func(context.Context) (T, error)) (T, error) {
	for attempt := 0; ; attempt++ {
		res, err := answered(ctx, limit<<attempt, fn)
		if err == nil || attempt+1 == readAttempts || !isRetryable(err) || !pause(ctx, attempt, time.Second) {
			return res, err
		}
	}
}
