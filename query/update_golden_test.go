package query_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/expr"
)

type updateCase struct {
	name   string
	update query.Update
	// id is the order to update.
	id    int
	since int
}

// updateCases has every operator.
func updateCases() []updateCase {
	u := func(name string, id int, up query.Update) updateCase {
		return updateCase{name: name, id: id, update: up}
	}
	return []updateCase{
		u("set", 1, query.Set("status", "sent").Set("customer.name", "Eve")),
		u("set data", 1, query.Set("meta", bson.D{{Key: "a", Value: "$status"}})),
		u("setOnInsert", 1, query.Update{}.SetOnInsert("x", 1)),
		u("unset", 1, query.Unset("status", "customer.vip")),
		u("inc", 1, query.Inc("total", 5).Inc("missing", 1)),
		u("mul", 1, query.Update{}.Mul("total", 2)),
		u("min", 1, query.Update{}.Min("total", 100)),
		u("max", 1, query.Update{}.Max("total", 500)),
		u("rename", 1, query.Update{}.Rename("status", "state")),
		{"currentDate", query.Update{}.CurrentDate("now"), 1, -1},
		{"currentTimestamp", query.Update{}.CurrentTimestamp("now"), 1, -1},
		u("bitAnd", 1, query.Update{}.BitAnd("flags", 4)),
		u("bitOr", 1, query.Update{}.BitOr("flags", 2)),
		u("bitXor", 1, query.Update{}.BitXor("flags", 1)),
		u("push", 1, query.Push("tags", "late")),
		u("push several", 1, query.Push("tags", "a", "b")),
		u("push operator document is data", 1, query.Push("lines", bson.D{{Key: "each", Value: bson.A{1}}})),
		u("push with", 1, query.Update{}.PushWith("scores", query.PushOptions{Position: new(0), Slice: new(2), SortElements: -1}, 99, 1)),
		u("push sorted", 1, query.Update{}.PushWith("lines", query.PushOptions{Sort: []query.SortKey{query.Desc("qty")}, Slice: new(-2)}, bson.D{{Key: "sku", Value: "z"}, {Key: "qty", Value: 9}})),
		u("addToSet", 1, query.AddToSet("tags", "gift")),
		u("addToSet several", 1, query.AddToSet("tags", "gift", "x")),
		u("addToSet document", 1, query.AddToSet("lines", bson.D{{Key: "sku", Value: "n"}})),
		u("pull", 1, query.Pull("tags", "gift")),
		u("pull document is data", 1, query.Pull("scores", bson.D{{Key: "$gt", Value: 0}})),
		u("pullWhere", 1, query.Update{}.PullWhere("lines", query.Gte("qty", 2))),
		u("pullWhere element", 1, query.Update{}.PullWhere("scores", query.Lt(query.Element, 80))),
		u("popFirst", 1, query.Update{}.PopFirst("scores")),
		u("popLast", 1, query.Update{}.PopLast("scores")),
		u("all elements", 1, query.Inc("lines.$[].qty", 1)),
		u("where", 1, query.Set("lines.$[big].discount", 5).Where("big", query.Gte("qty", 2), query.Eq("sku", "b"))),
		u("where element", 1, query.Set("scores.$[low]", 0).Where("low", query.Lt(query.Element, 80))),
		u("where or", 1, query.Inc("lines.$[l].qty", 10).Where("l", query.Or(query.Eq("sku", "a"), query.Gt("qty", 5)))),
		u("compute", 1, query.Compute(expr.As("double", expr.Multiply(expr.Field("total"), 2)), expr.As("text", "$status"))),
		u("pipeline", 1, query.UpdateByPipeline(query.Pipe().Set(expr.As("n", 1)).Unset("lines", "tags"))),
		u("together", 1, query.Set("a", 1).Inc("total", 1).Set("b", 2).Unset("tags")),
	}
}

func TestUpdatesGolden(t *testing.T) {
	t.Parallel()
	g := openGolden(t, "updates.tsv")
	for _, c := range updateCases() {
		d, err := c.update.Build()
		require.NoError(t, err, c.name)
		if filters := c.update.ArrayFilters(); len(filters) > 0 {
			d = bson.D{{Key: "update", Value: d}, {Key: "arrayFilters", Value: filters}}
		}
		g.check(t, c.name, d)
	}
	g.finish(t, true)
}

func TestUpdatesRun(t *testing.T) {
	t.Parallel()
	db := dataset(t)
	g := openGolden(t, "updates.results.tsv")
	orders := query.From[bson.D](db.Collection("orders"))
	original, err := orders.Find(query.Eq("_id", 1)).One(t.Context())
	require.NoError(t, err)
	for _, c := range updateCases() {
		if c.since < 0 {
			continue
		}
		_, err := orders.ReplaceOne(t.Context(), query.Eq("_id", 1), original)
		require.NoError(t, err, c.name)
		r, err := orders.UpdateOne(t.Context(), query.Eq("_id", c.id), c.update)
		require.NoError(t, err, c.name)
		require.EqualValues(t, 1, r.Matched, c.name)
		got, err := orders.Find(query.Eq("_id", c.id)).One(t.Context())
		require.NoError(t, err, c.name)
		g.check(t, c.name, got)
	}
	g.finish(t, false)
}
