package query_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

var update = flag.Bool("update", false, "write the golden files anew instead of comparing with them")

// A goldenFile has a line "name<TAB>canonical Extended JSON" for each case.
type goldenFile struct {
	path  string
	lines map[string]string
	order []string
}

func openGolden(t testing.TB, name string) *goldenFile {
	t.Helper()
	g := &goldenFile{path: filepath.Join("testdata", "golden", name), lines: map[string]string{}}
	content, err := os.ReadFile(g.path)
	if os.IsNotExist(err) && *update {
		return g
	}
	require.NoError(t, err)
	s := bufio.NewScanner(bytes.NewReader(content))
	s.Buffer(nil, 1<<20)
	for s.Scan() {
		name, json, ok := strings.Cut(s.Text(), "\t")
		require.True(t, ok, "%s: line without a tab: %s", g.path, s.Text())
		g.lines[name] = json
	}
	require.NoError(t, s.Err())
	return g
}

// check compares, or keeps for writing.
func (g *goldenFile) check(t testing.TB, name string, got any) {
	t.Helper()
	j := extJSON(t, got)
	if *update {
		g.lines[name] = j
	}
	require.NotContains(t, g.order, name, "two cases have the same name")
	g.order = append(g.order, name)
	want, ok := g.lines[name]
	require.True(t, ok, "%s has no line for %q; run with -update and read what it writes", g.path, name)
	if diff := cmp.Diff(indent(t, want), indent(t, j)); diff != "" {
		t.Errorf("%s: %s (-want +got):\n%s", g.path, name, diff)
	}
}

// finish writes the file, or complains of lines without a case.
func (g *goldenFile) finish(t testing.TB, complete bool) {
	t.Helper()
	if !*update {
		for name := range g.lines {
			if complete && !slices.Contains(g.order, name) {
				t.Errorf("%s has a line for %q, which is no case any more", g.path, name)
			}
		}
		return
	}
	var b strings.Builder
	names := g.order
	if !complete {
		// Cases that this server can't run keep what another one answered.
		for name := range g.lines {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
		slices.Sort(names)
	}
	for _, name := range names {
		fmt.Fprintf(&b, "%s\t%s\n", name, g.lines[name])
	}
	require.NoError(t, os.MkdirAll(filepath.Dir(g.path), 0o755))
	require.NoError(t, os.WriteFile(g.path, []byte(b.String()), 0o644))
}

func extJSON(t testing.TB, v any) string {
	t.Helper()
	raw, err := bson.MarshalExtJSON(bson.D{{Key: "v", Value: v}}, true, false)
	require.NoError(t, err)
	var out struct{ V json.RawMessage }
	require.NoError(t, json.Unmarshal(raw, &out))
	return string(out.V)
}

func indent(t testing.TB, s string) string {
	t.Helper()
	var b bytes.Buffer
	require.NoError(t, json.Indent(&b, []byte(s), "", " "))
	return b.String()
}

// dataset returns collections with the documents that golden cases run on.
func dataset(t testing.TB) *mongo.Database {
	t.Helper()
	db := dbForTest(t)
	content, err := os.ReadFile(filepath.Join("testdata", "golden", "dataset.jsonl"))
	require.NoError(t, err)
	documents := map[string][]any{}
	for line := range strings.Lines(string(content)) {
		name, doc, ok := strings.Cut(strings.TrimSpace(line), "\t")
		require.True(t, ok)
		var d bson.D
		require.NoError(t, bson.UnmarshalExtJSON([]byte(doc), true, &d))
		documents[name] = append(documents[name], d)
	}
	for name, docs := range documents {
		_, err := db.Collection(name).InsertMany(t.Context(), docs)
		require.NoError(t, err)
	}
	return db
}
