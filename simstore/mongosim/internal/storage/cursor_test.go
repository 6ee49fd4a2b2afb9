package storage

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"golang.org/x/sync/errgroup"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func TestCursorsGoOnBesideWrites(t *testing.T) {
	t.Parallel()
	for _, hint := range []Hint{{}, {Name: "k"}, {Name: "_id_"}} {
		for _, backward := range []bool{false, true} {
			e := open(t)
			c := collection(t, e)
			index1(t, c, `{"key":{"k":1},"name":"k"}`)
			for i := range 100 {
				_, err := c.Insert(t.Context(), Write{}, raw(t, fmt.Sprintf(`{"_id":%d,"k":%d}`, i, i)))
				require.NoError(t, err)
			}
			q := Query{Hint: hint, Expect: 1000}
			first, step := 0, 1
			if backward {
				first, step = 99, -1
				q.SortSpec = raw(t, `{"k":-1}`)
				if hint.Name != "k" {
					q.Hint, q.SortSpec = Hint{Natural: -1}, nil
				}
			}
			cur, err := c.Find(t.Context(), View{}, q)
			require.NoError(t, err)
			next := func() string {
				doc, ok, err := cur.Next(t.Context())
				require.NoError(t, err)
				require.True(t, ok)
				require.Equal(t, id(t, c, View{}, doc.Lookup("_id").Int32()), cur.RecordID())
				return shellValue(doc.Lookup("_id"))
			}
			for i := range 10 {
				require.Equal(t, fmt.Sprint(first+i*step), next())
			}
			// Everything has been read ahead; a getMore sees what changed meanwhile.
			for _, gone := range []int{9, 10, 12} {
				_, err = c.Modify(t.Context(), Write{}, id(t, c, View{}, int32(first+gone*step)), remove)
				require.NoError(t, err)
			}
			require.NoError(t, cur.Refresh())
			require.Equal(t, fmt.Sprint(first+11*step), next())
			require.Equal(t, fmt.Sprint(first+13*step), next())
			cur.Close()
			_, ok, err := cur.Next(t.Context())
			require.NoError(t, err)
			require.False(t, ok)
		}
	}
}

func TestRefreshAcrossRangesAndArrays(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e)
	index1(t, c, `{"key":{"tags":1},"name":"tags"}`)
	for i := range 20 {
		_, err := c.Insert(t.Context(), Write{}, raw(t, fmt.Sprintf(`{"_id":%d,"tags":[%d,%d]}`, i, i%5, i%5+1)))
		require.NoError(t, err)
	}
	for _, order := range []string{``, `{"_id":1}`} {
		q := query(t, `{"tags":{"$in":[0,2,4]}}`)
		q.Expect = 100
		if order != "" {
			q.SortSpec = raw(t, order)
		}
		cur, err := c.Find(t.Context(), View{}, q)
		require.NoError(t, err)
		seen := map[string]bool{}
		for {
			require.NoError(t, cur.Refresh())
			doc, ok, err := cur.Next(t.Context())
			require.NoError(t, err)
			if !ok {
				break
			}
			id := shellValue(doc.Lookup("_id"))
			require.False(t, seen[id], "%s twice", id)
			seen[id] = true
		}
		require.Len(t, seen, 20)
	}
}

func TestCursorOfAnEndedTransaction(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id":1}`, `{"_id":2}`)
	tx := begin(t, e)
	cur, err := c.Find(t.Context(), View{Txn: tx}, Query{Expect: 1})
	require.NoError(t, err)
	_, ok, err := cur.Next(t.Context())
	require.NoError(t, err)
	require.True(t, ok)
	tx.Abort()
	require.NoError(t, cur.Refresh())
	_, _, err = cur.Next(t.Context())
	requireCode(t, mongoerr.NoSuchTransaction, err)
}

// Sums over accounts stay the same for every reader while transactions move
// money, and none of it gets lost.
func TestSnapshotIsolationUnderLoad(t *testing.T) {
	t.Parallel()
	const accounts, balance = 8, 100
	e := open(t)
	c := collection(t, e)
	index1(t, c, `{"key":{"owner":1},"name":"owner","unique":true}`)
	for i := range accounts {
		_, err := c.Insert(t.Context(), Write{}, raw(t, fmt.Sprintf(`{"_id":%d,"owner":"o%d","n":%d}`, i, i, balance)))
		require.NoError(t, err)
	}
	sum := func(ctx context.Context, v View, hint Hint) (int, error) {
		cur, err := c.Find(ctx, v, Query{Hint: hint, Expect: 1})
		if err != nil {
			return 0, err
		}
		total := 0
		for doc, err := range cur.All(ctx) {
			if err != nil {
				return 0, err
			}
			total += int(doc.Lookup("n").Int32())
		}
		return total, nil
	}
	var moved atomic.Int64
	stop := make(chan struct{})
	g, ctx := errgroup.WithContext(t.Context())
	for w := range 4 {
		g.Go(func() error {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return nil
				default:
				}
				tx, err := e.Begin(TxnOptions{})
				if err != nil {
					return err
				}
				add := func(n int32, amount int32) error {
					_, at := c.FindByID(View{Txn: tx}, value.Int32(n))
					_, err := c.Modify(ctx, Write{Txn: tx}, at, func(cur bson.Raw) (Change, error) {
						return Change{Doc: value.With(cur, "n", value.Int32(cur.Lookup("n").Int32()+amount))}, nil
					})
					return err
				}
				from, to := int32((w+i)%accounts), int32((w*3+i*5+1)%accounts)
				if from == to {
					tx.Abort()
					continue
				}
				if err = add(from, -1); err == nil {
					err = add(to, 1)
				}
				switch {
				case mongoerr.CodeOf(err) == mongoerr.WriteConflict && err != nil:
					tx.Abort()
				case err != nil:
					return err
				default:
					if _, err := tx.Commit(ctx); err != nil {
						return err
					}
					moved.Add(1)
				}
			}
		})
	}
	var readers sync.WaitGroup
	var failed atomic.Value
	for r := range 2 {
		readers.Go(func() {
			for i := range 150 {
				s, err := e.SnapshotAt(0)
				if err != nil {
					failed.Store(err)
					return
				}
				total, err := sum(ctx, View{Snapshot: s}, []Hint{{}, {Name: "owner"}, {Name: "_id_"}}[(i+r)%3])
				s.Release()
				if err != nil || total != accounts*balance {
					failed.Store(fmt.Errorf("sum %d, %w", total, err))
					return
				}
			}
		})
	}
	readers.Wait()
	eventually(t, func() bool { return moved.Load() > 20 || ctx.Err() != nil })
	close(stop)
	require.NoError(t, g.Wait())
	require.Nil(t, failed.Load())
	total, err := sum(t.Context(), View{}, Hint{})
	require.NoError(t, err)
	require.Equal(t, accounts*balance, total)
	require.Empty(t, c.stale)
}

// Write skew is what snapshot isolation allows and the real server does too.
func TestWriteSkewIsAllowed(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id":1,"on":true}`, `{"_id":2,"on":true}`)
	a, b := begin(t, e), begin(t, e)
	for i, tx := range []*Txn{a, b} {
		require.Len(t, find(t, c, View{Txn: tx}, query(t, `{"on":true}`)), 2)
		_, err := c.Modify(t.Context(), Write{Txn: tx}, id(t, c, View{Txn: tx}, int32(i+1)), set(t, fmt.Sprintf(`{"_id":%d,"on":false}`, i+1)))
		require.NoError(t, err)
	}
	for _, tx := range []*Txn{a, b} {
		_, err := tx.Commit(t.Context())
		require.NoError(t, err)
	}
	require.Empty(t, find(t, c, View{}, query(t, `{"on":true}`)))
}

// Plain increments by many goroutines all count, beside transactions that
// abort and collections that come and go.
func TestPlainWritesUnderLoad(t *testing.T) {
	t.Parallel()
	e := open(t)
	c := collection(t, e, `{"_id":1,"n":0}`)
	const workers, each = 8, 100
	g, ctx := errgroup.WithContext(t.Context())
	for w := range workers {
		g.Go(func() error {
			at := id(t, c, View{}, 1)
			for i := range each {
				res, err := c.Modify(ctx, Write{}, at, func(cur bson.Raw) (Change, error) {
					return Change{Doc: value.With(cur, "n", value.Int32(cur.Lookup("n").Int32()+1))}, nil
				})
				if err != nil || !res.Changed {
					return fmt.Errorf("%v, %w", res.Changed, err)
				}
				doc := value.With(raw(t, `{"_id":0}`), "_id", value.Int32(int32(w*each+i)))
				if _, err := e.InsertMany(ctx, Write{}, Namespace{"test", "brief"}, []bson.Raw{doc}, true); err != nil {
					return err
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		for range 50 {
			tx, err := e.Begin(TxnOptions{})
			if err != nil {
				return err
			}
			_, err = c.Modify(ctx, Write{Txn: tx}, 1, set(t, `{"_id":1,"n":1000000}`))
			tx.Abort()
			if err != nil && mongoerr.CodeOf(err) != mongoerr.WriteConflict {
				return err
			}
			if _, err := e.Drop(ctx, Namespace{"test", "brief"}); err != nil && mongoerr.CodeOf(err) != mongoerr.NamespaceNotFound {
				return err
			}
		}
		return nil
	})
	require.NoError(t, g.Wait())
	doc, _ := c.FindByID(View{}, value.Int32(1))
	require.EqualValues(t, workers*each, doc.Lookup("n").Int32())
}

// Of many plain inserts of one unique key exactly one succeeds, whether they
// come alone, in batches or in transactions.
func TestOneOfManyInsertsOfAKeySucceeds(t *testing.T) {
	t.Parallel()
	const keys, workers = 40, 6
	e := open(t)
	c := collection(t, e)
	index1(t, c, `{"key":{"k":1},"name":"k","unique":true}`)
	var won atomic.Int64
	g, ctx := errgroup.WithContext(t.Context())
	for w := range workers {
		g.Go(func() error {
			var batch []bson.Raw
			for k := range keys {
				doc := raw(t, fmt.Sprintf(`{"_id":"%d-%d","k":%d}`, w, k, k))
				if w%3 != 2 {
					batch = append(batch, doc)
					continue
				}
				tx, err := e.Begin(TxnOptions{})
				if err != nil {
					return err
				}
				if _, err = c.Insert(ctx, Write{Txn: tx}, doc); err != nil {
					tx.Abort()
					if code := mongoerr.CodeOf(err); code != mongoerr.WriteConflict && code != mongoerr.DuplicateKey {
						return err
					}
					continue
				}
				if k%2 == 0 {
					tx.Abort()
					continue
				}
				if _, err := tx.Commit(ctx); err != nil {
					return err
				}
				won.Add(1)
			}
			res, err := e.InsertMany(ctx, Write{}, ns, batch, false)
			if err != nil {
				return err
			}
			for _, x := range res.Errors {
				if mongoerr.CodeOf(x.Err) != mongoerr.DuplicateKey {
					return x.Err
				}
			}
			won.Add(int64(res.N))
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.EqualValues(t, keys, won.Load())
	require.Len(t, find(t, c, View{}, Query{Hint: Hint{Name: "k"}}), keys)
}
