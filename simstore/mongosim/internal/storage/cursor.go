package storage

import (
	"context"
	"iter"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

// A Cursor walks through the documents a query finds. It holds no lock and no
// snapshot between calls, but finds its place again by key, so that writes go
// on beside it. One goroutine uses it at a time.
type Cursor struct {
	c    *Collection
	view View
	plan *Plan

	step  int     // which of the plan's accesses is read
	at    place   // behind the candidate consumed last
	ahead []found // candidates read ahead
	next  int     // the first of them that is not consumed
	size  int     // how many to read ahead next time
	seen  map[RecordID]struct{}

	results []found // of a blocking sort
	sorted  bool    // results are there

	renames  int64
	skipped  int64
	returned int64
	last     RecordID
	done     bool
}

// A found document is a candidate: the index led to it, the filter has not
// been asked.
type found struct {
	doc  bson.Raw
	id   RecordID
	key  string
	step int
}

// A place is where a cursor is: in which of the plan's ranges, behind which
// entry. Without an index only the id counts.
type place struct {
	step    int
	rng     int
	key     string
	id      RecordID
	started bool
}

// readAhead bounds the candidates read under one lock.
const (
	firstBatch = 8
	maxBatch   = 512
)

// Find plans a query and opens a cursor for it. Skip and Limit are applied, and
// an order that no index gives is made in memory. A hint that fits no index is
// BadValue.
func (c *Collection) Find(_ context.Context, v View, q Query) (*Cursor, error) {
	plan, err := c.Plan(v, q)
	if err != nil {
		return nil, err
	}
	for i := range plan.steps() {
		if ix := plan.access(i).ix; ix != nil {
			ix.uses.Add(1)
		}
	}
	cur := &Cursor{c: c, view: v, plan: plan, size: firstBatch, renames: c.renames.Load(), done: plan.eof}
	if q.Expect > 0 {
		cur.size = min(q.Expect, maxBatch)
	}
	if q.Limit > 0 && q.Filter == nil {
		cur.size = int(min(q.Limit+q.Skip, maxBatch))
	}
	return cur, nil
}

// Plan is the plan the cursor follows.
func (cur *Cursor) Plan() *Plan { return cur.plan }

// RecordID is the id of the document that Next gave last.
func (cur *Cursor) RecordID() RecordID { return cur.last }

// Close releases what the cursor holds; it may be called more than once.
func (cur *Cursor) Close() {
	cur.done = true
	cur.ahead, cur.results, cur.seen = nil, nil, nil
}

// Next gives the next document; ok is false at the end. A tailable cursor may
// give more after that.
func (cur *Cursor) Next(ctx context.Context) (doc bson.Raw, ok bool, err error) {
	q := &cur.plan.query
	for !cur.done {
		if q.Limit > 0 && cur.returned >= q.Limit {
			cur.done = true
			break
		}
		f, ok, err := cur.match(ctx)
		if err != nil {
			cur.done = true
			return nil, false, err
		}
		if !ok {
			cur.done = !q.Tailable
			break
		}
		if cur.skipped < q.Skip {
			cur.skipped++
			continue
		}
		cur.returned++
		cur.plan.Returned++
		cur.last = f.id
		return f.doc, true, nil
	}
	return nil, false, nil
}

// match gives the next document that the filter matches, in order.
func (cur *Cursor) match(ctx context.Context) (found, bool, error) {
	if !cur.plan.blocking() {
		return cur.filtered(ctx)
	}
	if !cur.sorted {
		if err := cur.sort(ctx); err != nil {
			return found{}, false, err
		}
		cur.sorted = true
	}
	if len(cur.results) == 0 {
		return found{}, false, nil
	}
	f := cur.results[0]
	cur.results[0] = found{}
	cur.results = cur.results[1:]
	return f, true, nil
}

// filtered gives the next candidate that the filter matches.
func (cur *Cursor) filtered(ctx context.Context) (found, bool, error) {
	for {
		if cur.next == len(cur.ahead) {
			more, err := cur.fetch(ctx)
			if err != nil || !more {
				return found{}, false, err
			}
		}
		f := cur.ahead[cur.next]
		cur.ahead[cur.next].doc = nil
		cur.next++
		cur.at.key, cur.at.id, cur.at.step, cur.at.started = f.key, f.id, f.step, true
		cur.plan.DocsExamined++
		if filter := cur.plan.query.Filter; filter != nil {
			ok, err := filter.Match(f.doc)
			if err != nil {
				return found{}, false, err
			}
			if !ok {
				continue
			}
		}
		return f, true, nil
	}
}

// Refresh is called when a getMore goes on with the cursor: what was read ahead
// is read anew. A cursor whose collection or index has gone answers
// QueryPlanKilled (175).
func (cur *Cursor) Refresh() error {
	if cur.done || cur.sorted {
		return nil
	}
	if cur.next < len(cur.ahead) {
		// The range of the first candidate that was not consumed may be a later
		// one than that of the last consumed: look from there.
		// So may its step be.
		cur.step = cur.at.step
		cur.at.rng = cur.rangeOf(cur.at)
		for _, f := range cur.ahead[cur.next:] {
			delete(cur.seen, f.id)
		}
	}
	cur.ahead, cur.next = cur.ahead[:0], 0
	return cur.alive()
}

// rangeOf finds the range a place is in, as reading ahead may have gone on to
// later ones.
func (cur *Cursor) rangeOf(p place) int {
	u := cur.plan.access(p.step)
	if !p.started || u.ix == nil {
		return 0
	}
	for i, r := range u.inOrder() {
		if p.key >= r.lo && (r.hi == "" || p.key < r.hi) {
			return i
		}
	}
	return p.rng
}

// alive fails when the cursor cannot go on.
func (cur *Cursor) alive() error {
	if cur.c.dropped.Load() {
		return errDropped(cur.c)
	}
	for i := range cur.plan.steps() {
		if ix := cur.plan.access(i).ix; ix != nil && ix.dropped.Load() {
			return mongoerr.New(mongoerr.QueryPlanKilled, "index '%s' dropped", ix.spec.name)
		}
	}
	if cur.c.renames.Load() != cur.renames {
		cur.c.mu.RLock()
		defer cur.c.mu.RUnlock()
		return mongoerr.New(mongoerr.QueryPlanKilled, "%s", cur.c.renamed)
	}
	return nil
}

// fetch reads candidates ahead; more is false if there are none.
func (cur *Cursor) fetch(ctx context.Context) (more bool, err error) {
	if ctx.Err() != nil {
		return false, waitError(ctx)
	}
	if err := cur.alive(); err != nil {
		return false, err
	}
	cur.ahead, cur.next = cur.ahead[:0], 0
	err = cur.readAhead()
	cur.size = min(cur.size*2, maxBatch)
	if err == nil && cur.view.Txn != nil {
		err = cur.view.Txn.live()
	}
	return len(cur.ahead) > 0, err
}

// readAhead fills ahead.
func (cur *Cursor) readAhead() error {
	c := cur.c
	c.mu.RLock()
	defer c.mu.RUnlock()
	s := c.sight(cur.view)
	if cur.plan.access(0).ix == nil {
		return cur.fetchNatural(s)
	}
	cur.fetchIndexes(s)
	return nil
}

// fetchNatural reads in natural order. The collection's lock is held.
func (cur *Cursor) fetchNatural(s sight) error {
	rows, backward := &cur.c.rows, cur.plan.use.backward
	id := cur.at.id
	if cur.plan.query.Tailable && cur.at.started && rows.get(id) == nil {
		return mongoerr.New(mongoerr.CappedPositionLost,
			"CollectionScan died due to position in capped collection being deleted. Last seen record id: RecordId(%d)", id)
	}
	if backward && !cur.at.started {
		id = lastID
	}
	for {
		var r *record
		if backward {
			r = rows.before(id)
		} else {
			r = rows.after(id)
		}
		if r == nil {
			return nil
		}
		id = r.id
		if v := s.sees(r); v != nil {
			cur.ahead = append(cur.ahead, found{doc: v.doc, id: id})
			if len(cur.ahead) >= cur.size {
				return nil
			}
		}
	}
}

// fetchIndexes reads along one index after the other. The collection's lock is held.
func (cur *Cursor) fetchIndexes(s sight) {
	for cur.fetchIndex(s); len(cur.ahead) < cur.size && cur.step+1 < cur.plan.steps(); cur.fetchIndex(s) {
		cur.step++
		cur.at = place{step: cur.step}
	}
}

// fetchIndex reads along the index of this step.
func (cur *Cursor) fetchIndex(s sight) {
	u := cur.plan.access(cur.step)
	ranges := u.inOrder()
	multi := u.ix.multi != 0 || cur.plan.branches != nil
	for cur.at.rng < len(ranges) {
		r := ranges[cur.at.rng]
		full := false
		visit := func(e entry) bool {
			if u.backward && e.key < r.lo || !u.backward && r.hi != "" && e.key >= r.hi {
				return false
			}
			cur.plan.KeysExamined++
			v := s.sees(e.r)
			// An entry is there for any version of the record; the one in sight may
			// not have the key.
			if v == nil || (e.r.head != v || v.prev != nil) && !u.ix.hasKey(v, []byte(e.key)) {
				return true
			}
			if multi && !cur.first(e.r.id) {
				return true
			}
			cur.ahead = append(cur.ahead, found{doc: v.doc, id: e.r.id, key: e.key, step: cur.step})
			full = len(cur.ahead) >= cur.size
			return !full
		}
		cur.walk(r, visit)
		if full {
			last := cur.ahead[len(cur.ahead)-1]
			cur.at.key, cur.at.id, cur.at.started = last.key, last.id, true
			return
		}
		cur.at.rng++
		cur.at.key, cur.at.id, cur.at.started = "", 0, false
	}
}

// walk visits the entries of a range behind the cursor's place.
func (cur *Cursor) walk(r keyRange, visit func(entry) bool) {
	u := cur.plan.access(cur.step)
	pivot, skip := entry{key: r.lo}, false
	if cur.at.started {
		pivot, skip = entry{cur.at.key, &record{id: cur.at.id}}, true
	}
	behind := func(e entry) bool {
		if skip && e.key == pivot.key && e.r.id == pivot.r.id {
			return true
		}
		return visit(e)
	}
	switch {
	case !u.backward:
		u.ix.tree.Ascend(pivot, behind)
	case cur.at.started:
		u.ix.tree.Descend(pivot, behind)
	case r.hi == "":
		u.ix.tree.Reverse(behind)
	default:
		// r.hi itself is outside; no record sorts before its first entry.
		u.ix.tree.Descend(entry{key: r.hi}, behind)
	}
}

// first tells whether a document turns up for the first time, where it can
// turn up under several keys.
func (cur *Cursor) first(id RecordID) bool {
	if _, ok := cur.seen[id]; ok {
		return false
	}
	if cur.seen == nil {
		cur.seen = make(map[RecordID]struct{})
	}
	cur.seen[id] = struct{}{}
	return true
}

// inOrder are the ranges in the order in which they are read.
func (a *access) inOrder() []keyRange {
	if !a.backward || len(a.ranges) < 2 {
		return a.ranges
	}
	out := make([]keyRange, len(a.ranges))
	for i, r := range a.ranges {
		out[len(out)-1-i] = r
	}
	return out
}

// All iterates over the rest and closes the cursor.
func (cur *Cursor) All(ctx context.Context) iter.Seq2[bson.Raw, error] {
	return func(yield func(bson.Raw, error) bool) {
		defer cur.Close()
		for {
			doc, ok, err := cur.Next(ctx)
			if err != nil {
				yield(nil, err)
				return
			}
			if !ok || !yield(doc, nil) {
				return
			}
		}
	}
}
