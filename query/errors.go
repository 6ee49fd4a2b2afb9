package query

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// The kinds of failure. Errors of this package match them with errors.Is.
var (
	// ErrNotFound: no document matches. It matches mongo.ErrNoDocuments too.
	ErrNotFound = errors.New("not found")
	// ErrNotUnique: One met a second document.
	ErrNotUnique = errors.New("more than one document matches")
	// ErrConflict: the document was changed (or made) by somebody else since it was read. Nothing was written.
	ErrConflict = errors.New("changed by somebody else")
	// ErrDuplicate: a unique index refused the write. Nothing was written.
	ErrDuplicate = errors.New("duplicate key")
	// ErrInvalid: the filter, update, pipeline or option can't be right. No server was asked.
	ErrInvalid = errors.New("invalid query")
	// ErrOutcomeUnknown: the write may have been applied or not; ask before writing again.
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrTimeout: a time limit passed. A write that timed out matches ErrOutcomeUnknown as well.
	ErrTimeout = errors.New("timed out")
)

// Error is what every operation of this package returns: which operation on
// which collection failed, and why. The driver's error is inside, reachable
// with errors.As. It never holds values of documents or filters of its own making.
type Error struct {
	// Op is the operation, for example "find" or "bulk write".
	Op string
	// Collection is "database.collection".
	Collection string
	// Err is the cause.
	Err error

	kinds []error
}

func (e *Error) Error() string {
	return fmt.Sprintf("query: %s on %s: %v", e.Op, e.Collection, e.Err)
}

func (e *Error) Unwrap() error { return e.Err }

// Is reports whether the error is of one of this package's kinds.
func (e *Error) Is(target error) bool {
	return slices.Contains(e.kinds, target)
}

// SafeToRetry reports whether the same call can be repeated without the risk of
// doing its work twice: it failed before anything was written.
func (e *Error) SafeToRetry() bool {
	return !e.Is(ErrOutcomeUnknown) && !e.Is(ErrInvalid) && (retryableRead(e.Err) || e.Is(ErrTimeout))
}

// invalid makes a mistake of the caller into an error that matches ErrInvalid.
type invalidError struct{ msg string }

func (e *invalidError) Error() string        { return e.msg }
func (e *invalidError) Is(target error) bool { return target == ErrInvalid }

func invalidf(format string, args ...any) error {
	return &invalidError{msg: fmt.Sprintf(format, args...)}
}

// readError names operation and collection of a failed read.
func readError(op string, coll *mongo.Collection, err error) error {
	return wrapError(op, coll, err, false)
}

// writeError does so for a write, and tells "not written" from "unknown".
func writeError(op string, coll *mongo.Collection, err error) error {
	return wrapError(op, coll, err, true)
}

func wrapError(op string, coll *mongo.Collection, err error, write bool) error {
	if err == nil {
		return nil
	}
	if _, ok := errors.AsType[*Error](err); ok {
		return err
	}
	return &Error{Op: op, Collection: namespace(coll), Err: err, kinds: kindsOf(err, write)}
}

// kindsOf is the one place where the driver's errors get their kind.
func kindsOf(err error, write bool) []error {
	var kinds []error
	for _, k := range []error{ErrNotFound, ErrNotUnique, ErrConflict, ErrInvalid} {
		if errors.Is(err, k) {
			return append(kinds, k)
		}
	}
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return append(kinds, ErrNotFound)
	case mongo.IsDuplicateKeyError(err):
		return append(kinds, ErrDuplicate)
	}
	if mongo.IsTimeout(err) || errors.Is(err, context.DeadlineExceeded) {
		kinds = append(kinds, ErrTimeout)
	}
	if write && outcomeUnknown(err) {
		kinds = append(kinds, ErrOutcomeUnknown)
	}
	return kinds
}

// The server's codes asked for by number; names as the server spells them.
const (
	codeUnknownError          = 8
	codeMaxTimeMSExpired      = 50
	codeWriteConflict         = 112
	codeInterruptedAtShutdown = 11600
	codeInterrupted           = 11601
	codeTransactionTooOld     = 225
)

// outcomeUnknown reports whether a write that failed with err may have been
// applied. What the server answered with a plain command or write error was
// not; what was cut off, timed out or only partly acknowledged may have been.
func outcomeUnknown(err error) bool {
	if labeled, ok := errors.AsType[mongo.LabeledError](err); ok {
		if labeled.HasErrorLabel("NoWritesPerformed") {
			return false
		}
		if labeled.HasErrorLabel("UnknownTransactionCommitResult") {
			return true
		}
	}
	if mongo.IsNetworkError(err) || mongo.IsTimeout(err) ||
		errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return true
	}
	var we mongo.WriteException
	if errors.As(err, &we) && we.WriteConcernError != nil {
		return true
	}
	var bwe mongo.BulkWriteException
	if errors.As(err, &bwe) && bwe.WriteConcernError != nil {
		return true
	}
	if server, ok := errors.AsType[mongo.ServerError](err); ok {
		if slices.ContainsFunc([]int{codeInterruptedAtShutdown, codeInterrupted, codeMaxTimeMSExpired}, server.HasErrorCode) {
			return true
		}
	}
	return false
}

func namespace(coll *mongo.Collection) string {
	if coll == nil {
		return "(no collection)"
	}
	return coll.Database().Name() + "." + coll.Name()
}

// joinInvalid joins mistakes; the result matches ErrInvalid, as each of them does.
func joinInvalid(errs []error) error {
	if len(errs) == 1 {
		return errs[0]
	}
	return errors.Join(errs...)
}
