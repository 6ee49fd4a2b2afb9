package expr

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

// An Expr is a parsed expression. It is immutable: goroutines may evaluate it
// at the same time.
type Expr struct {
	root  node
	slots int // variables that evaluation needs room for
}

// Vars are the values of the variables that Env.Scope declares, in its order.
type Vars []bson.RawValue

// Parse parses an operand: a field path ("$a.b"), a variable ("$$NOW"), an
// operator ({$add: [...]}), an object or array of operands, or a constant.
// Constant operations are calculated at once, so that their errors come here.
// Errors are *mongoerr.Error with the server's codes.
func Parse(v bson.RawValue, env *Env) (*Expr, error) {
	e, err := ParseLazily(v, env)
	if err != nil {
		return nil, err
	}
	return e, e.Fold()
}

// ParseLazily parses like Parse but leaves constant operations alone until
// Fold, for those who parse several expressions: a server refuses what it
// can't parse in any of them before it calculates in the first.
func ParseLazily(v bson.RawValue, env *Env) (*Expr, error) {
	p := newParser(env)
	n, err := p.operand(v)
	if err != nil {
		return nil, err
	}
	return p.finish(n), nil
}

// ParseObject parses a document as ParseLazily does: an operator if its first
// field's name starts with a dollar, an object of operands otherwise.
func ParseObject(doc bson.Raw, env *Env) (*Expr, error) {
	p := newParser(env)
	n, err := p.object(doc)
	if err != nil {
		return nil, err
	}
	return p.finish(n), nil
}

// Path makes the expression that reads a dotted path of the document, as "$"
// and the path would.
func Path(path string) (*Expr, error) {
	n, err := newPath(source{}, path)
	if err != nil {
		return nil, err
	}
	return &Expr{root: n}, nil
}

// Constant makes an expression that always has the value v.
func Constant(v bson.RawValue) *Expr { return &Expr{root: &constant{v}} }

// IsOperator tells whether the name, dollar included, is an expression
// operator of the server that env describes.
func IsOperator(name string, env *Env) bool {
	_, ok := operatorTable[name]
	return ok && env.Supports(operatorTable[name].since)
}

// Fold calculates the constant parts. It must be called before goroutines
// share the expression.
func (e *Expr) Fold() error {
	n, err := e.root.fold()
	if err != nil {
		return err
	}
	e.root = n
	return nil
}

// Constant tells whether the expression has been found constant, and its
// value.
func (e *Expr) Constant() (v bson.RawValue, ok bool) {
	c, ok := e.root.(*constant)
	if !ok {
		return bson.RawValue{}, false
	}
	return c.v, true
}

// FieldPath gives the dotted path, without its dollar, of an expression that
// only reads one from the document.
func (e *Expr) FieldPath() (path string, ok bool) {
	f, ok := e.root.(*fieldPath)
	if !ok || f.from != (source{}) || len(f.path) == 0 {
		return "", false
	}
	return f.dotted(), true
}

// Eval evaluates the expression for a document. The result may share memory
// with doc; a missing result is the zero RawValue. Errors are *mongoerr.Error.
func (e *Expr) Eval(doc bson.Raw, vars Vars) (bson.RawValue, error) {
	switch n := e.root.(type) { // the common ones need no room for variables
	case *constant:
		return n.v, nil
	case *fieldPath:
		if n.from.kind == fromRoot && len(n.path) > 0 {
			return walk(doc, n.path), nil
		}
	}
	s := scope{root: doc, vars: vars}
	if e.slots > len(vars) {
		s.vars = make([]bson.RawValue, e.slots)
		copy(s.vars, vars)
	}
	return e.root.eval(&s)
}

// A scope is what evaluation sees.
type scope struct {
	root bson.Raw
	vars []bson.RawValue
}

// A node is a part of a parsed expression. eval must not change it; fold
// replaces constant parts by their values and is called once.
type node interface {
	eval(s *scope) (bson.RawValue, error)
	fold() (node, error)
}

func fail(code mongoerr.Code, format string, args ...any) error {
	return mongoerr.New(code, format, args...)
}
