package update_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/update"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func parse(t testing.TB, text string, arrayFilters ...string) (*update.Update, error) {
	t.Helper()
	o := update.Options{Env: &expr.Env{}}
	for _, f := range arrayFilters {
		o.ArrayFilters = append(o.ArrayFilters, mqltest.Short(t, f))
	}
	return update.Parse(mqltest.ShortValue(t, text), o)
}

// describe shows a result: the document, then what a change stream reports.
func describe(r update.Result) string {
	if !r.Changed {
		return "unchanged"
	}
	text := plain(r.Doc)
	if r.Replaced {
		return text + " replaced"
	}
	text += " set " + plain(r.Updated)
	if len(r.Removed) > 0 {
		text += " removed " + strings.Join(r.Removed, " ")
	}
	return text
}

func plain(doc bson.Raw) string {
	b, err := bson.MarshalExtJSON(doc, false, false)
	if err != nil {
		return err.Error()
	}
	return strings.ReplaceAll(string(b), `"`, "")
}

func TestApply(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		update string
		filter string // array filter or, with positional operator, the query
		doc    string
		want   string
	}{
		// order of new fields, by component and byte
		{`{$set: {b: 1, a: 1, "c.2": 1, "c.10": 1}}`, "", `{_id: 1}`, `{_id:1,a:1,b:1,c:{10:1,2:1}} set {a:1,b:1,c.10:1,c.2:1}`},
		{`{$inc: {b: 1}, $set: {a: 1}}`, "", `{b: 1}`, `{b:2,a:1} set {a:1,b:2}`},
		{`{$set: {_id: 1}}`, "", `{a: 1, _id: 1}`, `unchanged`},
		{`{$set: {b: 1}}`, "", `{a: 1, _id: 1}`, `{_id:1,a:1,b:1} set {b:1}`}, // _id comes first
		// $set
		{`{$set: {a: 1}}`, "", `{a: 1}`, `unchanged`},
		{`{$set: {a: 1.0}}`, "", `{a: 1}`, `{a:1.0} set {a:1.0}`},
		{`{$set: {"a.b.c": 1}}`, "", `{a: {}}`, `{a:{b:{c:1}}} set {a.b.c:1}`},
		{`{$set: {"a.b": 1, "a.c": 2}}`, "", `{}`, `{a:{b:1,c:2}} set {a.b:1,a.c:2}`},
		{`{$set: {"a.3": 1}}`, "", `{a: [0]}`, `{a:[0,null,null,1]} set {a.3:1}`},
		{`{$set: {"a.2.b.c": 1}}`, "", `{a: [0]}`, `{a:[0,null,{b:{c:1}}]} set {a.2.b.c:1}`},
		{`{$set: {"a.01": 1}}`, "", `{a: [0, 0]}`, `{a:[0,1]} set {a.01:1}`},
		// $unset
		{`{$unset: {a: "", b: ""}}`, "", `{a: 1}`, `{} set {} removed a`},
		{`{$unset: {"a.0": ""}}`, "", `{a: [1, 2]}`, `{a:[null,2]} set {} removed a.0`},
		{`{$unset: {"a.b": ""}}`, "", `{a: 5}`, `unchanged`},
		// numbers
		{`{$inc: {a: 1}}`, "", `{a: 2147483647}`, `{a:2147483648} set {a:2147483648}`},
		{`{$inc: {a: 1.5}}`, "", `{a: 1}`, `{a:2.5} set {a:2.5}`},
		{`{$inc: {a: 0}}`, "", `{a: 1}`, `unchanged`},
		{`{$inc: {a: {$numberLong: "0"}}}`, "", `{a: 1}`, `{a:1} set {a:1}`}, // another type
		{`{$mul: {a: 2, b: 3}}`, "", `{a: 4}`, `{a:8,b:0} set {a:8,b:0}`},
		{`{$mul: {b: 2.5}}`, "", `{}`, `{b:0.0} set {b:0.0}`},
		{`{$min: {a: 1, b: 5}}`, "", `{a: 2}`, `{a:1,b:5} set {a:1,b:5}`},
		{`{$max: {a: "x"}}`, "", `{a: 2}`, `{a:x} set {a:x}`},
		{`{$max: {a: 2.0}}`, "", `{a: 2}`, `unchanged`},
		{`{$bit: {a: {and: 6, or: {$numberLong: "8"}}}}`, "", `{a: 3}`, `{a:10} set {a:10}`},
		{`{$bit: {a: {xor: 5}}}`, "", `{}`, `{a:5} set {a:5}`},
		// $rename
		{`{$rename: {a: "b.c"}}`, "", `{a: 1, x: 2}`, `{x:2,b:{c:1}} set {b.c:1} removed a`},
		{`{$rename: {a: "b"}}`, "", `{a: 1, b: 2}`, `{b:1} set {b:1} removed a`},
		{`{$rename: {z: "b"}}`, "", `{b: 2}`, `unchanged`},
		{`{$rename: {"a.b": "c"}}`, "", `{a: {b: [1]}}`, `{a:{},c:[1]} set {c:[1]} removed a.b`},
		// $push
		{`{$push: {a: 1}}`, "", `{}`, `{a:[1]} set {a:[1]}`},
		{`{$push: {a: {$each: [1, 2]}}}`, "", `{a: [0]}`, `{a:[0,1,2]} set {a.1:1,a.2:2}`},
		{`{$push: {a: 1}}`, "", `{a: []}`, `{a:[1]} set {a:[1]}`},
		{`{$push: {a: {$each: [1, 2], $position: 0}}}`, "", `{a: [0]}`, `{a:[1,2,0]} set {a:[1,2,0]}`},
		{`{$push: {a: {$each: [9], $position: -1}}}`, "", `{a: [0, 1]}`, `{a:[0,9,1]} set {a:[0,9,1]}`},
		{`{$push: {a: {$each: [9], $position: -7}}}`, "", `{a: [0, 1]}`, `{a:[9,0,1]} set {a:[9,0,1]}`},
		{`{$push: {a: {$each: [9], $position: 7}}}`, "", `{a: [0, 1]}`, `{a:[0,1,9]} set {a.2:9}`},
		{`{$push: {a: {$each: [2, 3], $slice: -2}}}`, "", `{a: [0, 1]}`, `{a:[2,3]} set {a:[2,3]}`},
		{`{$push: {a: {$each: [], $slice: 1}}}`, "", `{a: [0, 1]}`, `{a:[0]} set {a:[0]}`},
		{`{$push: {a: {$each: [], $slice: 5}}}`, "", `{a: [0, 1]}`, `unchanged`},
		{`{$push: {a: {$each: [5, "x"], $sort: -1}}}`, "", `{a: [1, 7]}`, `{a:[x,7,5,1]} set {a:[x,7,5,1]}`},
		{`{$push: {a: {$each: [], $sort: 1}}}`, "", `{a: [1, 2]}`, `{a:[1,2]} set {a:[1,2]}`}, // counts as changed
		{
			`{$push: {a: {$each: [{b: 1, c: 1}], $sort: {b: 1, c: -1}}}}`, "", `{a: [{b: 1, c: 5}, {b: 0}, 3]}`,
			`{a:[3,{b:0},{b:1,c:5},{b:1,c:1}]} set {a:[3,{b:0},{b:1,c:5},{b:1,c:1}]}`,
		},
		{`{$push: {a: [1, 2]}}`, "", `{a: [0]}`, `{a:[0,[1,2]]} set {a.1:[1,2]}`},
		// $addToSet
		{`{$addToSet: {a: 1}}`, "", `{a: [1.0]}`, `unchanged`},
		{`{$addToSet: {a: {$each: [2, 1, 2]}}}`, "", `{a: [1]}`, `{a:[1,2]} set {a:[1,2]}`},
		{`{$addToSet: {a: {x: 1, y: 1}}}`, "", `{a: [{y: 1, x: 1}]}`, `{a:[{y:1,x:1},{x:1,y:1}]} set {a:[{y:1,x:1},{x:1,y:1}]}`},
		{`{$addToSet: {a: {$each: [2, 2]}}}`, "", `{}`, `{a:[2]} set {a:[2]}`},
		// $pop, $pull, $pullAll
		{`{$pop: {a: 1}}`, "", `{a: [1, 2]}`, `{a:[1]} set {a:[1]}`},
		{`{$pop: {a: -1, b: 1}}`, "", `{a: [1, 2]}`, `{a:[2]} set {a:[2]}`},
		{`{$pop: {a: 1}}`, "", `{a: []}`, `unchanged`},
		{`{$pull: {a: 1}}`, "", `{a: [1, 2, 1.0]}`, `{a:[2]} set {a:[2]}`},
		{`{$pull: {a: {$gte: 2}}}`, "", `{a: [1, 2, 3, "x"]}`, `{a:[1,x]} set {a:[1,x]}`},
		{`{$pull: {a: {b: {$gt: 1}}}}`, "", `{a: [{b: 1}, {b: 2}, 3]}`, `{a:[{b:1},3]} set {a:[{b:1},3]}`},
		{`{$pull: {a: {b: 1}}}`, "", `{a: [{b: 1, c: 2}, {b: [1]}]}`, `{a:[]} set {a:[]}`},
		{`{$pull: {a: [1]}}`, "", `{a: [1, [1]]}`, `{a:[1]} set {a:[1]}`},
		{`{$pull: {a: /^x/}}`, "", `{a: ["xy", "y"]}`, `{a:[y]} set {a:[y]}`},
		{`{$pull: {a: {$elemMatch: {b: 1}}}}`, "", `{a: [[{b: 1}], {b: 1}]}`, `{a:[{b:1}]} set {a:[{b:1}]}`},
		{`{$pullAll: {a: [1, {b: 1}]}}`, "", `{a: [{b: 1}, 1, {b: 1, c: 1}]}`, `{a:[{b:1,c:1}]} set {a:[{b:1,c:1}]}`},
		// array filters and positions
		{`{$set: {"a.$[]": 0}}`, "", `{a: [1, 2]}`, `{a:[0,0]} set {a:[0,0]}`},
		{`{$set: {"a.$[]": 0}}`, "", `{a: [0, 2]}`, `{a:[0,0]} set {a.1:0}`},
		{`{$set: {"a.$[]": 0}}`, "", `{a: []}`, `unchanged`},
		{`{$set: {"a.$[e]": 0}}`, `{e: {$gt: 1}}`, `{a: [1, 2]}`, `{a:[1,0]} set {a.1:0}`},
		{`{$inc: {"a.$[e].n": 1}}`, `{"e.k": "x"}`, `{a: [{k: "x"}, {k: "y", n: 1}]}`, `{a:[{k:x,n:1},{k:y,n:1}]} set {a.0.n:1}`},
		{`{$set: {"a.$[].b.$[e]": 9}}`, `{e: 1}`, `{a: [{b: [1, 2]}, {b: [1]}]}`, `{a:[{b:[9,2]},{b:[9]}]} set {a:[{b:[9,2]},{b:[9]}]}`},
		{`{$set: {"a.$[e].x": 1}, $inc: {"a.$[].y": 1}}`, `{"e.y": 2}`, `{a: [{y: 2}, {y: 3}]}`, `{a:[{y:3,x:1},{y:4}]} set {a:[{y:3,x:1},{y:4}]}`},
		{`{$set: {"a.$": 9}}`, `query {a: 5}`, `{a: [1, 5]}`, `{a:[1,9]} set {a.1:9}`},
		{`{$set: {"a.$.b": 9, "a.1.c": 1}}`, `query {"a.x": 5}`, `{a: [{}, {x: 5}]}`, `{a:[{},{x:5,b:9,c:1}]} set {a.1.b:9,a.1.c:1}`},
		{`{$set: {"a.$": 9}}`, `query {b: 5}`, `{a: [1], b: [5]}`, `{a:[9],b:[5]} set {a.0:9}`},
		// replacement
		{`{b: 1}`, "", `{_id: 1, a: 1}`, `{_id:1,b:1} replaced`},
		{`{b: 1, _id: 1.0}`, "", `{_id: 1, a: 1}`, `{_id:1.0,b:1} replaced`},
		{`{_id: 1, a: 1}`, "", `{_id: 1, a: 1}`, `unchanged`},
		{`{a: {$timestamp: {t: 0, i: 0}}}`, "", `{_id: 1}`, `{_id:1,a:{$timestamp:{t:0,i:0}}} replaced`},
		{`{}`, "", `{_id: 1, a: 1}`, `{_id:1} replaced`},
		{`{$setOnInsert: {a: 1}}`, "", `{}`, `unchanged`},
		{`{$set: {a: {$ref: "c", $id: 1}}}`, "", `{}`, `{a:{$ref:c,$id:1}} set {a:{$ref:c,$id:1}}`},
	} {
		var filters []string
		index := -1
		query, positional := strings.CutPrefix(c.filter, "query ")
		if c.filter != "" && !positional {
			filters = []string{c.filter}
		}
		u, err := parse(t, c.update, filters...)
		if err != nil {
			t.Errorf("%s: %v", c.update, err)
			continue
		}
		doc := mqltest.Short(t, c.doc)
		if u.NeedsPosition() != positional {
			t.Errorf("%s: needs a position: %v", c.update, u.NeedsPosition())
		}
		if positional {
			f, err := match.Parse(mqltest.Short(t, query), &expr.Env{})
			if err != nil {
				t.Fatal(err)
			}
			if _, index, err = f.MatchPosition(doc); err != nil {
				t.Fatal(err)
			}
		}
		before := append(bson.Raw(nil), doc...)
		r, err := u.Apply(doc, index)
		if err != nil {
			t.Errorf("%s on %s: %v", c.update, c.doc, err)
			continue
		}
		if diff := cmp.Diff(c.want, describe(r)); diff != "" {
			t.Errorf("%s on %s:\n%s", c.update, c.doc, diff)
		}
		if err := r.Doc.Validate(); err != nil {
			t.Errorf("%s on %s: %v", c.update, c.doc, err)
		}
		if string(before) != string(doc) {
			t.Errorf("%s changed the document it was given", c.update)
		}
	}
}

func TestParseRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		update  string
		filters []string
		want    mongoerr.Code
	}{
		{`{$foo: {a: 1}}`, nil, 9},
		{`{$set: 1}`, nil, 9},
		{`{$set: {}}`, nil, 9},
		{`{$set: {a: 1}, b: 1}`, nil, 9},
		{`{$v: 1, $set: {a: 1}}`, nil, 9},
		{`5`, nil, 9},
		{`{$set: {"": 1}}`, nil, 56},
		{`{$set: {"a.": 1}}`, nil, 56},
		{`{$set: {".a": 1}}`, nil, 56},
		{`{$set: {a: 1}, $inc: {a: 1}}`, nil, 40},
		{`{$set: {a: 1, "a.b": 1}}`, nil, 40},
		{`{$set: {"a.b": 1}, $unset: {a: 1}}`, nil, 40},
		{`{$set: {"a.$[]": 1, "a.0": 1}}`, nil, 40},
		{`{$set: {"a.$.b.$": 1}}`, nil, 2},
		{`{$set: {$: 1}}`, nil, 2},
		{`{$set: {"$[]": 1}}`, nil, 2},
		{`{$set: {"a.$[e]": 1}}`, nil, 2},
		{`{$set: {a: 1}}`, []string{`{e: 1}`}, 9},
		{`{$set: {"a.$[e]": 1}}`, []string{`{e: 1}`, `{"e.x": 1}`}, 9},
		{`{$set: {"a.$[e]": 1}}`, []string{`{e: 1, f: 1}`}, 9},
		{`{$set: {"a.$[e]": 1}}`, []string{`{}`}, 9},
		{`{$set: {"a.$[E]": 1}}`, []string{`{E: 1}`}, 2},
		{`{$set: {"a.$[e]": 1}}`, []string{`{$expr: 1}`}, 224},
		{`[]`, []string{`{e: 1}`}, 9},
		{`{$inc: {a: "x"}}`, nil, 14},
		{`{$mul: {a: null}}`, nil, 14},
		{`{$rename: {a: 1}}`, nil, 2},
		{`{$rename: {a: "a"}}`, nil, 2},
		{`{$rename: {a: "a.b"}}`, nil, 2},
		{`{$rename: {"a.$": "b"}}`, nil, 2},
		{`{$rename: {a: "b.$[]"}}`, nil, 2},
		{`{$rename: {a: ""}}`, nil, 56},
		{`{$rename: {a: "b"}, $set: {a: 1}}`, nil, 40},
		{`{$currentDate: {a: 1}}`, nil, 2},
		{`{$currentDate: {a: {$type: "x"}}}`, nil, 2},
		{`{$currentDate: {a: {x: 1}}}`, nil, 2},
		{`{$push: {a: {$each: 1}}}`, nil, 2},
		{`{$push: {a: {$each: [], $foo: 1}}}`, nil, 2},
		{`{$push: {a: {$each: [], $slice: 1.5}}}`, nil, 2},
		{`{$push: {a: {$each: [], $slice: "1"}}}`, nil, 2},
		{`{$push: {a: {$each: [], $position: null}}}`, nil, 2},
		{`{$push: {a: {$each: [], $sort: 2}}}`, nil, 2},
		{`{$push: {a: {$each: [], $sort: {}}}}`, nil, 2},
		{`{$push: {a: {$each: [], $sort: {b: 2}}}}`, nil, 2},
		{`{$push: {a: {$each: [], $sort: {"b.": 1}}}}`, nil, 2},
		{`{$push: {a: {$each: [], $sort: "x"}}}`, nil, 2},
		{`{$addToSet: {a: {$each: 1}}}`, nil, 14},
		{`{$addToSet: {a: {$each: [], b: 1}}}`, nil, 2},
		{`{$pop: {a: "x"}}`, nil, 9},
		{`{$pop: {a: 2}}`, nil, 9},
		{`{$pull: {a: {$foo: 1}}}`, nil, 2},
		{`{$pull: {a: {$expr: 1}}}`, nil, 224},
		{`{$pullAll: {a: 1}}`, nil, 2},
		{`{$bit: {a: 1}}`, nil, 2},
		{`{$bit: {a: {}}}`, nil, 2},
		{`{$bit: {a: {not: 1}}}`, nil, 2},
		{`{$bit: {a: {and: 1.5}}}`, nil, 2},
	} {
		_, err := parse(t, c.update, c.filters...)
		if got := mongoerr.CodeOf(err); got != c.want {
			t.Errorf("%s %v: %v, want code %d", c.update, c.filters, err, c.want)
		}
	}
	_, err := update.Parse(mqltest.ShortValue(t, `{a: 1}`), update.Options{Multi: true})
	if mongoerr.CodeOf(err) != mongoerr.FailedToParse {
		t.Error(err)
	}
	_, err = update.Parse(mqltest.ShortValue(t, `{$set: {a: 1}}`), update.Options{Constants: mqltest.Short(t, `{x: 1}`)})
	if mongoerr.CodeOf(err) != 51198 {
		t.Error(err)
	}
}

func TestApplyRefusals(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		update, doc string
		want        mongoerr.Code
	}{
		{`{$set: {_id: 2}}`, `{_id: 1}`, 66},
		{`{$unset: {_id: ""}}`, `{_id: 1}`, 66},
		{`{$set: {"_id.a": 2}}`, `{_id: {}}`, 66},
		{`{$set: {"_id.a": 2}}`, `{_id: {a: 1}}`, 66},
		{`{$rename: {_id: "b"}}`, `{_id: 1}`, 66},
		{`{$rename: {a: "_id"}}`, `{_id: 1, a: 1}`, 66},
		{`{_id: 2}`, `{_id: 1}`, 66},
		{`{_id: [1]}`, `{_id: 1}`, 53},
		{`{$set: {"a.b": 1}}`, `{a: 5}`, 28},
		{`{$set: {"a.b": 1}}`, `{a: [1]}`, 28},
		{`{$set: {"a.-1": 1}}`, `{a: [1]}`, 28},
		{`{$set: {"a.1600000": 1}}`, `{a: [1]}`, 34},
		{`{$set: {a: {$b: 1}}}`, `{}`, 52},
		{`{$set: {"a.$b": 1}}`, `{}`, 52},
		{`{$set: {a: {$id: 1}}}`, `{}`, 55},
		{`{$set: {a: {$ref: 1, $id: 1}}}`, `{}`, 55},
		{`{$unset: {"a.$ref": 1}}`, `{a: {$ref: "x", $id: 1}}`, 55},
		{`{a: 1, $b: 1}`, `{}`, 52},
		{`{$inc: {a: 1}}`, `{a: "x"}`, 14},
		{`{$inc: {a: 1}}`, `{a: {$numberLong: "9223372036854775807"}}`, 2},
		{`{$mul: {a: {$numberLong: "3"}}}`, `{a: {$numberLong: "9223372036854775807"}}`, 2},
		{`{$push: {a: 1}}`, `{a: 1}`, 2},
		{`{$addToSet: {a: 1}}`, `{a: null}`, 2},
		{`{$pop: {a: 1}}`, `{a: 1}`, 14},
		{`{$pop: {"a.b": 1}}`, `{a: 1}`, 28},
		{`{$pull: {a: 1}}`, `{a: 1}`, 2},
		{`{$pull: {"a.b": 1}}`, `{a: [1]}`, 28},
		{`{$bit: {a: {or: 1}}}`, `{a: 1.5}`, 2},
		{`{$rename: {"a.0": "b"}}`, `{a: [1]}`, 2},
		{`{$rename: {"a.b": "c"}}`, `{a: 1}`, 28},
		{`{$rename: {a: "b.0"}}`, `{a: 1, b: [1]}`, 2},
		{`{$set: {"a.$[]": 1}}`, `{}`, 2},
		{`{$set: {"a.$[]": 1}}`, `{a: 1}`, 2},
		{`{$set: {"a.$": 1}}`, `{a: [1]}`, 2},
	} {
		u, err := parse(t, c.update)
		if err != nil {
			t.Errorf("%s: %v", c.update, err)
			continue
		}
		_, err = u.Apply(mqltest.Short(t, c.doc), -1)
		if got := mongoerr.CodeOf(err); got != c.want {
			t.Errorf("%s on %s: %v, want code %d", c.update, c.doc, err, c.want)
		}
	}
	deep := mqltest.Short(t, `{a: 1}`)
	for range 185 {
		var o value.Object
		o.Add("a", value.Doc(deep))
		deep = o.Doc()
	}
	if err := update.CheckStorable(deep); mongoerr.CodeOf(err) != mongoerr.Overflow {
		t.Error(err)
	}
}

// TestConflictAtTheMatchedPosition lets two paths meet at the element that
// the filter matched.
func TestConflictAtTheMatchedPosition(t *testing.T) {
	t.Parallel()
	u, err := parse(t, `{$set: {"a.$": 1, "a.1": 2}}`)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Apply(mqltest.Short(t, `{a: [0, 0]}`), 1); mongoerr.CodeOf(err) != mongoerr.ConflictingUpdateOperators {
		t.Error(err)
	}
	if _, err := u.Apply(mqltest.Short(t, `{a: [0, 0]}`), 0); err != nil {
		t.Error(err)
	}
}

func TestUpsert(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		update, filter, want string
	}{
		{`{$set: {x: 1}}`, `{_id: 5, b: 2, a: {$in: [1]}, c: {$gt: 1}, "d.e": 3}`, `{_id:5,a:1,b:2,d:{e:3},x:1}`},
		{`{$setOnInsert: {x: 1}, $inc: {b: 1}}`, `{b: 2, _id: 1}`, `{_id:1,b:3,x:1}`},
		{`{x: 1}`, `{_id: 5, b: 2}`, `{_id:5,x:1}`},
		{`{x: 1, _id: 5}`, `{_id: 5.0}`, `{_id:5,x:1}`},
		{`{$set: {x: 1}}`, `{$and: [{_id: 1}, {a: 2}], $or: [{b: 3}]}`, `{_id:1,a:2,b:3,x:1}`},
		{`{$set: {x: 1}}`, `{_id: 1, $or: [{b: 3}, {b: 4}]}`, `{_id:1,x:1}`},
		{`{$set: {x: 1}}`, `{_id: 1, a: {$all: [2]}, b: {$eq: {c: 1}}}`, `{_id:1,a:2,b:{c:1},x:1}`},
		{`{$set: {_id: 7}}`, `{a: 1}`, `{_id:7,a:1}`},
		{`{$push: {a: 1}}`, `{_id: 1, a: {$size: 0}}`, `{_id:1,a:[1]}`},
		{`{$unset: {x: 1}}`, `{_id: 1, "a.b": 1, "a.c": 2}`, `{_id:1,a:{b:1,c:2}}`},
		{`{$set: {"_id.y": 2}}`, `{"_id.x": 1}`, "code 66"},
		{`{$set: {_id: 2}}`, `{_id: 1}`, "code 66"},
		{`{_id: 2}`, `{_id: 1}`, "code 66"},
		{`{x: 1}`, `{"_id.a": 1}`, "code 111"},
		{`{$set: {x: 1}}`, `{a: 1, $and: [{a: 2}]}`, "code 54"},
		{`{$set: {x: 1}}`, `{a: 1, "a.b": 2}`, "code 54"},
		{`{$set: {"a.$": 1}}`, `{_id: 1, a: 1}`, "code 2"},
		{`{$set: {a: 1}}`, `{_id: [1]}`, "code 53"},
		{`{$set: {a: 1}}`, `{_id: 1, b: {$eq: {$x: 1}}}`, "code 52"},
	} {
		u, err := parse(t, c.update)
		if err != nil {
			t.Errorf("%s: %v", c.update, err)
			continue
		}
		f, err := match.Parse(mqltest.Short(t, c.filter), &expr.Env{})
		if err != nil {
			t.Fatal(err)
		}
		doc, err := u.Upsert(f)
		got := ""
		var e *mongoerr.Error
		switch {
		case errors.As(err, &e):
			got = "code " + itoa(int(e.Code))
		case err == nil:
			got = plain(doc)
		}
		if got != c.want {
			t.Errorf("%s where %s: %s (%v), want %s", c.update, c.filter, got, err, c.want)
		}
	}
	u, err := parse(t, `{$set: {a: 1}}`)
	if err != nil {
		t.Fatal(err)
	}
	f, err := match.Parse(mqltest.Short(t, `{b: 1}`), &expr.Env{})
	if err != nil {
		t.Fatal(err)
	}
	doc, err := u.Upsert(f)
	if err != nil {
		t.Fatal(err)
	}
	if first := doc.Index(0); first.Key() != "_id" || first.Value().Type != bson.TypeObjectID {
		t.Errorf("no generated _id in front: %v", doc)
	}
}

func itoa(n int) string {
	if n < 10 {
		return string(rune('0' + n))
	}
	return itoa(n/10) + itoa(n%10)
}

func TestCurrentDate(t *testing.T) {
	t.Parallel()
	now := time.Date(2024, 2, 29, 12, 0, 0, 5e6, time.UTC)
	u, err := update.Parse(mqltest.ShortValue(t, `{$currentDate: {a: true, b: {$type: "timestamp"}, c: {$type: "date"}}}`),
		update.Options{Env: &expr.Env{Now: now, ClusterTime: value.Timestamp(7, 8)}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := u.Apply(mqltest.Short(t, `{c: 1}`), -1)
	if err != nil {
		t.Fatal(err)
	}
	const date = `{$date:2024-02-29T12:00:00.005Z}`
	if want := `{c:` + date + `,a:` + date + `,b:{$timestamp:{t:7,i:8}}}`; plain(r.Doc) != want {
		t.Errorf("%s, want %s", plain(r.Doc), want)
	}
}

func FuzzUpdate(f *testing.F) {
	add := func(u, doc string) { f.Add([]byte(mqltest.Short(f, u)), []byte(mqltest.Short(f, doc))) }
	add(`{$set: {"a.b.0": 1}, $push: {c: {$each: [1], $sort: {x: 1}, $slice: -3}}, $rename: {d: "e.f"}, $pull: {g: {$gt: 1}}}`,
		`{a: {b: [1]}, c: [{x: 1}], d: 1, g: [1, 2]}`)
	add(`{$inc: {"a.$[].x": 1, "b.$": 2}, $unset: {c: 1}, $addToSet: {d: {$each: [1, 2]}}, $bit: {e: {xor: 1}}}`, `{a: [{x: 1}], b: [1, 2], e: 5}`)
	f.Fuzz(func(t *testing.T, change, doc []byte) {
		u, err := update.Parse(value.Doc(change), update.Options{Env: &expr.Env{}})
		if err != nil {
			return
		}
		r, err := u.Apply(doc, 0)
		if err == nil && r.Changed && bson.Raw(doc).Validate() == nil && bson.Raw(change).Validate() == nil {
			if err := r.Doc.Validate(); err != nil {
				t.Fatalf("%v on %v: %v", bson.Raw(change), bson.Raw(doc), err)
			}
		}
		if fl, err := match.Parse(doc, &expr.Env{}); err == nil {
			_, _ = u.Upsert(fl)
		}
	})
}

func BenchmarkApply(b *testing.B) {
	u, err := parse(b, `{$set: {status: "paid", "meta.by": "x"}, $inc: {version: 1}}`)
	if err != nil {
		b.Fatal(err)
	}
	doc := mqltest.Short(b, `{_id: 1, status: "new", version: 3, meta: {by: "y", at: 5}, items: [{sku: "a"}, {sku: "b"}]}`)
	b.ReportAllocs()
	for b.Loop() {
		_, _ = u.Apply(doc, -1)
	}
}
