package command

import (
	"context"
	"iter"
	"math/rand/v2"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/changestream"
	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/project"
	"github.com/annals-es/annals/simstore/mongosim/internal/session"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// Batches.
const (
	defaultFirstBatch = 101
	// maxBatchBytes is how much a batch may hold, its first document aside.
	maxBatchBytes = maxDocumentSize
)

// A source yields the documents of a cursor.
type source interface {
	// next gives the next document; ok is false at the (present) end.
	next(ctx context.Context) (doc bson.Raw, ok bool, err error)
	// resume is called when a getMore goes on.
	resume() error
	close()
}

// A cursor is a query that is not read to its end. It is used by one request at a time.
type cursor struct {
	id    int64
	ns    storage.Namespace
	owner sessionFields // the session and transaction it belongs to
	user  string

	src     source
	stream  *changestream.Stream // instead of src: a change stream
	waits   bool                 // tailable and awaits data
	tails   bool                 // tailable: the end is not its end
	catalog bool                 // over collections or indexes, whose replies have another order of fields
	held    bson.Raw             // read, but too large for the batch before
	left    int64                // documents that the limit still allows; -1: no limit
	budget  time.Duration        // of maxTimeMS; 0: none
	snap    *storage.Snapshot
	ctx     *cursorContext // what a source sees that was made once

	// guarded by cursors.mu
	inUse   bool
	cancel  context.CancelCauseFunc // of the request that uses it
	killed  bool
	lastUse time.Time
}

func (c *cursor) release() {
	if c.src != nil {
		c.src.close()
	}
	if c.stream != nil {
		c.stream.Close()
	}
	if c.snap != nil {
		c.snap.Release()
	}
}

// A cursorContext is the context of the request that uses a cursor at the moment. A
// pipeline keeps the context that it was started with, and outlives its first request.
type cursorContext struct {
	mu  sync.Mutex
	cur context.Context
}

func newCursorContext(ctx context.Context) *cursorContext { return &cursorContext{cur: ctx} }

func (c *cursorContext) set(ctx context.Context) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.cur = ctx
}

func (c *cursorContext) get() context.Context {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cur
}

func (c *cursorContext) Deadline() (time.Time, bool) { return c.get().Deadline() }
func (c *cursorContext) Done() <-chan struct{}       { return c.get().Done() }
func (c *cursorContext) Err() error                  { return c.get().Err() }
func (c *cursorContext) Value(key any) any           { return c.get().Value(key) }

// findSource reads a collection.
type findSource struct {
	cur  *storage.Cursor
	proj *project.Projection
}

func (s *findSource) next(ctx context.Context) (bson.Raw, bool, error) {
	doc, ok, err := s.cur.Next(ctx)
	if err != nil || !ok || s.proj == nil {
		return doc, ok, err
	}
	doc, err = s.proj.Apply(doc)
	return doc, err == nil, err
}

func (s *findSource) resume() error { return s.cur.Refresh() }
func (s *findSource) close()        { s.cur.Close() }

// seqSource reads a sequence, such as a pipeline's.
type seqSource struct {
	pull func() (bson.Raw, error, bool)
	stop func()
}

func newSeqSource(seq iter.Seq2[bson.Raw, error]) *seqSource {
	pull, stop := iter.Pull2(seq)
	return &seqSource{pull, stop}
}

func (s *seqSource) next(context.Context) (bson.Raw, bool, error) {
	doc, err, ok := s.pull()
	return doc, ok && err == nil, err
}

func (s *seqSource) resume() error { return nil }
func (s *seqSource) close()        { s.stop() }

// sliceSource holds its documents.
type sliceSource struct{ docs []bson.Raw }

func (s *sliceSource) next(context.Context) (bson.Raw, bool, error) {
	if len(s.docs) == 0 {
		return nil, false, nil
	}
	doc := s.docs[0]
	s.docs = s.docs[1:]
	return doc, true, nil
}

func (s *sliceSource) resume() error { return nil }
func (s *sliceSource) close()        {}

// A batch is what one reply takes from a cursor.
type batch struct {
	docs []bson.Raw
	end  bool // nothing can follow
}

// fill takes up to limit documents from the cursor's source, as many as fit into a reply.
// A negative limit is none.
func (c *cursor) fill(ctx context.Context, limit int64) (batch, error) {
	var b batch
	size := 0
	for limit < 0 || int64(len(b.docs)) < limit {
		if c.left == 0 {
			b.end = true
			return b, nil
		}
		doc := c.held
		c.held = nil
		if doc == nil {
			next, ok, err := c.src.next(ctx)
			if err != nil {
				return b, err
			}
			if !ok {
				b.end = !c.tails
				return b, nil
			}
			doc = next
		}
		if len(b.docs) > 0 && size+len(doc) > maxBatchBytes {
			c.held = doc
			return b, nil
		}
		b.docs = append(b.docs, doc)
		size += len(doc)
		if c.left > 0 {
			c.left--
		}
	}
	b.end = c.left == 0
	return b, nil
}

// appendBatch writes a cursor reply.
func appendBatch(out *reply, first bool, id int64, ns string, docs []bson.Raw, token bson.Raw) {
	at := out.begin("cursor")
	name := "nextBatch"
	if first {
		name = "firstBatch"
	}
	out.documents(name, docs)
	if token != nil {
		out.document("postBatchResumeToken", token)
	}
	out.int64("id", id)
	out.string("ns", ns)
	out.end(at)
}

// cursors are the open cursors of a node.
type cursors struct {
	now     func() time.Time
	timeout time.Duration

	mu     sync.Mutex
	random *rand.Rand
	open   map[int64]*cursor
}

func newCursors(now func() time.Time, timeout time.Duration, random *rand.Rand) *cursors {
	return &cursors{now: now, timeout: timeout, random: random, open: map[int64]*cursor{}}
}

// add registers a cursor and returns its new id.
func (cs *cursors) add(c *cursor) int64 {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c.id == 0 || cs.open[c.id] != nil {
		c.id = cs.random.Int64() // positive
	}
	c.lastUse = cs.now()
	cs.open[c.id] = c
	return c.id
}

func errCursorNotFound(id int64) error {
	return mongoerr.New(mongoerr.CursorNotFound, "cursor id %d not found", id)
}

// errCursorKilled is the cause with which a request is interrupted whose cursor is killed.
func errCursorKilled() error {
	return mongoerr.New(mongoerr.CursorKilled, "operation was interrupted")
}

// pin takes a cursor for a request.
func (cs *cursors) pin(ctx context.Context, id int64) (*cursor, context.Context, error) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c := cs.open[id]
	if c == nil {
		return nil, nil, errCursorNotFound(id)
	}
	if c.inUse {
		return nil, nil, mongoerr.New(mongoerr.CursorInUse, "cursor id %d is already in use", id)
	}
	c.inUse = true
	ctx, c.cancel = context.WithCancelCause(ctx)
	return c, ctx, nil
}

// unpin gives a cursor back, or closes it.
func (cs *cursors) unpin(c *cursor, end bool) {
	cs.mu.Lock()
	c.inUse = false
	c.lastUse = cs.now()
	if c.cancel != nil {
		c.cancel(nil)
		c.cancel = nil
	}
	end = end || c.killed
	if end {
		delete(cs.open, c.id)
	}
	cs.mu.Unlock()
	if end {
		c.release()
	}
}

// kill closes a cursor, or has the request that uses it close it. It reports whether
// there was one.
func (cs *cursors) kill(id int64, may func(*cursor) bool) bool {
	cs.mu.Lock()
	c := cs.open[id]
	if c == nil || c.killed || may != nil && !may(c) {
		cs.mu.Unlock()
		return false
	}
	if c.inUse {
		c.killed = true
		c.cancel(errCursorKilled())
		cs.mu.Unlock()
		return true
	}
	delete(cs.open, id)
	cs.mu.Unlock()
	c.release()
	return true
}

// killWhere kills the cursors that match.
func (cs *cursors) killWhere(match func(*cursor) bool) {
	cs.mu.Lock()
	var ids []int64
	for id, c := range cs.open {
		if match(c) {
			ids = append(ids, id)
		}
	}
	cs.mu.Unlock()
	for _, id := range ids {
		cs.kill(id, nil)
	}
}

func (cs *cursors) killSession(id session.ID) {
	cs.killWhere(func(c *cursor) bool { return c.owner.has && c.owner.id == id })
}

// killTransaction kills the cursors of a transaction that has ended.
func (cs *cursors) killTransaction(id session.ID, number int64) {
	cs.killWhere(func(c *cursor) bool { return c.owner.autocommit && c.owner.id == id && c.owner.txnNumber == number })
}

// reap kills the cursors that nobody has used for the timeout; those of sessions live as long as these.
func (cs *cursors) reap() {
	now := cs.now()
	cs.killWhere(func(c *cursor) bool {
		return !c.owner.has && !c.inUse && now.Sub(c.lastUse) >= cs.timeout
	})
}

func (cs *cursors) closeAll() { cs.killWhere(func(*cursor) bool { return true }) }

func (cs *cursors) len() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open)
}

// respond writes the first batch and registers the cursor when more can follow.
func (r *request) respond(c *cursor, ns string, b batch, token bson.Raw, out *reply) {
	var id int64
	if b.end {
		c.release()
	} else {
		c.owner = r.session
		c.user = r.conn.auth.identity()
		id = r.e.cursors.add(c)
	}
	if c.catalog {
		appendCatalogBatch(out, id, ns, b.docs)
		return
	}
	appendBatch(out, true, id, ns, b.docs, token)
}

// appendCatalogBatch is appendBatch in the order in which the server answers what did not take a query plan.
func appendCatalogBatch(out *reply, id int64, ns string, docs []bson.Raw) {
	at := out.begin("cursor")
	out.int64("id", id)
	out.string("ns", ns)
	out.documents("firstBatch", docs)
	out.end(at)
}
