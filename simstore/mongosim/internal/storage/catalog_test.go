package storage

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

func names(e *Engine, db string) []string {
	out := []string{}
	for _, c := range e.Collections(nil, db) {
		out = append(out, c.Namespace().Coll)
	}
	return out
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	e := open(t)
	a := collection(t, e, `{"_id":1}`)
	id := a.UUID()
	other := Namespace{"test", "other"}
	_, err := e.InsertMany(t.Context(), Write{}, other, []bson.Raw{raw(t, `{"_id":1}`)}, true)
	require.NoError(t, err)
	require.Equal(t, []string{"c", "other"}, names(e, "test"))
	require.Equal(t, "test", e.Databases()[0].Name)
	require.False(t, e.Databases()[0].Empty)

	requireCode(t, mongoerr.NamespaceExists, e.Rename(t.Context(), ns, other, false))
	requireCode(t, mongoerr.NamespaceNotFound, e.Rename(t.Context(), Namespace{"test", "nope"}, other, true))
	requireCode(t, mongoerr.IllegalOperation, e.Rename(t.Context(), ns, ns, true))
	cur, err := a.Find(t.Context(), View{}, Query{})
	require.NoError(t, err)
	moved := Namespace{"elsewhere", "c2"}
	require.NoError(t, e.Rename(t.Context(), ns, moved, false))
	require.Equal(t, id, e.CollectionByUUID(id).UUID())
	require.Equal(t, moved, a.Namespace())
	_, _, err = cur.Next(t.Context())
	requireCode(t, mongoerr.QueryPlanKilled, err)
	require.Contains(t, err.Error(), "collection renamed from 'test.c' to 'elsewhere.c2'. UUID "+id.String())
	require.NoError(t, e.Rename(t.Context(), moved, other, true))
	require.Equal(t, []string{"other"}, names(e, "test"))
	require.Equal(t, id, e.catalog.get(other).UUID())

	cur, err = a.Find(t.Context(), View{}, Query{})
	require.NoError(t, err)
	existed, err := e.DropDatabase(t.Context(), "test")
	require.NoError(t, err)
	require.True(t, existed)
	require.Empty(t, e.Databases())
	_, _, err = cur.Next(t.Context())
	requireCode(t, mongoerr.QueryPlanKilled, err)
	require.Contains(t, err.Error(), "collection dropped. UUID "+id.String())
	_, err = a.Insert(t.Context(), Write{}, raw(t, `{"_id":2}`))
	requireCode(t, mongoerr.QueryPlanKilled, err)
	existed, err = e.DropDatabase(t.Context(), "test")
	require.NoError(t, err)
	require.False(t, existed)

	var kinds []OpKind
	buf := make([]Entry, 64)
	n, ok := e.Oplog().Read(0, buf)
	require.True(t, ok)
	for i, en := range buf[:n] {
		kinds = append(kinds, en.Op.Kind)
		if i > 0 {
			require.Greater(t, en.Time, buf[i-1].Time)
		}
	}
	require.Equal(t, []OpKind{OpNoop, OpCreate, OpInsert, OpCreate, OpInsert, OpRename, OpRename, OpDrop, OpDropDatabase}, kinds)
}

func TestValidators(t *testing.T) {
	t.Parallel()
	e := open(t)
	opts := CollectionOptions{Validator: raw(t, `{"n":{"$gte":5}}`)}
	c, err := e.Create(t.Context(), nil, ns, opts)
	require.NoError(t, err)
	_, err = c.Insert(t.Context(), Write{}, raw(t, `{"_id":1,"n":1}`))
	requireCode(t, mongoerr.DocumentValidationFailure, err)
	require.Equal(t, "Document failed validation", mongoerr.From(err).Message)
	_, err = c.Insert(t.Context(), Write{BypassValidation: true}, raw(t, `{"_id":1,"n":1}`))
	require.NoError(t, err)
	_, err = c.Insert(t.Context(), Write{}, raw(t, `{"_id":2,"n":5}`))
	require.NoError(t, err)
	update := func(n int32, doc string) error {
		_, err := c.Modify(t.Context(), Write{}, id(t, c, View{}, n), set(t, doc))
		return err
	}
	requireCode(t, mongoerr.DocumentValidationFailure, update(1, `{"_id":1,"n":2}`))
	require.NoError(t, c.SetOptions(t.Context(), func(o *CollectionOptions) error { o.ValidationLevel = LevelModerate; return nil }))
	require.NoError(t, update(1, `{"_id":1,"n":2}`), "it was not valid before")
	requireCode(t, mongoerr.DocumentValidationFailure, update(2, `{"_id":2,"n":2}`))
	require.NoError(t, c.SetOptions(t.Context(), func(o *CollectionOptions) error { o.ValidationAction = ActionWarn; return nil }))
	require.NoError(t, update(2, `{"_id":2,"n":2}`))
	require.Error(t, c.SetOptions(t.Context(), func(o *CollectionOptions) error { o.Validator = raw(t, `{"$nope":1}`); return nil }))
	listed, err := bson.MarshalExtJSON(c.Options().Document(), false, false)
	require.NoError(t, err)
	require.JSONEq(t, `{"validator":{"n":{"$gte":5}},"validationLevel":"moderate","validationAction":"warn"}`, string(listed))
}

func TestCapped(t *testing.T) {
	t.Parallel()
	e := open(t)
	c, err := e.Create(t.Context(), nil, ns, CollectionOptions{Capped: true, Size: 1, MaxCount: 3})
	require.NoError(t, err)
	require.EqualValues(t, 256, c.Options().Size)
	cur, err := c.Find(t.Context(), View{}, Query{Tailable: true})
	require.NoError(t, err)
	slow, err := c.Find(t.Context(), View{}, Query{Tailable: true, Expect: 1})
	require.NoError(t, err)
	tail := func() (out []string) {
		require.NoError(t, cur.Refresh())
		for {
			doc, ok, err := cur.Next(t.Context())
			require.NoError(t, err)
			if !ok {
				return out
			}
			out = append(out, shellValue(doc.Lookup("_id")))
		}
	}
	require.Empty(t, tail())
	for i := range 5 {
		_, err = c.Insert(t.Context(), Write{}, raw(t, fmt.Sprintf(`{"_id":%d}`, i)))
		require.NoError(t, err)
		require.Equal(t, []string{fmt.Sprint(i)}, tail())
		if i == 0 {
			_, ok, err := slow.Next(t.Context())
			require.NoError(t, err)
			require.True(t, ok)
		}
	}
	require.NoError(t, slow.Refresh())
	_, _, err = slow.Next(t.Context())
	requireCode(t, mongoerr.CappedPositionLost, err)
	require.Equal(t, []string{"2", "3", "4"}, find(t, c, View{}, Query{}))
	require.EqualValues(t, 3, c.Stats().Indexes[0].Entries)

	_, err = c.Modify(t.Context(), Write{}, id(t, c, View{}, 2), remove)
	requireCode(t, mongoerr.IllegalOperation, err)
	_, err = c.Modify(t.Context(), Write{}, id(t, c, View{}, 2), set(t, `{"_id":2,"x":1}`))
	requireCode(t, 10003, err)
	_, err = c.Insert(t.Context(), Write{Txn: begin(t, e)}, raw(t, `{"_id":9}`))
	requireCode(t, mongoerr.OperationNotSupportedInTransaction, err)
}

func TestTTL(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_000_000)
	e := open(t, func(c *Config) { c.Clock = func() time.Time { return now } })
	c := collection(t, e,
		`{"_id":1,"at":{"$date":{"$numberLong":"1699999939000"}}}`,
		`{"_id":2,"at":{"$date":{"$numberLong":"1699999941000"}}}`,
		`{"_id":3,"at":"a string"}`, `{"_id":4}`,
		`{"_id":5,"at":[{"$date":{"$numberLong":"1799999941000"}},{"$date":{"$numberLong":"1"}}]}`,
		`{"_id":6,"at":{"$date":{"$numberLong":"1"}}}`)
	index1(t, c, `{"key":{"at":1},"name":"ttl","expireAfterSeconds":60}`)
	tx := begin(t, e)
	_, err := c.Modify(t.Context(), Write{Txn: tx}, id(t, c, View{}, 6), set(t, `{"_id":6}`))
	require.NoError(t, err)
	n, err := e.RunTTL(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []string{"2", "3", "4", "6"}, find(t, c, View{}, Query{}))
	tx.Abort()
	now = now.Add(2 * time.Second)
	n, err = e.RunTTL(t.Context())
	require.NoError(t, err)
	require.Equal(t, 2, n)
	require.Equal(t, []string{"3", "4"}, find(t, c, View{}, Query{}))
}

func TestTTLRunsByItself(t *testing.T) {
	t.Parallel()
	e := open(t, func(c *Config) { c.TTLInterval = time.Millisecond })
	c := collection(t, e, `{"_id":1,"at":{"$date":{"$numberLong":"1"}}}`)
	index1(t, c, `{"key":{"at":1},"name":"ttl","expireAfterSeconds":0}`)
	eventually(t, func() bool { return c.Stats().Count == 0 })
}

func TestClock(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	e := open(t, func(c *Config) { c.Clock = func() time.Time { return now } })
	require.Equal(t, MakeTimestamp(1000, 1), e.LastOp())
	require.Equal(t, MakeTimestamp(1000, 2), e.Tick())
	require.Equal(t, MakeTimestamp(1000, 1), e.LastOp(), "a tick is no operation")
	require.Equal(t, MakeTimestamp(1000, 2), e.ClusterTime())
	now = now.Add(time.Second)
	require.Equal(t, MakeTimestamp(1001, 1), e.Noop("x"))
	e.AdvanceClusterTime(MakeTimestamp(2000, 7))
	e.AdvanceClusterTime(MakeTimestamp(5, 7))
	require.Equal(t, MakeTimestamp(2000, 7), e.ClusterTime())
	require.Equal(t, MakeTimestamp(2000, 8), e.Noop("x"))
	now = time.Unix(1, 0)
	require.Equal(t, MakeTimestamp(2000, 9), e.Noop("a clock that was set back"))

	doc := e.FillTimestamps(raw(t, `{"_id":{"$timestamp":{"t":0,"i":0}},"a":{"$timestamp":{"t":0,"i":0}},"b":{"t":{"$timestamp":{"t":0,"i":0}}},"c":{"$timestamp":{"t":0,"i":1}},"d":{"$timestamp":{"t":0,"i":0}}}`))
	require.Equal(t, `{ _id: Timestamp(0, 0), a: Timestamp(2000, 10), b: { t: Timestamp(0, 0) }, c: Timestamp(0, 1), d: Timestamp(2000, 11) }`, ShellText(doc))
	same := raw(t, `{"_id":1}`)
	require.Equal(t, &same[0], &e.FillTimestamps(same)[0])
}

func TestOplogIsBounded(t *testing.T) {
	t.Parallel()
	for name, configure := range map[string]func(*Config){
		"entries": func(c *Config) { c.OplogMaxEntries = 3000 },
		"bytes":   func(c *Config) { c.OplogMaxBytes = 3000 * (128 + int64(len(raw(t, `{"_id":0}`)))) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			e := open(t, configure)
			start := e.LastOp()
			var times []Timestamp
			c := collection(t, e)
			for i := range 10_000 {
				at, err := c.Insert(t.Context(), Write{}, raw(t, fmt.Sprintf(`{"_id":%d}`, i)))
				require.NoError(t, err)
				times = append(times, at)
			}
			n, _ := e.Oplog().Stats()
			require.Equal(t, 3000, n)
			require.Equal(t, times[7000], e.Oplog().First())
			number, complete := e.Oplog().Seek(times[7000])
			require.True(t, complete)
			buf := make([]Entry, 5000)
			got, ok := e.Oplog().Read(number, buf)
			require.True(t, ok)
			require.Equal(t, 3000, got)
			for i := range got {
				require.Equal(t, times[7000+i], buf[i].Time)
			}
			_, complete = e.Oplog().Seek(times[6999])
			require.False(t, complete)
			_, complete = e.Oplog().Seek(start)
			require.False(t, complete)
			_, ok = e.Oplog().Read(number-1, buf)
			require.False(t, ok)
			e.Oplog().Truncate(times[8000])
			require.Equal(t, times[8001], e.Oplog().First())
			e.Oplog().Truncate(0)
			require.Equal(t, times[9999], e.Oplog().First())
		})
	}
}
