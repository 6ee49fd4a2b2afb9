package query

import (
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/acc"
	"github.com/annals-es/annals/query/expr"
	"github.com/annals-es/annals/query/internal/literal"
	"github.com/annals-es/annals/query/internal/name"
)

// A LookupOf describes a $lookup: by equal fields, by a pipeline, or by both.
type LookupOf struct {
	// From is the collection to read.
	From string
	// LocalField and ForeignField are compared for equality; both or none.
	LocalField, ForeignField string
	// Let defines variables of this document for Pipeline; use them with expr.Var.
	Let []expr.NamedExpr
	// Pipeline runs on the other collection. With fields as well it needs server 5.0.
	Pipeline Pipeline
	// As is the field that receives the array of results.
	As string
}

// Lookup ($lookup) joins documents of another collection as an array.
func (p Pipeline) Lookup(l LookupOf) Pipeline {
	errs := []error{name.Collection(l.From), labelled("as", name.Path(l.As))}
	d := bson.D{{Key: "from", Value: l.From}}
	fields := l.LocalField != "" || l.ForeignField != ""
	switch {
	case fields:
		errs = append(errs, labelled("localField", name.Path(l.LocalField)), labelled("foreignField", name.Path(l.ForeignField)))
		d = append(d, bson.E{Key: "localField", Value: l.LocalField}, bson.E{Key: "foreignField", Value: l.ForeignField})
	case l.Pipeline.Len() == 0 && len(l.Pipeline.errs) == 0:
		errs = append(errs, errors.New("it needs fields or a pipeline"))
	}
	if l.Pipeline.Len() > 0 || len(l.Pipeline.errs) > 0 || !fields {
		let, err := variables(l.Let)
		errs = append(errs, err)
		if let != nil {
			d = append(d, bson.E{Key: "let", Value: let})
		}
		inner, err := l.Pipeline.nested()
		errs = append(errs, err)
		d = append(d, bson.E{Key: "pipeline", Value: inner})
	} else if len(l.Let) > 0 {
		errs = append(errs, errors.New("let is of no use without a pipeline"))
	}
	d = append(d, bson.E{Key: "as", Value: l.As})
	if err := errors.Join(errs...); err != nil {
		return p.broken("$lookup", err)
	}
	return p.add("$lookup", d)
}

func labelled(label string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", label, err)
}

func variables(let []expr.NamedExpr) (bson.D, error) {
	var d bson.D
	var errs []error
	for i, v := range let {
		errs = append(errs, labelled("let", name.Variable(v.Name)))
		for _, earlier := range let[:i] {
			if earlier.Name == v.Name {
				errs = append(errs, fmt.Errorf("let: %q is given twice", v.Name))
			}
		}
		x, err := expr.Of(v.Value).Build()
		errs = append(errs, labelled("let: "+v.Name, err))
		d = append(d, bson.E{Key: v.Name, Value: x})
	}
	return d, errors.Join(errs...)
}

// nested builds a pipeline that stands inside of a stage and so can't write.
func (p Pipeline) nested() (bson.A, error) {
	stages, err := p.Build()
	if err != nil {
		return nil, fmt.Errorf("inner %w", err)
	}
	list := make(bson.A, len(stages))
	for i, s := range stages {
		if isWriting(s) {
			return nil, fmt.Errorf("inner pipeline: stage %d (%s) can't stand in another stage", i+1, s[0].Key)
		}
		list[i] = s
	}
	return list, nil
}

// A Branch is one named pipeline of Facet.
type Branch struct {
	Name     string
	Pipeline Pipeline
}

// Facet ($facet) runs several pipelines over the same documents and makes one
// document with an array for each. That document is held to 16 MB.
func (p Pipeline) Facet(branches ...Branch) Pipeline {
	if len(branches) == 0 {
		return p.broken("$facet", errors.New("it has no branch"))
	}
	var errs []error
	d := make(bson.D, 0, len(branches))
	for i, b := range branches {
		errs = append(errs, name.Key(b.Name))
		for _, earlier := range branches[:i] {
			if earlier.Name == b.Name {
				errs = append(errs, fmt.Errorf("branch %q is given twice", b.Name))
			}
		}
		inner, err := b.Pipeline.nested()
		errs = append(errs, labelled(b.Name, err))
		for j, s := range b.Pipeline.stages {
			if op := s[0].Key; op == "$facet" || firstOnly[op] {
				errs = append(errs, fmt.Errorf("%s: stage %d (%s) can't stand in a facet", b.Name, j+1, op))
			}
		}
		if len(inner) == 0 && err == nil {
			errs = append(errs, fmt.Errorf("%s: the pipeline is empty", b.Name))
		}
		d = append(d, bson.E{Key: b.Name, Value: inner})
	}
	if err := errors.Join(errs...); err != nil {
		return p.broken("$facet", err)
	}
	return p.add("$facet", d)
}

// UnionWith ($unionWith) adds the documents of another collection, after the
// pipeline if there is one.
func (p Pipeline) UnionWith(collection string, inner Pipeline) Pipeline {
	if err := name.Collection(collection); err != nil {
		return p.broken("$unionWith", err)
	}
	if inner.Len() == 0 && len(inner.errs) == 0 {
		return p.add("$unionWith", collection)
	}
	list, err := inner.nested()
	if err != nil {
		return p.broken("$unionWith", err)
	}
	return p.add("$unionWith", bson.D{{Key: "coll", Value: collection}, {Key: "pipeline", Value: list}})
}

// A GraphLookupOf describes a $graphLookup.
type GraphLookupOf struct {
	// From is the collection to search.
	From string
	// StartWith is the expression with the first value or values.
	StartWith any
	// ConnectFromField of a found document leads to ConnectToField of the next.
	ConnectFromField, ConnectToField string
	// As is the field that receives the array of results.
	As string
	// MaxDepth limits the search; nil: no limit, 0: the first step only.
	MaxDepth *int
	// DepthField of each result receives the number of steps; empty: none.
	DepthField string
	// Restrict is a filter that every result must match.
	Restrict Filter
}

// GraphLookup ($graphLookup) follows references from document to document.
func (p Pipeline) GraphLookup(g GraphLookupOf) Pipeline {
	start, err := expr.Of(g.StartWith).Build()
	errs := []error{
		name.Collection(g.From), labelled("startWith", err), labelled("connectFromField", name.Path(g.ConnectFromField)),
		labelled("connectToField", name.Path(g.ConnectToField)), labelled("as", name.Path(g.As)),
	}
	d := bson.D{
		{Key: "from", Value: g.From},
		{Key: "startWith", Value: start},
		{Key: "connectFromField", Value: g.ConnectFromField},
		{Key: "connectToField", Value: g.ConnectToField},
		{Key: "as", Value: g.As},
	}
	if g.MaxDepth != nil {
		if *g.MaxDepth < 0 {
			errs = append(errs, fmt.Errorf("maxDepth %d is negative", *g.MaxDepth))
		}
		d = append(d, bson.E{Key: "maxDepth", Value: *g.MaxDepth})
	}
	if g.DepthField != "" {
		errs = append(errs, labelled("depthField", name.Path(g.DepthField)))
		d = append(d, bson.E{Key: "depthField", Value: g.DepthField})
	}
	if !g.Restrict.IsEverything() {
		f, err := g.Restrict.Build()
		errs = append(errs, err)
		d = append(d, bson.E{Key: "restrictSearchWithMatch", Value: f})
	}
	if err := errors.Join(errs...); err != nil {
		return p.broken("$graphLookup", err)
	}
	return p.add("$graphLookup", d)
}

// A WindowsOf describes a $setWindowFields.
type WindowsOf struct {
	// PartitionBy is the expression that tells partitions apart; nil: all documents are one.
	PartitionBy any
	// SortBy is the order within a partition.
	SortBy []SortKey
	// Output are the fields to compute; their accumulators carry the windows.
	Output []GroupField
}

// SetWindowFields ($setWindowFields) computes fields over windows of
// neighbouring documents (server 5.0).
func (p Pipeline) SetWindowFields(w WindowsOf) Pipeline {
	const op = "$setWindowFields"
	var d bson.D
	if w.PartitionBy != nil {
		v, err := expr.Of(w.PartitionBy).Build()
		if err != nil {
			return p.broken(op, err)
		}
		d = append(d, bson.E{Key: "partitionBy", Value: v})
	}
	if len(w.SortBy) > 0 {
		s, err := buildSort(w.SortBy)
		if err != nil {
			return p.broken(op, err)
		}
		d = append(d, bson.E{Key: "sortBy", Value: s})
	}
	if len(w.Output) == 0 {
		return p.broken(op, errors.New("it computes no field"))
	}
	var errs []error
	out := make(bson.D, 0, len(w.Output))
	for i, f := range w.Output {
		errs = append(errs, name.Path(f.name))
		for _, earlier := range w.Output[:i] {
			if name.Conflict(earlier.name, f.name) {
				errs = append(errs, fmt.Errorf("%q and %q overlap", earlier.name, f.name))
			}
		}
		v, err := f.acc.BuildWindow()
		errs = append(errs, labelled(f.name, err))
		out = append(out, bson.E{Key: f.name, Value: v})
	}
	if err := errors.Join(errs...); err != nil {
		return p.broken(op, err)
	}
	return p.add(op, append(d, bson.E{Key: "output", Value: out}))
}

// Window is Acc for SetWindowFields, where names may be paths.
func Window(path string, a acc.Accumulator) GroupField { return GroupField{path, a} }

// Out ($out) replaces a collection with the results. It must be the last stage.
// An empty database means the same one; another one needs server 4.4.
func (p Pipeline) Out(database, collection string) Pipeline {
	if err := name.Collection(collection); err != nil {
		return p.broken("$out", err)
	}
	if database == "" {
		return p.add("$out", collection)
	}
	if err := name.Database(database); err != nil {
		return p.broken("$out", err)
	}
	return p.add("$out", bson.D{{Key: "db", Value: database}, {Key: "coll", Value: collection}})
}

// What Merge does with a document that is there already, or not.
const (
	MergeReplace      = "replace"
	MergeKeepExisting = "keepExisting"
	MergeFields       = "merge"
	MergeFail         = "fail"
	MergeInsert       = "insert"
	MergeDiscard      = "discard"
)

// A MergeOf describes a $merge.
type MergeOf struct {
	// Database is the one to write to; empty: the same.
	Database string
	// Into is the collection to write to.
	Into string
	// On are the fields that identify a document, with a unique index; none means _id.
	On []string
	// WhenMatched is MergeFields (the default), MergeReplace, MergeKeepExisting or MergeFail.
	WhenMatched string
	// WhenMatchedPipeline is an update by pipeline instead; the new document is expr.Var("new").
	WhenMatchedPipeline Pipeline
	// Let defines variables for WhenMatchedPipeline.
	Let []expr.NamedExpr
	// WhenNotMatched is MergeInsert (the default), MergeDiscard or MergeFail.
	WhenNotMatched string
}

// Merge ($merge) writes the results into a collection. It must be the last stage.
func (p Pipeline) Merge(m MergeOf) Pipeline {
	errs := []error{name.Collection(m.Into)}
	var into any = m.Into
	if m.Database != "" {
		errs = append(errs, name.Database(m.Database))
		into = bson.D{{Key: "db", Value: m.Database}, {Key: "coll", Value: m.Into}}
	}
	d := bson.D{{Key: "into", Value: into}}
	switch len(m.On) {
	case 0:
	case 1:
		errs = append(errs, name.Path(m.On[0]))
		d = append(d, bson.E{Key: "on", Value: m.On[0]})
	default:
		errs = append(errs, paths(m.On))
		d = append(d, bson.E{Key: "on", Value: append([]string{}, m.On...)})
	}
	let, err := variables(m.Let)
	errs = append(errs, err)
	if let != nil {
		d = append(d, bson.E{Key: "let", Value: let})
	}
	matched, err := m.whenMatched()
	errs = append(errs, err)
	if matched != nil {
		d = append(d, bson.E{Key: "whenMatched", Value: matched})
	}
	switch m.WhenNotMatched {
	case "":
	case MergeInsert, MergeDiscard, MergeFail:
		d = append(d, bson.E{Key: "whenNotMatched", Value: m.WhenNotMatched})
	default:
		errs = append(errs, fmt.Errorf("whenNotMatched can't be %q", m.WhenNotMatched))
	}
	if err := errors.Join(errs...); err != nil {
		return p.broken("$merge", err)
	}
	return p.add("$merge", d)
}

func (m MergeOf) whenMatched() (any, error) {
	if m.WhenMatchedPipeline.Len() > 0 || len(m.WhenMatchedPipeline.errs) > 0 {
		if m.WhenMatched != "" {
			return nil, errors.New("whenMatched is a word or a pipeline, not both")
		}
		return m.WhenMatchedPipeline.nested()
	}
	switch m.WhenMatched {
	case "":
		return nil, nil
	case MergeReplace, MergeKeepExisting, MergeFields, MergeFail:
		return m.WhenMatched, nil
	}
	return nil, fmt.Errorf("whenMatched can't be %q", m.WhenMatched)
}

// A GeoNearOf describes a $geoNear.
type GeoNearOf struct {
	Near Point
	// DistanceField receives the distance in metres.
	DistanceField string
	// MinMetres and MaxMetres limit the distance; 0: no limit.
	MinMetres, MaxMetres float64
	// Filter limits the documents.
	Filter Filter
	// Key is the indexed field, needed if the collection has several such indexes.
	Key string
}

// GeoNear ($geoNear) orders documents by distance. It must be the first stage.
func (p Pipeline) GeoNear(g GeoNearOf) Pipeline {
	errs := []error{labelled("distanceField", name.Path(g.DistanceField))}
	if !g.Near.valid() {
		errs = append(errs, fmt.Errorf("%v is not a place on earth", g.Near))
	}
	d := bson.D{
		{Key: "near", Value: g.Near.GeoJSON()},
		{Key: "distanceField", Value: g.DistanceField},
		{Key: "spherical", Value: true},
	}
	if g.MinMetres != 0 {
		d = append(d, bson.E{Key: "minDistance", Value: g.MinMetres})
	}
	if g.MaxMetres != 0 {
		d = append(d, bson.E{Key: "maxDistance", Value: g.MaxMetres})
	}
	if g.MinMetres < 0 || g.MaxMetres < 0 || g.MaxMetres > 0 && g.MaxMetres < g.MinMetres {
		errs = append(errs, fmt.Errorf("distances from %v to %v metres", g.MinMetres, g.MaxMetres))
	}
	if !g.Filter.IsEverything() {
		f, err := g.Filter.Build()
		errs = append(errs, err)
		d = append(d, bson.E{Key: "query", Value: f})
	}
	if g.Key != "" {
		errs = append(errs, labelled("key", name.Path(g.Key)))
		d = append(d, bson.E{Key: "key", Value: g.Key})
	}
	if err := errors.Join(errs...); err != nil {
		return p.broken("$geoNear", err)
	}
	return p.add("$geoNear", d)
}

// Documents ($documents) makes the documents to work on, for an aggregation of a
// database or inside Lookup and UnionWith (server 5.1). It must be the first stage.
func (p Pipeline) Documents(documents ...any) Pipeline {
	list := make(bson.A, len(documents))
	for i, doc := range documents {
		v, class, err := literal.Of(doc)
		if err != nil {
			return p.broken("$documents", err)
		}
		if class != literal.Document {
			return p.broken("$documents", fmt.Errorf("element %d is not a document", i))
		}
		list[i] = bson.D{{Key: "$literal", Value: v}}
	}
	return p.add("$documents", list)
}
