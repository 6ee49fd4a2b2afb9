package command

import (
	"context"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// term is the election term of every optime. Re-elections keep it: nothing can have
// been written by another primary.
const term = 1

// A topology is the node's place in its replica set of one: primary, or secondary
// for a while after a stepdown. Each change raises the topology version and wakes
// the hellos that wait for one.
type topology struct {
	processID bson.ObjectID
	now       func() time.Time

	mu         sync.Mutex
	counter    int64
	primary    bool
	steppedAt  time.Time
	electionAt time.Time
	changed    chan struct{} // closed at the next change
	timer      *time.Timer   // elects the node again
	elections  uint32
	closed     bool
}

// A topologyState is what hello reports.
type topologyState struct {
	counter    int64
	primary    bool
	electionAt time.Time
	elections  uint32
	changed    <-chan struct{}
}

// The counter of a node that has become primary: it was started, initiated and
// elected.
const firstCounter = 6

func newTopology(now func() time.Time) *topology {
	return &topology{
		processID: bson.NewObjectID(), now: now,
		counter: firstCounter, primary: true, electionAt: now(), elections: 1,
		changed: make(chan struct{}),
	}
}

func (t *topology) state() topologyState {
	t.mu.Lock()
	defer t.mu.Unlock()
	return topologyState{t.counter, t.primary, t.electionAt, t.elections, t.changed}
}

func (t *topology) isPrimary() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.primary
}

// stepDown makes the node a secondary. It becomes primary again after d; a negative d
// leaves it a secondary until elect. It reports whether the node was primary.
func (t *topology) stepDown(d time.Duration) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || !t.primary {
		return false
	}
	t.primary = false
	t.steppedAt = t.now()
	t.change(2) // no longer writable, then a secondary
	if d >= 0 {
		t.timer = time.AfterFunc(d, func() { t.elect() })
	}
	return true
}

// elect makes the node primary.
func (t *topology) elect() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || t.primary {
		return
	}
	t.stopTimer()
	t.primary = true
	t.electionAt = t.now()
	t.elections++
	t.change(2) // elected, then writable
}

func (t *topology) change(by int64) {
	t.counter += by
	close(t.changed)
	t.changed = make(chan struct{})
}

func (t *topology) stopTimer() {
	if t.timer != nil {
		t.timer.Stop()
		t.timer = nil
	}
}

// close stops elections.
func (t *topology) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.stopTimer()
}

// await waits until the counter differs from seen, for at most d, and returns the state then.
func (t *topology) await(ctx context.Context, seen int64, d time.Duration) topologyState {
	s := t.state()
	if s.counter != seen {
		return s
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.changed:
	case <-timer.C:
	case <-ctx.Done():
	}
	return t.state()
}
