package storage

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A Plan is what the planner decided, with counters when it was run.
type Plan struct {
	// KeysExamined, DocsExamined and Returned count while a cursor runs.
	KeysExamined, DocsExamined, Returned int64

	ns    Namespace
	query Query
	use   access
	// branches are the accesses of the alternatives of a disjunction, read one after the other, instead of
	// use; subplan says that the filter is nothing but the disjunction.
	branches []branch
	subplan  bool
	idhack   bool
	eof      bool
}

// EOFPlan is the plan for a collection that does not exist.
func EOFPlan() *Plan { return &Plan{eof: true} }

// blocking tells whether documents have to be sorted in memory.
func (p *Plan) blocking() bool { return p.query.sorts() && !p.use.sorted && !p.eof }

// IndexName is the index used; empty for a collection scan.
func (p *Plan) IndexName() string {
	if ix := p.access(0).ix; ix == nil {
		return ""
	}
	return p.access(0).spec.name
}

// access is one of the steps by which the plan gets at documents.
func (p *Plan) access(i int) *access {
	if p.branches == nil {
		return &p.use
	}
	return &p.branches[i].access
}

// steps is how many accesses follow one another.
func (p *Plan) steps() int { return max(1, len(p.branches)) }

// Summary is such as "IXSCAN { a: 1 }", "COLLSCAN", "IDHACK" or "EOF".
func (p *Plan) Summary() string {
	switch {
	case p.eof:
		return "EOF"
	case p.idhack:
		return "IDHACK"
	case p.branches != nil:
		parts := make([]string, len(p.branches))
		for i := range p.branches {
			parts[i] = "IXSCAN " + shellText(p.branches[i].spec.pattern)
		}
		return strings.Join(parts, ", ")
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

// count is a number in the narrower type that it fits, as the server shows it.
func count(n int64) any {
	if n == int64(int32(n)) {
		return int32(n)
	}
	return n
}

// A stage is a node of explain's tree while it is being built.
func stage(name string, rest ...bson.E) bson.D {
	return append(bson.D{{Key: "stage", Value: name}}, rest...)
}

func (p *Plan) tree(counters bool) bson.D {
	d := p.source(counters)
	q := p.query
	wrap := func(outer bson.D) {
		if counters {
			outer = append(outer, bson.E{Key: "nReturned", Value: count(p.Returned)})
		}
		d = append(outer, bson.E{Key: "inputStage", Value: d})
	}
	if p.eof {
		return d
	}
	if p.blocking() {
		s := stage("SORT", bson.E{Key: "sortPattern", Value: q.SortSpec}, bson.E{Key: "memLimit", Value: count(sortMemory)})
		if q.Limit > 0 {
			s = append(s, bson.E{Key: "limitAmount", Value: count(q.Limit + q.Skip)})
		}
		wrap(append(s, bson.E{Key: "type", Value: "simple"}))
	}
	if q.Skip > 0 {
		wrap(stage("SKIP", bson.E{Key: "skipAmount", Value: count(q.Skip)}))
	}
	if q.Limit > 0 && (!p.blocking() || q.Skip > 0) {
		wrap(stage("LIMIT", bson.E{Key: "limitAmount", Value: count(q.Limit)}))
	}
	if p.subplan {
		wrap(stage("SUBPLAN"))
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
		d = append(d, bson.E{Key: "nReturned", Value: count(p.Returned)})
		if keys {
			d = append(d, bson.E{Key: "keysExamined", Value: count(p.KeysExamined)})
		}
		if docs {
			d = append(d, bson.E{Key: "docsExamined", Value: count(p.DocsExamined)})
		}
		return d
	}
	switch {
	case p.eof:
		return examined(stage("EOF"), false, false)
	case p.idhack:
		return examined(stage("IDHACK"), true, true)
	case p.use.ix == nil && p.branches == nil:
		return examined(append(filter(stage("COLLSCAN")), bson.E{Key: "direction", Value: direction(p.use.backward)}), false, true)
	}
	if p.branches != nil {
		d := stage("FETCH")
		if !p.subplan {
			d = filter(d)
		}
		return append(examined(d, false, true), bson.E{Key: "inputStage", Value: p.union()})
	}
	scan := examined(p.use.scan(), true, false)
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
	return p.use.decides(p.query.Filter.Conjuncts())
}

// union is the stage that reads the branches of a disjunction; a single one is read as it is.
func (p *Plan) union() bson.D {
	scans := bson.A{}
	for i := range p.branches {
		b := &p.branches[i]
		scan := b.scan()
		if b.fetch {
			scan = append(stage("FETCH"), bson.E{Key: "inputStage", Value: scan})
		}
		scans = append(scans, scan)
	}
	if len(scans) == 1 {
		return scans[0].(bson.D)
	}
	return stage("OR", bson.E{Key: "inputStages", Value: scans})
}

// scan describes the index scan.
func (u *access) scan() bson.D {
	s := u.spec
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
