package query_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query"
)

func testCursors(t testing.TB) *query.Cursors {
	t.Helper()
	c, err := query.NewCursors(query.CursorsConfig{Key: bytes.Repeat([]byte("k"), query.MinKeyLength)})
	require.NoError(t, err)
	return c
}

func TestOffsetPages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders, sent := watched(t, 23)
	find := orders.Find(orderTotal.Gte(20)).Sort(orderTotal.Desc(), orderID.Asc()).Project(query.Include("total"))

	for _, total := range []query.Total{query.TotalExact, query.TotalEstimated, query.TotalNone} {
		p, err := find.Page(ctx, query.PageRequest{Page: 2, PageSize: 10, Total: total})
		require.NoError(t, err)
		assert.Len(t, p.Items, 10)
		assert.EqualValues(t, 120, p.Items[0].Total)
		assert.True(t, p.HasNext)
		assert.True(t, p.HasPrev)
		if total == query.TotalNone {
			assert.Nil(t, p.Total)
		} else {
			assert.EqualValues(t, 21, *p.Total)
		}
		assert.False(t, p.TotalEstimated)
	}
	sent.named("")
	p, err := find.Page(ctx, query.PageRequest{Page: 3, PageSize: 10})
	require.NoError(t, err)
	assert.Len(t, p.Items, 1)
	assert.False(t, p.HasNext)
	assert.True(t, p.HasPrev)
	assert.Len(t, sent.named("aggregate"), 1, "items and total come in one round trip")

	p, err = find.Page(ctx, query.PageRequest{Page: 9, PageSize: 10})
	require.NoError(t, err)
	assert.Equal(t, []Order{}, p.Items)
	assert.EqualValues(t, 21, *p.Total)
	assert.False(t, p.HasNext)

	p, err = find.Filter(query.Nothing()).Page(ctx, query.PageRequest{})
	require.NoError(t, err)
	assert.JSONEq(t, `{"items":[],"total":0,"page":1,"page_size":20,"has_next":false,"has_prev":false}`, jsonOf(t, p))

	p, err = orders.Find().Page(ctx, query.PageRequest{Total: query.TotalEstimated})
	require.NoError(t, err)
	assert.EqualValues(t, 23, *p.Total)
	assert.True(t, p.TotalEstimated)

	// A projection that a pipeline doesn't know goes the other way and gives the same.
	p, err = find.Project(query.Include("lines").Slice("tags", 1)).Page(ctx, query.PageRequest{PageSize: 5})
	require.NoError(t, err)
	assert.EqualValues(t, 21, *p.Total)
	assert.Len(t, p.Items, 5)

	for _, r := range []query.PageRequest{{Page: -1}, {PageSize: -1}, {PageSize: query.MaxPageSize + 1}, {Page: 1 << 62}, {Total: 9}} {
		_, err = find.Page(ctx, r)
		require.ErrorIs(t, err, query.ErrInvalid)
	}
	_, err = find.Limit(3).Page(ctx, query.PageRequest{})
	require.ErrorIs(t, err, query.ErrInvalid)
}

func TestKeysetPages(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders := ordersIn(t, 23)
	find := orders.Find(orderTotal.Gte(20)).Sort(orderRegion.Asc(), orderTotal.Desc())
	want, err := find.All(ctx)
	require.NoError(t, err)
	k := query.Keyset{Cursors: testCursors(t), Size: 10}

	var got []Order
	var pages []query.KeysetPage[Order]
	for {
		p, err := find.Keyset(ctx, k)
		require.NoError(t, err)
		got, pages = append(got, p.Items...), append(pages, p)
		assert.Equal(t, p.HasNext, p.Next != "")
		assert.Equal(t, p.HasPrev, p.Prev != "")
		if !p.HasNext {
			break
		}
		k.Cursor = p.Next
	}
	assert.Equal(t, idsOf(want), idsOf(got))
	require.Len(t, pages, 3)

	// And back.
	k.Cursor = pages[2].Prev
	p, err := find.Keyset(ctx, k)
	require.NoError(t, err)
	assert.Equal(t, idsOf(pages[1].Items), idsOf(p.Items))
	assert.True(t, p.HasNext)
	k.Cursor = p.Prev
	p, err = find.Keyset(ctx, k)
	require.NoError(t, err)
	assert.Equal(t, idsOf(pages[0].Items), idsOf(p.Items))
	assert.False(t, p.HasPrev)
	assert.Empty(t, p.Prev)

	// The page size may change on the way.
	k.Cursor, k.Size = pages[0].Next, 3
	p, err = find.Keyset(ctx, k)
	require.NoError(t, err)
	assert.Equal(t, idsOf(want[10:13]), idsOf(p.Items))

	empty, err := find.Filter(query.Nothing()).Keyset(ctx, query.Keyset{Cursors: k.Cursors})
	require.NoError(t, err)
	assert.JSONEq(t, `{"items":[],"page_size":20,"has_next":false,"has_prev":false}`, jsonOf(t, empty))
}

// TestKeysetBackFromAnEmptyPage: all that lay ahead has been deleted, and then
// even the document at the cursor.
func TestKeysetBackFromAnEmptyPage(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders := ordersIn(t, 6)
	find := orders.Find().Sort(orderTotal.Asc())
	k := query.Keyset{Cursors: testCursors(t), Size: 3}
	first, err := find.Keyset(ctx, k)
	require.NoError(t, err)
	_, err = orders.DeleteMany(ctx, orderTotal.Gte(30))
	require.NoError(t, err)

	k.Cursor = first.Next
	nothing, err := find.Keyset(ctx, k)
	require.NoError(t, err)
	assert.Empty(t, nothing.Items)
	assert.False(t, nothing.HasNext)
	assert.True(t, nothing.HasPrev)

	k.Cursor = nothing.Prev
	back, err := find.Keyset(ctx, k)
	require.NoError(t, err)
	assert.Equal(t, []string{"o000", "o001", "o002"}, idsOf(back.Items), "the document at the cursor belongs to the page before")

	_, err = orders.DeleteMany(ctx, query.Everything())
	require.NoError(t, err)
	back, err = find.Keyset(ctx, k)
	require.NoError(t, err)
	assert.Empty(t, back.Items)
	k.Cursor = back.Next
	_, err = find.Keyset(ctx, k)
	require.NoError(t, err)
}

func TestKeysetProjection(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders := ordersIn(t, 5)
	find := orders.Find().Sort(orderTotal.Desc())
	k := query.Keyset{Cursors: testCursors(t), Size: 2}

	p, err := find.Project(query.Include("status")).Keyset(ctx, k)
	require.NoError(t, err)
	k.Cursor = p.Next
	p, err = find.Project(query.Include("status")).Keyset(ctx, k)
	require.NoError(t, err)
	assert.Equal(t, []string{"o002", "o001"}, idsOf(p.Items))
	assert.Empty(t, p.Items[0].Region)

	for _, projection := range []query.Projection{query.Exclude("total"), query.Include("status").NoID(), query.Include("total.x"), query.Include("a").Compute("total", 1)} {
		_, err = find.Project(projection).Keyset(ctx, query.Keyset{Cursors: k.Cursors})
		require.ErrorIs(t, err, query.ErrInvalid)
	}
	_, err = find.Project(query.Exclude("region")).Keyset(ctx, query.Keyset{Cursors: k.Cursors})
	require.NoError(t, err)
}

func TestKeysetRefuses(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := dbForTest(t)
	orders := ordersInDB(t, db, 8)
	find := orders.Find().Sort(orderTotal.Asc())
	cursors := testCursors(t)
	for _, bad := range []query.Keyset{{}, {Cursors: cursors, Size: -1}, {Cursors: cursors, Size: query.MaxPageSize + 1}} {
		_, err := find.Keyset(ctx, bad)
		require.ErrorIs(t, err, query.ErrInvalid)
	}
	_, err := find.Skip(1).Keyset(ctx, query.Keyset{Cursors: cursors})
	require.ErrorIs(t, err, query.ErrInvalid)
	_, err = find.Sort(query.ByTextScore()).Keyset(ctx, query.Keyset{Cursors: cursors})
	require.ErrorIs(t, err, query.ErrInvalid)

	p, err := find.Keyset(ctx, query.Keyset{Cursors: cursors, Size: 2})
	require.NoError(t, err)
	other, err := query.NewCursors(query.CursorsConfig{Key: bytes.Repeat([]byte("x"), 40)})
	require.NoError(t, err)
	for name, c := range map[string]struct {
		find    query.Find[Order]
		cursors *query.Cursors
		cursor  string
	}{
		"another filter":     {find.Filter(orderTotal.Gt(0)), cursors, p.Next},
		"another order":      {find.Sort(orderTotal.Desc()), cursors, p.Next},
		"more keys":          {find.Sort(orderTotal.Asc(), orderRegion.Asc()), cursors, p.Next},
		"another collection": {query.From[Order](db.Collection("others")).Find().Sort(orderTotal.Asc()), cursors, p.Next},
		"another key":        {find, other, p.Next},
		"cut off":            {find, cursors, p.Next[:len(p.Next)-1]},
		"padded":             {find, cursors, p.Next + "="},
		"garbage":            {find, cursors, "garbage"},
		"too long":           {find, cursors, string(bytes.Repeat([]byte("A"), query.MaxCursorLength+1))},
	} {
		_, err := c.find.Keyset(ctx, query.Keyset{Cursors: c.cursors, Cursor: c.cursor})
		require.ErrorIs(t, err, query.ErrCursor, name)
	}
	// Every changed character is noticed.
	for i := range p.Next {
		forged := []byte(p.Next)
		forged[i] ^= 1
		_, err := find.Keyset(ctx, query.Keyset{Cursors: cursors, Cursor: string(forged)})
		require.ErrorIs(t, err, query.ErrCursor, "character %d", i)
	}
}

func TestCursorKeysAndLifetime(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders := ordersIn(t, 8)
	oldKey, newKey := bytes.Repeat([]byte("o"), 32), bytes.Repeat([]byte("n"), 32)
	now := start
	clock := func() time.Time { return now }
	before, err := query.NewCursors(query.CursorsConfig{Key: oldKey, Lifetime: time.Hour, Now: clock})
	require.NoError(t, err)
	after, err := query.NewCursors(query.CursorsConfig{Key: newKey, PreviousKeys: [][]byte{oldKey}, Lifetime: time.Hour, Now: clock})
	require.NoError(t, err)

	find := orders.Find().Sort(orderTotal.Asc())
	p, err := find.Keyset(ctx, query.Keyset{Cursors: before, Size: 3})
	require.NoError(t, err)
	_, err = find.Keyset(ctx, query.Keyset{Cursors: after, Cursor: p.Next})
	require.NoError(t, err, "a cursor of the previous key is good")
	now = now.Add(time.Hour)
	_, err = find.Keyset(ctx, query.Keyset{Cursors: after, Cursor: p.Next})
	require.ErrorIs(t, err, query.ErrCursor)
	require.ErrorContains(t, err, "expired")

	for _, c := range []query.CursorsConfig{{}, {Key: make([]byte, 31)}, {Key: newKey, PreviousKeys: [][]byte{{1}}}, {Key: newKey, Lifetime: -1}} {
		_, err := query.NewCursors(c)
		require.ErrorIs(t, err, query.ErrInvalid)
	}

	// A filter that moves on by itself is bound by a scope of the caller's.
	moving := func() query.Find[Order] {
		now = now.Add(time.Second)
		return find.Filter(orderPlacedAt.Lt(now.AddDate(1, 0, 0)))
	}
	p, err = moving().Keyset(ctx, query.Keyset{Cursors: after, Size: 3, Scope: "recent"})
	require.NoError(t, err)
	_, err = moving().Keyset(ctx, query.Keyset{Cursors: after, Cursor: p.Next, Scope: "recent"})
	require.NoError(t, err)
	_, err = moving().Keyset(ctx, query.Keyset{Cursors: after, Cursor: p.Next, Scope: "other"})
	require.ErrorIs(t, err, query.ErrCursor)
}

func TestKeysetRefusesValuesWithoutAPlace(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	for name, value := range map[string]any{
		"array": bson.A{1, 2}, "empty array": bson.A{}, "regex": bson.Regex{Pattern: "x"}, "code": bson.JavaScript("x"), "undefined": bson.Undefined{},
	} {
		coll := query.From[bson.Raw](dbForTest(t).Collection("odd"))
		_, err := coll.Mongo().InsertMany(ctx, []any{bson.D{{Key: "_id", Value: 1}, {Key: "k", Value: value}}, bson.D{{Key: "_id", Value: 2}, {Key: "k", Value: 5}}})
		require.NoError(t, err)
		for _, sort := range []query.SortKey{query.Asc("k"), query.Asc("k.x")} {
			_, err = coll.Find().Sort(sort).Keyset(ctx, query.Keyset{Cursors: testCursors(t)})
			if sort.Path() == "k.x" && name != "array" && name != "empty array" {
				require.NoError(t, err, name)
				continue
			}
			require.Error(t, err, name)
			require.ErrorContains(t, err, "sort key", name)
		}
	}
	// A key that doesn't fit into a cursor.
	coll := query.From[bson.Raw](dbForTest(t).Collection("long"))
	for i := range 3 {
		_, err := coll.InsertOne(ctx, must2(bson.Marshal(bson.D{{Key: "k", Value: string(bytes.Repeat([]byte("x"), 10_000))}, {Key: "i", Value: i}})))
		require.NoError(t, err)
	}
	_, err := coll.Find().Sort(query.Asc("k")).Keyset(ctx, query.Keyset{Cursors: testCursors(t), Size: 1})
	require.ErrorContains(t, err, "too long")
}

func must2(b []byte, err error) bson.Raw {
	if err != nil {
		panic(err)
	}
	return b
}
