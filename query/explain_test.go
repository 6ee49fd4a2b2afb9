package query_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query"
)

// TestParsePlan reads answers in the shapes of servers from 4.4 to 8.0.
func TestParsePlan(t *testing.T) {
	t.Parallel()
	for file, want := range map[string]query.Plan{
		"44_ixscan.json":      {Indexes: []string{"status_1"}, Stages: []string{"LIMIT", "FETCH", "IXSCAN"}, KeysExamined: 20, DocsExamined: 20, Returned: 20, Duration: 3 * time.Millisecond},
		"44_or_sort.json":     {Indexes: []string{"a_1", "b_1"}, MemorySort: true, Stages: []string{"SORT", "FETCH", "OR", "IXSCAN", "IXSCAN"}, KeysExamined: 7, DocsExamined: 5, Returned: 5},
		"44_collscan.json":    {CollectionScan: true, Stages: []string{"COLLSCAN"}, DocsExamined: 100, Returned: 3},
		"44_idhack.json":      {Indexes: []string{"_id_"}, Stages: []string{"IDHACK"}, KeysExamined: 1, DocsExamined: 1, Returned: 1},
		"44_aggregate.json":   {Indexes: []string{"status_1", "_id_"}, MemorySort: true, Stages: []string{"$cursor", "FETCH", "IXSCAN", "$lookup", "$sort"}, KeysExamined: 15, DocsExamined: 15, Returned: 10, Duration: time.Millisecond},
		"44_sharded.json":     {Indexes: []string{"status_1"}, Stages: []string{"SHARD_MERGE", "FETCH", "IXSCAN", "FETCH", "IXSCAN"}, KeysExamined: 9, DocsExamined: 9, Returned: 9, Duration: 2 * time.Millisecond},
		"60_sbe.json":         {Indexes: []string{"region_1"}, Stages: []string{"GROUP", "FETCH", "IXSCAN"}, KeysExamined: 50, DocsExamined: 50, Returned: 2, Duration: 4 * time.Millisecond},
		"60_covered.json":     {Indexes: []string{"status_1_total_1"}, Covered: true, Stages: []string{"PROJECTION_COVERED", "IXSCAN"}, KeysExamined: 20, Returned: 20},
		"60_sharded_agg.json": {Indexes: []string{"status_1"}, CollectionScan: true, Stages: []string{"$cursor", "FETCH", "IXSCAN", "COLLSCAN"}, KeysExamined: 4, DocsExamined: 12, Returned: 6, Duration: 5 * time.Millisecond},
		"80_express.json":     {Indexes: []string{"_id_"}, Stages: []string{"EXPRESS_IXSCAN"}, KeysExamined: 1, DocsExamined: 1, Returned: 1},
		"80_clustered.json":   {Indexes: []string{"_id_"}, Stages: []string{"EXPRESS_CLUSTERED_IXSCAN"}, DocsExamined: 1, Returned: 1},
		"80_eof.json":         {Stages: []string{"EOF"}},
		"not_an_explain.json": {},
	} {
		content, err := os.ReadFile(filepath.Join("testdata", "explain", file))
		require.NoError(t, err, file)
		var raw bson.Raw
		require.NoError(t, bson.UnmarshalExtJSON(content, false, &raw), file)
		want.Raw = raw
		if file == "80_clustered.json" {
			want.Covered = false
		}
		got := query.ParsePlan(raw)
		assert.Equal(t, want, got, file)
		assert.Equal(t, len(want.Indexes) > 0 && !want.CollectionScan, got.UsesIndex(), file)
	}
	files, err := filepath.Glob(filepath.Join("testdata", "explain", "*.json"))
	require.NoError(t, err)
	assert.Len(t, files, 13, strings.Join(files, " "))
}
