package mongosim_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/simstore/mongosim"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
)

// TestRecordedCases asks the questions that a MongoDB 4.4.6 server was asked, through the real
// driver, and compares the answers.
func TestRecordedCases(t *testing.T) {
	t.Parallel()
	for _, group := range []string{"filter", "find", "update", "pipeline", "expr"} {
		t.Run(group, func(t *testing.T) {
			t.Parallel()
			o := newOracle(t)
			differ := 0
			cases := mqltest.Cases(t, group)
			for _, c := range cases {
				got := o.answer(c)
				if got.agrees(c) {
					continue
				}
				if differ++; differ <= 20 {
					t.Errorf("%s\n  want %s\n  got  %s", c.ID, describe(c.Want, c.N, c.NMod, c.Error), describe(got.docs, got.n, got.nMod, got.failed))
				}
			}
			t.Logf("%d of %d as recorded", len(cases)-differ, len(cases))
		})
	}
}

// TestRecordedFiltersWithIndexes asks the filters again with indexes that the planner must use: they must not
// change an answer.
func TestRecordedFiltersWithIndexes(t *testing.T) {
	t.Parallel()
	for _, keys := range []bson.D{
		{{Key: "a", Value: 1}},
		{{Key: "b", Value: -1}},
		{{Key: "a.c", Value: 1}},
		{{Key: "b.c", Value: 1}},
		{{Key: "b.d", Value: 1}},
		{{Key: "n", Value: 1}, {Key: "s", Value: -1}},
		{{Key: "s", Value: 1}, {Key: "a", Value: 1}},
		{{Key: "n", Value: -1}, {Key: "b", Value: 1}},
		{{Key: "b.0", Value: 1}},
	} {
		t.Run(fmt.Sprint(keys), func(t *testing.T) {
			t.Parallel()
			o := newOracle(t)
			o.hint = keys
			for name := range mqltest.Datasets(t) {
				_, err := o.db.Collection(name).Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: keys})
				require.NoError(t, err)
			}
			for _, c := range mqltest.Cases(t, "filter") {
				if got := o.answer(c); !got.agrees(c) {
					t.Errorf("%s %v\n  want %s\n  got  %s", c.ID, c.Filter, describe(c.Want, 0, 0, c.Error), describe(got.docs, 0, 0, got.failed))
				}
			}
		})
	}
}

// An oracle asks a simulated server the recorded questions.
type oracle struct {
	t  testing.TB
	db *mongo.Database
	// hint forces the index of filters.
	hint bson.D
}

func newOracle(t testing.TB) *oracle {
	t.Helper()
	o := &oracle{t: t, db: mongosim.Start(t).Client(t).Database("oracle")}
	for name, docs := range mqltest.Datasets(t) {
		insert := make([]any, len(docs))
		for i, d := range docs {
			insert[i] = d
		}
		_, err := o.db.Collection(name).InsertMany(t.Context(), insert)
		require.NoError(t, err)
	}
	return o
}

type oracleAnswer struct {
	docs    []bson.RawValue
	n, nMod int32
	failed  *mqltest.Failed
}

func (a oracleAnswer) agrees(c mqltest.Case) bool {
	if (a.failed == nil) != (c.Error == nil) {
		return false
	}
	if c.Error != nil {
		return a.failed.Code == c.Error.Code
	}
	want, got := texts(c.Want), texts(a.docs)
	if c.Unordered {
		slices.Sort(want)
		slices.Sort(got)
	}
	return a.n == c.N && a.nMod == c.NMod && slices.Equal(want, got)
}

func texts(vs []bson.RawValue) []string {
	out := make([]string, len(vs))
	for i, v := range vs {
		out[i] = mqltest.Canonical(v)
	}
	return out
}

func describe(docs []bson.RawValue, n, nMod int32, failed *mqltest.Failed) string {
	if failed != nil {
		return bson.D{{Key: "code", Value: failed.Code}, {Key: "name", Value: failed.Name}}.String()
	}
	s := bson.D{{Key: "n", Value: n}, {Key: "nModified", Value: nMod}}.String()
	for _, d := range texts(docs) {
		s += " " + d
	}
	return s[:min(len(s), 800)]
}

func (o *oracle) answer(c mqltest.Case) oracleAnswer {
	ctx := o.t.Context()
	var a oracleAnswer
	var err error
	if c.Kind == "update" {
		a, err = o.update(ctx, c)
	} else {
		a, err = o.read(ctx, c)
	}
	var ce mongo.CommandError
	var we mongo.WriteException
	switch {
	case err == nil:
	case errors.As(err, &ce):
		return oracleAnswer{failed: &mqltest.Failed{Code: ce.Code, Name: ce.Name}}
	case errors.As(err, &we) && len(we.WriteErrors) > 0:
		return oracleAnswer{failed: &mqltest.Failed{Code: int32(we.WriteErrors[0].Code)}}
	default:
		o.t.Fatalf("%s: %v", c.ID, err)
	}
	return a
}

func (o *oracle) read(ctx context.Context, c mqltest.Case) (oracleAnswer, error) {
	var cmd bson.D
	add := func(key string, v any) { cmd = append(cmd, bson.E{Key: key, Value: v}) }
	switch c.Kind {
	case "filter":
		add("find", c.Dataset)
		add("filter", c.Filter)
		add("sort", bson.D{{Key: "_id", Value: 1}})
		add("projection", bson.D{{Key: "_id", Value: 1}})
		if o.hint != nil {
			add("hint", o.hint)
		}
	case "find":
		add("find", c.Dataset)
		add("filter", orEmpty(c.Filter))
		if c.Sort != nil {
			add("sort", c.Sort)
		}
		if c.Projection != nil {
			add("projection", c.Projection)
		}
		if c.Skip > 0 {
			add("skip", c.Skip)
		}
		if c.Limit > 0 {
			add("limit", c.Limit)
		}
	default:
		add("aggregate", c.Dataset)
		add("pipeline", append([]bson.Raw{}, c.Pipeline...))
		add("cursor", bson.D{})
	}
	cur, err := o.db.RunCommandCursor(ctx, cmd)
	if err != nil {
		return oracleAnswer{}, err
	}
	return o.collect(ctx, cur, c.Kind == "filter")
}

func (o *oracle) collect(ctx context.Context, cur *mongo.Cursor, idOnly bool) (oracleAnswer, error) {
	var docs []bson.Raw
	if err := cur.All(ctx, &docs); err != nil {
		return oracleAnswer{}, err
	}
	var a oracleAnswer
	for _, d := range docs {
		v := bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: d}
		if idOnly {
			v = d.Lookup("_id")
		}
		a.docs = append(a.docs, v)
	}
	return a, nil
}

func (o *oracle) update(ctx context.Context, c mqltest.Case) (oracleAnswer, error) {
	coll := o.db.Collection("updates")
	if _, err := coll.DeleteMany(ctx, bson.D{}); err != nil {
		return oracleAnswer{}, err
	}
	if c.Doc != nil {
		if _, err := coll.InsertOne(ctx, c.Doc); err != nil {
			return oracleAnswer{}, err
		}
	}
	u := bson.D{{Key: "q", Value: orEmpty(c.Filter)}, {Key: "u", Value: c.Update}, {Key: "upsert", Value: c.Upsert}}
	if c.ArrayFilters != nil {
		u = append(u, bson.E{Key: "arrayFilters", Value: c.ArrayFilters})
	}
	var reply struct {
		N         int32 `bson:"n"`
		NModified int32 `bson:"nModified"`
	}
	if err := o.db.RunCommand(ctx, bson.D{{Key: "update", Value: "updates"}, {Key: "updates", Value: bson.A{u}}}).Decode(&reply); err != nil {
		return oracleAnswer{}, err
	}
	cur, err := coll.Find(ctx, bson.D{})
	if err != nil {
		return oracleAnswer{}, err
	}
	a, err := o.collect(ctx, cur, false)
	a.n, a.nMod = reply.N, reply.NModified
	return a, err
}

func orEmpty(d bson.Raw) any {
	if d == nil {
		return bson.D{}
	}
	return d
}
