package expr

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func arrayOperators() map[string]*operator {
	return map[string]*operator{
		"$arrayElemAt": binary(func(arr, at bson.RawValue) (bson.RawValue, error) {
			return elementAt("$arrayElemAt", "first argument", arr, at)
		}),
		"$first": unary(func(arr bson.RawValue) (bson.RawValue, error) {
			return elementAt("$first", "argument", arr, value.Int32(0))
		}),
		"$last": unary(func(arr bson.RawValue) (bson.RawValue, error) {
			return elementAt("$last", "argument", arr, value.Int32(-1))
		}),
		"$concatArrays": {most: -1, eval: concatArrays, associative: true},
		"$in":           binary(in),
		"$indexOfArray": {least: 2, most: 4, eval: indexOfArray, folded: foldIndexOfArray},
		"$isArray":      unary(func(v bson.RawValue) (bson.RawValue, error) { return value.Bool(v.Type == bson.TypeArray), nil }),
		"$range":        {least: 2, most: 3, eval: numberRange},
		"$reverseArray": unary(reverseArray),
		"$size":         unary(size),
		"$slice":        {least: 2, most: 3, eval: slice},
		"$firstN":       edge("$firstN", V52, func(vs []bson.RawValue, n int) []bson.RawValue { return vs[:n] }),
		"$lastN":        edge("$lastN", V52, func(vs []bson.RawValue, n int) []bson.RawValue { return vs[len(vs)-n:] }),
		"$maxN":         edge("$maxN", V52, func(vs []bson.RawValue, n int) []bson.RawValue { return extreme(vs, n, -1) }),
		"$minN":         edge("$minN", V52, func(vs []bson.RawValue, n int) []bson.RawValue { return extreme(vs, n, 1) }),
	}
}

// elementAt counts from the end when the index is negative; beyond the array
// it gives missing.
func elementAt(name, which string, arr, at bson.RawValue) (bson.RawValue, error) {
	if value.Nullish(arr) || value.Nullish(at) {
		return value.Null(), nil
	}
	if arr.Type != bson.TypeArray {
		return bson.RawValue{}, fail(28689, "%s's %s must be an array, but is %s", name, which, value.TypeName(arr.Type))
	}
	if !value.IsNumber(at) {
		return bson.RawValue{}, fail(28690, "%s's second argument must be a numeric value, but is %s", name, value.TypeName(at.Type))
	}
	i, ok := value.Int32Exact(at)
	if !ok {
		return bson.RawValue{}, fail(28691, "%s's second argument must be representable as a 32-bit integer: %s", name, formatDouble(value.ToDouble(at)))
	}
	if i < 0 {
		return value.Index(arr, value.Len(arr)+int(i)), nil
	}
	return value.Index(arr, int(i)), nil
}

func concatArrays(s *scope, args []node) (bson.RawValue, error) {
	var out value.Arr
	for _, n := range args {
		v, err := n.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		if value.Nullish(v) {
			return value.Null(), nil
		}
		if v.Type != bson.TypeArray {
			return bson.RawValue{}, fail(28664, "$concatArrays only supports arrays, not %s", value.TypeName(v.Type))
		}
		out.AddAll(v)
	}
	return out.Value(), nil
}

func in(v, arr bson.RawValue) (bson.RawValue, error) {
	if arr.Type != bson.TypeArray {
		return bson.RawValue{}, fail(40081, "$in requires an array as a second argument, found: %s", value.TypeName(arr.Type))
	}
	for _, e := range value.Elements(arr) {
		if value.Equal(v, e) {
			return value.Bool(true), nil
		}
	}
	return value.Bool(false), nil
}

func indexOfArray(s *scope, args []node) (bson.RawValue, error) {
	arr, err := args[0].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	if value.Nullish(arr) {
		return value.Null(), nil
	}
	if arr.Type != bson.TypeArray {
		return bson.RawValue{}, fail(40090, "$indexOfArray requires an array as a first argument, found: %s", value.TypeName(arr.Type))
	}
	start, end, err := searchRange(s, "$indexOfArray", args, value.Len(arr))
	if err != nil {
		return bson.RawValue{}, err
	}
	wanted, err := args[1].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	for i, e := range value.Elements(arr) {
		if i >= start && i < end && value.Equal(e, wanted) {
			return value.Int32(int32(i)), nil
		}
	}
	return value.Int32(-1), nil
}

// foldIndexOfArray looks at a constant array before the query runs.
func foldIndexOfArray(c *call) (node, error) {
	arr, ok := c.args[0].(*constant)
	switch {
	case !ok || arr.v.Type == bson.TypeArray:
		return c, nil
	case value.Nullish(arr.v):
		return &constant{value.Null()}, nil
	default:
		return nil, fail(50809, "First operand of $indexOfArray must be an array. First argument is of type: %s", value.TypeName(arr.v.Type))
	}
}

// searchRange evaluates the optional third and fourth arguments of the
// $indexOf operators.
func searchRange(s *scope, name string, args []node, length int) (start, end int, err error) {
	end = length
	if len(args) > 2 {
		if start, err = searchIndex(s, name, "starting index", args[2]); err != nil {
			return 0, 0, err
		}
	}
	if len(args) > 3 {
		if end, err = searchIndex(s, name, "ending index", args[3]); err != nil {
			return 0, 0, err
		}
		end = min(end, length)
	}
	return start, end, nil
}

func searchIndex(s *scope, name, what string, n node) (int, error) {
	v, err := n.eval(s)
	if err != nil {
		return 0, err
	}
	i, ok := value.Int32Exact(v)
	if !ok {
		return 0, fail(40096, "%s requires an integral %s, found a value of type: %s, with value: %s", name, what, value.TypeName(v.Type), show(v))
	}
	if i < 0 {
		return 0, fail(40097, "%s requires a nonnegative %s, found: %s", name, what, show(v))
	}
	return int(i), nil
}

// maxRange bounds $range, which a server's memory limit would do.
const maxRange = 1 << 24

func numberRange(s *scope, args []node) (bson.RawValue, error) {
	vs := [3]bson.RawValue{2: value.Int32(1)}
	for i := range 2 {
		v, err := args[i].eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		vs[i] = v
	}
	if !value.IsNumber(vs[0]) {
		return bson.RawValue{}, fail(34443, "$range requires a numeric starting value, found value of type: %s", value.TypeName(vs[0].Type))
	}
	start, ok := value.Int32Exact(vs[0])
	if !ok {
		return bson.RawValue{}, fail(34444, "$range requires a starting value that can be represented as a 32-bit integer, found value: %s", show(vs[0]))
	}
	if !value.IsNumber(vs[1]) {
		return bson.RawValue{}, fail(34445, "$range requires a numeric ending value, found value of type: %s", value.TypeName(vs[1].Type))
	}
	end, ok := value.Int32Exact(vs[1])
	if !ok {
		return bson.RawValue{}, fail(34446, "$range requires an ending value that can be represented as a 32-bit integer, found value: %s", show(vs[1]))
	}
	step := int32(1)
	if len(args) == 3 {
		v, err := args[2].eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		if !value.IsNumber(v) {
			return bson.RawValue{}, fail(34447, "$range requires a numeric step value, found value of type: %s", value.TypeName(v.Type))
		}
		if step, ok = value.Int32Exact(v); !ok {
			return bson.RawValue{}, fail(34448, "$range requires a step value that can be represented as a 32-bit integer, found value: %s", show(v))
		}
		if step == 0 {
			return bson.RawValue{}, fail(34449, "$range requires a non-zero step value")
		}
	}
	var out value.Arr
	for i := int64(start); step > 0 && i < int64(end) || step < 0 && i > int64(end); i += int64(step) {
		if out.Len() >= maxRange {
			return bson.RawValue{}, fail(mongoerr.ExceededMemoryLimit, "$range would use too much memory: more than %d elements", maxRange)
		}
		out.Add(value.Int32(int32(i)))
	}
	return out.Value(), nil
}

func reverseArray(v bson.RawValue) (bson.RawValue, error) {
	if value.Nullish(v) {
		return value.Null(), nil
	}
	if v.Type != bson.TypeArray {
		return bson.RawValue{}, fail(34435, "The argument to $reverseArray must be an array, but was of type: %s", value.TypeName(v.Type))
	}
	vs := value.Slice(v)
	slices.Reverse(vs)
	return value.ArrayOf(vs...), nil
}

func size(v bson.RawValue) (bson.RawValue, error) {
	if v.Type != bson.TypeArray {
		return bson.RawValue{}, fail(17124, "The argument to $size must be an array, but was of type: %s", value.TypeName(v.Type))
	}
	return value.Int32(int32(value.Len(v))), nil
}

func slice(s *scope, args []node) (bson.RawValue, error) {
	arr, err := args[0].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	at, err := args[1].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	if value.Nullish(arr) || value.Nullish(at) {
		return value.Null(), nil
	}
	if arr.Type != bson.TypeArray {
		return bson.RawValue{}, fail(28724, "First argument to $slice must be an array, but is of type: %s", value.TypeName(arr.Type))
	}
	if !value.IsNumber(at) {
		return bson.RawValue{}, fail(28725, "Second argument to $slice must be a numeric value, but is of type: %s", value.TypeName(at.Type))
	}
	first, ok := value.Int32Exact(at)
	if !ok {
		return bson.RawValue{}, fail(28726, "Second argument to $slice can't be represented as a 32-bit integer: %s", formatDouble(value.ToDouble(at)))
	}
	vs := value.Slice(arr)
	start, end := 0, len(vs)
	switch {
	case len(args) == 2 && first >= 0:
		end = min(end, int(first))
	case first < 0:
		start = max(0, end+int(first))
	default:
		start = min(end, int(first))
	}
	if len(args) == 3 {
		n, err := args[2].eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		if value.Nullish(n) {
			return value.Null(), nil
		}
		if !value.IsNumber(n) {
			return bson.RawValue{}, fail(28727, "Third argument to $slice must be numeric, but is of type: %s", value.TypeName(n.Type))
		}
		count, ok := value.Int32Exact(n)
		if !ok {
			return bson.RawValue{}, fail(28728, "Third argument to $slice can't be represented as a 32-bit integer: %s", formatDouble(value.ToDouble(n)))
		}
		if count <= 0 {
			return bson.RawValue{}, fail(28729, "Third argument to $slice must be positive: %d", count)
		}
		end = min(start+int(count), end)
	}
	return value.ArrayOf(vs[start:end]...), nil
}

// edge is an operator that takes n elements of an array.
func edge(name string, since Version, take func(vs []bson.RawValue, n int) []bson.RawValue) *operator {
	return &operator{
		since: since, notObject: 5787801, unknown: 5787901,
		params: []param{{"n", 5787906}, {"input", 5787907}},
		eval: func(s *scope, args []node) (bson.RawValue, error) {
			nv, err := args[0].eval(s)
			if err != nil {
				return bson.RawValue{}, err
			}
			n, err := CheckN(nv)
			if err != nil {
				return bson.RawValue{}, err
			}
			v, err := args[1].eval(s)
			if err != nil {
				return bson.RawValue{}, err
			}
			if v.Type != bson.TypeArray {
				return bson.RawValue{}, fail(5788200, "%s: input must be an array", name)
			}
			vs := value.Slice(v)
			if name == "$maxN" || name == "$minN" {
				vs = slices.DeleteFunc(vs, value.Nullish)
			}
			return value.ArrayOf(take(vs, min(n, len(vs)))...), nil
		},
	}
}

// CheckN reads the n of $firstN and its like: a positive integer.
func CheckN(v bson.RawValue) (int, error) {
	if !value.IsNumber(v) {
		return 0, fail(5787902, "Value for 'n' must be of integral type, but found %s", show(v))
	}
	n, ok := value.Int64Exact(v)
	if !ok {
		return 0, fail(5787903, "Value for 'n' must be of integral type, but found %s", show(v))
	}
	if n <= 0 {
		return 0, fail(5787908, "'n' must be greater than 0, found %d", n)
	}
	return int(n), nil
}

func extreme(vs []bson.RawValue, n, sense int) []bson.RawValue {
	slices.SortStableFunc(vs, func(a, b bson.RawValue) int { return sense * value.Compare(a, b) })
	return vs[:n]
}
