package readmodel

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore/mongosim"
)

const model = "orders_v1"

func TestUniqueIndexesNameTheDocument(t *testing.T) {
	t.Parallel()
	e := setup(t)
	coll, err := e.Model(model)
	require.NoError(t, err)
	_, err = coll.Indexes().CreateOne(t.Context(), mongo.IndexModel{Keys: bson.D{{Key: "n", Value: 1}}, Options: options.Index().SetUnique(true)})
	require.NoError(t, err)
	from, err := e.Commit(t.Context(), next(projection.Checkpoint{}, put(t, model, "a", 1)))
	require.NoError(t, err)

	_, err = e.Commit(t.Context(), next(from, put(t, model, "b", 2), put(t, model, "c", 1), put(t, model, "d", 4)))
	refused := requireRefused(t, err)
	require.Equal(t, "c", refused.Key)
	require.Equal(t, model, refused.Model)
	require.ErrorIs(t, err, mongostore.ErrDuplicateKey)
	require.Equal(t, map[string]int64{"a": 1}, numbers(t, e, model, "a", "b", "c", "d"))

	// What a removal frees can be taken by the same commit.
	_, err = e.Commit(t.Context(), next(from, put(t, model, "c", 1), projection.Change{Model: model, Key: "a"}))
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"c": 1}, numbers(t, e, model, "a", "c"))
}

func requireRefused(t *testing.T, err error) *projection.DocumentError {
	t.Helper()
	var refused *projection.DocumentError
	require.ErrorAs(t, err, &refused)
	require.ErrorIs(t, err, eventstore.ErrNotWritten)
	require.NotErrorIs(t, err, eventstore.ErrUnavailable)
	return refused
}

func TestValidatorsNameTheDocument(t *testing.T) {
	t.Parallel()
	e := setup(t)
	require.NoError(t, e.on.Load().db.CreateCollection(t.Context(), model,
		options.CreateCollection().SetValidator(bson.D{{Key: "n", Value: bson.D{{Key: "$lt", Value: 100}}}})))
	_, err := e.Commit(t.Context(), next(projection.Checkpoint{}, put(t, model, "a", 1), put(t, model, "b", 100)))
	require.Equal(t, "b", requireRefused(t, err).Key)
	require.ErrorIs(t, err, mongostore.ErrInvalidDocument)
}

func TestBadUpdatesNameTheDocument(t *testing.T) {
	t.Parallel()
	e := setup(t)
	from, err := e.Commit(t.Context(), next(projection.Checkpoint{}, projection.Change{Model: model, Key: "text", Data: encode(t, doc{Name: "x"})}))
	require.NoError(t, err)
	for name, u := range map[string]any{
		"unknown operator":    bson.D{{Key: "$nonsense", Value: bson.D{{Key: "a", Value: 1}}}},
		"replacement":         bson.D{{Key: "a", Value: 1}},
		"nothing":             bson.D{},
		"nil":                 nil,
		"number":              7,
		"another id":          bson.D{{Key: "$set", Value: bson.D{{Key: "_id", Value: "other"}}}},
		"unknown stage":       mongo.Pipeline{{{Key: "$nonsense", Value: 1}}},
		"failing expression":  mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: "n", Value: bson.D{{Key: "$add", Value: bson.A{"$name", 1}}}}}}}},
		"path within text":    projection.Patch{Set: map[string]any{"name.first": 1}},
		"paths that conflict": projection.Patch{Set: map[string]any{"a": 1, "a.b": 2}},
		"empty path":          projection.Patch{Set: map[string]any{"a..b": 2}},
		"unencodable":         projection.Patch{Set: map[string]any{"a": make(chan int)}},
		"too large":           projection.Patch{Set: map[string]any{"a": strings.Repeat("x", 9<<20), "b": strings.Repeat("x", 8<<20)}},
	} {
		good := put(t, model, "good", 1)
		_, err := e.Commit(t.Context(), next(from, good, projection.Change{Model: model, Key: "text", Updates: []any{u}}))
		require.Equal(t, "text", requireRefused(t, err).Key, name)
		require.Empty(t, numbers(t, e, model, "good"), name)
	}
}

func TestUpdatesOfTheServersOwn(t *testing.T) {
	t.Parallel()
	e := setup(t)
	_, err := e.Commit(t.Context(), next(projection.Checkpoint{}, projection.Change{Model: model, Key: "a", Updates: []any{
		bson.D{{Key: "$max", Value: bson.D{{Key: "n", Value: int64(5)}}}},
		mongo.Pipeline{{{Key: "$set", Value: bson.D{{Key: "n", Value: bson.D{{Key: "$multiply", Value: bson.A{"$n", int64(3)}}}}}}}},
		bson.M{"$inc": bson.M{"n": int64(1)}},
	}}))
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"a": 16}, numbers(t, e, model, "a"))
}

func TestCommitsOfManyAndLargeDocuments(t *testing.T) {
	t.Parallel()
	e := setup(t)
	var changes []projection.Change
	for i := range 3 {
		changes = append(changes, projection.Change{Model: model, Key: fmt.Sprint("large", i), Data: encode(t, doc{N: int64(i), Name: strings.Repeat("x", 14<<20)})})
	}
	from, err := e.Commit(t.Context(), next(projection.Checkpoint{}, changes...))
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"large0": 0, "large1": 1, "large2": 2}, numbers(t, e, model, "large0", "large1", "large2"))

	changes = nil
	var keys []string
	for i := range 2*maxStatements + 7 {
		keys = append(keys, fmt.Sprint("k", i))
		changes = append(changes, put(t, model, keys[i], int64(i)))
	}
	_, err = e.Commit(t.Context(), next(from, changes...))
	require.NoError(t, err)
	require.Len(t, numbers(t, e, model, keys...), len(keys))
}

// The largest document that there may be.
func TestDocumentsUpToTheLimit(t *testing.T) {
	t.Parallel()
	e := setup(t)
	empty := len(encode(t, doc{Name: "x"})) - 1
	largest := encode(t, doc{Name: strings.Repeat("x", projection.MaxDocumentSize-empty)})
	require.Len(t, largest, projection.MaxDocumentSize)
	from, err := e.Commit(t.Context(), next(projection.Checkpoint{}, projection.Change{Model: model, Key: strings.Repeat("k", 900), Data: largest}))
	require.NoError(t, err)
	_, err = e.Commit(t.Context(), next(from, projection.Change{Model: model, Key: "a", Data: encode(t, doc{Name: strings.Repeat("x", projection.MaxDocumentSize-empty+1)})}))
	require.ErrorIs(t, requireRefused(t, err), eventstore.ErrTooLarge)
}

func TestLargeEventsCanBeParked(t *testing.T) {
	t.Parallel()
	e := setup(t)
	id := projection.LetterID{Projection: "p", Version: 1, Key: "k", Position: 3}
	c := next(projection.Checkpoint{})
	c.Parked = []projection.DeadLetter{{
		LetterID: id, Error: strings.Repeat("ä", maxReason),
		Event: eventstore.Event{Type: "large", Position: 3, Format: eventstore.JSON, Data: []byte(strings.Repeat("x", eventstore.MaxEventSize)), Time: time.UnixMilli(1).UTC()},
	}}
	from, err := e.Commit(t.Context(), c)
	require.NoError(t, err)
	letters, err := e.DeadLetters(t.Context(), projection.LetterQuery{Projection: "p", Version: 1})
	require.NoError(t, err)
	require.Len(t, letters, 1)
	require.True(t, c.Parked[0].Event.Equal(letters[0].Event))
	require.Equal(t, strings.Repeat("ä", maxReason/2), letters[0].Error)
	keys, err := e.ParkedKeys(t.Context(), "p", 1)
	require.NoError(t, err)
	require.Equal(t, map[string]int{"k": 1}, keys)

	c = next(from)
	c.Unparked = []projection.LetterID{id}
	_, err = e.Commit(t.Context(), c)
	require.NoError(t, err)
	n, err := e.on.Load().letters.CountDocuments(t.Context(), bson.D{})
	require.NoError(t, err)
	require.Zero(t, n, "its data is gone, too")
}

func TestModelsDroppedByAnotherProcess(t *testing.T) {
	t.Parallel()
	e := setup(t)
	from, err := e.Commit(t.Context(), next(projection.Checkpoint{}, put(t, model, "a", 1)))
	require.NoError(t, err)
	require.NoError(t, e.backend(t).DropModel(t.Context(), model))
	_, err = e.Commit(t.Context(), next(from, put(t, model, "b", 2)))
	require.NoError(t, err)
	require.Equal(t, map[string]int64{"b": 2}, numbers(t, e, model, "a", "b"))
}

func TestModelsAreNamedLikeCollections(t *testing.T) {
	t.Parallel()
	e := setup(t)
	for _, name := range []string{"", "a$b", "a\x00b", "system.users"} {
		_, err := e.Commit(t.Context(), next(projection.Checkpoint{}, put(t, name, "a", 1)))
		require.ErrorIs(t, err, eventstore.ErrInvalid, "%q", name)
		_, err = e.LoadDocuments(t.Context(), name, []string{"a"})
		require.ErrorIs(t, err, eventstore.ErrInvalid, "%q", name)
		require.ErrorIs(t, e.DropModel(t.Context(), name), eventstore.ErrInvalid, "%q", name)
	}
}

// What cannot be found out in time is said to be unknown, and what was certainly
// not written likewise.
func TestTimeIsUp(t *testing.T) {
	t.Parallel()
	e := simulated(t)
	from, err := e.Commit(t.Context(), next(projection.Checkpoint{}, put(t, model, "a", 1)))
	require.NoError(t, err)

	e.Backend = e.backend(t, func(c *Config) { c.Timeout = 500 * time.Millisecond })
	require.NoError(t, e.sim.FailCommand(mongosim.FailPoint{Commands: []string{"commitTransaction"}, CloseConnection: true}))
	for err == nil || errors.Is(err, eventstore.ErrNotWritten) { // a busy machine may not get as far as the commit
		_, err = e.Commit(t.Context(), next(from, put(t, model, "a", 2)))
		require.Error(t, err)
	}
	require.ErrorIs(t, err, eventstore.ErrOutcomeUnknown)

	require.NoError(t, e.sim.FailCommand(mongosim.FailPoint{Commands: []string{"update"}, CloseConnection: true}))
	_, err = e.Commit(t.Context(), next(from, put(t, model, "a", 2)))
	require.ErrorIs(t, err, eventstore.ErrNotWritten)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)

	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err = e.Commit(ctx, next(from, put(t, model, "a", 2)))
	require.ErrorIs(t, err, eventstore.ErrNotWritten)
	require.ErrorIs(t, err, context.DeadlineExceeded)
	e.sim.ClearFailPoint()
}

// A commit whose answer is lost is made once, and the caller is told that it was.
func TestLostAnswersAreFound(t *testing.T) {
	t.Parallel()
	e := simulated(t)
	from, err := e.Commit(t.Context(), next(projection.Checkpoint{}, put(t, model, "a", 1)))
	require.NoError(t, err)
	for name, f := range map[string]mongosim.FailPoint{
		"commit, lost twice": {Commands: []string{"commitTransaction"}, LoseReply: true, Times: 2},
		"commit, then gone":  {Commands: []string{"commitTransaction"}, LoseReply: true, Times: 1},
	} {
		require.NoError(t, e.sim.FailCommand(f))
		step := next(from, projection.Change{Model: model, Key: "a", Updates: []any{projection.Patch{Add: map[string]any{"n": int64(1)}}}})
		from, err = e.Commit(t.Context(), step)
		require.NoError(t, err, name)
	}
	require.Equal(t, map[string]int64{"a": 3}, numbers(t, e, model, "a"))

	// The checkpoint alone is moved without a transaction.
	require.NoError(t, e.sim.FailCommand(mongosim.FailPoint{Commands: []string{"update"}, LoseReply: true, Times: 3}))
	from, err = e.Commit(t.Context(), next(from))
	require.NoError(t, err)
	stored, err := e.LoadCheckpoint(t.Context(), orders)
	require.NoError(t, err)
	require.Equal(t, from, stored)
}

func TestDocumentsOfOthersAreNamed(t *testing.T) {
	t.Parallel()
	e := setup(t)
	coll, err := e.Model(model)
	require.NoError(t, err)
	_, err = coll.InsertOne(t.Context(), bson.D{{Key: "_id", Value: bson.NewObjectID()}})
	require.NoError(t, err)
	_, err = e.ScanDocuments(t.Context(), model, "", "", 0)
	require.NoError(t, err, "they are no documents of a projection's, and not in the range of any keys")
}
