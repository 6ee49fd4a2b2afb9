package query

import (
	"context"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// A Plan tells how the server ran a query.
type Plan struct {
	// Indexes are the names of the indexes that served it, each once.
	Indexes []string
	// CollectionScan is set if (a part of) the query looked at every document.
	CollectionScan bool
	// MemorySort is set if the server sorted by itself instead of reading an index in order.
	MemorySort bool
	// Covered is set if an index alone gave the answer: no document was looked at.
	Covered bool
	// Stages are the names of the plan's stages, from the result down.
	Stages []string
	// KeysExamined, DocsExamined and Returned count index keys, documents and results.
	KeysExamined, DocsExamined, Returned int64
	// Duration is the server's own measure, in whole milliseconds.
	Duration time.Duration
	// Raw is the server's answer.
	Raw bson.Raw
}

// UsesIndex reports whether indexes served the whole query.
func (p Plan) UsesIndex() bool { return len(p.Indexes) > 0 && !p.CollectionScan }

// Explain runs the find on the server and tells how; the results stay there.
func (f Find[T]) Explain(ctx context.Context) (Plan, error) {
	b, err := f.build()
	if err != nil {
		return Plan{}, readError("explain", f.coll.coll, err)
	}
	ctx, cancel := f.spec.within(ctx)
	defer cancel()
	p, err := explain(ctx, f.coll.coll, f.coll.retry, b.command(f.coll.coll.Name()), f.spec.preference)
	return p, readError("explain", f.coll.coll, err)
}

// command is the find as the driver would send it.
func (b builtFind) command(collection string) bson.D {
	s := b.spec
	cmd := bson.D{{Key: "find", Value: collection}, {Key: "filter", Value: b.filter}}
	add := func(condition bool, key string, value any) {
		if condition {
			cmd = append(cmd, bson.E{Key: key, Value: value})
		}
	}
	add(b.sort != nil, "sort", b.sort)
	add(b.projection != nil, "projection", b.projection)
	add(s.hint != nil, "hint", s.hint)
	add(s.skip > 0, "skip", s.skip)
	add(s.limit > 0, "limit", s.limit)
	add(s.collation != nil, "collation", s.collation)
	add(s.comment != "", "comment", s.comment)
	add(b.let != nil, "let", b.let)
	add(s.allowDiskUse, "allowDiskUse", true)
	return cmd
}

func explain(ctx context.Context, coll *mongo.Collection, retry Retry, cmd bson.D, pref *readpref.ReadPref) (Plan, error) {
	o := options.RunCmd()
	if pref != nil {
		o.SetReadPreference(pref)
	}
	var raw bson.Raw
	err := retry.read(ctx, func(ctx context.Context) (err error) {
		raw, err = coll.Database().RunCommand(ctx,
			bson.D{{Key: "explain", Value: cmd}, {Key: "verbosity", Value: "executionStats"}}, o).Raw()
		return err
	})
	if err != nil {
		return Plan{}, err
	}
	return ParsePlan(raw), nil
}

// ParsePlan reads the answer of the explain command for a find or an
// aggregation, in all the shapes that servers from 4.4 to 8.0 give it, on one server, a
// replica set or a sharded cluster. What it doesn't find stays zero.
func ParsePlan(raw bson.Raw) Plan {
	p := Plan{Raw: raw}
	p.explained(raw)
	p.Covered = len(p.Indexes) > 0 && p.DocsExamined == 0 && p.Returned > 0
	return p
}

// explained reads one explain document: a find's, one $cursor stage's, or one shard's.
func (p *Plan) explained(doc bson.Raw) {
	if planner, ok := document(doc, "queryPlanner"); ok {
		if winning, ok := document(planner, "winningPlan"); ok {
			p.plan(winning)
		}
	}
	if stats, ok := document(doc, "executionStats"); ok {
		p.KeysExamined += number(stats, "totalKeysExamined")
		p.DocsExamined += number(stats, "totalDocsExamined")
		p.Returned += number(stats, "nReturned")
		p.Duration = max(p.Duration, time.Duration(number(stats, "executionTimeMillis"))*time.Millisecond)
	}
	for _, stage := range documents(doc, "stages") {
		p.aggregationStage(stage)
	}
	if shards, ok := document(doc, "shards"); ok {
		elements, _ := shards.Elements()
		for _, e := range elements {
			if shard, ok := e.Value().DocumentOK(); ok {
				p.explained(shard)
			}
		}
	}
}

// aggregationStage reads one element of "stages": {$cursor: …}, {$sort: …, nReturned: …} and so on.
func (p *Plan) aggregationStage(stage bson.Raw) {
	first, err := stage.IndexErr(0)
	if err != nil {
		return
	}
	op := first.Key()
	p.Stages = append(p.Stages, op)
	if op == "$cursor" || op == "$geoNearCursor" {
		if inner, ok := first.Value().DocumentOK(); ok {
			p.explained(inner)
		}
		return
	}
	if op == "$sort" {
		p.MemorySort = true
	}
	// A lookup tells of its own what it read.
	p.KeysExamined += number(stage, "totalKeysExamined")
	p.DocsExamined += number(stage, "totalDocsExamined")
	if number(stage, "collectionScans") > 0 {
		p.CollectionScan = true
	}
	if used, err := stage.LookupErr("indexesUsed"); err == nil {
		if list, ok := used.ArrayOK(); ok {
			values, _ := list.Values()
			for _, v := range values {
				if s, ok := v.StringValueOK(); ok {
					p.index(s)
				}
			}
		}
	}
	if _, err := stage.LookupErr("nReturned"); err == nil {
		p.Returned = number(stage, "nReturned")
	}
}

// plan walks the tree of a winning plan.
func (p *Plan) plan(node bson.Raw) {
	// Since 5.0 the slot-based engine wraps the tree that means something to people.
	if inner, ok := document(node, "queryPlan"); ok {
		p.plan(inner)
		return
	}
	if stage, ok := text(node, "stage"); ok {
		p.Stages = append(p.Stages, stage)
		switch stage {
		case "COLLSCAN":
			p.CollectionScan = true
		case "IDHACK", "EXPRESS_IDHACK":
			p.index("_id_")
		case "CLUSTERED_IXSCAN", "EXPRESS_CLUSTERED_IXSCAN":
			p.index("_id_")
		case "SORT":
			p.MemorySort = true
		}
	}
	if name, ok := text(node, "indexName"); ok {
		p.index(name)
	}
	for _, key := range []string{"inputStage", "outerStage", "innerStage", "thenStage", "elseStage", "winningPlan"} {
		if inner, ok := document(node, key); ok {
			p.plan(inner)
		}
	}
	for _, key := range []string{"inputStages", "shards"} {
		for _, inner := range documents(node, key) {
			p.plan(inner)
		}
	}
}

func (p *Plan) index(name string) {
	if name != "" && !slices.Contains(p.Indexes, name) {
		p.Indexes = append(p.Indexes, name)
	}
}

func document(doc bson.Raw, key string) (bson.Raw, bool) {
	v, err := doc.LookupErr(key)
	if err != nil {
		return nil, false
	}
	return v.DocumentOK()
}

// documents returns the documents of an array.
func documents(doc bson.Raw, key string) (list []bson.Raw) {
	v, err := doc.LookupErr(key)
	if err != nil {
		return nil
	}
	array, ok := v.ArrayOK()
	if !ok {
		return nil
	}
	values, _ := array.Values()
	for _, e := range values {
		if d, ok := e.DocumentOK(); ok {
			list = append(list, d)
		}
	}
	return list
}

func text(doc bson.Raw, key string) (string, bool) {
	v, err := doc.LookupErr(key)
	if err != nil {
		return "", false
	}
	return v.StringValueOK()
}

func number(doc bson.Raw, key string) int64 {
	v, err := doc.LookupErr(key)
	if err != nil {
		return 0
	}
	n, _ := v.AsInt64OK()
	return n
}
