package storage

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
)

var ns = Namespace{DB: "test", Coll: "c"}

// open starts an engine without background work.
func open(t testing.TB, configure ...func(*Config)) *Engine {
	cfg := Config{TTLInterval: -1}
	for _, f := range configure {
		f(&cfg)
	}
	e := Open(cfg)
	t.Cleanup(e.Close)
	return e
}

// raw builds a document from pairs of names and values, or from JSON.
func raw(t testing.TB, v any) bson.Raw {
	t.Helper()
	if s, ok := v.(string); ok {
		var doc bson.Raw
		require.NoError(t, bson.UnmarshalExtJSON([]byte(s), false, &doc))
		return doc
	}
	b, err := bson.Marshal(v)
	require.NoError(t, err)
	return b
}

// collection makes a collection with documents given as JSON.
func collection(t testing.TB, e *Engine, docs ...string) *Collection {
	t.Helper()
	c, _, err := e.Ensure(context.Background(), nil, ns)
	require.NoError(t, err)
	for _, d := range docs {
		_, err := c.Insert(t.Context(), Write{}, raw(t, d))
		require.NoError(t, err)
	}
	return c
}

func index1(t testing.TB, c *Collection, spec string) {
	t.Helper()
	_, _, err := c.CreateIndexes(context.Background(), nil, []bson.Raw{raw(t, spec)})
	require.NoError(t, err)
}

func query(t testing.TB, filter string) Query {
	t.Helper()
	spec := raw(t, filter)
	f, err := match.Parse(spec, &expr.Env{})
	require.NoError(t, err)
	return Query{Filter: f, FilterSpec: spec}
}

// find gives the _ids, as text, of what a query finds.
func find(t testing.TB, c *Collection, v View, q Query) []string {
	t.Helper()
	cur, err := c.Find(t.Context(), v, q)
	require.NoError(t, err)
	out := []string{}
	for doc, err := range cur.All(t.Context()) {
		require.NoError(t, err)
		out = append(out, shellValue(doc.Lookup("_id")))
	}
	return out
}

func begin(t testing.TB, e *Engine) *Txn {
	t.Helper()
	tx, err := e.Begin(TxnOptions{TxnNumber: 1})
	require.NoError(t, err)
	t.Cleanup(tx.Abort)
	return tx
}

// set is an update function that sets a whole document.
func set(t testing.TB, doc string) func(bson.Raw) (Change, error) {
	return func(bson.Raw) (Change, error) { return Change{Doc: raw(t, doc)}, nil }
}

func remove(bson.Raw) (Change, error) { return Change{Delete: true}, nil }

// id finds a document's record id by its _id.
func id(t testing.TB, c *Collection, v View, n int32) RecordID {
	t.Helper()
	doc, at := c.FindByID(v, bson.RawValue{Type: bson.TypeInt32, Value: []byte{byte(n), byte(n >> 8), 0, 0}})
	require.NotNil(t, doc, "no document %d", n)
	return at
}

func requireCode(t testing.TB, code mongoerr.Code, err error) {
	t.Helper()
	require.Error(t, err)
	require.Equal(t, code, mongoerr.CodeOf(err), "%v", err)
}

// eventually waits for a condition without sleeping a fixed time.
func eventually(t testing.TB, cond func() bool) {
	t.Helper()
	require.Eventually(t, cond, time.Minute, time.Millisecond)
}
