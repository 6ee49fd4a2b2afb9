package storage

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
)

// A churn makes, changes and deletes a few documents again and again, so that
// records come and go by the chunk.
type churn struct {
	t *testing.T
	e *Engine
	c *Collection
}

const (
	churnKeys   = 40
	churnRounds = 1500
)

// write makes a random document, or changes or deletes it if there is one. What
// others write may make it fail.
func (h *churn) write(ctx context.Context, r *rand.Rand, w Write) error {
	n := r.Int32N(churnKeys)
	fields := bson.D{{Key: "_id", Value: n}, {Key: "k", Value: r.Int32N(10)}}
	if r.IntN(3) == 0 {
		fields = append(fields, bson.E{Key: "u", Value: r.Int32N(60)})
	}
	doc := raw(h.t, fields)
	found, at := h.c.FindByID(View{Txn: w.Txn}, doc.Lookup("_id"))
	if found == nil {
		_, err := h.c.Insert(ctx, w, doc)
		return err
	}
	gone := r.IntN(2) == 0
	_, err := h.c.Modify(ctx, w, at, func(bson.Raw) (Change, error) {
		if gone {
			return Change{Delete: true}, nil
		}
		return Change{Doc: doc}, nil
	})
	return err
}

// transact makes a few writes in a transaction and ends it one way or the other.
func (h *churn) transact(ctx context.Context, r *rand.Rand) {
	tx, err := h.e.Begin(TxnOptions{TxnNumber: 1})
	if err != nil {
		h.t.Error(err)
		return
	}
	defer tx.Abort()
	if tx.use(h.c) != nil {
		return
	}
	for range 1 + r.IntN(8) {
		if h.write(ctx, r, Write{Txn: tx}) != nil {
			return
		}
	}
	if r.IntN(4) > 0 {
		if _, err := tx.Commit(ctx); err != nil {
			h.t.Error(err)
		}
	}
}

// look reads beneath a snapshot, which it holds for a while.
func (h *churn) look(ctx context.Context, _ *rand.Rand) {
	s, err := h.e.SnapshotAt(0)
	if err != nil {
		h.t.Error(err)
		return
	}
	defer s.Release()
	var sizes [2]int
	for i := range sizes {
		cur, err := h.c.Find(ctx, View{Snapshot: s}, query(h.t, `{"k":{"$gte":0}}`))
		if err != nil {
			h.t.Error(err)
			return
		}
		for _, err := range cur.All(ctx) {
			if err != nil {
				h.t.Error(err)
				return
			}
			sizes[i]++
		}
	}
	assert.Equal(h.t, sizes[0], sizes[1], "a snapshot stays what it is")
}

// Whatever comes together, nothing is left behind but the documents: no version
// that nobody can see, no key of one, and nobody who waits.
func TestChurn(t *testing.T) {
	t.Parallel()
	e := open(t)
	h := &churn{t: t, e: e, c: collection(t, e)}
	index1(t, h.c, `{"key":{"k":1},"name":"k"}`)
	index1(t, h.c, `{"key":{"u":1},"name":"u","unique":true,"sparse":true}`)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	var working, indexing sync.WaitGroup
	for i, work := range []func(context.Context, *rand.Rand){
		func(ctx context.Context, r *rand.Rand) { _ = h.write(ctx, r, Write{}) },
		func(ctx context.Context, r *rand.Rand) { _ = h.write(ctx, r, Write{}) },
		h.transact, h.transact, h.transact, h.look, h.look,
	} {
		working.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			for range churnRounds {
				work(t.Context(), r)
			}
		})
	}
	var done atomic.Bool
	indexing.Go(func() {
		for !done.Load() {
			_, _, err := h.c.CreateIndexes(t.Context(), nil, []bson.Raw{raw(t, `{"key":{"x":1,"k":-1},"name":"x"}`)})
			if err == nil {
				_, err = h.c.DropIndexes(t.Context(), raw(t, `{"name":"x"}`).Lookup("name"))
			}
			if err != nil {
				t.Error(err)
				return
			}
		}
	})
	working.Wait()
	done.Store(true)
	indexing.Wait()

	left := len(find(t, h.c, View{}, Query{}))
	figures := h.c.Stats()
	require.EqualValues(t, left, figures.Count)
	require.EqualValues(t, left, figures.Indexes[0].Entries)
	require.EqualValues(t, left, figures.Indexes[1].Entries)
	require.Positive(t, h.c.rows.base, "chunks have come and gone")
	require.Empty(t, h.c.stale)
	require.Empty(t, h.c.users)
	require.Zero(t, h.c.pending)
	require.Zero(t, e.snaps.active.Load())
}
