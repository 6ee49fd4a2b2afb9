// Package acc builds the accumulators of $group, $bucket, $bucketAuto and
// $setWindowFields.
//
// Arguments are taken as in package expr: an expr.Expr is an expression, everything
// else is data. Mistakes are kept inside the Accumulator and come out of
// Build. There is no $accumulator: code that runs on the server is not offered.
package acc

import (
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/expr"
)

// An Accumulator computes one value out of the documents of a group or a
// window. The zero Accumulator is invalid.
type Accumulator struct {
	op     string
	value  any
	window bson.D
	// where says in which stages the operator may stand.
	where where
	err   error
}

type where uint8

const (
	inGroup where = 1 << iota
	inWindow
	// wholePartition operators take no window bounds.
	wholePartition
)

// NotAValue keeps an Accumulator from being taken for a value.
func (a Accumulator) NotAValue() string { return "an acc.Accumulator" }

// BuildGroup returns the accumulator for $group and the $bucket stages.
func (a Accumulator) BuildGroup() (bson.D, error) {
	if err := a.check(inGroup, "a group"); err != nil {
		return nil, err
	}
	if a.window != nil {
		return nil, fmt.Errorf("%s: a window belongs into SetWindowFields", a.op)
	}
	return bson.D{{Key: a.op, Value: a.value}}, nil
}

// BuildWindow returns the accumulator for $setWindowFields.
func (a Accumulator) BuildWindow() (bson.D, error) {
	if err := a.check(inWindow, "a window"); err != nil {
		return nil, err
	}
	d := bson.D{{Key: a.op, Value: a.value}}
	if a.window == nil {
		return d, nil
	}
	if a.where&wholePartition != 0 {
		return nil, fmt.Errorf("%s takes no window: it sees the whole partition", a.op)
	}
	return append(d, bson.E{Key: "window", Value: a.window}), nil
}

func (a Accumulator) check(need where, place string) error {
	switch {
	case a.err != nil:
		return a.err
	case a.op == "":
		return errors.New("accumulator is empty")
	case a.where&need == 0:
		return fmt.Errorf("%s can't stand in %s", a.op, place)
	}
	return nil
}

func of(op string, w where, x any) Accumulator {
	v, err := expr.Of(x).Build()
	if err != nil {
		return Accumulator{op: op, err: fmt.Errorf("%s: %w", op, err)}
	}
	if _, isArray := v.(bson.A); isArray {
		v = bson.D{{Key: "$concatArrays", Value: bson.A{v}}}
	}
	return Accumulator{op: op, value: v, where: w}
}

type param struct {
	name  string
	value any
}

func named(op string, w where, params ...param) Accumulator {
	d := make(bson.D, 0, len(params))
	for _, p := range params {
		v, err := expr.Of(p.value).Build()
		if err != nil {
			return Accumulator{op: op, err: fmt.Errorf("%s: %s: %w", op, p.name, err)}
		}
		d = append(d, bson.E{Key: p.name, Value: v})
	}
	return Accumulator{op: op, value: d, where: w}
}

const anywhere = inGroup | inWindow

// Sum adds up x; what is not a number counts as 0. Sum(1) counts documents on every server.
func Sum(x any) Accumulator { return of("$sum", anywhere, x) }

// Avg is the average of the numbers among x, null if there is none.
func Avg(x any) Accumulator { return of("$avg", anywhere, x) }

// Min is the least x that is neither null nor missing.
func Min(x any) Accumulator { return of("$min", anywhere, x) }

// Max is the greatest x that is neither null nor missing.
func Max(x any) Accumulator { return of("$max", anywhere, x) }

// First is x of the first document; sort before.
func First(x any) Accumulator { return of("$first", anywhere, x) }

// Last is x of the last document; sort before.
func Last(x any) Accumulator { return of("$last", anywhere, x) }

// Push is the array of all x.
func Push(x any) Accumulator { return of("$push", anywhere, x) }

// AddToSet is the array of all distinct x, in no particular order.
func AddToSet(x any) Accumulator { return of("$addToSet", anywhere, x) }

// StdDevPop is the standard deviation of a population.
func StdDevPop(x any) Accumulator { return of("$stdDevPop", anywhere, x) }

// StdDevSamp is the standard deviation of a sample.
func StdDevSamp(x any) Accumulator { return of("$stdDevSamp", anywhere, x) }

// MergeObjects is one document out of all x; later fields win.
func MergeObjects(x any) Accumulator { return of("$mergeObjects", inGroup, x) }

// Count is the number of documents (server 5.0; on older ones use Sum(1)).
func Count() Accumulator { return Accumulator{op: "$count", value: bson.D{}, where: anywhere} }

// FirstN is the array of the first n x (server 5.2).
func FirstN(n, x any) Accumulator { return nOf("$firstN", n, x) }

// LastN is the array of the last n x (server 5.2).
func LastN(n, x any) Accumulator { return nOf("$lastN", n, x) }

// MinN is the array of the n least x (server 5.2).
func MinN(n, x any) Accumulator { return nOf("$minN", n, x) }

// MaxN is the array of the n greatest x (server 5.2).
func MaxN(n, x any) Accumulator { return nOf("$maxN", n, x) }

func nOf(op string, n, x any) Accumulator {
	return named(op, anywhere, param{"input", x}, param{"n", n})
}

// A Key is one field of an order. query.SortKey is one.
type Key interface {
	SortField() (path string, direction any, err error)
}

// Top is output of the document that comes first in the order (server 5.2).
func Top(output any, by ...Key) Accumulator { return ordered("$top", nil, output, by) }

// Bottom is output of the document that comes last in the order (server 5.2).
func Bottom(output any, by ...Key) Accumulator { return ordered("$bottom", nil, output, by) }

// TopN is the array of output of the first n documents in the order (server 5.2).
func TopN(n, output any, by ...Key) Accumulator { return ordered("$topN", n, output, by) }

// BottomN is the array of output of the last n documents in the order (server 5.2).
func BottomN(n, output any, by ...Key) Accumulator { return ordered("$bottomN", n, output, by) }

func ordered(op string, n, output any, by []Key) Accumulator {
	if len(by) == 0 {
		return Accumulator{op: op, err: fmt.Errorf("%s needs an order", op)}
	}
	sort := make(bson.D, 0, len(by))
	for _, k := range by {
		path, direction, err := k.SortField()
		if err != nil {
			return Accumulator{op: op, err: fmt.Errorf("%s: %w", op, err)}
		}
		sort = append(sort, bson.E{Key: path, Value: direction})
	}
	params := []param{{"output", output}}
	if n != nil {
		params = append(params, param{"n", n})
	}
	a := named(op, anywhere, params...)
	if a.err == nil {
		a.value = append(a.value.(bson.D), bson.E{Key: "sortBy", Value: sort})
	}
	return a
}

// Median is the median of x, approximated (server 7.0).
func Median(x any) Accumulator {
	return named("$median", anywhere, param{"input", x}, param{"method", "approximate"})
}

// Percentile is the array of the percentiles p (0 to 1) of x, approximated (server 7.0).
func Percentile(x any, p ...float64) Accumulator {
	if len(p) == 0 {
		return Accumulator{op: "$percentile", err: errors.New("$percentile needs at least one percentile")}
	}
	list := make(bson.A, len(p))
	for i, v := range p {
		if !(v >= 0 && v <= 1) {
			return Accumulator{op: "$percentile", err: fmt.Errorf("$percentile: %v is not within 0 and 1", v)}
		}
		list[i] = v
	}
	a := named("$percentile", anywhere, param{"input", x})
	if a.err == nil {
		a.value = append(a.value.(bson.D), bson.E{Key: "p", Value: list}, bson.E{Key: "method", Value: "approximate"})
	}
	return a
}

// Unchecked takes an accumulator as it is, for operators that this package
// doesn't know yet. $accumulator and $function are refused.
func Unchecked(d bson.D) Accumulator {
	if len(d) != 1 {
		return Accumulator{err: errors.New("unchecked accumulator: want a document with one operator")}
	}
	v, err := expr.Unchecked(d).Build()
	if err != nil {
		return Accumulator{err: err}
	}
	e := v.(bson.D)[0]
	return Accumulator{op: e.Key, value: e.Value, where: anywhere}
}
