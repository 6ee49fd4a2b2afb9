package wire

import (
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// An OpCode says how the bytes after a header are to be read.
type OpCode int32

// The operations in use. All others were removed from servers or are spoken
// between servers only.
const (
	OpReply      OpCode = 1
	OpQuery      OpCode = 2004
	OpCompressed OpCode = 2012
	OpMsg        OpCode = 2013
)

// Flags are the flag bits of an OP_MSG.
type Flags uint32

// The flags of an OP_MSG. A receiver must refuse other bits among the lower
// sixteen and ignore other bits among the upper.
const (
	ChecksumPresent Flags = 1 << 0
	MoreToCome      Flags = 1 << 1
	ExhaustAllowed  Flags = 1 << 16

	requiredFlags = Flags(0xffff)
)

// Sizes, in bytes.
const (
	HeaderSize      = 16
	MaxMessageSize  = 48_000_000
	MaxDocumentSize = 16 << 20
	// MaxInternalDocumentSize is the largest document that may travel: a
	// command or a reply wraps a document of the largest size that users may store.
	MaxInternalDocumentSize = MaxDocumentSize + 16<<10
)

// A Sequence is a document sequence (a section of kind 1): the documents of the
// array field called Name, sent beside the body.
type Sequence struct {
	Name string
	Docs []bson.Raw
}

// A Request is one message of a client. Its documents have been validated, and
// share memory that belongs to the request alone: they stay valid as long as anyone
// holds them, and must not be modified.
type Request struct {
	ID         int32
	Op         OpCode // OpMsg or OpQuery
	Flags      Flags
	Compressor CompressorID // how the request came; its reply goes the same way

	// DB is the database of an OP_QUERY. An OP_MSG names it in its body.
	DB        string
	Body      bson.Raw
	Sequences []Sequence
}

// Sequence returns the documents of the sequence called name.
func (r *Request) Sequence(name string) ([]bson.Raw, bool) {
	for i := range r.Sequences {
		if r.Sequences[i].Name == name {
			return r.Sequences[i].Docs, true
		}
	}
	return nil, false
}

// A RequestError is a malformed request whose frame was intact, so that it can be
// answered and the conversation can go on.
type RequestError struct {
	// Request is what could be read: the id and the operation at least.
	Request *Request
	Code    int32 // the server's error code
	Message string
}

func (e *RequestError) Error() string {
	return fmt.Sprintf("malformed request %d: %s (code %d)", e.Request.ID, e.Message, e.Code)
}

// A FramingError is input that is not the wire protocol, or breaks its
// limits: nothing after it can be trusted.
type FramingError struct{ Reason string }

func (e *FramingError) Error() string { return "wire protocol: " + e.Reason }

func framingErrorf(format string, args ...any) error {
	return &FramingError{Reason: fmt.Sprintf(format, args...)}
}
