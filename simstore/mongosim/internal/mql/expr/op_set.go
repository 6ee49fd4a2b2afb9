package expr

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func setOperators() map[string]*operator {
	return map[string]*operator{
		"$allElementsTrue": unary(everyElement("$allElementsTrue", 17040, false)),
		"$anyElementTrue":  unary(everyElement("$anyElementTrue", 17041, true)),
		"$setDifference":   binary(setDifference),
		"$setEquals":       {parse: parseSetEquals, eval: setEquals},
		"$setIntersection": {most: -1, eval: setIntersection, associative: true, commutative: true},
		"$setIsSubset":     {least: 2, most: 2, eval: setIsSubset, folded: foldSetIsSubset},
		"$setUnion":        {most: -1, eval: setUnion, associative: true, commutative: true},
	}
}

func sortStable(vs []bson.RawValue, compare func(a, b bson.RawValue) int) {
	slices.SortStableFunc(vs, compare)
}

// A set is a sorted list without equal values; of equal ones it keeps the
// first.
type set []bson.RawValue

func setOf(arr bson.RawValue) set { return newSet(value.Slice(arr)) }

func newSet(vs []bson.RawValue) set {
	sortStable(vs, value.Compare)
	return slices.CompactFunc(vs, value.Equal)
}

func (s set) has(v bson.RawValue) bool {
	_, ok := slices.BinarySearchFunc(s, v, value.Compare)
	return ok
}

func everyElement(name string, code mongoerr.Code, decides bool) func(bson.RawValue) (bson.RawValue, error) {
	return func(v bson.RawValue) (bson.RawValue, error) {
		if v.Type != bson.TypeArray {
			return bson.RawValue{}, fail(code, "%s's argument must be an array, but is %s", name, value.TypeName(v.Type))
		}
		for _, e := range value.Elements(v) {
			if value.Truthy(e) == decides {
				return value.Bool(decides), nil
			}
		}
		return value.Bool(!decides), nil
	}
}

// setDifference keeps the order of the first array.
func setDifference(a, b bson.RawValue) (bson.RawValue, error) {
	if value.Nullish(a) || value.Nullish(b) {
		return value.Null(), nil
	}
	if a.Type != bson.TypeArray {
		return bson.RawValue{}, fail(17048, "both operands of $setDifference must be arrays. First argument is of type: %s", value.TypeName(a.Type))
	}
	if b.Type != bson.TypeArray {
		return bson.RawValue{}, fail(17049, "both operands of $setDifference must be arrays. Second argument is of type: %s", value.TypeName(b.Type))
	}
	excluded := setOf(b)
	var out value.Arr
	for _, v := range value.Elements(a) {
		at, found := slices.BinarySearchFunc(excluded, v, value.Compare)
		if !found {
			excluded = slices.Insert(excluded, at, v)
			out.Add(v)
		}
	}
	return out.Value(), nil
}

func parseSetEquals(p *parser, op *operator, arg bson.RawValue) (node, error) {
	n, err := p.call(&operator{name: op.name, most: -1, eval: op.eval}, arg)
	if err != nil {
		return nil, err
	}
	if c := n.(*call); len(c.args) < 2 {
		return nil, fail(17045, "$setEquals needs at least two arguments had: %d", len(c.args))
	}
	return n, nil
}

func setEquals(s *scope, args []node) (bson.RawValue, error) {
	var first set
	for i, n := range args {
		v, err := n.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		if v.Type != bson.TypeArray {
			return bson.RawValue{}, fail(17044, "All operands of $setEquals must be arrays. One argument is of type: %s", value.TypeName(v.Type))
		}
		if i == 0 {
			first = setOf(v)
		} else if !slices.EqualFunc(first, setOf(v), value.Equal) {
			return value.Bool(false), nil
		}
	}
	return value.Bool(true), nil
}

// setIntersection keeps the values of the smaller of the sets it meets, which
// shows when equal numbers have different types.
func setIntersection(s *scope, args []node) (bson.RawValue, error) {
	var common set
	for i, n := range args {
		v, err := n.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		if value.Nullish(v) {
			return value.Null(), nil
		}
		if v.Type != bson.TypeArray {
			return bson.RawValue{}, fail(17047, "All operands of $setIntersection must be arrays. One argument is of type: %s", value.TypeName(v.Type))
		}
		if i == 0 {
			common = setOf(v)
			continue
		}
		if len(common) == 0 {
			continue
		}
		other := setOf(v)
		if len(common) > len(other) {
			common, other = other, common
		}
		common = slices.DeleteFunc(common, func(e bson.RawValue) bool { return !other.has(e) })
	}
	return value.ArrayOf(common...), nil
}

func setIsSubset(s *scope, args []node) (bson.RawValue, error) {
	a, err := args[0].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	b, err := args[1].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	if a.Type != bson.TypeArray {
		code := mongoerr.Code(17046)
		if isConstant(args[1]) { // prepared beforehand, with a code of its own
			code = 17310
			if isConstant(args[0]) {
				code = 17046
			}
		}
		return bson.RawValue{}, fail(code, "both operands of $setIsSubset must be arrays. First argument is of type: %s", value.TypeName(a.Type))
	}
	if b.Type != bson.TypeArray {
		return bson.RawValue{}, fail(17042, "both operands of $setIsSubset must be arrays. Second argument is of type: %s", value.TypeName(b.Type))
	}
	whole := setOf(b)
	for _, e := range value.Elements(a) {
		if !whole.has(e) {
			return value.Bool(false), nil
		}
	}
	return value.Bool(true), nil
}

// foldSetIsSubset looks at a constant second array before the query runs.
func foldSetIsSubset(c *call) (node, error) {
	if b, ok := c.args[1].(*constant); ok && b.v.Type != bson.TypeArray {
		return nil, fail(17311, "both operands of $setIsSubset must be arrays. Second argument is of type: %s", value.TypeName(b.v.Type))
	}
	return c, nil
}

func setUnion(s *scope, args []node) (bson.RawValue, error) {
	var all []bson.RawValue
	for _, n := range args {
		v, err := n.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		if value.Nullish(v) {
			return value.Null(), nil
		}
		if v.Type != bson.TypeArray {
			return bson.RawValue{}, fail(17043, "All operands of $setUnion must be arrays. One argument is of type: %s", value.TypeName(v.Type))
		}
		all = append(all, value.Slice(v)...)
	}
	return value.ArrayOf(newSet(all)...), nil
}
