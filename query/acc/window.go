package acc

import (
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/expr"
)

// A Bound is one end of a window.
type Bound struct{ value any }

// Unbounded is the end of the partition.
func Unbounded() Bound { return Bound{"unbounded"} }

// Here is the document at hand.
func Here() Bound { return Bound{"current"} }

// Offset is so many documents (OverDocuments), or so much in value or time
// (OverRange), before (negative) or after the document at hand.
func Offset(n float64) Bound {
	if n == float64(int64(n)) {
		return Bound{int(n)}
	}
	return Bound{n}
}

// OverDocuments limits the window to documents by their place in the order.
func (a Accumulator) OverDocuments(from, to Bound) Accumulator {
	return a.over("documents", from, to, "")
}

// OverRange limits the window to documents by the value of the one field that they are
// ordered by.
func (a Accumulator) OverRange(from, to Bound) Accumulator { return a.over("range", from, to, "") }

// OverTime limits the window to documents by a date, the one field that they are ordered by.
func (a Accumulator) OverTime(from, to Bound, unit expr.Unit) Accumulator {
	if !unit.Valid() {
		a.err = fmt.Errorf("%s: %q is no unit of time", a.op, unit)
		return a
	}
	return a.over("range", from, to, unit)
}

func (a Accumulator) over(key string, from, to Bound, unit expr.Unit) Accumulator {
	if a.err != nil {
		return a
	}
	if from.value == nil || to.value == nil {
		a.err = fmt.Errorf("%s: a bound of the window is empty", a.op)
		return a
	}
	if key == "documents" {
		for _, b := range []Bound{from, to} {
			if _, fraction := b.value.(float64); fraction {
				a.err = fmt.Errorf("%s: the window counts documents, %v is not a whole number", a.op, b.value)
				return a
			}
		}
	}
	if number(from) > number(to) {
		a.err = fmt.Errorf("%s: the window ends before it starts", a.op)
		return a
	}
	a.window = bson.D{{Key: key, Value: bson.A{from.value, to.value}}}
	if unit != "" {
		a.window = append(a.window, bson.E{Key: "unit", Value: string(unit)})
	}
	return a
}

// number orders two bounds as far as they can be compared.
func number(b Bound) float64 {
	switch n := b.value.(type) {
	case int:
		return float64(n)
	case float64:
		return n
	}
	return 0
}

const partition = inWindow | wholePartition

// Rank is the document's place in the order, equal documents sharing one and
// leaving a gap behind (server 5.0, SetWindowFields only, as all that follow).
func Rank() Accumulator { return Accumulator{op: "$rank", value: bson.D{}, where: partition} }

// DenseRank is Rank without gaps.
func DenseRank() Accumulator { return Accumulator{op: "$denseRank", value: bson.D{}, where: partition} }

// DocumentNumber numbers the documents of the partition from 1.
func DocumentNumber() Accumulator {
	return Accumulator{op: "$documentNumber", value: bson.D{}, where: partition}
}

// Shift is output of the document so many places further on (negative: back), or
// otherwise beyond the ends of the partition.
func Shift(output any, by int, otherwise any) Accumulator {
	return named("$shift", partition, param{"output", output}, param{"by", by}, param{"default", otherwise})
}

// Derivative is the rate of change of x within the window; an empty unit means that the
// order is by a number.
func Derivative(x any, unit expr.Unit) Accumulator { return overUnit("$derivative", x, unit) }

// Integral is the area under x within the window.
func Integral(x any, unit expr.Unit) Accumulator { return overUnit("$integral", x, unit) }

func overUnit(op string, x any, unit expr.Unit) Accumulator {
	if unit == "" {
		return named(op, inWindow, param{"input", x})
	}
	if !unit.Valid() {
		return Accumulator{op: op, err: fmt.Errorf("%s: %q is no unit of time", op, unit)}
	}
	return named(op, inWindow, param{"input", x}, param{"unit", string(unit)})
}

// CovariancePop is the covariance of x and y as a population.
func CovariancePop(x, y any) Accumulator {
	return of("$covariancePop", inWindow, expr.Array(x, y)).pair()
}

// CovarianceSamp is the covariance of x and y as a sample.
func CovarianceSamp(x, y any) Accumulator {
	return of("$covarianceSamp", inWindow, expr.Array(x, y)).pair()
}

// pair undoes the wrapping of arrays: the two arguments are a list here.
func (a Accumulator) pair() Accumulator {
	if d, wrapped := a.value.(bson.D); wrapped {
		a.value = d[0].Value.(bson.A)[0]
	}
	return a
}

// ExpMovingAvg is the exponential moving average over about n documents.
func ExpMovingAvg(x any, n int) Accumulator {
	if n <= 0 {
		return Accumulator{op: "$expMovingAvg", err: fmt.Errorf("$expMovingAvg: N is %d, it must be positive", n)}
	}
	return named("$expMovingAvg", partition, param{"input", x}, param{"N", n})
}

// ExpMovingAvgAlpha is the exponential moving average with the given decay,
// between 0 and 1.
func ExpMovingAvgAlpha(x any, alpha float64) Accumulator {
	if !(alpha > 0 && alpha < 1) {
		return Accumulator{op: "$expMovingAvg", err: fmt.Errorf("$expMovingAvg: alpha is %v, it must be between 0 and 1", alpha)}
	}
	return named("$expMovingAvg", partition, param{"input", x}, param{"alpha", alpha})
}

// LinearFill fills nulls by a line between the values around them (server 5.3).
func LinearFill(x any) Accumulator { return of("$linearFill", partition, x) }

// LOCF carries the last value that is not null forward (server 5.2).
func LOCF(x any) Accumulator { return of("$locf", partition, x) }
