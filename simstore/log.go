package simstore

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A record is a stored event. It does not change, but for its erasure.
type record struct {
	id      eventstore.EventID
	stream  *stream
	version eventstore.Version
	typ     eventstore.EventType
	data    []byte
	meta    *eventstore.Metadata // nil when there is none
	millis  int64
	schema  int32
	format  eventstore.Format
}

func (r *record) erased() bool { return r.typ == eventstore.ErasedType }

const chunkLen = 256

type chunk [chunkLen]record

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

	shown  atomic.Int64
	chunks atomic.Pointer[[]*chunk]

	// content is held for reading while records are read, and for writing while
	// they are erased. Commits write only where no reader looks.
	content sync.RWMutex
}

// reserve returns the next n slots' first position. mu is held.
func (l *memoryLog) reserve(n int) eventstore.Position {
	first := l.committed + 1
	last := l.committed + eventstore.Position(n)
	var chunks []*chunk
	if p := l.chunks.Load(); p != nil {
		chunks = *p
	}
	if need := int((last-1)/chunkLen) + 1; need > len(chunks) {
		for len(chunks) < need {
			chunks = append(chunks, new(chunk))
		}
		l.chunks.Store(&chunks)
	}
	l.committed = last
	return first
}

// at returns the record at a committed position.
func (l *memoryLog) at(p eventstore.Position) *record {
	return &(*l.chunks.Load())[(p-1)/chunkLen][(p-1)%chunkLen]
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
