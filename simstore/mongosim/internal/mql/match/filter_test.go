package match_test

import (
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func parse(t testing.TB, filter string) *match.Filter {
	t.Helper()
	f, err := match.Parse(mqltest.Short(t, filter), &expr.Env{})
	if err != nil {
		t.Fatalf("%s: %v", filter, err)
	}
	return f
}

func TestMatch(t *testing.T) {
	t.Parallel()
	const yes, no = true, false
	for _, c := range []struct {
		filter, doc string
		want        bool
	}{
		{`{}`, `{}`, yes},
		// null, missing, undefined
		{`{a: null}`, `{}`, yes},
		{`{a: null}`, `{a: {$undefined: true}}`, yes},
		{`{a: {$in: [null, 1]}}`, `{}`, yes},
		{`{a: {$gte: null}}`, `{}`, yes},
		{`{a: {$gt: null}}`, `{}`, no},
		{`{a: {$ne: null}}`, `{a: [1, null]}`, no},
		{`{"a.b": null}`, `{a: [1, 2]}`, no},
		{`{"a.b": null}`, `{a: [1, {c: 1}]}`, yes},
		{`{"a.b": null}`, `{a: 1}`, yes},
		{`{"a.b": {$exists: false}}`, `{a: [1, 2]}`, yes},
		{`{"a.b": {$exists: false}}`, `{a: [{b: 1}, {}]}`, no},
		{`{a: {$exists: 0}}`, `{a: null}`, no},
		// brackets of types
		{`{a: {$lt: 5}}`, `{a: "x"}`, no},
		{`{a: {$gt: {$minKey: 1}}}`, `{}`, yes},
		{`{a: {$lt: {$maxKey: 1}}}`, `{a: "x"}`, yes},
		{`{a: {$gte: {$maxKey: 1}}}`, `{a: {$maxKey: 1}}`, yes},
		{`{a: {$lte: {$numberDouble: "NaN"}}}`, `{a: {$numberDecimal: "NaN"}}`, yes},
		{`{a: {$lt: {$numberDouble: "NaN"}}}`, `{a: 1}`, no},
		{`{a: {$lt: 1}}`, `{a: {$numberDouble: "NaN"}}`, no},
		{`{a: {$in: [{$numberDouble: "NaN"}]}}`, `{a: {$numberDouble: "NaN"}}`, yes},
		{`{a: {$numberDecimal: "1.0"}}`, `{a: 1}`, yes},
		// arrays
		{`{a: 1}`, `{a: [2, 1]}`, yes},
		{`{a: [1, 2]}`, `{a: [1, 2]}`, yes},
		{`{a: [1, 2]}`, `{a: [[1, 2]]}`, yes},
		{`{a: [1, 2]}`, `{a: [1, 2, 3]}`, no},
		{`{a: {$gt: 1, $lt: 3}}`, `{a: [0, 5]}`, yes}, // different elements may do
		{`{a: {$elemMatch: {$gt: 1, $lt: 3}}}`, `{a: [0, 5]}`, no},
		{`{"a.0": 1}`, `{a: [1]}`, yes},
		{`{"a.0": 1}`, `{a: {"0": 1}}`, yes},
		{`{"a.0": 1}`, `{a: [2, {"0": 1}]}`, yes}, // a name as well
		{`{"a.00": 1}`, `{a: [1]}`, no},
		{`{"a.0.b": 1}`, `{a: [{b: 1}]}`, yes},
		{`{"a.0.b": 1}`, `{a: [[{b: 1}]]}`, yes},
		{`{"a.b": 1}`, `{a: [[{b: 1}]]}`, no}, // one level only
		{`{"a.0.0": 1}`, `{a: [[1]]}`, yes},
		{`{"a.": 1}`, `{a: {"": 1}}`, yes},
		{`{a: {$size: 2}}`, `{a: [1, 2]}`, yes},
		{`{a: {$size: 1}}`, `{a: [[1, 2]]}`, yes},
		{`{a: {$size: {$numberDouble: "2.0"}}}`, `{a: [1, 2]}`, yes},
		{`{a: {$all: [1, 2]}}`, `{a: [2, 3, 1]}`, yes},
		{`{a: {$all: [[1]]}}`, `{a: [1]}`, yes},
		{`{a: {$all: []}}`, `{a: []}`, no},
		{`{a: {$all: [{$elemMatch: {b: 1}}, {$elemMatch: {b: 2}}]}}`, `{a: [{b: 1}, {b: 2}]}`, yes},
		{`{a: {$elemMatch: {b: 1, c: 2}}}`, `{a: [{b: 1, c: 3}, {b: 2, c: 2}]}`, no},
		{`{a: {$elemMatch: {"0": 1}}}`, `{a: [[1]]}`, yes}, // arrays have positions for names
		{`{a: {$elemMatch: {$elemMatch: {$gt: 1}}}}`, `{a: [[1, 2]]}`, yes},
		{`{a: {$elemMatch: {$not: {$gt: 1}}}}`, `{a: [1, 2]}`, yes},
		{`{a: {$elemMatch: {$or: [{b: 1}, {c: 1}]}}}`, `{a: [{c: 1}]}`, yes},
		{`{a: {$elemMatch: {$ref: "x"}}}`, `{a: [{$ref: "x"}]}`, yes},
		{`{a: {$elemMatch: {}}}`, `{a: [{}]}`, yes},
		{`{a: {$elemMatch: {}}}`, `{a: [1]}`, no},
		// logic
		{`{$or: [{a: 1}, {b: 1}]}`, `{b: 1}`, yes},
		{`{$nor: [{a: 1}, {b: 1}]}`, `{b: 1}`, no},
		{`{a: {$not: {$gt: 1}}}`, `{}`, yes},
		{`{a: {$not: /x/}}`, `{a: "y"}`, yes},
		{`{$alwaysTrue: 1, $comment: {any: "thing"}}`, `{}`, yes},
		// documents
		{`{a: {b: 1, c: 2}}`, `{a: {c: 2, b: 1}}`, no},
		{`{a: {$gt: {b: 1}}}`, `{a: {b: 2}}`, yes},
		{`{a: {$eq: {$foo: 1}}}`, `{a: {b: 1}}`, no},
		// types
		{`{a: {$type: "number"}}`, `{a: {$numberDecimal: "1"}}`, yes},
		{`{a: {$type: ["string", 1]}}`, `{a: 1.5}`, yes},
		{`{a: {$type: "array"}}`, `{a: [1]}`, yes},
		{`{a: {$type: "int"}}`, `{a: [1]}`, yes},
		{`{a: {$type: -1}}`, `{a: {$minKey: 1}}`, yes},
		{`{a: {$type: 127}}`, `{a: {$maxKey: 1}}`, yes},
		// regular expressions
		{`{a: {$in: [/^b/, 1]}}`, `{a: ["abc", "bcd"]}`, yes},
		{`{a: /b/i}`, `{a: /b/i}`, yes},
		{`{a: /b/i}`, `{a: /b/}`, no},
		{`{a: {$eq: /b/}}`, `{a: "b"}`, no}, // equal, not found in
		{`{a: {$regex: "^B", $options: "i"}}`, `{a: "bc"}`, yes},
		{`{a: {$options: "i", $regex: "^B"}}`, `{a: "bc"}`, yes},
		{`{a: {$all: [/x/, "xy"]}}`, `{a: ["xy"]}`, yes},
		// numbers
		{`{a: {$mod: [4, 1]}}`, `{a: -3}`, no},
		{`{a: {$mod: [4, -3]}}`, `{a: -3}`, yes},
		{`{a: {$mod: [-1, 0]}}`, `{a: {$numberLong: "-9223372036854775808"}}`, yes},
		{`{a: {$mod: [2.9, 1.9]}}`, `{a: 5.7}`, yes}, // cut off
		{`{a: {$mod: [2, 0]}}`, `{a: {$numberDouble: "NaN"}}`, yes},
		{`{a: {$bitsAllSet: 5}}`, `{a: 7}`, yes},
		{`{a: {$bitsAllClear: [1, 3]}}`, `{a: 5}`, yes},
		{`{a: {$bitsAnySet: [70]}}`, `{a: -1}`, yes}, // the sign goes on
		{`{a: {$bitsAnySet: [70]}}`, `{a: {$binary: {base64: "/w==", subType: "00"}}}`, no},
		{`{a: {$bitsAnyClear: {$binary: {base64: "AQ==", subType: "00"}}}}`, `{a: 2}`, yes},
		{`{a: {$bitsAllSet: {$binary: {base64: "gA==", subType: "00"}}}}`, `{a: 128}`, no}, // 0x80 is taken as signed
		{`{a: {$bitsAllSet: {$binary: {base64: "gA==", subType: "00"}}}}`, `{a: -128}`, yes},
		{`{a: {$bitsAllSet: 1}}`, `{a: 1.5}`, no},
		{`{a: {$bitsAllSet: 0}}`, `{a: "x"}`, no},
		// DBRefs are values
		{`{a: {$ref: "c", $id: 1}}`, `{a: {$ref: "c", $id: 1}}`, yes},
		{`{"a.$id": 1}`, `{a: {$ref: "c", $id: 1}}`, yes},
	} {
		got, err := parse(t, c.filter).Match(mqltest.Short(t, c.doc))
		if err != nil {
			t.Errorf("%s on %s: %v", c.filter, c.doc, err)
			continue
		}
		if got != c.want {
			t.Errorf("%s matches %s: %v, want %v", c.filter, c.doc, got, c.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]mongoerr.Code{
		`{$foo: 1}`:                                        2,
		`{a: {$foo: 1}}`:                                   2,
		`{a: {$gt: 1, b: 2}}`:                              2,
		`{$and: {}}`:                                       2,
		`{$and: []}`:                                       2,
		`{$or: [1]}`:                                       2,
		`{a: {$in: 1}}`:                                    2,
		`{a: {$in: [{$gt: 1}]}}`:                           2,
		`{a: {$nin: {}}}`:                                  2,
		`{a: {$ne: /x/}}`:                                  2,
		`{a: {$gt: /x/}}`:                                  2,
		`{a: {$eq: {$undefined: true}}}`:                   2,
		`{a: {$size: -1}}`:                                 2,
		`{a: {$size: 1.5}}`:                                2,
		`{a: {$size: "1"}}`:                                2,
		`{a: {$size: {$numberDecimal: "1"}}}`:              2,
		`{a: {$size: {$numberLong: "4294967296"}}}`:        2,
		`{a: {$not: {}}}`:                                  2,
		`{a: {$not: 1}}`:                                   2,
		`{a: {$not: {b: 1}}}`:                              2,
		`{a: {$type: "missing"}}`:                          2,
		`{a: {$type: "x"}}`:                                2,
		`{a: {$type: 0}}`:                                  2,
		`{a: {$type: 1.5}}`:                                2,
		`{a: {$type: 20}}`:                                 2,
		`{a: {$type: null}}`:                               14,
		`{a: {$type: []}}`:                                 9,
		`{a: {$mod: 1}}`:                                   2,
		`{a: {$mod: []}}`:                                  2,
		`{a: {$mod: [1]}}`:                                 2,
		`{a: {$mod: [0, 1]}}`:                              2,
		`{a: {$mod: [0.5, 1]}}`:                            2,
		`{a: {$mod: ["1", 1]}}`:                            2,
		`{a: {$mod: [1, 2, 3]}}`:                           2,
		`{a: {$regex: 1}}`:                                 2,
		`{a: {$regex: "("}}`:                               51091,
		`{a: {$options: "i"}}`:                             2,
		`{a: {$regex: /x/i, $options: "i"}}`:               51075,
		`{a: {$options: "i", $regex: /x/i}}`:               51074,
		`{a: {$elemMatch: 1}}`:                             2,
		`{a: {$elemMatch: {$where: "1"}}}`:                 2,
		`{a: {$elemMatch: {$expr: 1}}}`:                    2,
		`{a: {$elemMatch: {$gt: 1, b: 1}}}`:                2,
		`{a: {$all: 1}}`:                                   2,
		`{a: {$all: [{$gt: 1}]}}`:                          2,
		`{a: {$all: [{$elemMatch: {}}, 1]}}`:               2,
		`{a: {$bitsAllSet: "x"}}`:                          2,
		`{a: {$bitsAllSet: -1}}`:                           9,
		`{a: {$bitsAllSet: 1.5}}`:                          9,
		`{a: {$bitsAllSet: [-1]}}`:                         2,
		`{a: {$bitsAllSet: ["x"]}}`:                        2,
		`{a: {$where: "1"}}`:                               2,
		`{$where: "1"}`:                                    2,
		`{$text: {$search: "x"}}`:                          27,
		`{a: {$near: [0, 0]}}`:                             291,
		`{a: {$gt: 1, $near: [0, 0]}}`:                     2,
		`{a: {$geoWithin: {}}}`:                            115,
		`{$alwaysTrue: 2}`:                                 9,
		`{$sampleRate: 2}`:                                 2,
		`{$jsonSchema: 1}`:                                 14,
		`{$jsonSchema: {foo: 1}}`:                          9,
		`{$jsonSchema: {default: 1}}`:                      9,
		`{$jsonSchema: {type: "integer"}}`:                 9,
		`{$jsonSchema: {type: "x"}}`:                       2,
		`{$jsonSchema: {type: 1}}`:                         14,
		`{$jsonSchema: {type: [], bsonType: "int"}}`:       9,
		`{$jsonSchema: {type: []}}`:                        9,
		`{$jsonSchema: {type: ["string", "string"]}}`:      9,
		`{$jsonSchema: {required: []}}`:                    9,
		`{$jsonSchema: {required: ["a", "a"]}}`:            9,
		`{$jsonSchema: {required: "a"}}`:                   14,
		`{$jsonSchema: {minimum: "1"}}`:                    14,
		`{$jsonSchema: {exclusiveMinimum: true}}`:          9,
		`{$jsonSchema: {minLength: -1}}`:                   9,
		`{$jsonSchema: {enum: []}}`:                        9,
		`{$jsonSchema: {enum: [1, {$numberLong: "1"}]}}`:   9,
		`{$jsonSchema: {allOf: []}}`:                       2,
		`{$jsonSchema: {properties: {a: 1}}}`:              14,
		`{$jsonSchema: {properties: {a: {pattern: "("}}}}`: 51091,
		`{$jsonSchema: {patternProperties: {"(": {}}}}`:    2,
		`{$jsonSchema: {multipleOf: 0}}`:                   9,
		`{$jsonSchema: {dependencies: {a: []}}}`:           9,
		`{$jsonSchema: {items: 1}}`:                        14,
		`{$jsonSchema: {uniqueItems: 1}}`:                  14,
	} {
		_, err := match.Parse(mqltest.Short(t, filter), &expr.Env{})
		if got := mongoerr.CodeOf(err); got != want {
			t.Errorf("%s: code %d (%v), want %d", filter, got, err, want)
		}
	}
}

func TestFeatures(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]mongoerr.Code{
		`{"$expr": true}`:                           mongoerr.QueryFeatureNotAllowed,
		`{"$and": [{"$jsonSchema": {}}]}`:           mongoerr.QueryFeatureNotAllowed,
		`{"$text": {"$search": "x"}}`:               mongoerr.BadValue,
		`{"a": {"$near": {"$geometry": {"x": 1}}}}`: mongoerr.BadValue,
	} {
		_, err := match.ParseWith(mqltest.Doc(t, filter), &expr.Env{}, match.NoFeatures)
		if got := mongoerr.CodeOf(err); got != want {
			t.Errorf("%s: %v, want code %d", filter, err, want)
		}
	}
}

func TestSchema(t *testing.T) {
	t.Parallel()
	const yes, no = true, false
	for _, c := range []struct {
		schema, doc string
		want        bool
	}{
		{`{}`, `{a: 1}`, yes},
		{`{type: "object"}`, `{}`, yes},
		{`{type: "string"}`, `{}`, no},
		{`{required: ["a", "b"]}`, `{a: 1}`, no},
		{`{properties: {a: {type: "number"}}}`, `{a: 1.5}`, yes},
		{`{properties: {a: {type: "number"}}}`, `{}`, yes},
		{`{properties: {a: {type: "number"}}}`, `{a: [1]}`, no}, // the array itself counts
		{`{properties: {a: {bsonType: ["int", "string"]}}}`, `{a: "x"}`, yes},
		{`{properties: {a: {minimum: 3}}}`, `{a: "x"}`, yes}, // not about strings
		{`{properties: {a: {minimum: 3}}}`, `{a: 2}`, no},
		{`{properties: {a: {minimum: 3, exclusiveMinimum: true}}}`, `{a: 3}`, no},
		{`{properties: {a: {bsonType: "string", minimum: 3}}}`, `{a: "x"}`, yes},
		{`{properties: {a: {maxLength: 2}}}`, `{a: "éé"}`, yes},
		{`{properties: {a: {minLength: 3}}}`, `{a: "éé"}`, no},
		{`{properties: {a: {pattern: "^x"}}}`, `{a: "yx"}`, no},
		{`{properties: {a: {multipleOf: 0.1}}}`, `{a: 0.3}`, yes},
		{`{properties: {a: {multipleOf: 2}}}`, `{a: 3}`, no},
		{`{properties: {a: {items: {type: "string"}}}}`, `{a: ["x", 1]}`, no},
		{`{properties: {a: {items: {type: "string"}}}}`, `{a: 1}`, yes},
		{`{properties: {a: {items: [{type: "string"}], additionalItems: false}}}`, `{a: ["x", 1]}`, no},
		{`{properties: {a: {items: [{type: "string"}], additionalItems: {type: "number"}}}}`, `{a: ["x", 1]}`, yes},
		{`{properties: {a: {minItems: 2}}}`, `{a: [1]}`, no},
		{`{properties: {a: {maxItems: 2}}}`, `{a: [1, 2, 3]}`, no},
		{`{properties: {a: {uniqueItems: true}}}`, `{a: [{x: 1, y: 2}, {y: 2, x: 1}]}`, no},
		{`{properties: {a: {uniqueItems: true}}}`, `{a: [1, "1"]}`, yes},
		{`{properties: {a: {properties: {b: {type: "string"}}, required: ["b"]}}}`, `{a: {}}`, no},
		{`{properties: {a: {required: ["b"]}}}`, `{a: 1}`, yes},
		{`{additionalProperties: false, properties: {_id: {}, a: {}}}`, `{_id: 1, b: 1}`, no},
		{`{additionalProperties: {type: "number"}}`, `{a: 1, b: "x"}`, no},
		{`{patternProperties: {"^s": {type: "string"}}, additionalProperties: false}`, `{s1: "x"}`, yes},
		{`{patternProperties: {"^s": {type: "string"}}}`, `{s1: 1}`, no},
		{`{minProperties: 2}`, `{a: 1}`, no},
		{`{properties: {a: {maxProperties: 1}}}`, `{a: {b: 1, c: 1}}`, no},
		{`{dependencies: {a: ["b"]}}`, `{a: 1}`, no},
		{`{dependencies: {a: ["b"]}}`, `{}`, yes},
		{`{dependencies: {a: {required: ["b"]}}}`, `{a: 1, b: 1}`, yes},
		{`{properties: {a: {enum: [1, {x: 1, y: 2}]}}}`, `{a: {y: 2, x: 1}}`, yes},
		{`{properties: {a: {enum: [1, 2]}}}`, `{a: 3}`, no},
		{`{enum: [{a: 1}]}`, `{a: 1}`, yes},
		{`{enum: [1]}`, `{a: 1}`, no},
		{`{allOf: [{required: ["a"]}, {required: ["b"]}]}`, `{a: 1}`, no},
		{`{anyOf: [{required: ["a"]}, {required: ["b"]}]}`, `{a: 1}`, yes},
		{`{oneOf: [{required: ["a"]}, {required: ["b"]}]}`, `{a: 1, b: 1}`, no},
		{`{not: {required: ["a"]}}`, `{a: 1}`, no},
		{`{title: "t", description: "d"}`, `{}`, yes},
	} {
		got, err := parse(t, (`{$jsonSchema: ` + c.schema + `}`)).Match(mqltest.Short(t, c.doc))
		if err != nil || got != c.want {
			t.Errorf("%s on %s: %v (%v), want %v", c.schema, c.doc, got, err, c.want)
		}
	}
}

func TestExpr(t *testing.T) {
	t.Parallel()
	f := parse(t, `{"$expr": {"$gt": ["$a", "$b"]}}`)
	if ok, err := f.Match(mqltest.Doc(t, `{"a": 2, "b": 1}`)); !ok || err != nil {
		t.Error(ok, err)
	}
	// What fails isn't evaluated where another condition has decided.
	f = parse(t, `{"$expr": {"$add": ["$a", 1]}, "b": 1}`)
	if ok, err := f.Match(mqltest.Doc(t, `{"a": "x", "b": 2}`)); ok || err != nil {
		t.Error(ok, err)
	}
	ok, err := f.Match(mqltest.Doc(t, `{"a": "x", "b": 1}`))
	var e *mongoerr.Error
	if ok || !errors.As(err, &e) {
		t.Error(ok, err)
	}
}

func TestMatchPosition(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		filter, doc string
		ok          bool
		index       int
	}{
		{`{a: 5}`, `{a: [1, 5]}`, true, 1},
		{`{a: 5}`, `{a: 5}`, true, -1},
		{`{a: [1, 5]}`, `{a: [1, 5]}`, true, -1}, // the whole array
		{`{"a.b": 5}`, `{a: [{b: 1}, {b: [3, 5]}]}`, true, 1},
		{`{"a.b": 5}`, `{a: {b: [3, 5]}}`, true, 1},
		{`{"a.1": 5}`, `{a: [1, 5]}`, true, -1},
		{`{a: {$elemMatch: {b: 2}}}`, `{a: [{b: 1}, {b: 2}]}`, true, 1},
		{`{"a.b": {$elemMatch: {$gt: 2}}}`, `{a: [{}, {b: [1, 3]}]}`, true, 1},
		{`{$or: [{a: 5}]}`, `{a: [1, 5]}`, true, 1}, // one choice is no choice
		{`{$or: [{a: 5}, {a: 6}]}`, `{a: [1, 5]}`, true, -1},
		{`{a: {$ne: 7}}`, `{a: [1, 5]}`, true, -1},
		{`{a: 1, b: 6}`, `{a: [1, 2], b: [5, 6]}`, true, 1}, // the last condition counts
		{`{b: 6, a: 1}`, `{a: [1, 2], b: [5, 6]}`, true, 1}, // in the server's order
		{`{a: 7}`, `{a: [1, 5]}`, false, -1},
	} {
		ok, index, err := parse(t, c.filter).MatchPosition(mqltest.Short(t, c.doc))
		if err != nil || ok != c.ok || index != c.index {
			t.Errorf("%s on %s: %v %d %v, want %v %d", c.filter, c.doc, ok, index, err, c.ok, c.index)
		}
	}
}

func TestConjuncts(t *testing.T) {
	t.Parallel()
	f := parse(t, `{a: 1, $and: [{b: {$gt: 2, $lte: 3}}, {c: {$in: [3, 1, 3]}}], d: {$exists: false}, e: {$in: [7]},
		f: {$ne: 1}, g: {$in: [/x/, 1]}, h: {$exists: true}, $or: [{i: 1}, {j: 1}], k: /^a/, l: {$elemMatch: {m: 1}}}`)
	got := map[string]string{}
	for _, p := range f.Conjuncts() {
		got[p.Path+" "+p.Op] = mqltest.Canonical(p.Value)
	}
	want := map[string]string{
		"a $eq":     `{"v":{"$numberInt":"1"}}`,
		"b $gt":     `{"v":{"$numberInt":"2"}}`,
		"b $lte":    `{"v":{"$numberInt":"3"}}`,
		"c $in":     `{"v":[{"$numberInt":"1"},{"$numberInt":"3"}]}`,
		"d $exists": `{"v":false}`,
		"e $eq":     `{"v":{"$numberInt":"7"}}`,
		"h $exists": `{"v":true}`,
		"k $regex":  `{"v":{"$regularExpression":{"pattern":"^a","options":""}}}`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if !parse(t, `{a: 1, b: {$all: []}}`).Never() {
		t.Error("an impossible filter isn't known to be")
	}
}

func TestPlaceholder(t *testing.T) {
	t.Parallel()
	for filter, want := range map[string]string{
		`{"e": 1}`: "e",
		`{"e.a": 1, "e.b": {"$not": {"$gt": 1}}}`: "e",
		`{"$or": [{"e": 1}, {"e.x": 2}]}`:         "e",
		`{"e": 1, "f": 1}`:                        "code 9",
		`{"E": 1}`:                                "code 2",
		`{"": 1}`:                                 "code 2",
		`{"e_1": 1}`:                              "code 2",
		`{}`:                                      "",
	} {
		f, err := match.ParseWith(mqltest.Doc(t, filter), &expr.Env{}, match.NoFeatures)
		if err != nil {
			t.Fatal(err)
		}
		got, err := f.Placeholder()
		if err != nil {
			got = "code " + string(rune('0'+mongoerr.CodeOf(err)))
		}
		if got != want {
			t.Errorf("%s: %q, want %q", filter, got, want)
		}
	}
}

func TestMatchValue(t *testing.T) {
	t.Parallel()
	f := parse(t, `{"e.b": {"$gt": 1}}`)
	for text, want := range map[string]bool{`{"b": 2}`: true, `{"b": 0}`: false, `2`: false, `[{"b": 2}]`: true} {
		if got, err := f.MatchValue(mqltest.Value(t, text)); got != want || err != nil {
			t.Errorf("%s: %v %v, want %v", text, got, err, want)
		}
	}
	f = parse(t, `{"e": {"$gt": 1}}`)
	for text, want := range map[string]bool{`2`: true, `[0, 2]`: true, `"x"`: false} {
		if got, err := f.MatchValue(mqltest.Value(t, text)); got != want || err != nil {
			t.Errorf("%s: %v %v, want %v", text, got, err, want)
		}
	}
}

func TestNesting(t *testing.T) {
	t.Parallel()
	deep := func(n int) bson.Raw {
		d := mqltest.Doc(t, `{"a": 1}`)
		for range n {
			var o value.Object
			o.Add("$and", value.ArrayOf(value.Doc(d)))
			d = o.Doc()
		}
		return d
	}
	if _, err := match.Parse(deep(90), &expr.Env{}); err != nil {
		t.Error(err)
	}
	if _, err := match.Parse(deep(300), &expr.Env{}); mongoerr.CodeOf(err) != mongoerr.Overflow {
		t.Error(err)
	}
}

func FuzzMatch(f *testing.F) {
	add := func(filter, doc string) {
		f.Add([]byte(mqltest.Short(f, filter)), []byte(mqltest.Short(f, doc)))
	}
	add(`{a: 1, "b.0.c": {$in: [1, /x/]}, $or: [{a: {$elemMatch: {$gt: 1}}}, {$expr: {$eq: ["$a", 1]}}]}`, `{a: [1, {b: 2}], b: [[{c: 1}]]}`)
	add(`{$jsonSchema: {required: ["a"], properties: {a: {enum: [1, {x: 1}], items: [{type: "string"}]}}}}`, `{a: ["x", {y: 1}]}`)
	add(`{a: {$mod: [2, 1], $type: [1, "number"], $size: 3, $bitsAllSet: [1, 70], $regex: "^a(?=b)"}}`, `{a: "ab"}`)
	f.Fuzz(func(_ *testing.T, filter, doc []byte) {
		p, err := match.Parse(filter, &expr.Env{})
		if err != nil {
			return
		}
		_, _ = p.Match(doc)
		_, _, _ = p.MatchPosition(doc)
		p.Conjuncts()
		p.Equalities()
	})
}

func BenchmarkMatch(b *testing.B) {
	f := parse(b, `{kind: "order", total: {$gte: 100, $lt: 500}, "items.sku": {$in: ["a", "b", "c"]}, tags: "vip", closed: {$exists: false}}`)
	doc := mqltest.Short(b, `{_id: 17, kind: "order", customer: {name: "n", city: "c"}, total: 320,
		items: [{sku: "x", n: 1}, {sku: "y", n: 2}, {sku: "b", n: 3}], tags: ["new", "vip"]}`)
	if ok, err := f.Match(doc); !ok || err != nil {
		b.Fatal(ok, err)
	}
	b.ReportAllocs()
	for b.Loop() {
		_, _ = f.Match(doc)
	}
}
