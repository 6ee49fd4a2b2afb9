package storage

import (
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// clock hands out timestamps. Its mutex is the commit section: whoever holds
// it takes a timestamp, writes the oplog and publishes, so that the three
// happen in one order.
type clock struct {
	wall func() time.Time

	mu   sync.Mutex
	last Timestamp // greatest handed out or heard of

	committed atomic.Uint64 // the newest committed operation
	known     atomic.Uint64 // last, for readers without the mutex
}

// next takes the next timestamp; mu is held.
func (c *clock) next() Timestamp {
	now := uint32(c.wall().Unix())
	if now > c.last.T() {
		c.last = MakeTimestamp(now, 1)
	} else {
		c.last++
	}
	c.known.Store(uint64(c.last))
	return c.last
}

// publish makes everything committed up to t visible; mu is held.
func (c *clock) publish(t Timestamp) { c.committed.Store(uint64(t)) }

func (c *clock) visible() Timestamp { return Timestamp(c.committed.Load()) }

// LastOp is the timestamp of the newest committed operation: a reply's
// operationTime.
func (e *Engine) LastOp() Timestamp { return e.clock.visible() }

// ClusterTime is the newest time known, gossiped ones included: $clusterTime.
func (e *Engine) ClusterTime() Timestamp { return Timestamp(e.clock.known.Load()) }

// AdvanceClusterTime takes note of a $clusterTime that a client sent.
func (e *Engine) AdvanceClusterTime(t Timestamp) {
	if t <= e.ClusterTime() {
		return
	}
	e.clock.mu.Lock()
	defer e.clock.mu.Unlock()
	if t > e.clock.last {
		e.clock.last = t
		e.clock.known.Store(uint64(t))
	}
}

// Tick takes the next timestamp without an operation.
func (e *Engine) Tick() Timestamp {
	e.clock.mu.Lock()
	defer e.clock.mu.Unlock()
	return e.clock.next()
}

// Noop appends an operation without effect to the oplog and so advances
// LastOp.
func (e *Engine) Noop(message string) Timestamp {
	e.clock.mu.Lock()
	defer e.clock.mu.Unlock()
	t := e.clock.next()
	e.oplog.append(Entry{Time: t, Op: Op{Kind: OpNoop, Message: message}})
	e.clock.publish(t)
	return t
}

// FillTimestamps fills the empty timestamps among a document's top-level
// fields (never _id's), as the server does before it inserts a document or
// replaces one. It returns doc itself when there is none to fill.
func (e *Engine) FillTimestamps(doc bson.Raw) bson.Raw {
	var out bson.Raw
	for rest := value.Body(doc); ; {
		key, v, tail, ok := value.Next(rest)
		if !ok {
			break
		}
		if v.Type == bson.TypeTimestamp && key != "_id" {
			if t, i := value.AsTimestamp(v); t == 0 && i == 0 {
				if out == nil {
					out = append(bson.Raw(nil), doc...)
				}
				at := len(doc) - len(tail) - 8
				filled := value.Timestamp(e.Tick().split())
				copy(out[at:at+8], filled.Value)
			}
		}
		rest = tail
	}
	if out == nil {
		return doc
	}
	return out
}

func (t Timestamp) split() (seconds, increment uint32) { return t.T(), t.I() }
