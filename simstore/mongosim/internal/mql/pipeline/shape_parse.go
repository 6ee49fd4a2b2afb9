package pipeline

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func parseProject(p *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(15969, "$project specification must be an object")
	}
	return project(p, "$project", arg.Value)
}

func parseUnset(p *parser, arg bson.RawValue) ([]stage, error) {
	names := []bson.RawValue{arg}
	switch arg.Type {
	case bson.TypeString:
	case bson.TypeArray:
		names = value.Slice(arg)
	default:
		return nil, fail(31002, "$unset specification must be a string or an array")
	}
	if len(names) == 0 {
		return nil, fail(31119, "$unset specification must be a string or an array with at least one field")
	}
	var spec value.Object
	for _, n := range names {
		if n.Type != bson.TypeString {
			return nil, fail(31120, "$unset specification must be a string or an array containing only string values")
		}
		spec.Add(value.AsString(n), value.Bool(false))
	}
	return project(p, "$unset", spec.Doc())
}

func project(p *parser, name string, spec bson.Raw) ([]stage, error) {
	s, err := parseProjection(p.env, spec)
	if err != nil {
		return nil, inContext(name, err)
	}
	return []stage{&shapeStage{s}}, nil
}

// A leaf is what a path of a projection asks for: an expression, or inclusion
// or exclusion if there is none.
type leaf struct {
	path    []string
	e       *expr.Expr
	include bool
}

// A pathTree remembers the paths of a projection, to find collisions.
type pathTree map[string]pathTree

// add refuses a path that is another, or lies above or below one.
func (t pathTree) add(path []string) error {
	for i, name := range path {
		below, ok := t[name]
		last := i == len(path)-1
		switch {
		case ok && last:
			return fail(31250, "Path collision at %s", strings.Join(path, "."))
		case ok && below == nil:
			return fail(31249, "Path collision at %s remaining portion %s", strings.Join(path, "."), strings.Join(path[i+1:], "."))
		case last:
			t[name] = nil
		case !ok:
			below = pathTree{}
			t[name] = below
		}
		t = below
	}
	return nil
}

// A projectionParser reads a $project.
type projectionParser struct {
	env        *expr.Env
	paths      pathTree
	leaves     []leaf
	mode       shapeMode
	decided    bool
	idKept     bool
	idDropped  bool
	idMentions bool
}

func parseProjection(env *expr.Env, spec bson.Raw) (*shape, error) {
	if value.IsEmpty(spec) {
		return nil, fail(51272, "projection specification must have at least one field")
	}
	p := &projectionParser{env: env, paths: pathTree{}}
	for k, v := range value.Fields(spec) {
		p.idMentions = p.idMentions || k == "_id" || strings.HasPrefix(k, "_id.")
		if err := p.element(nil, k, v); err != nil {
			return nil, err
		}
	}
	if !p.decided {
		p.mode = excludes
		if p.idKept || !p.idDropped && p.hasMeta() {
			p.mode = includes
		}
	}
	s := newShape(p.mode)
	if p.mode == includes && !p.idMentions {
		s.marked["_id"] = true
	}
	for _, l := range p.leaves {
		switch {
		case l.e != nil:
			s.compute(l.path, l.e)
		case l.include == (p.mode == includes):
			s.mark(l.path)
		}
	}
	return s, nil
}

// hasMeta tells whether something is computed although the mode is open,
// which only $meta leaves it.
func (p *projectionParser) hasMeta() bool {
	for _, l := range p.leaves {
		if l.e != nil {
			return true
		}
	}
	return false
}

// element reads a field of the projection below a path.
func (p *projectionParser) element(above []string, name string, v bson.RawValue) error {
	if strings.HasSuffix(name, ".$") {
		return fail(31324, "Cannot use positional projection in aggregation projection")
	}
	if strings.Contains(name, ".$.") {
		return fail(31394, "As of 4.4, it's illegal to specify positional operator in the middle of a path.Positional projection may only be used at the end, for example: a.b.$. If the query previously used a form like a.b.$.d, remove the parts following the '$' and the results will be equivalent.")
	}
	switch v.Type {
	case bson.TypeEmbeddedDocument:
		return p.object(above, name, v)
	case bson.TypeBoolean, bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128:
		return p.flag(above, name, value.Truthy(v))
	default:
		return p.literal(above, name, v)
	}
}

func (p *projectionParser) add(above []string, name string, l leaf) error {
	path, err := parsePath(name)
	if err != nil {
		return err
	}
	l.path = append(slices.Clip(above), path...)
	p.leaves = append(p.leaves, l)
	return p.paths.add(l.path)
}

// flag reads an inclusion or exclusion; that of _id alone decides nothing.
func (p *projectionParser) flag(above []string, name string, include bool) error {
	if err := p.add(above, name, leaf{include: include}); err != nil {
		return err
	}
	if len(above) == 0 && name == "_id" {
		p.idKept, p.idDropped = p.idKept || include, p.idDropped || !include
		return nil
	}
	if include {
		if p.decided && p.mode != includes {
			return fail(31253, "Cannot do inclusion on field %s in exclusion projection", name)
		}
		p.decide(includes)
		return nil
	}
	if p.decided && p.mode != excludes {
		return fail(31254, "Cannot do exclusion on field %s in inclusion projection", name)
	}
	p.decide(excludes)
	return nil
}

func (p *projectionParser) decide(mode shapeMode) { p.mode, p.decided = mode, true }

func (p *projectionParser) literal(above []string, name string, v bson.RawValue) error {
	e, err := expr.ParseLazily(v, p.env)
	if err != nil {
		return err
	}
	if err := p.add(above, name, leaf{e: e}); err != nil {
		return err
	}
	if p.decided && p.mode != includes {
		return fail(31310, "Cannot use an expression %s in an exclusion projection", name)
	}
	p.decide(includes)
	return nil
}

// object reads an expression, or a projection of what lies below.
func (p *projectionParser) object(above []string, name string, v bson.RawValue) error {
	first, _, rest, ok := value.Next(value.Body(v.Value))
	if !ok {
		return fail(51270, "An empty sub-projection is not a valid value. Found empty object at path")
	}
	path, err := parsePath(name)
	if err != nil {
		return err
	}
	if _, _, _, more := value.Next(rest); !more && strings.HasPrefix(first, "$") {
		if first == "$elemMatch" {
			return fail(mongoerr.InvalidPipelineOperator, "Cannot use $elemMatch in this context")
		}
		if expr.IsOperator(first, p.env) {
			return p.expression(above, name, first, v)
		}
		if expr.CheckPath(first) != nil {
			return fail(31325, "Unknown expression %s", first)
		}
	}
	full := append(slices.Clip(above), path...)
	if err := p.paths.enter(full); err != nil {
		return err
	}
	for k, e := range value.Fields(v.Value) {
		if err := p.element(full, k, e); err != nil {
			return err
		}
	}
	return nil
}

// enter opens a path for others below it; it may be open already.
func (t pathTree) enter(path []string) error {
	for i, name := range path {
		below, ok := t[name]
		switch {
		case ok && below == nil && i == len(path)-1:
			return fail(31250, "Path collision at %s", strings.Join(path, "."))
		case ok && below == nil:
			return fail(31249, "Path collision at %s remaining portion %s", strings.Join(path, "."), strings.Join(path[i+1:], "."))
		case !ok:
			below = pathTree{}
			t[name] = below
		}
		t = below
	}
	return nil
}

func (p *projectionParser) expression(above []string, name, operator string, v bson.RawValue) error {
	meta := operator == "$meta"
	if p.decided && p.mode != includes && !meta {
		return fail(31252, "Cannot use expression other than $meta in exclusion projection")
	}
	if !meta {
		p.decide(includes)
	}
	e, err := expr.ParseObject(v.Value, p.env)
	if err != nil {
		return err
	}
	return p.add(above, name, leaf{e: e})
}

func parseAddFields(p *parser, arg bson.RawValue) ([]stage, error) {
	return addFields(p, "$addFields", arg)
}

func parseSet(p *parser, arg bson.RawValue) ([]stage, error) { return addFields(p, "$set", arg) }

func addFields(p *parser, name string, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(40272, "%s specification stage must be an object, got %s", name, value.TypeName(arg.Type))
	}
	s, err := parseAdditions(p.env, arg.Value)
	if err != nil {
		return nil, inContext(name, err)
	}
	return []stage{&shapeStage{s}}, nil
}

// parseAdditions checks the whole of an $addFields before it parses the
// expressions in it.
func parseAdditions(env *expr.Env, spec bson.Raw) (*shape, error) {
	if value.IsEmpty(spec) {
		return nil, fail(40177, "specification must have at least one field")
	}
	c := additionChecker{seen: pathTree{}}
	for k, v := range value.Fields(spec) {
		path, err := parsePath(k)
		if err != nil {
			return nil, err
		}
		if err := c.element(path, v); err != nil {
			return nil, err
		}
	}
	s := newShape(adds)
	for k, v := range value.Fields(spec) {
		if err := addAt(env, s, strings.Split(k, "."), v); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func addAt(env *expr.Env, s *shape, path []string, v bson.RawValue) error {
	if v.Type == bson.TypeEmbeddedDocument && !hasOperator(v) {
		for k, e := range value.Fields(v.Value) {
			if err := expr.CheckFieldName(k); err != nil {
				return err
			}
			if err := addAt(env, s, append(slices.Clip(path), k), e); err != nil {
				return err
			}
		}
		return nil
	}
	e, err := expr.ParseLazily(v, env)
	if err != nil {
		return err
	}
	s.compute(path, e)
	return nil
}

// An additionChecker finds paths that conflict, and malformed objects.
type additionChecker struct{ seen pathTree }

func (c additionChecker) element(path []string, v bson.RawValue) error {
	if v.Type != bson.TypeEmbeddedDocument {
		return c.claim(path)
	}
	if value.IsEmpty(v.Value) {
		return fail(40180, "an empty object is not a valid value. Found empty object at path %s", strings.Join(path, "."))
	}
	for k, e := range value.Fields(v.Value) {
		if strings.HasPrefix(k, "$") {
			if n := value.Len(v); n != 1 {
				return fail(40181, "an expression specification must contain exactly one field, the name of the expression. Found %d fields", n)
			}
			if err := c.claim(path); err != nil {
				return err
			}
			continue
		}
		if strings.Contains(k, ".") {
			return fail(40183, "cannot use dotted field name '%s' in a sub object", k)
		}
		if err := expr.CheckPath(strings.Join(path, ".") + "." + k); err != nil {
			return err
		}
		if err := c.element(append(slices.Clip(path), k), e); err != nil {
			return err
		}
	}
	return nil
}

func (c additionChecker) claim(path []string) error {
	if c.seen.add(path) != nil {
		return fail(40176, "specification contains two conflicting paths. Cannot specify both '%s' and another path at, above or below it", strings.Join(path, "."))
	}
	return nil
}
