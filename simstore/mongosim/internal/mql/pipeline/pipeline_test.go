package pipeline_test

import (
	"context"
	"fmt"
	"iter"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pipeline"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// TestMain lets the clock be that bounds backtracking; it stops by itself.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/dlclark/regexp2.runClock"))
}

func stages(t testing.TB, text string) []bson.Raw {
	t.Helper()
	var out []bson.Raw
	for _, v := range value.Elements(mqltest.Value(t, text)) {
		out = append(out, v.Value)
	}
	return out
}

// plain renders results as relaxed Extended JSON, without spaces.
func plain(t testing.TB, docs []bson.Raw) string {
	t.Helper()
	var out []string
	for _, d := range docs {
		text, err := bson.MarshalExtJSON(d, false, false)
		require.NoError(t, err)
		out = append(out, string(text))
	}
	return strings.Join(out, " ")
}

func collection(t testing.TB, text string) []bson.Raw { return stages(t, text) }

func TestStages(t *testing.T) {
	t.Parallel()
	host := memory{
		"c": collection(t, `[{"_id": 1, "a": [1, 2], "k": "x", "d": {"e": 1, "f": 2}}, {"_id": 2, "a": [], "k": "y"}, {"_id": 3, "k": "x", "a": 5, "d": [{"e": 1, "f": 2}, 7]}]`),
		"o": collection(t, `[{"_id": 1, "c": 1, "next": 2}, {"_id": 2, "c": 2, "next": 3}, {"_id": 3, "c": null, "next": 1}, {"_id": 4, "c": [1, 3]}]`),
		"s": collection(t, `[{"_id": 1, "g": "a", "x": 1, "v": 10}, {"_id": 2, "g": "a", "x": 3, "v": 30}, {"_id": 3, "g": "b", "x": 2, "v": 5}, {"_id": 4, "g": "a", "x": 7, "v": null}]`),
	}
	newest := &expr.Env{Version: expr.V80}
	for _, c := range []struct{ coll, pipeline, want string }{
		{
			"c", `[{"$unwind": {"path": "$a", "preserveNullAndEmptyArrays": true, "includeArrayIndex": "d.i"}}, {"$project": {"a": 1, "d": 1}}]`,
			`{"_id":1,"a":1,"d":{"e":1,"f":2,"i":0}} {"_id":1,"a":2,"d":{"e":1,"f":2,"i":1}} {"_id":2,"d":{"i":null}} {"_id":3,"a":5,"d":{"i":null}}`,
		},
		{"c", `[{"$project": {"d.e": 1}}]`, `{"_id":1,"d":{"e":1}} {"_id":2} {"_id":3,"d":[{"e":1}]}`},
		{"c", `[{"$project": {"d": {"e": 0}, "a": 0, "k": 0}}]`, `{"_id":1,"d":{"f":2}} {"_id":2} {"_id":3,"d":[{"f":2},7]}`},
		{"c", `[{"$project": {"d": {"n": "$_id"}, "_id": 0}}]`, `{"d":{"n":1}} {"d":{"n":2}} {"d":[{"n":3},{"n":3}]}`},
		{"c", `[{"$match": {"_id": 3}}, {"$addFields": {"d.e": "$k", "a.b": 1, "k": "$$REMOVE", "new": "$nope"}}]`, `{"_id":3,"a":{"b":1},"d":[{"e":"x","f":2},{"e":"x"}]}`},
		{"c", `[{"$unset": ["d.e", "a"]}, {"$match": {"_id": {"$ne": 2}}}]`, `{"_id":1,"k":"x","d":{"f":2}} {"_id":3,"k":"x","d":[{"f":2},7]}`},
		{
			"c", `[{"$group": {"_id": {"k": "$k", "n": "$nope"}, "n": {"$sum": 1}, "f": {"$first": "$nope"}, "all": {"$push": "$a"}}}]`,
			`{"_id":{"k":"x"},"n":2,"f":null,"all":[[1,2],5]} {"_id":{"k":"y"},"n":1,"f":null,"all":[[]]}`,
		},
		{"c", `[{"$group": {"_id": "$nope", "n": {"$sum": 1}}}]`, `{"_id":null,"n":3}`},
		{"c", `[{"$count": "n"}]`, `{"n":3}`},
		{"c", `[{"$match": {"_id": 9}}, {"$count": "n"}]`, ``},
		{"c", `[{"$sortByCount": "$k"}]`, `{"_id":"x","count":2} {"_id":"y","count":1}`},
		{"c", `[{"$sort": {"_id": -1}}, {"$skip": 1}, {"$limit": 1}, {"$project": {"_id": 1}}]`, `{"_id":2}`},
		{"c", `[{"$facet": {"n": [{"$count": "n"}], "none": []}}, {"$project": {"n": 1, "k": {"$size": "$none"}}}]`, `{"n":[{"n":3}],"k":3}`},
		{"c", `[{"$replaceWith": {"$ifNull": [{"$arrayElemAt": [["$d"], 0]}, {"x": 1}]}}, {"$limit": 2}]`, `{"e":1,"f":2} {"x":1}`},
		{"c", `[{"$redact": {"$cond": [{"$eq": ["$e", 1]}, "$$PRUNE", "$$DESCEND"]}}, {"$project": {"d": 1}}]`, `{"_id":1} {"_id":2} {"_id":3,"d":[7]}`},
		{"c", `[{"$lookup": {"from": "o", "localField": "_id", "foreignField": "c", "as": "r"}}, {"$project": {"r._id": 1}}]`, `{"_id":1,"r":[{"_id":1},{"_id":4}]} {"_id":2,"r":[{"_id":2}]} {"_id":3,"r":[{"_id":4}]}`},
		{"c", `[{"$lookup": {"from": "o", "localField": "nope", "foreignField": "c", "as": "r"}}, {"$project": {"r._id": 1}}, {"$limit": 1}]`, `{"_id":1,"r":[{"_id":3}]}`},
		{
			"c", `[{"$lookup": {"from": "o", "let": {"i": "$_id", "gone": "$nope"}, "pipeline": [{"$match": {"$expr": {"$and": [{"$gt": ["$_id", "$$i"]}, {"$eq": [{"$type": "$$gone"}, "missing"]}]}}}, {"$project": {"_id": 0, "s": {"$add": ["$_id", "$$i"]}}}], "as": "r"}}, {"$project": {"r": 1}}]`,
			`{"_id":1,"r":[{"s":3},{"s":4},{"s":5}]} {"_id":2,"r":[{"s":5},{"s":6}]} {"_id":3,"r":[{"s":7}]}`,
		},
		{
			"c", `[{"$match": {"_id": 1}}, {"$graphLookup": {"from": "o", "startWith": "$_id", "connectFromField": "next", "connectToField": "_id", "as": "g", "depthField": "z", "maxDepth": 1}}, {"$project": {"g._id": 1, "g.z": 1}}]`,
			`{"_id":1,"g":[{"_id":1,"z":0},{"_id":2,"z":1}]}`,
		},
		{"c", `[{"$project": {"_id": 1}}, {"$limit": 1}, {"$unionWith": {"coll": "o", "pipeline": [{"$match": {"_id": {"$lt": 3}}}, {"$project": {"_id": 1}}]}}]`, `{"_id":1} {"_id":1} {"_id":2}`},
		{"s", `[{"$bucket": {"groupBy": "$x", "boundaries": [0, 2, 5], "default": "more", "output": {"ids": {"$push": "$_id"}}}}]`, `{"_id":0,"ids":[1]} {"_id":2,"ids":[2,3]} {"_id":"more","ids":[4]}`},
		{"s", `[{"$bucketAuto": {"groupBy": "$x", "buckets": 2}}]`, `{"_id":{"min":1,"max":3},"count":2} {"_id":{"min":3,"max":7},"count":2}`},
		{"s", `[{"$bucketAuto": {"groupBy": "$x", "buckets": 2, "granularity": "POWERSOF2"}}]`, `{"_id":{"min":0.5,"max":4},"count":3} {"_id":{"min":4,"max":8},"count":1}`},
		{"s", `[{"$bucketAuto": {"groupBy": "$x", "buckets": 2, "granularity": "R5"}}]`, `{"_id":{"min":0.63,"max":2.5},"count":2} {"_id":{"min":2.5,"max":10.0},"count":2}`},
		{"s", `[{"$sample": {"size": 10}}, {"$count": "n"}]`, `{"n":4}`},

		// newer than 4.4
		{
			"s", `[{"$group": {"_id": "$g", "top": {"$top": {"sortBy": {"x": -1}, "output": "$_id"}}, "two": {"$minN": {"input": "$x", "n": 2}}, "last": {"$lastN": {"input": "$_id", "n": 2}}, "n": {"$count": {}}, "m": {"$median": {"input": "$x", "method": "approximate"}}}}]`,
			`{"_id":"a","top":4,"two":[1,3],"last":[2,4],"n":3,"m":3.0} {"_id":"b","top":3,"two":[2],"last":[3],"n":1,"m":2.0}`,
		},
		{
			"s", `[{"$setWindowFields": {"partitionBy": "$g", "sortBy": {"x": 1}, "output": {"sum": {"$sum": "$v", "window": {"documents": [-1, "current"]}}, "near": {"$push": "$_id", "window": {"range": [-2, 2]}}, "r": {"$rank": {}}, "p": {"$shift": {"output": "$_id", "by": -1}}}}}, {"$project": {"sum": 1, "near": 1, "r": 1, "p": 1}}]`,
			`{"_id":1,"sum":10,"near":[1,2],"r":1,"p":null} {"_id":2,"sum":40,"near":[1,2],"r":2,"p":1} {"_id":4,"sum":30,"near":[4],"r":3,"p":2} {"_id":3,"sum":5,"near":[3],"r":1,"p":null}`,
		},
		{"s", `[{"$match": {"g": "a"}}, {"$fill": {"sortBy": {"x": -1}, "output": {"v": {"method": "locf"}, "w": {"value": 0}}}}, {"$project": {"v": 1, "w": 1}}]`, `{"_id":4,"v":null,"w":0} {"_id":2,"v":30,"w":0} {"_id":1,"v":10,"w":0}`},
		{"s", `[{"$match": {"g": "a"}}, {"$densify": {"field": "x", "range": {"step": 2, "bounds": "full"}}}, {"$project": {"x": 1, "_id": 0}}]`, `{"x":1} {"x":3} {"x":5} {"x":7}`},
	} {
		got, err := ask(host, "db", c.coll, stages(t, c.pipeline), newest)
		if assert.NoError(t, err, c.pipeline) {
			assert.Equal(t, c.want, plain(t, got), c.pipeline)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pipeline string
		code     mongoerr.Code
	}{
		{`[{"$nope": 1}]`, 40324},
		{`[{}]`, 40323},
		{`[{"$match": {}, "$sort": {}}]`, 40323},
		{`[{"$limit": 1}, {"$nope": 1}, {"$match": 5}]`, 40324},
		{`[{"$project": {"x": {"$divide": [1, 0]}}}, {"$match": 5}]`, 15959},
		{`[{"$project": {"x": {"$divide": [1, 0]}}}]`, 16608},
		{`[{"$out": "x"}, {"$match": {}}]`, 40601},
		{`[{"$match": {}}, {"$indexStats": {}}]`, 40602},
		{`[{"$match": {}}, {"$changeStream": {}}]`, 40602},
		{`[{"$changeStream": {}}, {"$group": {"_id": 1}}]`, mongoerr.IllegalOperation},
		{`[{"$facet": {"a": [{"$out": "x"}]}}]`, 40600},
		{`[{"$facet": {"a": [{"$nope": 1}]}}]`, 40324},
		{`[{"$facet": {"a.b": []}}]`, 16412},
		{`[{"$lookup": {"from": "x", "pipeline": [{"$out": "y"}], "as": "z"}}]`, 51047},
		{`[{"$lookup": {"from": "x", "let": {"A": 1}, "pipeline": [], "as": "z"}}]`, 16867},
		{`[{"$lookup": {"from": "x", "as": "z", "foreignField": "a", "localField": "b", "pipeline": []}}]`, mongoerr.FailedToParse},
		{`[{"$lookup": {"from": 5, "as": "z"}}]`, mongoerr.FailedToParse},
		{`[{"$unionWith": {"coll": "x", "pipeline": [{"$merge": "y"}]}}]`, 31441},
		{`[{"$unionWith": {"pipeline": []}}]`, 40414},
		{`[{"$merge": {"into": "x", "whenMatched": "fail", "whenNotMatched": "discard"}}]`, 51181},
		{`[{"$merge": {"into": "x", "let": {"y": 1}}}]`, 51199},
		{`[{"$merge": {"into": "x", "whenMatched": []}}, {"$limit": 1}]`, 40601},
		{`[{"$merge": {"on": "x"}}]`, 40414},
		{`[{"$out": "a$b"}]`, mongoerr.IllegalOperation},
		{`[{"$out": "a\u0000b"}]`, mongoerr.InvalidNamespace},
		{`[{"$group": {"_id": 1, "x": {"$sum": [1]}}}]`, 40237},
		{`[{"$group": {"_id": {"a": 1}}}]`, 17390},
		{`[{"$group": {"_id": 1, "x": {"$top": {"sortBy": {"a": 1}, "output": "$a"}}}}]`, 15952},
		{`[{"$setWindowFields": {"output": {}}}]`, 40324},
		{`[{"$project": {"a": 1, "a.b": 1}}]`, 31249},
		{`[{"$project": {"a.b": 1, "a": 1}}]`, 31250},
		{`[{"$project": {"a": 0, "b": 1}}]`, 31253},
		{`[{"$project": {"a": 0, "b": "$c"}}]`, 31310},
		{`[{"$project": {"a": {}}}]`, 51270},
		{`[{"$project": {"a": {"$nope": 1}}}]`, 31325},
		{`[{"$project": {"a.$": 1}}]`, 31324},
		{`[{"$addFields": {"a": {"b": 1}, "a.b": 2}}]`, 40176},
		{`[{"$addFields": {"a": {"b.c": 1}}}]`, 40183},
		{`[{"$addFields": {}}]`, 40177},
		{`[{"$unset": []}]`, 31119},
		{`[{"$sort": {"a": 0}}]`, 15975},
		{`[{"$bucketAuto": {"groupBy": "$a", "buckets": 0}}]`, 40243},
		{`[{"$bucketAuto": {"groupBy": "$a", "buckets": 1, "granularity": "R6"}}]`, 40257},
		{`[{"$graphLookup": {"from": "x"}}]`, 40105},
		{`[{"$sample": {}}]`, 28749},
		{`[{"$match": {"$text": {"$search": "x"}}}]`, 0}, // whatever the filter says
	} {
		_, err := pipeline.Parse(stages(t, c.pipeline), pipeline.Namespace{DB: "db", Coll: "c"}, &expr.Env{})
		if c.code != 0 {
			assert.Equal(t, c.code, mongoerr.CodeOf(err), "%s: %v", c.pipeline, err)
		}
	}
	_, err := pipeline.Parse(nil, pipeline.Namespace{DB: "db"}, &expr.Env{})
	assert.Equal(t, mongoerr.InvalidNamespace, mongoerr.CodeOf(err))
	_, err = pipeline.ParseUpdate(stages(t, `[{"$match": {}}]`), &expr.Env{})
	assert.Equal(t, mongoerr.InvalidOptions, mongoerr.CodeOf(err))
}

func TestNestedPipelinesAreBounded(t *testing.T) {
	t.Parallel()
	inner := `[]`
	for range 30 {
		inner = `[{"$unionWith": {"coll": "c", "pipeline": ` + inner + `}}]`
	}
	_, err := pipeline.Parse(stages(t, inner), pipeline.Namespace{DB: "db", Coll: "c"}, &expr.Env{})
	assert.Equal(t, mongoerr.MaxSubPipelineDepthExceeded, mongoerr.CodeOf(err))
}

func TestWriting(t *testing.T) {
	t.Parallel()
	source := collection(t, `[{"_id": 1, "a": 1}, {"_id": 2, "a": 2}]`)
	for _, c := range []struct {
		stage, want string
		code        mongoerr.Code
	}{
		{`{"$out": "t"}`, `{"_id":1,"a":1} {"_id":2,"a":2}`, 0},
		{`{"$merge": "t"}`, `{"_id":1,"b":9,"a":1} {"_id":2,"a":2}`, 0},
		{`{"$merge": {"into": "t", "whenMatched": "replace"}}`, `{"_id":1,"a":1} {"_id":2,"a":2}`, 0},
		{`{"$merge": {"into": "t", "whenMatched": "keepExisting"}}`, `{"_id":1,"b":9} {"_id":2,"a":2}`, 0},
		{`{"$merge": {"into": "t", "whenNotMatched": "discard"}}`, `{"_id":1,"b":9,"a":1}`, 0},
		{`{"$merge": {"into": "t", "whenNotMatched": "fail"}}`, `{"_id":1,"b":9,"a":1}`, mongoerr.MergeStageNoMatchingDocument},
		{`{"$merge": {"into": "t", "whenMatched": "fail"}}`, `{"_id":1,"b":9} {"_id":2,"a":2}`, mongoerr.DuplicateKey},
		{`{"$merge": {"into": "t", "on": "a"}}`, `{"_id":1,"b":9}`, 51183},
		{`{"$merge": {"into": "t", "on": "sku"}}`, `{"_id":1,"b":9}`, 51132},
	} {
		host := memory{"s": source, "t": collection(t, `[{"_id": 1, "b": 9}]`)}
		out, err := ask(host, "db", "s", stages(t, `[`+c.stage+`]`), &expr.Env{})
		assert.Empty(t, out)
		assert.Equal(t, c.code, mongoerr.CodeOf(err), "%s: %v", c.stage, err)
		assert.Equal(t, c.want, plain(t, host["t"]), c.stage)
	}
	// What is in hand is not written when a later document cannot be, and all of it is when a write fails.
	source = collection(t, `[{"_id": 1, "sku": 1}, {"_id": 2}, {"_id": 3, "sku": 3}]`)
	for stage, want := range map[string]string{
		`[{"$set": {"_id": {"$cond": ["$sku", "$_id", [1]]}}}, {"$merge": "t"}]`:               `{"_id":3,"b":9}`,
		`[{"$set": {"c": {"$divide": [6, {"$subtract": ["$_id", 2]}]}}}, {"$merge": "t"}]`:     `{"_id":3,"b":9}`,
		`[{"$merge": {"into": "t", "whenMatched": "keepExisting", "whenNotMatched": "fail"}}]`: `{"_id":3,"b":9}`,
		`[{"$merge": {"into": "t", "whenNotMatched": "fail"}}]`:                                `{"_id":3,"b":9,"sku":3}`,
	} {
		host := memory{"s": source, "t": collection(t, `[{"_id": 3, "b": 9}]`)}
		_, err := ask(host, "db", "s", stages(t, stage), &expr.Env{})
		require.Error(t, err, stage)
		assert.Equal(t, want, plain(t, host["t"]), stage)
	}
	p, err := pipeline.Parse(stages(t, `[{"$merge": {"into": {"db": "x", "coll": "y"}}}]`), pipeline.Namespace{DB: "db", Coll: "s"}, nil)
	require.NoError(t, err)
	target, ok := p.Writes()
	assert.True(t, ok)
	assert.Equal(t, pipeline.Namespace{DB: "x", Coll: "y"}, target)
}

func TestPushdown(t *testing.T) {
	t.Parallel()
	p, err := pipeline.Parse(stages(t, `[{"$match": {"a": 1}}, {"$sort": {"b": 1}}, {"$limit": 3}, {"$lookup": {"from": "o", "localField": "a", "foreignField": "b", "as": "c"}}]`), pipeline.Namespace{DB: "db", Coll: "c"}, nil)
	require.NoError(t, err)
	d := p.Pushdown()
	assert.NotNil(t, d.Filter)
	assert.NotNil(t, d.Sort)
	assert.EqualValues(t, 3, d.Limit)
	assert.Equal(t, 3, d.Used)
	assert.Equal(t, 1, p.From(d.Used).Len())
	assert.Equal(t, []pipeline.Namespace{{DB: "db", Coll: "o"}}, p.Namespaces())
	assert.True(t, p.ReadsCollection())

	stream, err := pipeline.Parse(stages(t, `[{"$changeStream": {"fullDocument": "updateLookup"}}, {"$match": {"a": 1}}]`), pipeline.Namespace{DB: "db", Coll: "c"}, nil)
	require.NoError(t, err)
	spec, ok := stream.ChangeStream()
	assert.True(t, ok)
	assert.Equal(t, "updateLookup", spec.Lookup("fullDocument").StringValue())
	assert.False(t, stream.ReadsCollection())
}

// TestBreakingOffStopsTheSource reads no more than is asked for.
func TestBreakingOffStopsTheSource(t *testing.T) {
	t.Parallel()
	read := 0
	source := iter.Seq2[bson.Raw, error](func(yield func(bson.Raw, error) bool) {
		for i := range 100 {
			read++
			if !yield(mqltest.Doc(t, fmt.Sprintf(`{"_id": %d}`, i)), nil) {
				return
			}
		}
	})
	p, err := pipeline.Parse(stages(t, `[{"$match": {"_id": {"$gte": 5}}}, {"$limit": 2}, {"$addFields": {"x": 1}}]`), pipeline.Namespace{DB: "db", Coll: "c"}, nil)
	require.NoError(t, err)
	n := 0
	for _, err := range p.Run(context.Background(), nil, source) {
		require.NoError(t, err)
		n++
	}
	assert.Equal(t, 2, n)
	assert.Equal(t, 7, read)
}

func TestErrorsOfTheSourcePassThrough(t *testing.T) {
	t.Parallel()
	broken := mongoerr.New(mongoerr.CursorKilled, "killed")
	for _, text := range []string{`[]`, `[{"$sort": {"a": 1}}]`, `[{"$group": {"_id": 1}}]`, `[{"$unwind": "$a"}]`, `[{"$facet": {"a": []}}]`, `[{"$limit": 5}]`, `[{"$skip": 5}]`, `[{"$project": {"a": 1}}]`} {
		p, err := pipeline.Parse(stages(t, text), pipeline.Namespace{DB: "db", Coll: "c"}, nil)
		require.NoError(t, err)
		var got error
		for doc, err := range p.Run(context.Background(), nil, func(yield func(bson.Raw, error) bool) { yield(nil, broken) }) {
			assert.Nil(t, doc)
			got = err
		}
		assert.ErrorIs(t, got, broken, text)
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range mqltest.Cases(f, "pipeline") {
		var a value.Arr
		for _, s := range c.Pipeline {
			a.Add(value.Doc(s))
		}
		var o value.Object
		o.Add("p", a.Value())
		f.Add([]byte(o.Doc()))
	}
	host := memory{"c": collection(f, `[{"_id": 1, "a": [1, 2], "tags": ["x"], "items": [{"sku": "s", "qty": 2}], "total": 5.5}, {"_id": 2}]`)}
	env := &expr.Env{Version: expr.V80}
	f.Fuzz(func(t *testing.T, b []byte) {
		var raw []bson.Raw
		for _, v := range value.Elements(value.Field(b, "p")) {
			if v.Type == bson.TypeEmbeddedDocument {
				raw = append(raw, v.Value)
			}
		}
		for _, s := range raw {
			if name, _, _, _ := value.Next(value.Body(s)); name == "$out" || name == "$merge" {
				return
			}
		}
		if _, err := ask(host, "db", "c", raw, env); err != nil && mongoerr.CodeOf(err) == 0 {
			t.Errorf("not a server's error: %v", err)
		}
	})
}

func BenchmarkMatchAndGroup(b *testing.B) {
	var source []bson.Raw
	for i := range 10_000 {
		source = append(source, mqltest.Doc(b, fmt.Sprintf(`{"_id": %d, "status": "s%d", "total": %d.5, "customer": {"region": "r%d"}}`, i, i%5, i%1000, i%7)))
	}
	host := memory{"c": source}
	raw := stages(b, `[{"$match": {"total": {"$gte": 100}}}, {"$group": {"_id": "$customer.region", "n": {"$sum": 1}, "sum": {"$sum": "$total"}, "max": {"$max": "$total"}}}, {"$sort": {"_id": 1}}]`)
	b.ReportAllocs()
	for b.Loop() {
		out, err := ask(host, "db", "c", raw, &expr.Env{})
		if err != nil || len(out) != 7 {
			b.Fatal(out, err)
		}
	}
	b.ReportMetric(10_000*float64(b.N)/b.Elapsed().Seconds(), "docs/s")
}
