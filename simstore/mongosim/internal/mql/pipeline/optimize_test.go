package pipeline_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pipeline"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// TestStagesRunInTheServersOrder has stages that fail on every document, unless a stage behind them that lets
// none through is run first.
func TestStagesRunInTheServersOrder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, stages string
		fails        bool
	}{
		{"filter before computed field", `[{$addFields: {x: {$size: "$a"}}}, {$match: {_id: 9}}]`, false},
		{"filter on the computed field stays", `[{$addFields: {x: {$size: "$a"}}}, {$match: {x: 9}}]`, true},
		{"filter below the computed field stays", `[{$addFields: {x: {$size: "$a"}}}, {$match: {"x.y": 9}}]`, true},
		{"filter above a computed field stays", `[{$addFields: {"x.y": {$size: "$a"}}}, {$match: {x: 9}}]`, true},
		{"part of a filter moves", `[{$addFields: {x: {$size: "$a"}}}, {$match: {x: 1, _id: 9}}]`, false},
		{"$or moves as a whole", `[{$addFields: {x: {$size: "$a"}}}, {$match: {$or: [{_id: 9}, {a: 9}]}}]`, false},
		{"$or with a dependent part stays", `[{$addFields: {x: {$size: "$a"}}}, {$match: {$or: [{_id: 9}, {x: 9}]}}]`, true},
		{"$expr stays", `[{$addFields: {x: {$size: "$a"}}}, {$match: {$expr: {$eq: ["$_id", 9]}}}]`, true},
		{"$size stays", `[{$addFields: {x: {$size: "$a"}}}, {$match: {b: {$size: 9}}}]`, true},
		{"$elemMatch stays", `[{$addFields: {x: {$size: "$a"}}}, {$match: {b: {$elemMatch: {$gt: 99}}}}]`, true},
		{"filter before projection that keeps its field", `[{$project: {x: {$size: "$a"}}}, {$match: {_id: 9}}]`, false},
		{"filter on a field that a projection drops stays", `[{$project: {x: {$size: "$a"}}}, {$match: {a: 9}}]`, true},
		{"filter on a renamed field", `[{$addFields: {y: "$_id", x: {$size: "$a"}}}, {$match: {y: 9}}]`, false},
		{"filter before group, by its key", `[{$addFields: {x: {$size: "$a"}}}, {$group: {_id: "$k"}}, {$match: {_id: 9}}]`, false},
		{"existence of the group's key stays", `[{$addFields: {x: {$size: "$a"}}}, {$group: {_id: "$k"}}, {$match: {_id: {$exists: false}}}]`, true},
		{"filter before sort", `[{$sort: {b: 1, c: 1}}, {$match: {_id: 9}}]`, false},
		{"first of two sorts is left out", `[{$sort: {b: 1, c: 1}}, {$sort: {_id: 1}}]`, false},
		{"filter before unwind", `[{$addFields: {x: {$size: "$a"}}}, {$unwind: "$b"}, {$match: {_id: 9}}]`, false},
		{"skip before projection", `[{$project: {x: {$size: "$a"}}}, {$skip: 1}]`, false},
		{"limit before projection, and so the filter", `[{$project: {x: {$size: "$a"}}}, {$limit: 1}, {$match: {_id: 9}}]`, false},
		{"filter behind a sort's limit stays", `[{$sort: {b: 1, c: 1}}, {$limit: 1}, {$match: {_id: 9}}]`, true},
		{"filter behind a new root stays", `[{$replaceWith: {x: {$size: "$a"}}}, {$match: {_id: 9}}]`, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var stages []bson.Raw
			for _, s := range value.Elements(mqltest.ShortValue(t, c.stages)) {
				stages = append(stages, s.Value)
			}
			p, err := pipeline.Parse(stages, pipeline.Namespace{}, &expr.Env{})
			require.NoError(t, err)
			doc := mqltest.Short(t, `{_id: 1, a: 5, b: [1, 2], c: [3], k: 1}`)
			err = nil
			for _, e := range p.Run(context.Background(), nil, func(yield func(bson.Raw, error) bool) { yield(doc, nil) }) {
				if e != nil {
					err = e
				}
			}
			assert.Equal(t, c.fails, err != nil, "%v", err)
		})
	}
}
