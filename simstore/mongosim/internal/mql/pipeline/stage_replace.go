package pipeline

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// replaceStage is $replaceRoot or $replaceWith.
type replaceStage struct {
	root *expr.Expr
	what string
}

func parseReplaceRoot(p *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(40229, "expected an object as specification for $replaceRoot stage, got %s", value.TypeName(arg.Type))
	}
	var root bson.RawValue
	for k, v := range value.Fields(arg.Value) {
		if k != "newRoot" {
			return nil, fail(40415, "BSON field '$replaceRoot.%s' is an unknown field.", k)
		}
		if root.Type != 0 {
			return nil, fail(40413, "BSON field '$replaceRoot.newRoot' is a duplicate field")
		}
		root = v
	}
	if root.Type == 0 {
		return nil, fail(40414, "BSON field '$replaceRoot.newRoot' is missing but a required field")
	}
	return replace(p, root, "'newRoot' expression ")
}

func parseReplaceWith(p *parser, arg bson.RawValue) ([]stage, error) {
	return replace(p, arg, "'replacement document' ")
}

func replace(p *parser, root bson.RawValue, what string) ([]stage, error) {
	e, err := expr.ParseLazily(root, p.env)
	if err != nil {
		return nil, err
	}
	return []stage{&replaceStage{e, what}}, nil
}

func (s *replaceStage) fold() error { return s.root.Fold() }

func (s *replaceStage) run(r *run, in docs) docs {
	return each(in, func(doc bson.Raw) (bson.Raw, error) {
		v, err := s.root.Eval(doc, r.vars)
		if err != nil {
			return nil, err
		}
		if v.Type != bson.TypeEmbeddedDocument {
			return nil, fail(40228, "%smust evaluate to an object, but resulting value was: %s. Type of resulting value: '%s'. Input document: %s",
				s.what, expr.Show(v), value.TypeName(v.Type), expr.Show(value.Doc(doc)))
		}
		return v.Value, nil
	})
}

// redactStage is $redact.
type redactStage struct{ e *expr.Expr }

// redactVariables come after those of the environment.
func redactVariables() []string { return []string{"CURRENT", "DESCEND", "PRUNE", "KEEP"} }

func parseRedact(p *parser, arg bson.RawValue) ([]stage, error) {
	e, err := expr.ParseLazily(arg, p.env.With(redactVariables()...))
	if err != nil {
		return nil, err
	}
	return []stage{&redactStage{e}}, nil
}

func (s *redactStage) fold() error { return s.e.Fold() }

func (s *redactStage) run(r *run, in docs) docs {
	return each(in, func(doc bson.Raw) (bson.Raw, error) {
		n := len(r.vars)
		vars := append(r.vars[:n:n], value.Doc(doc), value.String("descend"), value.String("prune"), value.String("keep"))
		v, err := redaction{s.e, doc, vars, n}.document(value.Doc(doc), 0)
		if err != nil || v.Type == 0 {
			return nil, err
		}
		return v.Value, nil
	})
}

type redaction struct {
	e       *expr.Expr
	root    bson.Raw
	vars    expr.Vars
	current int
}

// document gives a document as redacted, missing if it is pruned.
func (r redaction) document(doc bson.RawValue, depth int) (bson.RawValue, error) {
	r.vars[r.current] = doc
	decision, err := r.e.Eval(r.root, r.vars)
	if err != nil {
		return bson.RawValue{}, err
	}
	switch what := value.AsString(decision); {
	case decision.Type == bson.TypeString && what == "keep":
		return doc, nil
	case decision.Type == bson.TypeString && what == "prune":
		return bson.RawValue{}, nil
	case decision.Type == bson.TypeString && what == "descend":
		var out value.Object
		for k, v := range value.Fields(doc.Value) {
			if v, err = r.value(v, depth+1); err != nil {
				return bson.RawValue{}, err
			}
			out.Add(k, v)
		}
		return out.Value(), nil
	default:
		return bson.RawValue{}, fail(17053, "$redact's expression should not return anything aside from the variables $$KEEP, $$DESCEND, and $$PRUNE, but returned %s", expr.Show(decision))
	}
}

// maxDepth bounds the recursion into documents.
const maxDepth = 250

func (r redaction) value(v bson.RawValue, depth int) (bson.RawValue, error) {
	if depth > maxDepth {
		return bson.RawValue{}, fail(mongoerr.Overflow, "document is nested too deeply")
	}
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		return r.document(v, depth)
	case bson.TypeArray:
		var out value.Arr
		for _, e := range value.Elements(v) {
			if e.Type == bson.TypeEmbeddedDocument || e.Type == bson.TypeArray {
				var err error
				if e, err = r.value(e, depth+1); err != nil {
					return bson.RawValue{}, err
				}
				if e.Type == 0 {
					continue
				}
			}
			out.Add(e)
		}
		return out.Value(), nil
	default:
		return v, nil
	}
}
