package readmodel

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/projection"
)

// Codes of the server that the backend acts upon.
const (
	codeNamespaceExists  = 48
	codeDuplicateKey     = 11000
	codeTooLarge         = 257 // TransactionTooLarge
	codeNotInTransaction = 263 // OperationNotSupportedInTransaction
)

// failed turns the error of an operation into what its caller, whose context ctx
// is, is told.
func (b *Backend) failed(ctx context.Context, op string, err error) error {
	b.left.note(err)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(err, context.DeadlineExceeded) && !nearDeadline(ctx): // the backend's own, or the client's for a server
		kind := mongostore.ErrServerSelection
		if !errors.Is(mongostore.Classify(op, err), kind) {
			kind, err = mongostore.ErrTimeout, fmt.Errorf("given up after %s: %w", b.cfg.Timeout, err)
		}
		err = errors.New(err.Error()) // it is not the caller's deadline
		return &mongostore.Error{Op: op, Kind: kind, Retryable: true, Err: err}
	case ofContract(err):
		return err
	}
	return mongostore.Classify(op, err)
}

// nearDeadline reports whether the driver may have given up for the sake of a
// deadline that is about to pass.
func nearDeadline(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ok && time.Until(deadline) < 100*time.Millisecond
}

func ofContract(err error) bool {
	for _, kind := range []error{
		eventstore.ErrNotWritten, eventstore.ErrOutcomeUnknown, eventstore.ErrInvalid,
		projection.ErrFenced, projection.ErrMoved,
	} {
		if errors.Is(err, kind) {
			return true
		}
	}
	_, ok := errors.AsType[*projection.DocumentError](err)
	return ok
}

func hasCode(err error, codes ...int) bool {
	server, ok := errors.AsType[mongo.ServerError](err)
	return ok && slices.ContainsFunc(server.ErrorCodes(), func(c int) bool { return slices.Contains(codes, c) })
}

func isTransient(err error) bool {
	labeled, ok := errors.AsType[mongo.LabeledError](err)
	return ok && labeled.HasErrorLabel(driver.TransientTransactionError)
}

// isUnconfirmed reports whether a command other than a write was carried out and
// only not confirmed by as many members as asked for. What is written next is
// confirmed with it.
func isUnconfirmed(err error) bool {
	e, ok := errors.AsType[driver.WriteCommandError](err)
	return ok && len(e.WriteErrors) == 0 && e.WriteConcernError != nil
}

// transientError has a transaction run again.
type transientError struct{ err error }

func (e *transientError) Error() string { return e.err.Error() }
func (e *transientError) Unwrap() error { return e.err }

// HasErrorLabel makes it a [mongo.LabeledError].
func (e *transientError) HasErrorLabel(label string) bool {
	return label == driver.TransientTransactionError
}

func invalid(what, format string, args ...any) error {
	return &eventstore.InvalidError{What: what, Reason: fmt.Sprintf(format, args...)}
}
