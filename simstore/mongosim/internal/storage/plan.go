package storage

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A Plan is what the planner decided, with counters when it was run.
type Plan struct {
	// KeysExamined, DocsExamined and Returned count while a cursor runs.
	KeysExamined, DocsExamined, Returned int64

	ns     Namespace
	query  Query
	use    access
	idhack bool
	eof    bool
}

// EOFPlan is the plan for a collection that does not exist.
func EOFPlan() *Plan { return &Plan{eof: true} }

// blocking tells whether documents have to be sorted in memory.
func (p *Plan) blocking() bool { return p.query.sorts() && !p.use.sorted && !p.eof }

// IndexName is the index used; empty for a collection scan.
func (p *Plan) IndexName() string {
	if p.use.ix == nil {
		return ""
	}
	return p.use.spec.name
}

// Summary is such as "IXSCAN { a: 1 }", "COLLSCAN", "IDHACK" or "EOF".
func (p *Plan) Summary() string {
	switch {
	case p.eof:
		return "EOF"
	case p.idhack:
		return "IDHACK"
	case p.use.ix == nil:
		return "COLLSCAN"
	default:
		return "IXSCAN " + shellText(p.use.spec.pattern)
	}
}

// Winning is the plan as explain's winningPlan shows it, without projections.
func (p *Plan) Winning() bson.D { return p.tree(false) }

// Execution is the same with counters, as in executionStages.
func (p *Plan) Execution() bson.D { return p.tree(true) }

// A stage is a node of explain's tree while it is being built.
func stage(name string, rest ...bson.E) bson.D {
	return append(bson.D{{Key: "stage", Value: name}}, rest...)
}

func (p *Plan) tree(counters bool) bson.D {
	d := p.source(counters)
	q := p.query
	wrap := func(outer bson.D) {
		if counters {
			outer = append(outer, bson.E{Key: "nReturned", Value: p.Returned})
		}
		d = append(outer, bson.E{Key: "inputStage", Value: d})
	}
	if p.eof {
		return d
	}
	if p.blocking() {
		s := stage("SORT", bson.E{Key: "sortPattern", Value: q.SortSpec}, bson.E{Key: "memLimit", Value: int64(sortMemory)})
		if q.Limit > 0 {
			s = append(s, bson.E{Key: "limitAmount", Value: q.Limit + q.Skip})
		}
		wrap(append(s, bson.E{Key: "type", Value: "simple"}))
	}
	if q.Skip > 0 {
		wrap(stage("SKIP", bson.E{Key: "skipAmount", Value: q.Skip}))
	}
	if q.Limit > 0 && (!p.blocking() || q.Skip > 0) {
		wrap(stage("LIMIT", bson.E{Key: "limitAmount", Value: q.Limit}))
	}
	return d
}

// source is the part of the tree that reads.
func (p *Plan) source(counters bool) bson.D {
	filter := func(d bson.D) bson.D {
		if !value.IsEmpty(p.query.FilterSpec) {
			d = append(d, bson.E{Key: "filter", Value: p.query.FilterSpec})
		}
		return d
	}
	examined := func(d bson.D, keys, docs bool) bson.D {
		if !counters {
			return d
		}
		d = append(d, bson.E{Key: "nReturned", Value: p.Returned})
		if keys {
			d = append(d, bson.E{Key: "keysExamined", Value: p.KeysExamined})
		}
		if docs {
			d = append(d, bson.E{Key: "docsExamined", Value: p.DocsExamined})
		}
		return d
	}
	switch {
	case p.eof:
		return examined(stage("EOF"), false, false)
	case p.idhack:
		return examined(stage("IDHACK"), true, true)
	case p.use.ix == nil:
		return examined(append(filter(stage("COLLSCAN")), bson.E{Key: "direction", Value: direction(p.use.backward)}), false, true)
	}
	scan := examined(p.scan(), true, false)
	d := stage("FETCH")
	if p.use.bounded == 0 || !p.covers() {
		d = filter(d)
	}
	return append(examined(d, false, true), bson.E{Key: "inputStage", Value: scan})
}

// covers tells whether each condition of the filter is on a field whose bounds
// say the same, so that explain shows no filter on the documents.
func (p *Plan) covers() bool {
	if p.query.Filter == nil || leaves(p.query.FilterSpec) != len(p.query.Filter.Conjuncts()) {
		return false
	}
	for _, c := range p.query.Filter.Conjuncts() {
		found := false
		for i, f := range p.use.spec.fields {
			found = found || f.path == c.Path && !p.use.fields[i].unbounded() && c.Op != "$regex" && p.use.multi&(1<<i) == 0 && present(c)
		}
		if !found {
			return false
		}
	}
	return true
}

// scan describes the index scan.
func (p *Plan) scan() bson.D {
	s, u := p.use.spec, p.use
	bounds, multi := bson.D{}, bson.D{}
	for i, f := range s.fields {
		var shown bson.A
		fb := u.fields[i]
		for j := range fb {
			k := j
			desc := f.desc != u.backward
			if desc {
				k = len(fb) - 1 - j
			}
			shown = append(shown, fb[k].text(desc))
		}
		bounds = append(bounds, bson.E{Key: f.path, Value: shown})
		paths := bson.A{}
		if u.multi&(1<<i) != 0 {
			paths = append(paths, f.path)
		}
		multi = append(multi, bson.E{Key: f.path, Value: paths})
	}
	return stage("IXSCAN",
		bson.E{Key: "keyPattern", Value: s.pattern},
		bson.E{Key: "indexName", Value: s.name},
		bson.E{Key: "isMultiKey", Value: u.multi != 0},
		bson.E{Key: "multiKeyPaths", Value: multi},
		bson.E{Key: "isUnique", Value: s.unique},
		bson.E{Key: "isSparse", Value: s.sparse},
		bson.E{Key: "isPartial", Value: s.filter != nil},
		bson.E{Key: "indexVersion", Value: int32(2)},
		bson.E{Key: "direction", Value: direction(u.backward)},
		bson.E{Key: "indexBounds", Value: bounds},
	)
}

func direction(backward bool) string {
	if backward {
		return "backward"
	}
	return "forward"
}

// Plan plans without reading, for explain.
func (c *Collection) Plan(v View, q Query) (*Plan, error) {
	if v.Txn != nil {
		if err := v.Txn.use(c); err != nil {
			return nil, err
		}
	}
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.plan(q)
}
