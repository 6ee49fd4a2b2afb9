package pipeline

import (
	"bytes"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// parseWindowFunction finds a function by name: one of those that only exist
// for windows, or an accumulator.
func parseWindowFunction(p *parser, w *windowStage, name string, arg bson.RawValue) (windowFunction, error) {
	switch name {
	case "$rank", "$denseRank", "$documentNumber":
		if arg.Type != bson.TypeEmbeddedDocument || !value.IsEmpty(arg.Value) {
			return nil, fail(5371603, "%s must be specified with '{}' as the value", name)
		}
		return rank(name), nil
	case "$shift":
		return parseShift(p, arg)
	case "$derivative", "$integral":
		return parseSlope(p, name, arg)
	case "$covariancePop", "$covarianceSamp":
		return parseCovariance(p, name, arg)
	case "$expMovingAvg":
		return parseMovingAverage(p, arg)
	case "$locf", "$linearFill":
		e, err := expr.ParseLazily(arg, p.env)
		if name == "$locf" {
			return &carryForward{e}, err
		}
		if w.sortKey == "" {
			return nil, fail(605001, "$linearFill must be specified with a top level sortBy expression with exactly one element")
		}
		return &interpolation{e}, err
	}
	acc, err := parseAccumulator(p, name, arg)
	if err != nil {
		return nil, fail(mongoerr.FailedToParse, "Unrecognized window function, %s", name)
	}
	return &accumulated{acc}, nil
}

// accumulated is an accumulator over the window.
type accumulated struct{ acc accumulator }

func (a *accumulated) fold() error { return a.acc.fold() }

func (a *accumulated) calculate(p *partition, _, from, to int) (bson.RawValue, error) {
	state, err := a.acc.start(bson.RawValue{}, p.vars)
	if err != nil {
		return bson.RawValue{}, err
	}
	for _, doc := range p.docs[from:to] {
		if err := state.add(doc, p.vars); err != nil {
			return bson.RawValue{}, err
		}
	}
	v := state.value()
	if v.Type == 0 {
		v = value.Null()
	}
	return v, nil
}

// rank is $rank, $denseRank or $documentNumber.
type rank string

func (rank) fold() error { return nil }

func (r rank) calculate(p *partition, i, _, _ int) (bson.RawValue, error) {
	if r == "$documentNumber" {
		return value.Int32(int32(i + 1)), nil
	}
	n := int32(1)
	for j := 1; j <= i; j++ {
		if bytes.Equal(p.keys[j], p.keys[j-1]) {
			continue
		}
		if r == "$rank" {
			n = int32(j + 1)
		} else {
			n++
		}
	}
	return value.Int32(n), nil
}

// shifted is $shift: the value of a document some positions away.
type shifted struct {
	output, otherwise *expr.Expr
	by                int
}

func parseShift(p *parser, arg bson.RawValue) (windowFunction, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(mongoerr.FailedToParse, "Argument to $shift must be an object")
	}
	s := &shifted{otherwise: expr.Constant(value.Null())}
	hasBy := false
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch k {
		case "output":
			s.output, err = expr.ParseLazily(v, p.env)
		case "by":
			n, ok := value.Int32Exact(v)
			if hasBy = true; !ok {
				err = fail(mongoerr.FailedToParse, "'$shift:by' field must be an integer, but found by: %s", expr.Show(v))
			}
			s.by = int(n)
		case "default":
			if s.otherwise, err = expr.Parse(v, p.env); err == nil {
				if _, constant := s.otherwise.Constant(); !constant {
					err = fail(mongoerr.FailedToParse, "'$shift:default' expression must yield a constant value.")
				}
			}
		default:
			err = fail(mongoerr.FailedToParse, "Unknown argument in $shift")
		}
		if err != nil {
			return nil, err
		}
	}
	if s.output == nil || !hasBy {
		return nil, fail(mongoerr.FailedToParse, "$shift requires 'output' and 'by'")
	}
	return s, nil
}

func (s *shifted) fold() error { return s.output.Fold() }

func (s *shifted) calculate(p *partition, i, _, _ int) (bson.RawValue, error) {
	if at := i + s.by; at >= 0 && at < len(p.docs) {
		v, err := s.output.Eval(p.docs[at], p.vars)
		if v.Type == 0 {
			v = value.Null()
		}
		return v, err
	}
	return s.otherwise.Eval(p.docs[i], p.vars)
}

// slope is $derivative or $integral of a value over the sort key.
type slope struct {
	integral bool
	input    *expr.Expr
	unit     float64 // milliseconds of the unit, 0 without one
}

func parseSlope(p *parser, name string, arg bson.RawValue) (windowFunction, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(5624902, "%s expects an object, but got a %s", name, value.TypeName(arg.Type))
	}
	s := &slope{integral: name == "$integral"}
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch k {
		case "input":
			s.input, err = expr.ParseLazily(v, p.env)
		case "unit":
			u, ok := expr.UnitByName(value.AsString(v))
			ms, fixed := u.Fixed()
			if !ok || !fixed {
				err = fail(5490704, "unit must be 'week' or smaller, but got: %s", expr.Show(v))
			}
			s.unit = float64(ms)
		default:
			err = fail(5490705, "%s got unexpected argument: %s", name, k)
		}
		if err != nil {
			return nil, err
		}
	}
	if s.input == nil {
		return nil, fail(5490706, "%s requires an 'input' expression", name)
	}
	return s, nil
}

func (s *slope) fold() error { return s.input.Fold() }

// point gives where a document lies: its sort key and its value. ok is false
// if the value isn't a number.
func (s *slope) point(p *partition, i int) (x, y float64, ok bool, err error) {
	key := value.Lookup(p.docs[i], p.sortKey)
	switch {
	case s.unit > 0 && key.Type == bson.TypeDateTime:
		x = float64(value.AsDate(key)) / s.unit
	case s.unit == 0 && value.IsNumber(key):
		x = value.ToDouble(key)
	default:
		return 0, 0, false, fail(5624900, "the sort key must be a Date if, and only if, a 'unit' is given, but was %s", value.TypeName(key.Type))
	}
	v, err := s.input.Eval(p.docs[i], p.vars)
	return x, value.ToDouble(v), value.IsNumber(v), err
}

func (s *slope) calculate(p *partition, _, from, to int) (bson.RawValue, error) {
	if to-from < 2 {
		if s.integral && to > from {
			return value.Int32(0), nil
		}
		return value.Null(), nil
	}
	if !s.integral {
		x0, y0, ok0, err := s.point(p, from)
		if err != nil {
			return bson.RawValue{}, err
		}
		x1, y1, ok1, err := s.point(p, to-1)
		if err != nil || !ok0 || !ok1 || x1 == x0 {
			return value.Null(), err
		}
		return value.Double((y1 - y0) / (x1 - x0)), nil
	}
	area, lastX, lastY, any := 0.0, 0.0, 0.0, false
	for i := from; i < to; i++ {
		x, y, ok, err := s.point(p, i)
		if err != nil {
			return bson.RawValue{}, err
		}
		if !ok {
			continue
		}
		if any {
			area += (x - lastX) * (y + lastY) / 2
		}
		lastX, lastY, any = x, y, true
	}
	return value.Double(area), nil
}

// covariance is $covariancePop or $covarianceSamp.
type covariance struct {
	sample bool
	x, y   *expr.Expr
}

func parseCovariance(p *parser, name string, arg bson.RawValue) (windowFunction, error) {
	if arg.Type != bson.TypeArray || value.Len(arg) != 2 {
		return nil, fail(16020, "Expression %s takes exactly 2 arguments", name)
	}
	c := &covariance{sample: name == "$covarianceSamp"}
	var err error
	if c.x, err = expr.ParseLazily(value.Index(arg, 0), p.env); err != nil {
		return nil, err
	}
	c.y, err = expr.ParseLazily(value.Index(arg, 1), p.env)
	return c, err
}

func (c *covariance) fold() error {
	if err := c.x.Fold(); err != nil {
		return err
	}
	return c.y.Fold()
}

func (c *covariance) calculate(p *partition, _, from, to int) (bson.RawValue, error) {
	n, meanX, meanY, sum := 0.0, 0.0, 0.0, 0.0
	for _, doc := range p.docs[from:to] {
		x, err := c.x.Eval(doc, p.vars)
		if err != nil {
			return bson.RawValue{}, err
		}
		y, err := c.y.Eval(doc, p.vars)
		if err != nil {
			return bson.RawValue{}, err
		}
		if !value.IsNumber(x) || !value.IsNumber(y) {
			continue
		}
		n++
		dx := value.ToDouble(x) - meanX
		meanX += dx / n
		meanY += (value.ToDouble(y) - meanY) / n
		sum += dx * (value.ToDouble(y) - meanY)
	}
	if c.sample {
		n--
	}
	if n <= 0 {
		return value.Null(), nil
	}
	return value.Double(sum / n), nil
}

// movingAverage is $expMovingAvg.
type movingAverage struct {
	input *expr.Expr
	alpha float64
}

func parseMovingAverage(p *parser, arg bson.RawValue) (windowFunction, error) {
	m := &movingAverage{}
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(mongoerr.FailedToParse, "$expMovingAvg must have exactly one argument that is an object")
	}
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch k {
		case "input":
			m.input, err = expr.ParseLazily(v, p.env)
		case "N":
			n, ok := value.Int64Exact(v)
			if !ok || n <= 0 {
				err = fail(mongoerr.FailedToParse, "'N' field must be an integer greater than zero, but found %s", expr.Show(v))
			}
			m.alpha = 2 / (float64(n) + 1)
		case "alpha":
			m.alpha = value.ToDouble(v)
			if !value.IsNumber(v) || m.alpha <= 0 || m.alpha >= 1 {
				err = fail(mongoerr.FailedToParse, "'alpha' must be between 0 and 1 (exclusive), found alpha: %s", expr.Show(v))
			}
		default:
			err = fail(mongoerr.FailedToParse, "Got unrecognized field in $expMovingAvg: %s", k)
		}
		if err != nil {
			return nil, err
		}
	}
	if m.input == nil || m.alpha == 0 {
		return nil, fail(mongoerr.FailedToParse, "$expMovingAvg sub object must have exactly two fields: An 'input' field, and either an 'N' field or an 'alpha' field")
	}
	return m, nil
}

func (m *movingAverage) fold() error { return m.input.Fold() }

func (m *movingAverage) calculate(p *partition, i, _, _ int) (bson.RawValue, error) {
	average, any := 0.0, false
	for _, doc := range p.docs[:i+1] {
		v, err := m.input.Eval(doc, p.vars)
		if err != nil {
			return bson.RawValue{}, err
		}
		switch {
		case !value.IsNumber(v):
		case !any:
			average, any = value.ToDouble(v), true
		default:
			average = value.ToDouble(v)*m.alpha + average*(1-m.alpha)
		}
	}
	if !any {
		return value.Null(), nil
	}
	return value.Double(average), nil
}

// carryForward is $locf: the last value that wasn't null.
type carryForward struct{ e *expr.Expr }

func (c *carryForward) fold() error { return c.e.Fold() }

func (c *carryForward) calculate(p *partition, i, _, _ int) (bson.RawValue, error) {
	for ; i >= 0; i-- {
		v, err := c.e.Eval(p.docs[i], p.vars)
		if err != nil || !value.Nullish(v) {
			return v, err
		}
	}
	return value.Null(), nil
}

// interpolation is $linearFill: a line between the values around a gap.
type interpolation struct{ e *expr.Expr }

func (f *interpolation) fold() error { return f.e.Fold() }

func (f *interpolation) calculate(p *partition, i, _, _ int) (bson.RawValue, error) {
	at, err := f.e.Eval(p.docs[i], p.vars)
	if err != nil || !value.Nullish(at) {
		return at, err
	}
	left, y0, err := f.known(p, i, -1)
	if err != nil {
		return bson.RawValue{}, err
	}
	right, y1, err := f.known(p, i, 1)
	if err != nil || left < 0 || right < 0 {
		return value.Null(), err
	}
	x := func(i int) float64 {
		v := value.Lookup(p.docs[i], p.sortKey)
		if v.Type == bson.TypeDateTime {
			return float64(value.AsDate(v))
		}
		return value.ToDouble(v)
	}
	if x(right) == x(left) {
		return value.Null(), nil
	}
	return value.Double(y0 + (x(i)-x(left))*(y1-y0)/(x(right)-x(left))), nil
}

// known finds the next document in a direction that has a value, -1 if there
// is none.
func (f *interpolation) known(p *partition, i, direction int) (at int, y float64, err error) {
	for i += direction; i >= 0 && i < len(p.docs); i += direction {
		v, err := f.e.Eval(p.docs[i], p.vars)
		if err != nil {
			return -1, 0, err
		}
		if value.IsNumber(v) {
			return i, value.ToDouble(v), nil
		}
		if !value.Nullish(v) {
			return -1, 0, fail(605001, "Value to be filled must be numeric or nullish")
		}
	}
	return -1, 0, nil
}
