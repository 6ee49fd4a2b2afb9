package match

// A Branch is one alternative of a disjunction, for a planner.
type Branch struct {
	// Conjuncts are its simple conditions, as [Filter.Conjuncts] lists them.
	Conjuncts []Predicate
	// Rest tells whether it demands more than its conjuncts.
	Rest bool
}

// Branches lists the alternatives of the filter's disjunction, in the order in which they are judged: every
// match fulfils one of them. There are none unless the filter is a disjunction (rooted), or a conjunction
// with one in it, of which the first counts.
func (f *Filter) Branches() (branches []Branch, rooted bool) {
	switch root := f.root.(type) {
	case *or:
		return branchesOf(root), true
	case *and:
		for _, n := range root.nodes {
			if o, ok := n.(*or); ok {
				return branchesOf(o), false
			}
		}
	}
	return nil, false
}

func branchesOf(o *or) []Branch {
	out := make([]Branch, len(o.nodes))
	for i, n := range o.nodes {
		parts := []node{n}
		if a, ok := n.(*and); ok {
			parts = a.nodes
		}
		out[i].Conjuncts = conjuncts(parts)
		out[i].Rest = len(out[i].Conjuncts) != len(parts)
	}
	return out
}
