package expr

import (
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// An Accumulator takes values one after the other and gives a result, which
// it may be asked for at any time. It isn't safe for concurrent use.
type Accumulator interface {
	Add(v bson.RawValue) error
	Value() bson.RawValue
}

// maxHeld bounds what $push and $addToSet may hold.
const maxHeld = 100 << 20

// accumulatorOperators are the accumulators that work as expressions too: on
// several arguments, or on the elements of one.
func accumulatorOperators() map[string]*operator {
	op := func(make func() Accumulator, merges bool) *operator {
		return &operator{most: -1, spreads: true, associative: merges, commutative: merges, eval: func(s *scope, args []node) (bson.RawValue, error) {
			return accumulate(s, args, make())
		}}
	}
	return map[string]*operator{
		"$sum":          op(newSum, true),
		"$avg":          op(newAverage, false),
		"$min":          op(newMin, true),
		"$max":          op(newMax, true),
		"$stdDevPop":    op(newDeviation(false), false),
		"$stdDevSamp":   op(newDeviation(true), false),
		"$mergeObjects": op(newMerger, false),
	}
}

func accumulate(s *scope, args []node, acc Accumulator) (bson.RawValue, error) {
	for _, n := range args {
		v, err := n.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		if len(args) > 1 || v.Type != bson.TypeArray {
			if err := acc.Add(v); err != nil {
				return bson.RawValue{}, err
			}
			continue
		}
		for _, e := range value.Elements(v) {
			if err := acc.Add(e); err != nil {
				return bson.RawValue{}, err
			}
		}
	}
	return acc.Value(), nil
}

// NewAccumulator makes the accumulator of $group that has the name and takes
// one expression; ok is false if there is none.
func NewAccumulator(name string) (make func() Accumulator, ok bool) {
	switch name {
	case "$sum":
		return newSum, true
	case "$avg":
		return newAverage, true
	case "$min":
		return newMin, true
	case "$max":
		return newMax, true
	case "$first":
		return func() Accumulator { return &firstValue{} }, true
	case "$last":
		return func() Accumulator { return &lastValue{} }, true
	case "$push":
		return func() Accumulator { return &pusher{} }, true
	case "$addToSet":
		return func() Accumulator { return &distinct{seen: map[string]struct{}{}} }, true
	case "$stdDevPop":
		return newDeviation(false), true
	case "$stdDevSamp":
		return newDeviation(true), true
	case "$mergeObjects":
		return newMerger, true
	}
	return nil, false
}

type sum struct{ t total }

func newSum() Accumulator { return &sum{newTotal()} }

func (a *sum) Add(v bson.RawValue) error {
	a.t.add(v)
	return nil
}
func (a *sum) Value() bson.RawValue { return a.t.value() }

type average struct {
	t total
	n int64
}

func newAverage() Accumulator { return &average{t: newTotal()} }

func (a *average) Add(v bson.RawValue) error {
	if value.IsNumber(v) {
		if v.Type == bson.TypeInt32 { // as a double, unlike in a sum
			a.t.inexact.add(float64(value.AsInt32(v)))
		} else {
			a.t.add(v)
		}
		a.n++
	}
	return nil
}

func (a *average) Value() bson.RawValue {
	switch {
	case a.n == 0:
		return value.Null()
	case a.t.widest == bson.TypeDecimal128:
		return a.t.asDecimal().Quo(value.DecimalFromInt(a.n)).Value()
	default:
		return value.Double(a.t.inexact.double() / float64(a.n))
	}
}

// extremum is $min (sense 1) or $max (-1).
type extremum struct {
	best  bson.RawValue
	sense int
}

func newMin() Accumulator { return &extremum{sense: 1} }
func newMax() Accumulator { return &extremum{sense: -1} }

func (a *extremum) Add(v bson.RawValue) error {
	if !value.Nullish(v) && (a.best.Type == 0 || value.Compare(a.best, v)*a.sense > 0) {
		a.best = v
	}
	return nil
}

func (a *extremum) Value() bson.RawValue { return orNull(a.best) }

type firstValue struct {
	v   bson.RawValue
	any bool
}

func (a *firstValue) Add(v bson.RawValue) error {
	if !a.any {
		a.v, a.any = v, true
	}
	return nil
}
func (a *firstValue) Value() bson.RawValue { return a.v }

type lastValue struct{ v bson.RawValue }

func (a *lastValue) Add(v bson.RawValue) error {
	a.v = v
	return nil
}
func (a *lastValue) Value() bson.RawValue { return a.v }

// pusher collects what isn't missing.
type pusher struct {
	vs   []bson.RawValue
	size int
}

func (a *pusher) Add(v bson.RawValue) error {
	if v.Type == 0 {
		return nil
	}
	a.vs = append(a.vs, v)
	if a.size += len(v.Value) + 16; a.size > maxHeld {
		return fail(mongoerr.ExceededMemoryLimit, "$push used too much memory and cannot spill to disk. Memory limit: %d bytes", maxHeld)
	}
	return nil
}
func (a *pusher) Value() bson.RawValue { return value.ArrayOf(a.vs...) }

// distinct collects each value once, in the order in which they come.
type distinct struct {
	pusher
	seen map[string]struct{}
	key  []byte
}

func (a *distinct) Add(v bson.RawValue) error {
	if v.Type == 0 {
		return nil
	}
	a.key = value.AppendKey(a.key[:0], v, false)
	if _, old := a.seen[string(a.key)]; old {
		return nil
	}
	a.seen[string(a.key)] = struct{}{}
	return a.pusher.Add(v)
}

// deviation is the standard deviation, calculated as values come (Welford).
type deviation struct {
	sample   bool
	n        int64
	mean, m2 float64
}

func newDeviation(sample bool) func() Accumulator {
	return func() Accumulator { return &deviation{sample: sample} }
}

func (a *deviation) Add(v bson.RawValue) error {
	if !value.IsNumber(v) {
		return nil
	}
	f := value.ToDouble(v)
	a.n++
	delta := f - a.mean
	a.mean += float64(delta / float64(a.n))
	a.m2 += float64(delta * float64(f-a.mean))
	return nil
}

func (a *deviation) Value() bson.RawValue {
	n := a.n
	if a.sample {
		n--
	}
	if n <= 0 {
		return value.Null()
	}
	return value.Double(math.Sqrt(a.m2 / float64(n)))
}

// merger is $mergeObjects: later fields replace earlier ones in their place.
type merger struct{ fields fieldList }

func newMerger() Accumulator { return &merger{} }

func (a *merger) Add(v bson.RawValue) error {
	if value.Nullish(v) {
		return nil
	}
	if v.Type != bson.TypeEmbeddedDocument {
		return fail(40400, "$mergeObjects requires object inputs, but input %s is of type %s", show(v), value.TypeName(v.Type))
	}
	for k, e := range value.Fields(v.Value) {
		a.fields.set(k, e)
	}
	return nil
}

func (a *merger) Value() bson.RawValue { return value.Doc(a.fields.doc()) }
