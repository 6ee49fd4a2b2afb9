package pipeline

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// lookupStage is $lookup: by equality of fields, by a pipeline, or, since
// 5.0, by both.
type lookupStage struct {
	from          Namespace
	as            []string
	local         []string
	foreign       string
	let           []*expr.Expr
	sub           *Pipeline // nil without a pipeline
	env           *expr.Env
	hasEqualities bool
}

func checkLookup(p *parser, arg bson.RawValue) error {
	if err := checkFrom(p, "$lookup", arg); err != nil {
		return err
	}
	sub := value.Field(arg.Value, "pipeline")
	if sub.Type == 0 {
		return nil
	}
	raw, err := pipelineArg(sub)
	if err != nil {
		return err
	}
	return p.checkStages(raw)
}

// checkFrom checks the collection that $lookup or $graphLookup reads.
func checkFrom(p *parser, name string, arg bson.RawValue) error {
	if arg.Type != bson.TypeEmbeddedDocument {
		return fail(mongoerr.FailedToParse, "the %s stage specification must be an object, but found %s", name, value.TypeName(arg.Type))
	}
	from := value.Field(arg.Value, "from")
	if from.Type == 0 {
		if name == "$lookup" && p.env.Supports(expr.V50) && value.Field(arg.Value, "pipeline").Type != 0 {
			return nil // a pipeline that begins with $documents
		}
		return fail(mongoerr.FailedToParse, "missing 'from' option to %s stage specification: %s", name, expr.Show(arg))
	}
	if from.Type != bson.TypeString {
		return fail(mongoerr.FailedToParse, "'from' option to %s must be a string, but was type %s", name, value.TypeName(from.Type))
	}
	if !readableCollection(value.AsString(from)) {
		return fail(mongoerr.InvalidNamespace, "invalid %s namespace: %s.%s", name, p.ns.DB, value.AsString(from))
	}
	return nil
}

// readableCollection tells whether a stage may read a collection of that name, if only to find that there is none.
func readableCollection(name string) bool {
	return name != "" && name[0] != '.' && !strings.ContainsRune(name, 0)
}

func validCollection(name string) bool {
	return name != "" && name[0] != '.' && !strings.ContainsAny(name, "\x00$")
}

func parseLookup(p *parser, arg bson.RawValue) ([]stage, error) {
	l := &lookupStage{from: p.ns, env: p.env}
	var let, sub bson.RawValue
	as, local := "", ""
	for k, v := range value.Fields(arg.Value) {
		switch k {
		case "pipeline":
			sub = v
			continue
		case "let":
			if v.Type != bson.TypeEmbeddedDocument {
				return nil, fail(mongoerr.FailedToParse, "$lookup argument 'let' must be an object, is type %s", value.TypeName(v.Type))
			}
			let = v
			continue
		}
		if v.Type != bson.TypeString {
			return nil, fail(mongoerr.FailedToParse, "$lookup argument '%s' must be a string, found %s", k, value.TypeName(v.Type))
		}
		switch s := value.AsString(v); k {
		case "from":
			l.from.Coll = s
		case "as":
			as = s
		case "localField":
			local = s
		case "foreignField":
			l.foreign = s
		default:
			return nil, fail(mongoerr.FailedToParse, "unknown argument to $lookup: %s", k)
		}
	}
	if as == "" {
		return nil, fail(mongoerr.FailedToParse, "must specify 'as' field for a $lookup")
	}
	l.hasEqualities = local != "" || l.foreign != ""
	switch {
	case sub.Type != 0 && l.hasEqualities && !p.env.Supports(expr.V50):
		return nil, fail(mongoerr.FailedToParse, "$lookup with 'pipeline' may not specify 'localField' or 'foreignField'")
	case (sub.Type == 0 || l.hasEqualities) && (local == "" || l.foreign == ""):
		return nil, fail(mongoerr.FailedToParse, "$lookup requires either 'pipeline' or both 'localField' and 'foreignField' to be specified")
	case sub.Type == 0 && let.Type != 0:
		return nil, fail(mongoerr.FailedToParse, "$lookup with a 'let' argument must also specify 'pipeline'")
	}
	var err error
	if l.as, err = parsePath(as); err != nil {
		return nil, err
	}
	if l.hasEqualities {
		if l.local, err = parsePath(local); err != nil {
			return nil, err
		}
		if err := expr.CheckPath(l.foreign); err != nil {
			return nil, err
		}
	}
	if sub.Type != 0 {
		return []stage{l}, l.parsePipeline(p, let, sub)
	}
	return []stage{l}, nil
}

func (l *lookupStage) parsePipeline(p *parser, let, sub bson.RawValue) error {
	var names []string
	if let.Type != 0 {
		for name, v := range value.Fields(let.Value) {
			if err := expr.CheckNewVariable(name); err != nil {
				return err
			}
			e, err := expr.ParseLazily(v, p.env)
			if err != nil {
				return err
			}
			names, l.let = append(names, name), append(l.let, e)
		}
	}
	raw, err := pipelineArg(sub)
	if err != nil {
		return err
	}
	l.sub, err = p.sub(raw, l.from.Coll, inLookup, names...)
	return err
}

func (l *lookupStage) fold() error {
	for _, e := range l.let {
		if err := e.Fold(); err != nil {
			return err
		}
	}
	if l.sub != nil {
		return l.sub.fold()
	}
	return nil
}

func (l *lookupStage) reads() []Namespace {
	out := []Namespace{l.from}
	if l.sub != nil {
		out = append(out, l.sub.Namespaces()...)
	}
	return out
}

// maxLookup bounds what one document may be joined with, in bytes.
const maxLookup = 100 << 20

func (l *lookupStage) run(r *run, in docs) docs {
	return each(in, func(doc bson.Raw) (bson.Raw, error) {
		found, err := l.matches(r, doc)
		if err != nil {
			return nil, err
		}
		var out value.Arr
		for other, err := range found {
			if err != nil {
				return nil, err
			}
			out.Add(value.Doc(other))
			if out.Size() > maxLookup {
				return nil, fail(4568, "Total size of documents in %s matching pipeline's $lookup stage exceeds %d bytes", l.from.Coll, maxLookup)
			}
		}
		return withPath(doc, l.as, out.Value()), nil
	})
}

// matches gives the documents to join doc with.
func (l *lookupStage) matches(r *run, doc bson.Raw) (docs, error) {
	inner := *r
	if l.sub != nil {
		inner.vars = append(expr.Vars(nil), r.vars...)
		for _, e := range l.let {
			v, err := e.Eval(doc, r.vars)
			if err != nil {
				return nil, err
			}
			inner.vars = append(inner.vars, v)
		}
	}
	if !l.hasEqualities {
		return l.sub.read(&inner), nil
	}
	f, err := l.filter(doc)
	if err != nil {
		return nil, err
	}
	found := r.host.Scan(r.ctx, l.from, f)
	if l.sub == nil {
		return found, nil
	}
	return l.sub.flow(&inner, found), nil
}

// filter selects the documents whose foreign field equals one of the values of
// doc's local field; no value at all stands for null.
func (l *lookupStage) filter(doc bson.Raw) (*match.Filter, error) {
	var wanted []bson.RawValue
	regex := false
	_ = visitValues(doc, l.local, func(v bson.RawValue) error {
		wanted = append(wanted, v)
		regex = regex || v.Type == bson.TypeRegex
		return nil
	})
	if len(wanted) == 0 {
		wanted = []bson.RawValue{value.Null()}
	}
	var spec bson.RawValue
	switch {
	case len(wanted) == 1:
		spec = object(l.foreign, object("$eq", wanted[0]))
	case !regex:
		spec = object(l.foreign, object("$in", value.ArrayOf(wanted...)))
	default:
		var any value.Arr
		for _, v := range wanted {
			any.Add(object(l.foreign, object("$eq", v)))
		}
		spec = object("$or", any.Value())
	}
	return match.Parse(spec.Value, l.env)
}
