package expr

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func comparisonOperators() map[string]*operator {
	return map[string]*operator{
		"$cmp": comparison(func(c int) bson.RawValue { return value.Int32(int32(c)) }),
		"$eq":  comparison(func(c int) bson.RawValue { return value.Bool(c == 0) }),
		"$ne":  comparison(func(c int) bson.RawValue { return value.Bool(c != 0) }),
		"$gt":  comparison(func(c int) bson.RawValue { return value.Bool(c > 0) }),
		"$gte": comparison(func(c int) bson.RawValue { return value.Bool(c >= 0) }),
		"$lt":  comparison(func(c int) bson.RawValue { return value.Bool(c < 0) }),
		"$lte": comparison(func(c int) bson.RawValue { return value.Bool(c <= 0) }),
	}
}

func comparison(f func(c int) bson.RawValue) *operator {
	return binary(func(a, b bson.RawValue) (bson.RawValue, error) {
		c := value.Compare(a, b)
		return f(b2i(c > 0) - b2i(c < 0)), nil
	})
}

func conditionalOperators() map[string]*operator {
	return map[string]*operator{
		"$and":    {most: -1, eval: untilTruth(false), associative: true, commutative: true, folded: foldJunction(false)},
		"$or":     {most: -1, eval: untilTruth(true), associative: true, commutative: true, folded: foldJunction(true)},
		"$not":    unary(func(v bson.RawValue) (bson.RawValue, error) { return value.Bool(!value.Truthy(v)), nil }),
		"$cond":   {least: 3, most: 3, eval: cond, parse: parseCond},
		"$ifNull": {parse: parseIfNull, eval: ifNull},
		"$switch": {parse: parseSwitch},
	}
}

// untilTruth evaluates arguments until one has the truth that decides: false
// for $and, true for $or.
func untilTruth(decides bool) evalFunc {
	return func(s *scope, args []node) (bson.RawValue, error) {
		for _, n := range args {
			v, err := n.eval(s)
			if err != nil {
				return bson.RawValue{}, err
			}
			if value.Truthy(v) == decides {
				return value.Bool(decides), nil
			}
		}
		return value.Bool(!decides), nil
	}
}

// foldJunction uses the constant that merging has left at the end: it either
// decides, so that nothing else is evaluated, or can be left out.
func foldJunction(decides bool) func(c *call) (node, error) {
	return func(c *call) (node, error) {
		last, ok := c.args[len(c.args)-1].(*constant)
		switch {
		case !ok:
			return c, nil
		case value.Truthy(last.v) == decides:
			return &constant{value.Bool(decides)}, nil
		default:
			return &call{c.op, c.args[:len(c.args)-1]}, nil
		}
	}
}

func cond(s *scope, args []node) (bson.RawValue, error) {
	v, err := args[0].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	if value.Truthy(v) {
		return args[1].eval(s)
	}
	return args[2].eval(s)
}

// parseCond takes three arguments or an object of if, then and else.
func parseCond(p *parser, op *operator, arg bson.RawValue) (node, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return p.call(op, arg)
	}
	named := &operator{name: op.name, unknown: 17083, params: []param{{"if", 17080}, {"then", 17081}, {"else", 17082}}}
	args, err := p.namedArgs(named, arg)
	if err != nil {
		return nil, err
	}
	return &call{op, args}, nil
}

// parseIfNull takes two arguments, or more since 5.0.
func parseIfNull(p *parser, op *operator, arg bson.RawValue) (node, error) {
	shape := &operator{name: op.name, least: 2, most: 2, eval: op.eval}
	if p.env.Supports(V50) {
		shape.most = -1
	}
	n, err := p.call(shape, arg)
	if err != nil {
		return nil, err
	}
	if c := n.(*call); len(c.args) < 2 {
		return nil, fail(1257300, "$ifNull needs at least two arguments, had: %d", len(c.args))
	}
	return n, nil
}

func ifNull(s *scope, args []node) (v bson.RawValue, err error) {
	for _, n := range args {
		if v, err = n.eval(s); err != nil || !value.Nullish(v) {
			return v, err
		}
	}
	return v, nil
}

// A branching is $switch: case and then alternate in parts, the default,
// which may be nil, comes last.
type branching struct{ parts []node }

func (b *branching) fold() (node, error) {
	_, err := foldParts(b.parts)
	return b, err
}

func (b *branching) eval(s *scope) (bson.RawValue, error) {
	last := len(b.parts) - 1
	for i := 0; i < last; i += 2 {
		v, err := b.parts[i].eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		if value.Truthy(v) {
			return b.parts[i+1].eval(s)
		}
	}
	if b.parts[last] == nil {
		return bson.RawValue{}, fail(40066, "$switch could not find a matching branch for an input, and no default was specified.")
	}
	return b.parts[last].eval(s)
}

func parseSwitch(p *parser, _ *operator, arg bson.RawValue) (node, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(40060, "$switch requires an object as an argument, found: %s", value.TypeName(arg.Type))
	}
	b := &branching{}
	var otherwise node
	for k, v := range value.Fields(arg.Value) {
		switch k {
		case "branches":
			if v.Type != bson.TypeArray {
				return nil, fail(40061, "$switch expected an array for 'branches', found: %s", value.TypeName(v.Type))
			}
			for _, branch := range value.Elements(v) {
				when, then, err := p.branch(branch)
				if err != nil {
					return nil, err
				}
				b.parts = append(b.parts, when, then)
			}
		case "default":
			n, err := p.operand(v)
			if err != nil {
				return nil, err
			}
			otherwise = n
		default:
			return nil, fail(40067, "$switch found an unknown argument: %s", k)
		}
	}
	if len(b.parts) == 0 {
		return nil, fail(40068, "$switch requires at least one branch.")
	}
	b.parts = append(b.parts, otherwise)
	return b, nil
}

func (p *parser) branch(v bson.RawValue) (when, then node, err error) {
	if v.Type != bson.TypeEmbeddedDocument {
		return nil, nil, fail(40062, "$switch expected each branch to be an object, found: %s", value.TypeName(v.Type))
	}
	for k, e := range value.Fields(v.Value) {
		switch k {
		case "case":
			when, err = p.operand(e)
		case "then":
			then, err = p.operand(e)
		default:
			err = fail(40063, "$switch found an unknown argument to a branch: %s", k)
		}
		if err != nil {
			return nil, nil, err
		}
	}
	if when == nil {
		return nil, nil, fail(40064, "$switch requires each branch have a 'case' expression")
	}
	if then == nil {
		return nil, nil, fail(40065, "$switch requires each branch have a 'then' expression.")
	}
	return when, then, nil
}
