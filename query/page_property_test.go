package query_test

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/annals-es/annals/query"
)

// sortable draws a value of any type that can be a sort key, often equal to an
// earlier one; the second result is false for a missing field.
func sortable() *rapid.Generator[any] {
	missing := any(missingField{})
	decimal, _ := bson.ParseDecimal128("1.5")
	nan, _ := bson.ParseDecimal128("NaN")
	pool := []any{
		missing, missing, nil, nil,
		bson.MinKey{},
		bson.MaxKey{},
		math.NaN(), nan, math.Inf(1), math.Inf(-1), 0.0, math.Copysign(0, -1), int32(1), int64(1), 1.0, 1.5, decimal, int64(math.MaxInt64), float64(math.MaxInt64),
		int32(-3), "", "a", "b", "ä", bson.Symbol("a"),
		bson.D{},
		bson.D{{Key: "a", Value: 1}},
		bson.D{{Key: "$gt", Value: 1}},
		bson.D{{Key: "b", Value: nil}},
		bson.Binary{Data: []byte{1}},
		bson.Binary{Subtype: 4, Data: make([]byte, 16)},
		bson.Binary{Data: []byte{1, 2}},
		bson.ObjectID{1},
		bson.ObjectID{2},
		false, true, time.UnixMilli(0).UTC(), time.UnixMilli(-5).UTC(),
		bson.Timestamp{T: 1, I: 2},
		bson.Timestamp{T: 1, I: 1},
	}
	return rapid.SampledFrom(pool)
}

type missingField struct{}

func drawDocument(t *rapid.T, id any) bson.D {
	d := bson.D{{Key: "_id", Value: id}}
	for _, key := range []string{"a", "b"} {
		if v := sortable().Draw(t, key); v != any(missingField{}) {
			d = append(d, bson.E{Key: key, Value: v})
		}
	}
	if v := sortable().Draw(t, "n.x"); v != any(missingField{}) {
		d = append(d, bson.E{Key: "n", Value: bson.D{{Key: "x", Value: v}}})
	}
	return append(d, bson.E{Key: "keep", Value: rapid.Bool().Draw(t, "keep")})
}

func drawSort(t *rapid.T) []query.SortKey {
	paths := rapid.Permutation([]string{"a", "b", "n.x", "_id"}).Draw(t, "paths")
	var keys []query.SortKey
	for _, p := range paths[:rapid.IntRange(0, 4).Draw(t, "keys")] {
		if rapid.Bool().Draw(t, "descending") {
			keys = append(keys, query.Desc(p))
		} else {
			keys = append(keys, query.Asc(p))
		}
	}
	return keys
}

// TestKeysetPagesEqualTheSortedList: random documents of all types, random
// orders; the pages forward and backward are the sorted list cut up, also while other
// documents come and go.
func TestKeysetPagesEqualTheSortedList(t *testing.T) {
	t.Parallel()
	db := dbForTest(t)
	cursors := testCursors(t)
	run := 0
	rapid.Check(t, func(rt *rapid.T) {
		run++
		coll := query.From[bson.Raw](db.Collection(fmt.Sprintf("docs%d", run)))
		ctx := t.Context()
		ids := []any{1, 2, 2.5, "a", "b", bson.ObjectID{1}, bson.ObjectID{2}, true, bson.D{{Key: "x", Value: 1}}, time.UnixMilli(7), int64(9), "c", 11, 12, 13, 14, 15}
		n := rapid.IntRange(0, len(ids)).Draw(rt, "documents")
		var docs []any
		for _, id := range ids[:n] {
			docs = append(docs, drawDocument(rt, id))
		}
		if n > 0 {
			_, err := coll.Mongo().InsertMany(ctx, docs)
			require.NoError(rt, err)
		}
		find := coll.Find().Sort(drawSort(rt)...)
		if rapid.Bool().Draw(rt, "filtered") {
			find = find.Filter(query.Eq("keep", true))
		}
		size := rapid.IntRange(1, 5).Draw(rt, "size")

		// What is there from the start to the end; strangers come and go.
		complete, err := withTieBreak(find).All(ctx)
		require.NoError(rt, err)
		want := rawIDs(complete)
		strangers := 0
		disturb := func() {
			if !rapid.Bool().Draw(rt, "disturb") {
				return
			}
			if strangers > 0 && rapid.Bool().Draw(rt, "remove") {
				_, err := coll.DeleteMany(ctx, query.Eq("stranger", true))
				require.NoError(rt, err)
				strangers = 0
				return
			}
			strangers++
			d := append(drawDocument(rt, fmt.Sprintf("stranger%d", strangers)), bson.E{Key: "stranger", Value: true})
			_, err := coll.Mongo().InsertOne(ctx, d)
			require.NoError(rt, err)
		}

		k := query.Keyset{Cursors: cursors, Size: size}
		var forward []string
		last := query.KeysetPage[bson.Raw]{}
		for pages := 0; ; pages++ {
			require.Less(rt, pages, 60)
			page, err := find.Keyset(ctx, k)
			require.NoError(rt, err)
			require.LessOrEqual(rt, len(page.Items), size)
			forward = append(forward, rawIDs(own(page.Items))...)
			last = page
			if !page.HasNext {
				break
			}
			require.Len(rt, page.Items, size)
			k.Cursor = page.Next
			disturb()
		}
		require.Equal(rt, want, forward, "forward")

		// Back from the last page; its own items first.
		backward := rawIDs(own(last.Items))
		slices.Reverse(backward)
		for pages := 0; last.HasPrev; pages++ {
			require.Less(rt, pages, 60)
			k.Cursor = last.Prev
			page, err := find.Keyset(ctx, k)
			require.NoError(rt, err)
			items := rawIDs(own(page.Items))
			slices.Reverse(items)
			backward = append(backward, items...)
			last = page
			disturb()
		}
		slices.Reverse(backward)
		require.Equal(rt, want, backward, "backward")
		require.NoError(rt, coll.Mongo().Drop(ctx))
	})
}

// withTieBreak sorts as pages do.
func withTieBreak(f query.Find[bson.Raw]) query.Find[bson.Raw] {
	_, _, sort, err := f.Build()
	if err != nil {
		panic(err)
	}
	var keys []query.SortKey
	for _, e := range sort {
		k := query.Asc(e.Key)
		if e.Value == -1 {
			k = query.Desc(e.Key)
		}
		keys = append(keys, k)
		if e.Key == "_id" {
			return f.Sort(keys...)
		}
	}
	id := query.Asc("_id")
	if len(keys) > 0 && keys[len(keys)-1].Descending() {
		id = query.Desc("_id")
	}
	return f.Sort(append(keys, id)...)
}

// own leaves out the strangers.
func own(docs []bson.Raw) (list []bson.Raw) {
	for _, d := range docs {
		if d.Lookup("stranger").IsZero() {
			list = append(list, d)
		}
	}
	return list
}

func rawIDs(docs []bson.Raw) (ids []string) {
	for _, d := range docs {
		ids = append(ids, d.Lookup("_id").String())
	}
	return ids
}
