package projectiontest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// Backend holds a backend to its whole contract. Setup returns an empty one for
// each test, and a function that lets its clock move on by at least d.
func Backend(t *testing.T, setup func(t *testing.T) (b projection.Backend, pass func(d time.Duration))) {
	backend := func(t *testing.T) projection.Backend { b, _ := setup(t); return b }
	t.Run("checkpoints", func(t *testing.T) {
		t.Parallel()
		CheckpointStore(t, func(t *testing.T) projection.CheckpointStore { return backend(t) })
	})
	t.Run("leases", func(t *testing.T) {
		t.Parallel()
		LeaseStore(t, func(t *testing.T) (projection.LeaseStore, func(time.Duration)) { return setup(t) })
	})
	t.Run("documents", func(t *testing.T) {
		t.Parallel()
		Documents(t, backend)
	})
	t.Run("commits", func(t *testing.T) {
		t.Parallel()
		Commits(t, backend)
	})
	t.Run("dead letters", func(t *testing.T) {
		t.Parallel()
		DeadLetters(t, backend)
	})
	t.Run("rows", func(t *testing.T) {
		t.Parallel()
		Rows(t, setup)
	})
}

var partition = projection.CheckpointKey{Projection: "p", Version: 1, Partition: 0}

// committer makes commits one after the other.
type committer struct {
	t    *testing.T
	b    projection.Backend
	key  projection.CheckpointKey
	from projection.Checkpoint
}

func newCommitter(t *testing.T, b projection.Backend) *committer {
	t.Helper()
	return &committer{t: t, b: b, key: partition}
}

// step is the next commit, one position further on.
func (c *committer) step(changes ...projection.Change) projection.Commit {
	return projection.Commit{Key: c.key, From: c.from, To: c.from.Position + 1, Fence: c.from.Fence, Changes: changes}
}

func (c *committer) commit(changes ...projection.Change) {
	c.t.Helper()
	c.do(c.step(changes...))
}

func (c *committer) do(step projection.Commit) {
	c.t.Helper()
	next, err := c.b.Commit(c.t.Context(), step)
	require.NoError(c.t, err)
	require.Equal(c.t, projection.Checkpoint{Position: step.To, Fence: step.Fence, Revision: step.From.Revision + 1}, next)
	c.from = next
}

// unchanged checks that a refused commit has left the checkpoint alone.
func (c *committer) unchanged() {
	c.t.Helper()
	stored, err := c.b.LoadCheckpoint(c.t.Context(), c.key)
	require.NoError(c.t, err)
	require.Equal(c.t, c.from, stored)
}

// doc is what documents of the suite hold.
type doc struct {
	N    int64          `json:"n"`
	Name string         `json:"name,omitempty"`
	Tags []string       `json:"tags,omitempty"`
	Sub  map[string]any `json:"sub,omitempty"`
}

func encode(t *testing.T, d any) []byte {
	t.Helper()
	data, err := eventstore.NewBSONCodec().Marshal(d)
	require.NoError(t, err)
	return data
}

func put(t *testing.T, model, key string, n int64) projection.Change {
	t.Helper()
	return projection.Change{Model: model, Key: key, Data: encode(t, doc{N: n})}
}

func remove(model, key string) projection.Change { return projection.Change{Model: model, Key: key} }

// numbers returns N of the documents that there are for keys.
func numbers(t *testing.T, b projection.DocumentStore, model string, keys ...string) map[string]int64 {
	t.Helper()
	docs, err := b.LoadDocuments(t.Context(), model, keys)
	require.NoError(t, err)
	all := map[string]int64{}
	for _, d := range docs {
		_, twice := all[d.Key]
		require.False(t, twice, "document %q comes twice", d.Key)
		all[d.Key] = decode(t, d.Data).N
	}
	return all
}

func decode(t *testing.T, data []byte) doc {
	t.Helper()
	var d doc
	require.NoError(t, eventstore.NewBSONCodec().Unmarshal(data, &d))
	return d
}

func keysOf(docs []projection.Document) []string {
	keys := []string{}
	for _, d := range docs {
		keys = append(keys, d.Key)
	}
	return keys
}

func event(position eventstore.Position) eventstore.Event {
	return eventstore.Event{
		ID:       eventstore.NewEventID(),
		Stream:   "order-1",
		Version:  eventstore.Version(position),
		Position: position,
		Type:     "order.placed",
		Schema:   2,
		Format:   eventstore.JSON,
		Data:     []byte(fmt.Sprintf(`{"n":%d}`, position)),
		Metadata: eventstore.Metadata{CorrelationID: "c", CausationID: "d", Tenant: "t", TraceParent: "p", TraceState: "s", Custom: map[string]string{"k.x": "v"}},
		Time:     time.UnixMilli(1_700_000_000_123).UTC(),
	}
}

func cancelled(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
