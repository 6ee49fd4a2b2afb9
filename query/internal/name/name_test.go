package name_test

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/query/internal/name"
)

func TestPath(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "a.b", "a.0.b", "_id", "ref.$id", "ref.$ref", "ref.$db", "ünï.cödé", "a b", "a$b", "a.b$"} {
		require.NoError(t, name.Path(good), good)
	}
	for _, bad := range []string{
		"", ".", "a.", ".a", "a..b", "$where", "$a", "a.$b", "a.$", "a.$[]", "a.$[x]", "a\x00b", "a.\xff",
		"$id", strings.Repeat("a", name.MaxLength+1), strings.Repeat("a.", 200) + "a",
	} {
		require.Error(t, name.Path(bad), "%q", bad)
	}
}

func TestUpdatePath(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "a.$", "a.$.b", "a.$[]", "a.$[].b", "a.$[x].b", "a.$[lineOne]"} {
		require.NoError(t, name.UpdatePath(good), good)
	}
	for _, bad := range []string{"", "$", "$[]", "$[x].a", "a.$[X]", "a.$[x", "a.$[x_y]", "a.$x", "a.$[1]", "a.$where"} {
		require.Error(t, name.UpdatePath(bad), "%q", bad)
	}
}

func TestKey(t *testing.T) {
	t.Parallel()
	require.NoError(t, name.Key("a"))
	for _, bad := range []string{"", "a.b", "$a", "a\x00"} {
		require.Error(t, name.Key(bad), "%q", bad)
	}
}

func TestVariable(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"a", "order_id", "x1", "é"} {
		require.NoError(t, name.Variable(good), good)
	}
	for _, bad := range []string{"", "A", "1a", "a.b", "a b", "$a", "_a", "a\x00"} {
		require.Error(t, name.Variable(bad), "%q", bad)
	}
}

func TestCollectionAndDatabase(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"orders", "a.b", "a-b"} {
		require.NoError(t, name.Collection(good), good)
	}
	for _, bad := range []string{"", "a$b", ".a", "a.", "a..b", "a\x00"} {
		require.Error(t, name.Collection(bad), "%q", bad)
	}
	require.NoError(t, name.Database("shop"))
	for _, bad := range []string{"", "a.b", "a b", "a$", strings.Repeat("d", 64)} {
		require.Error(t, name.Database(bad), "%q", bad)
	}
}

func TestConflict(t *testing.T) {
	t.Parallel()
	assert.True(t, name.Conflict("a", "a"))
	assert.True(t, name.Conflict("a", "a.b"))
	assert.True(t, name.Conflict("a.b", "a"))
	assert.False(t, name.Conflict("a", "ab"))
	assert.False(t, name.Conflict("a.b", "a.c"))
}

func TestGoodPathsCostNothing(t *testing.T) {
	assert.Zero(t, testing.AllocsPerRun(100, func() { _ = name.Path("customer.address.city") }))
}
