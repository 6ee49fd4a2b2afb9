package main

import (
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/query/querygen/internal/sample"
)

// TestSampleIsUpToDate: the generated file is the golden file, and the compiler its judge.
func TestSampleIsUpToDate(t *testing.T) {
	t.Parallel()
	require.NoError(t, run([]string{"-dir", filepath.Join("internal", "sample"), "-type", "Order,Line", "-check"}, io.Discard))
}

func TestGeneratedFieldsNameStoredFields(t *testing.T) {
	t.Parallel()
	o := sample.OrderFields
	for want, f := range map[string]interface {
		Path() string
		Err() error
	}{
		"created_at": o.CreatedAt, "deleted_at": o.DeletedAt, "_id": o.ID, "status": o.Status, "note": o.Note, "total": o.Total, "rating": o.Rating,
		"tags": o.Tags, "lines": o.Lines, "blob": o.Blob, "customer.name": o.Customer.Name, "customer.address.city": o.Customer.Address.City, "extra": o.Extra,
		"parent": o.Parent, "qty": sample.LineFields.Qty,
	} {
		require.NoError(t, f.Err(), want)
		assert.Equal(t, want, f.Path())
	}
	assert.JSONEq(t, `{"status":{"$regex":"^pa"}}`, o.Status.HasPrefix("pa").String())
	assert.JSONEq(t, `{"rating":{"$gt":4}}`, o.Rating.Gt(4).String())
	assert.JSONEq(t, `{"lines":{"$elemMatch":{"qty":{"$gt":1}}}}`, o.Lines.Match(sample.LineFields.Qty.Gt(1)).String())
}

func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write := func(name, content string) {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	write("a.go", "package a\n\nimport (\n\tt \"time\"\n)\n\ntype A struct {\n\tB string `json:\"b\"`\n\tC t.Time `json:\"-\"`\n\tD t.Time\n}\n\ntype G[T any] struct{ X T }\n\ntype E struct{ a int }\n")
	args := func(more ...string) []string { return append([]string{"-dir", dir}, more...) }
	require.NoError(t, run(args("-type", "A", "-tags", "json"), io.Discard))
	content, err := os.ReadFile(filepath.Join(dir, "query_fields.go"))
	require.NoError(t, err)
	assert.Contains(t, string(content), `query.StringFieldOf(func(d *A) *string { return &d.B }, query.JSONTags)`)
	assert.Contains(t, string(content), `t "time"`)
	assert.NotContains(t, string(content), "d.C")
	require.NoError(t, run(args("-type", "A", "-tags", "json", "-check"), io.Discard))
	require.ErrorContains(t, run(args("-type", "A", "-check"), io.Discard), "not up to date")

	for want, a := range map[string][]string{
		"-type is required": args(), "no struct": args("-type", "B"), "type parameters": args("-type", "G"), "names \"A\" twice": args("-type", "A, A"), "E has no stored field": args("-type", "E"), "want bson or json": args("-type", "A", "-tags", "yaml"),
		"without a directory": args("-type", "A", "-out", "x/y.go"), "no such file": {"-dir", filepath.Join(dir, "none"), "-type", "A"}, "flag provided but not defined": args("-nope"),
		"no Go package": {"-dir", t.TempDir(), "-type", "A"},
	} {
		require.ErrorContains(t, run(a, io.Discard), want)
	}
	write("i.go", "package a\n\nimport \"url\"\n\ntype I struct {\n\turl.URL `bson:\",inline\"`\n\tM map[string]url.URL `bson:\",inline\"`\n\tN int\n}\n")
	require.NoError(t, run(args("-type", "I", "-out", "i_fields.go"), io.Discard))
	content, err = os.ReadFile(filepath.Join(dir, "i_fields.go"))
	require.NoError(t, err)
	assert.Contains(t, string(content), "// URL is inlined")
	assert.NotContains(t, string(content), "&d.URL", "it is not stored under a name of its own")
	assert.NotContains(t, string(content), "&d.M")
	assert.NotContains(t, string(content), `"url"`, "an import that is not used")
	write("b.go", "package a\n\ntype B struct{ C x.Y }\n")
	require.ErrorContains(t, run(args("-type", "B"), io.Discard), "not imported")
	write("c.go", "package")
	require.Error(t, run(args("-type", "A"), io.Discard))
	assert.NotContains(t, packageName("go.mongodb.org/mongo-driver/v2"), "v2")
}
