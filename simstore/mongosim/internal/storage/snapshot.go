package storage

import (
	"sync"
	"sync/atomic"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

// snapshots knows which points in time are being read at, so that writers keep
// the versions that those readers need.
type snapshots struct {
	// active is raised before a snapshot reads the time it pins. A writer that
	// has published its commit and then finds active to be zero knows that all
	// snapshots to come will include that commit.
	active atomic.Int64

	mu   sync.Mutex
	pins map[Timestamp]int
}

// A Snapshot pins a point in time for reading. Release it in the end.
type Snapshot struct {
	e    *Engine
	time Timestamp
	once sync.Once
}

// pin registers a reader at the newest visible time.
func (e *Engine) pin() Timestamp {
	e.snaps.mu.Lock()
	defer e.snaps.mu.Unlock()
	e.snaps.active.Add(1)
	t := e.clock.visible()
	e.snaps.add(t)
	return t
}

func (s *snapshots) add(t Timestamp) {
	if s.pins == nil {
		s.pins = make(map[Timestamp]int)
	}
	s.pins[t]++
}

func (e *Engine) unpin(t Timestamp) {
	s := &e.snaps
	s.mu.Lock()
	if s.pins[t]--; s.pins[t] == 0 {
		delete(s.pins, t)
	}
	s.active.Add(-1)
	s.mu.Unlock()
	e.collectGarbage()
}

// oldest is the time from which on versions are needed: what was superseded
// at or before it can go. The caller has published its own commit, if any.
func (e *Engine) oldest() Timestamp {
	limit := e.horizon()
	if e.snaps.active.Load() == 0 {
		return limit
	}
	e.snaps.mu.Lock()
	defer e.snaps.mu.Unlock()
	return e.snaps.oldest(limit)
}

// horizon is oldest without regard to pins.
func (e *Engine) horizon() Timestamp {
	limit := e.clock.visible()
	if w := e.cfg.HistoryWindow; w > 0 {
		// A second more, as the window is compared in whole seconds.
		limit = min(limit, MakeTimestamp(uint32(e.cfg.Clock().Add(-w).Unix()-1), 0))
	}
	return limit
}

// oldest is the oldest pin or limit; mu is held.
func (s *snapshots) oldest(limit Timestamp) Timestamp {
	for t := range s.pins {
		limit = min(limit, t)
	}
	return limit
}

// SnapshotAt pins a point in time; zero means now. It fails with
// SnapshotTooOld (239) when versions from then may be gone.
func (e *Engine) SnapshotAt(t Timestamp) (*Snapshot, error) {
	if t == 0 {
		return &Snapshot{e: e, time: e.pin()}, nil
	}
	if err := e.pinAt(t); err != nil {
		return nil, err
	}
	return &Snapshot{e: e, time: t}, nil
}

// pinAt registers a reader at an earlier time. Looking for an older pin and
// adding the new one is one step, so that a pin which keeps the versions of
// that time alive cannot go in between.
func (e *Engine) pinAt(t Timestamp) error {
	e.snaps.mu.Lock()
	defer e.snaps.mu.Unlock()
	if now := e.clock.visible(); t > now {
		return mongoerr.New(mongoerr.InvalidOptions,
			"readConcern atClusterTime value must not be greater than the current clusterTime. Requested clusterTime: %s; current clusterTime: %s", t, now)
	}
	if t < e.snaps.oldest(e.horizon()) {
		return mongoerr.New(mongoerr.SnapshotTooOld,
			"Read timestamp %s is older than the oldest available timestamp.", t).WithLabels(mongoerr.LabelTransientTransaction)
	}
	e.snaps.active.Add(1)
	e.snaps.add(t)
	return nil
}

// Time is the pinned time.
func (s *Snapshot) Time() Timestamp { return s.time }

// Release lets go of the time; it may be called more than once.
func (s *Snapshot) Release() { s.once.Do(func() { s.e.unpin(s.time) }) }

// sight is what v sees of c now. c.mu is held, so that what it sees cannot be
// collected before it is let go.
func (c *Collection) sight(v View) sight {
	switch {
	case v.Txn != nil:
		return sight{v.Txn.snapshot, v.Txn}
	case v.Snapshot != nil:
		return sight{v.Snapshot.time, nil}
	default:
		return sight{c.engine.clock.visible(), nil}
	}
}

// garbage lists the collections that hold superseded versions which some
// snapshot needed when they were superseded.
type garbage struct {
	mu    sync.Mutex
	colls map[*Collection]struct{}
}

func (g *garbage) note(c *Collection) {
	g.mu.Lock()
	if g.colls == nil {
		g.colls = make(map[*Collection]struct{})
	}
	g.colls[c] = struct{}{}
	g.mu.Unlock()
}

// collectGarbage drops the versions that no snapshot needs any more.
func (e *Engine) collectGarbage() {
	e.garbage.mu.Lock()
	if len(e.garbage.colls) == 0 {
		e.garbage.mu.Unlock()
		return
	}
	colls := make([]*Collection, 0, len(e.garbage.colls))
	for c := range e.garbage.colls {
		colls = append(colls, c)
	}
	e.garbage.mu.Unlock()
	for _, c := range colls {
		c.collectGarbage()
	}
}

// collectGarbage drops c's versions that no snapshot needs any more. The lock is
// let go of whatever happens, so that a mistake here stops one command and not all.
func (c *Collection) collectGarbage() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep(c.engine.oldest())
	if len(c.stale) == 0 {
		g := &c.engine.garbage
		g.mu.Lock()
		defer g.mu.Unlock()
		delete(g.colls, c)
	}
}
