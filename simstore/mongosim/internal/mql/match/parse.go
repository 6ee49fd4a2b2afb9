package match

import (
	"math/rand/v2"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// maxDepth bounds the nesting of a filter, as the server bounds the nesting
// of documents.
const maxDepth = 200

// A level says which documents a part of a filter is applied to.
type level int

const (
	levelTop     level = iota // the user's document, at the root of the filter
	levelUser                 // the user's document
	levelElement              // a document inside it
)

// A parser builds nodes out of a filter document.
type parser struct {
	env     *expr.Env
	allowed Features
	hasExpr bool
	depth   int
}

func (p *parser) enter() error {
	p.depth++
	if p.depth > maxDepth {
		return mongoerr.New(mongoerr.Overflow, "exceeded maximum nesting depth of %d in a filter", maxDepth)
	}
	return nil
}

// filter parses a whole filter document.
func (p *parser) filter(doc bson.Raw, at level) (node, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer func() { p.depth-- }()
	next := at
	if at == levelTop {
		next = levelUser
	}
	all := &and{}
	for name, v := range value.Fields(doc) {
		var n node
		var err error
		switch {
		case strings.HasPrefix(name, "$"):
			parse := pathlessOperator(name[1:])
			if parse == nil {
				return nil, mongoerr.New(mongoerr.BadValue, "unknown top level operator: %s", name)
			}
			n, err = parse(p, name, v, at)
		case isOperatorDoc(v, false):
			if err := p.conditions(name, v.Value, all, next); err != nil {
				return nil, err
			}
		case v.Type == bson.TypeRegex:
			pattern, options := value.AsRegex(v)
			n, err = regexLeaf(name, pattern, options)
		default:
			n, err = comparisonLeaf(kindEq, name, v)
		}
		if err != nil {
			return nil, err
		}
		if n != nil {
			all.nodes = append(all.nodes, n)
		}
	}
	if len(all.nodes) == 1 {
		return all.nodes[0], nil
	}
	return all, nil
}

// conditions parses {$gt: 5, $lt: 8} for one path and adds them to all.
func (p *parser) conditions(path string, doc bson.Raw, all *and, at level) error {
	if err := p.enter(); err != nil {
		return err
	}
	defer func() { p.depth-- }()
	for op, v := range value.Fields(doc) {
		n, err := p.condition(path, op, v, doc, at)
		if err != nil {
			return err
		}
		if n != nil {
			all.nodes = append(all.nodes, n)
		}
	}
	return nil
}

// condition parses one operator applied to a path; context is the document it
// stands in.
func (p *parser) condition(path, op string, v bson.RawValue, context bson.Raw, at level) (node, error) {
	if strings.HasPrefix(op, "$") {
		if parse := pathOperator(op[1:]); parse != nil {
			return parse(p, operand{path: path, op: op, v: v, context: context, at: at})
		}
	}
	if op == "$where" {
		return nil, mongoerr.New(mongoerr.BadValue, "$where cannot be applied to a field")
	}
	return nil, mongoerr.New(mongoerr.BadValue, "unknown operator: %s", op)
}

// An operand is what an operator on a path is given.
type operand struct {
	path    string
	op      string
	v       bson.RawValue
	context bson.Raw
	at      level
}

// IsPathOperator tells whether name, with its dollar, is an operator on a
// path as far as $pull and $all are concerned: $eq and $not don't count.
func IsPathOperator(name string) bool {
	if !strings.HasPrefix(name, "$") || name == "$eq" || name == "$not" {
		return false
	}
	return pathOperator(name[1:]) != nil
}

// isOperatorDoc tells whether v is a document of operators: its first name
// starts with a dollar and it isn't a DBRef.
func isOperatorDoc(v bson.RawValue, incompleteDBRef bool) bool {
	if v.Type != bson.TypeEmbeddedDocument {
		return false
	}
	first, _, _, ok := value.Next(value.Body(v.Value))
	if !ok || !strings.HasPrefix(first, "$") {
		return false
	}
	var ref, id, db bool
	for name := range value.Fields(v.Value) {
		ref = ref || name == "$ref"
		id = id || name == "$id"
		db = db || name == "$db"
	}
	if incompleteDBRef {
		return !ref && !id && !db
	}
	return !ref || !id
}

func comparisonLeaf(op kind, path string, v bson.RawValue) (node, error) {
	if v.Type == bson.TypeRegex && op != kindEq {
		return nil, mongoerr.New(mongoerr.BadValue, "Can't have RegEx as arg to predicate over field '%s'.", path)
	}
	c, err := newComparison(op, v)
	if err != nil {
		return nil, err
	}
	return newLeaf(op, path, true, c), nil
}

// tree parses $and, $or, $nor.
func tree(combine func([]node) node) parsePathless {
	return func(p *parser, name string, v bson.RawValue, at level) (node, error) {
		if v.Type != bson.TypeArray {
			return nil, mongoerr.New(mongoerr.BadValue, "%s must be an array", name)
		}
		var nodes []node
		for _, x := range value.Elements(v) {
			if x.Type != bson.TypeEmbeddedDocument {
				return nil, mongoerr.New(mongoerr.BadValue, "$or/$and/$nor entries need to be full objects")
			}
			n, err := p.filter(x.Value, at)
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, n)
		}
		if len(nodes) == 0 {
			return nil, mongoerr.New(mongoerr.BadValue, "$and/$or/$nor must be a nonempty array")
		}
		return combine(nodes), nil
	}
}

func always(truth bool) parsePathless {
	return func(_ *parser, name string, v bson.RawValue, _ level) (node, error) {
		n, err := exactLong(name, v)
		if err != nil {
			return nil, err
		}
		if n != 1 {
			return nil, mongoerr.New(mongoerr.FailedToParse, "%s must be an integer value of 1", name)
		}
		return constant(truth), nil
	}
}

func (p *parser) not(o operand) (node, error) {
	switch {
	case o.v.Type == bson.TypeRegex:
		pattern, options := value.AsRegex(o.v)
		n, err := regexLeaf(o.path, pattern, options)
		if err != nil {
			return nil, err
		}
		return &not{n}, nil
	case o.v.Type != bson.TypeEmbeddedDocument:
		return nil, mongoerr.New(mongoerr.BadValue, "$not needs a regex or a document")
	case value.IsEmpty(o.v.Value):
		return nil, mongoerr.New(mongoerr.BadValue, "$not cannot be empty")
	}
	all := &and{}
	if err := p.conditions(o.path, o.v.Value, all, o.at); err != nil {
		return nil, err
	}
	return &not{all}, nil
}

func (p *parser) expression(_ string, v bson.RawValue, at level) (node, error) {
	if at == levelElement {
		return nil, mongoerr.New(mongoerr.BadValue, "$expr can only be applied to the top-level document")
	}
	if p.allowed&FeatureExpr == 0 {
		return nil, mongoerr.New(mongoerr.QueryFeatureNotAllowed, "$expr is not allowed in this context")
	}
	e, err := expr.Parse(v, p.env)
	if err != nil {
		return nil, err
	}
	p.hasExpr = true
	return &expression{e: e}, nil
}

// An expression is $expr.
type expression struct{ e *expr.Expr }

func (e *expression) kind() kind       { return kindExpr }
func (e *expression) pathText() string { return "" }
func (e *expression) children() []node { return nil }
func (e *expression) optimize() node   { return e }

func (e *expression) eval(how view, x bson.RawValue, st *state) bool {
	doc := bson.Raw(x.Value)
	if how != asDocument {
		o := value.NewObject(len(x.Value) + 8)
		o.Add("", x)
		doc = o.Doc()
	}
	v, err := e.e.Eval(doc, nil)
	if err != nil {
		if st != nil && st.err == nil {
			st.err = err
		}
		return false
	}
	return value.Truthy(v)
}

func (p *parser) where(_ string, _ bson.RawValue, at level) (node, error) {
	if p.allowed&FeatureJavaScript != 0 && at == levelElement {
		return nil, mongoerr.New(mongoerr.BadValue, "$where can only be applied to the top-level document")
	}
	// A server whose JavaScript engine is switched off says the same.
	return nil, mongoerr.New(mongoerr.BadValue, "no globalScriptEngine in $where parsing")
}

func (p *parser) text(_ string, _ bson.RawValue, at level) (node, error) {
	if at == levelElement {
		return nil, mongoerr.New(mongoerr.BadValue, "$text can only be applied to the top-level document")
	}
	if p.allowed&FeatureText == 0 {
		return nil, mongoerr.New(mongoerr.BadValue, "$text is not allowed in this context")
	}
	return nil, mongoerr.New(mongoerr.IndexNotFound, "text index required for $text query")
}

// A sample is $sampleRate between 0 and 1.
type sample float64

func (s sample) kind() kind                            { return kindExpr }
func (s sample) pathText() string                      { return "" }
func (s sample) children() []node                      { return nil }
func (s sample) optimize() node                        { return s }
func (s sample) eval(view, bson.RawValue, *state) bool { return rand.Float64() < float64(s) }

func (p *parser) sampleRate(_ string, v bson.RawValue, at level) (node, error) {
	if at == levelElement {
		return nil, mongoerr.New(mongoerr.BadValue, "$sampleRate can only be applied to the top-level document")
	}
	if !value.IsNumber(v) {
		return nil, mongoerr.New(mongoerr.BadValue, "argument to $sampleRate must be a numeric type")
	}
	x := value.ToDouble(v)
	if !(x >= 0 && x <= 1) { // also NaN
		return nil, mongoerr.New(mongoerr.BadValue, "numeric argument to $sampleRate must be in [0, 1]")
	}
	return sample(x), nil
}
