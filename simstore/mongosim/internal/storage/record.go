package storage

import (
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A record is a document through time: its versions, newest first. The
// collection's mutex guards it, but for the time of a version, which a
// committing transaction sets without that mutex.
type record struct {
	id   RecordID
	head *version
}

// A version is a document as one write left it. A nil doc is a deletion.
type version struct {
	doc   bson.Raw
	time  atomic.Uint64 // the commit's timestamp; 0 while the write is not committed
	owner *Txn          // who wrote it, while it is not committed
	prev  *version
}

func newVersion(doc bson.Raw, prev *version, owner *Txn) *version {
	return &version{doc: doc, prev: prev, owner: owner}
}

// committed tells whether the version's write has been committed, be it only
// just now and not yet visible.
func (v *version) committed() bool { return v.time.Load() != 0 }

// A sight is what a reader can see: what was committed up to a time, and what
// its own transaction wrote.
type sight struct {
	time Timestamp
	txn  *Txn
}

// sees finds the version that is in sight; nil if there is none or if it is a
// deletion.
func (s sight) sees(r *record) *version {
	for v := r.head; v != nil; v = v.prev {
		t := v.time.Load()
		if t == 0 {
			if v.owner != s.txn || s.txn == nil {
				continue
			}
		} else if Timestamp(t) > s.time {
			continue
		}
		if v.doc == nil {
			return nil
		}
		return v
	}
	return nil
}

const chunkSize = 256

// records holds a collection's records by id in chunks. Ids are dealt out in
// order, so that looking one up is indexing and walking them is natural order.
type records struct {
	chunks []*recordChunk // chunks[i] holds the ids from (base+i)*chunkSize on; nil when all its records are gone
	base   uint64
	next   RecordID
}

type recordChunk struct {
	n    int // records in it
	slot [chunkSize]*record
}

// add deals out the next id.
func (rs *records) add(r *record) {
	if rs.next == 0 {
		rs.next = 1
	}
	r.id = rs.next
	rs.next++
	i := uint64(r.id)/chunkSize - rs.base
	for uint64(len(rs.chunks)) <= i {
		rs.chunks = append(rs.chunks, nil)
	}
	c := rs.chunks[i]
	if c == nil {
		c = new(recordChunk)
		rs.chunks[i] = c
	}
	c.slot[uint64(r.id)%chunkSize] = r
	c.n++
}

func (rs *records) get(id RecordID) *record {
	i := uint64(id) / chunkSize
	if i < rs.base || i-rs.base >= uint64(len(rs.chunks)) {
		return nil
	}
	c := rs.chunks[i-rs.base]
	if c == nil {
		return nil
	}
	return c.slot[uint64(id)%chunkSize]
}

// remove takes a record out. It may have gone already: a record that was superseded
// twice is collected twice, and its chunk may have been let go of in between.
func (rs *records) remove(id RecordID) {
	if rs.get(id) == nil {
		return
	}
	i := uint64(id)/chunkSize - rs.base
	c := rs.chunks[i]
	c.slot[uint64(id)%chunkSize] = nil
	if c.n--; c.n > 0 {
		return
	}
	rs.chunks[i] = nil
	// The chunk that is still being filled stays as it is; empty ones before it go.
	for len(rs.chunks) > 1 && rs.chunks[0] == nil {
		rs.chunks = rs.chunks[1:]
		rs.base++
	}
}

// after finds the first record with an id above id, before the last one below;
// nil at the end. after(0) is the first of all, before(lastID) the last.
func (rs *records) after(id RecordID) *record {
	id++
	if low := RecordID(rs.base * chunkSize); id < low {
		id = low
	}
	for i := uint64(id)/chunkSize - rs.base; i < uint64(len(rs.chunks)); i++ {
		if c := rs.chunks[i]; c != nil {
			for j := uint64(id) % chunkSize; j < chunkSize; j++ {
				if r := c.slot[j]; r != nil {
					return r
				}
			}
		}
		id = RecordID((rs.base + i + 1) * chunkSize)
	}
	return nil
}

const lastID = ^RecordID(0)

func (rs *records) before(id RecordID) *record {
	if id > rs.next {
		id = rs.next
	}
	if id == 0 || uint64(id) <= rs.base*chunkSize {
		return nil
	}
	id--
	for {
		i := uint64(id) / chunkSize
		if i < rs.base {
			return nil
		}
		if i-rs.base < uint64(len(rs.chunks)) {
			if c := rs.chunks[i-rs.base]; c != nil {
				for j := int(uint64(id) % chunkSize); j >= 0; j-- {
					if r := c.slot[j]; r != nil {
						return r
					}
				}
			}
		}
		if i == 0 {
			return nil
		}
		id = RecordID(i*chunkSize) - 1
	}
}
