package query_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/acc"
	"github.com/annals-es/annals/query/expr"
	"github.com/annals-es/annals/query/urlfilter"
)

// The tables of docs/queries.md are made of the blocks of this file: a section
// is a function, a task is a block under a "task:" comment. All of them run. Write the
// document anew with -update.

func cookbookFilters(_ context.Context, _ *query.Collection[Order], filter func(query.Filter)) {
	// task: Equal to a value
	{
		filter(query.Eq("status", "paid"))
	}
	// task: Several conditions, one on a range
	{
		filter(query.Eq("status", "paid").And(query.Gte("total", 100), query.Lt("total", 200)))
	}
	// task: From one value up to, without, another
	{
		filter(query.Between("total", 100, 200))
	}
	// task: One of several values
	{
		filter(query.In("status", "paid", "sent"))
	}
	// task: Any of several conditions
	{
		filter(query.Or(query.Eq("status", "open"), query.Gt("total", 250)))
	}
	// task: Not so
	{
		filter(query.Not(query.HasPrefix("status", "pa")))
	}
	// task: Null or missing; null; missing
	{
		filter(query.Eq("rating", nil))
		filter(query.Null("rating"))
		filter(query.Missing("rating"))
	}
	// task: An embedded field
	{
		filter(query.Eq("customer.name", "Ada"))
	}
	// task: An array that has a value; several values; so many
	{
		filter(query.Eq("tags", "t1"))
		filter(query.HasAll("tags", "t1", "t2"))
		filter(query.Size("tags", 1))
	}
	// task: An array with one element that meets several conditions
	{
		filter(query.ElemMatch("lines", query.Eq("sku", "a"), query.Gte("qty", 3)))
		filter(query.ElemMatch("scores", query.Gte(query.Element, 80), query.Lt(query.Element, 85)))
	}
	// task: Text that starts with, contains, equals without regard to case
	{
		filter(query.HasPrefix("customer.name", "A"))
		filter(query.Contains("customer.name", "d"))
		filter(query.EqualFold("customer.name", "ADA"))
	}
	// task: Compare two fields of a document
	{
		filter(query.Expr(expr.Gt(expr.Field("total"), expr.Size(expr.Field("lines")))))
	}
	// task: Conditions that depend on what is given
	{
		conditions := []query.Filter{query.Eq("status", "paid")}
		if region := "north"; region != "" {
			conditions = append(conditions, query.Eq("region", region))
		}
		filter(query.And(conditions...))
	}
	// task: What the compiler checks
	{
		status := query.StringFieldOf(func(o *Order) *Status { return &o.Status })
		total := query.FieldOf(func(o *Order) *int64 { return &o.Total })
		filter(query.And(status.Eq("paid"), total.Gte(100)))
	}
	// task: A document from outside, compared as the data it is
	{
		var body map[string]any // {"$gt": ""}, say
		filter(query.Eq("customer.name", body["name"]))
	}
	// task: What the package doesn't know yet (never from outside)
	{
		filter(query.Unchecked(bson.D{{Key: "total", Value: bson.D{{Key: "$gte", Value: 100}}}}))
	}
}

func cookbookFinds(ctx context.Context, orders *query.Collection[Order], check func(any, error)) {
	// task: A collection
	{
		orders := query.From[Order](orders.Mongo()) // a *mongo.Collection
		_ = orders
	}
	// task: All; the first; the only one
	{
		check(orders.Find(query.Eq("status", "paid")).All(ctx))
		check(orders.Find().Sort(query.Desc("total")).First(ctx))
		check(orders.Find(query.Eq("_id", "o001")).One(ctx))
	}
	// task: Nothing there, or too many
	{
		_, err := orders.Find(query.Eq("_id", "none")).One(ctx)
		_ = errors.Is(err, query.ErrNotFound) || errors.Is(err, query.ErrNotUnique)
	}
	// task: Order, part of the list, part of the document
	{
		check(orders.Find().Sort(query.Desc("placed_at"), query.Asc("_id")).Skip(10).Limit(10).
			Project(query.Include("status", "total")).All(ctx))
	}
	// task: How many; is there one
	{
		check(orders.Find(query.Eq("status", "paid")).Count(ctx))
		check(orders.Find(query.Eq("status", "paid")).Exists(ctx))
		check(orders.Find().EstimatedCount(ctx))
	}
	// task: The distinct values of a field
	{
		check(query.Distinct[string](ctx, orders.Find(), query.Name("region")))
	}
	// task: One by one, without holding all in memory
	{
		for order, err := range orders.Find().Stream(ctx) {
			check(order, err)
		}
	}
	// task: Work on a stream, five at a time
	{
		ship := func(ctx context.Context, o Order) error { return nil }
		check(nil, query.Process(ctx, orders.Find().Stream(ctx), 5, ship))
	}
	// task: The same with results, in the order of the stream
	{
		label := func(ctx context.Context, o Order) (string, error) { return o.ID, nil }
		for s, err := range query.MapOrdered(ctx, orders.Find().Stream(ctx), 5, label) {
			check(s, err)
		}
	}
	// task: From a secondary, within a second, found in the profiler
	{
		check(orders.Find().ReadPreference(readpref.SecondaryPreferred()).
			MaxTime(time.Second).Comment("nightly report").All(ctx))
	}
	// task: Does an index serve it
	{
		plan, err := orders.Find(query.Eq("status", "paid")).Explain(ctx)
		check(plan.UsesIndex(), err) // also plan.Indexes, DocsExamined, MemorySort, …
	}
	// task: With an index of your choice
	{
		check(orders.Find(query.Gte("_id", "o010")).Hint("_id_").All(ctx))
	}
}

func cookbookPages(ctx context.Context, orders *query.Collection[Order], check func(any, error)) {
	w, key := http.ResponseWriter(nil), bytes.Repeat([]byte("k"), 32)
	// task: A page by number, with the total in the same round trip
	{
		page, err := orders.Find().Sort(query.Desc("placed_at"), query.Asc("_id")).
			Page(ctx, query.PageRequest{Page: 2, PageSize: 10})
		check(page, err) // {"items":[…],"total":30,"page":2,"page_size":10,"has_next":true,"has_prev":true}
	}
	// task: Without the total, or with a cheap one
	{
		check(orders.Find().Page(ctx, query.PageRequest{Total: query.TotalNone}))
		check(orders.Find().Page(ctx, query.PageRequest{Total: query.TotalEstimated}))
	}
	// task: A page by position: as fast at the end as at the start, and stable
	{
		cursors, err := query.NewCursors(query.CursorsConfig{Key: key}) // once, at the start
		check(nil, err)
		page, err := orders.Find(query.Eq("status", "paid")).Sort(query.Desc("placed_at")).
			Keyset(ctx, query.Keyset{Cursors: cursors, Cursor: "", Size: 10})
		check(page, err) // page.Next and page.Prev are the Cursor of the neighbours
	}
	// task: A cursor that is not good
	{
		cursors, _ := query.NewCursors(query.CursorsConfig{Key: key})
		_, err := orders.Find().Keyset(ctx, query.Keyset{Cursors: cursors, Cursor: "garbage"})
		_ = errors.Is(err, query.ErrCursor) // answer with 400
	}
	// task: A sort key that every document has, of one type: the server has less to look for
	{
		_ = query.Desc("placed_at").Uniform()
	}
	// task: Filter, order and page from a URL
	{
		spec := urlfilter.MustNew(urlfilter.Config{Fields: []urlfilter.Field{
			{Name: "status", Type: urlfilter.String, Enum: []string{"open", "paid", "sent"}},
			{Name: "total", Type: urlfilter.Int, Sortable: true},
		}})
		request, err := spec.Parse(url.Values{"status": {"paid"}, "total[gte]": {"100"}, "sort": {"-total"}})
		if wrong := (*urlfilter.Error)(nil); errors.As(err, &wrong) {
			wrong.ServeHTTP(w, nil) // application/problem+json with all that is wrong
			return
		}
		check(orders.Find(request.Filter).Sort(request.Sort...).
			Page(ctx, query.PageRequest{Page: request.Page, PageSize: request.Limit}))
	}
	// task: A page with counts to choose from
	{
		check(orders.Find().Sort(query.Desc("placed_at")).Search(ctx, query.SearchRequest{Facets: []query.Facet{
			{Name: "status", Field: "status", Selected: query.Eq("status", "paid")},
			{Name: "total", Field: "total", Ranges: []any{0, 100, 200}},
		}}))
	}
	// task: Change the key of the cursors; let cursors expire
	{
		next := bytes.Repeat([]byte{2}, query.MinKeyLength) // random bytes, from your secrets
		cursors, err := query.NewCursors(query.CursorsConfig{Key: next, PreviousKeys: [][]byte{key}, Lifetime: 24 * time.Hour})
		check(cursors, err)
	}
}

func cookbookPipelines(ctx context.Context, orders *query.Collection[Order], check func(any, error)) {
	// task: Revenue by day and region
	{
		type revenue struct {
			Key struct {
				Day    time.Time `bson:"day"`
				Region string    `bson:"region"`
			} `bson:"_id"`
			Sum int64 `bson:"sum"`
		}
		p := query.Match(query.Eq("status", "paid")).
			Group(expr.Object(
				expr.As("day", expr.StartOfDay(expr.Field("placed_at"))),
				expr.As("region", expr.Field("region")),
			), query.Acc("sum", acc.Sum(expr.Field("total")))).
			Sort(query.Asc("_id.day"))
		check(query.Aggregate[revenue](orders, p).All(ctx))
	}
	// task: The most frequent values of an array
	{
		p := query.Pipe().Unwind("tags").SortByCount(expr.Field("tags")).Limit(3)
		check(query.Aggregate[bson.D](orders, p).All(ctx))
	}
	// task: Join another collection
	{
		p := query.Pipe().Lookup(query.LookupOf{From: "regions", LocalField: "region", ForeignField: "_id", As: "where"})
		check(query.Aggregate[bson.D](orders, p).All(ctx))
	}
	// task: Computed fields
	{
		p := query.Pipe().Set(expr.As("label", expr.Concat("order ", expr.Field("_id"))))
		check(query.Aggregate[bson.D](orders, p).All(ctx))
	}
	// task: Write the result into a collection
	{
		p := query.Pipe().Group(expr.Field("region"), query.Acc("n", acc.Sum(1))).
			Merge(query.MergeOf{Into: "by_region", WhenMatched: query.MergeReplace})
		check(nil, query.Aggregate[bson.D](orders, p).Run(ctx))
	}
	// task: A stage of next year
	{
		p := query.Pipe().Stage(bson.D{{Key: "$limit", Value: 3}})
		check(query.Aggregate[bson.D](orders, p).AllowDiskUse().MaxTime(time.Minute).All(ctx))
	}
	// task: Several results of one reading
	{
		p := query.Pipe().Facet(
			query.Branch{Name: "by_region", Pipeline: query.Pipe().SortByCount(expr.Field("region"))},
			query.Branch{Name: "by_total", Pipeline: query.Pipe().Bucket(query.BucketOf{
				By: expr.Field("total"), Boundaries: []any{0, 100, 200}, Default: "more",
			})},
		)
		check(query.Aggregate[bson.D](orders, p).First(ctx))
	}
	// task: Join by a pipeline with variables
	{
		p := query.Pipe().Lookup(query.LookupOf{
			From: "regions", As: "where",
			Let:      []expr.NamedExpr{expr.As("region", expr.Field("region"))},
			Pipeline: query.Match(query.Expr(expr.Eq(expr.Field("_id"), expr.Var("region")))).Project(query.Include("name")),
		})
		check(query.Aggregate[bson.D](orders, p).All(ctx))
	}
	// task: Follow references; add another collection
	{
		depth := 3
		p := query.Pipe().GraphLookup(query.GraphLookupOf{
			From: "regions", StartWith: expr.Field("region"), ConnectFromField: "parent", ConnectToField: "_id", As: "above", MaxDepth: &depth,
		})
		check(query.Aggregate[bson.D](orders, p).All(ctx))
		check(query.Aggregate[bson.D](orders, query.Pipe().UnionWith("old_orders", query.Pipe())).All(ctx))
	}
}

func cookbookWrites(ctx context.Context, orders *query.Collection[Order], check func(any, error)) {
	// task: Insert
	{
		check(orders.InsertOne(ctx, Order{ID: "n1"}))
	}
	// task: Change fields; one document, all that match
	{
		check(orders.UpdateOne(ctx, query.Eq("_id", "o001"), query.Set("status", "paid").Inc("total", 5)))
		check(orders.UpdateMany(ctx, query.Eq("status", "open"), query.Unset("rating")))
	}
	// task: Insert or change
	{
		check(orders.UpdateOne(ctx, query.Eq("_id", "n2"), query.Set("status", "open"), query.UpdateOptions{Upsert: true}))
	}
	// task: Arrays: add, add once, remove, keep the last ten
	{
		last := -10
		check(orders.UpdateOne(ctx, query.Eq("_id", "o001"), query.Push("tags", "late")))
		check(orders.UpdateOne(ctx, query.Eq("_id", "o001"), query.AddToSet("tags", "late")))
		check(orders.UpdateOne(ctx, query.Eq("_id", "o001"), query.Pull("tags", "late")))
		check(orders.UpdateOne(ctx, query.Eq("_id", "o001"),
			query.Update{}.PushWith("tags", query.PushOptions{Slice: &last}, "new")))
	}
	// task: Some elements of an array
	{
		check(orders.UpdateOne(ctx, query.Eq("_id", "o005"),
			query.Set("lines.$[big].qty", 1).Where("big", query.Gte("qty", 3))))
	}
	// task: Compute from other fields
	{
		check(orders.UpdateOne(ctx, query.Eq("_id", "o001"),
			query.Compute(expr.As("gross", expr.Multiply(expr.Field("total"), 2)))))
	}
	// task: Change and get the document
	{
		check(orders.Find(query.Eq("status", "open")).Sort(query.Asc("placed_at")).
			FindAndUpdate(ctx, query.Set("status", "taken"), query.After))
	}
	// task: Many writes at once
	{
		result, err := orders.Bulk().Unordered().
			Insert(Order{ID: "n3"}, Order{ID: "n4"}).
			UpdateOne(query.Eq("_id", "o002"), query.Inc("total", 1)).
			DeleteOne(query.Eq("_id", "o003")).
			Run(ctx)
		if failed := (*query.BulkError)(nil); errors.As(err, &failed) {
			_ = failed.Items // by index; also Unknown and NotAttempted
		}
		check(result, err)
	}
	// task: Delete; delete everything, said on purpose
	{
		check(orders.DeleteOne(ctx, query.Eq("_id", "n1")))
		check(orders.DeleteMany(ctx, query.Everything()))
	}
	// task: A document without a struct
	{
		d, err := query.Doc().Field("status", "open").Nested("customer", query.Doc().Field("name", "Ada")).Array("tags", "a", "b").Build()
		check(d, err)
	}
}

func cookbookRepositories(ctx context.Context, orders *query.Collection[Order], check func(any, error)) {
	coll := orders.Mongo().Database().Collection("accounts")
	// task: A repository with versions, times and soft deletion
	{
		repo, err := query.NewRepository(coll, query.RepositoryConfig[account, bson.ObjectID]{
			ID:        func(a *account) *bson.ObjectID { return &a.ID },
			Version:   func(a *account) *int64 { return &a.Version },
			CreatedAt: func(a *account) *time.Time { return &a.Created },
			UpdatedAt: func(a *account) *time.Time { return &a.Updated },
			DeletedAt: func(a *account) **time.Time { return &a.Deleted },
		})
		check(repo, err)
	}
	repo, err := query.NewRepository(coll, query.RepositoryConfig[account, bson.ObjectID]{
		ID: func(a *account) *bson.ObjectID { return &a.ID }, Version: func(a *account) *int64 { return &a.Version },
	})
	check(repo, err)
	// task: Save, and see whether somebody else was faster
	{
		a := account{Name: "Ada"}
		err := repo.Save(ctx, &a) // a.ID and a.Version are set
		if errors.Is(err, query.ErrConflict) {
			return // read it again and decide anew
		}
	}
	// task: Get, find, count
	{
		a, err := repo.Find(query.Eq("name", "Ada")).First(ctx)
		check(a, err)
		check(repo.Get(ctx, a.ID))
		check(repo.Count(ctx, query.Gte("balance", 0)))
	}
	// task: Change one field without reading
	{
		a, err := repo.Find().First(ctx)
		check(a, err)
		check(repo.Patch(ctx, a.ID, query.Inc("balance", 10)))
	}
	// task: Delete
	{
		a, err := repo.Find().First(ctx)
		check(a, err)
		check(nil, repo.Delete(ctx, a.ID))
	}
	// task: Only if nobody has changed it since; delete for good, marked or not
	{
		a := account{Name: "Bob"}
		check(nil, repo.Save(ctx, &a))
		check(repo.PatchVersion(ctx, a.ID, a.Version, query.Set("name", "Bo")))
		check(nil, repo.Purge(ctx, a.ID))
	}
}

// TestCookbookRuns runs every recipe.
func TestCookbookRuns(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	check := func(_ any, err error) {
		t.Helper()
		require.NoError(t, err)
	}
	orders := ordersIn(t, 30)
	cookbookFilters(ctx, orders, func(f query.Filter) {
		t.Helper()
		check(orders.Find(f).All(ctx))
	})
	for _, section := range []func(context.Context, *query.Collection[Order], func(any, error)){
		cookbookFinds, cookbookPages, cookbookPipelines, cookbookWrites, cookbookRepositories,
	} {
		section(ctx, ordersIn(t, 30), check)
	}
}

// TestCookbookIsUpToDate compares the tables of the document with this file.
func TestCookbookIsUpToDate(t *testing.T) {
	t.Parallel()
	const path = "../docs/queries.md"
	source, err := os.ReadFile("cookbook_test.go")
	require.NoError(t, err)
	have, err := os.ReadFile(path)
	require.NoError(t, err)
	tables := cookbookTables(t, string(source))
	marker := regexp.MustCompile(`(?s)<!-- cookbook: (\w+) -->\n.*?<!-- end -->`)
	used := map[string]bool{}
	want := marker.ReplaceAllStringFunc(string(have), func(s string) string {
		section := marker.FindStringSubmatch(s)[1]
		table, ok := tables[section]
		require.True(t, ok, "%s wants a section %q that is not there", path, section)
		used[section] = true
		return fmt.Sprintf("<!-- cookbook: %s -->\n%s<!-- end -->", section, table)
	})
	assert.Len(t, used, len(tables), "every section has its place in %s", path)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(want), 0o644))
		return
	}
	require.Equal(t, want, string(have), "run go test ./query -run Cookbook -update")
}

// cookbookTables reads sections and tasks out of the source.
func cookbookTables(t *testing.T, source string) map[string]string {
	tables := map[string]string{}
	functions := regexp.MustCompile(`(?ms)^func cookbook(\w+)\(ctx? ?[^\n]*\n(.*?)^}`).FindAllStringSubmatch(strings.ReplaceAll(source, "(_ context", "(ctx context"), -1)
	tasks := regexp.MustCompile(`(?ms)^\t// task: ([^\n]*)\n\t\{\n(.*?)^\t\}`)
	for _, f := range functions {
		var b strings.Builder
		b.WriteString("<table>\n")
		found := tasks.FindAllStringSubmatch(f[2], -1)
		require.NotEmpty(t, found, f[1])
		for _, task := range found {
			var code strings.Builder
			for line := range strings.Lines(task[2]) {
				code.WriteString(strings.TrimPrefix(line, "\t\t"))
			}
			fmt.Fprintf(&b, "<tr><td>%s</td><td>\n\n```go\n%s```\n\n</td></tr>\n", task[1], strings.ReplaceAll(code.String(), "\t", "    "))
		}
		b.WriteString("</table>\n")
		tables[strings.ToLower(f[1])] = b.String()
	}
	return tables
}
