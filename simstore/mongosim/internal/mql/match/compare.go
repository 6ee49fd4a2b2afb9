package match

import (
	"math"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// bracket groups the types that compare with each other. Comparisons between
// brackets are false, with few exceptions.
func bracket(t bson.Type) int {
	switch t {
	case 0, bson.TypeUndefined:
		return 0
	case bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		return int(bson.TypeDouble)
	case bson.TypeSymbol:
		return int(bson.TypeString)
	}
	return int(t)
}

// A comparison is $eq, $lt, $lte, $gt or $gte with one value.
type comparison struct {
	op      kind
	rhs     bson.RawValue
	bracket int
	nan     bool
}

func newComparison(op kind, rhs bson.RawValue) (*comparison, error) {
	if rhs.Type == bson.TypeUndefined {
		return nil, mongoerr.New(mongoerr.BadValue, "cannot compare to undefined")
	}
	return &comparison{op: op, rhs: rhs, bracket: bracket(rhs.Type), nan: isNaN(rhs)}, nil
}

func (c *comparison) test(v bson.RawValue, _ *state) bool {
	b := bracket(v.Type)
	if b != c.bracket {
		switch {
		case b == 0 && c.rhs.Type == bson.TypeNull:
			return c.op == kindEq || c.op == kindLte || c.op == kindGte
		case c.rhs.Type == bson.TypeMaxKey:
			return c.op == kindLt || c.op == kindLte
		case c.rhs.Type == bson.TypeMinKey:
			return c.op == kindGt || c.op == kindGte
		}
		return false
	}
	if b == int(bson.TypeDouble) {
		if nan := isNaN(v); nan || c.nan {
			return nan && c.nan && (c.op == kindEq || c.op == kindLte || c.op == kindGte)
		}
	}
	x := value.Compare(v, c.rhs)
	switch c.op {
	case kindLt:
		return x < 0
	case kindLte:
		return x <= 0
	case kindGt:
		return x > 0
	case kindGte:
		return x >= 0
	}
	return x == 0
}

func (c *comparison) predicate() (string, bson.RawValue) {
	switch c.op {
	case kindLt:
		return "$lt", c.rhs
	case kindLte:
		return "$lte", c.rhs
	case kindGt:
		return "$gt", c.rhs
	case kindGte:
		return "$gte", c.rhs
	}
	return "$eq", c.rhs
}

func isNaN(v bson.RawValue) bool {
	switch v.Type {
	case bson.TypeDouble:
		return math.IsNaN(value.AsDouble(v))
	case bson.TypeDecimal128:
		return len(v.Value) == 16 && v.Value[15]&0x7c == 0x7c
	}
	return false
}

// A membership is $in: values, kept in order, and regular expressions.
type membership struct {
	list    bson.RawValue // as written
	values  []bson.RawValue
	regexes []*regex
	hasNull bool
}

func newMembership(list bson.RawValue) (*membership, error) {
	m := &membership{list: list}
	for _, v := range value.Elements(list) {
		switch {
		case isOperatorDoc(v, false):
			return nil, mongoerr.New(mongoerr.BadValue, "cannot nest $ under $in")
		case v.Type == bson.TypeRegex:
			pattern, options := value.AsRegex(v)
			re, err := newRegex(pattern, options)
			if err != nil {
				return nil, err
			}
			m.regexes = append(m.regexes, re)
		default:
			m.values = append(m.values, v)
		}
	}
	for _, v := range m.values {
		switch v.Type {
		case bson.TypeUndefined:
			return nil, mongoerr.New(mongoerr.BadValue, "InMatchExpression equality cannot be undefined")
		case bson.TypeNull:
			m.hasNull = true
		}
	}
	slices.SortStableFunc(m.values, value.Compare)
	m.values = slices.CompactFunc(m.values, func(a, b bson.RawValue) bool { return value.Compare(a, b) == 0 })
	return m, nil
}

func (m *membership) test(v bson.RawValue, st *state) bool {
	if v.Type == 0 && m.hasNull {
		return true
	}
	if v.Type != 0 && m.contains(v) {
		return true
	}
	for _, re := range m.regexes {
		if re.test(v, st) {
			return true
		}
	}
	return false
}

func (m *membership) contains(v bson.RawValue) bool {
	lo, hi := 0, len(m.values)
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		switch c := value.Compare(m.values[mid], v); {
		case c == 0:
			return true
		case c < 0:
			lo = mid + 1
		default:
			hi = mid
		}
	}
	return false
}

// optimizeLeaf turns a list of one into what it stands for, which also makes
// it an equality for upserts.
func (m *membership) optimizeLeaf(l *leaf) node {
	switch {
	case len(m.values) == 1 && len(m.regexes) == 0:
		c, err := newComparison(kindEq, m.values[0])
		if err != nil {
			return l
		}
		return newLeaf(kindEq, l.path.dotted, true, c)
	case len(m.values) == 0 && len(m.regexes) == 1:
		return newLeaf(kindRegex, l.path.dotted, true, m.regexes[0])
	}
	return l
}

func (m *membership) predicate() (string, bson.RawValue) {
	if len(m.regexes) > 0 {
		return "", bson.RawValue{}
	}
	return "$in", value.ArrayOf(m.values...)
}

// An existence is $exists: true.
type existence struct{}

func (existence) test(v bson.RawValue, _ *state) bool { return v.Type != 0 }

func (existence) predicate() (string, bson.RawValue) { return "$exists", value.Bool(true) }
