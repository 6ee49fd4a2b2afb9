package storage

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A Change is what an update function decides about a document.
type Change struct {
	// Delete removes the document.
	Delete bool
	// Doc is the new document, which the storage then owns; nil (without
	// Delete) leaves the document as it is.
	Doc bson.Raw
	// Update describes how Doc came about by update operators or a pipeline;
	// nil means that it replaces the document.
	Update *UpdateDescription
}

// A ModifyResult tells what Modify did.
type ModifyResult struct {
	Found   bool      // fn was called with a document
	Changed bool      // a new version was written
	Before  bson.Raw  // the document that fn saw last
	After   bson.Raw  // the document afterwards; nil after a deletion
	Time    Timestamp // of the write; zero in a transaction
}

// optimistic is how often Modify runs its function without the collection's
// lock before it gives up hope that nobody intervenes.
const optimistic = 3

// Modify changes one document. fn sees the current version; it is called again
// when a concurrent write intervenes, so it matches the filter anew and has no
// effects of its own. A plain Modify waits for an open transaction that has
// changed the document; one in a transaction gets WriteConflict.
func (c *Collection) Modify(ctx context.Context, w Write, id RecordID, fn func(cur bson.Raw) (Change, error)) (ModifyResult, error) {
	if w.Txn != nil {
		if err := w.Txn.use(c); err != nil {
			return ModifyResult{}, err
		}
	}
	p := prepPool.Get().(*prepared)
	defer p.release()
	for attempt := 0; ; attempt++ {
		m := &modification{c: c, w: w, id: id, fn: fn, p: p}
		var err error
		if attempt < optimistic {
			err = m.run()
		} else {
			err = m.runLocked()
		}
		var b *busy
		switch {
		case errors.As(err, &b):
			if err := b.wait(ctx); err != nil {
				return ModifyResult{}, err
			}
		case errors.Is(err, errChanged):
			if err := ctx.Err(); err != nil {
				return ModifyResult{}, waitError(ctx)
			}
		default:
			return m.res, err
		}
	}
}

// A modification is one attempt.
type modification struct {
	c  *Collection
	w  Write
	id RecordID
	fn func(cur bson.Raw) (Change, error)
	p  *prepared

	r      *record
	base   *version // what fn saw
	change Change
	moved  []int // the indexes in which the keys change
	res    ModifyResult
}

// run computes without the collection's lock and then looks whether it still
// holds.
func (m *modification) run() error {
	c := m.c
	c.mu.RLock()
	m.find(c.sight(View{Txn: m.w.Txn}))
	c.mu.RUnlock()
	if m.base == nil {
		return nil
	}
	if write, err := m.decide(); !write || err != nil {
		return err
	}
	unlock, err := m.lock()
	if err != nil {
		return err
	}
	defer unlock()
	if err := c.unchanged(m.p); err != nil {
		return err
	}
	return m.apply()
}

// runLocked computes while it holds the lock, so that nobody can intervene.
func (m *modification) runLocked() error {
	unlock, err := m.lock()
	if err != nil {
		return err
	}
	defer unlock()
	c := m.c
	s := c.sight(View{Txn: m.w.Txn})
	if m.w.Txn == nil {
		s.time = ^Timestamp(0) // a commit on its way to being visible counts too
	}
	if m.find(s); m.base == nil {
		return nil
	}
	if write, err := m.decideWith(c.indexes, c.check); !write || err != nil {
		return err
	}
	return m.apply()
}

// lock takes the transaction's and the collection's lock.
func (m *modification) lock() (unlock func(), err error) {
	tx := m.w.Txn
	if tx == nil {
		m.c.mu.Lock()
		return m.c.mu.Unlock, nil
	}
	if err := tx.begin(); err != nil {
		return nil, err
	}
	m.c.mu.Lock()
	return func() {
		m.c.mu.Unlock()
		tx.mu.Unlock()
	}, nil
}

// find looks the document up; base stays nil if s sees none. mu is held.
func (m *modification) find(s sight) {
	if m.r = m.c.rows.get(m.id); m.r != nil {
		m.base = s.sees(m.r)
	}
}

// decide calls fn and prepares the new document's keys.
func (m *modification) decide() (write bool, err error) {
	m.c.mu.RLock()
	indexes, check := m.c.indexes, m.c.check
	m.c.mu.RUnlock()
	return m.decideWith(indexes, check)
}

func (m *modification) decideWith(indexes []*index, check *validator) (write bool, err error) {
	m.res = ModifyResult{Found: true, Before: m.base.doc, After: m.base.doc}
	if m.change, err = m.fn(m.base.doc); err != nil {
		return false, err
	}
	if !m.change.Delete && m.change.Doc == nil {
		return false, nil
	}
	m.p.indexes, m.p.check = indexes, check
	if m.change.Delete {
		m.res.After = nil
		return true, nil
	}
	m.res.After = m.change.Doc
	if !m.w.BypassValidation {
		if err := check.check(m.c, m.base.doc, m.change.Doc); err != nil {
			return false, err
		}
	}
	for i, ix := range indexes {
		if err := ix.keysOf(m.change.Doc, m.p.key(0, i)); err != nil {
			return false, err
		}
	}
	return true, nil
}

// apply writes the new version. All locks are held.
func (m *modification) apply() error {
	c, r, head := m.c, m.r, m.r.head
	if c.rows.get(m.id) != r || head == nil {
		return errChanged // it was deleted, finally
	}
	switch {
	case !head.committed() && head.owner != m.w.Txn:
		return conflict(m.w, head.owner)
	case m.w.Txn != nil && head.committed() && Timestamp(head.time.Load()) > m.w.Txn.snapshot:
		return errWriteConflict()
	case head != m.base:
		return errChanged
	}
	if err := m.checkCapped(); err != nil {
		return err
	}
	doc := m.change.Doc
	if m.change.Delete {
		doc = nil
	}
	m.moved = m.moved[:0]
	if doc != nil {
		for i, ix := range c.indexes {
			if ix.unmoved(head.doc, m.p.key(0, i)) {
				continue
			}
			m.moved = append(m.moved, i)
			if err := c.checkUnique(m.w, ix, r, m.p.key(0, i), doc); err != nil {
				return err
			}
		}
	}
	// Within a transaction earlier versions of its own stay as well: they hold
	// the keys that it has had in between.
	v := newVersion(doc, head, m.w.Txn)
	r.head = v
	for _, i := range m.moved {
		c.indexes[i].insert(r, m.p.key(0, i))
	}
	m.commit(v)
	return nil
}

func (m *modification) checkCapped() error {
	c := m.c
	switch {
	case !c.opts.Capped:
		return nil
	case m.w.Txn != nil:
		return mongoerr.New(mongoerr.OperationNotSupportedInTransaction,
			"Collection '%s' is a capped collection. Writes in transactions are not allowed on capped collections.", c.id.Namespace)
	case m.change.Delete:
		return mongoerr.New(mongoerr.IllegalOperation, "cannot remove from a capped collection: %s", c.id.Namespace)
	case len(m.change.Doc) != len(m.base.doc):
		return mongoerr.New(10003, "Cannot change the size of a document in a capped collection: %d != %d", len(m.base.doc), len(m.change.Doc))
	}
	return nil
}

// op is the change as the oplog tells it.
func (m *modification) op() Op {
	op := Op{Kind: OpReplace, Coll: m.c.id, Doc: m.change.Doc, Update: m.change.Update}
	switch {
	case m.change.Delete:
		op.Kind, op.Doc, op.Update = OpDelete, documentKey(m.base.doc), nil
	case m.change.Update != nil:
		op.Kind = OpUpdate
	}
	if m.c.opts.PreImages {
		op.Pre = m.base.doc
	}
	return op
}

// documentKey is {_id: …} of a document.
func documentKey(doc bson.Raw) bson.Raw {
	id := value.Field(doc, "_id")
	o := value.NewObject(len(id.Value) + 16)
	o.Add("_id", id)
	return o.Doc()
}

// commit makes the version visible or leaves that to the transaction.
func (m *modification) commit(v *version) {
	c := m.c
	m.res.Changed = true
	var count int64
	if m.change.Delete {
		count = -1
	}
	size := int64(len(v.doc)) - int64(len(m.base.doc))
	if tx := m.w.Txn; tx != nil {
		tx.writes = append(tx.writes, txnWrite{c: c, r: m.r, v: v, count: count, size: size})
		tx.ops = append(tx.ops, m.op())
		return
	}
	op := m.op()
	clock := &c.engine.clock
	clock.mu.Lock()
	t := clock.next()
	v.time.Store(uint64(t))
	c.engine.oplog.append(Entry{Time: t, Op: op})
	clock.publish(t)
	clock.mu.Unlock()
	m.res.Time = t
	c.count += count
	c.size += size
	if v.doc != nil && len(m.moved) == 0 && v.prev.prev == nil && c.engine.oldest() >= t {
		v.prev = nil // nobody needs it, and its keys are the new version's
		return
	}
	c.supersede(m.r, t)
}

// Get reads a document by record id; nil if v sees none.
func (c *Collection) Get(v View, id RecordID) bson.Raw {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if r := c.rows.get(id); r != nil {
		if found := c.sight(v).sees(r); found != nil {
			return found.doc
		}
	}
	return nil
}

// FindByID reads a document by _id; nil if v sees none.
func (c *Collection) FindByID(v View, id bson.RawValue) (bson.Raw, RecordID) {
	k := keyPool.Get().(*keys)
	defer keyPool.Put(k)
	k.buf = value.AppendKey(k.buf[:0], id, false)
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := c.sight(v)
	var doc bson.Raw
	var at RecordID
	c.indexes[0].tree.Ascend(entry{key: text(k.buf)}, func(e entry) bool {
		if e.key != text(k.buf) {
			return false
		}
		if found := s.sees(e.r); found != nil {
			doc, at = found.doc, e.r.id
			return false
		}
		return true
	})
	return doc, at
}
