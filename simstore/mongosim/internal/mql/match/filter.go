package match

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// Features are the parts of the language that only some places may use.
type Features uint

// The features of a filter.
const (
	FeatureExpr Features = 1 << iota
	FeatureJSONSchema
	FeatureText
	FeatureGeoNear
	FeatureJavaScript

	// AllFeatures is what a find's filter may use.
	AllFeatures = FeatureExpr | FeatureJSONSchema | FeatureText | FeatureGeoNear | FeatureJavaScript
	// NoFeatures is what array filters, $pull, projections and partial
	// indexes are restricted to.
	NoFeatures Features = 0
)

// A Filter is a parsed filter. It is safe for concurrent use.
type Filter struct {
	doc     bson.Raw
	env     *expr.Env
	root    node // as the server evaluates it
	hasExpr bool // matching can fail, and needs a place for the error
}

// Parse checks a filter with all features allowed; a nil env means the zero
// Env. Errors are *mongoerr.Error with the code a server refuses with.
func Parse(filter bson.Raw, env *expr.Env) (*Filter, error) {
	return ParseWith(filter, env, AllFeatures)
}

// ParseWith is Parse where only the given features are allowed.
func ParseWith(filter bson.Raw, env *expr.Env, allowed Features) (*Filter, error) {
	f, err := parse(filter, env, allowed)
	if err != nil {
		return nil, err
	}
	sortTree(f.root)
	return f, nil
}

func parse(filter bson.Raw, env *expr.Env, allowed Features) (*Filter, error) {
	if env == nil {
		env = &expr.Env{}
	}
	p := &parser{env: env, allowed: allowed}
	root, err := p.filter(filter, levelTop)
	if err != nil {
		return nil, err
	}
	return &Filter{doc: filter, env: env, root: root.optimize(), hasExpr: p.hasExpr}, nil
}

// AsWritten gives the same filter with its conditions in the order in which
// they are written, not in the order in which the server evaluates them. The
// position that a positional projection refers to can depend on it.
func (f *Filter) AsWritten(allowed Features) (*Filter, error) {
	return parse(f.doc, f.env, allowed)
}

// Doc gives the filter document.
func (f *Filter) Doc() bson.Raw { return f.doc }

// Match tells whether doc satisfies the filter. Only a filter with $expr can
// fail.
func (f *Filter) Match(doc bson.Raw) (bool, error) {
	x := bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: doc}
	if !f.hasExpr {
		return f.root.eval(asDocument, x, nil), nil
	}
	st := &state{index: noIndex}
	ok := f.root.eval(asDocument, x, st)
	return ok && st.err == nil, st.err
}

// MatchPosition is Match that also tells which element of an array made the
// document match: the one that the positional operator $ stands for. index is
// -1 if no array was involved.
func (f *Filter) MatchPosition(doc bson.Raw) (ok bool, index int, err error) {
	st := &state{index: noIndex, track: true}
	ok = f.root.eval(asDocument, value.Doc(doc), st)
	if !ok || st.err != nil {
		return false, noIndex, st.err
	}
	return true, st.index, nil
}

// MatchValue tells whether v satisfies the filter with v in the place of the
// first component of every path. Array filters ({"e.qty": {$gt: 1}} for an
// element e) work so.
func (f *Filter) MatchValue(v bson.RawValue) (bool, error) {
	if !f.hasExpr {
		return f.root.eval(asWrapped, v, nil), nil
	}
	st := &state{index: noIndex}
	ok := f.root.eval(asWrapped, v, st)
	return ok && st.err == nil, st.err
}

// Placeholder gives the one first component that all paths of the filter
// share, "" if it has no path at all. More than one is an error, as is a name
// that no array filter may have.
func (f *Filter) Placeholder() (string, error) {
	name, _, err := placeholder(f.root)
	if err != nil || name == "" {
		return name, err
	}
	for i := range len(name) {
		c := name[i]
		lower := c >= 'a' && c <= 'z'
		other := c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !lower && (i == 0 || !other) {
			return "", errPlaceholder(name)
		}
	}
	return name, nil
}

func errPlaceholder(name string) error {
	return mongoerr.New(mongoerr.BadValue,
		"The top-level field name must be an alphanumeric string beginning with a lowercase letter, found '%s'", name)
}

func placeholder(n node) (name string, found bool, err error) {
	switch n := n.(type) {
	case *leaf:
		if n.path.first() == "" {
			return "", true, errPlaceholder("")
		}
		return n.path.first(), true, nil
	case *and, *or, *nor, *not:
		for _, c := range n.children() {
			other, ok, err := placeholder(c)
			if err != nil {
				return "", false, err
			}
			switch {
			case !ok:
			case !found:
				name, found = other, true
			case other != name:
				return "", false, mongoerr.New(mongoerr.FailedToParse,
					"Expected a single top-level field name, found '%s' and '%s'", name, other)
			}
		}
	}
	return name, found, nil
}

// A Predicate is a simple condition that every match fulfils, with all the
// meaning that the operator has on its path: arrays are traversed, null is
// equal to missing, an array is equal as a whole or to an element. Op is one
// of $eq, $lt, $lte, $gt, $gte, $in, $exists, $regex; the value of $exists is
// a boolean, that of $in a sorted array without duplicates.
type Predicate struct {
	Path  string
	Op    string
	Value bson.RawValue
}

// Conjuncts lists the simple conditions that are ANDed at the top, for a
// planner. Nothing is said about what the filter demands besides. An $in that
// holds regular expressions isn't listed.
func (f *Filter) Conjuncts() []Predicate {
	top := []node{f.root}
	if a, ok := f.root.(*and); ok {
		top = a.nodes
	}
	return conjuncts(top)
}

func conjuncts(top []node) []Predicate {
	var out []Predicate
	for _, n := range top {
		negated := false
		if inv, ok := n.(*not); ok {
			n, negated = inv.n, true
		}
		l, ok := n.(*leaf)
		if !ok {
			continue
		}
		p, ok := l.t.(interface {
			predicate() (string, bson.RawValue)
		})
		if !ok {
			continue
		}
		op, v := p.predicate()
		switch {
		case op == "" || negated && op != "$exists":
			continue
		case negated:
			v = value.Bool(false)
		}
		out = append(out, Predicate{Path: l.path.dotted, Op: op, Value: v})
	}
	return out
}

// Never tells whether the filter is known to match no document.
func (f *Filter) Never() bool { return f.root.kind() == kindFalse }

// Equalities lists the equalities that an upsert takes into its document, in
// the order in which the server applies them.
func (f *Filter) Equalities() []Predicate {
	var out []Predicate
	collectEqualities(f.root, &out)
	return out
}

func collectEqualities(n node, out *[]Predicate) {
	switch n := n.(type) {
	case *leaf:
		if eq, ok := n.t.(*comparison); ok && n.k == kindEq {
			*out = append(*out, Predicate{Path: n.path.dotted, Op: "$eq", Value: eq.rhs})
		}
	case *and:
		for _, c := range n.nodes {
			collectEqualities(c, out)
		}
	}
}
