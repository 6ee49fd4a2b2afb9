package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// firstChunk is how much memory a header may claim before any byte of its body
// has arrived.
const firstChunk = 64 << 10

// A Reader reads requests from a connection. It is not safe for concurrent use.
type Reader struct {
	src    io.Reader
	codec  *Codec
	header [HeaderSize]byte
}

// NewReader reads from src, which should be buffered.
func NewReader(src io.Reader, codec *Codec) *Reader {
	return &Reader{src: src, codec: codec}
}

// Read returns the next request. It returns io.EOF when the connection ended between
// two messages, and a *RequestError when the request is malformed but can be
// answered; after any other error the connection is of no more use.
func (r *Reader) Read() (*Request, error) {
	if _, err := io.ReadFull(r.src, r.header[:]); err != nil {
		return nil, err
	}
	length := int(int32(binary.LittleEndian.Uint32(r.header[:])))
	if length < HeaderSize || length > MaxMessageSize {
		return nil, framingErrorf("message length %d is not between %d and %d", length, HeaderSize, MaxMessageSize)
	}
	body, err := readBody(r.src, length-HeaderSize)
	if err != nil {
		return nil, err
	}
	req := &Request{
		ID: int32(binary.LittleEndian.Uint32(r.header[4:])),
		Op: OpCode(int32(binary.LittleEndian.Uint32(r.header[12:]))),
	}
	if req.Op == OpCompressed {
		if req.Op, req.Compressor, body, err = r.codec.decompress(body); err != nil {
			return nil, err
		}
		// the checksum inside is that of the message before it was compressed
		binary.LittleEndian.PutUint32(r.header[:], uint32(HeaderSize+len(body)))
		binary.LittleEndian.PutUint32(r.header[12:], uint32(req.Op))
	}
	switch req.Op {
	case OpMsg:
		err = req.parseMsg(body, r.header[:])
	case OpQuery:
		err = req.parseQuery(body)
	default:
		return nil, framingErrorf("operation %d is not supported", req.Op)
	}
	if err != nil {
		return nil, req.malformed(err)
	}
	return req, nil
}

// readBody reads n bytes, taking memory as they arrive.
func readBody(src io.Reader, n int) ([]byte, error) {
	buf := make([]byte, min(n, firstChunk))
	for read := 0; ; {
		m, err := io.ReadFull(src, buf[read:])
		if read += m; err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return nil, err
		}
		if read == n {
			return buf, nil
		}
		grown := make([]byte, min(n, 4*len(buf)))
		copy(grown, buf)
		buf = grown
	}
}

// malformed decides whether err leaves the request answerable.
func (r *Request) malformed(err error) error {
	if doc, ok := errors.AsType[*bsonError](err); ok {
		return &RequestError{Request: r, Code: doc.code, Message: doc.reason}
	}
	if code, ok := errors.AsType[*codeError](err); ok && !code.fatal() {
		return &RequestError{Request: r, Code: code.code, Message: code.text}
	}
	return err
}

// codeError is a refusal to which the server gives a code of its own.
type codeError struct {
	code int32
	text string
}

func (e *codeError) Error() string { return e.text }

// fatal tells whether the server hangs up on it: what follows may be out of step.
func (e *codeError) fatal() bool {
	return e.code == codeIllegalOpMsgFlag || e.code == codeChecksumMismatch || e.code == codeTooManySequences
}

func codef(code int32, format string, args ...any) error {
	return &codeError{code, fmt.Sprintf(format, args...)}
}

// The server's codes for malformed OP_MSGs.
const (
	codeChecksumMismatch       = 323
	codeIllegalOpMsgFlag       = 223
	codeTooManySequences       = 330
	codeSeveralBodies          = 40430
	codeDuplicateSequence      = 40431
	codeUnknownSection         = 40432
	codeSequenceAndField       = 40433
	codeNoBody                 = 40587
	codeChecksumSize           = 51251
	maxSequences               = 2
	checksumSize               = 4
	sectionBody           byte = 0
	sectionSequence       byte = 1
)

// parseMsg reads an OP_MSG. header is that of the message as it came: the checksum
// covers it.
func (r *Request) parseMsg(body, header []byte) error {
	if len(body) < 4 {
		return framingErrorf("OP_MSG of %d bytes", len(body))
	}
	r.Flags = Flags(binary.LittleEndian.Uint32(body))
	if unknown := r.Flags & requiredFlags &^ (ChecksumPresent | MoreToCome); unknown != 0 {
		return codef(codeIllegalOpMsgFlag, "Message contains illegal flags value: Ob%032b", uint32(r.Flags))
	}
	sections := body[4:]
	if r.Flags&ChecksumPresent != 0 {
		if len(sections) <= checksumSize {
			return codef(codeChecksumSize, "Invalid message size for an OpMsg containing a checksum")
		}
		end := len(body) - checksumSize
		if checksum(header, body[:end]) != binary.LittleEndian.Uint32(body[end:]) {
			return codef(codeChecksumMismatch, "OP_MSG checksum does not match contents")
		}
		sections = body[4:end]
	}
	for len(sections) > 0 {
		rest, err := r.parseSection(sections)
		if err != nil {
			return err
		}
		sections = rest
	}
	if r.Body == nil {
		return codef(codeNoBody, "OP_MSG messages must have a body")
	}
	for _, seq := range r.Sequences {
		if _, err := r.Body.LookupErr(seq.Name); err == nil {
			return codef(codeSequenceAndField, "Duplicate field between body and document sequence %s", seq.Name)
		}
	}
	return nil
}

func (r *Request) parseSection(src []byte) (rest []byte, err error) {
	kind, src := src[0], src[1:]
	switch kind {
	case sectionBody:
		if r.Body != nil {
			return nil, codef(codeSeveralBodies, "Multiple body sections in message")
		}
		r.Body, rest, err = readDocument(src)
		return rest, err
	case sectionSequence:
		if len(r.Sequences) == maxSequences {
			return nil, codef(codeTooManySequences, "Too many document sequences in OP_MSG")
		}
		return r.parseSequence(src)
	}
	return nil, codef(codeUnknownSection, "Unknown section kind %d", kind)
}

func (r *Request) parseSequence(src []byte) (rest []byte, err error) {
	if len(src) < 4 {
		return nil, invalidf("document sequence cut short")
	}
	n := int(int32(binary.LittleEndian.Uint32(src)))
	if n < 5 || n > len(src) {
		return nil, invalidf("document sequence of %d bytes in %d", n, len(src))
	}
	section, rest := src[4:n], src[n:]
	end := bytes.IndexByte(section, 0)
	if end < 0 {
		return nil, invalidf("document sequence without a name")
	}
	seq := Sequence{Name: string(section[:end])}
	if _, double := r.Sequence(seq.Name); double {
		return nil, codef(codeDuplicateSequence, "Duplicate document sequence: %s", seq.Name)
	}
	for section = section[end+1:]; len(section) > 0; {
		var doc bson.Raw
		if doc, section, err = readDocument(section); err != nil {
			return nil, err
		}
		seq.Docs = append(seq.Docs, doc)
	}
	r.Sequences = append(r.Sequences, seq)
	return rest, nil
}

func checksum(header, body []byte) uint32 {
	table := crc32.MakeTable(crc32.Castagnoli)
	return crc32.Update(crc32.Checksum(header, table), table, body)
}

// parseQuery reads an OP_QUERY on "db.$cmd".
func (r *Request) parseQuery(body []byte) error {
	if len(body) < 4 {
		return framingErrorf("OP_QUERY of %d bytes", len(body))
	}
	src := body[4:]
	end := bytes.IndexByte(src, 0)
	if end < 0 || len(src) < end+1+8 {
		return framingErrorf("OP_QUERY cut short")
	}
	db, coll, ok := bytes.Cut(src[:end], []byte("."))
	if !ok || string(coll) != "$cmd" {
		return framingErrorf("OP_QUERY on %q: only commands are supported", src[:end])
	}
	r.DB = string(db)
	query, _, err := readDocument(src[end+1+8:])
	if err != nil {
		return err
	}
	// a client that sends a read preference wraps the command
	r.Body = query
	for _, wrapper := range []string{"$query", "query"} {
		if inner, ok := query.Lookup(wrapper).DocumentOK(); ok {
			if first, err := query.IndexErr(0); err == nil && first.Key() == wrapper {
				r.Body = inner
			}
		}
	}
	return nil
}
