package projectiontest

import (
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// Documents holds the documents of a backend to their contract. Setup returns an
// empty backend for each test.
func Documents(t *testing.T, setup func(t *testing.T) projection.Backend) {
	const model = "orders_v1"

	t.Run("what is put is loaded", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		require.Empty(t, numbers(t, b, model, "a"), "a model that is not there")
		c.commit(put(t, model, "a", 1), put(t, model, "b", 2))
		require.Equal(t, map[string]int64{"a": 1, "b": 2}, numbers(t, b, model, "a", "b", "missing"))
		require.Empty(t, numbers(t, b, model), "no keys")
		require.Empty(t, numbers(t, b, "orders_v2", "a"), "another model")
		c.commit(put(t, model, "a", 3), remove(model, "b"), remove(model, "never there"))
		require.Equal(t, map[string]int64{"a": 3}, numbers(t, b, model, "a", "b"))
	})

	t.Run("a document comes back as it was", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		want := doc{N: 1 << 40, Name: "Zoë", Tags: []string{"x", ""}, Sub: map[string]any{"a": "b"}}
		c.commit(projection.Change{Model: model, Key: "a", Data: encode(t, want)}, projection.Change{Model: model, Key: "empty", Data: encode(t, struct{}{})})
		docs, err := b.LoadDocuments(t.Context(), model, []string{"a"})
		require.NoError(t, err)
		require.Len(t, docs, 1)
		require.Equal(t, want, decode(t, docs[0].Data))
		require.Equal(t, encode(t, want), docs[0].Data, "byte by byte, without the key")
		require.Equal(t, map[string]int64{"empty": 0}, numbers(t, b, model, "empty"))
	})

	t.Run("a put replaces all of the old document", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		c.commit(projection.Change{Model: model, Key: "a", Data: encode(t, doc{N: 1, Name: "old"})})
		c.commit(put(t, model, "a", 2))
		docs, err := b.LoadDocuments(t.Context(), model, []string{"a"})
		require.NoError(t, err)
		require.Equal(t, doc{N: 2}, decode(t, docs[0].Data))
	})

	t.Run("keys are any text", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		keys := []string{"$a", "a.b", " ", "ü", "a/b@c", "{}", "null", "0", "A", "a", strings.Repeat("k", 600)}
		want := map[string]int64{}
		var changes []projection.Change
		for i, key := range keys {
			changes = append(changes, put(t, model, key, int64(i)))
			want[key] = int64(i)
		}
		c.commit(changes...)
		require.Equal(t, want, numbers(t, b, model, keys...))
	})

	t.Run("a thousand documents at once", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		var changes []projection.Change
		var keys []string
		for i := range 1000 {
			keys = append(keys, fmt.Sprint("k", i))
			changes = append(changes, put(t, model, keys[i], int64(i)))
		}
		c.commit(changes...)
		require.Len(t, numbers(t, b, model, keys...), 1000)
	})

	t.Run("scans are in the order of the keys' bytes", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		docs, err := b.ScanDocuments(t.Context(), model, "", "", 0)
		require.NoError(t, err)
		require.Empty(t, docs)
		for _, key := range []string{"b", "a", "B", "ab", "ä", "c"} {
			c.commit(put(t, model, key, 1))
		}
		for _, tc := range []struct {
			from, to string
			limit    int
			want     []string
		}{
			{"", "", 0, []string{"B", "a", "ab", "b", "c", "ä"}},
			{"a", "b", 0, []string{"a", "ab"}},
			{"aa", "", 2, []string{"ab", "b"}},
			{"d", "e", 0, []string{}},
			{"", "a", 5, []string{"B"}},
		} {
			docs, err := b.ScanDocuments(t.Context(), model, tc.from, tc.to, tc.limit)
			require.NoError(t, err)
			require.Equal(t, tc.want, keysOf(docs), "from %q to %q, %d", tc.from, tc.to, tc.limit)
		}
		c.commit(remove(model, "a"))
		docs, err = b.ScanDocuments(t.Context(), model, "a", "b", 0)
		require.NoError(t, err)
		require.Equal(t, []string{"ab"}, keysOf(docs))
		require.Equal(t, int64(1), decode(t, docs[0].Data).N)
	})

	t.Run("a dropped model is empty", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		require.NoError(t, b.DropModel(t.Context(), model), "there need not be one")
		c.commit(put(t, model, "a", 1), put(t, "other_v1", "a", 1))
		require.NoError(t, b.DropModel(t.Context(), model))
		require.Empty(t, numbers(t, b, model, "a"))
		require.Len(t, numbers(t, b, "other_v1", "a"), 1)
		c.commit(put(t, model, "a", 2))
		require.Equal(t, map[string]int64{"a": 2}, numbers(t, b, model, "a"))
	})

	t.Run("patches", func(t *testing.T) {
		t.Parallel()
		patches(t, setup(t), model)
	})

	t.Run("the caller may change what it passed", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		c := newCommitter(t, b)
		change := put(t, model, "a", 1)
		c.commit(change)
		clear(change.Data)
		require.Equal(t, map[string]int64{"a": 1}, numbers(t, b, model, "a"))
	})

	t.Run("bad documents are named", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		for name, bad := range map[string]projection.Change{
			"malformed":    {Model: model, Key: "bad", Data: []byte{1, 2, 3}},
			"a field _id":  {Model: model, Key: "bad", Data: encode(t, map[string]any{"_id": "x"})},
			"too large":    {Model: model, Key: "bad", Data: encode(t, doc{Name: strings.Repeat("x", projection.MaxDocumentSize)})},
			"no number":    {Model: model, Key: "text", Updates: []any{projection.Patch{Add: map[string]any{"name": 1}}}},
			"no array":     {Model: model, Key: "text", Updates: []any{projection.Patch{Push: map[string]any{"name": 1}}}},
			"no update":    {Model: model, Key: "bad", Updates: []any{struct{}{}}},
			"invalid UTF8": {Model: model, Key: "\xff", Data: encode(t, doc{})},
		} {
			c := newCommitter(t, b)
			c.key.Projection = name
			c.commit(projection.Change{Model: model, Key: "text", Data: encode(t, doc{Name: "text"})})
			_, err := b.Commit(t.Context(), c.step(put(t, model, name, 1), bad, put(t, model, name+"2", 1)))
			require.Error(t, err, name)
			var failed *projection.DocumentError
			require.ErrorAs(t, err, &failed, "%s: %v", name, err)
			require.Equal(t, bad.Key, failed.Key, name)
			require.Equal(t, model, failed.Model, name)
			require.Empty(t, numbers(t, b, model, name, name+"2", "bad"), "%s: nothing was written", name)
			c.unchanged()
		}
	})

	t.Run("a cancelled context is an error", func(t *testing.T) {
		t.Parallel()
		b := setup(t)
		ctx := cancelled(t)
		_, err := b.LoadDocuments(ctx, model, []string{"a"})
		require.Error(t, err)
		_, err = b.ScanDocuments(ctx, model, "", "", 0)
		require.Error(t, err)
		require.Error(t, b.DropModel(ctx, model))
		_, err = b.ScanDocuments(t.Context(), model, "", "", -1)
		require.ErrorIs(t, err, eventstore.ErrInvalid)
	})
}

func patches(t *testing.T, b projection.Backend, model string) {
	t.Helper()
	c := newCommitter(t, b)
	update := func(key string, updates ...any) {
		c.commit(projection.Change{Model: model, Key: key, Updates: updates})
	}
	get := func(key string) map[string]any {
		docs, err := b.LoadDocuments(t.Context(), model, []string{key})
		require.NoError(t, err)
		require.Len(t, docs, 1)
		var m map[string]any
		require.NoError(t, eventstore.NewBSONCodec().Unmarshal(docs[0].Data, &m))
		return m
	}
	update("a", projection.Patch{
		Set:  map[string]any{"name": "x", "sub.deep.er": int64(1)},
		Add:  map[string]any{"n": int64(2), "sub.f": 1.5},
		Push: map[string]any{"tags": "t1"},
	})
	require.EqualValues(t, 2, get("a")["n"])
	require.Equal(t, map[string]any{"deep": map[string]any{"er": int64(1)}, "f": 1.5}, get("a")["sub"])
	update("a",
		projection.Patch{Add: map[string]any{"n": int64(40), "sub.f": int64(1)}, Push: map[string]any{"tags": "t2"}},
		projection.Patch{Unset: []string{"name", "sub.deep", "not.there"}, Set: map[string]any{"sub.new": "y"}})
	got := get("a")
	require.EqualValues(t, 42, got["n"])
	require.NotContains(t, got, "name")
	require.NotContains(t, got, "not")
	require.Equal(t, map[string]any{"f": 2.5, "new": "y"}, got["sub"])
	docs, err := b.LoadDocuments(t.Context(), model, []string{"a"})
	require.NoError(t, err)
	require.Equal(t, []string{"t1", "t2"}, decode(t, docs[0].Data).Tags)
	update("b", projection.Patch{})
	require.Empty(t, get("b"), "an empty patch makes an empty document")
	update("a", projection.Patch{})
	require.EqualValues(t, 42, get("a")["n"])
}
