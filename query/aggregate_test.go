package query_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/acc"
	"github.com/annals-es/annals/query/expr"
)

type revenue struct {
	Region string `bson:"_id"`
	Sum    int64  `bson:"sum"`
	Count  int    `bson:"count"`
}

func revenueByRegion() query.Pipeline {
	return query.Pipe().Group(orderRegion.Ref(), query.Acc("sum", acc.Sum(orderTotal)), query.Acc("count", acc.Sum(1))).Sort(query.Asc("_id"))
}

func TestAggregation(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders, sent := watched(t, 10)
	a := query.Aggregate[revenue](orders, revenueByRegion())
	want := []revenue{{"north", 200, 5}, {"south", 250, 5}}
	got, err := a.All(ctx)
	require.NoError(t, err)
	assert.Equal(t, want, got)
	first, err := a.First(ctx)
	require.NoError(t, err)
	assert.Equal(t, want[0], first)
	var streamed []revenue
	for r, err := range a.BatchSize(1).Prefetch(2).Stream(ctx) {
		require.NoError(t, err)
		streamed = append(streamed, r)
	}
	assert.Equal(t, want, streamed)

	_, err = query.Aggregate[revenue](orders, query.Match(query.Nothing())).First(ctx)
	require.ErrorIs(t, err, query.ErrNotFound)
	none, err := query.Aggregate[revenue](orders, query.Match(query.Nothing())).All(ctx)
	require.NoError(t, err)
	assert.Equal(t, []revenue{}, none)

	sent.named("")
	_, err = a.AllowDiskUse().BatchSize(9).MaxTime(time.Minute).HintKeys(query.Asc("_id")).Comment("why").Collation(options.Collation{Locale: "simple"}).
		ReadConcern(readconcern.Local()).ReadPreference(readpref.Primary()).All(ctx)
	require.NoError(t, err)
	cmds := sent.named("aggregate")
	require.Len(t, cmds, 1)
	for path, want := range map[string]string{
		"allowDiskUse": "true", "hint": `{"_id": {"$numberInt":"1"}}`, "comment": `"why"`, "readConcern": `{"level": "local"}`,
		"cursor": `{"batchSize": {"$numberInt":"9"}}`, "collation": `{"locale": "simple"}`,
	} {
		assert.JSONEq(t, want, cmds[0].Lookup(path).String(), path)
	}

	require.NoError(t, query.Aggregate[bson.Raw](orders, revenueByRegion().Out("", "revenue")).BypassValidation().Run(ctx))
	stored, err := query.From[revenue](orders.Mongo().Database().Collection("revenue")).Find().Sort(query.Asc("_id")).All(ctx)
	require.NoError(t, err)
	assert.Equal(t, want2(want), stored)
	require.ErrorIs(t, a.Run(ctx), query.ErrInvalid)

	for _, bad := range []query.Aggregation[revenue]{a.BatchSize(-1), a.MaxTime(-1), a.Hint(""), a.HintKeys(), a.Prefetch(-1), a.Let(expr.As("X", 1)), query.Aggregate[revenue](orders, query.Pipe().Limit(0))} {
		_, err := bad.All(ctx)
		require.ErrorIs(t, err, query.ErrInvalid)
		_, err = bad.First(ctx)
		require.ErrorIs(t, err, query.ErrInvalid)
		_, err = bad.Explain(ctx)
		require.ErrorIs(t, err, query.ErrInvalid)
	}
}

func want2(w []revenue) []revenue { return w }

func TestPipelineMistakesNameTheirStage(t *testing.T) {
	t.Parallel()
	_, err := query.Match(query.Eq("$a", 1)).Limit(-1).Sort(query.Asc("a")).Group(nil).Build()
	require.ErrorIs(t, err, query.ErrInvalid)
	for _, part := range []string{"stage 1 ($match)", "stage 2 ($limit): -1", "stage 4 ($group): the group is empty"} {
		require.ErrorContains(t, err, part)
	}
	base, other := query.Pipe(), query.Pipe().Limit(1)
	for want, p := range map[string]query.Pipeline{
		"($skip)": base.Skip(-1), "($limit)": base.Limit(0), "($sample)": base.Sample(0), "($count)": base.Count("a.b"), "($sort)": base.Sort(), "stage 1 ($sort): sort: \"a\" is given twice": base.Sort(query.Asc("a"), query.Desc("a")),
		"no stage can follow $out": base.Out("", "x").Limit(1), "no stage can follow $merge": base.Merge(query.MergeOf{Into: "x"}).Match(), "($out)": base.Out("a.b", "x"), "collection name": base.Out("", ""),
		"_id is the group's id": base.Group(1, query.Acc("_id", acc.Sum(1))), "given twice": base.Group(1, query.Acc("a", acc.Sum(1)), query.Acc("a", acc.Sum(1))), "has a dot": base.Group(1, query.Acc("a.b", acc.Sum(1))),
		"accumulator is empty": base.Group(1, query.Acc("a", acc.Accumulator{})), "can't stand in a group": base.Group(1, query.Acc("a", acc.Rank())), "belongs into SetWindowFields": base.Group(1, query.Acc("a", acc.Sum(1).OverDocuments(acc.Here(), acc.Here()))),
		"can't stand in a window": base.SetWindowFields(query.WindowsOf{Output: []query.GroupField{query.Window("a", acc.MergeObjects(expr.Field("x")))}}), "takes no window": base.SetWindowFields(query.WindowsOf{Output: []query.GroupField{query.Window("a", acc.Rank().OverDocuments(acc.Here(), acc.Here()))}}),
		"computes no field": base.SetWindowFields(query.WindowsOf{}), "projection is empty": base.Project(query.Projection{}), "works in a find only": base.Project(query.Include("a").FirstMatch("b", query.Eq("c", 1))), "use expr.Slice": base.Project(query.Projection{}.Slice("a", 1)),
		"($set): it sets no field": base.Set(), "overlap": base.Set(expr.As("a", 1), expr.As("a.b", 2)), "($addFields)": base.AddFields(expr.As("$a", 1)), "($unset): it names no field": base.Unset(), "($unwind)": base.Unwind("$a"), "($sortByCount)": base.SortByCount("a"),
		"($sortByCount): it needs": base.SortByCount("$a"), "it has no branch": base.Facet(), "the pipeline is empty": base.Facet(query.Branch{Name: "a", Pipeline: base}), "can't stand in a facet": base.Facet(query.Branch{Name: "a", Pipeline: base.Facet(query.Branch{Name: "b", Pipeline: other})}),
		"can't stand in another stage": base.Facet(query.Branch{Name: "a", Pipeline: base.Out("", "x")}), "inner pipeline: stage 1 ($limit)": base.UnionWith("c", base.Limit(0)), "two boundaries": base.Bucket(query.BucketOf{By: expr.Field("a"), Boundaries: []any{1}}), "0 buckets": base.BucketAuto(query.BucketAutoOf{By: expr.Field("a")}),
		"needs fields or a pipeline": base.Lookup(query.LookupOf{From: "a", As: "b"}), "foreignField": base.Lookup(query.LookupOf{From: "a", LocalField: "x", As: "b"}), "let is of no use": base.Lookup(query.LookupOf{From: "a", LocalField: "x", ForeignField: "y", As: "b", Let: []expr.NamedExpr{expr.As("x", 1)}}),
		"variable name": base.Lookup(query.LookupOf{From: "a", As: "b", Pipeline: other, Let: []expr.NamedExpr{expr.As("X", 1)}}), "maxDepth": base.GraphLookup(query.GraphLookupOf{From: "a", StartWith: 1, ConnectFromField: "b", ConnectToField: "c", As: "d", MaxDepth: new(-1)}),
		"whenMatched can't be": base.Merge(query.MergeOf{Into: "x", WhenMatched: "other"}), "whenNotMatched can't be": base.Merge(query.MergeOf{Into: "x", WhenNotMatched: "replace"}), "not both": base.Merge(query.MergeOf{Into: "x", WhenMatched: "merge", WhenMatchedPipeline: other}),
		"must be the first stage": other.GeoNear(query.GeoNearOf{DistanceField: "d"}), "place on earth": base.GeoNear(query.GeoNearOf{Near: query.Point{Latitude: 100}, DistanceField: "d"}), "Text must stand in the first": other.Match(query.Text("x")), "Near can't stand": base.Match(query.Or(query.Eq("a", 1), query.Near("b", query.Point{}, 0, 0))),
		"one key that starts with $": base.Stage(bson.D{{Key: "match", Value: 1}}), "JavaScript": base.Stage(bson.D{{Key: "$addFields", Value: bson.D{{Key: "a", Value: bson.D{{Key: "$function", Value: 1}}}}}}), "not a document": base.Documents(1), "($replaceRoot)": base.ReplaceRoot(expr.Field("$x")),
		"($redact)": base.Redact(expr.Var("X")), "($replaceWith)": base.ReplaceWith(func() {}), "ends before it starts": base.SetWindowFields(query.WindowsOf{Output: []query.GroupField{query.Window("a", acc.Sum(1).OverDocuments(acc.Offset(2), acc.Offset(1)))}}),
		"not a whole number": base.SetWindowFields(query.WindowsOf{Output: []query.GroupField{query.Window("a", acc.Sum(1).OverDocuments(acc.Offset(0.5), acc.Offset(1)))}}), "a bound of the window is empty": base.SetWindowFields(query.WindowsOf{Output: []query.GroupField{query.Window("a", acc.Sum(1).OverRange(acc.Bound{}, acc.Here()))}}),
	} {
		_, err := p.Build()
		require.ErrorIs(t, err, query.ErrInvalid, want)
		require.ErrorContains(t, err, want)
	}
}

func TestPipelineIsImmutable(t *testing.T) {
	t.Parallel()
	base := query.Match(query.Eq("a", 1)).Limit(2)
	left, right := base.Skip(1), base.Count("n")
	for want, p := range map[string]query.Pipeline{"$limit": base, "$skip": left, "$count": right} {
		stages, err := p.Build()
		require.NoError(t, err)
		assert.Equal(t, want, stages[len(stages)-1][0].Key)
	}
	assert.True(t, base.Out("", "x").Writes())
	assert.False(t, base.Writes())
}

func TestExpressionMistakes(t *testing.T) {
	t.Parallel()
	for name, e := range map[string]expr.Expr{
		"field": expr.Field("$a"), "var": expr.Var("A"), "var path": expr.Var("a.$b"), "root": expr.Root("$x"), "value": expr.Value(func() {}), "filter": expr.Value(query.Eq("a", 1)), "nested": expr.Add(1, expr.Abs(expr.Field(""))),
		"object twice": expr.Object(expr.As("a", 1), expr.As("a", 2)), "object name": expr.Object(expr.As("$a", 1)), "add nothing": expr.Add(), "ifNull": expr.IfNull(1), "switch": expr.Switch(nil, 1), "let": expr.Let([]expr.NamedExpr{expr.As("A", 1)}, 1),
		"map": expr.Map(1, "X", 1), "zip": expr.Zip(), "zip longest": expr.ZipLongest([]any{1}, 1, 2), "unit": expr.DateAdd(1, "eon", 1), "unit diff": expr.DateDiff(1, 2, "eon"), "unit trunc": expr.DateTrunc(1, ""), "zones": expr.YearOf(1, "a", "b"), "zones of day": expr.StartOfDay(1, "a", "b"),
		"zones add": expr.DateAdd(1, expr.Day, 1, "a", "b"), "bounds": expr.IndexOfCP("a", "b", 1, 2, 3), "meta": expr.Meta("$x"), "meta empty": expr.Meta(""), "unchecked js": expr.Unchecked(bson.D{{Key: "$function", Value: 1}}), "parts": expr.DateParts(1, 2, 3),
	} {
		_, err := e.Build()
		require.Error(t, err, name)
		_, err = e.Projected()
		require.Error(t, err, name)
		require.Error(t, query.Expr(e).Err(), name)
	}
}

func TestSearch(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders, sent := watched(t, 24)
	find := orders.Find(orderTotal.Gte(20)).Sort(orderTotal.Desc())
	facets := []query.Facet{
		{Name: "status", Field: "status", Selected: orderStatus.In("paid", "sent")},
		{Name: "region", Field: "region", Selected: orderRegion.Eq("south")},
		{Name: "tags", Field: "tags", Array: true, Limit: 2},
		{Name: "total", Field: "total", Ranges: []any{0, 100, 200}},
	}
	page, err := find.Search(ctx, query.SearchRequest{PageSize: 3, Facets: facets})
	require.NoError(t, err)
	require.Len(t, sent.named("aggregate"), 1)

	matching := func(status, region bool) (n int64) {
		for _, o := range someOrders(24)[2:] {
			if (!status || o.Status != "open") && (!region || o.Region == "south") {
				n++
			}
		}
		return n
	}
	assert.Equal(t, matching(true, true), *page.Total)
	assert.Len(t, page.Items, 3)
	assert.True(t, page.HasNext)
	assert.EqualValues(t, 230, page.Items[0].Total)
	sum := func(counts []query.FacetCount) (n int64) {
		for _, c := range counts {
			n += c.Count
		}
		return n
	}
	assert.Len(t, page.Facets["status"], 3, "a facet shows what else could be chosen")
	assert.Equal(t, matching(false, true), sum(page.Facets["status"]))
	assert.Equal(t, matching(true, false), sum(page.Facets["region"]))
	assert.Len(t, page.Facets["tags"], 2)
	assert.Equal(t, matching(true, true), sum(page.Facets["total"]))
	assert.Equal(t, []any{int32(0), int32(100), nil}, []any{page.Facets["total"][0].Value, page.Facets["total"][1].Value, page.Facets["total"][2].Value})

	none, err := orders.Find(query.Nothing()).Search(ctx, query.SearchRequest{Facets: []query.Facet{{Name: "status", Field: "status"}}})
	require.NoError(t, err)
	assert.JSONEq(t, `{"items":[],"total":0,"page":1,"page_size":20,"has_next":false,"has_prev":false,"facets":{"status":[]}}`, jsonOf(t, none))

	for name, r := range map[string]query.SearchRequest{
		"page": {Page: -1}, "size": {PageSize: -1}, "name": {Facets: []query.Facet{{Field: "a"}}}, "field": {Facets: []query.Facet{{Name: "a", Field: "$a"}}},
		"limit": {Facets: []query.Facet{{Name: "a", Field: "a", Limit: -1}}}, "twice": {Facets: []query.Facet{{Name: "a", Field: "a"}, {Name: "a", Field: "b"}}}, "filter": {Facets: []query.Facet{{Name: "a", Field: "a", Selected: query.Eq("$x", 1)}}},
	} {
		_, err := find.Search(ctx, r)
		require.ErrorIs(t, err, query.ErrInvalid, name)
	}
}

// TestInATransaction: commands of one session go one after the other, whatever is
// asked for, and see what the transaction wrote.
func TestInATransaction(t *testing.T) {
	t.Parallel()
	orders := ordersIn(t, 30)
	session, err := orders.Mongo().Database().Client().StartSession()
	require.NoError(t, err)
	defer session.EndSession(t.Context())
	_, err = session.WithTransaction(t.Context(), func(ctx context.Context) (any, error) {
		if _, err := orders.InsertOne(ctx, Order{ID: "inside"}); err != nil {
			return nil, err
		}
		n := 0
		for o, err := range orders.Find().BatchSize(4).Prefetch(3).Stream(ctx) {
			if err != nil {
				return nil, err
			}
			// A command of the same session between the batches: nothing is fetched ahead.
			if _, err = orders.Find(orderID.Eq(o.ID)).One(ctx); err != nil {
				return nil, err
			}
			n++
		}
		assert.Equal(t, 31, n)
		for _, total := range []query.Total{query.TotalExact, query.TotalEstimated} {
			p, err := orders.Find(orderTotal.Gte(0)).Page(ctx, query.PageRequest{Total: total})
			if err != nil {
				return nil, err
			}
			assert.EqualValues(t, 31, *p.Total)
		}
		return nil, errSomething
	})
	require.ErrorIs(t, err, errSomething)
	n, err := orders.Find().Count(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 30, n)
}

// What the server would refuse because of a constant is seen without it.
func TestConstantsOfStagesAreChecked(t *testing.T) {
	t.Parallel()
	bucket := func(otherwise any, boundaries ...any) query.Pipeline {
		return query.Pipe().Bucket(query.BucketOf{By: expr.Field("a"), Boundaries: boundaries, Default: otherwise})
	}
	for want, p := range map[string]query.Pipeline{
		"($bucket): boundaries: they must ascend, but 3 comes before 1":          bucket(nil, 3, 1),
		"they must ascend, but 3 comes before 3":                                 bucket(nil, 1, 3, 3),
		"they must ascend, but 2.5 comes before 2":                               bucket(nil, 2.5, 2),
		"they must be of one type, not 32-bit integer and string":                bucket(nil, 1, "x"),
		"default: 1 lies within the boundaries":                                  bucket(1, 1, 5),
		"($bucket): by: it needs an expression":                                  query.Pipe().Bucket(query.BucketOf{Boundaries: []any{1, 2}}),
		"($bucketAuto): by: it needs an expression":                              query.Pipe().BucketAuto(query.BucketAutoOf{By: "a", Buckets: 2}),
		"($bucketAuto): there is no granularity \"R6\"":                          query.Pipe().BucketAuto(query.BucketAutoOf{By: expr.Field("a"), Buckets: 2, Granularity: "R6"}),
		"($replaceRoot): it needs an expression over the document":               query.Pipe().ReplaceRoot("$a"),
		"($replaceWith): it needs an expression over the document, such as expr": query.Pipe().ReplaceWith(1),
		"($redact): it needs an expression over the document":                    query.Pipe().Redact("x"),
	} {
		_, err := p.Build()
		require.ErrorIs(t, err, query.ErrInvalid, want)
		require.ErrorContains(t, err, want)
	}
	day := time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)
	for _, p := range []query.Pipeline{
		bucket(5, 1, 5), bucket(0, 1, 5), bucket("other", 1, int64(2), 2.5), bucket(nil, "b", "a"), bucket(nil, day, day.Add(time.Hour)),
		bucket(nil, int64(1)<<53+1, float64(1<<53)), query.Pipe().ReplaceRoot(bson.D{{Key: "a", Value: 1}}), query.Pipe().ReplaceWith(expr.Root()),
	} {
		_, err := p.Build()
		require.NoError(t, err)
	}
	for _, f := range []query.Filter{query.Nothing(), query.Expr(expr.Gt(expr.Field("a"), 1)), query.Unchecked(bson.D{{Key: "a", Value: 1}})} {
		_, err := query.Set("l.$[x].a", 1).Where("x", f).Build()
		require.ErrorContains(t, err, `array filter "x" can hold conditions on fields`)
	}
}
