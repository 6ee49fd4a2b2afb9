package expr

import "github.com/annals-es/annals/query/internal/name"

// ArrayElemAt ($arrayElemAt) is the element at the index; a negative index counts from the end.
func ArrayElemAt(array, index any) Expr { return nary("$arrayElemAt", array, index) }

// ArrayToObject ($arrayToObject) is a document out of an array of pairs.
func ArrayToObject(array any) Expr { return unary("$arrayToObject", array) }

// ConcatArrays ($concatArrays) is the elements of all arrays, one array after the other.
func ConcatArrays(xs ...any) Expr { return variadic("$concatArrays", 1, xs) }

// First ($first) is the first element of the array.
func First(array any) Expr { return unary("$first", array) }

// Last ($last) is the last element of the array.
func Last(array any) Expr { return unary("$last", array) }

// In ($in) is true if x is an element of the array.
func In(x, array any) Expr { return nary("$in", x, array) }

// IsArray ($isArray) is true if x is an array.
func IsArray(x any) Expr { return nary("$isArray", x) }

// ObjectToArray ($objectToArray) is an array of {k, v} out of a document.
func ObjectToArray(document any) Expr { return unary("$objectToArray", document) }

// ReverseArray ($reverseArray) is the array from end to start.
func ReverseArray(array any) Expr { return unary("$reverseArray", array) }

// Size ($size) is the number of elements of the array.
func Size(array any) Expr { return unary("$size", array) }

// Slice ($slice) is the first n elements of the array, or the last -n.
func Slice(array, n any) Expr { return nary("$slice", array, n) }

// SetDifference ($setDifference) is the elements of x that are not in y.
func SetDifference(x, y any) Expr { return nary("$setDifference", x, y) }

// SetEquals ($setEquals) is true if the arrays have the same distinct elements.
func SetEquals(xs ...any) Expr { return variadic("$setEquals", 2, xs) }

// SetIntersection ($setIntersection) is the elements found in all arrays.
func SetIntersection(xs ...any) Expr { return variadic("$setIntersection", 1, xs) }

// SetIsSubset ($setIsSubset) is true if all elements of x are in y.
func SetIsSubset(x, y any) Expr { return nary("$setIsSubset", x, y) }

// SetUnion ($setUnion) is the elements found in any array.
func SetUnion(xs ...any) Expr { return variadic("$setUnion", 1, xs) }

// AllElementsTrue ($allElementsTrue) is true if no element is false, null or 0.
func AllElementsTrue(array any) Expr { return nary("$allElementsTrue", array) }

// AnyElementTrue ($anyElementTrue) is true if any element is true.
func AnyElementTrue(array any) Expr { return nary("$anyElementTrue", array) }

// Sum ($sum) is the sum of the arguments, or of the elements of a single array; what is not a number is left out.
func Sum(xs ...any) Expr { return accumulating("$sum", xs) }

// Avg ($avg) is the average of the arguments, or of the elements of a single array.
func Avg(xs ...any) Expr { return accumulating("$avg", xs) }

// Min ($min) is the least argument, or element of a single array.
func Min(xs ...any) Expr { return accumulating("$min", xs) }

// Max ($max) is the greatest argument, or element of a single array.
func Max(xs ...any) Expr { return accumulating("$max", xs) }

// StdDevPop ($stdDevPop) is the standard deviation of a population.
func StdDevPop(xs ...any) Expr { return accumulating("$stdDevPop", xs) }

// StdDevSamp ($stdDevSamp) is the standard deviation of a sample.
func StdDevSamp(xs ...any) Expr { return accumulating("$stdDevSamp", xs) }

// SliceFrom ($slice) is n elements of the array from the position on; a negative position
// counts from the end.
func SliceFrom(array, position, n any) Expr { return nary("$slice", array, position, n) }

// Range ($range) is the numbers from start up to, without, end.
func Range(start, end, step any) Expr { return nary("$range", start, end, step) }

// Filter ($filter) is the elements for which the condition is true. Inside the
// condition, Var(as) is the element; an empty as means This.
func Filter(array any, as string, condition any) Expr {
	return each("$filter", array, as, "cond", condition)
}

// Map ($map) is the array of what the expression gives for each element. Inside
// of it, Var(as) is the element; an empty as means This.
func Map(array any, as string, in any) Expr { return each("$map", array, as, "in", in) }

func each(op string, array any, as, key string, x any) Expr {
	if as == "" {
		return named(op, need("input", array), need(key, x))
	}
	if err := name.Variable(as); err != nil {
		return failf("%s: %w", op, err)
	}
	return named(op, need("input", array), need("as", as), need(key, x))
}

// Reduce ($reduce) folds the array. Inside of in, Accumulated is the result so
// far and This the element.
func Reduce(array, initial, in any) Expr {
	return named("$reduce", need("input", array), need("initialValue", initial), need("in", in))
}

// Zip ($zip) turns rows into columns: the first elements of all arrays, then
// the second ones, and so on to the end of the shortest.
func Zip(arrays ...any) Expr {
	if len(arrays) == 0 {
		return failf("$zip needs at least one array")
	}
	return named("$zip", need("inputs", Array(arrays...)))
}

// ZipLongest is Zip to the end of the longest array; what is missing is
// taken from the defaults, one for each array.
func ZipLongest(defaults []any, arrays ...any) Expr {
	if len(defaults) != len(arrays) || len(arrays) == 0 {
		return failf("$zip has %d arrays and %d defaults", len(arrays), len(defaults))
	}
	return named("$zip", need("inputs", Array(arrays...)), need("useLongestLength", true), need("defaults", Array(defaults...)))
}

// SortArray ($sortArray) sorts the elements, ascending or descending (server 5.2).
func SortArray(array any, descending bool) Expr {
	direction := 1
	if descending {
		direction = -1
	}
	return named("$sortArray", need("input", array), need("sortBy", direction))
}

// FirstN ($firstN) is the first n elements of the array (server 5.2).
func FirstN(array, n any) Expr { return named("$firstN", need("input", array), need("n", n)) }

// LastN ($lastN) is the last n elements of the array (server 5.2).
func LastN(array, n any) Expr { return named("$lastN", need("input", array), need("n", n)) }

// MinN ($minN) is the n least elements of the array (server 5.2).
func MinN(array, n any) Expr { return named("$minN", need("input", array), need("n", n)) }

// MaxN ($maxN) is the n greatest elements of the array (server 5.2).
func MaxN(array, n any) Expr { return named("$maxN", need("input", array), need("n", n)) }

// Median ($median) is the median of the numbers, approximated (server 7.0).
func Median(numbers any) Expr {
	return named("$median", need("input", numbers), need("method", "approximate"))
}

// Percentile ($percentile) is the array of the percentiles p (0 to 1) of the
// numbers, approximated (server 7.0).
func Percentile(numbers any, p ...float64) Expr {
	return named("$percentile", need("input", numbers), need("p", p), need("method", "approximate"))
}
