package storage

import (
	"bytes"
	"math"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// An interval is a range of values of one index field, in ascending order.
type interval struct {
	lo, hi       bson.RawValue
	loInc, hiInc bool
	// The bounds as keys, for comparing.
	loKey, hiKey []byte
}

func newInterval(lo bson.RawValue, loInc bool, hi bson.RawValue, hiInc bool) interval {
	return interval{lo, hi, loInc, hiInc, value.AppendKey(nil, lo, false), value.AppendKey(nil, hi, false)}
}

func point(v bson.RawValue) interval {
	key := value.AppendKey(nil, v, false)
	return interval{lo: v, hi: v, loInc: true, hiInc: true, loKey: key, hiKey: key}
}

func everything() interval { return newInterval(value.MinKey(), true, value.MaxKey(), true) }

func (iv interval) isPoint() bool {
	return iv.loInc && iv.hiInc && bytes.Equal(iv.loKey, iv.hiKey)
}

func (iv interval) isEmpty() bool {
	c := bytes.Compare(iv.loKey, iv.hiKey)
	return c > 0 || c == 0 && (!iv.loInc || !iv.hiInc)
}

// String is explain's notation: ["a", "b").
func (iv interval) text(desc bool) string {
	lo, hi, left, right := iv.lo, iv.hi, "(", ")"
	loInc, hiInc := iv.loInc, iv.hiInc
	if desc {
		lo, hi, loInc, hiInc = hi, lo, hiInc, loInc
	}
	if loInc {
		left = "["
	}
	if hiInc {
		right = "]"
	}
	return left + shellValue(lo) + ", " + shellValue(hi) + right
}

func intersect(a, b interval) interval {
	if c := bytes.Compare(b.loKey, a.loKey); c > 0 || c == 0 && !b.loInc {
		a.lo, a.loInc, a.loKey = b.lo, b.loInc, b.loKey
	}
	if c := bytes.Compare(b.hiKey, a.hiKey); c < 0 || c == 0 && !b.hiInc {
		a.hi, a.hiInc, a.hiKey = b.hi, b.hiInc, b.hiKey
	}
	return a
}

func (iv interval) within(b interval) bool {
	x := intersect(iv, b)
	return bytes.Equal(x.loKey, iv.loKey) && bytes.Equal(x.hiKey, iv.hiKey) && x.loInc == iv.loInc && x.hiInc == iv.hiInc
}

// bounds are the intervals an index field is searched in: sorted and disjoint.
type bounds []interval

func (b bounds) allPoints() bool {
	for _, iv := range b {
		if !iv.isPoint() {
			return false
		}
	}
	return true
}

func (b bounds) unbounded() bool {
	return len(b) == 1 && b[0].lo.Type == bson.TypeMinKey && b[0].hi.Type == bson.TypeMaxKey
}

func (b bounds) within(c bounds) bool {
	for _, iv := range b {
		if !slices.ContainsFunc(c, iv.within) {
			return false
		}
	}
	return true
}

// normalize sorts intervals and joins those that overlap.
func normalize(in bounds) bounds {
	in = slices.DeleteFunc(in, interval.isEmpty)
	slices.SortFunc(in, func(a, b interval) int {
		if c := bytes.Compare(a.loKey, b.loKey); c != 0 {
			return c
		}
		return boolCompare(b.loInc, a.loInc)
	})
	out := in[:0]
	for _, iv := range in {
		if n := len(out); n > 0 {
			last := &out[n-1]
			if c := bytes.Compare(iv.loKey, last.hiKey); c < 0 || c == 0 && (iv.loInc || last.hiInc) {
				if c := bytes.Compare(iv.hiKey, last.hiKey); c > 0 || c == 0 && iv.hiInc {
					last.hi, last.hiInc, last.hiKey = iv.hi, iv.hiInc, iv.hiKey
				}
				continue
			}
		}
		out = append(out, iv)
	}
	return out
}

func boolCompare(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	default:
		return -1
	}
}

func intersectAll(a, b bounds) bounds {
	var out bounds
	for _, x := range a {
		for _, y := range b {
			out = append(out, intersect(x, y))
		}
	}
	return normalize(out)
}

func uniteAll(a, b bounds) bounds { return normalize(append(slices.Clone(a), b...)) }

// boundsOf are the intervals in which the keys of every document that fulfils
// a condition have at least one value. ok is false if the condition says
// nothing about keys.
func boundsOf(p match.Predicate) (b bounds, ok bool) {
	switch p.Op {
	case "$eq":
		return normalize(equals(p.Value)), true
	case "$in":
		for _, v := range value.Elements(p.Value) {
			b = append(b, equals(v)...)
		}
		return normalize(b), true
	case "$lt", "$lte", "$gt", "$gte":
		return compares(p.Op, p.Value)
	case "$exists":
		if value.Truthy(p.Value) {
			return bounds{everything()}, true
		}
		return bounds{point(value.Null())}, true
	case "$regex":
		return prefixed(p.Value)
	}
	return nil, false
}

// equals are the keys of documents with an equal value. An array is found by
// its first element, or as an element of an array.
func equals(v bson.RawValue) bounds {
	switch v.Type {
	case bson.TypeNull:
		return bounds{point(bson.RawValue{Type: bson.TypeUndefined}), point(v)}
	case bson.TypeArray:
		first := value.Index(v, 0)
		if value.IsMissing(first) {
			first = bson.RawValue{Type: bson.TypeUndefined}
		}
		return bounds{point(first), point(v)}
	}
	return bounds{point(v)}
}

// compares are the values of v's type beyond v.
func compares(op string, v bson.RawValue) (bounds, bool) {
	if v.Type == bson.TypeNull && (op == "$lte" || op == "$gte") {
		return normalize(equals(v)), true
	}
	whole, ok := typeRange(v)
	if !ok {
		return nil, false
	}
	if value.IsNumber(v) && math.IsNaN(value.ToDouble(v)) {
		if op == "$lte" || op == "$gte" {
			return bounds{point(v)}, true
		}
		return bounds{}, true
	}
	iv := whole
	key := value.AppendKey(nil, v, false)
	switch op {
	case "$lt", "$lte":
		iv.hi, iv.hiKey, iv.hiInc = v, key, op == "$lte"
	default:
		iv.lo, iv.loKey, iv.loInc = v, key, op == "$gte"
	}
	return normalize(bounds{iv}), true
}

// typeRange holds all values that comparisons with v consider.
func typeRange(v bson.RawValue) (interval, bool) {
	switch v.Type {
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		return newInterval(value.Double(math.Inf(-1)), true, value.Double(math.Inf(1)), true), true
	case bson.TypeString:
		return newInterval(value.String(""), true, value.Doc(value.NewObject(8).Doc()), false), true
	case bson.TypeEmbeddedDocument:
		return newInterval(value.Doc(value.NewObject(8).Doc()), true, value.ArrayOf(), false), true
	case bson.TypeBoolean:
		return newInterval(value.Bool(false), true, value.Bool(true), true), true
	case bson.TypeDateTime:
		return newInterval(value.Date(math.MinInt64), true, value.Date(math.MaxInt64), true), true
	case bson.TypeTimestamp:
		return newInterval(value.Timestamp(0, 0), true, value.Timestamp(math.MaxUint32, math.MaxUint32), true), true
	case bson.TypeObjectID:
		var last bson.ObjectID
		for i := range last {
			last[i] = 0xff
		}
		return newInterval(value.ObjectID(bson.ObjectID{}), true, value.ObjectID(last), true), true
	case bson.TypeBinary:
		return newInterval(value.Binary(0, nil), true, value.ObjectID(bson.ObjectID{}), false), true
	}
	return interval{}, false
}

// prefixed finds the strings that a regular expression which begins with ^ and
// plain characters can match, besides the expression itself as a value.
func prefixed(v bson.RawValue) (bounds, bool) {
	if v.Type != bson.TypeRegex {
		return nil, false
	}
	whole := newInterval(value.String(""), true, value.Doc(value.NewObject(8).Doc()), false)
	pattern, options := value.AsRegex(v)
	prefix := plainPrefix(pattern, options)
	if prefix == "" {
		return normalize(bounds{whole, point(v)}), true
	}
	next := whole
	next.lo = value.String(prefix)
	next.loKey = value.AppendKey(nil, next.lo, false)
	if up := successor([]byte(prefix)); up != nil {
		next.hi = value.String(string(up))
		next.hiKey = value.AppendKey(nil, next.hi, false)
	}
	return normalize(bounds{next, point(v)}), true
}

func plainPrefix(pattern, options string) string {
	if options != "" || !strings.HasPrefix(pattern, "^") || strings.ContainsRune(pattern, '|') {
		return ""
	}
	body := pattern[1:]
	n := strings.IndexAny(body, `\^$.[]()*+?{}`)
	if n < 0 {
		return body
	}
	if n > 0 && strings.ContainsRune("*?{", rune(body[n])) {
		// The last character may be absent; it may be of several bytes.
		r := []rune(body[:n])
		return string(r[:len(r)-1])
	}
	return body[:n]
}

// successor is the least byte string greater than all that begin with b; nil
// if there is none.
func successor(b []byte) []byte {
	out := bytes.Clone(b)
	for i := len(out) - 1; i >= 0; i-- {
		if out[i] != 0xff {
			out[i]++
			return out[:i+1]
		}
	}
	return nil
}

// A keyRange is a stretch of an index: from lo (inclusive) to hi (exclusive;
// empty means to the end).
type keyRange struct{ lo, hi string }

// maxPoints is how many combinations of single values are looked up one by
// one.
const maxPoints = 4096

// keyRanges turns the bounds of each field into stretches of the index. Fields
// after the first that is not a set of points don't narrow them further.
func keyRanges(spec *indexSpec, fields []bounds) []keyRange {
	prefixes := [][]byte{nil}
	i := 0
	for ; i < len(fields) && fields[i].allPoints() && len(prefixes)*len(fields[i]) <= maxPoints; i++ {
		next := make([][]byte, 0, len(prefixes)*len(fields[i]))
		for _, p := range prefixes {
			for _, iv := range fields[i] {
				next = append(next, value.AppendKey(slices.Clip(bytes.Clone(p)), iv.lo, spec.fields[i].desc))
			}
		}
		prefixes = next
	}
	var out []keyRange
	for _, p := range prefixes {
		if i == len(fields) || fields[i].unbounded() {
			out = append(out, keyRange{string(p), string(successor(p))})
			continue
		}
		for _, iv := range fields[i] {
			out = append(out, stretch(p, iv, spec.fields[i].desc))
		}
	}
	slices.SortFunc(out, func(a, b keyRange) int { return strings.Compare(a.lo, b.lo) })
	return out
}

// stretch is the range of keys that begin with prefix and have their next
// value in iv.
func stretch(prefix []byte, iv interval, desc bool) keyRange {
	if desc {
		iv.lo, iv.hi, iv.loInc, iv.hiInc = iv.hi, iv.lo, iv.hiInc, iv.loInc
	}
	lo := value.AppendKey(slices.Clip(bytes.Clone(prefix)), iv.lo, desc)
	if !iv.loInc {
		lo = successor(lo)
	}
	hi := value.AppendKey(slices.Clip(bytes.Clone(prefix)), iv.hi, desc)
	if iv.hiInc {
		hi = successor(hi)
	}
	return keyRange{string(lo), string(hi)}
}
