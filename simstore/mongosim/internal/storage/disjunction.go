package storage

import (
	"slices"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
)

// A branch is how the documents of one alternative of a disjunction are got at.
type branch struct {
	access
	fetch bool // the alternative demands more than the index tells
}

// disjunction finds an index for each alternative of the query's filter; nil if one of them has none, as
// then the collection has to be read anyway. Alternatives that use the same index without further demands
// are read at once, in the order of the index.
func (c *Collection) disjunction(q Query) (branches []branch, rooted bool) {
	if q.Filter == nil {
		return nil, false
	}
	alternatives, rooted := q.Filter.Branches()
	for _, alt := range alternatives {
		a := c.choose(Query{}, alt.Conjuncts, nil, false)
		if a.ix == nil || a.bounded == 0 {
			return nil, rooted
		}
		b := branch{access: a, fetch: alt.Rest || !a.decides(alt.Conjuncts)}
		same := slices.IndexFunc(branches, func(other branch) bool {
			return other.ix == b.ix && !other.fetch && !b.fetch && len(b.fields) == 1
		})
		if same < 0 {
			branches = append(branches, b)
			continue
		}
		into := &branches[same].access
		into.fields[0] = uniteAll(into.fields[0], b.fields[0])
		into.ranges = keyRanges(into.spec, into.fields)
	}
	return branches, rooted
}

// decides tells whether each condition is on a field of the index whose bounds say the same.
func (a *access) decides(conds []match.Predicate) bool {
	for _, p := range conds {
		i := slices.IndexFunc(a.spec.fields, func(f indexField) bool { return f.path == p.Path })
		if i < 0 || a.fields[i].unbounded() || p.Op == "$regex" || a.multi&(1<<i) != 0 || !present(p) {
			return false
		}
	}
	return true
}
