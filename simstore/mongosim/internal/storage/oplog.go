package storage

import (
	"context"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// An OpKind says what an operation in the oplog did.
type OpKind uint8

// The kinds of operations. Those after OpDelete are commands.
const (
	OpNoop OpKind = iota
	OpInsert
	OpUpdate  // by update operators or a pipeline; Update says what changed
	OpReplace // the whole document
	OpDelete
	OpCreate
	OpDrop
	OpRename // From Coll to To
	OpDropDatabase
	OpCreateIndex
	OpDropIndex
	OpCollMod
)

// A CollectionID is a collection as it was named when an operation was logged.
type CollectionID struct {
	Namespace Namespace
	UUID      UUID
}

// An Op is one operation.
type Op struct {
	Kind OpKind
	// Coll is where it happened; for OpDropDatabase its Coll name is empty.
	Coll *CollectionID
	// Doc is the document afterwards; for OpDelete its document key.
	Doc bson.Raw
	// Pre is the document before, where the collection keeps pre-images.
	Pre bson.Raw
	// Update describes an OpUpdate.
	Update *UpdateDescription
	// To is where an OpRename went, and Dropped the collection it replaced.
	To      *CollectionID
	Dropped *CollectionID
	// Message is an OpNoop's, an index's name or the like.
	Message string
}

// An UpdateDescription is what a change stream tells about an update.
type UpdateDescription struct {
	Updated bson.Raw // dotted paths and new values; nil for none
	Removed []string // dotted paths
}

// A Transaction identifies the transaction whose operations an entry holds.
type Transaction struct {
	LSID   bson.Raw // {id, uid}
	Number int64
}

// An Entry is what was committed at one time: one operation, or all those of
// a transaction.
type Entry struct {
	Time Timestamp
	Op   Op           // the operation, if Txn is nil
	Ops  []Op         // the operations, if Txn is not nil
	Txn  *Transaction // nil for a plain write
}

// size is what an entry counts against the oplog's limit.
func (en *Entry) size() int64 {
	n := en.Op.size()
	for i := range en.Ops {
		n += en.Ops[i].size()
	}
	return n
}

func (op *Op) size() int64 {
	n := int64(128 + len(op.Doc) + len(op.Pre))
	if op.Update != nil {
		n += int64(len(op.Update.Updated))
		for _, r := range op.Update.Removed {
			n += int64(len(r))
		}
	}
	return n
}

const oplogChunk = 256

// An Oplog holds the newest committed entries in order. Entries are numbered
// from 0; a number never changes its entry.
type Oplog struct {
	maxEntries int
	maxBytes   int64

	mu     sync.RWMutex
	chunks []*[oplogChunk]Entry // chunk i holds the numbers from (base+i)*oplogChunk on
	base   uint64
	first  uint64 // number of the oldest entry held
	next   uint64 // number of the next entry
	bytes  int64
	lost   Timestamp // time of the newest entry forgotten
	closed bool
	wake   chan struct{} // closed by the next append; nil while nobody waits
}

func newOplog(maxEntries int, maxBytes int64) *Oplog {
	return &Oplog{maxEntries: maxEntries, maxBytes: maxBytes}
}

func (o *Oplog) at(n uint64) *Entry {
	return &o.chunks[n/oplogChunk-o.base][n%oplogChunk]
}

// append adds an entry; the caller is in the commit section, so that entries
// come in the order of their times.
func (o *Oplog) append(en Entry) {
	o.mu.Lock()
	if (o.next/oplogChunk - o.base) == uint64(len(o.chunks)) {
		o.chunks = append(o.chunks, new([oplogChunk]Entry))
	}
	*o.at(o.next) = en
	o.next++
	o.bytes += en.size()
	for o.next-o.first > uint64(o.maxEntries) || (o.bytes > o.maxBytes && o.next-o.first > 1) {
		o.forget()
	}
	wake := o.wake
	o.wake = nil
	o.mu.Unlock()
	if wake != nil {
		close(wake)
	}
}

// forget drops the oldest entry; mu is held.
func (o *Oplog) forget() {
	en := o.at(o.first)
	o.lost = en.Time
	o.bytes -= en.size()
	*en = Entry{}
	o.first++
	if o.first/oplogChunk > o.base {
		o.chunks[0] = nil
		o.chunks = o.chunks[1:]
		o.base++
	}
}

func (o *Oplog) close() {
	o.mu.Lock()
	o.closed = true
	wake := o.wake
	o.wake = nil
	o.mu.Unlock()
	if wake != nil {
		close(wake)
	}
}

// Truncate forgets the entries up to and including t; with zero, all but the
// newest. Streams behind it get ChangeStreamHistoryLost.
func (o *Oplog) Truncate(t Timestamp) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.next-o.first > 1 && (t == 0 || o.at(o.first).Time <= t) {
		o.forget()
	}
}

// First is the oldest entry's time.
func (o *Oplog) First() Timestamp {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.first == o.next {
		return 0
	}
	return o.at(o.first).Time
}

// Stats gives the number of entries held and the bytes they refer to.
func (o *Oplog) Stats() (entries int, bytes int64) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return int(o.next - o.first), o.bytes
}

// Seek finds the number of the first entry at or after t. Complete tells
// whether every entry ever written at or after t is still there.
func (o *Oplog) Seek(t Timestamp) (number uint64, complete bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	lo, hi := o.first, o.next
	for lo < hi {
		mid := lo + (hi-lo)/2
		if o.at(mid).Time < t {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo, t > o.lost
}

// Read copies entries from number on into buf and returns how many. ok is
// false when the entry with that number has been forgotten. It does not wait.
func (o *Oplog) Read(number uint64, buf []Entry) (n int, ok bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if number < o.first {
		return 0, false
	}
	for n < len(buf) && number < o.next {
		buf[n] = *o.at(number)
		n++
		number++
	}
	return n, true
}

// Wait returns nil once an entry with that number exists, or ctx's error. It
// returns ErrClosed when the engine is closed.
func (o *Oplog) Wait(ctx context.Context, number uint64) error {
	for {
		o.mu.RLock()
		ready, closed, wake := o.next > number, o.closed, o.wake
		o.mu.RUnlock()
		switch {
		case ready:
			return nil
		case closed:
			return ErrClosed
		}
		if wake == nil {
			o.mu.Lock()
			if o.wake == nil && o.next <= number && !o.closed {
				o.wake = make(chan struct{})
			}
			wake = o.wake
			o.mu.Unlock()
			if wake == nil {
				continue
			}
		}
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}
