package expr

import (
	"maps"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// evalFunc evaluates an operator; it evaluates the arguments itself, as far
// and in the order that the server does. Arguments of a named operator that
// weren't given are nil.
type evalFunc func(s *scope, args []node) (bson.RawValue, error)

// parseFunc parses the argument of an operator with a syntax of its own.
type parseFunc func(p *parser, op *operator, arg bson.RawValue) (node, error)

// An operator is one entry of a table. It takes either positional arguments
// (least, most), named ones (params), or has a parse of its own.
type operator struct {
	name  string  // given by the table's key
	since Version // the release that brought it; 0 is V44 or earlier

	least, most int // positional arguments; most < 0 means any number
	eval        evalFunc

	associative bool // nested calls may be merged and adjacent constants calculated
	commutative bool // so may constants that aren't adjacent
	volatile    bool // never constant
	spreads     bool // a single argument that is an array stands for its elements

	folded func(c *call) (node, error) // simplifies further once constants are known

	params    []param // named arguments, in the order of eval's
	notObject mongoerr.Code
	unknown   mongoerr.Code
	partial   bool // named, and not calculated when constant

	parse parseFunc
}

// A param is a named argument; missing is the error without it, 0 if it is
// optional.
type param struct {
	name    string
	missing mongoerr.Code
}

// operatorTable holds the operators by name.
var operatorTable = mergeTables(
	arithmeticOperators(), roundingOperators(), trigonometricOperators(),
	comparisonOperators(), conditionalOperators(), variableOperators(),
	stringOperators(), regexOperators(),
	arrayOperators(), higherOrderOperators(), setOperators(), objectOperators(),
	dateOperators(), dateCalculations(), conversionOperators(), typeOperators(),
	bitOperators(), accumulatorOperators(),
)

func mergeTables(tables ...map[string]*operator) map[string]*operator {
	all := map[string]*operator{}
	for _, t := range tables {
		maps.Copy(all, t)
	}
	for name, op := range all {
		op.name = name
	}
	return all
}

func (op *operator) checkArity(n int) error {
	switch {
	case op.most < 0 || op.least <= n && n <= op.most:
		return nil
	case op.least == op.most:
		return fail(16020, "Expression %s takes exactly %d arguments. %d were passed in.", op.name, op.least, n)
	default:
		return fail(28667, "Expression %s takes at least %d arguments, and at most %d, but %d were passed in.", op.name, op.least, op.most, n)
	}
}

// A call is an operator with its positional arguments.
type call struct {
	op   *operator
	args []node
}

func (c *call) eval(s *scope) (bson.RawValue, error) { return c.op.eval(s, c.args) }

func (c *call) fold() (node, error) {
	all, err := foldParts(c.args)
	if err != nil {
		return nil, err
	}
	if all && !c.op.volatile {
		return calculate(c)
	}
	if c.op.associative {
		if err := c.merge(); err != nil {
			return nil, err
		}
	}
	if c.op.folded != nil {
		return c.op.folded(c)
	}
	return c, nil
}

// merge takes the arguments of nested calls of the same operator as its own
// and calculates constants: those next to each other or, if the order doesn't
// matter, all of them, which then come last. This decides which errors a
// query meets before it starts and in which order it adds up.
func (c *call) merge() error {
	if c.op.spreads && len(c.args) == 1 {
		return nil
	}
	var constants, out []node
	flush := func() error {
		if len(constants) > 1 {
			n, err := calculate(&call{c.op, constants})
			if err != nil {
				return err
			}
			out = append(out, n)
		} else {
			out = append(out, constants...)
		}
		constants = nil
		return nil
	}
	pending := append([]node(nil), c.args...)
	for len(pending) > 0 {
		n := pending[0]
		pending = pending[1:]
		if isConstant(n) {
			constants = append(constants, n)
			continue
		}
		if inner, ok := n.(*call); ok && inner.op == c.op && (!c.op.spreads || len(inner.args) != 1) {
			pending = append(append([]node(nil), inner.args...), pending...)
			continue
		}
		if !c.op.commutative {
			if err := flush(); err != nil {
				return err
			}
		}
		out = append(out, n)
	}
	if err := flush(); err != nil {
		return err
	}
	c.args = out
	return nil
}

// A namedCall is an operator with its named arguments, nil where absent.
type namedCall struct {
	op   *operator
	args []node
}

func (c *namedCall) eval(s *scope) (bson.RawValue, error) { return c.op.eval(s, c.args) }

func (c *namedCall) fold() (node, error) {
	if c.op.partial {
		_, err := foldParts(c.args)
		return c, err
	}
	n, err := foldAll(c, c.args)
	if n != node(c) || err != nil {
		return n, err
	}
	for i, p := range c.op.params {
		if p.name == "timezone" && c.args[i] != nil {
			c.args[i] = prepareZone(c.args[i])
		}
	}
	return c, nil
}

// named parses an object of named arguments.
func (p *parser) named(op *operator, arg bson.RawValue) (node, error) {
	args, err := p.namedArgs(op, arg)
	if err != nil {
		return nil, err
	}
	return &namedCall{op, args}, nil
}

func (p *parser) namedArgs(op *operator, arg bson.RawValue) ([]node, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(op.notObject, "%s only supports an object as its argument, found: %s", op.name, value.TypeName(arg.Type))
	}
	args := make([]node, len(op.params))
	for k, v := range value.Fields(arg.Value) {
		i := slices.IndexFunc(op.params, func(p param) bool { return p.name == k })
		if i < 0 {
			return nil, fail(op.unknown, "Unrecognized argument to %s: %s", op.name, k)
		}
		n, err := p.operand(v)
		if err != nil {
			return nil, err
		}
		args[i] = n
	}
	for i, param := range op.params {
		if args[i] == nil && param.missing != 0 {
			return nil, fail(param.missing, "Missing '%s' parameter to %s", param.name, op.name)
		}
	}
	return args, nil
}

// evalOr evaluates an optional argument.
func evalOr(s *scope, n node, absent bson.RawValue) (bson.RawValue, error) {
	if n == nil {
		return absent, nil
	}
	return n.eval(s)
}

// The helpers below make the commonest shapes of operators.

// unary is an operator of one argument that can't be anything but evaluated.
func unary(f func(v bson.RawValue) (bson.RawValue, error)) *operator {
	return &operator{least: 1, most: 1, eval: func(s *scope, args []node) (bson.RawValue, error) {
		v, err := args[0].eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		return f(v)
	}}
}

// binary is an operator of two arguments that are both evaluated first.
func binary(f func(a, b bson.RawValue) (bson.RawValue, error)) *operator {
	return &operator{least: 2, most: 2, eval: func(s *scope, args []node) (bson.RawValue, error) {
		a, err := args[0].eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		b, err := args[1].eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		return f(a, b)
	}}
}

func (op *operator) from(v Version) *operator {
	op.since = v
	return op
}
