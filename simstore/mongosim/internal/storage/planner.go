package storage

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// An access is a way to get at documents: through an index or, without one,
// in natural order.
type access struct {
	ix       *index
	spec     *indexSpec // ix's
	multi    uint64
	fields   []bounds
	ranges   []keyRange
	backward bool
	sorted   bool // documents come in the order that the query asks for
	bounded  int  // index fields that narrow the search
}

// sortField is one field of a sort that an index may give.
type sortField struct {
	path string
	desc bool
}

// sorts tells whether the query asks for an order.
func (q *Query) sorts() bool { return !value.IsEmpty(q.SortSpec) }

// sortFields reads a sort specification; ok is false if no index can give it.
func sortFields(spec bson.Raw) (out []sortField, ok bool) {
	ok = true
	for path, v := range value.Fields(spec) {
		ok = ok && value.IsNumber(v)
		out = append(out, sortField{path, value.IsNumber(v) && value.ToDouble(v) < 0})
	}
	return out, ok
}

// plan decides how to run a query. mu is held.
func (c *Collection) plan(q Query) (*Plan, error) {
	p := &Plan{ns: c.id.Namespace, query: q}
	if q.Filter != nil && q.Filter.Never() {
		p.eof = true
		return p, nil
	}
	natural := q.Hint.Natural
	if v := value.Field(q.SortSpec, "$natural"); value.IsNumber(v) {
		natural = 1
		if value.ToDouble(v) < 0 {
			natural = -1
		}
		p.query.SortSpec = nil
	}
	if natural != 0 && (q.Min != nil || q.Max != nil) {
		return nil, mongoerr.New(mongoerr.NoQueryExecutionPlans, "error processing query: ns=%s planner returned error :: caused by :: No indexed plans available, and running with 'notablescan'", c.id.Namespace)
	}
	if natural != 0 {
		p.use = access{backward: natural < 0, sorted: !p.query.sorts()}
		return p, nil
	}
	var conds []match.Predicate
	if q.Filter != nil {
		conds = q.Filter.Conjuncts()
	}
	want, sortable := sortFields(q.SortSpec)
	if !q.Hint.IsZero() {
		ix, err := c.hinted(q.Hint)
		if err != nil {
			return nil, err
		}
		p.use = consider(ix, conds, want, sortable)
		if q.Min != nil || q.Max != nil {
			return p, p.use.between(q.Min, q.Max)
		}
		return p, nil
	}
	p.use = c.choose(q, conds, want, sortable)
	if p.use.ix == nil || p.use.bounded == 0 {
		branches, rooted := c.disjunction(q)
		if branches != nil {
			p.branches, p.use = branches, access{}
		}
		if p.subplan = rooted; branches != nil {
			return p, nil
		}
	}
	p.idhack = p.use.ix != nil && p.use.ix == c.indexes[0] && OnlyID(q.FilterSpec) && q.Skip == 0 && p.use.fields[0].allPoints()
	return p, nil
}

// OnlyID tells whether a filter is nothing but {_id: value}.
func OnlyID(spec bson.Raw) bool {
	n := 0
	for name, v := range value.Fields(spec) {
		if n++; name != "_id" || n > 1 {
			return false
		}
		if v.Type == bson.TypeRegex {
			return false
		}
		if v.Type == bson.TypeEmbeddedDocument {
			for op := range value.Fields(bson.Raw(v.Value)) {
				if strings.HasPrefix(op, "$") && op != "$eq" {
					return false
				}
			}
		}
	}
	return n == 1
}

func (c *Collection) hinted(h Hint) (*index, error) {
	for _, ix := range c.indexes {
		if ix.spec.hidden {
			continue
		}
		if h.Name != "" && ix.spec.name == h.Name || h.Key != nil && value.Equal(value.Doc(ix.spec.pattern), value.Doc(h.Key)) {
			return ix, nil
		}
	}
	return nil, mongoerr.New(mongoerr.BadValue, "planner returned error :: caused by :: hint provided does not correspond to an existing index")
}

// consider works out what an index can do for a query.
func consider(ix *index, conds []match.Predicate, want []sortField, sortable bool) access {
	a := access{ix: ix, spec: ix.spec, multi: ix.multi}
	for i, f := range ix.spec.fields {
		b := fieldBounds(a, i, f, conds)
		if !b.unbounded() {
			a.bounded++
		}
		a.fields = append(a.fields, b)
	}
	a.ranges = keyRanges(ix.spec, a.fields)
	a.sorted = len(want) == 0
	if !a.sorted && sortable {
		a.sorted, a.backward = a.gives(want)
	}
	return a
}

// fieldBounds combines the conditions on one field. Where documents have
// several values in the field, each condition may be met by another of them,
// so that only one condition can narrow the search; and of several fields
// within one array only the first can.
func fieldBounds(a access, i int, f indexField, conds []match.Predicate) bounds {
	all := bounds{everything()}
	multi := a.multi&(1<<i) != 0
	if multi && f.dotted {
		top, _, _ := strings.Cut(f.path, ".")
		for j := range i {
			other, _, _ := strings.Cut(a.spec.fields[j].path, ".")
			if other == top && a.multi&(1<<j) != 0 && !a.fields[j].unbounded() {
				return all
			}
		}
	}
	out := all
	for _, p := range conds {
		if p.Path != f.path {
			continue
		}
		b, ok := boundsOf(p)
		if !ok || f.hashed && !b.allPoints() {
			continue
		}
		switch {
		case out.unbounded():
			out = b
		case !multi:
			out = intersectAll(out, b)
		case b.allPoints() && !out.allPoints():
			out = b
		}
	}
	return out
}

// gives tells whether the index yields the order asked for, and whether it
// has to be read backward for that. A field that is searched for one value
// doesn't matter to the order.
func (a *access) gives(want []sortField) (sorted, backward bool) {
	fixed := map[string]bool{}
	for i, f := range a.spec.fields {
		if len(a.fields[i]) == 1 && a.fields[i].allPoints() && a.multi&(1<<i) == 0 {
			fixed[f.path] = true
		}
	}
	i, first := 0, true
	for _, w := range want {
		if fixed[w.path] {
			continue
		}
		for i < len(a.spec.fields) && fixed[a.spec.fields[i].path] && a.spec.fields[i].path != w.path {
			i++
		}
		if i == len(a.spec.fields) {
			return false, false
		}
		f := a.spec.fields[i]
		if f.path != w.path || f.hashed || a.multi&(1<<i) != 0 {
			return false, false
		}
		turn := f.desc != w.desc
		if first {
			backward, first = turn, false
		} else if turn != backward {
			return false, false
		}
		i++
	}
	return true, backward
}

func fieldNames(doc bson.Raw) []string {
	var list []string
	for name := range value.Fields(doc) {
		list = append(list, name)
	}
	return list
}

// between narrows an access to find's min and max.
func (a *access) between(low, high bson.Raw) error {
	if low != nil && high != nil && !slices.Equal(fieldNames(low), fieldNames(high)) {
		return mongoerr.New(51176, "min and max must have the same field names")
	}
	r := keyRange{}
	for which, doc := range []bson.Raw{low, high} {
		if doc == nil {
			continue
		}
		var key []byte
		i := 0
		for path, v := range value.Fields(doc) {
			if i >= len(a.spec.fields) || a.spec.fields[i].path != path {
				return mongoerr.New(51174, "planner returned error :: caused by :: hint provided to use index %s does not match requested min() bounds", a.spec.name)
			}
			key = value.AppendKey(key, v, a.spec.fields[i].desc)
			i++
		}
		if which == 0 {
			r.lo = string(key)
		} else {
			r.hi = string(key)
		}
	}
	if r.hi != "" && r.lo >= r.hi {
		return mongoerr.New(51175, "planner returned error :: caused by :: max() must be greater than min()")
	}
	a.ranges = []keyRange{r}
	return nil
}

// usable tells whether every document that the query matches is in the index.
func (a *access) usable(conds []match.Predicate) bool {
	s := a.spec
	if s.hidden {
		return false
	}
	if s.sparse && !slices.ContainsFunc(conds, func(p match.Predicate) bool {
		return slices.ContainsFunc(s.fields, func(f indexField) bool { return f.path == p.Path }) && present(p)
	}) {
		return false
	}
	if s.filter == nil {
		return true
	}
	if leaves(bson.Raw(value.Field(s.raw, "partialFilterExpression").Value)) != len(s.partial) {
		return false // it has conditions that we cannot compare
	}
	for _, need := range s.partial {
		if !slices.ContainsFunc(conds, func(p match.Predicate) bool { return implies(p, need) }) {
			return false
		}
	}
	return true
}

// present tells whether a condition can only be met by a document that has
// the field.
func present(p match.Predicate) bool {
	switch p.Op {
	case "$exists":
		return value.Truthy(p.Value)
	case "$in":
		for _, v := range value.Elements(p.Value) {
			if v.Type == bson.TypeNull {
				return false
			}
		}
		return true
	default:
		return p.Value.Type != bson.TypeNull && p.Value.Type != bson.TypeMinKey && p.Value.Type != bson.TypeMaxKey
	}
}

// implies tells whether whatever meets p meets need.
func implies(p, need match.Predicate) bool {
	if p.Path != need.Path {
		return false
	}
	if need.Op == "$exists" {
		return value.Truthy(need.Value) && present(p)
	}
	a, ok := boundsOf(p)
	if !ok || p.Op == "$exists" || p.Op == "$regex" {
		return false
	}
	b, ok := boundsOf(need)
	return ok && a.within(b)
}

// notCompared is a count of conditions that no filter has.
const notCompared = 1 << 30

// leaves counts the conditions of a partial index's filter.
func leaves(filter bson.Raw) int {
	n := 0
	for name, v := range value.Fields(filter) {
		switch {
		case name == "$and":
			for _, e := range value.Elements(v) {
				n += leaves(bson.Raw(e.Value))
			}
		case name == "$or":
			n += notCompared
		case v.Type == bson.TypeEmbeddedDocument && hasOperator(bson.Raw(v.Value)):
			for range value.Fields(bson.Raw(v.Value)) {
				n++
			}
		default:
			n++
		}
	}
	return n
}

func hasOperator(doc bson.Raw) bool {
	for name := range value.Fields(doc) {
		return strings.HasPrefix(name, "$")
	}
	return false
}

// sampleSize is how many keys are counted to compare indexes.
const sampleSize = 500

// choose picks the index that promises the least work. As on the server, any
// index that a condition narrows or that gives the order goes before reading
// the whole collection.
func (c *Collection) choose(q Query, conds []match.Predicate, want []sortField, sortable bool) access {
	var fit []access
	for _, ix := range c.indexes {
		if !slices.ContainsFunc(conds, func(p match.Predicate) bool { return p.Path == ix.spec.fields[0].path }) && len(want) == 0 {
			continue
		}
		a := consider(ix, conds, want, sortable)
		narrows := !a.fields[0].unbounded() || ix.spec.sparse && a.usable(conds) && mentions(conds, ix.spec.fields[0].path)
		orders := a.sorted && len(want) > 0
		if !narrows && !orders || !a.usable(conds) {
			continue
		}
		if ix.spec.unique && a.bounded == len(a.fields) && len(a.ranges) == 1 && allPoints(a.fields) {
			return a // at most one document
		}
		fit = append(fit, a)
	}
	switch len(fit) {
	case 0:
		return access{sorted: !q.sorts()}
	case 1:
		return fit[0]
	}
	best, bestCost := 0, fit[0].cost(q)
	for i := 1; i < len(fit); i++ {
		cost := fit[i].cost(q)
		if cost < bestCost || cost == bestCost && fit[i].bounded > fit[best].bounded {
			best, bestCost = i, cost
		}
	}
	return fit[best]
}

func mentions(conds []match.Predicate, path string) bool {
	return slices.ContainsFunc(conds, func(p match.Predicate) bool { return p.Path == path })
}

func allPoints(fields []bounds) bool {
	for _, b := range fields {
		if !b.allPoints() {
			return false
		}
	}
	return true
}

// cost estimates the keys that have to be read, in halves; sorting counts
// for half a key more.
func (a *access) cost(q Query) int {
	n := a.count(sampleSize)
	if n >= sampleSize {
		n = max(n, a.ix.tree.Len())
	}
	if !a.sorted {
		return 3 * n
	}
	if q.sorts() && q.Limit > 0 {
		// An order that is given lets the query stop at the limit; with a filter
		// that the index doesn't know, some way behind it.
		stop := int(q.Limit + q.Skip)
		if q.Filter != nil && a.bounded == 0 {
			stop = max(stop, n/10)
		}
		n = min(n, stop)
	}
	return 2 * n
}

// count counts the keys in the access's ranges up to limit.
func (a *access) count(limit int) int {
	n := 0
	for _, r := range a.ranges {
		a.ix.tree.Ascend(entry{key: r.lo}, func(e entry) bool {
			if r.hi != "" && e.key >= r.hi || n >= limit {
				return false
			}
			n++
			return true
		})
		if n >= limit {
			break
		}
	}
	return n
}
