package update

import (
	"maps"
	"slices"
	"strings"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
)

// A node is a part of the tree into which the paths of an update's operators
// are merged.
type node interface {
	apply(r *run, p place) (changed bool, err error)
}

// A place is where in the document a node is applied: the deepest element
// that exists on the path taken, and how many components led to it. What is
// left of the path has to be created.
type place struct {
	e     *element
	depth int
}

// A run is one application of an update to one document.
type run struct {
	root     *element
	matched  string // position of the array element for $, "" for none
	insert   bool
	validate bool
	log      *changes // nil where nothing is to be reported
	path     []string // the components from the root to the current place
}

// missing gives the components that don't exist yet.
func (r *run) missing(p place) []string { return r.path[p.depth:] }

func (r *run) taken(p place) []string { return r.path[:p.depth] }

func (r *run) dotted() string { return strings.Join(r.path, ".") }

// advance moves a place over what has been created there since.
func (r *run) advance(p place) place {
	for p.depth < len(r.path) {
		k := p.e.child(r.path[p.depth])
		if k == nil {
			break
		}
		p = place{k, p.depth + 1}
	}
	return p
}

// An objectNode applies nodes to the fields of a document, or to positions of
// an array.
type objectNode struct {
	fields     map[string]node
	order      []string
	positional node // at the position that the filter matched
}

// An arrayNode applies nodes to the elements of an array that array filters
// select; the empty identifier selects all.
type arrayNode struct {
	byID    map[string]node
	filters map[string]*match.Filter
}

func (o *objectNode) child(name string) node {
	if name == "$" {
		return o.positional
	}
	return o.fields[name]
}

func (o *objectNode) setChild(name string, n node) {
	if name == "$" {
		o.positional = n
		return
	}
	if o.fields == nil {
		o.fields = map[string]node{}
	}
	o.fields[name] = n
	at, _ := slices.BinarySearch(o.order, name)
	o.order = slices.Insert(o.order, at, name)
}

func (a *arrayNode) child(id string) node { return a.byID[id] }

func (a *arrayNode) setChild(id string, n node) { a.byID[id] = n }

// merge combines two nodes that turn out to apply to the same element.
func merge(a, b node, path []string) (node, error) {
	switch a := a.(type) {
	case *objectNode:
		b, ok := b.(*objectNode)
		if !ok {
			break
		}
		out := &objectNode{}
		for _, name := range unionOf(a.order, b.order) {
			n, err := mergeOptional(a.fields[name], b.fields[name], path, name)
			if err != nil {
				return nil, err
			}
			out.setChild(name, n)
		}
		n, err := mergeOptional(a.positional, b.positional, path, "$")
		out.positional = n
		return out, err
	case *arrayNode:
		b, ok := b.(*arrayNode)
		if !ok {
			break
		}
		out := &arrayNode{byID: map[string]node{}, filters: a.filters}
		for _, id := range unionOf(slices.Collect(maps.Keys(a.byID)), slices.Collect(maps.Keys(b.byID))) {
			n, err := mergeOptional(a.byID[id], b.byID[id], path, "$["+id+"]")
			if err != nil {
				return nil, err
			}
			out.byID[id] = n
		}
		return out, nil
	}
	return nil, mongoerr.New(mongoerr.ConflictingUpdateOperators, "Update created a conflict at '%s'", strings.Join(path, "."))
}

func unionOf(a, b []string) []string {
	all := slices.Concat(a, b)
	slices.Sort(all)
	return slices.Compact(all)
}

func mergeOptional(a, b node, path []string, name string) (node, error) {
	switch {
	case a == nil:
		return b, nil
	case b == nil:
		return a, nil
	}
	return merge(a, b, append(slices.Clone(path), name))
}

func (o *objectNode) apply(r *run, p place) (bool, error) {
	if o.positional == nil {
		return o.applyFields(r, p, o.order, o.fields)
	}
	if r.matched == "" {
		return false, mongoerr.New(mongoerr.BadValue, "The positional operator did not find the match needed from the query.")
	}
	fields := maps.Clone(o.fields)
	if fields == nil {
		fields = map[string]node{}
	}
	order := o.order
	if own, both := fields[r.matched]; both {
		n, err := merge(o.positional, own, append(slices.Clone(r.path), r.matched))
		if err != nil {
			return false, err
		}
		fields[r.matched] = n
	} else {
		fields[r.matched] = o.positional
		at, _ := slices.BinarySearch(order, r.matched)
		order = slices.Insert(slices.Clone(order), at, r.matched)
	}
	return o.applyFields(r, p, order, fields)
}

func (o *objectNode) applyFields(r *run, p place, order []string, fields map[string]node) (changed bool, err error) {
	for _, name := range order {
		p = r.advance(p)
		at := len(r.path)
		below := p
		if p.depth == at {
			if k := p.e.child(name); k != nil {
				below = place{k, p.depth + 1}
			}
		}
		r.path = append(r.path, name)
		did, err := fields[name].apply(r, below)
		r.path = r.path[:at]
		if err != nil {
			return false, err
		}
		changed = changed || did
	}
	return changed, nil
}

func (a *arrayNode) apply(r *run, p place) (bool, error) {
	if len(r.missing(p)) > 0 {
		return false, mongoerr.New(mongoerr.BadValue,
			"The path '%s' must exist in the document in order to apply array updates.", r.dotted())
	}
	if !p.e.isArray() {
		return false, mongoerr.New(mongoerr.BadValue, "Cannot apply array updates to non-array element %s", p.e.describe())
	}
	selected, err := a.selectElements(p.e.open())
	if err != nil {
		return false, err
	}
	hits := 0
	for _, nodes := range selected {
		if len(nodes) > 0 {
			hits++
		}
	}
	// Where several elements change, the array is reported as a whole.
	log := r.log
	if hits > 1 {
		r.log = nil
	}
	defer func() { r.log = log }()
	modified, last := 0, 0
	for i, nodes := range selected {
		if len(nodes) == 0 {
			continue
		}
		did, err := applyToItem(r, p, i, nodes)
		if err != nil {
			return false, err
		}
		if did {
			modified, last = modified+1, i
		}
	}
	if hits > 1 && log != nil {
		switch {
		case modified > 1:
			log.set(r.dotted(), p.e.value())
		case modified == 1:
			log.set(r.dotted()+"."+itoa(last), p.e.kids[last].value())
		}
	}
	return modified > 0, nil
}

// selectElements lists for every element what applies to it, by identifier.
func (a *arrayNode) selectElements(items []*element) ([][]node, error) {
	selected := make([][]node, len(items))
	for _, id := range slices.Sorted(maps.Keys(a.byID)) {
		for i, item := range items {
			ok := id == ""
			if !ok {
				var err error
				if ok, err = a.filters[id].MatchValue(item.value()); err != nil {
					return nil, err
				}
			}
			if ok {
				selected[i] = append(selected[i], a.byID[id])
			}
		}
	}
	return selected, nil
}

func applyToItem(r *run, p place, i int, nodes []node) (bool, error) {
	at := len(r.path)
	r.path = append(r.path, itoa(i))
	defer func() { r.path = r.path[:at] }()
	n := nodes[0]
	for _, other := range nodes[1:] {
		var err error
		if n, err = merge(n, other, r.path); err != nil {
			return false, err
		}
	}
	return n.apply(r, place{p.e.kids[i], p.depth + 1})
}
