package query_test

import (
	"context"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/query"
)

func TestBulkOfEverything(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders := ordersIn(t, 10)
	b := orders.Bulk().
		Insert(Order{ID: "new"}).
		UpdateOne(orderID.Eq("o001"), orderStatus.Set("void")).
		UpdateMany(orderStatus.Eq("sent"), orderTotal.Inc(1000)).
		Replace(orderID.Eq("o003"), Order{ID: "o003", Status: "replaced"}).
		UpdateOne(orderID.Eq("made"), orderStatus.Set("upserted"), query.UpdateOptions{Upsert: true}).
		DeleteOne(orderID.Eq("o004")).
		DeleteMany(orderRegion.Eq("south"))
	assert.Equal(t, 7, b.Len())
	r, err := b.Run(ctx)
	require.NoError(t, err)
	assert.Equal(t, query.BulkResult{Inserted: 1, Matched: 5, Modified: 5, Deleted: 5, Upserted: 1, UpsertedIDs: map[int]any{4: "made"}}, r)
	o, err := orders.Find(orderID.Eq("o002")).One(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 1020, o.Total)

	r, err = orders.Bulk().Run(ctx)
	require.NoError(t, err)
	assert.Zero(t, r.Inserted)
}

func TestBulkSplits(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for _, unordered := range []bool{false, true} {
		orders, sent := watched(t, 0)
		b := query.SetBulkLimits(orders.Bulk(), 4, 1<<20).Insert(someOrders(10)...)
		if unordered {
			b.Unordered()
		}
		r, err := b.Run(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 10, r.Inserted)
		assert.Len(t, sent.named("insert"), 3)

		b = query.SetBulkLimits(orders.Bulk(), 100_000, 2500)
		for _, o := range someOrders(10) {
			o.Region = strings.Repeat("x", 500)
			b.Replace(orderID.Eq(o.ID), o)
		}
		r, err = b.Run(ctx)
		require.NoError(t, err)
		assert.EqualValues(t, 10, r.Modified)
		assert.Len(t, sent.named("update"), 5)
	}
}

func TestBulkErrorsNameTheCallersIndex(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	build := func(c *query.Collection[Order]) *query.Bulk[Order] {
		// 0 ok, 1 delete, 2 duplicate, 3 ok, 4 update with an error, 5 ok, 6 duplicate, 7 ok
		return query.SetBulkLimits(c.Bulk(), 2, 1<<20).
			Insert(Order{ID: "a"}).DeleteOne(orderID.Eq("o000")).Insert(Order{ID: "o001"}, Order{ID: "b"}).
			UpdateOne(orderID.Eq("o002"), query.Inc("status", 1)).Insert(Order{ID: "c"}, Order{ID: "o001"}).DeleteOne(orderID.Eq("o003"))
	}
	orders := ordersIn(t, 4)
	r, err := build(orders).Unordered().Run(ctx)
	var e *query.BulkError
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, query.ErrDuplicate)
	require.NotErrorIs(t, err, query.ErrOutcomeUnknown)
	require.Len(t, e.Items, 3)
	assert.Equal(t, []int{2, 4, 6}, []int{e.Items[0].Index, e.Items[1].Index, e.Items[2].Index})
	assert.Equal(t, []string{"insert", "update one", "insert"}, []string{e.Items[0].Op, e.Items[1].Op, e.Items[2].Op})
	assert.Equal(t, 11000, e.Items[0].Code)
	assert.Equal(t, 14, e.Items[1].Code)
	assert.Empty(t, e.NotAttempted)
	assert.EqualValues(t, 3, r.Inserted)
	assert.EqualValues(t, 2, r.Deleted)
	var we mongo.WriteError
	require.ErrorAs(t, err, &we)

	orders = ordersIn(t, 4)
	r, err = build(orders).Run(ctx)
	require.ErrorAs(t, err, &e)
	require.Len(t, e.Items, 1)
	assert.Equal(t, 2, e.Items[0].Index)
	assert.Equal(t, []int{3, 4, 5, 6, 7}, e.NotAttempted)
	assert.EqualValues(t, 1, r.Inserted)
	assert.Equal(t, r, e.Result)
	n, err := orders.Find().Count(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 4, n)
}

func TestBulkTooLargeDocumentFailsAlone(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders := ordersIn(t, 0)
	big := Order{ID: "big", Region: strings.Repeat("x", 17<<20)}
	r, err := orders.Bulk().Unordered().Insert(Order{ID: "a"}, big, Order{ID: "b"}).Run(ctx)
	var e *query.BulkError
	require.ErrorAs(t, err, &e)
	require.Len(t, e.Items, 1, "%v", err)
	assert.Equal(t, 1, e.Items[0].Index)
	assert.Empty(t, e.Unknown)
	assert.EqualValues(t, 2, r.Inserted)
}

func TestBulkMistakesSendNothing(t *testing.T) {
	t.Parallel()
	orders, sent := watched(t, 1)
	_, err := orders.Bulk().Insert(Order{ID: "x"}).UpdateOne(query.Eq("$a", 1), query.Set("b", 1)).UpdateMany(query.And(), query.Set("b", 1)).
		Replace(query.Eq("", 1), Order{}).DeleteOne(query.Eq("$a", 1)).DeleteMany(query.Filter{}).UpdateOne(orderID.Eq("x"), query.Update{}).Run(t.Context())
	require.ErrorIs(t, err, query.ErrInvalid)
	for _, part := range []string{"write 1", "write 2", "write 3", "write 4", "write 5", "write 6", "query.Everything()"} {
		require.ErrorContains(t, err, part)
	}
	assert.Empty(t, sent.named("insert"))
}

func TestBulkAfterTheContextEnded(t *testing.T) {
	t.Parallel()
	orders := ordersIn(t, 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := orders.Bulk().Insert(someOrders(3)...).Run(ctx)
	var e *query.BulkError
	require.ErrorAs(t, err, &e)
	assert.Equal(t, []int{0, 1, 2}, e.NotAttempted)
	require.ErrorIs(t, err, context.Canceled)
	require.NotErrorIs(t, err, query.ErrOutcomeUnknown)
}

func TestWrites(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders := ordersIn(t, 6)
	id, err := orders.InsertOne(ctx, Order{ID: "x"})
	require.NoError(t, err)
	assert.Equal(t, "x", id)

	r, err := orders.UpdateOne(ctx, orderID.Eq("x"), orderStatus.Set("paid").With(orderTotal.Inc(5)))
	require.NoError(t, err)
	assert.Equal(t, query.UpdateResult{Matched: 1, Modified: 1}, r)
	r, err = orders.UpdateMany(ctx, query.Everything(), orderRegion.Set("west"), query.UpdateOptions{Comment: "all", Hint: "_id_", Collation: &options.Collation{Locale: "simple"}})
	require.NoError(t, err)
	assert.EqualValues(t, 7, r.Matched)
	r, err = orders.ReplaceOne(ctx, orderID.Eq("y"), Order{ID: "y"}, query.UpdateOptions{Upsert: true})
	require.NoError(t, err)
	assert.Equal(t, "y", r.UpsertedID)

	_, err = orders.UpdateMany(ctx, query.Filter{}, orderRegion.Set("x"))
	require.ErrorIs(t, err, query.ErrInvalid)
	_, err = orders.DeleteMany(ctx, query.And())
	require.ErrorIs(t, err, query.ErrInvalid)
	_, err = orders.UpdateOne(ctx, query.Eq("$x", 1), query.Update{})
	require.ErrorContains(t, err, "$x")
	require.ErrorContains(t, err, "changes nothing")

	o, err := orders.Find(orderRegion.Eq("west")).Sort(orderTotal.Desc()).FindAndUpdate(ctx, orderStatus.Set("top"), query.After)
	require.NoError(t, err)
	assert.Equal(t, Status("top"), o.Status)
	assert.Equal(t, "o005", o.ID)
	o, err = orders.Find(orderID.Eq("o005")).Project(query.Include("status")).FindAndUpdate(ctx, orderStatus.Set("was top"), query.Before)
	require.NoError(t, err)
	assert.Equal(t, Order{ID: "o005", Status: "top"}, o)
	o, err = orders.Find().Sort(orderTotal.Desc()).FindAndDelete(ctx)
	require.NoError(t, err)
	assert.Equal(t, "o005", o.ID)
	_, err = orders.Find(orderID.Eq("none")).FindAndUpdate(ctx, orderStatus.Set("x"), query.After)
	require.ErrorIs(t, err, query.ErrNotFound)
	_, err = orders.Find(orderID.Eq("none")).FindAndDelete(ctx)
	require.ErrorIs(t, err, query.ErrNotFound)

	done, err := orders.DeleteOne(ctx, orderID.Eq("x"))
	require.NoError(t, err)
	assert.True(t, done)
	done, err = orders.DeleteOne(ctx, orderID.Eq("x"))
	require.NoError(t, err)
	assert.False(t, done)
	n, err := orders.DeleteMany(ctx, query.Everything())
	require.NoError(t, err)
	assert.EqualValues(t, 6, n)
}

func TestUpdateMistakes(t *testing.T) {
	t.Parallel()
	for name, u := range map[string]query.Update{
		"empty": {}, "operator name": query.Set("$set", 1), "same twice": query.Set("a", 1).Set("a", 2), "inside": query.Set("a", 1).Unset("a.b"),
		"around": query.Inc("a.b", 1).Set("a", 1), "rename onto": query.Update{}.Rename("a", "b").Set("b", 1), "rename inside": query.Update{}.Rename("a", "a.b"), "rename bad": query.Update{}.Rename("a", "$b"),
		"not a number": query.Inc("a", "1"), "no definition": query.Set("a.$[x].b", 1), "not used": query.Set("a", 1).Where("x", query.Eq("b", 1)), "no conditions": query.Set("a.$[x]", 1).Where("x"),
		"bad identifier": query.Set("a.$[x]", 1).Where("X", query.Eq("b", 1)), "twice defined": query.Set("a.$[x]", 1).Where("x", query.Eq("b", 1)).Where("x", query.Eq("c", 1)),
		"filter as value": query.Set("a", query.Eq("b", 1)), "both kinds": query.Compute(namedOne).Set("a", 1), "empty pipeline": query.UpdateByPipeline(query.Pipe()),
		"wrong stage": query.UpdateByPipeline(query.Match(query.Eq("a", 1))), "sorts twice": query.Update{}.PushWith("a", query.PushOptions{Sort: []query.SortKey{query.Asc("b")}, SortElements: 1}, 1),
		"sort direction": query.Update{}.PushWith("a", query.PushOptions{SortElements: 2}, 1), "bad condition": query.Update{}.PullWhere("a", query.Eq("$x", 1)), "no condition": query.Update{}.PullWhere("a"),
	} {
		_, err := u.Build()
		require.ErrorIs(t, err, query.ErrInvalid, name)
	}
	base := query.Set("a", 1)
	left, right := base.Set("b", 2), base.Set("c", 3)
	l, err := left.Build()
	require.NoError(t, err)
	r, err := right.Build()
	require.NoError(t, err)
	assert.NotEqual(t, l, r)
	assert.Equal(t, bson.D{{Key: "$set", Value: bson.D{{Key: "a", Value: 1}, {Key: "b", Value: 2}}}}, l)
}

func TestDocument(t *testing.T) {
	t.Parallel()
	d, err := query.Doc().Field("a", 1).Nested("n", query.Doc().Field("b", "$x")).Array("l", 1, query.Doc().Field("c", true), bson.M{"z": 1, "y": 2}).
		FieldIf(false, "no", 1).FieldIf(true, "yes", 1).Build()
	require.NoError(t, err)
	assert.Equal(t, bson.D{
		{Key: "a", Value: 1},
		{Key: "n", Value: bson.D{{Key: "b", Value: "$x"}}},
		{Key: "l", Value: bson.A{1, bson.D{{Key: "c", Value: true}}, bson.D{{Key: "y", Value: 2}, {Key: "z", Value: 1}}}},
		{Key: "yes", Value: 1},
	}, d)
	_, err = query.Doc().Field("$a", 1).Field("b.c", 1).Field("d", 1).Field("d", 2).Nested("n", query.Doc().Field("", 1)).Array("l", query.Doc().Field("\x00", 1)).Field("f", func() {}).Build()
	require.ErrorIs(t, err, query.ErrInvalid)
	for _, part := range []string{`"$a"`, "dot", "twice", "empty", "NUL", "func"} {
		require.ErrorContains(t, err, part)
	}
	base := query.Doc().Field("a", 1)
	_ = base.Field("b", 2)
	again, err := base.Field("c", 3).Build()
	require.NoError(t, err)
	assert.Equal(t, bson.D{{Key: "a", Value: 1}, {Key: "c", Value: 3}}, again)
}

func uniqueIndex() *options.IndexOptionsBuilder { return options.Index().SetUnique(true) }
