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

// A memoryLog holds all records in the order of their commits. Positions are
// indexes into it, from 1. What readers of the log are shown may lag behind what
// is committed.
type memoryLog struct {
	// mu orders commits. It is the one lock that all appends share: what is done
	// under it is kept short, and in few cache lines.
	mu      sync.Mutex
	shown   atomic.Int64
	due     eventstore.Position // what readers are shown when nothing holds the log
	holds   int
	waiters chan struct{}  // closed when shown moves, nil while nobody waits
	records vector[record] // of position p at p-1

	delay time.Duration

	// refs guards what records refer to.
	refs    sync.Mutex
	streams vector[*stream]
	types   vector[eventstore.EventType]
	metas   vector[*eventstore.Metadata]
	blocks  vector[[]byte]
	typeOf  map[eventstore.EventType]uint32

	// content is held for reading while records are read, and for writing while
	// they are erased. Commits write only where no reader looks.
	content sync.RWMutex
}

// fill makes r the record of a stream's next event. The lock of the stream's shard
// is held, and the event's data is in the shard's blocks afterwards.
func (l *memoryLog) fill(r *record, sh *shard, st *stream, version eventstore.Version, e *eventstore.EventData) {
	if version == 1 {
		st.index = l.addStream(st)
	}
	*r = record{
		id: e.ID, version: version, millis: e.Time.UnixMilli(), stream: st.index, typ: l.typeIndex(sh, e.Type),
		schema: int32(e.Schema), format: e.Format,
	}
	if !e.Metadata.IsZero() {
		r.meta = l.addMetadata(e.Metadata) + 1
	}
	r.block, r.start = sh.block.keep(l, e.Data)
	r.end = r.start + uint32(len(e.Data))
}

func (l *memoryLog) addStream(st *stream) uint32 {
	l.refs.Lock()
	defer l.refs.Unlock()
	return l.streams.push(st)
}

func (l *memoryLog) addMetadata(m eventstore.Metadata) uint32 {
	l.refs.Lock()
	defer l.refs.Unlock()
	return l.metas.push(&m)
}

// typeIndex returns the index of a type. The shard's lock is held.
func (l *memoryLog) typeIndex(sh *shard, t eventstore.EventType) uint32 {
	if t == sh.lastType {
		return sh.lastIndex
	}
	i, ok := sh.types[t]
	if !ok {
		i = l.intern(sh, t)
	}
	sh.lastType, sh.lastIndex = *l.types.at(i), i
	return i
}

// intern returns the index of a type that a shard has not met before.
func (l *memoryLog) intern(sh *shard, t eventstore.EventType) uint32 {
	l.refs.Lock()
	defer l.refs.Unlock()
	i, ok := l.typeOf[t]
	if !ok {
		t = eventstore.EventType(strings.Clone(string(t))) // may be part of something big
		i = l.types.push(t)
		if l.typeOf == nil {
			l.typeOf = map[eventstore.EventType]uint32{}
		}
		l.typeOf[t] = i
	}
	if sh.types == nil {
		sh.types = map[eventstore.EventType]uint32{}
	}
	sh.types[*l.types.at(i)] = i
	return i
}

// Data of events is kept in blocks, the first ones of a shard small for stores
// that stay small.
const (
	minBlock = 256
	maxBlock = 16 << 10
)

// A dataBlock is the block that a shard is filling.
type dataBlock struct {
	index uint32 // into the log's
	used  int
	bytes []byte
}

// keep copies data into a block and returns where.
func (b *dataBlock) keep(l *memoryLog, data []byte) (index, start uint32) {
	if len(data) > len(b.bytes)-b.used {
		b.bytes = make([]byte, max(len(data), min(2*len(b.bytes), maxBlock), minBlock))
		b.used = 0
		l.refs.Lock()
		b.index = l.blocks.push(b.bytes)
		l.refs.Unlock()
	}
	start = uint32(b.used)
	b.used += copy(b.bytes[start:], data)
	return b.index, start
}

// commit puts records behind the others and returns the place of the first one.
// The locks of their streams are held.
func (l *memoryLog) commit(records []record) uint32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	first := uint32(l.records.len)
	for i := range records {
		*l.records.next() = records[i]
	}
	l.publish()
	return first
}

// positionAt returns the position of the record at a place.
func positionAt(place uint32) eventstore.Position { return eventstore.Position(place) + 1 }

// at returns the record at a committed position.
func (l *memoryLog) at(p eventstore.Position) *record { return l.records.at(uint32(p - 1)) }

// committed is the position of the last record. mu is held.
func (l *memoryLog) committed() eventstore.Position { return eventstore.Position(l.records.len) }

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
		through := l.committed()
		time.AfterFunc(l.delay, func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			l.show(through)
		})
		return
	}
	l.show(l.committed())
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
	return l.committed()
}
