package mongosim_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/simstore/mongosim"
)

func TestLabelsOfFailPoints(t *testing.T) {
	t.Parallel()
	s, coll := setup(t)
	insert := func() mongo.ServerError {
		_, err := coll.InsertOne(t.Context(), bson.D{})
		return serverError(t, err)
	}
	require.NoError(t, s.FailCommand(mongosim.FailPoint{Commands: []string{"insert"}, ErrorCode: 91}))
	assert.True(t, insert().HasErrorLabel("RetryableWriteError"), "the server's own")
	require.NoError(t, s.FailCommand(mongosim.FailPoint{Commands: []string{"insert"}, ErrorCode: 91, ErrorLabels: []string{"Mine"}}))
	assert.True(t, insert().HasErrorLabel("Mine"))
	require.NoError(t, s.FailCommand(mongosim.FailPoint{Commands: []string{"insert"}, ErrorCode: 2}))
	assert.False(t, insert().HasErrorLabel("RetryableWriteError"), "not a code to retry on")
	s.ClearFailPoint()
	_, err := coll.InsertOne(t.Context(), bson.D{})
	require.NoError(t, err)
}

func TestFailPointsThatAreWrongAreRefused(t *testing.T) {
	t.Parallel()
	s := mongosim.Start(t)
	for name, f := range map[string]mongosim.FailPoint{
		"no command":       {ErrorCode: 1},
		"no effect":        {Commands: []string{"find"}},
		"negative times":   {Commands: []string{"find"}, ErrorCode: 1, Times: -1},
		"times and skip":   {Commands: []string{"find"}, ErrorCode: 1, Times: 1, Skip: 1},
		"probability of 2": {Commands: []string{"find"}, ErrorCode: 1, Probability: 2},
	} {
		assert.Error(t, s.FailCommand(f), name)
	}
}

func TestFailPointModes(t *testing.T) {
	t.Parallel()
	failures := func(t *testing.T, f mongosim.FailPoint, n int) (failed int) {
		s, coll := setup(t, func(c *mongosim.Config) { c.Seed = 42 })
		f.Commands, f.ErrorCode = []string{"count"}, 2
		require.NoError(t, s.FailCommand(f))
		for range n {
			if _, err := coll.EstimatedDocumentCount(t.Context()); err != nil {
				failed++
			}
		}
		return failed
	}
	assert.Equal(t, 3, failures(t, mongosim.FailPoint{Times: 3}, 10))
	assert.Equal(t, 7, failures(t, mongosim.FailPoint{Skip: 3}, 10))
	assert.Equal(t, 10, failures(t, mongosim.FailPoint{}, 10))
	assert.InDelta(t, 100, failures(t, mongosim.FailPoint{Probability: 0.5}, 200), 40)
	assert.Equal(t, 0, failures(t, mongosim.FailPoint{AppName: "another"}, 10))
	assert.Equal(t, 0, failures(t, mongosim.FailPoint{Namespace: "test.others"}, 10))
	assert.Equal(t, 10, failures(t, mongosim.FailPoint{Namespace: "test.things"}, 10))
}
