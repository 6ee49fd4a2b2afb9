package eventstore

import (
	"context"
	"errors"
	"fmt"
	"strconv"
)

// Kinds of errors, to be asked for with [errors.Is].
var (
	// ErrConflict: a stream does not have the version that an append expected.
	// The error is a [*ConflictError].
	ErrConflict = errors.New("version conflict")
	// ErrTombstoned: the stream was closed for good. The error is a
	// [*TombstonedError].
	ErrTombstoned = errors.New("stream is tombstoned")
	// ErrInvalid: what was passed makes no sense. The error is an
	// [*InvalidError].
	ErrInvalid = errors.New("invalid argument")
	// ErrTooLarge: an event or an append is over a limit. The error is a
	// [*TooLargeError].
	ErrTooLarge = errors.New("too large")
	// ErrAppendIDReused: the append id was used before for other streams.
	ErrAppendIDReused = errors.New("append id was used for another append")
	// ErrClosed: the store was closed.
	ErrClosed = errors.New("event store is closed")
	// ErrUnavailable: the store cannot be reached or cannot serve now. Trying
	// again later is reasonable.
	ErrUnavailable = errors.New("event store is unavailable")
	// ErrNotWritten: nothing of the append was written, and nothing of it will
	// be.
	ErrNotWritten = errors.New("not written")
	// ErrOutcomeUnknown: the append may have been written. Making it again is
	// safe and tells, if it can be recognised: see [AppendRequest].
	ErrOutcomeUnknown = errors.New("outcome unknown")
	// ErrUnregistered: a Go type or an event type is not in the registry.
	ErrUnregistered = errors.New("not registered")
	// ErrUndecodable: an event's data cannot be turned into its Go type. The
	// error is a [*DecodeError].
	ErrUndecodable = errors.New("cannot be decoded")
)

// A ConflictError says that a stream does not have the version that an append, a
// [Streams.Delete] or a [Streams.Tombstone] expected. It matches [ErrConflict] and [ErrNotWritten].
type ConflictError struct {
	Stream   StreamID
	Expected ExpectedVersion
	// Actual is the version of the stream's last event when the operation was
	// refused, zero if it has none.
	Actual Version
}

func (e *ConflictError) Error() string {
	return fmt.Sprintf("stream %q: version conflict: expected %s, the stream is at %d", e.Stream, e.Expected, e.Actual)
}

// Is reports whether target is ErrConflict or ErrNotWritten.
func (e *ConflictError) Is(target error) bool {
	return target == ErrConflict || target == ErrNotWritten
}

// A TombstonedError says that a stream was closed for good. It matches
// [ErrTombstoned] and [ErrNotWritten].
type TombstonedError struct {
	Stream StreamID
}

func (e *TombstonedError) Error() string {
	return fmt.Sprintf("stream %q is tombstoned: it can be neither read nor appended to", e.Stream)
}

// Is reports whether target is ErrTombstoned or ErrNotWritten.
func (e *TombstonedError) Is(target error) bool {
	return target == ErrTombstoned || target == ErrNotWritten
}

// An InvalidError says what was wrong with an argument. It matches [ErrInvalid]
// and [ErrNotWritten].
type InvalidError struct {
	// What names the argument, Reason says what is wrong with it and what
	// would be right.
	What, Reason string
}

func (e *InvalidError) Error() string { return e.What + " " + e.Reason }

// Is reports whether target is ErrInvalid or ErrNotWritten.
func (e *InvalidError) Is(target error) bool { return target == ErrInvalid || target == ErrNotWritten }

// A TooLargeError says which limit was exceeded. It matches [ErrTooLarge] and
// [ErrNotWritten].
type TooLargeError struct {
	What        string
	Size, Limit int
}

func (e *TooLargeError) Error() string {
	return e.What + " is too large: " + strconv.Itoa(e.Size) + ", the limit is " + strconv.Itoa(e.Limit)
}

// Is reports whether target is ErrTooLarge or ErrNotWritten.
func (e *TooLargeError) Is(target error) bool {
	return target == ErrTooLarge || target == ErrNotWritten
}

// NotWritten marks an append's error as one after which nothing was written. It
// returns err itself when it says so already.
func NotWritten(err error) error { return mark(err, ErrNotWritten) }

// OutcomeUnknown marks an append's error as one after which the append may have
// been written.
func OutcomeUnknown(err error) error { return mark(err, ErrOutcomeUnknown) }

func mark(err, outcome error) error {
	if err == nil || errors.Is(err, outcome) {
		return err
	}
	return &outcomeError{outcome: outcome, err: err}
}

type outcomeError struct{ outcome, err error }

func (e *outcomeError) Error() string   { return e.err.Error() + " (" + e.outcome.Error() + ")" }
func (e *outcomeError) Unwrap() []error { return []error{e.err, e.outcome} }

// Retryable reports whether making the same append again may succeed without
// anything else changing: the outcome is unknown, or the store is unavailable.
// A conflict is not retryable in this sense: the decision has to be made anew.
func Retryable(err error) bool {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	return errors.Is(err, ErrOutcomeUnknown) || errors.Is(err, ErrUnavailable)
}
