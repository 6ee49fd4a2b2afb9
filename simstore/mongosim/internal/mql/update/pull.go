package update

import (
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// pop is $pop.
type pop struct{ front bool }

func parsePop(field string, arg bson.RawValue) (operator, error) {
	n, ok := value.Int64Exact(arg)
	switch {
	case !value.IsNumber(arg):
		return nil, mongoerr.New(mongoerr.FailedToParse, "Expected a number in: %s: %s", field, show(arg))
	case !ok:
		return nil, mongoerr.New(mongoerr.FailedToParse, "Expected an integer: %s: %s", field, show(arg))
	case n != 1 && n != -1:
		return nil, mongoerr.New(mongoerr.FailedToParse, "$pop expects 1 or -1, found: %d", n)
	}
	return pop{front: n == -1}, nil
}

func (p pop) update(r *run, e *element) (outcome, error) {
	if !e.isArray() {
		return unchanged, mongoerr.New(mongoerr.TypeMismatch,
			"Path '%s' contains an element of non-array type '%s'", r.dotted(), value.TypeName(e.typ()))
	}
	kids := e.open()
	switch {
	case len(kids) == 0:
		return unchanged, nil
	case p.front:
		e.kids = kids[1:]
	default:
		e.kids = kids[:len(kids)-1]
	}
	return changed, nil
}

// cull is $pull or $pullAll: it removes the elements that gone accepts.
type cull struct {
	gone func(v bson.RawValue) (bool, error)
}

func parsePullAll(arg bson.RawValue) (operator, error) {
	if arg.Type != bson.TypeArray {
		return nil, mongoerr.New(mongoerr.BadValue, "$pullAll requires an array argument but was given a %s", value.TypeName(arg.Type))
	}
	values := value.Slice(arg)
	return cull{func(v bson.RawValue) (bool, error) { return containsValue(values, v), nil }}, nil
}

// parsePull reads a value to be equal to, a filter for documents, or operators
// for values.
func parsePull(arg bson.RawValue, env *expr.Env) (operator, error) {
	onValue := arg.Type == bson.TypeRegex
	if arg.Type == bson.TypeEmbeddedDocument {
		first, _, _, _ := value.Next(value.Body(arg.Value))
		onValue = match.IsPathOperator(first)
	}
	switch {
	case onValue:
		var wrapped value.Object
		wrapped.Add("", arg)
		f, err := match.ParseWith(wrapped.Doc(), env, match.NoFeatures)
		if err != nil {
			return nil, err
		}
		return cull{f.MatchValue}, nil
	case arg.Type == bson.TypeEmbeddedDocument:
		f, err := match.ParseWith(arg.Value, env, match.NoFeatures)
		if err != nil {
			return nil, err
		}
		return cull{func(v bson.RawValue) (bool, error) {
			if v.Type != bson.TypeEmbeddedDocument {
				return false, nil
			}
			return f.Match(v.Value)
		}}, nil
	}
	return cull{func(v bson.RawValue) (bool, error) { return value.Compare(v, arg) == 0, nil }}, nil
}

func (c cull) update(_ *run, e *element) (outcome, error) {
	if !e.isArray() {
		return unchanged, mongoerr.New(mongoerr.BadValue, "Cannot apply $pull to a non-array value")
	}
	before := len(e.open())
	var failed error
	e.kids = slices.DeleteFunc(e.kids, func(k *element) bool {
		gone, err := c.gone(k.value())
		if err != nil {
			failed = err
		}
		return gone
	})
	if failed != nil || len(e.kids) == before {
		return unchanged, failed
	}
	return changed, nil
}
