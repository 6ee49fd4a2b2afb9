package match

import (
	"cmp"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A kind orders the children of a conjunction or disjunction: the server
// evaluates them in this order, which shows where an expression fails or a
// positional operator picks an element.
type kind int

const (
	kindAnd kind = iota
	kindOr
	kindElemMatchObject
	kindElemMatchValue
	kindSize
	kindEq
	kindLte
	kindLt
	kindGt
	kindGte
	kindRegex
	kindMod
	kindExists
	kindIn
	kindBitsAllSet
	kindBitsAllClear
	kindBitsAnySet
	kindBitsAnyClear
	kindNot
	kindNor
	kindType
	kindExpr
	kindFalse
	kindTrue
	kindSchema
)

// A view says what a node is asked about.
type view int

const (
	asDocument view = iota // a whole document
	asElement              // one value, whatever the node's path
	asWrapped              // one value in place of the path's first part
)

// A state travels along a match that can fail or must tell a position.
// It is nil where neither is needed.
type state struct {
	err   error // the first failure of an expression
	index int   // position recorded for the positional operator
	track bool
}

func (st *state) failed() bool { return st != nil && st.err != nil }

// A node is one predicate of a parsed filter.
type node interface {
	kind() kind
	pathText() string
	children() []node
	// eval judges x seen as how.
	eval(how view, x bson.RawValue, st *state) bool
	// optimize gives an equivalent, simpler node.
	optimize() node
}

// A leaf tests the values that one path leads to.
type leaf struct {
	walk
	k kind
}

func newLeaf(k kind, dotted string, leafArr bool, t tester) *leaf {
	l := &leaf{k: k}
	p := parsePath(dotted)
	l.walk = walk{path: &p, leafArr: leafArr, t: t}
	return l
}

func (l *leaf) kind() kind       { return l.k }
func (l *leaf) pathText() string { return l.path.dotted }
func (l *leaf) children() []node { return nil }

func (l *leaf) optimize() node {
	if o, ok := l.t.(interface{ optimizeLeaf(*leaf) node }); ok {
		return o.optimizeLeaf(l)
	}
	return l
}

func (l *leaf) eval(how view, x bson.RawValue, st *state) bool {
	var found bool
	var index int
	switch how {
	case asElement:
		return l.t.test(x, st)
	case asWrapped:
		found, index = l.wrapped(x, st)
	default:
		found, index = l.document(x.Value, 0, st)
	}
	if found && index != noIndex && st != nil && st.track {
		st.index = index
	}
	return found
}

// A and is true if all of its nodes are.
type and struct{ nodes []node }

func (a *and) kind() kind       { return kindAnd }
func (a *and) pathText() string { return "" }
func (a *and) children() []node { return a.nodes }
func (a *and) optimize() node   { return optimizeList(a) }

func (a *and) eval(how view, x bson.RawValue, st *state) bool {
	for _, n := range a.nodes {
		if !n.eval(how, x, st) || st.failed() {
			if st != nil && how != asElement {
				st.index = noIndex
			}
			return false
		}
	}
	return true
}

// An or is true if one of its nodes is. It records no position.
type or struct{ nodes []node }

func (o *or) kind() kind       { return kindOr }
func (o *or) pathText() string { return "" }
func (o *or) children() []node { return o.nodes }
func (o *or) optimize() node   { return optimizeList(o) }

func (o *or) eval(how view, x bson.RawValue, st *state) bool {
	return anyOf(o.nodes, how, x, st)
}

func anyOf(nodes []node, how view, x bson.RawValue, st *state) bool {
	for _, n := range nodes {
		if untracked(n, how, x, st) {
			return true
		}
		if st.failed() {
			return false
		}
	}
	return false
}

// A nor is true if none of its nodes is.
type nor struct{ nodes []node }

func (n *nor) kind() kind       { return kindNor }
func (n *nor) pathText() string { return "" }
func (n *nor) children() []node { return n.nodes }
func (n *nor) optimize() node   { return optimizeList(n) }

func (n *nor) eval(how view, x bson.RawValue, st *state) bool {
	return !anyOf(n.nodes, how, x, st) && !st.failed()
}

// An xor is true if exactly one of its nodes is.
type xor struct{ nodes []node }

func (n *xor) kind() kind       { return kindSchema }
func (n *xor) pathText() string { return "" }
func (n *xor) children() []node { return n.nodes }

func (n *xor) optimize() node { return optimizeList(n) }

func (n *xor) eval(how view, x bson.RawValue, st *state) bool {
	found := false
	for _, c := range n.nodes {
		if untracked(c, how, x, st) {
			if found {
				return false
			}
			found = true
		}
	}
	return found
}

// A not is the negation of a node.
type not struct{ n node }

func (n *not) kind() kind       { return kindNot }
func (n *not) pathText() string { return "" }
func (n *not) children() []node { return []node{n.n} }
func (n *not) optimize() node   { n.n = n.n.optimize(); return n }

func (n *not) eval(how view, x bson.RawValue, st *state) bool {
	return !untracked(n.n, how, x, st) && !st.failed()
}

// A constant is always true or always false.
type constant bool

func (c constant) kind() kind {
	if c {
		return kindTrue
	}
	return kindFalse
}
func (c constant) pathText() string                      { return "" }
func (c constant) children() []node                      { return nil }
func (c constant) optimize() node                        { return c }
func (c constant) eval(view, bson.RawValue, *state) bool { return bool(c) }
func (c constant) test(bson.RawValue, *state) bool       { return bool(c) }

// untracked evaluates n without letting it record a position: only what is
// ANDed at the top tells where an array matched.
func untracked(n node, how view, x bson.RawValue, st *state) bool {
	if st == nil || !st.track {
		return n.eval(how, x, st)
	}
	index := st.index
	st.track = false
	ok := n.eval(how, x, st)
	st.track, st.index = true, index
	return ok
}

// optimizeList flattens and simplifies a node that combines others.
func optimizeList(n node) node {
	list := n.children()
	for i := range list {
		list[i] = list[i].optimize()
	}
	k := n.kind()
	if k == kindAnd || k == kindOr {
		var own, absorbed []node
		for _, c := range list {
			if c.kind() == k {
				absorbed = append(absorbed, c.children()...)
			} else {
				own = append(own, c)
			}
		}
		list = append(own, absorbed...)
		list = slices.DeleteFunc(list, func(c node) bool {
			return k == kindAnd && trivially(c, true) || k == kindOr && trivially(c, false)
		})
	}
	_, isXor := n.(*xor)
	switch {
	case len(list) == 0 && k == kindOr:
		return constant(false)
	case len(list) == 1 && (k == kindAnd || k == kindOr || isXor):
		return list[0]
	case len(list) == 1 && k == kindNor:
		return &not{list[0]}
	}
	for _, c := range list {
		if k == kindAnd && trivially(c, false) {
			return constant(false)
		}
		if k == kindOr && trivially(c, true) {
			return constant(true)
		}
	}
	switch n := n.(type) {
	case *and:
		n.nodes = list
	case *or:
		n.nodes = list
	case *nor:
		n.nodes = list
	case *xor:
		n.nodes = list
	}
	return n
}

func trivially(n node, truth bool) bool {
	if c, ok := n.(constant); ok {
		return bool(c) == truth
	}
	a, ok := n.(*and)
	return ok && truth && len(a.nodes) == 0
}

// sortTree brings all children into the server's order of evaluation.
func sortTree(n node) {
	for _, c := range n.children() {
		sortTree(c)
	}
	switch n := n.(type) {
	case *and:
		slices.SortStableFunc(n.nodes, compareNodes)
	case *or:
		slices.SortStableFunc(n.nodes, compareNodes)
	case *nor:
		slices.SortStableFunc(n.nodes, compareNodes)
	case *xor:
		slices.SortStableFunc(n.nodes, compareNodes)
	}
}

func compareNodes(a, b node) int {
	if c := cmp.Compare(a.kind(), b.kind()); c != 0 {
		return c
	}
	if c := strings.Compare(a.pathText(), b.pathText()); c != 0 {
		return c
	}
	as, bs := a.children(), b.children()
	for i := range min(len(as), len(bs)) {
		if c := compareNodes(as[i], bs[i]); c != 0 {
			return c
		}
	}
	return cmp.Compare(len(as), len(bs))
}
