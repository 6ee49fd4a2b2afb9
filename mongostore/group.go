package mongostore

import (
	"context"
	"runtime"
	"slices"
	"sync"

	"github.com/annals-es/annals/eventstore"
)

// groupBytes bounds what a group of appends is sent as, so that an oplog entry
// and the server's work stay small. A larger append goes alone.
const groupBytes = 4 << 20

// A grouper lets appends that wait while others are being written go out
// together. Nothing is held back to fill a group: an append that comes while a
// flight is free leaves at once.
//
// Single events go as one unordered insert, in which each document succeeds or
// fails for itself. Everything else, and several appends to one stream, go as one
// transaction. A stream is in one flight at a time.
type grouper struct {
	store *Store

	mu     sync.Mutex
	queue  []*pending
	busy   map[eventstore.StreamID]struct{} // streams in flight
	free   [2]int                           // flights that may start, by kind
	closed bool
	// boarding is set while board is about to look at the queue.
	boarding bool
	// lonely is set while inserts carry one append each: there is one writer, or
	// they are few.
	lonely bool

	flights sync.WaitGroup
}

// Kinds of flights. Each has slots of its own, so that inserts of single events
// do not wait for transactions.
const (
	inserts = iota
	transactions
)

func newGrouper(s *Store) *grouper {
	return &grouper{
		store: s,
		busy:  map[eventstore.StreamID]struct{}{},
		free:  [2]int{s.cfg.Flights, s.cfg.Flights},

		lonely: true,
	}
}

// carry has an append written and returns when its outcome is set. An error means
// that the caller did not wait for it.
func (g *grouper) carry(ctx context.Context, a *pending) error {
	g.mu.Lock()
	if g.closed {
		g.mu.Unlock()
		return eventstore.NotWritten(eventstore.ErrClosed)
	}
	if g.boardAlone(a) {
		g.mu.Unlock()
		g.flyAlone(ctx, a)
		return nil
	}
	a.done = make(chan struct{})
	a.queued = true
	g.queue = append(g.queue, a)
	g.launch()
	g.mu.Unlock()
	select {
	case <-a.done:
		return nil
	case <-ctx.Done():
	}
	if !g.leave(a) {
		if a.mine = a.told.take(); !a.mine {
			<-a.done // it was written, and the hook has been told
			return nil
		}
		return eventstore.OutcomeUnknown(ctx.Err())
	}
	if a.maybe { // an earlier attempt
		return eventstore.OutcomeUnknown(ctx.Err())
	}
	return eventstore.NotWritten(ctx.Err())
}

// boardAlone reserves a flight for an append that its caller may write: it is a
// single event, nobody is there whom it could travel with, and its place is not
// known to be taken. mu is held.
func (g *grouper) boardAlone(a *pending) bool {
	if !g.lonely || g.boarding || len(g.queue) > 0 || g.free[inserts] < g.store.cfg.Flights || !a.single() {
		return false
	}
	st, p := &a.req.Streams[0], &a.parts[0]
	if _, busy := g.busy[st.Stream]; busy {
		return false
	}
	if known := g.store.heads.get(st.Stream); known > p.base {
		if st.Expected != eventstore.Any {
			return false
		}
		p.rebase(st.Stream, known)
	}
	a.done = nil
	g.reserve(inserts, a)
	g.flights.Add(1)
	return true
}

// flyAlone writes an append on its caller's goroutine and account: handing it to
// another and waiting for that one takes longer than anything else that the store
// does for an append. A caller that goes away takes nobody with it.
func (g *grouper) flyAlone(ctx context.Context, a *pending) {
	defer g.flights.Done()
	defer g.landed(inserts, a) // also when a hook panics: the caller may live on
	ctx, cancel := context.WithTimeout(ctx, g.store.cfg.WriteTimeout)
	defer cancel()
	defer context.AfterFunc(g.store.life, cancel)() //nolint:contextcheck // the store's life ends it as well
	g.store.flyInserts(ctx, a)
}

// leave takes an append out of the queue. It reports false when it has left by
// itself.
func (g *grouper) leave(a *pending) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !a.queued {
		return false
	}
	g.queue = slices.DeleteFunc(g.queue, func(o *pending) bool { return o == a })
	a.queued = false
	return true
}

// close refuses what is queued and what comes.
func (g *grouper) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, a := range g.queue {
		a.queued = false
		a.outcome, a.err = failed, eventstore.ErrClosed
		close(a.done)
	}
	g.queue = nil
}

// track runs fn in a goroutine that wait waits for, unless the grouper is closed.
func (g *grouper) track(fn func()) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return false
	}
	g.flights.Go(fn)
	return true
}

// wait returns when nothing is in flight.
func (g *grouper) wait() { g.flights.Wait() }

// launch has flights started if there may be any to start. mu is held.
func (g *grouper) launch() {
	if g.boarding || len(g.queue) == 0 || g.free[inserts]+g.free[transactions] == 0 {
		return
	}
	g.boarding = true
	g.flights.Go(g.board)
}

// board starts as many flights as there are slots and appends for.
//
// It lets others run first. When a flight lands, the first of its callers to
// come back would leave alone otherwise, and all others wait for it: half of the
// flights would carry one append. Those callers are about to run; waiting for them
// takes microseconds, and no time when there are none.
func (g *grouper) board() {
	runtime.Gosched()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.boarding = false
	for kind, group := range g.compose() {
		if len(group) == 0 {
			continue
		}
		g.reserve(kind, group...)
		g.flights.Go(func() {
			if kind == inserts {
				ctx, cancel := context.WithTimeout(g.store.life, g.store.cfg.WriteTimeout)
				defer cancel()
				g.store.flyInserts(ctx, group...)
			} else {
				g.store.flyTransaction(group)
			}
			g.landed(kind, group...)
		})
	}
}

// reserve takes a slot for a group and keeps its streams from other flights. mu is
// held.
func (g *grouper) reserve(kind int, group ...*pending) {
	g.free[kind]--
	for _, a := range group {
		for i := range a.req.Streams {
			g.busy[a.req.Streams[i].Stream] = struct{}{}
		}
	}
}

func (g *grouper) landed(kind int, group ...*pending) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, a := range group {
		for i := range a.req.Streams {
			delete(g.busy, a.req.Streams[i].Stream)
		}
	}
	g.free[kind]++
	if kind == inserts {
		g.lonely = len(group) == 1
	}
	for _, a := range group {
		if a.done != nil { // its caller waits
			close(a.done)
		}
	}
	g.launch()
}

// compose takes from the queue what can leave now. mu is held.
func (g *grouper) compose() (groups [2][]*pending) {
	c := composition{grouper: g}
	if len(g.queue) > 1 {
		c.count()
	}
	rest := g.queue[:0]
	for _, a := range g.queue {
		if !c.take(a) {
			rest = append(rest, a)
		}
	}
	clear(g.queue[len(rest):])
	g.queue = rest
	return c.groups
}

// A composition is the choice of what goes into the next flights.
type composition struct {
	*grouper
	groups [2][]*pending
	events [2]int
	bytes  [2]int
	wanted map[eventstore.StreamID]int                // how many appends want a stream
	tips   map[eventstore.StreamID]eventstore.Version // where the chosen ones leave it
}

func (c *composition) count() {
	c.wanted = make(map[eventstore.StreamID]int, len(c.queue))
	for _, a := range c.queue {
		for i := range a.req.Streams {
			c.wanted[a.req.Streams[i].Stream]++
		}
	}
}

// take decides on an append: it joins a flight, or is found lost, or stays.
func (c *composition) take(a *pending) bool {
	for i := range a.req.Streams {
		if _, busy := c.busy[a.req.Streams[i].Stream]; busy {
			return false
		}
	}
	kind := transactions
	if a.single() && c.wanted[a.req.Streams[0].Stream] <= 1 {
		kind = inserts
	}
	if c.free[kind] == 0 || !c.fits(kind, a) {
		return false
	}
	if !c.chain(a) {
		return false
	}
	a.queued = false
	if c.overtaken(a) {
		a.outcome = lost
		close(a.done)
		return true
	}
	c.groups[kind] = append(c.groups[kind], a)
	c.events[kind] += a.events
	c.bytes[kind] += a.size
	if kind == transactions {
		if c.tips == nil {
			c.tips = map[eventstore.StreamID]eventstore.Version{}
		}
		for i := range a.parts {
			c.tips[a.req.Streams[i].Stream] = a.parts[i].last()
		}
	}
	return true
}

func (c *composition) fits(kind int, a *pending) bool {
	return len(c.groups[kind]) == 0 ||
		(c.events[kind]+a.events <= c.store.cfg.MaxGroup && c.bytes[kind]+a.size <= groupBytes)
}

// chain puts an append behind those to the same streams that are chosen already.
// It reports false when it cannot follow them.
func (c *composition) chain(a *pending) bool {
	for i := range a.parts {
		tip, chosen := c.tips[a.req.Streams[i].Stream]
		if chosen && a.req.Streams[i].Expected != eventstore.Any && a.parts[i].base != tip {
			return false
		}
	}
	for i := range a.parts {
		stream := a.req.Streams[i].Stream
		tip, chosen := c.tips[stream]
		if !chosen && a.req.Streams[i].Expected == eventstore.Any {
			tip = max(a.parts[i].base, c.store.heads.get(stream))
			chosen = true
		}
		if chosen {
			a.parts[i].rebase(stream, tip)
		}
	}
	return true
}

// overtaken reports whether the place of an append is known to be taken.
func (c *composition) overtaken(a *pending) bool {
	for i := range a.parts {
		stream := a.req.Streams[i].Stream
		if _, chained := c.tips[stream]; !chained && c.store.heads.get(stream) > a.parts[i].base {
			return true
		}
	}
	return false
}
