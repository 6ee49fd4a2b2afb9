package mongostore

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/auth"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore/internal/refusal"
)

// A Kind says what kind of error an [*Error] is. Kinds and families are errors
// themselves, to be asked for with [errors.Is]: an error of a kind matches the
// kind and its family.
type Kind uint8

// Families.
const (
	_ Kind = iota
	// ErrConnection: the server cannot be reached or talked to.
	ErrConnection
	// ErrCommand: the server has refused or failed a command.
	ErrCommand
	// ErrTransaction: a transaction did not commit, or may not have.
	ErrTransaction
	// ErrValidation: what was sent can never be accepted.
	ErrValidation
	// ErrBSON: a value cannot be encoded or decoded.
	ErrBSON
)

// Kinds of ErrConnection.
const (
	// ErrNetwork: a connection broke, could not be made or timed out.
	ErrNetwork Kind = iota + 16
	// ErrNotPrimary: the server is not primary, is stepping down or shutting
	// down.
	ErrNotPrimary
	// ErrAuthentication: the credentials are wrong.
	ErrAuthentication
	// ErrTLS: the TLS handshake failed.
	ErrTLS
	// ErrPoolExhausted: no connection of the pool became free in time.
	ErrPoolExhausted
	// ErrServerSelection: no suitable server was found in time.
	ErrServerSelection
	// ErrDisconnected: the client was disconnected by this program.
	ErrDisconnected
)

// Kinds of ErrCommand.
const (
	// ErrWrite: a write failed.
	ErrWrite Kind = iota + 32
	// ErrDuplicateKey: a write met a unique index.
	ErrDuplicateKey
	// ErrBulkWrite: some writes of several failed.
	ErrBulkWrite
	// ErrWriteConcern: a write was made and not acknowledged by as many members
	// as asked for.
	ErrWriteConcern
	// ErrQuery: a command other than a write failed.
	ErrQuery
	// ErrUnauthorized: the user may not do this.
	ErrUnauthorized
	// ErrTimeout: a time limit was exceeded.
	ErrTimeout
	// ErrCanceled: the context was cancelled.
	ErrCanceled
	// ErrCursor: a cursor is gone.
	ErrCursor
	// ErrHistoryLost: a change stream cannot be resumed: its token is invalid, or
	// the oplog has moved on.
	ErrHistoryLost
)

// Kinds of ErrTransaction.
const (
	// ErrTransient: the transaction was aborted; all of it may be tried again.
	ErrTransient Kind = iota + 48
	// ErrUnknownCommit: whether the transaction was committed is unknown.
	ErrUnknownCommit
	// ErrAborted: the transaction is over and cannot be continued.
	ErrAborted
)

// Kinds of ErrValidation.
const (
	// ErrDocumentTooLarge: a document, key or transaction is over a limit.
	ErrDocumentTooLarge Kind = iota + 64
	// ErrInvalidDocument: the server does not accept the document, by its rules
	// or by the collection's validator.
	ErrInvalidDocument
	// ErrInvalidOperation: the operation makes no sense, or not here.
	ErrInvalidOperation
)

// Kinds of ErrBSON.
const (
	// ErrSerialize: a value cannot be encoded.
	ErrSerialize Kind = iota + 80
	// ErrDeserialize: a document cannot be decoded.
	ErrDeserialize
	// ErrInvalidType: a value has a type that BSON does not know, or another
	// than expected.
	ErrInvalidType
)

func kindNames() map[Kind]string {
	return map[Kind]string{
		ErrConnection: "connection error", ErrCommand: "command error", ErrTransaction: "transaction error",
		ErrValidation: "validation error", ErrBSON: "BSON error",
		ErrNetwork: "network error", ErrNotPrimary: "not primary", ErrAuthentication: "authentication failed",
		ErrTLS: "TLS error", ErrPoolExhausted: "connection pool exhausted", ErrServerSelection: "no suitable server",
		ErrDisconnected: "client is disconnected",
		ErrWrite:        "write failed", ErrDuplicateKey: "duplicate key", ErrBulkWrite: "bulk write failed",
		ErrWriteConcern: "write concern not met", ErrQuery: "query failed", ErrUnauthorized: "not authorized",
		ErrTimeout: "time limit exceeded", ErrCanceled: "canceled", ErrCursor: "cursor lost",
		ErrHistoryLost: "change stream cannot be resumed",
		ErrTransient:   "transaction aborted", ErrUnknownCommit: "commit outcome unknown", ErrAborted: "transaction is over",
		ErrDocumentTooLarge: "too large", ErrInvalidDocument: "invalid document", ErrInvalidOperation: "invalid operation",
		ErrSerialize: "cannot be encoded", ErrDeserialize: "cannot be decoded", ErrInvalidType: "invalid type",
	}
}

// Error returns a short text, as in "network error".
func (k Kind) Error() string {
	if name, ok := kindNames()[k]; ok {
		return name
	}
	return "unclassified error"
}

// Family returns the family that a kind belongs to, a family itself.
func (k Kind) Family() Kind {
	if k < 16 {
		return k
	}
	return k / 16
}

// An Outcome says whether a failed operation has written.
type Outcome uint8

const (
	// WrittenUnknown says that it may have written, or may still.
	WrittenUnknown Outcome = iota
	// WrittenNothing says that it has not written and will not.
	WrittenNothing
)

// An Error is an error of the driver or the server, classified.
type Error struct {
	// Op says what failed, for the message.
	Op   string
	Kind Kind
	// Retryable is set when making the same operation again may succeed without
	// anything else changing.
	Retryable bool
	// Outcome says whether the operation has written.
	Outcome Outcome
	// Code is the server's error code, zero where there is none.
	Code int
	// Err is the driver's error.
	Err error
}

func (e *Error) Error() string {
	if e.Op == "" {
		return e.Kind.Error() + ": " + e.Err.Error()
	}
	return e.Op + ": " + e.Kind.Error() + ": " + e.Err.Error()
}

func (e *Error) Unwrap() error { return e.Err }

// Is reports whether target is the error's kind or family, or
// [eventstore.ErrUnavailable] where the error is retryable.
func (e *Error) Is(target error) bool {
	if k, ok := target.(Kind); ok { //nolint:errorlint // a Kind is compared, not unwrapped
		return e.Kind == k || e.Kind.Family() == k
	}
	return target == eventstore.ErrUnavailable && e.Retryable
}

// Classify tells what kind of error the driver has returned. It returns nil for
// nil and err itself where it is an [*Error] already. An error of the context is
// ErrCanceled or ErrTimeout and still matches the context's.
func Classify(op string, err error) error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*Error](err); ok {
		return e
	}
	e := &Error{Op: op, Err: err}
	e.Kind, e.Code = kindOf(err)
	e.Retryable = retryable(e.Kind, err)
	if writesNothing(e.Kind) {
		e.Outcome = WrittenNothing
	}
	return e
}

// wrap classifies an error of the driver. The project's own errors and the
// context's pass as they are.
func wrap(op string, err error) error {
	switch {
	case err == nil, ofContract(err):
		return err
	case errors.Is(err, context.Canceled) && !isServerError(err):
		return fmt.Errorf("%s: %w", op, context.Canceled)
	}
	return Classify(op, err)
}

func ofContract(err error) bool {
	return errors.Is(err, eventstore.ErrNotWritten) || errors.Is(err, eventstore.ErrOutcomeUnknown) ||
		errors.Is(err, eventstore.ErrClosed) || errors.Is(err, eventstore.ErrInvalid) || errors.Is(err, eventstore.ErrUnavailable)
}

func isServerError(err error) bool {
	_, ok := errors.AsType[mongo.ServerError](err)
	return ok
}

func kindOf(err error) (Kind, int) {
	if k := localKind(err); k != 0 {
		return k, 0
	}
	if k := connectionKind(err); k != 0 {
		return k, 0
	}
	server, ok := errors.AsType[mongo.ServerError](err)
	if !ok {
		switch {
		case errors.Is(err, context.Canceled):
			return ErrCanceled, 0
		case mongo.IsTimeout(err), errors.Is(err, context.DeadlineExceeded):
			return ErrTimeout, 0
		case isNetError(err):
			return ErrNetwork, 0
		}
		return ErrQuery, 0
	}
	return serverKind(server)
}

// localKind classifies what goes wrong before anything is sent.
func localKind(err error) Kind {
	switch {
	case errors.Is(err, mongo.ErrClientDisconnected):
		return ErrDisconnected
	case errors.Is(err, driver.ErrDocumentTooLarge):
		return ErrDocumentTooLarge
	case errors.Is(err, mongo.ErrNilDocument), errors.Is(err, mongo.ErrNilValue), errors.Is(err, bson.ErrDecodeToNil),
		errors.Is(err, mongo.ErrEmptySlice), errors.Is(err, mongo.ErrNotSlice), errors.Is(err, mongo.ErrWrongClient):
		return ErrInvalidOperation
	}
	if _, ok := errors.AsType[mongo.InvalidArgumentError](err); ok {
		return ErrInvalidOperation
	}
	if _, ok := errors.AsType[bson.ValueEncoderError](err); ok {
		return ErrInvalidType
	}
	if _, ok := errors.AsType[bson.ValueDecoderError](err); ok {
		return ErrInvalidType
	}
	if _, ok := errors.AsType[mongo.MarshalError](err); ok {
		return ErrSerialize
	}
	if _, ok := errors.AsType[*bson.DecodeError](err); ok {
		return ErrDeserialize
	}
	if _, ok := errors.AsType[*malformedError](err); ok {
		return ErrDeserialize
	}
	return 0
}

// connectionKind classifies what happens below the commands.
func connectionKind(err error) Kind {
	if selection, ok := errors.AsType[topology.ServerSelectionError](err); ok {
		// The reason why no server was suitable is the better answer.
		for _, s := range selection.Desc.Servers {
			if s.LastError == nil {
				continue
			}
			if k := handshakeKind(s.LastError); k != 0 {
				return k
			}
		}
		return ErrServerSelection
	}
	if _, ok := errors.AsType[topology.WaitQueueTimeoutError](err); ok {
		return ErrPoolExhausted
	}
	if k := handshakeKind(err); k != 0 {
		return k
	}
	if _, ok := errors.AsType[topology.ConnectionError](err); ok {
		if errors.Is(err, context.Canceled) {
			return ErrCanceled
		}
		return ErrNetwork
	}
	if pool := driver.RetryablePoolError(nil); errors.As(err, &pool) && pool.Retryable() {
		if refusal.Is(err) {
			return ErrAuthentication
		}
		return ErrNetwork
	}
	return 0
}

// handshakeKind recognises failed authentication and TLS.
func handshakeKind(err error) Kind {
	if _, ok := errors.AsType[*auth.Error](err); ok {
		return ErrAuthentication
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return ErrTLS
	}
	if _, ok := errors.AsType[tls.AlertError](err); ok {
		return ErrTLS
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return ErrTLS
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return ErrTLS
	}
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return ErrTLS
	}
	if _, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		return ErrTLS
	}
	return 0
}

func isNetError(err error) bool {
	_, ok := errors.AsType[net.Error](err)
	return ok || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || mongo.IsNetworkError(err)
}

// serverKind classifies a reply by label and code.
func serverKind(err mongo.ServerError) (Kind, int) {
	codes := err.ErrorCodes()
	code := 0
	if len(codes) > 0 {
		code = codes[0]
	}
	switch {
	case err.HasErrorLabel(driver.UnknownTransactionCommitResult):
		return ErrUnknownCommit, code
	case err.HasErrorLabel(driver.TransientTransactionError):
		return ErrTransient, code
	case err.HasErrorLabel(driver.NetworkError):
		return ErrNetwork, code
	}
	for _, c := range codes {
		if k := codeKind(c); k != 0 {
			return k, c
		}
	}
	return typeKind(err), code
}

// typeKind classifies an error whose code says nothing special.
func typeKind(err error) Kind {
	if e, ok := errors.AsType[mongo.BulkWriteException](err); ok {
		if len(e.WriteErrors) == 0 && e.WriteConcernError != nil {
			return ErrWriteConcern
		}
		return ErrBulkWrite
	}
	if e, ok := errors.AsType[mongo.WriteException](err); ok {
		if len(e.WriteErrors) == 0 && e.WriteConcernError != nil {
			return ErrWriteConcern
		}
		return ErrWrite
	}
	return ErrQuery
}

// Codes of the server that the store acts upon.
const (
	codeNamespaceNotFound = 26
	codeNamespaceExists   = 48
	codeDuplicateKey      = 11000
)

func codeKind(code int) Kind {
	switch code {
	case codeDuplicateKey, 11001, 12582:
		return ErrDuplicateKey
	case 6, 7, 89, 9001, 317, 384: // HostUnreachable, HostNotFound, NetworkTimeout, SocketException, connection pool
		return ErrNetwork
	case 91, 189, 10107, 13435, 13436, 10058, 11600, 11602: // shutting down, stepping down, not primary, interrupted by either
		return ErrNotPrimary
	case 133, 134, 202: // FailedToSatisfyReadPreference, ReadConcernMajorityNotAvailableYet, NetworkInterfaceExceededTimeLimit
		return ErrServerSelection
	case 11, 18, 334: // UserNotFound, AuthenticationFailed, MechanismUnavailable
		return ErrAuthentication
	case 13: // Unauthorized
		return ErrUnauthorized
	case 24, 50, 262: // LockTimeout, MaxTimeMSExpired, ExceededTimeLimit
		return ErrTimeout
	case 64, 79, 100: // WriteConcernFailed, UnknownReplWriteConcern, UnsatisfiableWriteConcern
		return ErrWriteConcern
	case 43, 136, 175, 237, 365: // CursorNotFound, CappedPositionLost, QueryPlanKilled, CursorKilled
		return ErrCursor
	case 260, 280, 286: // InvalidResumeToken, ChangeStreamFatalError, ChangeStreamHistoryLost
		return ErrHistoryLost
	case 112: // WriteConflict
		return ErrTransient
	case 225, 244, 251, 256: // TransactionTooOld, TransactionAborted, NoSuchTransaction, TransactionCommitted
		return ErrAborted
	case 257, 10334, 17280, 17419, 17420: // TransactionTooLarge, BSONObjectTooLarge, KeyTooLong, document after an update
		return ErrDocumentTooLarge
	case 22, 52, 55, 56, 57, 121, 5048: // InvalidBSON, field names, DocumentValidationFailure
		return ErrInvalidDocument
	case 2, 9, 14, 20, 28, 53, 59, 66, 72, 73, 115, 166, 263, codeNamespaceNotFound, codeNamespaceExists:
		// BadValue, FailedToParse, TypeMismatch, IllegalOperation, PathNotViable, InvalidIdField, CommandNotFound,
		// ImmutableField, InvalidOptions, InvalidNamespace, CommandNotSupported(OnView), in a transaction
		return ErrInvalidOperation
	}
	return 0
}

func retryable(k Kind, err error) bool {
	switch k {
	case ErrNetwork, ErrNotPrimary, ErrPoolExhausted, ErrServerSelection, ErrTransient, ErrUnknownCommit, ErrCursor, ErrWriteConcern:
		return true
	case ErrTimeout:
		return !errors.Is(err, context.DeadlineExceeded) || isServerError(err)
	}
	return hasLabel(err, driver.RetryableWriteError) || hasLabel(err, "RetryableError")
}

// writesNothing reports whether an error of this kind means that the command had
// no effect. It does not hold for several writes of which some failed.
func writesNothing(k Kind) bool {
	switch k.Family() {
	case ErrValidation, ErrBSON:
		return true
	}
	switch k {
	case ErrAuthentication, ErrTLS, ErrPoolExhausted, ErrServerSelection, ErrUnauthorized, ErrTransient, ErrAborted, ErrWrite, ErrDuplicateKey, ErrDisconnected:
		return true
	}
	return false
}

func hasLabel(err error, label string) bool {
	labeled, ok := errors.AsType[mongo.LabeledError](err)
	return ok && labeled.HasErrorLabel(label)
}

func hasCode(err error, codes ...int) bool {
	server, ok := errors.AsType[mongo.ServerError](err)
	return ok && slices.ContainsFunc(server.ErrorCodes(), func(c int) bool { return slices.Contains(codes, c) })
}

// wroteNothing reports whether a write whose error is err cannot have had an
// effect.
func wroteNothing(err error) bool {
	if err == nil {
		return false
	}
	e, ok := Classify("", err).(*Error) //nolint:errorlint // Classify returns it unwrapped
	if !ok {
		return false
	}
	// ErrNotPrimary does not tell: the driver may have made the write again after
	// a first attempt that is in doubt.
	return e.Outcome == WrittenNothing || hasLabel(err, driver.NoWritesPerformed)
}
