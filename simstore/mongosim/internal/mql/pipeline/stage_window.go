package pipeline

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/order"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// windowStage is $setWindowFields.
type windowStage struct {
	by      *expr.Expr // nil: one partition
	order   *order.Order
	sortKey string // the path to sort by, if it is only one
	outputs []windowOutput
}

// A windowOutput is a field and the function of a window that fills it.
type windowOutput struct {
	path   []string
	f      windowFunction
	bounds bounds
}

// A windowFunction calculates a value for the document at position i of a
// partition; from and to delimit its window.
type windowFunction interface {
	fold() error
	calculate(p *partition, i, from, to int) (bson.RawValue, error)
}

// A partition is the documents of one partition, in order.
type partition struct {
	docs    []bson.Raw
	keys    [][]byte // by which they are ordered
	sortKey string
	vars    expr.Vars
}

// bounds are those of a window: positions relative to the document, or a range
// of its sort key.
type bounds struct {
	documents, ranged bool
	low, high         bound
	unit              expr.Unit
	hasUnit           bool
}

type bound struct {
	unbounded bool
	offset    bson.RawValue // a number; 0 is "current"
}

func parseSetWindowFields(p *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(mongoerr.FailedToParse, "the $setWindowFields stage specification must be an object, found %s", value.TypeName(arg.Type))
	}
	w := &windowStage{order: &order.Order{}}
	var output bson.RawValue
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch k {
		case "partitionBy":
			w.by, err = expr.ParseLazily(v, p.env)
		case "sortBy":
			if v.Type != bson.TypeEmbeddedDocument {
				return nil, fail(mongoerr.TypeMismatch, "BSON field '$setWindowFields.sortBy' is the wrong type '%s', expected type 'object'", value.TypeName(v.Type))
			}
			if w.order, err = order.Parse(v.Value); err == nil && value.Len(v) == 1 {
				w.sortKey, _, _, _ = value.Next(value.Body(v.Value))
			}
		case "output":
			output = v
		default:
			err = fail(40415, "BSON field '$setWindowFields.%s' is an unknown field.", k)
		}
		if err != nil {
			return nil, err
		}
	}
	if output.Type != bson.TypeEmbeddedDocument {
		return nil, fail(40414, "BSON field '$setWindowFields.output' is missing but a required field")
	}
	for name, v := range value.Fields(output.Value) {
		o, err := w.parseOutput(p, name, v)
		if err != nil {
			return nil, err
		}
		w.outputs = append(w.outputs, o)
	}
	return []stage{w}, nil
}

func (w *windowStage) parseOutput(p *parser, name string, v bson.RawValue) (windowOutput, error) {
	var o windowOutput
	var err error
	if o.path, err = parsePath(name); err != nil {
		return o, err
	}
	if v.Type != bson.TypeEmbeddedDocument {
		return o, fail(mongoerr.FailedToParse, "The field '%s' must be an object", name)
	}
	o.bounds = bounds{documents: true, low: bound{unbounded: true}, high: bound{unbounded: true}}
	function, arg := "", bson.RawValue{}
	for k, e := range value.Fields(v.Value) {
		switch {
		case k == "window":
			if o.bounds, err = parseBounds(e); err != nil {
				return o, err
			}
		case strings.HasPrefix(k, "$") && function == "":
			function, arg = k, e
		default:
			return o, fail(mongoerr.FailedToParse, "Window function found an unknown argument: %s", k)
		}
	}
	if o.bounds.ranged && w.sortKey == "" {
		return o, fail(5339902, "Range-based bounds require sortBy a single field")
	}
	o.f, err = parseWindowFunction(p, w, function, arg)
	return o, err
}

func parseBounds(v bson.RawValue) (bounds, error) {
	var b bounds
	if v.Type != bson.TypeEmbeddedDocument {
		return b, fail(mongoerr.FailedToParse, "'window' field must be an object")
	}
	for k, e := range value.Fields(v.Value) {
		switch k {
		case "documents", "range":
			if b.documents || b.ranged {
				return b, fail(mongoerr.FailedToParse, "Window bounds can specify either 'documents' or 'range', not both.")
			}
			b.documents, b.ranged = k == "documents", k == "range"
			if e.Type != bson.TypeArray || value.Len(e) != 2 {
				return b, fail(mongoerr.FailedToParse, "Window bounds must be a 2-element array: %s", expr.Show(e))
			}
			var err error
			if b.low, err = parseBound(value.Index(e, 0), b.documents); err != nil {
				return b, err
			}
			if b.high, err = parseBound(value.Index(e, 1), b.documents); err != nil {
				return b, err
			}
		case "unit":
			if b.unit, b.hasUnit = expr.UnitByName(value.AsString(e)); !b.hasUnit {
				return b, fail(mongoerr.FailedToParse, "unknown time unit value: %s", expr.Show(e))
			}
		default:
			return b, fail(mongoerr.FailedToParse, "'window' field found an unknown argument: %s", k)
		}
	}
	if b.hasUnit && !b.ranged {
		return b, fail(mongoerr.FailedToParse, "Window bounds can only specify 'unit' with range-based bounds.")
	}
	if !b.documents && !b.ranged {
		b = bounds{documents: true, low: bound{unbounded: true}, high: bound{unbounded: true}}
	}
	if !b.low.unbounded && !b.high.unbounded && value.Compare(b.low.offset, b.high.offset) > 0 {
		return b, fail(5339900, "Lower bound must not exceed upper bound")
	}
	return b, nil
}

func parseBound(v bson.RawValue, whole bool) (bound, error) {
	switch {
	case v.Type == bson.TypeString && value.AsString(v) == "unbounded":
		return bound{unbounded: true}, nil
	case v.Type == bson.TypeString && value.AsString(v) == "current":
		return bound{offset: value.Int32(0)}, nil
	case !value.IsNumber(v):
		return bound{}, fail(mongoerr.FailedToParse, "Window bounds must be 'unbounded', 'current', or a number.")
	}
	if _, ok := value.Int32Exact(v); whole && !ok {
		return bound{}, fail(mongoerr.FailedToParse, "Numeric document-based bounds must be an integer")
	}
	return bound{offset: v}, nil
}

func (w *windowStage) fold() error {
	if w.by != nil {
		if err := w.by.Fold(); err != nil {
			return err
		}
	}
	for _, o := range w.outputs {
		if err := o.f.fold(); err != nil {
			return err
		}
	}
	return nil
}

func (w *windowStage) run(r *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		parts := map[string]*partition{}
		var list []*partition
		var names []string
		windowed := after(in, func(doc bson.Raw) error {
			key := ""
			if w.by != nil {
				v, err := w.by.Eval(doc, r.vars)
				if err != nil {
					return err
				}
				if v.Type == bson.TypeArray {
					return fail(mongoerr.TypeMismatch, "An expression used to partition cannot evaluate to value of type array")
				}
				if v.Type == 0 {
					v = value.Null()
				}
				key = string(value.AppendKey(nil, v, false))
			}
			at := parts[key]
			if at == nil {
				at = &partition{sortKey: w.sortKey, vars: r.vars}
				parts[key] = at
				names = append(names, key)
			}
			at.docs = append(at.docs, doc)
			return nil
		}, func(emit func(bson.Raw) bool) error {
			slices.Sort(names) // the server sorts by partition first
			for _, name := range names {
				list = append(list, parts[name])
			}
			for _, at := range list {
				if more, err := w.emit(at, emit); err != nil || !more {
					return err
				}
			}
			return nil
		})
		windowed(yield)
	}
}

func (w *windowStage) emit(p *partition, emit func(bson.Raw) bool) (more bool, err error) {
	if err := w.order.Sort(p.docs); err != nil {
		return false, err
	}
	p.keys = make([][]byte, len(p.docs))
	for i, doc := range p.docs {
		if p.keys[i], err = w.order.AppendKey(nil, doc); err != nil {
			return false, err
		}
	}
	for i, doc := range p.docs {
		out := doc
		for _, o := range w.outputs {
			from, to, err := o.bounds.window(p, i)
			if err != nil {
				return false, err
			}
			v, err := o.f.calculate(p, i, from, to)
			if err != nil {
				return false, err
			}
			out = withPath(out, o.path, v)
		}
		if !emit(out) {
			return false, nil
		}
	}
	return true, nil
}

// window gives the half-open range of positions of a document's window.
func (b bounds) window(p *partition, i int) (from, to int, err error) {
	n := len(p.docs)
	from, to = 0, n
	if b.documents {
		if !b.low.unbounded {
			from = min(max(i+int(value.ClampInt64(b.low.offset)), 0), n)
		}
		if !b.high.unbounded {
			to = min(max(i+int(value.ClampInt64(b.high.offset))+1, from), n)
		}
		return from, max(to, from), nil
	}
	at := value.Lookup(p.docs[i], p.sortKey)
	if b.hasUnit && at.Type != bson.TypeDateTime {
		return 0, 0, fail(5429513, "Expected the sortBy field to be a Date, but it was %s", value.TypeName(at.Type))
	}
	if !b.hasUnit && !value.IsNumber(at) {
		return 0, 0, fail(5429414, "Invalid range: Expected the sortBy field to be a number, but it was %s", value.TypeName(at.Type))
	}
	inside := func(j int) (low, high bool) {
		v := value.Lookup(p.docs[j], p.sortKey)
		low = b.low.unbounded || value.Compare(v, b.shift(at, b.low)) >= 0
		high = b.high.unbounded || value.Compare(v, b.shift(at, b.high)) <= 0
		return low, high
	}
	from, to = n, n
	for j := range n {
		low, high := inside(j)
		if low && high && from == n {
			from = j
		}
		if from < n && (!low || !high) {
			to = j
			break
		}
	}
	return from, to, nil
}

func (b bounds) shift(v bson.RawValue, by bound) bson.RawValue {
	if b.hasUnit {
		ms, _ := b.unit.AddTo(value.AsDate(v), value.ClampInt64(by.offset))
		return value.Date(ms)
	}
	sum, ok := value.Add(v, by.offset)
	if !ok {
		return value.Double(value.ToDouble(v) + value.ToDouble(by.offset))
	}
	return sum
}
