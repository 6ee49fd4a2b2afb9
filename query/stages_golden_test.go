package query_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/acc"
	"github.com/annals-es/annals/query/expr"
)

type pipelineCase struct {
	name     string
	pipeline query.Pipeline
	// since is the first server version that can run it; -1: it is not run.
	since int
	// from is the collection; empty means orders.
	from string
	// target is a collection whose content is the result, for stages that write.
	target string
}

//go:fix inline

// pipelineCases has every stage.
func pipelineCases() []pipelineCase {
	q := func(name string, p query.Pipeline) pipelineCase { return pipelineCase{name: name, pipeline: p} }
	ids := query.Pipe().Project(query.Include("_id"))
	byID := query.Asc("_id")
	since := func(v int, name string, p query.Pipeline) pipelineCase {
		return pipelineCase{name: name, pipeline: p, since: v}
	}
	return []pipelineCase{
		q("match", query.Match(query.Eq("status", "paid")).Append(ids).Sort(byID)),
		q("match everything", query.Match(query.Everything()).Append(ids).Sort(byID)),
		q("group by field", query.Pipe().Group(expr.Field("status"), query.Acc("n", acc.Sum(1))).Sort(byID)),
		q("group all", query.Match(query.TypeOf("total", query.TypeNumber)).Group(nil, query.Acc("sum", acc.Sum(expr.Field("total"))), query.Acc("avg", acc.Avg(expr.Field("total"))))),
		q("group by object", query.Match(query.Exists("region")).Group(
			expr.Object(expr.As("region", expr.Field("region")), expr.As("one", 1)), query.Acc("n", acc.Sum(1))).Sort(byID)),
		q("group by constant that looks like a path", query.Pipe().Group("$status", query.Acc("n", acc.Sum(1)))),
		q("group distinct", query.Pipe().Group(expr.Field("region")).Sort(byID)),
		q("project include", query.Pipe().Project(query.Include("status", "customer.name")).Sort(byID)),
		q("project exclude", query.Pipe().Project(query.Exclude("lines", "placed_at", "flags", "scores", "customer", "meta", "tags")).Sort(byID)),
		q("project computed", query.Pipe().Project(query.Include("status").NoID().Compute("double", expr.Multiply(expr.Field("flags"), 2)).Compute("one", 1).Compute("text", "$status")).Sort(query.Asc("double"))),
		q("sort", query.Pipe().Sort(query.Asc("region"), query.Desc("_id")).Append(ids)),
		q("limit", query.Pipe().Sort(byID).Limit(2).Append(ids)),
		q("skip", query.Pipe().Sort(byID).Skip(5).Append(ids)),
		q("sample", query.Pipe().Sample(100).Append(ids).Sort(byID)),
		q("unwind", query.Pipe().Unwind("lines").Project(query.Include("lines.sku")).Sort(byID, query.Asc("lines.sku"))),
		q("unwind with", query.Pipe().UnwindWith("lines", query.UnwindOptions{IndexField: "at", KeepEmpty: true}).
			Project(query.Include("lines.sku", "at")).Sort(byID, query.Asc("at"))),
		q("lookup fields", query.Pipe().Sort(byID).Lookup(query.LookupOf{From: "regions", LocalField: "region", ForeignField: "_id", As: "where"}).
			Project(query.Include("where"))),
		q("lookup pipeline", query.Pipe().Sort(byID).Lookup(query.LookupOf{
			From: "regions", Let: []expr.NamedExpr{expr.As("r", expr.Field("region"))},
			Pipeline: query.Match(query.Expr(expr.Eq(expr.Field("_id"), expr.Var("r")))).Project(query.Include("name").NoID()), As: "where",
		}).Project(query.Include("where"))),
		since(50, "lookup fields and pipeline", query.Pipe().Sort(byID).Lookup(query.LookupOf{
			From: "regions", LocalField: "region", ForeignField: "_id", Pipeline: query.Pipe().Project(query.Include("name")), As: "where",
		}).Project(query.Include("where"))),
		q("facet", query.Pipe().Facet(
			query.Branch{Name: "byStatus", Pipeline: query.Pipe().Group(expr.Field("status"), query.Acc("n", acc.Sum(1))).Sort(byID)},
			query.Branch{Name: "total", Pipeline: query.Pipe().Count("n")})),
		q("addFields", query.Pipe().AddFields(expr.As("sum", expr.Sum(expr.Field("scores"))), expr.As("customer.seen", true)).Project(query.Include("sum", "customer")).Sort(byID)),
		q("set", query.Pipe().Set(expr.As("label", expr.Concat("order ", expr.ToString(expr.Field("_id"))))).Project(query.Include("label")).Sort(byID)),
		q("set data that looks like a path", query.Pipe().Set(expr.As("label", "$status"), expr.As("doc", bson.D{{Key: "$add", Value: bson.A{1, 2}}})).Project(query.Include("label")).Sort(byID).Limit(1)),
		q("unset", query.Pipe().Unset("lines", "placed_at", "flags", "scores", "customer.name", "meta", "tags", "total").Sort(byID)),
		q("count", query.Match(query.Eq("status", "paid")).Count("n")),
		q("sortByCount", query.Pipe().Unwind("lines").SortByCount(expr.Field("lines.sku")).Limit(1)),
		q("bucket", query.Pipe().Bucket(query.BucketOf{By: expr.Field("flags"), Boundaries: []any{0, 3, 6}, Default: "rest"})),
		q("bucket output", query.Pipe().Bucket(query.BucketOf{
			By: expr.Field("flags"), Boundaries: []any{0, 3, 100}, Default: "none",
			Output: []query.GroupField{query.Acc("n", acc.Sum(1)), query.Acc("max", acc.Max(expr.Field("flags")))},
		})),
		q("bucketAuto", query.Match(query.Exists("flags")).BucketAuto(query.BucketAutoOf{By: expr.Field("flags"), Buckets: 2})),
		q("bucketAuto output", query.Match(query.Exists("flags")).BucketAuto(query.BucketAutoOf{
			By: expr.Field("flags"), Buckets: 2,
			Output: []query.GroupField{query.Acc("sum", acc.Sum(expr.Field("flags")))},
		})),
		{name: "bucketAuto granularity", since: -1, pipeline: query.Match(query.Gt("flags", 0)).BucketAuto(query.BucketAutoOf{By: expr.Field("flags"), Buckets: 2, Granularity: "POWERSOF2"})},
		q("replaceRoot", query.Match(query.Exists("customer")).Sort(byID).ReplaceRoot(expr.Field("customer"))),
		q("replaceWith", query.Match(query.Exists("customer")).Sort(byID).ReplaceWith(expr.MergeObjects(expr.Object(expr.As("id", expr.Field("_id"))), expr.Field("customer")))),
		q("redact", query.Pipe().Redact(expr.Cond(expr.Eq(expr.Field("status"), "paid"), expr.Unchecked("$$KEEP"), expr.Unchecked("$$PRUNE"))).Append(ids).Sort(byID)),
		q("unionWith", query.Pipe().Append(ids).UnionWith("regions", query.Pipe()).Sort(query.Asc("_id")).Project(query.Include("_id"))),
		q("unionWith pipeline", query.Match(query.Eq("status", "open")).Append(ids).UnionWith("regions", query.Match(query.Eq("manager", "m1")).Append(ids))),
		q("graphLookup", query.Match(query.Eq("_id", 7)).GraphLookup(query.GraphLookupOf{
			From: "orders", StartWith: expr.Field("parent"),
			ConnectFromField: "parent", ConnectToField: "_id", As: "ancestors", MaxDepth: new(5), DepthField: "depth", Restrict: query.Ne("status", "void"),
		}).
			Unwind("ancestors").Project(query.Include("ancestors._id", "ancestors.depth")).Sort(query.Asc("ancestors._id"))),
		since(50, "setWindowFields", query.Pipe().SetWindowFields(query.WindowsOf{
			PartitionBy: expr.Field("region"), SortBy: []query.SortKey{query.Asc("_id")},
			Output: []query.GroupField{
				query.Window("running", acc.Sum(expr.Field("flags")).OverDocuments(acc.Unbounded(), acc.Here())),
				query.Window("rank", acc.Rank()),
			},
		}).Project(query.Include("running", "rank")).Sort(byID)),
		{name: "merge", pipeline: query.Match(query.Eq("status", "paid")).Append(ids).Merge(query.MergeOf{Into: "merged"}), target: "merged"},
		{name: "merge all", pipeline: query.Pipe().Append(ids).Merge(query.MergeOf{
			Into: "merged_all", On: []string{"_id"},
			WhenMatched: query.MergeKeepExisting, WhenNotMatched: query.MergeInsert,
		}), target: "merged_all"},
		{name: "merge pipeline", since: -1, pipeline: query.Pipe().Merge(query.MergeOf{
			Database: "other", Into: "x", On: []string{"a", "b"}, Let: []expr.NamedExpr{expr.As("y", 1)},
			WhenMatchedPipeline: query.Pipe().Set(expr.As("n", expr.Add(expr.Field("n"), expr.Var("new.n")))), WhenNotMatched: query.MergeDiscard,
		})},
		{name: "out", pipeline: query.Match(query.Eq("status", "open")).Append(ids).Out("", "written"), target: "written"},
		{name: "out database", since: -1, pipeline: query.Pipe().Out("other", "written")},
		{name: "geoNear", since: -1, pipeline: query.Pipe().GeoNear(query.GeoNearOf{Near: query.Point{Longitude: 13, Latitude: 52}, DistanceField: "d", MinMetres: 1, MaxMetres: 10, Filter: query.Eq("a", 1), Key: "place"})},
		{name: "documents", since: -1, pipeline: query.Pipe().Documents(bson.D{{Key: "a", Value: "$b"}})},
		q("stage", query.Pipe().Stage(bson.D{{Key: "$match", Value: bson.D{{Key: "status", Value: "paid"}}}}).Append(ids).Sort(byID)),
	}
}

// accumulatorCases has every accumulator, each in a pipeline that runs it.
func accumulatorCases() []pipelineCase {
	ordered := query.Match(query.Exists("flags")).Sort(query.Asc("_id"))
	group := func(since int, name string, a acc.Accumulator) pipelineCase {
		return pipelineCase{name: name, since: since, pipeline: ordered.Group(nil, query.Acc("x", a))}
	}
	window := func(since int, name string, a acc.Accumulator) pipelineCase {
		return pipelineCase{name: name, since: since, pipeline: query.Pipe().SetWindowFields(query.WindowsOf{
			SortBy: []query.SortKey{query.Asc("_id")}, Output: []query.GroupField{query.Window("x", a)},
		}).Project(query.Include("x"))}
	}
	flags := expr.Field("flags")
	return []pipelineCase{
		group(0, "sum", acc.Sum(flags)), group(0, "avg", acc.Avg(flags)), group(0, "min", acc.Min(flags)), group(0, "max", acc.Max(flags)),
		group(0, "first", acc.First(flags)), group(0, "last", acc.Last(flags)), group(0, "push", acc.Push(flags)),
		group(0, "push array", acc.Push(expr.Array(expr.Field("_id"), flags))), group(0, "push data", acc.Push("$flags")),
		{name: "addToSet", pipeline: query.Match(query.Eq("status", "paid")).Group(nil, query.Acc("x", acc.AddToSet(expr.Field("status"))))},
		group(0, "stdDevPop", acc.StdDevPop(flags)), group(0, "stdDevSamp", acc.StdDevSamp(flags)),
		{name: "mergeObjects", pipeline: query.Match(query.Exists("meta")).Sort(query.Asc("_id")).Group(nil, query.Acc("x", acc.MergeObjects(expr.Field("meta"))))},
		group(50, "count", acc.Count()), group(52, "firstN", acc.FirstN(2, flags)), group(52, "lastN", acc.LastN(2, flags)),
		group(52, "minN", acc.MinN(2, flags)), group(52, "maxN", acc.MaxN(2, flags)),
		group(52, "top", acc.Top(flags, query.Desc("flags"))), group(52, "bottom", acc.Bottom(flags, query.Desc("flags"))),
		group(52, "topN", acc.TopN(2, flags, query.Desc("flags"))), group(52, "bottomN", acc.BottomN(2, flags, query.Desc("flags"))),
		group(70, "median", acc.Median(flags)), group(70, "percentile", acc.Percentile(flags, 0.5, 0.9)),
		window(50, "over documents", acc.Sum(flags).OverDocuments(acc.Offset(-1), acc.Offset(1))),
		window(50, "over range", acc.Sum(flags).OverRange(acc.Offset(-1.5), acc.Here())),
		{name: "over time", since: 50, pipeline: query.Match(query.TypeOf("placed_at", query.TypeDate)).SetWindowFields(query.WindowsOf{
			SortBy: []query.SortKey{query.Asc("placed_at")}, Output: []query.GroupField{query.Window("x", acc.Sum(flags).OverTime(acc.Offset(-1), acc.Here(), expr.Day))},
		}).Project(query.Include("x"))},
		window(50, "rank", acc.Rank()), window(50, "denseRank", acc.DenseRank()), window(50, "documentNumber", acc.DocumentNumber()),
		window(50, "shift", acc.Shift(flags, -1, "none")),
		window(50, "derivative", acc.Derivative(flags, "").OverDocuments(acc.Offset(-1), acc.Here())),
		window(50, "integral", acc.Integral(flags, "").OverDocuments(acc.Offset(-1), acc.Here())),
		window(50, "covariancePop", acc.CovariancePop(flags, expr.Field("_id"))), window(50, "covarianceSamp", acc.CovarianceSamp(flags, expr.Field("_id"))),
		window(50, "expMovingAvg", acc.ExpMovingAvg(flags, 2)), window(50, "expMovingAvg alpha", acc.ExpMovingAvgAlpha(flags, 0.5)),
		window(53, "linearFill", acc.LinearFill(flags)), window(52, "locf", acc.LOCF(flags)),
		group(0, "unchecked", acc.Unchecked(bson.D{{Key: "$sum", Value: "$flags"}})),
	}
}

func TestPipelinesGolden(t *testing.T) {
	t.Parallel()
	for file, cases := range map[string][]pipelineCase{"stages.tsv": pipelineCases(), "accumulators.tsv": accumulatorCases()} {
		g := openGolden(t, file)
		for _, c := range cases {
			stages, err := c.pipeline.Build()
			require.NoError(t, err, c.name)
			g.check(t, c.name, stages)
		}
		g.finish(t, true)
	}
}

func TestPipelinesRun(t *testing.T) {
	t.Parallel()
	db := dataset(t)
	version := serverVersion(t, db)
	for file, cases := range map[string][]pipelineCase{"stages.results.tsv": pipelineCases(), "accumulators.results.tsv": accumulatorCases()} {
		g := openGolden(t, file)
		for _, c := range cases {
			if c.since < 0 || c.since > version {
				continue
			}
			from := c.from
			if from == "" {
				from = "orders"
			}
			results, err := query.Aggregate[bson.Raw](query.From[bson.Raw](db.Collection(from)), c.pipeline).All(t.Context())
			require.NoError(t, err, c.name)
			if c.target != "" {
				results, err = query.From[bson.Raw](db.Collection(c.target)).Find().Sort(query.Asc("_id")).All(t.Context())
				require.NoError(t, err, c.name)
			}
			g.check(t, c.name, results)
		}
		g.finish(t, false)
	}
}
