// Package expr builds aggregation expressions as values.
//
// Every function takes its arguments as any: an Expr is an expression,
// everything else is data. A string that starts with a dollar sign, a document
// or an array given as data is wrapped in $literal, so it never becomes a
// field path or an operator, wherever it came from. Field paths are made by
// Field and checked. Mistakes are kept inside the Expr and come out of Build.
//
// There is no $function: code that runs on the server is not offered.
package expr

import (
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/internal/literal"
	"github.com/annals-es/annals/query/internal/name"
)

// An Expr is an immutable expression. The zero Expr is the constant null.
type Expr struct {
	value    any
	err      error
	constant bool
	path     string
}

// NotAValue keeps an Expr from being taken for a value.
func (e Expr) NotAValue() string { return "an expr.Expr" }

// Build returns the expression as it goes into a pipeline, or all mistakes in it.
func (e Expr) Build() (any, error) { return e.value, e.err }

// Err returns the mistakes in the expression, joined, or nil.
func (e Expr) Err() error { return e.err }

// Path returns the field path of an expression made by Field, without the
// dollar sign, and "" for every other expression.
func (e Expr) Path() string { return e.path }

// Projected returns the expression as the value of a field in a stage that
// reads 1, 0, true and false as "include" and "exclude": such constants are
// wrapped in $literal.
func (e Expr) Projected() (any, error) {
	if e.err != nil {
		return nil, e.err
	}
	if e.constant {
		if _, text := e.value.(string); !text && e.value != nil {
			return bson.D{{Key: "$literal", Value: e.value}}, nil
		}
	}
	return e.value, nil
}

// Field refers to a field of the current document by its dotted path.
func Field(path string) Expr {
	if err := name.Path(path); err != nil {
		return fail(err)
	}
	return Expr{value: "$" + path, path: path}
}

// Var refers to a variable defined by Let, Map, Filter, Reduce or the let of a
// stage, and to a path inside of it: Var("line"), Var("line.qty").
func Var(path string) Expr {
	variable, rest, nested := strings.Cut(path, ".")
	if err := name.Variable(variable); err != nil {
		return fail(err)
	}
	if nested {
		if err := name.Path(rest); err != nil {
			return fail(err)
		}
	}
	return Expr{value: "$$" + path}
}

// This is the element at hand inside Reduce, and inside Map and Filter that name no variable.
func This(path ...string) Expr { return system("this", path) }

// Accumulated is the result so far inside Reduce.
func Accumulated(path ...string) Expr { return system("value", path) }

// Root is the whole document that the stage received, or a path in it.
func Root(path ...string) Expr { return system("ROOT", path) }

// Current is the document at hand; it is Root unless a stage such as $redact says otherwise.
func Current(path ...string) Expr { return system("CURRENT", path) }

// Now is the server's time, the same throughout one pipeline.
func Now() Expr { return Expr{value: "$$NOW"} }

// ClusterTime is the logical time of a replica set.
func ClusterTime() Expr { return Expr{value: "$$CLUSTER_TIME"} }

// Remove leaves a field out when it is the value of the field.
func Remove() Expr { return Expr{value: "$$REMOVE"} }

func system(variable string, path []string) Expr {
	if len(path) == 0 {
		return Expr{value: "$$" + variable}
	}
	p := strings.Join(path, ".")
	if err := name.Path(p); err != nil {
		return fail(err)
	}
	return Expr{value: "$$" + variable + "." + p}
}

// Value is data: it means itself, whatever it holds.
func Value(v any) Expr {
	out, class, err := literal.Of(v)
	if err != nil {
		return fail(fmt.Errorf("expression: %w", err))
	}
	switch class {
	case literal.Scalar:
		return Expr{value: out, constant: true}
	case literal.Text:
		if s, plain := out.(string); plain && !strings.HasPrefix(s, "$") {
			return Expr{value: out, constant: true}
		}
	}
	return Expr{value: bson.D{{Key: "$literal", Value: out}}}
}

// Object builds a document out of fields computed by expressions.
func Object(fields ...NamedExpr) Expr {
	d, errs := make(bson.D, 0, len(fields)), []error(nil)
	for i, f := range fields {
		if err := name.Key(f.Name); err != nil {
			errs = append(errs, err)
			continue
		}
		for _, earlier := range fields[:i] {
			if earlier.Name == f.Name {
				errs = append(errs, fmt.Errorf("field %q is given twice", f.Name))
			}
		}
		v, err := Of(f.Value).Projected()
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", f.Name, err))
		}
		d = append(d, bson.E{Key: f.Name, Value: v})
	}
	return Expr{value: d, err: errors.Join(errs...)}
}

// A NamedExpr is a field of Object, or a variable of Let.
type NamedExpr struct {
	Name  string
	Value any
}

// As names an expression.
func As(name string, value any) NamedExpr { return NamedExpr{Name: name, Value: value} }

// Array builds an array out of elements computed by expressions.
func Array(elements ...any) Expr {
	vs, err := list(elements)
	return Expr{value: vs, err: err}
}

// Of returns x if it is an expression, and Value(x) if not.
func Of(x any) Expr {
	switch e := x.(type) {
	case Expr:
		return e
	case interface{ Ref() Expr }:
		return e.Ref()
	}
	return Value(x)
}

// Unchecked takes an expression as it is: for what this package doesn't know
// yet. It must be written by the programmer. $function and $accumulator are refused.
func Unchecked(v any) Expr {
	out, _, err := literal.Of(v)
	if err != nil {
		return fail(fmt.Errorf("unchecked expression: %w", err))
	}
	if err := literal.RefuseJavaScript(out); err != nil {
		return fail(fmt.Errorf("unchecked expression: %w", err))
	}
	return Expr{value: out}
}

func fail(err error) Expr { return Expr{err: err} }

func failf(format string, args ...any) Expr { return fail(fmt.Errorf(format, args...)) }

// unary makes {op: x}. An array constant is wrapped, so that it is the one
// argument and not the list of arguments.
func unary(op string, x any) Expr {
	e := Of(x)
	if e.err != nil {
		return fail(fmt.Errorf("%s: %w", op, e.err))
	}
	v := e.value
	if _, isArray := v.(bson.A); isArray {
		v = bson.A{v}
	}
	return Expr{value: bson.D{{Key: op, Value: v}}}
}

// nary makes {op: [x, y, …]}.
func nary(op string, xs ...any) Expr {
	vs, err := list(xs)
	if err != nil {
		return fail(fmt.Errorf("%s: %w", op, err))
	}
	return Expr{value: bson.D{{Key: op, Value: vs}}}
}

// variadic is nary with a least number of arguments.
func variadic(op string, least int, xs []any) Expr {
	if len(xs) < least {
		return failf("%s needs at least %d arguments, not %d", op, least, len(xs))
	}
	return nary(op, xs...)
}

// accumulating is variadic for operators that read a single argument as an array of values.
func accumulating(op string, xs []any) Expr {
	if len(xs) == 1 {
		return unary(op, xs[0])
	}
	return variadic(op, 1, xs)
}

func list(xs []any) (bson.A, error) {
	vs, errs := make(bson.A, len(xs)), []error(nil)
	for i, x := range xs {
		e := Of(x)
		vs[i] = e.value
		if e.err != nil {
			errs = append(errs, e.err)
		}
	}
	return vs, errors.Join(errs...)
}

// A param is one named argument of an operator.
type param struct {
	name     string
	value    any
	optional bool
}

func need(name string, v any) param { return param{name: name, value: v} }

// opt is a named argument that is left out when it is nil.
func opt(name string, v any) param { return param{name: name, value: v, optional: true} }

// named makes {op: {name: x, …}}.
func named(op string, params ...param) Expr {
	d, errs := make(bson.D, 0, len(params)), []error(nil)
	for _, p := range params {
		if p.optional && p.value == nil {
			continue
		}
		e := Of(p.value)
		if e.err != nil {
			errs = append(errs, fmt.Errorf("%s: %s: %w", op, p.name, e.err))
		}
		d = append(d, bson.E{Key: p.name, Value: e.value})
	}
	return Expr{value: bson.D{{Key: op, Value: d}}, err: errors.Join(errs...)}
}
