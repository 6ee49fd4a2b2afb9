package value

import (
	"bytes"
	"encoding/binary"
	"iter"
	"strings"
	"unsafe"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// text views bytes as a string without copying; buffers are immutable.
func text(b []byte) string {
	if len(b) == 0 {
		return ""
	}
	return unsafe.String(&b[0], len(b))
}

// sizeOf gives the number of bytes that a value of type t occupies at the
// start of b, or -1 if it doesn't fit.
func sizeOf(t bson.Type, b []byte) int {
	n := 0
	switch t {
	case bson.TypeDouble, bson.TypeDateTime, bson.TypeTimestamp, bson.TypeInt64:
		n = 8
	case bson.TypeString, bson.TypeJavaScript, bson.TypeSymbol:
		n = prefixed(b, 4, 1)
	case bson.TypeEmbeddedDocument, bson.TypeArray:
		n = prefixed(b, 0, 5)
	case bson.TypeCodeWithScope:
		n = prefixed(b, 0, 14)
	case bson.TypeBinary:
		n = prefixed(b, 5, 0)
	case bson.TypeUndefined, bson.TypeNull, bson.TypeMinKey, bson.TypeMaxKey:
		n = 0
	case bson.TypeObjectID:
		n = 12
	case bson.TypeBoolean:
		n = 1
	case bson.TypeRegex:
		p := bytes.IndexByte(b, 0)
		if p < 0 {
			return -1
		}
		o := bytes.IndexByte(b[p+1:], 0)
		if o < 0 {
			return -1
		}
		n = p + o + 2
	case bson.TypeDBPointer:
		n = prefixed(b, 16, 1)
	case bson.TypeInt32:
		n = 4
	case bson.TypeDecimal128:
		n = 16
	default:
		return -1
	}
	if n < 0 || n > len(b) {
		return -1
	}
	return n
}

// prefixed reads a length and adds what it doesn't count.
func prefixed(b []byte, extra, least int) int {
	if len(b) < 4 {
		return -1
	}
	n := int(int32(binary.LittleEndian.Uint32(b)))
	if n < least {
		return -1
	}
	return n + extra
}

// Next takes the first element off rest, which must begin at an element (not
// at a document's length). ok is false at the end of the document.
func Next(rest []byte) (key string, v bson.RawValue, tail []byte, ok bool) {
	if len(rest) < 2 || rest[0] == 0 {
		return "", bson.RawValue{}, nil, false
	}
	end := bytes.IndexByte(rest[1:], 0)
	if end < 0 {
		return "", bson.RawValue{}, nil, false
	}
	t := bson.Type(rest[0])
	body := rest[end+2:]
	n := sizeOf(t, body)
	if n < 0 {
		return "", bson.RawValue{}, nil, false
	}
	return text(rest[1 : end+1]), bson.RawValue{Type: t, Value: body[:n:n]}, body[n:], true
}

// Body gives the bytes of a document or array after its length, where Next
// starts.
func Body(doc []byte) []byte {
	if len(doc) < 5 {
		return nil
	}
	return doc[4:]
}

// Fields iterates over the fields of a document in their order.
func Fields(doc bson.Raw) iter.Seq2[string, bson.RawValue] {
	return func(yield func(string, bson.RawValue) bool) {
		rest := Body(doc)
		for {
			k, v, tail, ok := Next(rest)
			if !ok || !yield(k, v) {
				return
			}
			rest = tail
		}
	}
}

// Elements iterates over the elements of an array in their order. For a value
// that is neither array nor document it yields nothing.
func Elements(arr bson.RawValue) iter.Seq2[int, bson.RawValue] {
	return func(yield func(int, bson.RawValue) bool) {
		if arr.Type != bson.TypeArray && arr.Type != bson.TypeEmbeddedDocument {
			return
		}
		rest := Body(arr.Value)
		for i := 0; ; i++ {
			_, v, tail, ok := Next(rest)
			if !ok || !yield(i, v) {
				return
			}
			rest = tail
		}
	}
}

// Slice lists the elements of an array.
func Slice(arr bson.RawValue) []bson.RawValue {
	var out []bson.RawValue
	for _, v := range Elements(arr) {
		out = append(out, v)
	}
	return out
}

// Len counts the elements of an array or the fields of a document.
func Len(v bson.RawValue) int {
	n := 0
	for range Elements(v) {
		n++
	}
	return n
}

// Index gives the element of an array at position i, missing if there is none.
func Index(arr bson.RawValue, i int) bson.RawValue {
	if i < 0 {
		return bson.RawValue{}
	}
	for at, v := range Elements(arr) {
		if at == i {
			return v
		}
	}
	return bson.RawValue{}
}

// Field gives the first field of that name, missing if there is none.
func Field(doc bson.Raw, name string) bson.RawValue {
	rest := Body(doc)
	for len(rest) > 1 && rest[0] != 0 {
		end := bytes.IndexByte(rest[1:], 0)
		if end < 0 {
			break
		}
		t := bson.Type(rest[0])
		body := rest[end+2:]
		n := sizeOf(t, body)
		if n < 0 {
			break
		}
		if string(rest[1:end+1]) == name {
			return bson.RawValue{Type: t, Value: body[:n:n]}
		}
		rest = body[n:]
	}
	return bson.RawValue{}
}

// Lookup follows a dotted path through embedded documents. It doesn't go
// through arrays: a path that meets one before its end is missing.
func Lookup(doc bson.Raw, path string) bson.RawValue {
	for {
		head, tail, more := strings.Cut(path, ".")
		v := Field(doc, head)
		if !more {
			return v
		}
		if v.Type != bson.TypeEmbeddedDocument {
			return bson.RawValue{}
		}
		doc, path = v.Value, tail
	}
}

// IsEmpty tells whether a document or array has no elements.
func IsEmpty(doc []byte) bool {
	b := Body(doc)
	return len(b) == 0 || b[0] == 0
}
