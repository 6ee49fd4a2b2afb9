package simstore

import (
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A record is a stored event. It does not change, but for its erasure. It holds
// no pointers, so that the garbage collector does not look at millions of them:
// what it refers to is in the log's vectors.
type record struct {
	id      eventstore.EventID
	version eventstore.Version
	millis  int64
	stream  uint32 // index into streams
	typ     uint32 // index into types
	meta    uint32 // index into metas, plus one; zero when there is none
	schema  int32
	block   uint32 // index into blocks, where the data is from start to end
	start   uint32
	end     uint32
	format  eventstore.Format
	erased  bool
}

// size is that of the data in bytes.
func (r *record) size() int { return int(r.end - r.start) }

// Data of events is kept in blocks, the first ones small for stores that stay
// small.
const (
	minBlock = 1 << 10
	maxBlock = 64 << 10
)

// A memoryLog holds all records in the order of their commits. Positions are
// indexes into it, from 1. What readers of the log are shown may lag behind what
// is committed.
type memoryLog struct {
	delay time.Duration

	// mu orders commits. It is the one lock that all appends share: what is done
	// under it is kept short.
	mu        sync.Mutex
	committed eventstore.Position
	due       eventstore.Position // what readers are shown when nothing holds the log
	holds     int
	waiters   chan struct{} // closed when shown moves, nil while nobody waits

	shown atomic.Int64

	records vector[record] // of position p at p-1
	streams vector[*stream]
	types   vector[eventstore.EventType]
	metas   vector[*eventstore.Metadata]
	blocks  vector[[]byte]
	typeOf  map[eventstore.EventType]uint32
	used    int // of the last block

	// content is held for reading while records are read, and for writing while
	// they are erased. Commits write only where no reader looks.
	content sync.RWMutex
}

// add writes an event behind the others and returns its position. mu is held,
// and the lock of the stream's shard.
func (l *memoryLog) add(st *stream, e *eventstore.EventData) eventstore.Position {
	if st.head() == 0 {
		st.index = l.streams.push(st)
	}
	r := record{
		id: e.ID, version: st.head() + 1, millis: e.Time.UnixMilli(), stream: st.index, typ: l.intern(e.Type),
		schema: int32(e.Schema), format: e.Format,
	}
	if !e.Metadata.IsZero() {
		meta := e.Metadata
		r.meta = l.metas.push(&meta) + 1
	}
	r.block, r.start = l.keep(e.Data)
	r.end = r.start + uint32(len(e.Data))
	l.committed = eventstore.Position(l.records.push(r)) + 1
	return l.committed
}

// intern returns the index of a type.
func (l *memoryLog) intern(t eventstore.EventType) uint32 {
	i, ok := l.typeOf[t]
	if !ok {
		t = eventstore.EventType(strings.Clone(string(t))) // may be part of something big
		i = l.types.push(t)
		if l.typeOf == nil {
			l.typeOf = map[eventstore.EventType]uint32{}
		}
		l.typeOf[t] = i
	}
	return i
}

// keep copies data into a block and returns where.
func (l *memoryLog) keep(data []byte) (block, start uint32) {
	n := l.blocks.len
	if n == 0 || len(data) > len(*l.blocks.at(uint32(n - 1)))-l.used {
		size := max(len(data), min(minBlock<<min(n, 6), maxBlock))
		l.blocks.push(make([]byte, size))
		l.used = 0
		n++
	}
	block, start = uint32(n-1), uint32(l.used)
	l.used += copy((*l.blocks.at(block))[start:], data)
	return block, start
}

// at returns the record at a committed position.
func (l *memoryLog) at(p eventstore.Position) *record { return l.records.at(uint32(p - 1)) }

// data returns where a record's data is.
func (l *memoryLog) data(r *record) []byte { return (*l.blocks.at(r.block))[r.start:r.end] }

// typ returns a record's type.
func (l *memoryLog) typ(r *record) eventstore.EventType {
	if r.erased {
		return eventstore.ErasedType
	}
	return *l.types.at(r.typ)
}

// erase destroys what a record holds. content is held for writing.
func (l *memoryLog) erase(r *record) {
	clear(l.data(r))
	if r.meta > 0 {
		*l.metas.at(r.meta - 1) = nil
	}
	*r = record{version: r.version, stream: r.stream, erased: true, block: r.block}
}

// publish shows readers what has been committed, now or later. mu is held.
func (l *memoryLog) publish() {
	if l.delay > 0 {
		through := l.committed
		time.AfterFunc(l.delay, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.show(through)
		})
		return
	}
	l.show(l.committed)
}

// show lets readers see the log through a position unless it is held. mu is
// held.
func (l *memoryLog) show(through eventstore.Position) {
	l.due = max(l.due, through)
	if l.holds > 0 || l.due <= l.head() {
		return
	}
	l.shown.Store(int64(l.due))
	l.notify()
}

// notify wakes all waiters. mu is held.
func (l *memoryLog) notify() {
	if l.waiters != nil {
		close(l.waiters)
		l.waiters = nil
	}
}

func (l *memoryLog) wake() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notify()
}

func (l *memoryLog) hold() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holds++
}

func (l *memoryLog) release() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holds--
	l.show(l.due)
}

// head is the position through which readers see the log.
func (l *memoryLog) head() eventstore.Position { return eventstore.Position(l.shown.Load()) }

// changed returns the head and a channel that is closed when it moves, or when
// the store is closed. The channel is made on demand and not with the store, so
// that in a synctest bubble it belongs to the bubble.
func (l *memoryLog) changed() (eventstore.Position, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiters == nil {
		l.waiters = make(chan struct{})
	}
	return l.head(), l.waiters
}

func (l *memoryLog) last() eventstore.Position {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.committed
}
