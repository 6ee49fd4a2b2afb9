package query_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/expr"
)

// TestFilterEqualsHandwritten compares Go values, not only what they encode to.
func TestFilterEqualsHandwritten(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		filter query.Filter
		want   bson.D
	}{
		"eq and range": {
			query.Eq("status", "paid").And(query.Gte("total", 100), query.Lt("total", 200)),
			bson.D{{Key: "status", Value: "paid"}, {Key: "total", Value: bson.D{{Key: "$gte", Value: 100}, {Key: "$lt", Value: 200}}}},
		},
		"five operators": {
			query.And(query.Gt("a", 1), query.Gt("b", 2), query.Gt("c", 3), query.Gt("d", 4), query.Gt("e", 5)),
			bson.D{
				{Key: "a", Value: bson.D{{Key: "$gt", Value: 1}}},
				{Key: "b", Value: bson.D{{Key: "$gt", Value: 2}}},
				{Key: "c", Value: bson.D{{Key: "$gt", Value: 3}}},
				{Key: "d", Value: bson.D{{Key: "$gt", Value: 4}}},
				{Key: "e", Value: bson.D{{Key: "$gt", Value: 5}}},
			},
		},
		"or": {
			query.Or(query.Eq("a", 1), query.Size("b", 2)),
			bson.D{{Key: "$or", Value: bson.A{bson.D{{Key: "a", Value: 1}}, bson.D{{Key: "b", Value: bson.D{{Key: "$size", Value: 2}}}}}}},
		},
		"typed": {
			query.And(orderStatus.Eq("paid"), orderPlacedAt.Gte(start)),
			bson.D{{Key: "status", Value: Status("paid")}, {Key: "placed_at", Value: bson.D{{Key: "$gte", Value: start}}}},
		},
	} {
		got, err := c.filter.Build()
		require.NoError(t, err, name)
		assert.Equal(t, c.want, got, name)
	}
}

// TestFilterPacksAnyNumber builds conjunctions around the sizes where memory comes from elsewhere.
func TestFilterPacksAnyNumber(t *testing.T) {
	t.Parallel()
	for n := range 70 {
		var conditions []query.Filter
		want := bson.D{}
		for i := range n {
			field := "f" + strings.Repeat("x", i)
			conditions = append(conditions, query.Gt(field, i))
			want = append(want, bson.E{Key: field, Value: bson.D{{Key: "$gt", Value: i}}})
		}
		got, err := query.And(conditions...).Build()
		require.NoError(t, err)
		assert.Equal(t, want, got, "%d conditions", n)
	}
	// The same key many times: one document each.
	var same []query.Filter
	for i := range 40 {
		same = append(same, query.Gt("a", i), query.Lt("a", 100+i), query.Eq("b", i))
	}
	d, err := query.And(same...).Build()
	require.NoError(t, err)
	parts := d[0].Value.(bson.A)
	require.Len(t, parts, 40)
	assert.Equal(t, bson.D{{Key: "a", Value: bson.D{{Key: "$gt", Value: 39}, {Key: "$lt", Value: 139}}}, {Key: "b", Value: 39}}, parts[39])
}

func TestFilterIsImmutable(t *testing.T) {
	t.Parallel()
	base := query.Eq("a", 1).And(query.Eq("b", 2))
	left, right := base.And(query.Eq("c", 3)), base.And(query.Eq("d", 4))
	assert.Equal(t, `{"a":1,"b":2}`, base.String())
	assert.Equal(t, `{"a":1,"b":2,"c":3}`, left.String())
	assert.Equal(t, `{"a":1,"b":2,"d":4}`, right.String())

	conditions := []query.Filter{query.Eq("a", 1), query.Eq("b", 2)}
	and, or := query.And(conditions...), query.Or(conditions...)
	conditions[0] = query.Eq("z", 9)
	assert.Equal(t, `{"a":1,"b":2}`, and.String())
	assert.JSONEq(t, `{"$or":[{"a":1},{"b":2}]}`, or.String())

	doc, list, m := bson.D{{Key: "x", Value: 1}}, []string{"p"}, bson.M{"k": bson.A{1}}
	f := query.And(query.Eq("d", doc), query.Eq("l", list), query.In("i", list...), query.Eq("m", m))
	before := f.String()
	doc[0].Value, list[0], m["k"].(bson.A)[0] = 2, "q", 2
	assert.Equal(t, before, f.String())
}

func TestFilterMistakesAreAllReported(t *testing.T) {
	t.Parallel()
	f := query.And(query.Eq("$where", "1"), query.Or(query.Gt("a..b", 1), query.Not(query.Size("c", -1))), query.Eq("fine", 1))
	_, err := f.Build()
	require.ErrorIs(t, err, query.ErrInvalid)
	require.ErrorContains(t, err, "$where")
	require.ErrorContains(t, err, "a..b")
	require.ErrorContains(t, err, "Size is -1")
	assert.Equal(t, err.Error(), f.Err().Error())
	assert.Contains(t, f.String(), "invalid")
}

func TestFilterRefuses(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]query.Filter{
		"empty name": query.Eq("", 1), "operator as name": query.Eq("$gt", 1), "NUL": query.Eq("a\x00b", 1), "empty part": query.Eq("a.", 1),
		"filter as value": query.Eq("a", query.Eq("b", 1)), "expression as value": query.Eq("a", expr.Field("b")), "update as value": query.Eq("a", query.Set("b", 1)),
		"javascript as value": query.Eq("a", bson.JavaScript("1")), "channel": query.Eq("a", make(chan int)), "function in array": query.Eq("a", []any{func() {}}),
		"regex order": query.Gt("a", bson.Regex{Pattern: "x"}), "where": query.Unchecked(bson.D{{Key: "$where", Value: "1"}}),
		"nested function": query.Unchecked(bson.D{{Key: "$or", Value: bson.A{bson.D{{Key: "$expr", Value: bson.D{{Key: "$function", Value: bson.D{}}}}}}}}),
		"regex options":   query.Regex("a", "x", "g"), "regex options twice": query.Regex("a", "x", "ii"), "regex NUL": query.Regex("a", "x\x00", ""),
		"mod zero": query.Mod("a", 0, 1), "no types": query.TypeOf("a"), "empty elemMatch": query.ElemMatch("a"),
		"element outside": query.Eq(query.Element, 1), "element mixed": query.ElemMatch("a", query.Gt(query.Element, 1), query.Eq("b", 1)),
		"element or": query.ElemMatch("a", query.Or(query.Gt(query.Element, 1), query.Lt(query.Element, 0))), "element twice": query.ElemMatch("a", query.Gt(query.Element, 1), query.Gt(query.Element, 2)),
		"negative mask": query.BitsAllSet("a", -1), "bad expression": query.Expr(expr.Field("$x")), "sample": query.SampleRate(1.5),
		"nowhere": query.WithinRadius("a", query.Point{Longitude: 200}, 1), "two corners": query.WithinPolygon("a", query.Point{}, query.Point{Longitude: 1}),
		"near backwards": query.Near("a", query.Point{}, 10, 5), "self-nested": query.Eq("a", deep(300)),
	} {
		_, err := f.Build()
		require.ErrorIs(t, err, query.ErrInvalid, name)
	}
}

func deep(n int) any {
	var v any = 1
	for range n {
		v = bson.A{v}
	}
	return v
}

// TestRequestBodiesAreData: what a client sends as JSON can't become operators anywhere.
func TestRequestBodiesAreData(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"$gt":""}`, `{"$ne":null}`, `{"$in":[1]}`, `{"$regex":".*"}`, `{"$where":"1"}`, `{"a":{"$gt":1}}`} {
		var v any
		require.NoError(t, bson.UnmarshalExtJSON([]byte(`{"v":`+body+`}`), false, &v))
		value := v.(bson.D)[0].Value
		for name, f := range map[string]query.Filter{
			"eq": query.Eq("p", value), "ne": query.Ne("p", value), "in": query.In("p", value), "nin": query.Nin("p", value), "all": query.HasAll("p", value),
			"not": query.Not(query.Eq("p", value)), "elem": query.ElemMatch("p", query.Eq(query.Element, value)),
		} {
			d, err := f.Build()
			require.NoError(t, err)
			onlyUnder(t, d, name+" "+body)
		}
	}
}

// onlyUnder fails if a document of the caller stands anywhere but right under a comparison.
func onlyUnder(t *testing.T, d bson.D, name string) {
	for _, e := range d {
		switch v := e.Value.(type) {
		case bson.A:
			if strings.HasPrefix(e.Key, "$") && e.Key != "$in" && e.Key != "$nin" && e.Key != "$all" {
				for _, part := range v {
					onlyUnder(t, part.(bson.D), name)
				}
				continue
			}
			for _, part := range v {
				inner, ok := part.(bson.D)
				assert.False(t, ok && len(inner) > 0 && strings.HasPrefix(inner[0].Key, "$"), "%s: %v", name, d)
			}
		case bson.D:
			switch e.Key {
			case "$eq", "$ne", "$gt": // data from here on
			default:
				onlyUnder(t, v, name)
			}
		default:
			assert.NotEqual(t, "$where", e.Key, name)
			assert.NotEqual(t, "$regex", e.Key, name)
		}
	}
}

func TestTypedFields(t *testing.T) {
	t.Parallel()
	for want, f := range map[string]query.Filter{
		`{"_id":"o1"}`:                                         orderID.Eq("o1"),
		`{"status":{"$in":["paid","sent"]}}`:                   orderStatus.In("paid", "sent"),
		`{"status":{"$regex":"^pa"}}`:                          orderStatus.HasPrefix("pa"),
		`{"total":{"$gte":1,"$lt":2}}`:                         orderTotal.Between(1, 2),
		`{"tags":"x"}`:                                         orderTags.Has("x"),
		`{"tags":{"$all":["x","y"]}}`:                          orderTags.HasAll("x", "y"),
		`{"tags":{"$elemMatch":{"$gt":"a","$lt":"c"}}}`:        orderTags.Match(orderTags.Elem().Gt("a"), orderTags.Elem().Lt("c")),
		`{"lines":{"$elemMatch":{"sku":"a","qty":{"$gt":2}}}}`: orderLines.Match(lineSKU.Eq("a"), lineQty.Gt(2)),
		`{"lines.sku":"a"}`:                                    query.Within(orderLines, lineSKU.Field).Eq("a"),
		`{"customer.address.city":"Bonn"}`:                     orderCity.Eq("Bonn"),
		`{"rating":{"$gt":4.5}}`:                               orderRating.Gt(4.5),
		`{"rating":null}`:                                      orderRating.NullOrMissing(),
		`{"tags":{"$size":0}}`:                                 orderTags.Size(0),
		`{"region":{"$ne":"north"}}`:                           orderRegion.Ne("north"),
	} {
		assert.JSONEq(t, want, f.String())
	}
	assert.Equal(t, "placed_at", orderPlacedAt.Path())
	assert.Equal(t, query.Desc("placed_at"), orderPlacedAt.Desc())
}

type embedded struct {
	Inner string `bson:"inner"`
}

type odd struct {
	embedded `bson:",inline"`
	Exported `bson:",inline"`
	Named    Exported `bson:"named"`
	Plain    int
	JSONOnly int `json:"json_only,omitempty"`
	Skipped  int `bson:"-"`
	Self     *odd
	hidden   int
	At       time.Time
}

type Exported struct {
	First  string `bson:"first"`
	Second string `bson:"second"`
}

func TestFieldOf(t *testing.T) {
	t.Parallel()
	path := func(f interface {
		Path() string
		Err() error
	},
	) string {
		if f.Err() != nil {
			return "error"
		}
		return f.Path()
	}
	assert.Equal(t, "first", path(query.FieldOf(func(o *odd) *string { return &o.First })))
	assert.Equal(t, "second", path(query.FieldOf(func(o *odd) *string { return &o.Second })))
	assert.Equal(t, "named", path(query.FieldOf(func(o *odd) *Exported { return &o.Named })))
	assert.Equal(t, "named.first", path(query.FieldOf(func(o *odd) *string { return &o.Named.First })))
	assert.Equal(t, "plain", path(query.FieldOf(func(o *odd) *int { return &o.Plain })))
	assert.Equal(t, "jsononly", path(query.FieldOf(func(o *odd) *int { return &o.JSONOnly })))
	assert.Equal(t, "json_only", path(query.FieldOf(func(o *odd) *int { return &o.JSONOnly }, query.JSONTags)))
	assert.Equal(t, "at", path(query.FieldOf(func(o *odd) *time.Time { return &o.At })))
	assert.Equal(t, "self.plain", path(query.FieldOf(func(o *odd) *int { return &o.Self.Plain })))

	outside := 1
	for name, f := range map[string]query.Field[int]{
		"skipped": query.FieldOf(func(o *odd) *int { return &o.Skipped }), "unexported": query.FieldOf(func(o *odd) *int { return &o.hidden }),
		"elsewhere": query.FieldOf(func(*odd) *int { return &outside }), "nil": query.FieldOf(func(*odd) *int { return nil }),
		"panics": query.FieldOf(func(o *odd) *int { return &o.Self.Self.Plain }), "not a struct": query.FieldOf(func(o *int) *int { return o }),
	} {
		require.Error(t, f.Err(), name)
		for what, err := range map[string]error{
			"filter": f.Eq(1).Err(), "in": f.In(1).Err(), "update": errOf(f.Set(1).Build()), "inc": errOf(f.Inc(1).Build()), "expression": f.Ref().Err(),
		} {
			require.Error(t, err, "%s: %s", name, what)
		}
	}
	// What the driver writes is what the path names.
	raw, err := bson.Marshal(odd{Exported: Exported{First: "1"}, Named: Exported{Second: "2"}, Plain: 3})
	require.NoError(t, err)
	assert.Equal(t, "1", bson.Raw(raw).Lookup("first").StringValue())
	assert.Equal(t, "2", bson.Raw(raw).Lookup("named", "second").StringValue())
	assert.EqualValues(t, 3, bson.Raw(raw).Lookup("plain").Int32())
}

func errOf[T any](_ T, err error) error { return err }

func TestFilterAllocations(t *testing.T) {
	total, since := any(150), any(start)
	allocs := testing.AllocsPerRun(200, func() {
		f := query.And(query.Eq("status", "paid"), query.Gte("total", total), query.Gte("placed_at", since), query.Lt("flags", total), query.Ne("region", "north"))
		if _, err := f.Build(); err != nil {
			t.Fatal(err)
		}
	})
	assert.LessOrEqual(t, allocs, 5.0)
}

var errSomething = errors.New("something")

// Both ways to write conditions down give the same document, and documents
// built twice share nothing that a caller could spoil.
func TestConditionsApartAndTogether(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		condition := rapid.Custom(func(t *rapid.T) query.Filter {
			field := rapid.SampledFrom([]string{"a", "b", "c", "d.e", "f", "g"}).Draw(t, "field")
			n := rapid.IntRange(0, 9).Draw(t, "n")
			return rapid.SampledFrom([]query.Filter{
				query.Eq(field, n), query.Eq(field, bson.D{{Key: "$gt", Value: n}}), query.Gte(field, n), query.Ne(field, n), query.In(field, n, n+1),
				query.Exists(field), query.HasPrefix(field, "x"), query.EqualFold(field, "x"), query.Not(query.Gt(field, n)),
				query.ElemMatch(field, query.Gt(query.Element, n)),
			}).Draw(t, "condition")
		})
		f := query.And(rapid.SliceOfN(condition, 2, 10).Draw(t, "conditions")...)
		want, err := query.BuildTogether(f)
		require.NoError(t, err)
		got, err := f.Build()
		require.NoError(t, err)
		require.Equal(t, want, got)
		for i := range got {
			if operators, ok := got[i].Value.(bson.D); ok && len(operators) > 0 {
				operators[0] = bson.E{Key: "spoilt"}
			}
			got[i] = bson.E{Key: "spoilt"}
		}
		again, err := f.Build()
		require.NoError(t, err)
		require.Equal(t, want, again)
	})
}

func TestValuesThatCannotBe(t *testing.T) {
	t.Parallel()
	type serial uint64
	for _, f := range []query.Filter{
		query.Eq("a", uint64(1)<<63), query.Eq("a", ^uint(0)), query.Eq("a", serial(1)<<63), query.Eq("a", []uint64{1 << 63}), query.TypeOf("a", "text"),
	} {
		require.ErrorIs(t, f.Err(), query.ErrInvalid)
	}
	require.NoError(t, query.Eq("a", uint64(1)<<63-1).Err())
}

func TestRawArrayIsAnArray(t *testing.T) {
	t.Parallel()
	_, array, err := bson.MarshalValue(bson.A{1, 2})
	require.NoError(t, err)
	require.JSONEq(t, `{"a":[1,2]}`, query.Eq("a", bson.RawArray(array)).String())
}

// What the server would run as code is found however it is written.
func TestUncheckedRefusesJavaScript(t *testing.T) {
	t.Parallel()
	type tagged struct {
		Where string `bson:"$where"`
	}
	raw, err := bson.Marshal(tagged{"1"})
	require.NoError(t, err)
	array, err := bson.Marshal(bson.D{{Key: "0", Value: bson.Raw(raw)}})
	require.NoError(t, err)
	for _, v := range []any{
		bson.D{{Key: "$where", Value: "1"}},
		bson.M{"a": bson.A{bson.M{"$function": 1}}},
		[]bson.D{{{Key: "$accumulator", Value: 1}}},
		bson.Raw(raw),
		bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: raw},
		bson.RawArray(array),
		bson.RawValue{Type: bson.TypeArray, Value: array},
		tagged{},
		&tagged{},
		[]tagged{{}},
	} {
		_, err := query.Unchecked(bson.D{{Key: "$or", Value: bson.A{v}}}).Build()
		require.ErrorContains(t, err, "JavaScript", "%T", v)
		_, err = query.Pipe().Stage(bson.D{{Key: "$match", Value: v}}).Build()
		require.ErrorContains(t, err, "JavaScript", "%T", v)
		_, err = expr.Unchecked(bson.D{{Key: "$ifNull", Value: bson.A{v, 1}}}).Build()
		require.ErrorContains(t, err, "JavaScript", "%T", v)
	}
}
