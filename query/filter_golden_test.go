package query_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/expr"
)

type filterCase struct {
	name   string
	filter query.Filter
	// since is the first server version that can run it (50 for 5.0); 0: all. -1: it needs an index, it is not run.
	since int
}

var day = time.UnixMilli(1700172800000).UTC()

// filterCases has every operator.
func filterCases() []filterCase {
	q := func(name string, f query.Filter) filterCase { return filterCase{name: name, filter: f} }
	return []filterCase{
		q("everything", query.Everything()),
		q("nothing", query.Nothing()),
		q("eq", query.Eq("status", "paid")),
		q("eq nil", query.Eq("total", nil)),
		q("eq array", query.Eq("tags", []string{"gift", "new"})),
		q("eq document", query.Eq("meta", bson.D{{Key: "a", Value: 1}, {Key: "b", Value: 2}})),
		q("eq map sorts its keys", query.Eq("meta", map[string]any{"b": 2, "a": 1})),
		q("eq operator document is data", query.Eq("total", bson.D{{Key: "$gt", Value: 0}})),
		q("eq operator map is data", query.Eq("total", bson.M{"$ne": nil})),
		q("eq regex is data", query.Eq("status", bson.Regex{Pattern: "^p"})),
		q("eq dollar string", query.Eq("status", "$paid")),
		q("eq struct", query.Eq("customer", struct{ Name string }{"ada"})),
		q("ne", query.Ne("status", "paid")),
		q("ne regex is data", query.Ne("status", bson.Regex{Pattern: "^p"})),
		q("ne operator document is data", query.Ne("total", bson.D{{Key: "$gt", Value: 0}})),
		q("gt", query.Gt("total", 100)),
		q("gte", query.Gte("total", 120)),
		q("lt", query.Lt("total", 120)),
		q("lte", query.Lte("total", 80.5)),
		q("lte date", query.Lte("placed_at", day)),
		q("gt operator document is data", query.Gt("meta", bson.D{{Key: "$gt", Value: 0}})),
		q("between", query.Between("total", 80, 120)),
		q("in", query.In("status", "paid", "open")),
		q("in nothing", query.In[string]("status")),
		q("in regex is data", query.In[any]("status", "open", bson.Regex{Pattern: "^p"})),
		q("in operator document is data", query.In[any]("total", bson.D{{Key: "$gt", Value: 0}})),
		q("nin", query.Nin("status", "paid", "open")),
		q("nin nothing", query.Nin[string]("status")),
		q("nin regex is data", query.Nin[any]("status", "open", bson.Regex{Pattern: "^p"})),
		q("exists", query.Exists("tags")),
		q("missing", query.Missing("tags")),
		q("null", query.Null("region")),
		q("type", query.TypeOf("total", query.TypeNumber)),
		q("types", query.TypeOf("total", query.TypeString, query.TypeNull)),
		q("hasAll", query.HasAll("tags", "gift", "new")),
		q("hasAll nothing", query.HasAll[string]("tags")),
		q("hasAll regex is data", query.HasAll[any]("tags", "new", bson.Regex{Pattern: "^g"})),
		q("elemMatch", query.ElemMatch("lines", query.Eq("sku", "a"), query.Gte("qty", 3))),
		q("elemMatch element", query.ElemMatch("scores", query.Gte(query.Element, 80), query.Lt(query.Element, 85))),
		q("elemMatch element eq", query.ElemMatch("tags", query.Eq(query.Element, "new"))),
		q("elemMatch or", query.ElemMatch("lines", query.Or(query.Eq("sku", "c"), query.Gt("qty", 2)))),
		q("size", query.Size("tags", 1)),
		q("regex", query.Regex("status", "^pa", "")),
		q("regex options", query.Regex("status", "^PA", "i")),
		q("hasPrefix", query.HasPrefix("customer.name", "Cy.")),
		q("hasSuffix", query.HasSuffix("customer.name", ".*")),
		q("contains", query.Contains("customer.name", "y.")),
		q("equalFold", query.EqualFold("customer.name", "ADA")),
		q("containsFold", query.ContainsFold("customer.name", "D")),
		q("mod", query.Mod("total", 50, 0)),
		q("bitsAllSet", query.BitsAllSet("flags", 5)),
		q("bitsAllClear", query.BitsAllClear("flags", 5)),
		q("bitsAnySet", query.BitsAnySet("flags", 6)),
		q("bitsAnyClear", query.BitsAnyClear("flags", 6)),
		q("expr", query.Expr(expr.Gt(expr.Field("flags"), 4))),
		q("expr compares fields", query.Expr(expr.Gt(expr.Size(expr.IfNull(expr.Field("lines"), []int{})), expr.Size(expr.IfNull(expr.Field("scores"), []int{}))))),
		q("jsonSchema", query.JSONSchema(bson.D{{Key: "required", Value: bson.A{"flags"}}})),
		q("comment", query.Eq("status", "paid").And(query.Comment("why"))),
		{"sampleRate", query.SampleRate(1), 45},
		{"text", query.Text("gift"), -1},
		{"text options", query.Text("gift", query.TextSearch{Language: "en", CaseSensitive: true, DiacriticSensitive: true}), -1},
		{"near", query.Near("place", query.Point{Longitude: 13, Latitude: 52}, 10, 1000), -1},
		{"withinPolygon", query.WithinPolygon("place", query.Point{Longitude: 0, Latitude: 0}, query.Point{Longitude: 1, Latitude: 0}, query.Point{Longitude: 1, Latitude: 1}), -1},
		{"intersectsPolygon", query.IntersectsPolygon("place", query.Point{Longitude: 0, Latitude: 0}, query.Point{Longitude: 1, Latitude: 0}, query.Point{Longitude: 1, Latitude: 1}), -1},
		{"withinRadius", query.WithinRadius("place", query.Point{Longitude: 13, Latitude: 52}, 6378100), -1},
		q("and", query.And(query.Eq("status", "paid"), query.Gte("total", 100), query.Lt("total", 200))),
		q("and flattens", query.And(query.Eq("a", 1), query.And(query.Eq("b", 2), query.And(query.Eq("c", 3))))),
		q("and same field twice", query.And(query.Eq("tags", "gift"), query.Eq("tags", "new"))),
		q("and same operator twice", query.And(query.Gt("total", 1), query.Gt("total", 2), query.Lt("total", 1000))),
		q("and of ors", query.And(query.Or(query.Eq("status", "paid"), query.Eq("status", "open")), query.Or(query.Eq("region", "north"), query.Eq("region", "south")))),
		q("and of eq and operator", query.And(query.Eq("total", 120), query.Gt("total", 100))),
		q("and regexes", query.And(query.Regex("status", "p", "i"), query.Regex("status", "a", ""))),
		q("or", query.Or(query.Eq("status", "open"), query.Lt("total", 60))),
		q("or flattens", query.Or(query.Eq("a", 1), query.Or(query.Eq("b", 2), query.Eq("c", 3)))),
		q("or of nothing", query.Or()),
		q("nor", query.Nor(query.Eq("status", "paid"), query.Eq("status", "open"))),
		q("nor of nothing", query.Nor()),
		q("not eq", query.Not(query.Eq("status", "paid"))),
		q("not gt", query.Not(query.Gt("total", 100))),
		q("not ne", query.Not(query.Ne("status", "paid"))),
		q("not in", query.Not(query.In("status", "paid"))),
		q("not regex", query.Not(query.Regex("status", "^p", "i"))),
		q("not elemMatch", query.Not(query.ElemMatch("lines", query.Eq("sku", "a")))),
		q("not and", query.Not(query.And(query.Eq("status", "paid"), query.Gt("total", 100)))),
		q("not or", query.Not(query.Or(query.Eq("status", "paid"), query.Gt("total", 100)))),
		q("not not", query.Not(query.Not(query.Gt("total", 100)))),
		q("two nots of one field", query.And(query.Not(query.Gt("total", 100)), query.Not(query.Lt("total", 60)))),
		q("unchecked", query.Unchecked(bson.D{{Key: "status", Value: "paid"}, {Key: "total", Value: bson.D{{Key: "$gt", Value: 100}}}})),
		q("unchecked in and", query.And(query.Eq("region", "north"), query.Unchecked(bson.D{{Key: "status", Value: "paid"}}))),
		q("dotted", query.Eq("customer.name", "Ada")),
		q("array index", query.Eq("lines.0.sku", "a")),
	}
}

func TestFiltersGolden(t *testing.T) {
	t.Parallel()
	g := openGolden(t, "filters.tsv")
	for _, c := range filterCases() {
		d, err := c.filter.Build()
		require.NoError(t, err, c.name)
		g.check(t, c.name, d)
	}
	g.finish(t, true)
}

// TestFiltersRun runs every filter on the server and compares the matching ids with what
// was answered before, on whatever server that was.
func TestFiltersRun(t *testing.T) {
	t.Parallel()
	db := dataset(t)
	version := serverVersion(t, db)
	g := openGolden(t, "filters.results.tsv")
	for _, c := range filterCases() {
		if c.since < 0 || c.since > version {
			continue
		}
		docs, err := query.From[bson.Raw](db.Collection("orders")).Find(c.filter).
			Project(query.Include("_id")).Sort(query.Asc("_id")).All(t.Context())
		require.NoError(t, err, c.name)
		ids := bson.A{}
		for _, d := range docs {
			ids = append(ids, d.Lookup("_id"))
		}
		g.check(t, c.name, ids)
	}
	g.finish(t, false)
}
