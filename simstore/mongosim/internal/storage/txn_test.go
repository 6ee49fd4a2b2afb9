package storage

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

func TestTransactionSeesItsOwnWritesAndNobodyElseDoes(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id": 1}`)
	tx := begin(t, e)
	w := Write{Txn: tx}
	_, err := c.Insert(t.Context(), w, raw(t, `{"_id": 2}`))
	require.NoError(t, err)
	_, err = c.Modify(t.Context(), w, id(t, c, View{}, 1), set(t, `{"_id": 1, "x": 1}`))
	require.NoError(t, err)

	in := View{Txn: tx}
	require.Equal(t, []string{"1", "2"}, find(t, c, in, Query{}))
	require.Equal(t, []string{"1"}, find(t, c, in, query(t, `{"x": 1}`)))
	require.Equal(t, []string{"1"}, find(t, c, View{}, Query{}))
	require.Empty(t, find(t, c, View{}, query(t, `{"x": 1}`)))
	n, err := c.Count(View{})
	require.NoError(t, err)
	require.EqualValues(t, 1, n)

	before := e.LastOp()
	at, err := tx.Commit(t.Context())
	require.NoError(t, err)
	require.Greater(t, at, before)
	require.Equal(t, at, e.LastOp())
	require.Equal(t, []string{"1", "2"}, find(t, c, View{}, Query{}))
	again, err := tx.Commit(t.Context())
	require.NoError(t, err)
	require.Equal(t, at, again)
}

func TestAbortLeavesNothing(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id": 1, "k": 1}`, `{"_id": 2, "k": 2}`)
	index1(t, c, `{"key": {"k": 1}, "name": "k", "unique": true}`)
	stats := c.Stats()
	entries, _ := e.Oplog().Stats()

	tx := begin(t, e)
	w := Write{Txn: tx}
	_, err := c.Insert(t.Context(), w, raw(t, `{"_id": 3, "k": 3}`))
	require.NoError(t, err)
	first := id(t, c, View{Txn: tx}, 1)
	for _, doc := range []string{`{"_id": 1, "k": 10}`, `{"_id": 1, "k": 11}`} {
		_, err = c.Modify(t.Context(), w, first, set(t, doc))
		require.NoError(t, err)
	}
	_, err = c.Modify(t.Context(), w, id(t, c, View{Txn: tx}, 2), remove)
	require.NoError(t, err)
	_, err = e.Create(t.Context(), tx, Namespace{"test", "made"}, CollectionOptions{})
	require.NoError(t, err)
	tx.Abort()
	tx.Abort()

	require.Equal(t, stats, c.Stats(), "figures, index sizes and entries are those from before")
	require.Equal(t, []string{"1", "2"}, find(t, c, View{}, Query{}))
	require.Equal(t, []string{"1"}, find(t, c, View{}, query(t, `{"k": 1}`)))
	require.Nil(t, e.catalog.get(Namespace{"test", "made"}))
	now, _ := e.Oplog().Stats()
	require.Equal(t, entries, now)
	_, err = c.Insert(t.Context(), w, raw(t, `{"_id": 4}`))
	requireCode(t, mongoerr.NoSuchTransaction, err)
	_, err = tx.Commit(t.Context())
	requireCode(t, mongoerr.NoSuchTransaction, err)
	for _, k := range []string{`{"_id": 5, "k": 3}`, `{"_id": 6, "k": 10}`, `{"_id": 7, "k": 11}`} {
		_, err = c.Insert(t.Context(), Write{}, raw(t, k))
		require.NoError(t, err, "keys of the aborted transaction are free")
	}
}

func TestWriteConflicts(t *testing.T) {
	t.Parallel()
	type act func(t *testing.T, c *Collection, w Write) error
	update := func(n int32, doc string) act {
		return func(t *testing.T, c *Collection, w Write) error {
			_, err := c.Modify(context.Background(), w, id(t, c, View{Txn: w.Txn}, n), set(t, doc))
			return err
		}
	}
	del := func(n int32) act {
		return func(t *testing.T, c *Collection, w Write) error {
			_, err := c.Modify(context.Background(), w, id(t, c, View{Txn: w.Txn}, n), remove)
			return err
		}
	}
	insert := func(doc string) act {
		return func(t *testing.T, c *Collection, w Write) error {
			_, err := c.Insert(context.Background(), w, raw(t, doc))
			return err
		}
	}
	const none = mongoerr.Code(0)
	for name, tc := range map[string]struct {
		first, second act
		open          mongoerr.Code // the second while the first is open
		after         mongoerr.Code // the second, with an older snapshot, after the first's commit
	}{
		"both update a document":                      {update(1, `{"_id":1,"k":1,"a":1}`), update(1, `{"_id":1,"k":1,"a":2}`), mongoerr.WriteConflict, mongoerr.WriteConflict},
		"update and delete":                           {update(1, `{"_id":1,"k":1,"a":1}`), del(1), mongoerr.WriteConflict, mongoerr.WriteConflict},
		"delete and update":                           {del(1), update(1, `{"_id":1,"k":1,"a":1}`), mongoerr.WriteConflict, mongoerr.WriteConflict},
		"different documents":                         {update(1, `{"_id":1,"k":1,"a":1}`), update(2, `{"_id":2,"k":2,"a":1}`), none, none},
		"both insert a unique key":                    {insert(`{"_id":10,"k":10}`), insert(`{"_id":11,"k":10}`), mongoerr.WriteConflict, mongoerr.WriteConflict},
		"both insert an _id":                          {insert(`{"_id":10,"k":10}`), insert(`{"_id":10,"k":11}`), mongoerr.WriteConflict, mongoerr.WriteConflict},
		"insert of a key that the other deletes":      {del(1), insert(`{"_id":11,"k":1}`), mongoerr.DuplicateKey, mongoerr.DuplicateKey},
		"insert of an _id that the other deletes":     {del(1), insert(`{"_id":1,"k":11}`), mongoerr.DuplicateKey, mongoerr.DuplicateKey},
		"update to a key that the other deletes":      {del(1), update(2, `{"_id":2,"k":1}`), mongoerr.DuplicateKey, mongoerr.DuplicateKey},
		"insert of a key that the other moves away":   {update(1, `{"_id":1,"k":9}`), insert(`{"_id":11,"k":1}`), mongoerr.DuplicateKey, mongoerr.DuplicateKey},
		"insert of a key that the other updates to":   {update(1, `{"_id":1,"k":9}`), insert(`{"_id":11,"k":9}`), mongoerr.WriteConflict, mongoerr.WriteConflict},
		"update to a key that the other has inserted": {insert(`{"_id":10,"k":10}`), update(1, `{"_id":1,"k":10}`), mongoerr.WriteConflict, mongoerr.WriteConflict},
		"insert of a key that was always there":       {insert(`{"_id":10,"k":10}`), insert(`{"_id":11,"k":2}`), mongoerr.DuplicateKey, mongoerr.DuplicateKey},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, committed := range []bool{false, true} {
				e := open(t)
				c := collection(t, e, `{"_id":1,"k":1}`, `{"_id":2,"k":2}`)
				index1(t, c, `{"key":{"k":1},"name":"k","unique":true}`)
				tx1, tx2 := begin(t, e), begin(t, e)
				require.NoError(t, tc.first(t, c, Write{Txn: tx1}))
				want := tc.open
				if committed {
					_, err := tx1.Commit(t.Context())
					require.NoError(t, err)
					want = tc.after
				}
				err := tc.second(t, c, Write{Txn: tx2})
				if want == none {
					require.NoError(t, err)
					continue
				}
				requireCode(t, want, err)
				require.Equal(t, want == mongoerr.WriteConflict, mongoerr.From(err).HasLabel(mongoerr.LabelTransientTransaction))
			}
		})
	}
}

func TestOwnTransactionMayMoveUniqueKeys(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id":1,"k":1}`, `{"_id":2,"k":2}`)
	index1(t, c, `{"key":{"k":1},"name":"k","unique":true}`)
	tx := begin(t, e)
	w := Write{Txn: tx}
	one := id(t, c, View{}, 1)
	_, err := c.Modify(t.Context(), w, one, set(t, `{"_id":1,"k":3}`))
	require.NoError(t, err)
	_, err = c.Modify(t.Context(), w, id(t, c, View{}, 2), set(t, `{"_id":2,"k":1}`))
	require.NoError(t, err)
	_, err = c.Modify(t.Context(), w, one, set(t, `{"_id":1,"k":2}`))
	require.NoError(t, err)
	_, err = c.Insert(t.Context(), w, raw(t, `{"_id":3,"k":1}`))
	requireCode(t, mongoerr.DuplicateKey, err)
	_, err = tx.Commit(t.Context())
	require.NoError(t, err)
	require.Equal(t, []string{"2"}, find(t, c, View{}, query(t, `{"k":1}`)))
	require.Equal(t, []string{"1"}, find(t, c, View{}, query(t, `{"k":2}`)))
	require.Empty(t, find(t, c, View{}, query(t, `{"k":3}`)))
	require.EqualValues(t, 2, c.Stats().Indexes[1].Entries, "no entry of an intermediate key is left")
}

func TestPlainWriteWaitsForOpenTransaction(t *testing.T) {
	t.Parallel()
	for _, commit := range []bool{true, false} {
		e := open(t)
		c := collection(t, e, `{"_id":1,"k":1,"n":0}`)
		index1(t, c, `{"key":{"k":1},"name":"k","unique":true}`)
		tx := begin(t, e)
		_, err := c.Insert(t.Context(), Write{Txn: tx}, raw(t, `{"_id":2,"k":2}`))
		require.NoError(t, err)
		_, err = c.Modify(t.Context(), Write{Txn: tx}, id(t, c, View{}, 1), set(t, `{"_id":1,"k":1,"n":1}`))
		require.NoError(t, err)

		type outcome struct {
			res ModifyResult
			err error
		}
		inserted, updated := make(chan error, 1), make(chan outcome, 1)
		go func() {
			_, err := c.Insert(t.Context(), Write{}, raw(t, `{"_id":3,"k":2}`))
			inserted <- err
		}()
		go func() {
			res, err := c.Modify(t.Context(), Write{}, id(t, c, View{}, 1), func(cur bson.Raw) (Change, error) {
				n := cur.Lookup("n").Int32()
				return Change{Doc: raw(t, bson.D{{Key: "_id", Value: 1}, {Key: "k", Value: 1}, {Key: "n", Value: n + 10}})}, nil
			})
			updated <- outcome{res, err}
		}()
		short, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = c.Insert(short, Write{}, raw(t, `{"_id":4,"k":2}`))
		requireCode(t, mongoerr.Interrupted, err)
		select {
		case err := <-inserted:
			t.Fatal("the insert did not wait", err)
		case <-updated:
			t.Fatal("the update did not wait")
		default:
		}

		want := int32(10)
		if commit {
			_, err = tx.Commit(t.Context())
			require.NoError(t, err)
			requireCode(t, mongoerr.DuplicateKey, <-inserted)
			want = 11
		} else {
			tx.Abort()
			require.NoError(t, <-inserted)
		}
		out := <-updated
		require.NoError(t, out.err)
		require.Equal(t, want, out.res.After.Lookup("n").Int32())
	}
}

func TestSnapshotsKeepWhatTheyNeed(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id":1,"k":1}`, `{"_id":2,"k":2}`)
	index1(t, c, `{"key":{"k":1},"name":"k"}`)
	s, err := e.SnapshotAt(0)
	require.NoError(t, err)
	one, two := id(t, c, View{}, 1), id(t, c, View{}, 2)
	for i := range 10 {
		_, err = c.Modify(t.Context(), Write{}, one, set(t, `{"_id":1,"k":`+string(rune('0'+i))+`}`))
		require.NoError(t, err)
	}
	_, err = c.Modify(t.Context(), Write{}, two, remove)
	require.NoError(t, err)
	_, err = c.Insert(t.Context(), Write{}, raw(t, `{"_id":3,"k":1}`))
	require.NoError(t, err)

	then := View{Snapshot: s}
	require.Equal(t, []string{"1", "2"}, find(t, c, then, Query{}))
	require.Equal(t, []string{"1"}, find(t, c, then, query(t, `{"k":1}`)))
	require.Equal(t, []string{"2"}, find(t, c, then, query(t, `{"k":2}`)))
	n, err := c.Count(then)
	require.NoError(t, err)
	require.EqualValues(t, 2, n)
	_, err = e.SnapshotAt(s.Time())
	require.NoError(t, err, "as long as it is pinned, another may pin it")
	earlier := s.Time()
	require.Greater(t, c.Stats().Indexes[1].Entries, int64(2))

	s.Release()
	s.Release()
	e.unpin(earlier) // the second pin
	require.Equal(t, []string{"1", "3"}, find(t, c, View{}, Query{}))
	require.EqualValues(t, 2, c.Stats().Indexes[1].Entries, "superseded versions and their keys have gone")
	require.Nil(t, c.rows.get(two))
	require.Nil(t, c.rows.get(one).head.prev)
	_, err = e.SnapshotAt(earlier)
	requireCode(t, mongoerr.SnapshotTooOld, err)
}

// A document that was changed and then deleted beneath a snapshot is noted twice
// as having versions to collect. The second time it has gone, and so has the
// chunk of records it was in.
func TestSnapshotsLetGoOfWhatWasChangedAndDeleted(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e)
	var ids []RecordID
	for n := range int32(3 * chunkSize) {
		_, err := c.Insert(t.Context(), Write{}, raw(t, bson.D{{Key: "_id", Value: n}}))
		require.NoError(t, err)
		ids = append(ids, id(t, c, View{}, n))
	}
	s, err := e.SnapshotAt(0)
	require.NoError(t, err)
	for n, at := range ids {
		_, err = c.Modify(t.Context(), Write{}, at, set(t, fmt.Sprintf(`{"_id":%d,"changed":true}`, n)))
		require.NoError(t, err)
	}
	for _, at := range ids {
		_, err = c.Modify(t.Context(), Write{}, at, remove)
		require.NoError(t, err)
	}
	require.Len(t, find(t, c, View{Snapshot: s}, Query{}), len(ids))

	s.Release()
	require.Empty(t, c.stale)
	require.Nil(t, c.rows.after(0), "nothing is left")
	require.Len(t, c.rows.chunks, 1, "but the chunk that is being filled")
	require.Zero(t, c.Stats().Indexes[0].Entries)
	_, err = c.Insert(t.Context(), Write{}, raw(t, `{"_id":0}`))
	require.NoError(t, err)
	require.Equal(t, []string{"0"}, find(t, c, View{}, Query{}))
}

func TestHistoryWindow(t *testing.T) {
	t.Parallel()
	now := time.Unix(1000, 0)
	e := open(t, func(c *Config) { c.Clock, c.HistoryWindow = func() time.Time { return now }, 5*time.Second })
	c := collection(t, e, `{"_id":1,"n":0}`)
	one, then := id(t, c, View{}, 1), e.LastOp()
	update := func(n int) {
		_, err := c.Modify(t.Context(), Write{}, one, set(t, fmt.Sprintf(`{"_id":1,"n":%d}`, n)))
		require.NoError(t, err)
	}
	update(1)
	now = now.Add(4 * time.Second)
	update(4)
	s, err := e.SnapshotAt(then)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, find(t, c, View{Snapshot: s}, query(t, `{"n":0}`)))
	s.Release()
	for n := 5; n < 1000; n++ {
		now = now.Add(time.Second)
		update(n)
	}
	_, err = e.SnapshotAt(then)
	requireCode(t, mongoerr.SnapshotTooOld, err)
	versions := 0
	for v := c.rows.get(one).head; v != nil; v = v.prev {
		versions++
	}
	require.Less(t, versions, 200, "nothing but writes has to come for old versions to go")
}

func TestCollectionsCreatedInTransactions(t *testing.T) {
	t.Parallel()
	e := open(t)
	a, b := begin(t, e), begin(t, e)
	made := Namespace{"test", "made"}
	for _, tx := range []*Txn{a, b} {
		res, err := e.InsertMany(t.Context(), Write{Txn: tx}, made, []bson.Raw{raw(t, `{"_id":1}`)}, true)
		require.NoError(t, err)
		require.Equal(t, 1, res.N)
		c, err := e.Collection(tx, made)
		require.NoError(t, err)
		require.Equal(t, []string{"1"}, find(t, c, View{Txn: tx}, Query{}))
	}
	c, err := e.Collection(nil, made)
	require.NoError(t, err)
	require.Nil(t, c)
	at, err := a.Commit(t.Context())
	require.NoError(t, err)
	_, err = b.Commit(t.Context())
	requireCode(t, mongoerr.WriteConflict, err)
	c, err = e.Collection(nil, made)
	require.NoError(t, err)
	require.Equal(t, []string{"1"}, find(t, c, View{}, Query{}))
	require.Equal(t, at, e.LastOp())

	old, err := e.Begin(TxnOptions{})
	require.NoError(t, err)
	defer old.Abort()
	young := collection(t, e)
	_, err = e.Collection(old, young.Namespace())
	requireCode(t, mongoerr.SnapshotUnavailable, err)
}

func TestDroppingWaitsForTransactions(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id":1}`)
	tx := begin(t, e)
	_, err := c.Insert(t.Context(), Write{Txn: tx}, raw(t, `{"_id":2}`))
	require.NoError(t, err)
	dropped := make(chan error, 1)
	go func() {
		_, err := e.Drop(t.Context(), ns)
		dropped <- err
	}()
	eventually(t, func() bool { c.mu.RLock(); defer c.mu.RUnlock(); return c.pending > 0 })
	late := begin(t, e)
	_, err = c.Insert(t.Context(), Write{Txn: late}, raw(t, `{"_id":3}`))
	requireCode(t, mongoerr.LockTimeout, err)
	_, err = c.Insert(t.Context(), Write{Txn: tx}, raw(t, `{"_id":4}`))
	require.NoError(t, err, "who uses it already goes on")
	_, err = tx.Commit(t.Context())
	require.NoError(t, err)
	require.NoError(t, <-dropped)
	_, err = e.Drop(t.Context(), ns)
	requireCode(t, mongoerr.NamespaceNotFound, err)
}
