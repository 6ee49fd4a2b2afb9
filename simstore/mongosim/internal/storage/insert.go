package storage

import (
	"context"
	"errors"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

// InsertResult tells how an InsertMany went.
type InsertResult struct {
	N      int       // documents inserted
	Last   Timestamp // the newest one's time; zero in a transaction or if there is none
	Errors []InsertError
}

// An InsertError is one document's refusal.
type InsertError struct {
	Index int
	Err   error
}

// insertBatch is how many documents are written under one lock.
const insertBatch = 32

// InsertMany inserts documents, each of which has an _id, and makes the
// collection if need be. Ordered stops at the first error. What ends the whole
// command, a write conflict or the context's end, is returned as err; in a
// transaction every error stops the rest.
func (e *Engine) InsertMany(ctx context.Context, w Write, ns Namespace, docs []bson.Raw, ordered bool) (InsertResult, error) {
	var res InsertResult
	c, _, err := e.Ensure(ctx, w.Txn, ns)
	if err != nil {
		return res, err
	}
	for at := 0; at < len(docs); {
		n, last, err := c.insert(ctx, w, docs[at:min(at+insertBatch, len(docs))])
		res.N += n
		at += n
		if last != 0 {
			res.Last = last
		}
		if err == nil {
			continue
		}
		if c.dropped.Load() && w.Txn == nil {
			if c, _, err = e.Ensure(ctx, nil, ns); err != nil {
				return res, err
			}
			continue
		}
		if endsCommand(err) {
			return res, err
		}
		res.Errors = append(res.Errors, InsertError{Index: at, Err: err})
		if ordered || w.Txn != nil {
			break
		}
		at++
	}
	return res, nil
}

// endsCommand tells errors that concern a whole command from those that
// concern one document.
func endsCommand(err error) bool {
	var e *mongoerr.Error
	if !errors.As(err, &e) {
		return true
	}
	switch e.Code {
	case mongoerr.WriteConflict, mongoerr.NoSuchTransaction, mongoerr.MaxTimeMSExpired, mongoerr.Interrupted,
		mongoerr.QueryPlanKilled, mongoerr.LockTimeout, mongoerr.SnapshotUnavailable:
		return true
	}
	return false
}

// Insert inserts one document that has an _id. In a transaction the time is
// zero.
func (c *Collection) Insert(ctx context.Context, w Write, doc bson.Raw) (Timestamp, error) {
	_, t, err := c.insert(ctx, w, []bson.Raw{doc})
	return t, err
}

// insert writes documents until one fails; n is how many it wrote. It waits
// for open transactions that hold a key, if w is plain.
func (c *Collection) insert(ctx context.Context, w Write, docs []bson.Raw) (n int, last Timestamp, err error) {
	if w.Txn != nil {
		if err := w.Txn.use(c); err != nil {
			return 0, 0, err
		}
	}
	p := prepPool.Get().(*prepared)
	defer p.release()
	for {
		m, t, err := c.insertPrepared(w, p, docs[n:])
		n += m
		if t != 0 {
			last = t
		}
		var b *busy
		switch {
		case errors.As(err, &b):
			if err := b.wait(ctx); err != nil {
				return n, last, err
			}
		case errors.Is(err, errChanged):
		default:
			return n, last, err
		}
	}
}

// wait waits for the transaction that stands in the way.
func (b *busy) wait(ctx context.Context) error {
	select {
	case <-b.txn.done:
		return nil
	case <-ctx.Done():
		return waitError(ctx)
	}
}

// errChanged says that a collection's indexes or options changed while a
// write was being prepared.
var errChanged = errors.New("storage: collection changed")

// prepared are documents with their keys, made without the collection's lock.
type prepared struct {
	indexes []*index
	check   *validator
	recs    []*record
	keys    []*keys // len(indexes) for each document
	n       int     // documents prepared; the next one failed with err
	err     error
}

var prepPool = sync.Pool{New: func() any { return new(prepared) }}

func (p *prepared) release() {
	clear(p.recs)
	p.recs, p.indexes, p.check, p.err = p.recs[:0], nil, nil, nil
	prepPool.Put(p)
}

func (p *prepared) key(doc, ix int) *keys {
	i := doc*len(p.indexes) + ix
	for len(p.keys) <= i {
		p.keys = append(p.keys, new(keys))
	}
	return p.keys[i]
}

// prepare makes keys and records until a document fails.
func (c *Collection) prepare(w Write, p *prepared, docs []bson.Raw) {
	c.mu.RLock()
	p.indexes, p.check = c.indexes, c.check
	capped := c.opts.Capped
	c.mu.RUnlock()
	p.recs, p.n, p.err = p.recs[:0], 0, nil
	if capped && w.Txn != nil {
		p.err = errCappedTxn(c)
		return
	}
	for _, doc := range docs {
		if !w.BypassValidation {
			if p.err = p.check.check(c, nil, doc); p.err != nil {
				return
			}
		}
		for i, ix := range p.indexes {
			if p.err = ix.keysOf(doc, p.key(p.n, i)); p.err != nil {
				return
			}
		}
		r := &record{head: newVersion(append(make(bson.Raw, 0, len(doc)), doc...), nil, w.Txn)}
		p.recs = append(p.recs, r)
		p.n++
	}
}

func errCappedTxn(c *Collection) error {
	return mongoerr.New(mongoerr.OperationNotSupportedInTransaction,
		"Collection '%s' is a capped collection. Writes in transactions are not allowed on capped collections.", c.Namespace())
}

// insertPrepared prepares documents and writes them under one lock.
func (c *Collection) insertPrepared(w Write, p *prepared, docs []bson.Raw) (n int, last Timestamp, err error) {
	c.prepare(w, p, docs)
	if w.Txn != nil {
		if err := w.Txn.begin(); err != nil {
			return 0, 0, err
		}
		defer w.Txn.mu.Unlock()
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := c.unchanged(p); err != nil {
		return 0, 0, err
	}
	for n < p.n && err == nil {
		if err = c.place(w, p, n); err == nil {
			n++
		}
	}
	if err == nil {
		err = p.err
	}
	if n > 0 {
		last = c.commitInserts(w, p.recs[:n])
	}
	return n, last, err
}

// unchanged makes sure that what was prepared still fits; mu is held.
func (c *Collection) unchanged(p *prepared) error {
	switch {
	case c.dropped.Load():
		return errDropped(c)
	case len(c.indexes) != len(p.indexes) || c.indexes[0] != p.indexes[0] || &c.indexes[0] != &p.indexes[0] || c.check != p.check:
		return errChanged
	}
	return nil
}

// place puts a record into the collection and its indexes, if its unique keys
// are free. mu is held for writing.
func (c *Collection) place(w Write, p *prepared, doc int) error {
	r := p.recs[doc]
	for i, ix := range c.indexes {
		if err := c.checkUnique(w, ix, r, p.key(doc, i), r.head.doc); err != nil {
			return err
		}
	}
	c.rows.add(r)
	for i, ix := range c.indexes {
		ix.insert(r, p.key(doc, i))
	}
	return nil
}

// checkUnique is index.unique with the server's error.
func (c *Collection) checkUnique(w Write, ix *index, r *record, k *keys, doc bson.Raw) error {
	err := ix.unique(w, r, k)
	if dup, ok := errors.AsType[*duplicate](err); ok {
		return c.duplicateError(ix, doc, func(key []byte) bool { return string(key) == string(dup.key) })
	}
	return err
}

// commitInserts gives new records their times, or leaves them to the
// transaction. mu is held for writing.
func (c *Collection) commitInserts(w Write, recs []*record) (last Timestamp) {
	if tx := w.Txn; tx != nil {
		for _, r := range recs {
			doc := r.head.doc
			tx.writes = append(tx.writes, txnWrite{c: c, r: r, v: r.head, count: 1, size: int64(len(doc))})
			tx.ops = append(tx.ops, Op{Kind: OpInsert, Coll: c.id, Doc: doc})
		}
		return 0
	}
	clock := &c.engine.clock
	clock.mu.Lock()
	for _, r := range recs {
		last = clock.next()
		r.head.time.Store(uint64(last))
		c.engine.oplog.append(Entry{Time: last, Op: Op{Kind: OpInsert, Coll: c.id, Doc: r.head.doc}})
	}
	clock.publish(last)
	clock.mu.Unlock()
	for _, r := range recs {
		c.count++
		c.size += int64(len(r.head.doc))
	}
	if c.opts.Capped {
		c.evict()
	}
	return last
}

// minCapped is how much every capped collection holds, in bytes.
const minCapped = 4096

// evict removes a capped collection's oldest documents until it is within its
// limits. As on the server that leaves no trace in the oplog.
func (c *Collection) evict() {
	for c.count > 1 && (c.size > max(c.opts.Size, minCapped) || c.opts.MaxCount > 0 && c.count > c.opts.MaxCount) {
		r := c.rows.after(0)
		if r == nil {
			return
		}
		c.count--
		c.size -= int64(len(r.head.doc))
		c.rows.remove(r.id)
		doc := r.head.doc
		r.head = nil
		c.unindex(r, doc)
	}
}
