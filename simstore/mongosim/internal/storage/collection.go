package storage

import (
	"context"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

// A Collection is a set of documents with indexes over them. All methods are
// safe for concurrent use. A Collection that has been dropped behaves as an
// empty one to readers and refuses writes with QueryPlanKilled.
type Collection struct {
	engine *Engine
	uuid   UUID

	dropped atomic.Bool
	renames atomic.Int64

	mu      sync.RWMutex
	id      *CollectionID // its name now; replaced by a rename
	opts    CollectionOptions
	check   *validator
	rows    records
	indexes []*index // the first is _id's; the slice is replaced, never changed
	stale   []staleRecord
	sweepAt int       // how long stale may get
	count   int64     // committed documents
	size    int64     // their bytes
	since   Timestamp // transactions with an older snapshot cannot use it
	creator *Txn      // the open transaction that creates it; nil once it is in the catalog
	renamed string    // the last renaming, in the words a cursor gets to hear

	// Open transactions that have used it, which dropping and indexing wait
	// for, and whether something does.
	users   map[*Txn]struct{}
	pending int
}

// A staleRecord has versions which were superseded while a snapshot needed
// them.
type staleRecord struct {
	r     *record
	since Timestamp
}

func newCollection(e *Engine, id CollectionID, opts CollectionOptions) (*Collection, error) {
	c := &Collection{engine: e, uuid: id.UUID, id: &id, opts: opts}
	check, err := newValidator(opts)
	if err != nil {
		return nil, err
	}
	c.check = check
	c.indexes = []*index{newIDIndex()}
	return c, nil
}

// Namespace is the collection's name now.
func (c *Collection) Namespace() Namespace {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.id.Namespace
}

// UUID identifies the collection across renames.
func (c *Collection) UUID() UUID { return c.uuid }

// Options are the collection's options now.
func (c *Collection) Options() CollectionOptions {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.opts
}

// SetOptions changes options, as collMod does: change edits a copy. It waits
// for open transactions that use the collection.
func (c *Collection) SetOptions(ctx context.Context, change func(*CollectionOptions) error) error {
	unlock, err := c.exclusive(ctx, nil)
	if err != nil {
		return err
	}
	defer unlock()
	opts := c.opts
	if err := change(&opts); err != nil {
		return err
	}
	check, err := newValidator(opts)
	if err != nil {
		return err
	}
	c.opts, c.check = opts, check
	c.engine.commitOp(Op{Kind: OpCollMod, Coll: c.id})
	return nil
}

// Stats gives the collection's figures.
func (c *Collection) Stats() Stats {
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := Stats{Count: c.count, Size: c.size, Capped: c.opts.Capped, Max: c.opts.MaxCount, MaxSize: c.opts.Size}
	for _, ix := range c.indexes {
		s.Indexes = append(s.Indexes, IndexStats{
			Name: ix.spec.name, Spec: ix.spec.raw, Size: ix.bytes,
			Entries: int64(ix.tree.Len()), Uses: ix.uses.Load(), Since: ix.since,
		})
		s.IndexSize += ix.bytes
	}
	return s
}

// Count is the number of documents that v sees. Outside of transactions and
// snapshots it is known without reading them.
func (c *Collection) Count(v View) (int64, error) {
	if v.Txn != nil {
		if err := v.Txn.use(c); err != nil {
			return 0, err
		}
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	if v.Txn == nil && v.Snapshot == nil {
		return c.count, nil
	}
	s := c.sight(v)
	var n int64
	for r := c.rows.after(0); r != nil; r = c.rows.after(r.id) {
		if s.sees(r) != nil {
			n++
		}
	}
	return n, nil
}

// exclusive locks c for a change of its catalog entry once no transaction but
// tx uses it. It waits without holding any lock. The collection is locked when
// it returns nil, and gone from the catalog's point of view if it was dropped
// meanwhile, which is an error.
func (c *Collection) exclusive(ctx context.Context, tx *Txn) (unlock func(), err error) {
	c.mu.Lock()
	c.pending++
	for {
		if c.dropped.Load() {
			c.pending--
			c.mu.Unlock()
			return nil, mongoerr.New(mongoerr.NamespaceNotFound, "ns does not exist: %s", c.id.Namespace)
		}
		var other *Txn
		for u := range c.users {
			if u != tx {
				other = u
				break
			}
		}
		if other == nil {
			return func() { c.pending--; c.mu.Unlock() }, nil
		}
		c.mu.Unlock()
		select {
		case <-other.done:
			c.mu.Lock()
		case <-ctx.Done():
			c.mu.Lock()
			c.pending--
			c.mu.Unlock()
			return nil, waitError(ctx)
		}
	}
}

// supersede deals with r's versions before its newest committed one: those no
// snapshot needs go now, the others when the snapshots have gone. c.mu is held
// for writing and the newest version's commit has been published.
func (c *Collection) supersede(r *record, at Timestamp) {
	if oldest := c.engine.oldest(); oldest >= at {
		c.prune(r, oldest)
		return
	}
	c.stale = append(c.stale, staleRecord{r, at})
	if len(c.stale) == 1 {
		c.engine.garbage.note(c)
	}
	// Snapshots sweep when they go. What only the history window kept is swept
	// here, now and then.
	if len(c.stale) >= c.sweepAt {
		c.sweep(c.engine.oldest())
		c.sweepAt = max(64, 2*len(c.stale))
	}
}

// sweep prunes the records that became stale at or before oldest; c.mu is held
// for writing.
func (c *Collection) sweep(oldest Timestamp) {
	n := 0
	for n < len(c.stale) && c.stale[n].since <= oldest {
		c.prune(c.stale[n].r, oldest)
		n++
	}
	if n > 0 {
		c.stale = append(c.stale[:0:0], c.stale[n:]...)
	}
}

// prune cuts off the versions of r that nobody who reads at oldest or later
// can see, with the index keys only they have. c.mu is held for writing.
func (c *Collection) prune(r *record, oldest Timestamp) {
	keep := r.head
	for keep != nil && (!keep.committed() || Timestamp(keep.time.Load()) > oldest) {
		keep = keep.prev
	}
	if keep == nil {
		return
	}
	cut := keep.prev
	keep.prev = nil
	for v := cut; v != nil; v = v.prev {
		c.unindex(r, v.doc)
	}
	if keep == r.head && keep.doc == nil {
		c.rows.remove(r.id)
	}
}

// unindex removes the keys of a document that was cut out of r's versions,
// but for those that a remaining version has as well.
func (c *Collection) unindex(r *record, doc bson.Raw) {
	if doc == nil {
		return
	}
	for _, ix := range c.indexes {
		ix.removeUnshared(r, doc)
	}
}
