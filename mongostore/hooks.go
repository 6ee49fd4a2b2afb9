package mongostore

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// Hooks are functions that a store calls. Each may be nil. They are called
// concurrently and must return quickly.
type Hooks struct {
	// Appends is called when appends have ended, each once, before their callers
	// return: with all that one write has carried, and with others one by one. The
	// slice is the store's again when the hook returns. Those in a transaction of the
	// caller's have ended when they have taken part in it, whatever becomes of it.
	Appends func([]AppendStats)
	// Flight is called after each write of a group of appends.
	Flight func(FlightStats)
	// Sequenced is called after each document that this store adds to the log.
	Sequenced func(SequenceStats)
	// Recovery is called during a recovery of the log: about once a second, and
	// at its end.
	Recovery func(RecoveryProgress)
	// Retry is called when an operation failed and is made again: append, delete,
	// tombstone, truncate, erase or follow the log.
	Retry func(op string, err error)
	// Read is called after each read of a stream or of the log that was not
	// broken off.
	Read func(ReadStats)
}

// AppendStats tells of an append.
type AppendStats struct {
	Streams, Events int
	// Duration runs from the call until the outcome was known.
	Duration  time.Duration
	Head      HeadSource
	Duplicate bool
	Err       error
}

// A HeadSource says where an append has the head of its streams from.
type HeadSource uint8

const (
	// HeadRead says that the append reads in a transaction of its own or of the
	// caller's, or failed before.
	HeadRead HeadSource = iota
	// HeadHit says that it was found in memory.
	HeadHit
	// HeadMiss says that it was not, and the server was asked.
	HeadMiss
)

// FlightStats tells of a write that carried a group of appends.
type FlightStats struct {
	// Transaction is false for an unordered insert of single events.
	Transaction     bool
	Appends, Events int
	Duration        time.Duration
	Err             error
}

// SequenceStats tells of a document that was added to the log.
type SequenceStats struct {
	// First is the position of the document's first event.
	First    eventstore.Position
	Events   int
	Duration time.Duration
	// Delay is how long ago the last of the events was committed when the
	// document was written, as far as whole seconds and the clocks of server and
	// client tell.
	Delay time.Duration
}

// RecoveryProgress tells how far a recovery of the log has come.
type RecoveryProgress struct {
	// Scanned and Total are numbers of events; Total is an estimate. Logged is
	// how many of them were missing.
	Scanned, Total, Logged int64
	Done                   bool
}

// ReadStats tells of a read.
type ReadStats struct {
	Log      bool // of the log, not of a stream
	Events   int
	Duration time.Duration
	Err      error
}

// A claim is who tells the hook of an append: its caller, or the flight that has
// written it.
type claim struct{ taken atomic.Bool }

func (c *claim) take() bool { return !c.taken.Load() && c.taken.CompareAndSwap(false, true) }

// An appendsHook gathers what it is told of appends that end together. Calling it
// for each one, with the clock and counters of which every processor wants a part,
// would cost several times as much as all else that measuring does.
type appendsHook struct {
	call func([]AppendStats)
	pool sync.Pool // of *[]AppendStats
}

// flown tells of those appends of a flight that were written.
func (h *appendsHook) flown(group []*pending, at time.Time) {
	if h.call == nil {
		return
	}
	stats, ok := h.pool.Get().(*[]AppendStats)
	if !ok {
		stats = new([]AppendStats)
	}
	for _, a := range group {
		if a.outcome == written && a.told.take() {
			*stats = append(*stats, a.stats(at))
		}
	}
	if len(*stats) > 0 {
		h.call(*stats)
	}
	*stats = (*stats)[:0]
	h.pool.Put(stats)
}

// returned tells of an append whose caller has the claim to it.
func (h *appendsHook) returned(a *pending, duplicate bool, err error) {
	if h.call == nil || !a.mine && !a.told.take() {
		return
	}
	stats := a.stats(time.Now())
	stats.Duplicate, stats.Err = duplicate, err
	h.call([]AppendStats{stats})
}

func (a *pending) stats(at time.Time) AppendStats {
	return AppendStats{Streams: len(a.req.Streams), Events: a.events, Duration: at.Sub(a.start), Head: a.head}
}
