package storage

import (
	"context"
	"log/slog"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// ttlLoop deletes expired documents at the configured interval.
func (e *Engine) ttlLoop() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	tick := time.NewTicker(e.cfg.TTLInterval)
	defer tick.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-tick.C:
		}
		if _, err := e.RunTTL(ctx); err != nil {
			e.log.Warn("deleting expired documents failed", slog.Any("error", err))
		}
	}
}

// RunTTL deletes the documents that TTL indexes have let expire by the
// engine's clock, and returns how many. Documents that an open transaction has
// changed are left to the next run.
func (e *Engine) RunTTL(ctx context.Context) (int, error) {
	e.catalog.mu.RLock()
	var colls []*Collection
	for _, db := range e.catalog.dbs {
		for _, c := range db {
			colls = append(colls, c)
		}
	}
	e.catalog.mu.RUnlock()
	total := 0
	for _, c := range colls {
		c.mu.RLock()
		indexes := c.indexes
		c.mu.RUnlock()
		for _, ix := range indexes {
			if !ix.spec.ttl {
				continue
			}
			n, err := c.expire(ctx, ix)
			total += n
			if err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

// expire deletes what one TTL index has let expire.
func (c *Collection) expire(ctx context.Context, ix *index) (int, error) {
	edge := c.engine.cfg.Clock().Add(-time.Duration(ix.spec.expire * float64(time.Second)))
	n := 0
	for _, id := range c.expired(ix, edge.UnixMilli()) {
		if ctx.Err() != nil {
			return n, waitError(ctx)
		}
		if c.held(id) {
			continue
		}
		res, err := c.Modify(ctx, Write{}, id, func(cur bson.Raw) (Change, error) {
			return Change{Delete: lapsed(ix.spec, cur, edge.UnixMilli())}, nil
		})
		if err != nil {
			return n, err
		}
		if res.Changed {
			n++
		}
	}
	return n, nil
}

// expired finds the records with a date before edge under the index.
func (c *Collection) expired(ix *index, edge int64) []RecordID {
	span := interval{lo: value.Date(-1 << 63), hi: value.Date(edge), loInc: true, hiInc: true}
	r := stretch(nil, span, ix.spec.fields[0].desc)
	c.mu.RLock()
	defer c.mu.RUnlock()
	var out []RecordID
	ix.tree.Ascend(entry{key: r.lo}, func(e entry) bool {
		if r.hi != "" && e.key >= r.hi {
			return false
		}
		out = append(out, e.r.id)
		return true
	})
	return out
}

// held tells whether an open transaction has changed a record.
func (c *Collection) held(id RecordID) bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	r := c.rows.get(id)
	return r != nil && r.head != nil && !r.head.committed()
}

// lapsed tells whether a document's date, or the earliest date in an array,
// has come before edge.
func lapsed(spec *indexSpec, doc bson.Raw, edge int64) bool {
	var k keys
	yes := false
	k.want = func(vals []bson.RawValue) {
		yes = yes || vals[0].Type == bson.TypeDateTime && value.AsDate(vals[0]) <= edge
	}
	return spec.extract(doc, &k) == nil && yes
}
