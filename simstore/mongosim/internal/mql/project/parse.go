package project

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A mode is whether a projection names what to keep or what to leave out.
type mode int

const (
	undecided mode = iota
	inclusion
	exclusion
)

// A part is a node of a projection's tree while it is read: either a leaf or
// the parent of others.
type part struct {
	names []string // of the children, in the order in which they came
	below map[string]*part

	leaf any // nil for a parent
}

// The leaves that a part can be besides a bool, which includes or excludes.
type (
	computed struct{ e *expr.Expr }
	slice    struct {
		skip  *int64 // nil for none
		limit int64
	}
	elemMatch struct {
		f    *match.Filter
		name string
	}
	positional struct{ f *match.Filter }
)

// A parser reads a projection.
type parser struct {
	env    *expr.Env
	filter *match.Filter

	mode          mode
	idSpecified   bool
	idIncluded    bool // {_id: 1}
	idExcluded    bool // {_id: 0}
	hasPositional bool
	hasElemMatch  bool
	hasSlice      bool
	hasMeta       bool
}

func (p *parser) parse(spec bson.Raw) (*part, error) {
	root := &part{}
	for name, v := range value.Fields(spec) {
		if name == "_id" || strings.HasPrefix(name, "_id.") {
			p.idSpecified = true
		}
		if err := p.element(root, root, name, v); err != nil {
			return nil, err
		}
	}
	if p.mode == undecided {
		p.mode = p.defaultMode()
	}
	if !p.idSpecified && p.mode == inclusion {
		if err := root.add("_id", true); err != nil {
			return nil, err
		}
	}
	if p.mode == exclusion && p.idIncluded {
		root.remove("_id") // it is there anyway
	}
	return root, nil
}

// defaultMode decides where nothing but _id and find's own operators is given.
func (p *parser) defaultMode() mode {
	switch {
	case p.hasSlice:
		if p.idIncluded {
			return inclusion
		}
		return exclusion
	case p.hasElemMatch:
		return inclusion
	case p.idIncluded:
		return inclusion
	}
	return exclusion
}

// add puts a leaf at the end of a path below p.
func (p *part) add(dotted string, leaf any) error {
	parts := strings.Split(dotted, ".")
	node := p
	for i, name := range parts {
		child := node.below[name]
		if i == len(parts)-1 {
			if child != nil {
				return mongoerr.New(31250, "Path collision at %s", dotted)
			}
			node.link(name, &part{leaf: leaf})
			return nil
		}
		switch {
		case child == nil:
			child = &part{}
			node.link(name, child)
		case child.leaf != nil:
			tail := strings.Join(parts[1:], ".")
			return mongoerr.New(31249, "Path collision at %s remaining portion %s", dotted, tail)
		}
		node = child
	}
	return nil
}

func (p *part) link(name string, child *part) {
	if p.below == nil {
		p.below = map[string]*part{}
	}
	p.below[name] = child
	p.names = append(p.names, name)
}

func (p *part) remove(name string) {
	delete(p.below, name)
	for i, n := range p.names {
		if n == name {
			p.names = append(p.names[:i:i], p.names[i+1:]...)
			return
		}
	}
}

// parentAt gives the parent at a path below p, nil if there is none.
func (p *part) parentAt(dotted string) *part {
	for name := range strings.SplitSeq(dotted, ".") {
		p = p.below[name]
		if p == nil || p.leaf != nil {
			return nil
		}
	}
	return p
}

// element reads one field of a projection or of a document nested in it.
func (p *parser) element(root, parent *part, name string, v bson.RawValue) error {
	hasPositional := strings.HasSuffix(name, ".$")
	if strings.Contains(name, ".$.") {
		return mongoerr.New(31394, "As of 4.4, it's illegal to specify positional operator in the middle of a path."+
			"Positional projection may only be used at the end, for example: a.b.$. If the query "+
			"previously used a form like a.b.$.d, remove the parts following the '$' and the results will be equivalent.")
	}
	switch {
	case v.Type == bson.TypeEmbeddedDocument:
		if hasPositional {
			return mongoerr.New(31271, "positional projection cannot be used with an expression or sub object")
		}
		return p.nested(root, parent, name, v.Value)
	case v.Type != bson.TypeBoolean && !value.IsNumber(v):
		if hasPositional {
			return mongoerr.New(31308, "positional projection cannot be used with a literal")
		}
		return p.literal(parent, name, v)
	case value.Truthy(v) && hasPositional:
		return p.positional(parent, name)
	case value.Truthy(v):
		return p.include(parent, parent == root && name == "_id", name)
	case hasPositional:
		return mongoerr.New(31395, "positional projection cannot be used with exclusion")
	}
	return p.exclude(parent, parent == root && name == "_id", name)
}

func (p *parser) include(parent *part, isID bool, name string) error {
	if err := expr.CheckPath(name); err != nil {
		return err
	}
	if err := parent.add(name, true); err != nil {
		return err
	}
	if isID {
		p.idIncluded = true
		return nil
	}
	return p.decideInclusion(name)
}

func (p *parser) decideInclusion(name string) error {
	if p.mode == exclusion {
		return mongoerr.New(31253, "Cannot do inclusion on field %s in exclusion projection", name)
	}
	p.mode = inclusion
	return nil
}

func (p *parser) exclude(parent *part, isID bool, name string) error {
	if err := expr.CheckPath(name); err != nil {
		return err
	}
	if err := parent.add(name, false); err != nil {
		return err
	}
	if isID {
		p.idExcluded = true
		return nil
	}
	if p.mode == inclusion {
		return mongoerr.New(31254, "Cannot do exclusion on field %s in inclusion projection", name)
	}
	p.mode = exclusion
	return nil
}

func (p *parser) positional(parent *part, name string) error {
	switch {
	case p.hasPositional:
		return mongoerr.New(31276, "Cannot specify more than one positional projection per query.")
	case p.hasElemMatch:
		return mongoerr.New(31256, "Cannot specify positional operator and $elemMatch.")
	case p.filter == nil:
		return mongoerr.New(51050, "Projections with a positional operator require a matcher")
	case name == ".$":
		return mongoerr.New(5392900, "Projection on field .$ is invalid")
	}
	path := strings.TrimSuffix(name, ".$")
	if err := expr.CheckPath(path); err != nil {
		return err
	}
	f, err := p.filter.AsWritten(match.NoFeatures)
	if err != nil {
		return err
	}
	if err := parent.add(path, &positional{f: f}); err != nil {
		return err
	}
	p.hasPositional = true
	return p.decideInclusion(name)
}

func (p *parser) literal(parent *part, name string, v bson.RawValue) error {
	e, err := expr.Parse(v, p.env)
	if err != nil {
		return err
	}
	if err := expr.CheckPath(name); err != nil {
		return err
	}
	if err := parent.add(name, computed{e}); err != nil {
		return err
	}
	if p.mode == exclusion {
		return mongoerr.New(31310, "Cannot use an expression %s: %s in an exclusion projection", name, expr.Show(v))
	}
	p.mode = inclusion
	return nil
}

// nested reads a document: an operator, an expression or a projection of what
// lies below the field.
func (p *parser) nested(root, parent *part, name string, doc bson.Raw) error {
	if value.IsEmpty(doc) {
		return mongoerr.New(51270, "An empty sub-projection is not a valid value. Found empty object at path")
	}
	if err := expr.CheckPath(name); err != nil {
		return err
	}
	first, v, _, _ := value.Next(value.Body(doc))
	if strings.HasPrefix(first, "$") && value.Len(value.Doc(doc)) == 1 {
		done, err := p.operator(root, parent, name, first, v, doc)
		if done || err != nil {
			return err
		}
		if expr.CheckPath(first) != nil {
			return mongoerr.New(31325, "Unknown expression %s", first)
		}
	}
	below := parent.parentAt(name)
	if below == nil {
		if err := parent.add(name, nil); err != nil {
			return err
		}
		below = parent.parentAt(name)
	}
	for n, x := range value.Fields(doc) {
		if err := p.element(root, below, n, x); err != nil {
			return err
		}
	}
	return nil
}

// operator reads {$operator: argument}; done is false if it is none.
func (p *parser) operator(root, parent *part, path, name string, v bson.RawValue, doc bson.Raw) (done bool, err error) {
	switch name {
	case "$slice":
		findErr := p.slice(parent, path, v)
		if findErr == nil {
			return true, nil
		}
		if _, err := p.expression(parent, path, name, doc); err != nil {
			e := mongoerr.From(err)
			return true, e.WithPrefix("Invalid $slice syntax. The given syntax " + expr.Show(value.Doc(doc)) +
				" did not match the find() syntax because :: " + mongoerr.From(findErr).Error() +
				" :: The given syntax did not match the expression $slice syntax.")
		}
		return true, nil
	case "$elemMatch":
		return true, p.elemMatch(parent, parent == root, path, v, doc)
	}
	return p.expression(parent, path, name, doc)
}

func (p *parser) expression(parent *part, path, name string, doc bson.Raw) (done bool, err error) {
	if !expr.IsOperator(name, p.env) {
		return false, nil
	}
	isMeta := name == "$meta"
	if p.mode == exclusion && !isMeta {
		return true, mongoerr.New(31252, "Cannot use expression other than $meta in exclusion projection")
	}
	if !isMeta {
		p.mode = inclusion
	}
	e, err := expr.Parse(value.Doc(doc), p.env)
	if err != nil {
		return true, err
	}
	p.hasMeta = p.hasMeta || isMeta
	return true, parent.add(path, computed{e})
}

func (p *parser) slice(parent *part, path string, v bson.RawValue) error {
	s := &slice{}
	switch {
	case value.IsNumber(v):
		s.limit = clampInt32(v)
	case v.Type == bson.TypeArray:
		args := value.Slice(v)
		switch {
		case len(args) != 2:
			return mongoerr.New(31272, "$slice array argument should be of form [skip, limit]")
		case !value.IsNumber(args[0]):
			return mongoerr.New(31257, "$slice expects the skip argument to be a number, got %s", value.TypeName(args[0].Type))
		case !value.IsNumber(args[1]):
			return mongoerr.New(31258, "$slice expects the limit argument to be a number, got %s", value.TypeName(args[1].Type))
		}
		skip := clampInt32(args[0])
		s.skip, s.limit = &skip, clampInt32(args[1])
		if s.limit <= 0 {
			return mongoerr.New(31259, "$slice limit must be positive, got %d", s.limit)
		}
	default:
		return mongoerr.New(31273, "$slice only supports numbers and [skip, limit] arrays")
	}
	if err := parent.add(path, s); err != nil {
		return err
	}
	p.hasSlice = true
	return nil
}

func clampInt32(v bson.RawValue) int64 {
	const most, least = 1<<31 - 1, -1 << 31
	return max(least, min(most, value.ClampInt64(v)))
}

func (p *parser) elemMatch(parent *part, atRoot bool, path string, v bson.RawValue, doc bson.Raw) error {
	switch {
	case v.Type != bson.TypeEmbeddedDocument:
		return mongoerr.New(31274, "elemMatch: Invalid argument, object required, but got %s", value.TypeName(v.Type))
	case p.hasPositional:
		return mongoerr.New(31255, "Cannot specify positional operator and $elemMatch.")
	case strings.Contains(path, ".") || !atRoot:
		return mongoerr.New(31275, "Cannot use $elemMatch projection on a nested field.")
	}
	var o value.Object
	o.Add(path, value.Doc(doc))
	f, err := match.ParseWith(o.Doc(), p.env, match.NoFeatures)
	if err != nil {
		return err
	}
	if err := parent.add(path, &elemMatch{f: f, name: path}); err != nil {
		return err
	}
	p.hasElemMatch = true
	return nil
}
