package pipeline

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// facetStage is $facet.
type facetStage struct {
	names []string
	subs  []*Pipeline
}

// facetArg splits the argument of $facet into its pipelines.
func facetArg(arg bson.RawValue) (names []string, pipelines [][]bson.Raw, err error) {
	if arg.Type != bson.TypeEmbeddedDocument || value.IsEmpty(arg.Value) {
		return nil, nil, fail(40169, "the $facet specification must be a non-empty object, but found: %s", expr.Show(arg))
	}
	for name, v := range value.Fields(arg.Value) {
		if err := expr.CheckFieldName(name); err != nil {
			return nil, nil, err
		}
		if v.Type != bson.TypeArray {
			return nil, nil, fail(40170, "arguments to $facet must be arrays, %s is type %s", name, value.TypeName(v.Type))
		}
		raw := []bson.Raw{}
		for _, e := range value.Elements(v) {
			if e.Type != bson.TypeEmbeddedDocument {
				return nil, nil, fail(40171, "elements of arrays in $facet spec must be non-empty objects, %s argument contained an element of type %s: %s", name, value.TypeName(e.Type), expr.Show(e))
			}
			raw = append(raw, e.Value)
		}
		names, pipelines = append(names, name), append(pipelines, raw)
	}
	return names, pipelines, nil
}

func checkFacet(p *parser, arg bson.RawValue) error {
	_, pipelines, err := facetArg(arg)
	if err != nil {
		return err
	}
	for _, raw := range pipelines {
		if err := p.checkStages(raw); err != nil {
			return err
		}
	}
	return nil
}

func parseFacet(p *parser, arg bson.RawValue) ([]stage, error) {
	names, pipelines, err := facetArg(arg)
	if err != nil {
		return nil, err
	}
	f := &facetStage{names: names}
	for _, raw := range pipelines {
		sub, err := p.sub(raw, p.ns.Coll, inFacet)
		if err != nil {
			return nil, err
		}
		f.subs = append(f.subs, sub)
	}
	return []stage{f}, nil
}

func (f *facetStage) fold() error {
	for _, sub := range f.subs {
		if err := sub.fold(); err != nil {
			return err
		}
	}
	return nil
}

func (f *facetStage) reads() []Namespace {
	var out []Namespace
	for _, sub := range f.subs {
		out = append(out, sub.Namespaces()...)
	}
	return out
}

// maxFacet bounds the document that $facet makes.
const maxFacet = 100 << 20

func (f *facetStage) run(r *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		var all []bson.Raw
		gathered := after(in, func(doc bson.Raw) error {
			all = append(all, doc)
			return nil
		}, func(emit func(bson.Raw) bool) error {
			doc, err := f.facets(r, all)
			if err == nil {
				emit(doc)
			}
			return err
		})
		gathered(yield)
	}
}

func (f *facetStage) facets(r *run, all []bson.Raw) (bson.Raw, error) {
	source := func(yield func(bson.Raw, error) bool) {
		for _, doc := range all {
			if !yield(doc, nil) {
				return
			}
		}
	}
	var out value.Object
	size := 0
	for i, sub := range f.subs {
		var items value.Arr
		for doc, err := range sub.flow(r, source) {
			if err != nil {
				return nil, err
			}
			items.Add(value.Doc(doc))
			if size += len(doc); size > maxFacet {
				return nil, fail(4031700, "document constructed by $facet is %d bytes, which exceeds the limit of %d bytes", size, maxFacet)
			}
		}
		out.Add(f.names[i], items.Value())
	}
	return out.Doc(), nil
}

// unionStage is $unionWith.
type unionStage struct{ sub *Pipeline }

// unionArg reads a collection's name, or a collection and a pipeline.
func unionArg(arg bson.RawValue) (coll string, raw []bson.Raw, err error) {
	switch arg.Type {
	case bson.TypeString:
		return value.AsString(arg), nil, nil
	case bson.TypeEmbeddedDocument:
	default:
		return "", nil, fail(mongoerr.FailedToParse, "the $unionWith stage specification must be an object or string, but found %s", value.TypeName(arg.Type))
	}
	named := false
	for k, v := range value.Fields(arg.Value) {
		switch k {
		case "coll":
			if v.Type != bson.TypeString {
				return "", nil, fail(mongoerr.TypeMismatch, "BSON field '$unionWith.coll' is the wrong type '%s', expected type 'string'", value.TypeName(v.Type))
			}
			coll, named = value.AsString(v), true
		case "pipeline":
			if v.Type != bson.TypeArray {
				return "", nil, fail(mongoerr.TypeMismatch, "BSON field '$unionWith.pipeline' is the wrong type '%s', expected type 'array'", value.TypeName(v.Type))
			}
			for i, e := range value.Elements(v) {
				if e.Type != bson.TypeEmbeddedDocument {
					return "", nil, fail(mongoerr.TypeMismatch, "BSON field '$unionWith.pipeline.%d' is the wrong type '%s', expected type 'object'", i, value.TypeName(e.Type))
				}
				raw = append(raw, e.Value)
			}
		default:
			return "", nil, fail(40415, "BSON field '$unionWith.%s' is an unknown field.", k)
		}
	}
	if !named {
		return "", nil, fail(40414, "BSON field '$unionWith.coll' is missing but a required field")
	}
	return coll, raw, nil
}

func checkUnionWith(p *parser, arg bson.RawValue) error {
	_, raw, err := unionArg(arg)
	if err != nil {
		return err
	}
	return p.checkStages(raw)
}

func parseUnionWith(p *parser, arg bson.RawValue) ([]stage, error) {
	coll, raw, err := unionArg(arg)
	if err != nil {
		return nil, err
	}
	sub, err := p.sub(raw, coll, inUnion)
	if err != nil {
		return nil, err
	}
	return []stage{&unionStage{sub}}, nil
}

func (u *unionStage) fold() error        { return u.sub.fold() }
func (u *unionStage) reads() []Namespace { return append([]Namespace{u.sub.ns}, u.sub.Namespaces()...) }

func (u *unionStage) run(r *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		for _, source := range [...]docs{in, u.sub.read(r)} {
			for doc, err := range source {
				if !yield(doc, err) || err != nil {
					return
				}
			}
		}
	}
}

// statsStage is $collStats or $indexStats.
type statsStage struct {
	plain
	ns      Namespace
	spec    bson.Raw
	indexes bool
}

func parseCollStats(p *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(40166, "$collStats must take a nested object but found: %s", expr.Show(arg))
	}
	for k, v := range value.Fields(arg.Value) {
		switch k {
		case "latencyStats", "storageStats", "count", "queryExecStats":
			if v.Type != bson.TypeEmbeddedDocument {
				code := mongoerr.Code(40167)
				if k == "storageStats" {
					code = 40279
				}
				return nil, fail(code, "%s argument must be an object, but got %s of type %s", k, expr.Show(v), value.TypeName(v.Type))
			}
		default:
			return nil, fail(40168, "unrecognized option to $collStats: %s", k)
		}
	}
	return []stage{&statsStage{ns: p.ns, spec: arg.Value}}, nil
}

func parseIndexStats(p *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument || !value.IsEmpty(arg.Value) {
		return nil, fail(28803, "The $indexStats stage specification must be an empty object")
	}
	return []stage{&statsStage{ns: p.ns, indexes: true}}, nil
}

func (s *statsStage) run(r *run, _ docs) docs {
	if s.indexes {
		return r.host.IndexStats(r.ctx, s.ns)
	}
	return func(yield func(bson.Raw, error) bool) {
		yield(r.host.CollStats(r.ctx, s.ns, s.spec))
	}
}

// changeStreamStage marks a change stream, whose events the host provides.
type changeStreamStage struct {
	plain
	spec bson.Raw
}

func parseChangeStream(_ *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(50808, "$changeStream stage expects a document as argument.")
	}
	return []stage{&changeStreamStage{spec: arg.Value}}, nil
}

func (s *changeStreamStage) run(_ *run, in docs) docs { return in }

// documentsStage is $documents.
type documentsStage struct{ e *expr.Expr }

func parseDocuments(p *parser, arg bson.RawValue) ([]stage, error) {
	e, err := expr.ParseLazily(arg, p.env)
	return []stage{&documentsStage{e}}, err
}

func (d *documentsStage) fold() error { return d.e.Fold() }

func (d *documentsStage) run(r *run, _ docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		v, err := d.e.Eval(bson.Raw{5, 0, 0, 0, 0}, r.vars)
		if err == nil && v.Type != bson.TypeArray {
			err = fail(5858203, "an array is expected")
		}
		for _, e := range value.Elements(v) {
			if err == nil && e.Type != bson.TypeEmbeddedDocument {
				err = fail(40228, "'newRoot' expression must evaluate to an object, but resulting value was: %s", expr.Show(e))
			}
			if err != nil || !yield(e.Value, nil) {
				break
			}
		}
		if err != nil {
			yield(nil, err)
		}
	}
}
