package expr

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A constant has its value already.
type constant struct{ v bson.RawValue }

func (c *constant) eval(*scope) (bson.RawValue, error) { return c.v, nil }
func (c *constant) fold() (node, error)                { return c, nil }

func isConstant(n node) bool {
	_, ok := n.(*constant)
	return ok
}

// fixed is a variable of the command: the same for every document, but not
// calculated with before evaluation.
type fixed struct{ v bson.RawValue }

func (f *fixed) eval(*scope) (bson.RawValue, error) { return f.v, nil }
func (f *fixed) fold() (node, error)                { return f, nil }

// unavailable is a system variable without a value.
type unavailable struct{ name string }

func (u *unavailable) eval(*scope) (bson.RawValue, error) {
	return bson.RawValue{}, fail(51144, "Builtin variable '$$%s' is not available", u.name)
}
func (u *unavailable) fold() (node, error) { return u, nil }

// An arrayLiteral evaluates its elements; missing ones become null.
type arrayLiteral struct{ items []node }

func (a *arrayLiteral) eval(s *scope) (bson.RawValue, error) {
	var out value.Arr
	for _, n := range a.items {
		v, err := n.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		out.Add(v)
	}
	return out.Value(), nil
}

func (a *arrayLiteral) fold() (node, error) { return foldAll(a, a.items) }

// An objectLiteral evaluates its fields; missing ones are left out.
type objectLiteral struct {
	names  []string
	values []node
}

func (o *objectLiteral) eval(s *scope) (bson.RawValue, error) {
	var out value.Object
	for i, n := range o.values {
		v, err := n.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		out.Add(o.names[i], v)
	}
	return out.Value(), nil
}

func (o *objectLiteral) fold() (node, error) { return foldAll(o, o.values) }

// foldAll folds the parts of n in their place and, if all of them are
// constant or absent, n itself.
func foldAll(n node, parts []node) (node, error) {
	all, err := foldParts(parts)
	if err != nil || !all {
		return n, err
	}
	return calculate(n)
}

func foldParts(parts []node) (allConstant bool, err error) {
	allConstant = true
	for i, part := range parts {
		if part == nil {
			continue
		}
		if parts[i], err = part.fold(); err != nil {
			return false, err
		}
		allConstant = allConstant && isConstant(parts[i])
	}
	return allConstant, nil
}

func calculate(n node) (node, error) {
	v, err := n.eval(&scope{root: emptyDocument()})
	if err != nil {
		return nil, err
	}
	return &constant{v}, nil
}

func emptyDocument() bson.Raw { return bson.Raw{5, 0, 0, 0, 0} }
