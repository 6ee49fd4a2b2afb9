// Package mongoerr holds the errors with which a MongoDB server refuses a
// command: numbers, names, labels and the fields some of them add to a reply.
package mongoerr

import (
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A Code is the number by which clients tell errors apart.
type Code int32

// Labels that drivers act on.
const (
	LabelTransientTransaction    = "TransientTransactionError"
	LabelUnknownTransactionState = "UnknownTransactionCommitResult"
	LabelRetryableWrite          = "RetryableWriteError"
	LabelResumableChangeStream   = "ResumableChangeStreamError"
	LabelNonResumable            = "NonResumableChangeStreamError"
)

// An Error is a server's refusal. It is immutable once returned; the With
// methods copy.
type Error struct {
	Code    Code
	Message string
	Labels  []string
	Fields  bson.D // extra reply fields such as keyPattern and keyValue
}

// New builds an error with a formatted message.
func New(code Code, format string, args ...any) *Error {
	if len(args) == 0 {
		return &Error{Code: code, Message: format}
	}
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// Error gives the message the way the server's logs do.
func (e *Error) Error() string {
	return e.Code.Name() + ": " + e.Message
}

// Is makes errors.Is compare codes, so that a test or caller can write
// errors.Is(err, mongoerr.New(mongoerr.DuplicateKey, "")).
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// WithLabels returns a copy that carries the labels as well.
func (e *Error) WithLabels(labels ...string) *Error {
	c := *e
	c.Labels = append(append([]string(nil), e.Labels...), labels...)
	return &c
}

// WithFields returns a copy that adds the fields to a reply.
func (e *Error) WithFields(fields ...bson.E) *Error {
	c := *e
	c.Fields = append(append(bson.D(nil), e.Fields...), fields...)
	return &c
}

// WithPrefix returns a copy whose message starts with context, as the server
// does when it passes on an error from within.
func (e *Error) WithPrefix(context string) *Error {
	c := *e
	c.Message = context + " :: caused by :: " + e.Message
	return &c
}

// HasLabel tells whether the error carries the label.
func (e *Error) HasLabel(label string) bool {
	return slices.Contains(e.Labels, label)
}

// CodeOf gives the code of the first Error in err's chain, 0 for none.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return 0
}

// From turns any error into an Error; one that isn't becomes InternalError.
func From(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	return &Error{Code: InternalError, Message: err.Error()}
}
