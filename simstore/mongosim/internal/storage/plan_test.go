package storage

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/order"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func TestPlans(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e)
	for i := range 50 {
		_, err := c.Insert(t.Context(), Write{}, raw(t, fmt.Sprintf(
			`{"_id":%d,"s":"s%d","v":%d,"tags":[%d,%d],"opt":%s,"n":%d}`, i, i/10, i%10, i, i+1, []string{"null", "1"}[i%2], i)))
		require.NoError(t, err)
	}
	for _, spec := range []string{
		`{"key":{"s":1,"v":-1},"name":"sv","unique":true}`,
		`{"key":{"tags":1},"name":"tags"}`,
		`{"key":{"sparse":1},"name":"sparse","sparse":true}`,
		`{"key":{"n":1},"name":"partial","partialFilterExpression":{"n":{"$gte":10}}}`,
		`{"key":{"h":"hashed"},"name":"hashed"}`,
	} {
		index1(t, c, spec)
	}
	for _, tc := range []struct {
		filter, sort string
		want         string // index, direction, bounds; then + for a sort in memory
	}{
		{`{}`, ``, "COLLSCAN forward"},
		{`{"_id":5}`, ``, "IDHACK"},
		{`{"_id":{"$eq":5}}`, ``, "IDHACK"},
		{`{"_id":{"$gt":5}}`, ``, "_id_ forward [(5, inf.0]]"},
		{`{"_id":{"$in":[3,1,2]}}`, ``, "_id_ forward [[1, 1] [2, 2] [3, 3]]"},
		{`{}`, `{"_id":-1}`, "_id_ backward [[MaxKey, MinKey]]"},
		{`{"s":"s1"}`, ``, `sv forward [["s1", "s1"]] [[MaxKey, MinKey]]`},
		{`{"s":"s1","v":3}`, ``, `sv forward [["s1", "s1"]] [[3, 3]]`},
		{`{"s":"s1","v":{"$gte":3,"$lt":5}}`, ``, `sv forward [["s1", "s1"]] [(5, 3]]`},
		{`{"s":"s1"}`, `{"v":1}`, `sv backward [["s1", "s1"]] [[MinKey, MaxKey]]`},
		{`{"s":"s1"}`, `{"v":-1}`, `sv forward [["s1", "s1"]] [[MaxKey, MinKey]]`},
		{`{"s":"s1"}`, `{"s":1,"v":1}`, `sv backward [["s1", "s1"]] [[MinKey, MaxKey]]`},
		{`{"s":{"$gt":"s1"}}`, `{"s":1,"v":-1}`, `sv forward [("s1", {})] [[MaxKey, MinKey]]`},
		{`{"s":{"$gt":"s1"}}`, `{"s":1,"v":1}`, `sv forward [("s1", {})] [[MaxKey, MinKey]] +`},
		{`{"v":3}`, ``, "COLLSCAN forward"},
		{`{"v":3}`, `{"s":1}`, `sv forward [[MinKey, MaxKey]] [[3, 3]]`},
		{`{"v":3}`, `{"x":1}`, "COLLSCAN forward +"},
		{`{"s":{"$regex":"^s1"}}`, ``, `sv forward [["s1", "s2") [/^s1/, /^s1/]] [[MaxKey, MinKey]]`},
		{`{"tags":5}`, ``, "tags forward [[5, 5]]"},
		{`{"tags":{"$gt":5,"$lt":7}}`, ``, "tags forward [[-inf.0, 7)]"}, // several values: only one condition narrows
		{`{"tags":[1,2]}`, ``, "tags forward [[1, 1] [[ 1, 2 ], [ 1, 2 ]]]"},
		{`{}`, `{"tags":1}`, "COLLSCAN forward +"},
		{`{"sparse":1}`, ``, "sparse forward [[1, 1]]"},
		{`{"sparse":null}`, ``, "COLLSCAN forward"},
		{`{"sparse":{"$exists":true}}`, ``, "sparse forward [[MinKey, MaxKey]]"},
		{`{}`, `{"sparse":1}`, "COLLSCAN forward +"},
		{`{"n":5}`, ``, "COLLSCAN forward"},
		{`{"n":15}`, ``, "partial forward [[15, 15]]"},
		{`{"n":{"$gt":20}}`, `{"n":1}`, "partial forward [(20, inf.0]]"},
		{`{"n":{"$in":[15,5]}}`, ``, "COLLSCAN forward"},
		{`{"h":"x"}`, ``, `hashed forward [["x", "x"]]`},
		{`{"h":{"$gt":"x"}}`, ``, `COLLSCAN forward`},
		{`{"_id":{"$gt":5,"$lt":3}}`, ``, "_id_ forward []"},
		{`{"_id":{"$in":[]}}`, ``, "_id_ forward []"},
		{`{}`, `{"$natural":-1}`, "COLLSCAN backward"},
		{`{"$or":[{"h":"x"},{"_id":3}]}`, ``, `_id_ forward [[3, 3]] | hashed forward [["x", "x"]]`},
		{`{"$or":[{"_id":5},{"_id":3},{"_id":{"$gt":7}}]}`, ``, "_id_ forward [[3, 3] [5, 5] (7, inf.0]]"},
		{`{"$or":[{"tags":7},{"_id":3,"x":1}]}`, `{"_id":1}`, "_id_ forward [[3, 3]] | tags forward [[7, 7]] +"},
		{`{"x":1,"$or":[{"tags":7},{"_id":3}]}`, ``, "_id_ forward [[3, 3]] | tags forward [[7, 7]]"},
		{`{"$or":[{"tags":7},{"x":3}]}`, ``, "COLLSCAN forward"},
		{`{"_id":1,"$or":[{"tags":7},{"_id":3}]}`, ``, "_id_ forward [[1, 1]]"},
	} {
		q := query(t, tc.filter)
		if tc.sort != "" {
			q.SortSpec = raw(t, tc.sort)
		}
		p, err := c.Plan(View{}, q)
		require.NoError(t, err)
		require.Equal(t, tc.want, planText(p), "%s sort %s", tc.filter, tc.sort)
	}
}

func planText(p *Plan) string {
	switch {
	case p.eof:
		return "EOF"
	case p.idhack:
		return "IDHACK"
	}
	var steps []string
	for i := range p.steps() {
		steps = append(steps, accessText(p.access(i)))
	}
	s := strings.Join(steps, " | ")
	if p.blocking() {
		s += " +"
	}
	return s
}

func accessText(u *access) string {
	if u.ix == nil {
		return "COLLSCAN " + direction(u.backward)
	}
	s := u.spec.name + " " + direction(u.backward)
	for _, f := range lookup(u.scan(), "indexBounds").(bson.D) {
		var parts []string
		for _, b := range f.Value.(bson.A) {
			parts = append(parts, b.(string))
		}
		s += " [" + strings.Join(parts, " ") + "]"
	}
	return s
}

// TestAlternatives makes sure that a document which several alternatives find is given once, in the order of
// the alternatives, also when the cursor starts anew in the midst of them, and while documents move.
func TestAlternatives(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e)
	index1(t, c, `{"key":{"a":1},"name":"a"}`)
	index1(t, c, `{"key":{"b":-1},"name":"b"}`)
	for i := range 40 {
		_, err := c.Insert(t.Context(), Write{}, raw(t, fmt.Sprintf(`{"_id":%d,"a":%d,"b":[%d,%d]}`, i, i%4, i%5, i%3)))
		require.NoError(t, err)
	}
	q := query(t, `{"$or":[{"b":{"$gte":1}},{"a":{"$in":[1,2]}}]}`)
	var want []string
	seen := map[string]bool{}
	for _, filter := range []string{`{"b":{"$gte":1}}`, `{"a":{"$in":[1,2]}}`} {
		for _, id := range find(t, c, View{}, query(t, filter)) {
			if !seen[id] {
				seen[id] = true
				want = append(want, id)
			}
		}
	}
	require.Equal(t, want, find(t, c, View{}, q))
	for _, refreshEvery := range []int{1, 3, 7} {
		q.Expect = 2
		cur, err := c.Find(t.Context(), View{}, q)
		require.NoError(t, err)
		var got []string
		for {
			doc, ok, err := cur.Next(t.Context())
			require.NoError(t, err)
			if !ok {
				break
			}
			if got = append(got, value.Field(doc, "_id").String()); len(got)%refreshEvery == 0 {
				require.NoError(t, cur.Refresh())
			}
		}
		require.Len(t, got, len(want))
		unique := slices.Clone(got)
		slices.Sort(unique)
		require.Len(t, slices.Compact(unique), len(want))
	}
	require.Equal(t, "IXSCAN { b: -1 }, IXSCAN { a: 1 }", mustPlan(t, c, q).Summary())
}

func mustPlan(t *testing.T, c *Collection, q Query) *Plan {
	p, err := c.Plan(View{}, q)
	require.NoError(t, err)
	return p
}

func lookup(d bson.D, key string) any {
	for _, e := range d {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}

func TestExplain(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id":1,"k":1}`, `{"_id":2,"k":2}`, `{"_id":3,"k":2,"x":1}`)
	index1(t, c, `{"key":{"k":1},"name":"k"}`)
	q := query(t, `{"k":2,"x":1}`)
	q.Limit = 1
	cur, err := c.Find(t.Context(), View{}, q)
	require.NoError(t, err)
	for _, err := range cur.All(t.Context()) {
		require.NoError(t, err)
	}
	win, err := bson.MarshalExtJSON(cur.Plan().Winning(), false, false)
	require.NoError(t, err)
	require.JSONEq(t, `{"stage":"LIMIT","limitAmount":1,"inputStage":{"stage":"FETCH","filter":{"k":2,"x":1},"inputStage":{"stage":"IXSCAN","keyPattern":{"k":1},"indexName":"k",
		"isMultiKey":false,"multiKeyPaths":{"k":[]},"isUnique":false,"isSparse":false,"isPartial":false,"indexVersion":2,"direction":"forward","indexBounds":{"k":["[2, 2]"]}}}}`, string(win))
	require.Equal(t, []int64{2, 2, 1}, []int64{cur.Plan().KeysExamined, cur.Plan().DocsExamined, cur.Plan().Returned})
	require.Equal(t, "IXSCAN { k: 1 }", cur.Plan().Summary())
	_, err = bson.Marshal(cur.Plan().Execution())
	require.NoError(t, err)
	require.Equal(t, bson.D{{Key: "stage", Value: "EOF"}}, EOFPlan().Winning())
	require.EqualValues(t, 1, c.Stats().Indexes[1].Uses)
}

func TestHints(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id":1,"k":3}`, `{"_id":2,"k":2}`, `{"_id":3,"k":1}`)
	index1(t, c, `{"key":{"k":1},"name":"k"}`)
	require.Equal(t, []string{"3", "2", "1"}, find(t, c, View{}, Query{Hint: Hint{Name: "k"}}))
	require.Equal(t, []string{"3", "2", "1"}, find(t, c, View{}, Query{Hint: Hint{Key: raw(t, `{"k":1}`)}}))
	require.Equal(t, []string{"3", "2", "1"}, find(t, c, View{}, Query{Hint: Hint{Natural: -1}}))
	require.Equal(t, []string{"3", "2"}, find(t, c, View{}, Query{Hint: Hint{Name: "k"}, Max: raw(t, `{"k":3}`)}))
	require.Equal(t, []string{"2", "1"}, find(t, c, View{}, Query{Hint: Hint{Name: "k"}, Min: raw(t, `{"k":2}`)}))
	_, err := c.Find(t.Context(), View{}, Query{Hint: Hint{Name: "nope"}})
	requireCode(t, mongoerr.BadValue, err)
	require.Equal(t, "planner returned error :: caused by :: hint provided does not correspond to an existing index", mongoerr.From(err).Message)
}

func TestSortSkipLimit(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id":1,"a":[5,1]}`, `{"_id":2,"a":3}`, `{"_id":3}`, `{"_id":4,"a":"x"}`, `{"_id":5,"a":[]}`, `{"_id":6,"a":3}`)
	for _, tc := range []struct {
		sort        string
		skip, limit int64
		want        []string
	}{
		{`{"a":1}`, 0, 0, []string{"5", "3", "1", "2", "6", "4"}},
		{`{"a":-1}`, 0, 0, []string{"4", "1", "2", "6", "3", "5"}},
		{`{"a":-1}`, 1, 2, []string{"1", "2"}},
		{`{"a":1,"_id":-1}`, 2, 3, []string{"1", "6", "2"}},
		{`{"_id":-1}`, 4, 5, []string{"2", "1"}},
	} {
		got := find(t, c, View{}, Query{SortSpec: raw(t, tc.sort), Skip: tc.skip, Limit: tc.limit})
		require.Equal(t, tc.want, got, tc.sort)
	}
}

// Whatever the planner chooses, it finds what reading everything finds.
func TestPlansFindWhatScansFind(t *testing.T) {
	t.Parallel()
	scalars := rapid.Custom(func(t *rapid.T) bson.RawValue {
		return rapid.SampledFrom([]bson.RawValue{
			value.Int32(1), value.Int64(2), value.Double(1.5), value.Double(2), value.Null(), value.String(""), value.String("a"), value.String("ab"), value.String("b"),
			value.Bool(true), value.Date(5), value.Doc(bson.Raw{5, 0, 0, 0, 0}), value.MinKey(), value.MaxKey(),
			{Type: bson.TypeUndefined},
		}).Draw(t, "scalar")
	})
	values := rapid.Custom(func(t *rapid.T) bson.RawValue {
		if rapid.IntRange(0, 3).Draw(t, "kind") == 0 {
			return value.ArrayOf(rapid.SliceOfN(scalars, 0, 3).Draw(t, "array")...)
		}
		return scalars.Draw(t, "value")
	})
	inner := rapid.Custom(func(t *rapid.T) bson.RawValue {
		o := value.NewObject(16)
		for _, f := range []string{"b", "c"} {
			if rapid.Bool().Draw(t, "has "+f) {
				o.Add(f, values.Draw(t, f))
			}
		}
		return o.Value()
	})
	fields := []string{"x", "y", "a.b", "a.c"}
	operands := rapid.Custom(func(t *rapid.T) bson.RawValue {
		o := value.NewObject(32)
		for range rapid.IntRange(1, 2).Draw(t, "ops") {
			op := rapid.SampledFrom([]string{"$eq", "$gt", "$gte", "$lt", "$lte", "$in", "$exists", "$ne", "$regex"}).Draw(t, "op")
			v := values.Draw(t, "operand")
			switch op {
			case "$in":
				v = value.ArrayOf(rapid.SliceOfN(values, 0, 3).Draw(t, "in")...)
			case "$exists":
				v = value.Bool(rapid.Bool().Draw(t, "exists"))
			case "$regex":
				v = value.String(rapid.SampledFrom([]string{"^a", "^ab*", "b", "^"}).Draw(t, "regex"))
			}
			if value.IsMissing(value.Field(o.Doc(), op)) {
				o.Add(op, v)
			}
		}
		return o.Value()
	})
	rapid.Check(t, func(t *rapid.T) {
		e := Open(Config{TTLInterval: -1})
		defer e.Close()
		c, _, err := e.Ensure(context.Background(), nil, ns)
		must(t, err)
		for i := range rapid.IntRange(0, 12).Draw(t, "documents") {
			o := value.NewObject(64)
			o.Add("_id", value.Int32(int32(i)))
			for _, f := range []string{"x", "y"} {
				if rapid.Bool().Draw(t, "has "+f) {
					o.Add(f, values.Draw(t, f))
				}
			}
			switch rapid.IntRange(0, 2).Draw(t, "a") {
			case 0:
				o.Add("a", inner.Draw(t, "doc"))
			case 1:
				o.Add("a", value.ArrayOf(rapid.SliceOfN(rapid.OneOf(inner, scalars), 0, 3).Draw(t, "docs")...))
			}
			// Parallel arrays are refused below; those documents are left out.
			_, err := c.Insert(context.Background(), Write{}, o.Doc())
			must(t, err)
		}
		for i := range rapid.IntRange(1, 3).Draw(t, "indexes") {
			key, spec := value.NewObject(32), value.NewObject(64)
			for _, f := range rapid.SliceOfNDistinct(rapid.SampledFrom(fields), 1, 3, rapid.ID).Draw(t, "key") {
				key.Add(f, value.Int32(rapid.SampledFrom([]int32{1, -1}).Draw(t, "direction")))
			}
			spec.Add("key", key.Value())
			spec.Add("name", value.String(fmt.Sprint("ix", i)))
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				spec.Add("sparse", value.Bool(true))
			case 1:
				part := value.NewObject(32)
				part.Add(rapid.SampledFrom(fields).Draw(t, "partial"), rapid.Custom(func(t *rapid.T) bson.RawValue {
					o := value.NewObject(16)
					op := rapid.SampledFrom([]string{"$exists", "$eq", "$gt", "$lte"}).Draw(t, "op")
					v := scalars.Draw(t, "operand")
					if op == "$exists" {
						v = value.Bool(true)
					}
					o.Add(op, v)
					return o.Value()
				}).Draw(t, "condition"))
				spec.Add("partialFilterExpression", part.Value())
			}
			_, _, _ = c.CreateIndexes(context.Background(), nil, []bson.Raw{spec.Doc()}) // may be refused
		}
		filter := value.NewObject(64)
		for _, f := range rapid.SliceOfNDistinct(rapid.SampledFrom(fields), 0, 3, rapid.ID).Draw(t, "filter") {
			if rapid.Bool().Draw(t, "operators") {
				filter.Add(f, operands.Draw(t, f))
			} else {
				filter.Add(f, values.Draw(t, f))
			}
		}
		f, err := match.Parse(filter.Doc(), &expr.Env{})
		if err != nil {
			t.Skip("no filter")
		}
		q := Query{Filter: f, FilterSpec: filter.Doc()}
		if rapid.Bool().Draw(t, "sorted") {
			s := value.NewObject(32)
			for _, name := range rapid.SliceOfNDistinct(rapid.SampledFrom(fields), 1, 2, rapid.ID).Draw(t, "sort") {
				s.Add(name, value.Int32(rapid.SampledFrom([]int32{1, -1}).Draw(t, "direction")))
			}
			q.SortSpec = s.Doc()
		}
		read := func(q Query) (ids []string, sorted [][]byte, err error) {
			cur, err := c.Find(context.Background(), View{}, q)
			must(t, err)
			by := new(order.Order)
			if q.SortSpec != nil {
				by, err = order.Parse(q.SortSpec)
				must(t, err)
			}
			for doc, err := range cur.All(context.Background()) {
				if err != nil {
					return nil, nil, err
				}
				ids = append(ids, shellValue(value.Field(doc, "_id")))
				if q.SortSpec != nil {
					key, err := by.AppendKey(nil, doc)
					must(t, err)
					sorted = append(sorted, key)
				}
			}
			return ids, sorted, nil
		}
		scan := q
		scan.Hint = Hint{Natural: 1}
		want, wantKeys, wantErr := read(scan)
		got, gotKeys, gotErr := read(q)
		if wantErr != nil || gotErr != nil {
			return // parallel arrays cannot be sorted in memory
		}
		p, _ := c.Plan(View{}, q)
		if len(gotKeys) != len(wantKeys) {
			t.Fatalf("%s: got %v, want %v", planText(p), got, want)
		}
		for i := range gotKeys {
			if string(gotKeys[i]) != string(wantKeys[i]) {
				t.Fatalf("%s: order %v, want %v", planText(p), got, want)
			}
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			t.Fatalf("%s sort %s by %s: got %v, want %v", ShellText(filter.Doc()), ShellText(q.SortSpec), planText(p), got, want)
		}
	})
}
