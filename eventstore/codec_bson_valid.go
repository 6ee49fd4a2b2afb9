package eventstore

import (
	"bytes"
	"encoding/binary"
	"fmt"
)

// MaxDataDepth is how deeply documents and arrays may be nested in data of an
// event. MongoDB's limit is 100 levels; the envelope takes some of them.
const MaxDataDepth = 90

// validateBSON reports what is wrong with data that is to be one BSON document.
// It looks at everything in it, however deep; of strings it does not ask for
// valid UTF-8, as servers do not.
func validateBSON(data []byte) error {
	v := bsonValidator{data: data}
	reason := v.document(0, len(data), 1)
	if reason == "" {
		return nil
	}
	return &InvalidError{What: "data", Reason: fmt.Sprintf("is not a BSON document: %s at byte %d", reason, v.pos)}
}

// A bsonValidator walks data. Its methods return what is wrong, "" for nothing.
type bsonValidator struct {
	data []byte
	pos  int
}

// document checks the document that begins at start and is to end at or before
// limit, and leaves pos behind it. At depth 1 it must end just there.
func (v *bsonValidator) document(start, limit, depth int) string {
	v.pos = start
	if depth > MaxDataDepth {
		return fmt.Sprintf("more than %d levels of nesting", MaxDataDepth)
	}
	if limit-start < 5 {
		return "fewer than the five bytes of an empty document"
	}
	n := int(int32(binary.LittleEndian.Uint32(v.data[start:])))
	switch {
	case n < 5 || n > limit-start:
		return fmt.Sprintf("length %d where at least 5 and at most %d are possible", n, limit-start)
	case depth == 1 && n < limit-start:
		return fmt.Sprintf("length %d, followed by %d other bytes", n, limit-start-n)
	}
	end := start + n - 1
	if v.data[end] != 0 {
		return "no NUL at the end of a document"
	}
	v.pos = start + 4
	for v.pos < end {
		typ := v.data[v.pos]
		v.pos++
		for v.data[v.pos] != 0 { // there is one at the end of the document
			v.pos++
		}
		if v.pos == end {
			return "a name without an end"
		}
		v.pos++
		if reason := v.value(typ, end, depth); reason != "" {
			return reason
		}
	}
	v.pos = end + 1
	return ""
}

// fixedSizes holds the sizes of values whose type tells it, plus one.
var fixedSizes = [256]uint8{
	bsonDouble: 9, bsonUndefined: 1, bsonObjectID: 13, bsonBoolean: 2, bsonDateTime: 9, bsonNull: 1,
	bsonInt32: 5, bsonTimestamp: 9, bsonInt64: 9, bsonDecimal: 17, bsonMaxKey: 1, bsonMinKey: 1,
}

// value checks a value of a type that begins at pos and ends at or before end,
// and moves pos behind it.
func (v *bsonValidator) value(typ byte, end, depth int) string {
	if size := int(fixedSizes[typ]); size > 0 {
		if size-1 > end-v.pos {
			return "a value that does not fit"
		}
		if typ == bsonBoolean && v.data[v.pos] > 1 {
			return "a boolean that is neither 0 nor 1"
		}
		v.pos += size - 1
		return ""
	}
	switch typ {
	case bsonString, bsonCode, bsonSymbol:
		return v.text(end)
	case bsonDocument, bsonArray:
		return v.document(v.pos, end, depth+1)
	case bsonBinary:
		return v.binary(end)
	case bsonRegex:
		return v.regex(end)
	case bsonDBPointer:
		if reason := v.text(end); reason != "" {
			return reason
		}
		if end-v.pos < 12 {
			return "a value that does not fit"
		}
		v.pos += 12
		return ""
	case bsonCodeScope:
		return v.codeWithScope(end, depth)
	}
	return fmt.Sprintf("unknown type %#x", typ)
}

func (v *bsonValidator) length(end int) (int, bool) {
	if end-v.pos < 4 {
		return 0, false
	}
	return int(int32(binary.LittleEndian.Uint32(v.data[v.pos:]))), true
}

func (v *bsonValidator) text(end int) string {
	n, ok := v.length(end)
	if !ok || n < 1 || n > end-v.pos-4 {
		return "a string that does not fit"
	}
	v.pos += 4 + n
	if v.data[v.pos-1] != 0 {
		return "a string without NUL at its end"
	}
	return ""
}

func (v *bsonValidator) binary(end int) string {
	n, ok := v.length(end)
	if !ok || n < 0 || n > end-v.pos-5 {
		return "binary data that does not fit"
	}
	if old := v.data[v.pos+4] == 2; old && (n < 4 || int(int32(binary.LittleEndian.Uint32(v.data[v.pos+5:]))) != n-4) {
		return "binary data of subtype 2 with a wrong length"
	}
	v.pos += 5 + n
	return ""
}

func (v *bsonValidator) regex(end int) string {
	for range 2 {
		n := bytes.IndexByte(v.data[v.pos:end], 0)
		if n < 0 {
			return "a regular expression without an end"
		}
		v.pos += n + 1
	}
	return ""
}

func (v *bsonValidator) codeWithScope(end, depth int) string {
	start := v.pos
	n, ok := v.length(end)
	if !ok || n < 14 || n > end-start {
		return "code with scope that does not fit"
	}
	v.pos += 4
	if reason := v.text(start + n); reason != "" {
		return reason
	}
	if reason := v.document(v.pos, start+n, depth+1); reason != "" {
		return reason
	}
	if v.pos != start+n {
		return "code with scope of a wrong length"
	}
	return ""
}

// skip moves behind a value of a type. Data was validated before.
func (r *bsonReader) skip(typ byte) {
	if size := int(fixedSizes[typ]); size > 0 {
		r.pos += size - 1
		return
	}
	if typ == bsonRegex {
		r.key()
		r.key()
		return
	}
	start := r.pos
	n := int(r.int32())
	switch typ {
	case bsonDocument, bsonArray, bsonCodeScope:
		r.pos = start + n
	case bsonString, bsonCode, bsonSymbol:
		r.pos += n
	case bsonBinary:
		r.pos += 1 + n
	case bsonDBPointer:
		r.pos += n + 12
	}
}
