package project

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A Projection is a parsed projection. It is safe for concurrent use.
type Projection struct {
	root    *node
	reshape []reshape // steps on the whole result, in order

	positional bool
}

// Positional tells whether the projection takes the element that the filter matched ("a.$").
func (p *Projection) Positional() bool { return p.positional }

// A reshape changes a result after its fields have been chosen; original is
// the document before.
type reshape interface {
	reshape(original, result bson.Raw) (bson.Raw, error)
}

// Parse checks the projection of a find with the given filter, which the
// positional operator refers to; nil stands for a context without one. Errors
// are *mongoerr.Error with the code a server refuses with.
func Parse(spec bson.Raw, filter *match.Filter, env *expr.Env) (*Projection, error) {
	if env == nil {
		env = &expr.Env{}
	}
	p := &parser{env: env, filter: filter}
	tree, err := p.parse(spec)
	if err != nil {
		return nil, err
	}
	out := &Projection{root: newNode(p.mode == inclusion), positional: p.hasPositional}
	out.build(tree, nil)
	return out, nil
}

// build adds a part and all below it to the nodes that carry a projection out.
func (p *Projection) build(t *part, path []string) {
	for _, name := range t.names {
		child := t.below[name]
		at := append(slices.Clip(path), name)
		switch leaf := child.leaf.(type) {
		case nil:
			p.build(child, at)
		case bool:
			if p.root.including && !leaf {
				continue // only _id is excluded from what is included
			}
			p.root.mark(at)
		case computed:
			p.root.compute(at, leaf)
		case *elemMatch:
			p.root.compute(at, leaf)
		case *slice:
			if p.root.including {
				p.root.mark(at)
			}
			p.reshape = append(p.reshape, sliceAt{leaf, at})
		case *positional:
			p.root.mark(at)
			p.reshape = append(p.reshape, positionalAt{leaf.f, at})
		}
	}
}

// Apply shapes a document. The result may share memory with doc. Errors are
// *mongoerr.Error.
func (p *Projection) Apply(doc bson.Raw) (bson.Raw, error) {
	out := bson.Raw(p.root.appendDoc(make([]byte, 0, len(doc)), doc))
	var err error
	if p.root.computes {
		if out, err = p.root.computeDoc(doc, out); err != nil {
			return nil, err
		}
	}
	for _, s := range p.reshape {
		if out, err = s.reshape(doc, out); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// An evaluator computes a field from the whole document.
type evaluator interface {
	evaluate(doc bson.Raw) (bson.RawValue, error)
}

func (c computed) evaluate(doc bson.Raw) (bson.RawValue, error) { return c.e.Eval(doc, nil) }

// evaluate gives an array of the first element that matches, nothing if there
// is none.
func (m *elemMatch) evaluate(doc bson.Raw) (bson.RawValue, error) {
	ok, index, err := m.f.MatchPosition(doc)
	if err != nil || !ok {
		return bson.RawValue{}, err
	}
	return value.ArrayOf(value.Index(value.Field(doc, m.name), index)), nil
}

// sliceAt cuts the arrays at a path.
type sliceAt struct {
	s    *slice
	path []string
}

func (s sliceAt) reshape(_, result bson.Raw) (bson.Raw, error) {
	return s.document(result, s.path), nil
}

func (s sliceAt) document(doc bson.Raw, path []string) bson.Raw {
	v := value.Field(doc, path[0])
	switch {
	case v.Type == bson.TypeArray && len(path) == 1:
		v = s.s.cut(v)
	case v.Type == bson.TypeArray:
		var items value.Arr
		for _, x := range value.Elements(v) {
			if x.Type == bson.TypeEmbeddedDocument {
				x = value.Doc(s.document(x.Value, path[1:]))
			}
			items.Add(x)
		}
		v = items.Value()
	case v.Type == bson.TypeEmbeddedDocument && len(path) > 1:
		v = value.Doc(s.document(v.Value, path[1:]))
	default:
		return doc
	}
	return value.With(doc, path[0], v)
}

// cut gives the part of an array that a $slice asks for.
func (s *slice) cut(arr bson.RawValue) bson.RawValue {
	n := int64(value.Len(arr))
	start, count := int64(0), int64(0)
	switch {
	case s.skip == nil && s.limit < 0:
		start = max(0, n+s.limit)
		count = n - start
	case s.skip == nil:
		count = min(n, s.limit)
	case *s.skip < 0:
		start = max(0, n+*s.skip)
		count = min(n-start, s.limit)
	default:
		start = min(n, *s.skip)
		count = min(n-start, s.limit)
	}
	var out value.Arr
	for i, v := range value.Elements(arr) {
		if at := int64(i); at >= start && at < start+count {
			out.Add(v)
		}
	}
	return out.Value()
}

// positionalAt reduces the first array on a path to the element that the
// filter matched.
type positionalAt struct {
	f    *match.Filter
	path []string
}

func (p positionalAt) reshape(original, result bson.Raw) (bson.Raw, error) {
	_, index, err := p.f.MatchPosition(original)
	if err != nil {
		return nil, err
	}
	doc := result
	for i, name := range p.path {
		v := value.Field(doc, name)
		switch v.Type {
		case bson.TypeEmbeddedDocument:
			doc = v.Value
		case bson.TypeArray:
			if index < 0 {
				return nil, mongoerr.New(51246, "Executor error during find command :: caused by :: positional operator '.$' couldn't find a matching element in the array")
			}
			x := value.Index(v, index)
			if x.Type == 0 {
				return nil, mongoerr.New(51247, "Executor error during find command :: caused by :: positional operator '.$' element mismatch")
			}
			return withNested(result, p.path[:i+1], value.ArrayOf(x)), nil
		}
	}
	return result, nil
}

// withNested sets the value at a path of documents.
func withNested(doc bson.Raw, path []string, v bson.RawValue) bson.Raw {
	if len(path) > 1 {
		below := value.Field(doc, path[0])
		inner := bson.Raw{5, 0, 0, 0, 0}
		if below.Type == bson.TypeEmbeddedDocument {
			inner = below.Value
		}
		v = value.Doc(withNested(inner, path[1:], v))
	}
	return value.With(doc, path[0], v)
}

// Fields lists the top-level fields that a result can hold, for a planner; ok
// is false if it can hold others than those too.
func (p *Projection) Fields() (names []string, ok bool) {
	if !p.root.including || p.root.computes || len(p.reshape) > 0 {
		return nil, false
	}
	for name := range p.root.marked {
		names = append(names, name)
	}
	for name := range p.root.children {
		names = append(names, strings.Clone(name))
	}
	return names, true
}
