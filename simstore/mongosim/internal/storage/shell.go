package storage

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// ShellText renders a document as the server does in its messages:
// { a: 1, b: [ "x" ] }. Long strings and binaries are cut short.
func ShellText(doc bson.Raw) string {
	var b strings.Builder
	shellDoc(&b, doc, false)
	return b.String()
}

func shellText(doc bson.Raw) string { return ShellText(doc) }

// shellValue is ShellText for any value.
func shellValue(v bson.RawValue) string {
	var b strings.Builder
	shellInto(&b, v)
	return b.String()
}

func shellDoc(b *strings.Builder, doc bson.Raw, array bool) {
	left, right := "{", "}"
	if array {
		left, right = "[", "]"
	}
	b.WriteString(left)
	n := 0
	for name, v := range value.Fields(doc) {
		if n > 0 {
			b.WriteByte(',')
		}
		b.WriteByte(' ')
		if !array {
			b.WriteString(name)
			b.WriteString(": ")
		}
		shellInto(b, v)
		n++
	}
	if n > 0 {
		b.WriteByte(' ')
	}
	b.WriteString(right)
}

func shellInto(b *strings.Builder, v bson.RawValue) {
	switch v.Type {
	case bson.TypeEmbeddedDocument, bson.TypeArray:
		shellDoc(b, bson.Raw(v.Value), v.Type == bson.TypeArray)
	case bson.TypeDouble:
		b.WriteString(niceDouble(value.AsDouble(v)))
	case bson.TypeInt32:
		b.WriteString(strconv.Itoa(int(value.AsInt32(v))))
	case bson.TypeInt64:
		b.WriteString(strconv.FormatInt(value.AsInt64(v), 10))
	case bson.TypeDecimal128:
		b.WriteString(v.Decimal128().String())
	case bson.TypeString, bson.TypeSymbol:
		s := value.AsString(v)
		if len(s)+1 > 160 {
			s = s[:150] + "..."
		}
		b.WriteString(`"` + s + `"`)
	case bson.TypeObjectID:
		b.WriteString("ObjectId('" + value.AsObjectID(v).Hex() + "')")
	case bson.TypeDateTime:
		fmt.Fprintf(b, "new Date(%d)", value.AsDate(v))
	case bson.TypeTimestamp:
		t, i := value.AsTimestamp(v)
		fmt.Fprintf(b, "Timestamp(%d, %d)", t, i)
	case bson.TypeBoolean:
		b.WriteString(strconv.FormatBool(value.AsBool(v)))
	case bson.TypeNull:
		b.WriteString("null")
	case bson.TypeUndefined:
		b.WriteString("undefined")
	case bson.TypeMinKey:
		b.WriteString("MinKey")
	case bson.TypeMaxKey:
		b.WriteString("MaxKey")
	case bson.TypeRegex:
		p, o := value.AsRegex(v)
		b.WriteString("/" + p + "/" + o)
	case bson.TypeBinary:
		shellBinary(b, v)
	case bson.TypeJavaScript:
		s := value.AsString(v)
		if len(s)+1 > 80 {
			s = s[:70] + "..."
		}
		b.WriteString(s)
	default:
		fmt.Fprintf(b, "?type=%d", v.Type)
	}
}

func shellBinary(b *strings.Builder, v bson.RawValue) {
	subtype, data := value.AsBinary(v)
	if subtype == 4 && len(data) == 16 {
		b.WriteString(`UUID("` + UUID(data).String() + `")`)
		return
	}
	tail := ")"
	if len(data) > 80 {
		data, tail = data[:70], "...)"
	}
	fmt.Fprintf(b, "BinData(%d, %s%s", subtype, strings.ToUpper(hex.EncodeToString(data)), tail)
}

// niceDouble prints like C's %.16g, followed by ".0" where there is no point,
// be it behind an exponent or infinity: that is how the server does it.
func niceDouble(f float64) string {
	s := strconv.FormatFloat(f, 'e', 15, 64)
	mant, exp, ok := strings.Cut(s, "e")
	if !ok {
		return strings.ToLower(strings.TrimPrefix(s, "+")) + ".0"
	}
	if e, _ := strconv.Atoi(exp); e < -4 || e >= 16 {
		s = trimZeros(mant) + "e" + exp
	} else {
		s = trimZeros(strconv.FormatFloat(f, 'f', 15-e, 64))
	}
	if !strings.ContainsRune(s, '.') {
		s += ".0"
	}
	return s
}

func trimZeros(s string) string {
	if strings.ContainsRune(s, '.') {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return s
}
