package wire

import (
	"encoding/binary"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// MaxDepth is how deeply documents and arrays may nest.
const MaxDepth = 200

// The server's codes for documents that it cannot take.
const (
	codeOverflow           = 15
	codeInvalidBSON        = 22
	codeBSONObjectTooLarge = 10334
)

type bsonError struct {
	code   int32
	reason string
}

func (e *bsonError) Error() string { return e.reason }

func invalidf(format string, args ...any) error {
	return &bsonError{codeInvalidBSON, fmt.Sprintf(format, args...)}
}

// readDocument splits the first document off src and validates it. The document
// is limited in capacity, so that appending to it cannot reach what follows.
func readDocument(src []byte) (doc bson.Raw, rest []byte, err error) {
	n, err := documentSize(src)
	if err != nil {
		return nil, nil, err
	}
	doc = bson.Raw(src[:n:n])
	if err := validateElements(doc[4:n-1], 1); err != nil {
		return nil, nil, err
	}
	return doc, src[n:], nil
}

// ValidateDocument checks that doc is exactly one well-formed document.
func ValidateDocument(doc bson.Raw) error {
	_, rest, err := readDocument(doc)
	if err == nil && len(rest) > 0 {
		err = invalidf("%d bytes after the document's end", len(rest))
	}
	return err
}

func documentSize(src []byte) (int, error) {
	if len(src) < 5 {
		return 0, invalidf("not enough data for a document: %d bytes", len(src))
	}
	n := int(int32(binary.LittleEndian.Uint32(src)))
	switch {
	case n > MaxInternalDocumentSize:
		return 0, &bsonError{codeBSONObjectTooLarge, tooLarge(n, src)}
	case n < 5 || n > len(src):
		return 0, invalidf("document length %d is not between 5 and the %d bytes present", n, len(src))
	case src[n-1] != 0:
		return 0, invalidf("document of %d bytes does not end in a zero byte", n)
	}
	return n, nil
}

// tooLarge words the refusal as the server does, which names the first element.
func tooLarge(n int, src []byte) string {
	text := fmt.Sprintf("BSONObj size: %d (0x%X) is invalid. Size must be between 0 and %d(16MB)", n, n, MaxInternalDocumentSize)
	if first, _, ok := firstElement(src[4:]); ok {
		text += " First element: " + first
	}
	return text
}

func firstElement(src []byte) (text string, rest []byte, ok bool) {
	if len(src) == 0 || src[0] == 0 {
		return "", nil, false
	}
	key, size, err := elementSpan(src, 1)
	if err != nil {
		return "", nil, false
	}
	v := bson.RawValue{Type: bson.Type(src[0]), Value: src[2+len(key) : size]}
	if id, isID := v.ObjectIDOK(); isID {
		return fmt.Sprintf("%s: ObjectId('%s')", key, id.Hex()), src[size:], true
	}
	return fmt.Sprintf("%s: %s", key, v.String()), src[size:], true
}

// validateElements checks the elements of a document at the given depth,
// without the document's length and terminator.
func validateElements(src []byte, depth int) error {
	if depth > MaxDepth {
		return &bsonError{codeOverflow, fmt.Sprintf("BSONObj exceeds maximum nested object depth: %d", MaxDepth)}
	}
	for len(src) > 0 {
		_, n, err := elementSpan(src, depth)
		if err != nil {
			return err
		}
		src = src[n:]
	}
	return nil
}

// elementSpan validates the element that src starts with and returns its key
// and its size including type and key.
func elementSpan(src []byte, depth int) (key []byte, size int, err error) {
	end := 1
	for end < len(src) && src[end] != 0 {
		end++
	}
	if end == len(src) {
		return nil, 0, invalidf("field name without terminator")
	}
	n, err := valueSize(bson.Type(src[0]), src[end+1:], depth)
	if err != nil {
		return nil, 0, err
	}
	return src[1:end], end + 1 + n, nil
}

// valueSize validates the value of type t that src starts with.
func valueSize(t bson.Type, src []byte, depth int) (int, error) {
	fixed := -1
	switch t {
	case bson.TypeNull, bson.TypeUndefined, bson.TypeMinKey, bson.TypeMaxKey:
		return 0, nil
	case bson.TypeBoolean:
		if len(src) < 1 || src[0] > 1 {
			return 0, invalidf("boolean that is neither 0 nor 1")
		}
		return 1, nil
	case bson.TypeInt32:
		fixed = 4
	case bson.TypeInt64, bson.TypeDouble, bson.TypeDateTime, bson.TypeTimestamp:
		fixed = 8
	case bson.TypeObjectID:
		fixed = 12
	case bson.TypeDecimal128:
		fixed = 16
	}
	if fixed >= 0 {
		if len(src) < fixed {
			return 0, invalidf("value of type %s cut short", t)
		}
		return fixed, nil
	}
	switch t {
	case bson.TypeEmbeddedDocument, bson.TypeArray:
		return nestedSize(src, depth)
	case bson.TypeString, bson.TypeSymbol, bson.TypeJavaScript:
		return stringSize(src)
	case bson.TypeBinary:
		return binarySize(src)
	case bson.TypeRegex:
		return regexSize(src)
	case bson.TypeDBPointer:
		n, err := stringSize(src)
		if err == nil && len(src)-n < 12 {
			err = invalidf("dbPointer cut short")
		}
		return n + 12, err
	case bson.TypeCodeWithScope:
		return codeWithScopeSize(src, depth)
	}
	return 0, invalidf("unrecognized BSON type %d", byte(t))
}

func nestedSize(src []byte, depth int) (int, error) {
	n, err := documentSize(src)
	if err != nil {
		return 0, err
	}
	return n, validateElements(src[4:n-1], depth+1)
}

func stringSize(src []byte) (int, error) {
	if len(src) < 5 {
		return 0, invalidf("string cut short")
	}
	n := int(int32(binary.LittleEndian.Uint32(src)))
	if n < 1 || n > len(src)-4 {
		return 0, invalidf("string length %d is not between 1 and the %d bytes present", n, len(src)-4)
	}
	if src[3+n] != 0 {
		return 0, invalidf("string without terminator")
	}
	return 4 + n, nil
}

func binarySize(src []byte) (int, error) {
	if len(src) < 5 {
		return 0, invalidf("binary cut short")
	}
	n := int(int32(binary.LittleEndian.Uint32(src)))
	if n < 0 || n > len(src)-5 {
		return 0, invalidf("binary length %d is not between 0 and the %d bytes present", n, len(src)-5)
	}
	if src[4] == 0x02 {
		// the old binary subtype repeats its length inside
		if n < 4 || int(int32(binary.LittleEndian.Uint32(src[5:]))) != n-4 {
			return 0, invalidf("binary of subtype 2 with a wrong inner length")
		}
	}
	return 5 + n, nil
}

func regexSize(src []byte) (int, error) {
	zeros := 0
	for i, c := range src {
		if c == 0 {
			if zeros++; zeros == 2 {
				return i + 1, nil
			}
		}
	}
	return 0, invalidf("regular expression without terminator")
}

func codeWithScopeSize(src []byte, depth int) (int, error) {
	if len(src) < 4 {
		return 0, invalidf("code with scope cut short")
	}
	n := int(int32(binary.LittleEndian.Uint32(src)))
	if n < 4+5+5 || n > len(src) {
		return 0, invalidf("code with scope of length %d in %d bytes", n, len(src))
	}
	code, err := stringSize(src[4:n])
	if err != nil {
		return 0, err
	}
	scope, err := nestedSize(src[4+code:n], depth)
	if err != nil {
		return 0, err
	}
	if 4+code+scope != n {
		return 0, invalidf("code with scope of length %d holds %d bytes", n, 4+code+scope)
	}
	return n, nil
}
