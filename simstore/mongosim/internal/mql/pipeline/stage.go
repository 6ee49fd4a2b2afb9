package pipeline

import (
	"context"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// docs is what flows from stage to stage. After an error nothing follows.
type docs = iter.Seq2[bson.Raw, error]

// A stage turns one flow of documents into another. Its run may be called
// many times, by several goroutines; state belongs into the closure it
// returns.
type stage interface {
	fold() error // calculates constants, once, before anything runs
	run(r *run, in docs) docs
}

// A run is one execution of a pipeline.
type run struct {
	ctx  context.Context
	host Host
	env  *expr.Env
	vars expr.Vars // of env.Scope
}

// A definition is one line of the table of stages.
type definition struct {
	since expr.Version
	parse func(p *parser, arg bson.RawValue) ([]stage, error)

	// check refuses, before any stage is parsed, what the server refuses
	// while it looks for the collections that a pipeline touches. May be nil.
	check func(p *parser, arg bson.RawValue) error

	first, last  bool // only valid there
	inFacet      bool // allowed in a $facet
	inLookup     bool // allowed in a $lookup's pipeline
	inUnion      bool // allowed in a $unionWith's pipeline
	inUpdate     bool // allowed in an update
	onStream     bool // allowed behind $changeStream
	independent  bool // needs {aggregate: 1}
	collection   bool // makes its own documents instead of reading the collection's
	writes       bool // writes to a collection
	changeStream bool
}

// stageTable holds the stages by name.
var stageTable = map[string]*definition{
	"$match":       {parse: parseMatch, inFacet: true, inLookup: true, inUnion: true, onStream: true},
	"$project":     {parse: parseProject, inFacet: true, inLookup: true, inUnion: true, inUpdate: true, onStream: true},
	"$addFields":   {parse: parseAddFields, inFacet: true, inLookup: true, inUnion: true, inUpdate: true, onStream: true},
	"$set":         {parse: parseSet, inFacet: true, inLookup: true, inUnion: true, inUpdate: true, onStream: true},
	"$unset":       {parse: parseUnset, inFacet: true, inLookup: true, inUnion: true, inUpdate: true, onStream: true},
	"$replaceRoot": {parse: parseReplaceRoot, inFacet: true, inLookup: true, inUnion: true, inUpdate: true, onStream: true},
	"$replaceWith": {parse: parseReplaceWith, inFacet: true, inLookup: true, inUnion: true, inUpdate: true, onStream: true},
	"$redact":      {parse: parseRedact, inFacet: true, inLookup: true, inUnion: true, onStream: true},

	"$group":       {parse: parseGroup, inFacet: true, inLookup: true, inUnion: true},
	"$sort":        {parse: parseSort, inFacet: true, inLookup: true, inUnion: true},
	"$limit":       {parse: parseLimit, inFacet: true, inLookup: true, inUnion: true},
	"$skip":        {parse: parseSkip, inFacet: true, inLookup: true, inUnion: true},
	"$unwind":      {parse: parseUnwind, inFacet: true, inLookup: true, inUnion: true},
	"$count":       {parse: parseCount, inFacet: true, inLookup: true, inUnion: true},
	"$sortByCount": {parse: parseSortByCount, inFacet: true, inLookup: true, inUnion: true},
	"$bucket":      {parse: parseBucket, inFacet: true, inLookup: true, inUnion: true},
	"$bucketAuto":  {parse: parseBucketAuto, inFacet: true, inLookup: true, inUnion: true},
	"$sample":      {parse: parseSample, inFacet: true, inLookup: true, inUnion: true},
	"$facet":       {parse: parseFacet, check: checkFacet, inLookup: true, inUnion: true},

	"$lookup":      {parse: parseLookup, check: checkLookup, inFacet: true, inLookup: true, inUnion: true},
	"$graphLookup": {parse: parseGraphLookup, check: checkGraphLookup, inFacet: true, inLookup: true, inUnion: true},
	"$unionWith":   {parse: parseUnionWith, check: checkUnionWith, inFacet: true, inLookup: true, inUnion: true},

	"$out":   {parse: parseOut, check: checkOut, last: true, writes: true},
	"$merge": {parse: parseMerge, check: checkMerge, last: true, writes: true},

	"$collStats":    {parse: parseCollStats, first: true, collection: true, inLookup: true, inUnion: true},
	"$indexStats":   {parse: parseIndexStats, first: true, collection: true, inLookup: true, inUnion: true},
	"$changeStream": {parse: parseChangeStream, first: true, collection: true, changeStream: true, onStream: true},

	"$setWindowFields": {since: expr.V50, parse: parseSetWindowFields, inFacet: true, inLookup: true, inUnion: true},
	"$densify":         {since: expr.V52, parse: parseDensify, inFacet: true, inLookup: true, inUnion: true},
	"$fill":            {since: expr.V52, parse: parseFill, inFacet: true, inLookup: true, inUnion: true},
	"$documents":       {since: expr.V52, parse: parseDocuments, first: true, collection: true, independent: true, inLookup: true, inUnion: true},
}

// A placed stage knows the name and definition that it was written with; an
// alias such as $bucket makes several of them.
type placed struct {
	stage
	name string
	def  *definition
}

// maxPipelines bounds how deep pipelines may be nested in stages.
const maxPipelines = 20

// A parser turns stage documents into stages.
type parser struct {
	env   *expr.Env
	ns    Namespace
	table map[string]*definition
	depth int // of the pipelines around this one
}

// A place is where a pipeline stands, which decides what it may contain.
type place int

const (
	topLevel place = iota
	inFacet
	inLookup
	inUnion
	inUpdate
)

func newParser(ns Namespace, env *expr.Env) *parser {
	if env == nil {
		env = &expr.Env{}
	}
	return &parser{env: env, ns: ns, table: stageTable}
}

// pipeline checks and parses stages.
func (p *parser) pipeline(raw []bson.Raw, where place) (*Pipeline, error) {
	if err := p.checkStages(raw); err != nil {
		return nil, err
	}
	out := &Pipeline{ns: p.ns, env: p.env}
	for _, doc := range raw {
		name, arg, _, _ := value.Next(value.Body(doc))
		def := p.table[name]
		stages, err := def.parse(p, arg)
		if err != nil {
			return nil, err
		}
		for _, s := range stages {
			out.stages = append(out.stages, placed{s, name, def})
		}
	}
	if err := p.checkPlaces(out, where); err != nil {
		return nil, err
	}
	if err := out.optimize(); err != nil {
		return nil, err
	}
	if out.ReadsCollection() && where != inFacet {
		if err := out.pullLimit(); err != nil {
			return nil, err
		}
	}
	out.joinSortAndLimit()
	return out, nil
}

// checkStages looks at the stages' names, and at what check refuses, before
// anything is parsed.
func (p *parser) checkStages(raw []bson.Raw) error {
	for _, doc := range raw {
		name, arg, rest, ok := value.Next(value.Body(doc))
		if _, _, _, more := value.Next(rest); !ok || more {
			return fail(40323, "A pipeline stage specification object must contain exactly one field.")
		}
		def := p.table[name]
		if def == nil || !p.env.Supports(def.since) {
			return fail(40324, "Unrecognized pipeline stage name: '%s'", name)
		}
		if def.check != nil {
			if err := def.check(p, arg); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *parser) checkPlaces(out *Pipeline, where place) error {
	for _, s := range out.stages {
		if err := allowed(s, where); err != nil {
			return err
		}
	}
	if where == topLevel && p.ns.DB != "" {
		if err := p.checkTopLevel(out); err != nil {
			return err
		}
	}
	for i, s := range out.stages {
		if s.def.first && i != 0 {
			return fail(40602, "%s is only valid as the first stage in a pipeline.", s.name)
		}
		if s.def.last && i != len(out.stages)-1 {
			return fail(40601, "%s can only be the final stage in the pipeline", s.name)
		}
	}
	return nil
}

func allowed(s placed, where place) error {
	switch {
	case where == inFacet && !s.def.inFacet:
		return fail(40600, "%s is not allowed to be used within a $facet stage", s.name)
	case where == inLookup && !s.def.inLookup:
		return fail(51047, "%s is not allowed within a $lookup's sub-pipeline", s.name)
	case where == inUnion && !s.def.inUnion:
		return fail(31441, "%s is not allowed within a $unionWith's sub-pipeline", s.name)
	case where == inUpdate && !s.def.inUpdate:
		return fail(mongoerr.InvalidOptions, "%s is not allowed to be used within an update", s.name)
	}
	return nil
}

func (p *parser) checkTopLevel(out *Pipeline) error {
	if len(out.stages) == 0 {
		if p.ns.Coll == "" {
			return fail(mongoerr.InvalidNamespace, "{aggregate: 1} is not valid for an empty pipeline.")
		}
		return nil
	}
	first := out.stages[0]
	if p.ns.Coll == "" && !first.def.independent && !first.def.changeStream {
		return fail(mongoerr.InvalidNamespace, "{aggregate: 1} is not valid for '%s'; a collection is required.", first.name)
	}
	if p.ns.Coll != "" && first.def.independent {
		return fail(mongoerr.InvalidNamespace, "'%s' can only be run with {aggregate: 1}", first.name)
	}
	if first.def.changeStream {
		for _, s := range out.stages {
			if !s.def.onStream {
				return fail(mongoerr.IllegalOperation, "%s is not permitted in a $changeStream pipeline", s.name)
			}
		}
	}
	return nil
}

// sub parses a pipeline inside a stage, on a collection of the same database,
// with further variables.
func (p *parser) sub(raw []bson.Raw, coll string, where place, variables ...string) (*Pipeline, error) {
	if p.depth+1 > maxPipelines {
		return nil, fail(mongoerr.MaxSubPipelineDepthExceeded, "Maximum number of nested sub-pipelines exceeded. Limit is %d", maxPipelines)
	}
	inner := &parser{env: p.env.With(variables...), ns: Namespace{p.ns.DB, coll}, table: p.table, depth: p.depth + 1}
	return inner.pipeline(raw, where)
}

// pipelineArg reads an array of stage documents.
func pipelineArg(v bson.RawValue) ([]bson.Raw, error) {
	if v.Type != bson.TypeArray {
		return nil, fail(mongoerr.TypeMismatch, "'pipeline' option must be specified as an array")
	}
	var out []bson.Raw
	for _, s := range value.Elements(v) {
		if s.Type != bson.TypeEmbeddedDocument {
			return nil, fail(mongoerr.TypeMismatch, "Each element of the 'pipeline' array must be an object")
		}
		out = append(out, s.Value)
	}
	return out, nil
}

func fail(code mongoerr.Code, format string, args ...any) error {
	return mongoerr.New(code, format, args...)
}

// inContext says in which stage an error was met.
func inContext(name string, err error) error {
	if err == nil {
		return nil
	}
	return mongoerr.From(err).WithPrefix("Invalid " + name)
}

// failed is a flow that ends at once with an error.
func failed(err error) docs {
	return func(yield func(bson.Raw, error) bool) { yield(nil, err) }
}

// each makes a flow of what f gives for every document; a nil document is
// left out.
func each(in docs, f func(doc bson.Raw) (bson.Raw, error)) docs {
	return func(yield func(bson.Raw, error) bool) {
		for doc, err := range in {
			if err == nil {
				doc, err = f(doc)
			}
			if err != nil {
				yield(nil, err)
				return
			}
			if doc != nil && !yield(doc, nil) {
				return
			}
		}
	}
}

// after makes a flow that needs all of in before it can begin: f takes each
// document, then emit gives the results until yield says stop.
func after(in docs, f func(doc bson.Raw) error, emit func(yield func(bson.Raw) bool) error) docs {
	return func(yield func(bson.Raw, error) bool) {
		for doc, err := range in {
			if err == nil {
				err = f(doc)
			}
			if err != nil {
				yield(nil, err)
				return
			}
		}
		if err := emit(func(doc bson.Raw) bool { return yield(doc, nil) }); err != nil {
			yield(nil, err)
		}
	}
}

// plain is embedded by stages without expressions.
type plain struct{}

func (plain) fold() error { return nil }
