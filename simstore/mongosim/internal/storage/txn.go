package storage

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

// TxnOptions describe a transaction.
type TxnOptions struct {
	// LSID and TxnNumber are shown with its events in change streams: LSID is
	// {id, uid}.
	LSID      bson.Raw
	TxnNumber int64
	// At reads at an earlier time (atClusterTime); zero means now.
	At Timestamp
}

// A Txn is an open transaction. Operations of one transaction come one after
// the other; Abort may come at any time from anywhere.
type Txn struct {
	e        *Engine
	opts     TxnOptions
	snapshot Timestamp
	done     chan struct{}

	mu      sync.Mutex
	state   txnState
	writes  []txnWrite
	ops     []Op
	used    map[*Collection]struct{}
	created map[Namespace]*Collection
	at      Timestamp // of the commit
}

type txnState uint8

const (
	txnOpen txnState = iota
	txnCommitted
	txnAborted
)

// A txnWrite is a version that the transaction wrote. Several may be of one
// record.
type txnWrite struct {
	c *Collection
	r *record
	v *version
	// What the commit does to the collection's figures.
	count, size int64
}

// Begin opens a transaction that reads at the newest committed time, or at
// opts.At.
func (e *Engine) Begin(opts TxnOptions) (*Txn, error) {
	t := opts.At
	if t == 0 {
		t = e.pin()
	} else if err := e.pinAt(t); err != nil {
		return nil, err
	}
	return &Txn{e: e, opts: opts, snapshot: t, done: make(chan struct{})}, nil
}

// Done is closed when the transaction has ended.
func (tx *Txn) Done() <-chan struct{} { return tx.done }

// SnapshotTime is the time the transaction reads at.
func (tx *Txn) SnapshotTime() Timestamp { return tx.snapshot }

// Wrote tells whether there is anything to commit.
func (tx *Txn) Wrote() bool {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	return len(tx.ops) > 0
}

// use registers the transaction with a collection, so that the collection is
// not dropped or indexed beneath it. While such a thing is waiting, new
// transactions are turned away after a while.
func (tx *Txn) use(c *Collection) error {
	var deadline time.Time
	for {
		waiting, err := tx.tryUse(c)
		if !waiting || err != nil {
			return err
		}
		now := time.Now()
		switch {
		case deadline.IsZero():
			deadline = now.Add(tx.e.cfg.LockTimeout)
		case now.After(deadline):
			return mongoerr.New(mongoerr.LockTimeout, "Unable to acquire IX lock on '%s' within %dms.",
				c.Namespace(), tx.e.cfg.LockTimeout.Milliseconds()).WithLabels(mongoerr.LabelTransientTransaction)
		}
		select {
		case <-time.After(tx.e.cfg.LockTimeout / 10):
		case <-tx.done:
		}
	}
}

// tryUse is use without the patience: waiting says that something waits for
// the collection to be free of transactions.
func (tx *Txn) tryUse(c *Collection) (waiting bool, err error) {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.state != txnOpen {
		return false, errAborted()
	}
	if _, known := tx.used[c]; known {
		return false, nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.pending > 0:
		return true, nil
	case c.dropped.Load():
		return false, errDropped(c)
	case c.since > tx.snapshot && c.creator != tx:
		return false, errUnavailable(tx.snapshot, c.since)
	}
	if c.users == nil {
		c.users = make(map[*Txn]struct{})
	}
	c.users[tx] = struct{}{}
	if tx.used == nil {
		tx.used = make(map[*Collection]struct{})
	}
	tx.used[c] = struct{}{}
	return false, nil
}

// live fails once the transaction has ended. What was read before a call that
// succeeds was read from an intact snapshot.
func (tx *Txn) live() error {
	tx.mu.Lock()
	defer tx.mu.Unlock()
	if tx.state != txnOpen {
		return errAborted()
	}
	return nil
}

func errUnavailable(at, since Timestamp) error {
	return mongoerr.New(mongoerr.SnapshotUnavailable,
		"Unable to read from a snapshot due to pending collection catalog changes; please retry the operation. Snapshot timestamp is %s. Collection minimum is %s", at, since).
		WithLabels(mongoerr.LabelTransientTransaction)
}

// begin locks the transaction for an operation's writing step.
func (tx *Txn) begin() error {
	tx.mu.Lock()
	if tx.state != txnOpen {
		tx.mu.Unlock()
		return errAborted()
	}
	return nil
}

// end forgets the transaction everywhere; mu is not held, the state is final.
func (tx *Txn) end(used map[*Collection]struct{}) {
	for c := range used {
		c.leave(tx)
	}
	close(tx.done)
	tx.e.unpin(tx.snapshot)
}

// Commit makes everything visible at one time, which it returns (LastOp if
// nothing was written). It is refused with WriteConflict when a collection
// that the transaction created exists by now; the transaction is aborted
// then. Committing again gives the same time.
func (tx *Txn) Commit(ctx context.Context) (Timestamp, error) {
	tx.mu.Lock()
	switch tx.state {
	case txnCommitted:
		defer tx.mu.Unlock()
		return tx.at, nil
	case txnAborted:
		tx.mu.Unlock()
		return 0, errAborted()
	}
	created := len(tx.created) > 0
	if created {
		tx.mu.Unlock() // the catalog's lock comes first
		tx.e.catalog.mu.Lock()
		tx.mu.Lock()
		if tx.state != txnOpen {
			tx.mu.Unlock()
			tx.e.catalog.mu.Unlock()
			return tx.Commit(ctx) // it has ended meanwhile
		}
		if !tx.e.catalog.admits(tx.created) {
			tx.mu.Unlock()
			tx.e.catalog.mu.Unlock()
			tx.Abort()
			return 0, errWriteConflict()
		}
	}
	tx.at = tx.e.commitTxn(tx)
	tx.state = txnCommitted
	writes, used := tx.writes, tx.used
	tx.writes, tx.ops, tx.used = nil, nil, nil
	at := tx.at
	if created {
		for _, c := range tx.created {
			c.mu.Lock()
			c.since, c.creator = at, nil
			c.mu.Unlock()
			tx.e.catalog.put(c)
		}
		tx.created = nil
	}
	tx.mu.Unlock()
	if created {
		tx.e.catalog.mu.Unlock()
	}
	defer tx.end(used) // whatever happens: others wait for it
	tx.settle(writes)
	return at, nil
}

// commitTxn is the commit section: one timestamp for all versions, the oplog
// entry, and then everything is visible at once.
func (e *Engine) commitTxn(tx *Txn) Timestamp {
	if len(tx.ops) == 0 {
		return e.clock.visible()
	}
	e.clock.mu.Lock()
	defer e.clock.mu.Unlock()
	t := e.clock.next()
	for i := range tx.writes {
		tx.writes[i].v.time.Store(uint64(t))
	}
	e.oplog.append(Entry{Time: t, Ops: tx.ops, Txn: &Transaction{LSID: tx.opts.LSID, Number: tx.opts.TxnNumber}})
	e.clock.publish(t)
	return t
}

// settle brings the figures of the collections up to date after a commit and
// deals with the versions that were superseded.
func (tx *Txn) settle(writes []txnWrite) {
	for len(writes) > 0 {
		writes = writes[writes[0].c.settle(writes):]
	}
}

// settle deals with the first of writes that are c's, and returns how many.
func (c *Collection) settle(writes []txnWrite) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for n < len(writes) && writes[n].c == c && n < 1000 {
		w := writes[n]
		w.v.owner = nil
		c.count += w.count
		c.size += w.size
		if w.r.head == w.v && (w.v.prev != nil || w.v.doc == nil) {
			c.supersede(w.r, Timestamp(w.v.time.Load()))
		}
		n++
	}
	return n
}

// leave forgets a transaction that has ended.
func (c *Collection) leave(tx *Txn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.users, tx)
}

// Abort undoes everything. It may be called more than once, and after Commit,
// when it does nothing.
func (tx *Txn) Abort() {
	tx.mu.Lock()
	if tx.state != txnOpen {
		tx.mu.Unlock()
		return
	}
	tx.state = txnAborted
	writes, used := tx.writes, tx.used
	tx.writes, tx.ops, tx.used = nil, nil, nil
	for _, c := range tx.created {
		c.dropped.Store(true)
	}
	tx.created = nil
	tx.mu.Unlock()
	defer tx.end(used)
	for _, w := range slices.Backward(writes) {
		w.c.undo(w)
	}
}

// undo takes a write of a transaction back.
func (c *Collection) undo(w txnWrite) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.r.head == w.v {
		c.discard(w.r)
	}
}

// discard takes r's uncommitted newest version away. c.mu is held for writing.
func (c *Collection) discard(r *record) {
	gone := r.head
	r.head = gone.prev
	c.unindex(r, gone.doc)
	if r.head == nil {
		c.rows.remove(r.id)
	}
}
