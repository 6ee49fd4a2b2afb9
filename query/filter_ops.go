package query

import (
	"regexp"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/expr"
	"github.com/annals-es/annals/query/internal/literal"
)

// Eq matches documents whose field equals the value, or is an array with an
// element that does. Eq with nil matches null and a missing field alike; see Null
// and Missing.
func Eq(field string, value any) Filter { return compare(kindEq, field, value) }

// Ne matches what Eq doesn't, so also documents without the field.
func Ne(field string, value any) Filter { return compare(kindNe, field, value) }

// Gt matches values greater than the given one and of the same BSON type class:
// numbers compare with numbers, strings with strings.
func Gt(field string, value any) Filter { return compare(kindGt, field, value) }

// Gte matches values greater than or equal to the given one.
func Gte(field string, value any) Filter { return compare(kindGte, field, value) }

// Lt matches values less than the given one.
func Lt(field string, value any) Filter { return compare(kindLt, field, value) }

// Lte matches values less than or equal to the given one.
func Lte(field string, value any) Filter { return compare(kindLte, field, value) }

// Between matches from <= value < to.
func Between(field string, from, to any) Filter {
	return And(Gte(field, from), Lt(field, to))
}

// In matches documents whose field equals one of the values. In of nothing
// matches nothing.
func In[T any](field string, values ...T) Filter {
	if err := checkField(field); err != nil {
		return wrong("filter: %v", err)
	}
	return in(field, values)
}

func in[T any](field string, values []T) Filter {
	plain, special, err := listOf(values)
	if err != nil {
		return wrong("filter on %q: %v", field, err)
	}
	if len(special) == 0 {
		return Filter{kind: kindIn, field: field, value: plain}
	}
	// $in reads regular expressions as patterns and refuses documents that look
	// like operators; $eq takes both for what they are.
	alternatives := make([]Filter, 0, len(special)+1)
	if len(plain) > 0 {
		alternatives = append(alternatives, Filter{kind: kindIn, field: field, value: plain})
	}
	for _, v := range special {
		alternatives = append(alternatives, Filter{kind: kindEq, field: field, value: v})
	}
	return Or(alternatives...)
}

// Nin matches documents whose field equals none of the values, so also
// documents without the field. Nin of nothing matches everything.
func Nin[T any](field string, values ...T) Filter {
	if err := checkField(field); err != nil {
		return wrong("filter: %v", err)
	}
	return nin(field, values)
}

func nin[T any](field string, values []T) Filter {
	f := in(field, values)
	if f.kind == kindIn {
		f.kind = kindNin
		return f
	}
	return Not(f)
}

// listOf splits values into those that mean themselves inside $in and $all, and
// those that don't.
func listOf[T any](values []T) (plain, special bson.A, err error) {
	plain = make(bson.A, 0, len(values))
	for _, value := range values {
		v, class, err := literal.Of(value)
		if err != nil {
			return nil, nil, err
		}
		if class == literal.Regex || class == literal.Document && maybeOperators(v) {
			special = append(special, v)
		} else {
			plain = append(plain, v)
		}
	}
	return plain, special, nil
}

// maybeOperators reports whether a document could start with a $, as far as
// that can be known without encoding it.
func maybeOperators(v any) bool {
	switch d := v.(type) {
	case bson.D:
		return len(d) > 0 && strings.HasPrefix(d[0].Key, "$")
	case bson.Raw:
		e, err := d.IndexErr(0)
		return err == nil && strings.HasPrefix(e.Key(), "$")
	}
	return true
}

// Exists matches documents that have the field, even with the value null.
func Exists(field string) Filter { return plainOp(kindExists, field, true) }

// Missing matches documents that lack the field.
func Missing(field string) Filter { return plainOp(kindExists, field, false) }

// Null matches documents that have the field with the value null (or an array
// that holds null). Eq(field, nil) matches missing fields too.
func Null(field string) Filter { return plainOp(kindType, field, "null") }

// A Type names a BSON type, or "number" for all numeric ones.
type Type string

// The types that TypeOf accepts.
const (
	TypeDouble     Type = "double"
	TypeString     Type = "string"
	TypeObject     Type = "object"
	TypeArray      Type = "array"
	TypeBinary     Type = "binData"
	TypeObjectID   Type = "objectId"
	TypeBool       Type = "bool"
	TypeDate       Type = "date"
	TypeNull       Type = "null"
	TypeRegex      Type = "regex"
	TypeInt        Type = "int"
	TypeLong       Type = "long"
	TypeDecimal    Type = "decimal"
	TypeTimestamp  Type = "timestamp"
	TypeNumber     Type = "number"
	TypeMinKey     Type = "minKey"
	TypeMaxKey     Type = "maxKey"
	TypeUndefined  Type = "undefined"
	TypeSymbol     Type = "symbol"
	TypeDBPointer  Type = "dbPointer"
	TypeJavaScript Type = "javascript"
	TypeJSScope    Type = "javascriptWithScope"
)

func (t Type) valid() bool {
	switch t {
	case TypeDouble, TypeString, TypeObject, TypeArray, TypeBinary, TypeObjectID, TypeBool, TypeDate, TypeNull, TypeRegex,
		TypeInt, TypeLong, TypeDecimal, TypeTimestamp, TypeNumber, TypeMinKey, TypeMaxKey, TypeUndefined, TypeSymbol,
		TypeDBPointer, TypeJavaScript, TypeJSScope:
		return true
	}
	return false
}

// TypeOf matches documents whose field is of one of the types.
func TypeOf(field string, types ...Type) Filter {
	for _, t := range types {
		if !t.valid() {
			return wrong("filter on %q: there is no type %q", field, t)
		}
	}
	switch len(types) {
	case 0:
		return wrong("filter on %q: TypeOf needs at least one type", field)
	case 1:
		return plainOp(kindType, field, string(types[0]))
	}
	list := make(bson.A, len(types))
	for i, t := range types {
		list[i] = string(t)
	}
	return plainOp(kindType, field, list)
}

// HasAll matches arrays that hold every one of the values. HasAll of nothing
// matches nothing.
func HasAll[T any](field string, values ...T) Filter {
	if err := checkField(field); err != nil {
		return wrong("filter: %v", err)
	}
	plain, special, err := listOf(values)
	if err != nil {
		return wrong("filter on %q: %v", field, err)
	}
	if len(special) == 0 {
		return Filter{kind: kindAll, field: field, value: plain}
	}
	all := make([]Filter, 0, len(special)+1)
	if len(plain) > 0 {
		all = append(all, Filter{kind: kindAll, field: field, value: plain})
	}
	for _, v := range special {
		all = append(all, Filter{kind: kindEq, field: field, value: v})
	}
	return And(all...)
}

// ElemMatch matches arrays with at least one element that meets all of the
// conditions. Field names are those of the elements, or Element for the element itself.
func ElemMatch(field string, conditions ...Filter) Filter {
	if err := checkField(field); err != nil {
		return wrong("filter: %v", err)
	}
	f := Filter{kind: kindElem, field: field, value: groupOf(conditions...)}
	for _, c := range conditions {
		f.broken = f.broken || c.broken
	}
	if len(conditions) == 0 {
		return wrong("filter on %q: ElemMatch needs at least one condition", field)
	}
	return f
}

// Size matches arrays of exactly n elements.
func Size(field string, n int) Filter {
	if n < 0 {
		return wrong("filter on %q: Size is %d, it can't be negative", field, n)
	}
	return plainOp(kindSize, field, n)
}

// Regex matches strings by a pattern in PCRE syntax, with options out of
// "imsx". The pattern is a program: write it yourself, and use HasPrefix,
// HasSuffix, Contains or EqualFold for what comes from outside.
func Regex(field, pattern, options string) Filter {
	if err := checkField(field); err != nil {
		return wrong("filter: %v", err)
	}
	if strings.IndexByte(pattern, 0) >= 0 {
		return wrong("filter on %q: the pattern has a NUL byte", field)
	}
	for i, o := range options {
		if !strings.ContainsRune("imsx", o) || strings.IndexRune(options, o) != i {
			return wrong("filter on %q: regular expression options %q: use each of i, m, s, x at most once", field, options)
		}
	}
	if options == "" {
		return Filter{kind: kindRegex, field: field, value: pattern}
	}
	return Filter{kind: kindDoc, field: field, value: bson.D{{Key: "$regex", Value: pattern}, {Key: "$options", Value: options}}}
}

// HasPrefix matches strings that start with the text; an index on the field
// serves it.
func HasPrefix(field, text string) Filter { return Regex(field, "^"+quote(text), "") }

// HasSuffix matches strings that end with the text.
func HasSuffix(field, text string) Filter { return Regex(field, quote(text)+`\z`, "") }

// Contains matches strings that hold the text.
func Contains(field, text string) Filter { return Regex(field, quote(text), "") }

// EqualFold matches strings equal to the text without regard to case. No index
// makes it fast: where it matters, use a collation of strength 2.
func EqualFold(field, text string) Filter { return Regex(field, "^"+quote(text)+`\z`, "i") }

// ContainsFold matches strings that hold the text, without regard to case.
func ContainsFold(field, text string) Filter { return Regex(field, quote(text), "i") }

// quote makes text mean itself in a pattern. What Go's syntax needs quoted is
// what PCRE needs, outside of the extended mode, which is never on here.
func quote(text string) string { return regexp.QuoteMeta(text) }

// Mod matches numbers that leave the remainder when divided by the divisor.
func Mod(field string, divisor, remainder int64) Filter {
	if divisor == 0 {
		return wrong("filter on %q: Mod by zero", field)
	}
	return plainOp(kindMod, field, bson.A{whole(divisor), whole(remainder)})
}

// BitsAllSet matches numbers and binary values in which all bits of the mask are 1.
func BitsAllSet(field string, mask int64) Filter { return bits(kindBitsAllSet, field, mask) }

// BitsAllClear matches those in which all bits of the mask are 0.
func BitsAllClear(field string, mask int64) Filter { return bits(kindBitsAllClear, field, mask) }

// BitsAnySet matches those in which at least one bit of the mask is 1.
func BitsAnySet(field string, mask int64) Filter { return bits(kindBitsAnySet, field, mask) }

// BitsAnyClear matches those in which at least one bit of the mask is 0.
func BitsAnyClear(field string, mask int64) Filter { return bits(kindBitsAnyClear, field, mask) }

func bits(k kind, field string, mask int64) Filter {
	if mask < 0 {
		return wrong("filter on %q: the bit mask %d is negative", field, mask)
	}
	return plainOp(k, field, whole(mask))
}

// Expr matches documents for which the expression is true. It can compare
// fields of one document with each other.
func Expr(e expr.Expr) Filter {
	v, err := e.Build()
	if err != nil {
		return wrong("filter: $expr: %v", err)
	}
	return Filter{kind: kindTop, field: "$expr", value: v}
}

// TextSearch are the options of Text.
type TextSearch struct {
	// Language of the search; empty: that of the index.
	Language string
	// CaseSensitive and DiacriticSensitive are off unless set.
	CaseSensitive, DiacriticSensitive bool
}

// Text searches the collection's text index. The search string has its own
// small syntax ("phrases", -negation) which can't do harm. Only the first of opts counts.
func Text(search string, opts ...TextSearch) Filter {
	d := bson.D{{Key: "$search", Value: search}}
	if len(opts) > 0 {
		o := opts[0]
		if o.Language != "" {
			d = append(d, bson.E{Key: "$language", Value: o.Language})
		}
		if o.CaseSensitive {
			d = append(d, bson.E{Key: "$caseSensitive", Value: true})
		}
		if o.DiacriticSensitive {
			d = append(d, bson.E{Key: "$diacriticSensitive", Value: true})
		}
	}
	return Filter{kind: kindTop, field: "$text", value: d}
}

// JSONSchema matches documents that satisfy the schema.
func JSONSchema(schema bson.D) Filter {
	v, _, err := literal.Of(schema)
	if err != nil {
		return wrong("filter: $jsonSchema: %v", err)
	}
	return Filter{kind: kindTop, field: "$jsonSchema", value: v}
}

// Comment adds a comment to the filter, to be found in the server's log and profiler.
func Comment(text string) Filter {
	return Filter{kind: kindTop, field: "$comment", value: text}
}

// SampleRate matches each document with the given probability (0 to 1), chosen
// anew on every run.
func SampleRate(rate float64) Filter {
	if !(rate >= 0 && rate <= 1) {
		return wrong("filter: SampleRate is %v, it must be within 0 and 1", rate)
	}
	return Filter{kind: kindTop, field: "$sampleRate", value: rate}
}

// plainOp makes a condition whose operand is of this package's making.
func plainOp(k kind, field string, operand any) Filter {
	if err := checkField(field); err != nil {
		return wrong("filter: %v", err)
	}
	return Filter{kind: k, field: field, value: operand}
}

// whole is a number as a person would write it in a bson.D: an int wherever it fits.
func whole(n int64) any {
	if i := int(n); int64(i) == n {
		return i
	}
	return n
}
