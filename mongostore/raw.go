package mongostore

import (
	"encoding/binary"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Events and log entries are written and read without reflection: it is most of
// what the driver's decoding costs. These functions know the few BSON types that
// envelopes are made of; values of any other type are skipped.

func appendKey(b []byte, t bson.Type, key string) []byte {
	b = append(b, byte(t))
	b = append(b, key...)
	return append(b, 0)
}

func appendStringElement[S ~string](b []byte, key string, v S) []byte {
	b = appendKey(b, bson.TypeString, key)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(v)+1))
	b = append(b, v...)
	return append(b, 0)
}

func appendInt64Element(b []byte, key string, v int64) []byte {
	return binary.LittleEndian.AppendUint64(appendKey(b, bson.TypeInt64, key), uint64(v))
}

func appendInt32Element(b []byte, key string, v int32) []byte {
	return binary.LittleEndian.AppendUint32(appendKey(b, bson.TypeInt32, key), uint32(v))
}

func appendDateElement(b []byte, key string, millis int64) []byte {
	return binary.LittleEndian.AppendUint64(appendKey(b, bson.TypeDateTime, key), uint64(millis))
}

func appendTimestampElement(b []byte, key string, t bson.Timestamp) []byte {
	b = appendKey(b, bson.TypeTimestamp, key)
	b = binary.LittleEndian.AppendUint32(b, t.I)
	return binary.LittleEndian.AppendUint32(b, t.T)
}

func appendObjectIDElement(b []byte, key string, id bson.ObjectID) []byte {
	return append(appendKey(b, bson.TypeObjectID, key), id[:]...)
}

func appendBinaryElement(b []byte, key string, subtype byte, v []byte) []byte {
	b = appendKey(b, bson.TypeBinary, key)
	b = binary.LittleEndian.AppendUint32(b, uint32(len(v)))
	b = append(b, subtype)
	return append(b, v...)
}

func appendDocumentElement(b []byte, key string, doc []byte) []byte {
	return append(appendKey(b, bson.TypeEmbeddedDocument, key), doc...)
}

// openDocument reserves the length of a document that closeDocument fills in.
func openDocument(b []byte) (start int, _ []byte) {
	return len(b), append(b, 0, 0, 0, 0)
}

func closeDocument(b []byte, start int) []byte {
	b = append(b, 0)
	binary.LittleEndian.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// A malformedError says that bytes from the server are not the document they
// should be.
type malformedError struct{ what string }

func (e *malformedError) Error() string { return "malformed document: " + e.what }

func malformed(format string, args ...any) error {
	return &malformedError{what: fmt.Sprintf(format, args...)}
}

// An element is a field of a document. Key and value are parts of the document.
type element struct {
	kind  bson.Type
	key   []byte
	value []byte
}

// elements iterates over the fields of a document.
type elements struct {
	rest []byte
	err  error
}

func elementsOf(doc []byte) elements {
	if len(doc) < 5 || int(binary.LittleEndian.Uint32(doc)) != len(doc) || doc[len(doc)-1] != 0 {
		return elements{err: malformed("length of a document of %d bytes", len(doc))}
	}
	return elements{rest: doc[4 : len(doc)-1]}
}

// next returns the next field; false at the end or after an error.
func (it *elements) next() (e element, ok bool) {
	if len(it.rest) == 0 || it.err != nil {
		return e, false
	}
	e.kind = bson.Type(it.rest[0])
	rest := it.rest[1:]
	end := 0
	for end < len(rest) && rest[end] != 0 {
		end++
	}
	if end == len(rest) {
		it.err = malformed("unterminated key")
		return e, false
	}
	e.key, rest = rest[:end], rest[end+1:]
	n := valueLen(e.kind, rest)
	if n < 0 || n > len(rest) {
		it.err = malformed("value of %q of type %s", e.key, e.kind)
		return e, false
	}
	e.value, it.rest = rest[:n], rest[n:]
	return e, true
}

// valueLen returns the length of the value that b starts with, -1 when it is
// malformed.
func valueLen(t bson.Type, b []byte) int {
	prefixed := func(extra int) int {
		if len(b) < 4 {
			return -1
		}
		n := int(int32(binary.LittleEndian.Uint32(b)))
		if n < 0 {
			return -1
		}
		return n + extra
	}
	switch t {
	case bson.TypeString, bson.TypeJavaScript, bson.TypeSymbol:
		return prefixed(4)
	case bson.TypeEmbeddedDocument, bson.TypeArray, bson.TypeCodeWithScope:
		if n := prefixed(0); n >= 5 {
			return n
		}
		return -1
	case bson.TypeBinary:
		return prefixed(5)
	case bson.TypeObjectID:
		return 12
	case bson.TypeBoolean:
		return 1
	case bson.TypeInt32:
		return 4
	case bson.TypeInt64, bson.TypeDouble, bson.TypeDateTime, bson.TypeTimestamp:
		return 8
	case bson.TypeDecimal128:
		return 16
	case bson.TypeNull, bson.TypeUndefined, bson.TypeMinKey, bson.TypeMaxKey:
		return 0
	case bson.TypeDBPointer:
		return prefixed(16)
	case bson.TypeRegex:
		n := 0
		for zeros := 0; zeros < 2; n++ {
			if n == len(b) {
				return -1
			}
			if b[n] == 0 {
				zeros++
			}
		}
		return n
	}
	return -1
}

// text returns the bytes of a string value.
func (e element) text() ([]byte, bool) {
	if e.kind != bson.TypeString || len(e.value) < 5 {
		return nil, false
	}
	return e.value[4 : len(e.value)-1], true
}

// integer returns a number as an int64, whichever type a shell or a tool has
// made of it.
func (e element) integer() (int64, bool) {
	switch e.kind {
	case bson.TypeInt64, bson.TypeDateTime:
		return int64(binary.LittleEndian.Uint64(e.value)), true
	case bson.TypeInt32:
		return int64(int32(binary.LittleEndian.Uint32(e.value))), true
	case bson.TypeDouble:
		f := bson.RawValue{Type: e.kind, Value: e.value}.Double()
		if n := int64(f); float64(n) == f {
			return n, true
		}
	}
	return 0, false
}

func (e element) objectID() (id bson.ObjectID, ok bool) {
	if e.kind != bson.TypeObjectID {
		return id, false
	}
	return bson.ObjectID(e.value), true
}

func (e element) timestamp() (t bson.Timestamp, ok bool) {
	if e.kind != bson.TypeTimestamp {
		return t, false
	}
	return bson.Timestamp{I: binary.LittleEndian.Uint32(e.value), T: binary.LittleEndian.Uint32(e.value[4:])}, true
}

func (e element) document() ([]byte, bool) {
	if e.kind != bson.TypeEmbeddedDocument && e.kind != bson.TypeArray {
		return nil, false
	}
	return e.value, true
}

// binary returns the content of a binary value and its subtype.
func (e element) binary() ([]byte, byte, bool) {
	if e.kind != bson.TypeBinary || len(e.value) < 5 {
		return nil, 0, false
	}
	return e.value[5:], e.value[4], true
}
