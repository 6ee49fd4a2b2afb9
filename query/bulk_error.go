package query

import (
	"fmt"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// A BulkError says which writes of a Bulk were not done. All indexes are those
// of the Bulk, ascending. Writes named nowhere were done.
type BulkError struct {
	// Items are the writes that the server (or the driver) refused.
	Items []ItemError
	// Unknown are writes that may have been done: the connection broke, or the time ran out.
	Unknown []int
	// NotAttempted are writes that came after the one that failed, or after the context had ended.
	NotAttempted []int
	// WriteConcern is set if writes were done, but not by as many members as asked for.
	WriteConcern error
	// Result counts the writes that were done.
	Result BulkResult

	cause        error
	unknownCause error
}

func (e *BulkError) Error() string {
	s := fmt.Sprintf("%d writes failed", len(e.Items))
	if len(e.Items) > 0 {
		s += fmt.Sprintf(" (%v)", e.Items[0])
	}
	if n := len(e.Unknown); n > 0 {
		s += fmt.Sprintf(", the outcome of %d is unknown (%v)", n, e.unknownCause)
	}
	if n := len(e.NotAttempted); n > 0 {
		s += fmt.Sprintf(", %d were not attempted", n)
	}
	if e.WriteConcern != nil {
		s += fmt.Sprintf(", write concern: %v", e.WriteConcern)
	}
	return s
}

// Unwrap returns the errors of the items and what else went wrong.
func (e *BulkError) Unwrap() []error {
	errs := make([]error, 0, len(e.Items)+3)
	for i := range e.Items {
		errs = append(errs, &e.Items[i])
	}
	for _, err := range []error{e.unknownCause, e.WriteConcern, e.cause} {
		if err != nil {
			errs = append(errs, err)
		}
	}
	return errs
}

func (e *BulkError) kinds() []error {
	var kinds []error
	for i := range e.Items {
		if e.Items[i].Is(ErrDuplicate) {
			kinds = append(kinds, ErrDuplicate)
			break
		}
	}
	if len(e.Unknown) > 0 || e.WriteConcern != nil {
		kinds = append(kinds, ErrOutcomeUnknown)
	}
	if mongo.IsTimeout(e.unknownCause) {
		kinds = append(kinds, ErrTimeout)
	}
	return kinds
}

// An ItemError is one write that was refused.
type ItemError struct {
	// Index is the write's index in the Bulk.
	Index int
	// Op is what it was, for example "insert".
	Op string
	// Code is the server's, 0 if it didn't come from the server.
	Code int
	// Err is the driver's error.
	Err error
}

func (e *ItemError) Error() string { return fmt.Sprintf("write %d (%s): %v", e.Index, e.Op, e.Err) }

// String shows the error, for messages that list several.
func (e ItemError) String() string { return e.Error() }

func (e *ItemError) Unwrap() error { return e.Err }

// Is reports ErrDuplicate for a duplicate key.
func (e *ItemError) Is(target error) bool {
	const duplicateKey = 11000
	return target == ErrDuplicate && (e.Code == duplicateKey || mongo.IsDuplicateKeyError(e.Err))
}
