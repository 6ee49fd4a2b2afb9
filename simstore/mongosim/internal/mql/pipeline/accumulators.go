package pipeline

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/order"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// parseAccumulator finds an accumulator by name: those of one expression, and
// the newer ones that take named arguments.
func parseAccumulator(p *parser, name string, arg bson.RawValue) (accumulator, error) {
	if start, ok := expr.NewAccumulator(name); ok {
		e, err := expr.ParseLazily(arg, p.env)
		return &simple{start, e}, err
	}
	unknown := fail(15952, "unknown group operator '%s'", name)
	switch name {
	case "$count":
		if !p.env.Supports(expr.V50) {
			return nil, unknown
		}
		if arg.Type != bson.TypeEmbeddedDocument || !value.IsEmpty(arg.Value) {
			return nil, fail(9, "$count takes no arguments, i.e. $count:{}")
		}
		start, _ := expr.NewAccumulator("$sum")
		return &simple{start, expr.Constant(value.Int32(1))}, nil
	case "$firstN", "$lastN", "$minN", "$maxN", "$top", "$bottom", "$topN", "$bottomN":
		if !p.env.Supports(expr.V52) {
			return nil, unknown
		}
		return parseSeveral(p, name, arg)
	case "$median", "$percentile":
		if !p.env.Supports(expr.V70) {
			return nil, unknown
		}
		return parsePercentile(p, name, arg)
	}
	return nil, unknown
}

// simple is an accumulator of one expression.
type simple struct {
	make func() expr.Accumulator
	arg  *expr.Expr
}

func (a *simple) fold() error { return a.arg.Fold() }

func (a *simple) start(bson.RawValue, expr.Vars) (accumulation, error) {
	return &simpleState{a.make(), a.arg}, nil
}

type simpleState struct {
	acc expr.Accumulator
	arg *expr.Expr
}

func (s *simpleState) add(doc bson.Raw, vars expr.Vars) error {
	v, err := s.arg.Eval(doc, vars)
	if err != nil {
		return err
	}
	return s.acc.Add(v)
}

func (s *simpleState) value() bson.RawValue { return s.acc.Value() }

// several is an accumulator that keeps n of the values of a group: by their
// own order ($minN), by that of the documents ($firstN), or by a sort ($topN).
type several struct {
	name   string
	n      *expr.Expr // nil: one, which isn't wrapped in an array
	output *expr.Expr
	by     *order.Order
}

func parseSeveral(p *parser, name string, arg bson.RawValue) (accumulator, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(5788001, "specification must be an object; found %s: %s", name, expr.Show(arg))
	}
	a := &several{name: name}
	sorted := name == "$top" || name == "$bottom" || name == "$topN" || name == "$bottomN"
	one := name == "$top" || name == "$bottom"
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch {
		case k == "n" && !one:
			a.n, err = expr.ParseLazily(v, p.env)
		case k == "input" && !sorted, k == "output" && sorted:
			a.output, err = expr.ParseLazily(v, p.env)
		case k == "sortBy" && sorted:
			if v.Type != bson.TypeEmbeddedDocument {
				return nil, fail(5788604, "expected 'sortBy' to already be an object in the arguments to %s", name)
			}
			a.by, err = order.Parse(v.Value)
		default:
			err = fail(5787901, "Unknown argument for %s accumulator: %s", name, k)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case a.n == nil && !one:
		return nil, fail(5787906, "Missing value for 'n'")
	case a.output == nil:
		return nil, fail(5788004, "Missing value for 'output' or 'input' of %s", name)
	case a.by == nil && sorted:
		return nil, fail(5788005, "Missing value for 'sortBy'")
	}
	return a, nil
}

func (a *several) fold() error {
	if a.n != nil {
		if err := a.n.Fold(); err != nil {
			return err
		}
	}
	return a.output.Fold()
}

func (a *several) start(id bson.RawValue, vars expr.Vars) (accumulation, error) {
	s := &severalState{several: a, limit: 1}
	if a.n == nil {
		return s, nil
	}
	doc := bson.Raw{5, 0, 0, 0, 0}
	if id.Type == bson.TypeEmbeddedDocument {
		doc = id.Value
	}
	n, err := a.n.Eval(doc, vars)
	if err != nil {
		return nil, err
	}
	s.limit, err = expr.CheckN(n)
	return s, err
}

type severalState struct {
	*several
	limit int
	items []ranked
}

type ranked struct {
	v   bson.RawValue
	key []byte
}

func (s *severalState) add(doc bson.Raw, vars expr.Vars) error {
	v, err := s.output.Eval(doc, vars)
	if err != nil {
		return err
	}
	item := ranked{v: v}
	switch s.name {
	case "$firstN":
		if len(s.items) < s.limit {
			s.items = append(s.items, item)
		}
		return nil
	case "$lastN":
		if s.items = append(s.items, item); len(s.items) > s.limit {
			s.items = s.items[1:]
		}
		return nil
	case "$minN", "$maxN":
		if value.Nullish(v) {
			return nil
		}
		item.key = value.AppendKey(nil, v, s.name == "$maxN")
	default:
		if item.key, err = s.by.AppendKey(nil, doc); err != nil {
			return err
		}
	}
	s.rank(item)
	return nil
}

// rank puts an item into its place behind equal ones and drops the last, or
// the first, of too many.
func (s *severalState) rank(item ranked) {
	at, _ := slices.BinarySearchFunc(s.items, item, func(e, t ranked) int {
		if c := slices.Compare(e.key, t.key); c != 0 {
			return c
		}
		return -1
	})
	s.items = slices.Insert(s.items, at, item)
	if len(s.items) > s.limit {
		if s.name == "$bottom" || s.name == "$bottomN" {
			s.items = s.items[1:]
		} else {
			s.items = s.items[:s.limit]
		}
	}
}

func (s *severalState) value() bson.RawValue {
	if s.n == nil {
		if len(s.items) == 0 {
			return value.Null()
		}
		return s.items[0].v
	}
	var out value.Arr
	for _, e := range s.items {
		out.Add(e.v)
	}
	return out.Value()
}

// percentile is $median or $percentile.
type percentile struct {
	input *expr.Expr
	ps    []float64
	one   bool
}

func parsePercentile(p *parser, name string, arg bson.RawValue) (accumulator, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(7436100, "specification must be an object; found %s", expr.Show(arg))
	}
	a := &percentile{one: name == "$median", ps: []float64{0.5}}
	method := ""
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch {
		case k == "input":
			a.input, err = expr.ParseLazily(v, p.env)
		case k == "method":
			method = value.AsString(v)
		case k == "p" && !a.one:
			a.ps, err = percentiles(v)
		default:
			err = fail(40415, "BSON field '%s.%s' is an unknown field.", name, k)
		}
		if err != nil {
			return nil, err
		}
	}
	if a.input == nil || method == "" {
		return nil, fail(40414, "%s requires 'input' and 'method'", name)
	}
	if method != "approximate" {
		return nil, fail(2, "Currently only 'approximate' can be used as percentile 'method'.")
	}
	return a, nil
}

func percentiles(v bson.RawValue) ([]float64, error) {
	var out []float64
	for _, e := range value.Elements(v) {
		f := value.ToDouble(e)
		if !value.IsNumber(e) || f < 0 || f > 1 {
			return nil, fail(7750303, "The $percentile 'p' field must be an array of numbers from [0.0, 1.0], but found: %s", expr.Show(e))
		}
		out = append(out, f)
	}
	if len(out) == 0 {
		return nil, fail(7750301, "The $percentile 'p' field must be an array of numbers, but found: %s", expr.Show(v))
	}
	return out, nil
}

func (a *percentile) fold() error { return a.input.Fold() }

func (a *percentile) start(bson.RawValue, expr.Vars) (accumulation, error) {
	return &percentileState{percentile: a}, nil
}

type percentileState struct {
	*percentile
	values []float64
}

func (s *percentileState) add(doc bson.Raw, vars expr.Vars) error {
	v, err := s.input.Eval(doc, vars)
	if err == nil && value.IsNumber(v) {
		s.values = append(s.values, value.ToDouble(v))
	}
	return err
}

// value is exact where the server's is approximate, but for few values, for
// which both take the nearest rank.
func (s *percentileState) value() bson.RawValue {
	slices.Sort(s.values)
	var out value.Arr
	for _, p := range s.ps {
		v := value.Null()
		if n := len(s.values); n > 0 {
			rank := int(p*float64(n) + 0.9999999999)
			v = value.Double(s.values[min(max(rank-1, 0), n-1)])
		}
		if s.one {
			return v
		}
		out.Add(v)
	}
	return out.Value()
}
