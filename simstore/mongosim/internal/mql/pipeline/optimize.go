package pipeline

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// optimize puts stages into the order in which the server runs them. It shows: a stage that would have failed on
// a document does not fail if a filter behind it has moved in front of it.
func (p *Pipeline) optimize() error {
	for i := 0; i+1 < len(p.stages); {
		changed, err := p.optimizeAt(i)
		if err != nil {
			return err
		}
		if changed {
			i = max(i-1, 0)
		} else {
			i++
		}
	}
	return nil
}

// pullLimit moves a $limit that has only stages before it which change no number of documents to the front: a
// collection need not give more. Behind it nothing has changed, so filters may move again.
func (p *Pipeline) pullLimit() error {
	start := 0
	if len(p.stages) > 0 {
		if _, ok := p.stages[0].stage.(*matchStage); ok {
			start = 1
		}
	}
	for i := start; i < len(p.stages); i++ {
		limit := p.stages[i]
		if _, ok := limit.stage.(*limitStage); ok {
			if i == start {
				return nil
			}
			p.stages = slices.Insert(slices.Delete(p.stages, i, i+1), start, limit)
			return p.optimize()
		}
		if _, ok := limit.stage.(*skipStage); ok {
			start = i + 1
			continue
		}
		if _, lookup := limit.stage.(*lookupStage); !lookup && !reshapesOne(limit.stage) {
			return nil
		}
	}
	return nil
}

func (p *Pipeline) optimizeAt(i int) (changed bool, err error) {
	this, next := p.stages[i].stage, p.stages[i+1].stage
	switch next := next.(type) {
	case *matchStage:
		return p.moveMatch(i, next)
	case *skipStage:
		if reshapesOne(this) {
			p.stages[i], p.stages[i+1] = p.stages[i+1], p.stages[i]
			return true, nil
		}
	case *sortStage:
		if _, ok := this.(*sortStage); ok {
			p.stages = slices.Delete(p.stages, i, i+1) // it promised no stability
			return true, nil
		}
	}
	return false, nil
}

// reshapesOne reports whether a stage makes one document of each, looking at nothing else.
func reshapesOne(s stage) bool {
	switch s.(type) {
	case *shapeStage, *replaceStage:
		return true
	}
	return false
}

// moveMatch moves what it can of the $match at i+1 before the stage at i.
func (p *Pipeline) moveMatch(i int, m *matchStage) (changed bool, err error) {
	c, ok := p.stages[i].stage.(interface{ changes() changes })
	if !ok {
		return false, nil
	}
	moves, stays := c.changes().split(m.spec)
	if value.IsEmpty(moves) {
		return false, nil
	}
	first, err := p.filterStage(p.stages[i+1], moves)
	if err != nil {
		return false, err
	}
	replacement := []placed{first, p.stages[i]}
	if !value.IsEmpty(stays) {
		second, err := p.filterStage(p.stages[i+1], stays)
		if err != nil {
			return false, err
		}
		replacement = append(replacement, second)
	}
	p.stages = slices.Replace(p.stages, i, i+2, replacement...)
	return true, nil
}

func (p *Pipeline) filterStage(written placed, spec bson.Raw) (placed, error) {
	f, err := match.Parse(spec, p.env)
	if err != nil {
		return placed{}, err
	}
	written.stage = &matchStage{filter: f, spec: spec}
	return written, nil
}

// changes are what a stage does to paths: it changes those in paths or, with except, all but those. renamed
// holds the old paths of those that only have another name behind it.
type changes struct {
	paths   []string
	except  bool
	renamed map[string]string
	// existenceStays tells that a filter for $exists on _id must not move.
	existenceStays bool
}

// split divides a filter into what may be asked before the stage, there in terms of the old paths, and what may
// not.
func (c changes) split(filter bson.Raw) (moves, stays bson.Raw) {
	var before, behind value.Object
	for k, v := range value.Fields(filter) {
		if moved, ok := c.moved(k, v); ok {
			before.AddAll(moved)
		} else {
			behind.Add(k, v)
		}
	}
	return before.Doc(), behind.Doc()
}

// moved gives a condition in terms of the old paths, if it may move.
func (c changes) moved(key string, v bson.RawValue) (bson.Raw, bool) {
	var o value.Object
	if !strings.HasPrefix(key, "$") {
		old, ok := c.before(key)
		if !ok || !asksOfValues(v) || c.existenceStays && key == "_id" && asksOfExistence(v) {
			return nil, false
		}
		o.Add(old, v)
		return o.Doc(), true
	}
	if key != "$and" && key != "$or" && key != "$nor" || v.Type != bson.TypeArray {
		return nil, false
	}
	var parts []bson.RawValue
	for _, part := range value.Elements(v) {
		if part.Type != bson.TypeEmbeddedDocument {
			return nil, false
		}
		moves, stays := c.split(part.Value)
		if !value.IsEmpty(stays) {
			return nil, false
		}
		parts = append(parts, value.Doc(moves))
	}
	o.Add(key, value.ArrayOf(parts...))
	return o.Doc(), true
}

// before gives the path that stood before the stage where path stands behind it, if the stage left it alone.
func (c changes) before(path string) (string, bool) {
	for renamed, old := range c.renamed {
		if path == renamed || strings.HasPrefix(path, renamed+".") {
			return old + path[len(renamed):], true
		}
	}
	for _, other := range c.paths {
		within := path == other || strings.HasPrefix(path, other+".")
		if c.except && within {
			return path, true
		}
		if !c.except && (within || strings.HasPrefix(other, path+".")) {
			return "", false
		}
	}
	return path, !c.except
}

// asksOfValues reports whether a condition on a path consists of operators that look at one value at a time:
// only those are moved.
func asksOfValues(v bson.RawValue) bool {
	if v.Type != bson.TypeEmbeddedDocument || !hasOperator(v) {
		return true
	}
	for k, arg := range value.Fields(v.Value) {
		switch k {
		case "$eq", "$ne", "$gt", "$gte", "$lt", "$lte", "$in", "$nin", "$exists", "$type", "$mod", "$regex", "$options",
			"$bitsAllSet", "$bitsAnySet", "$bitsAllClear", "$bitsAnyClear":
		case "$not":
			if !asksOfValues(arg) {
				return false
			}
		case "$all":
			for _, x := range value.Elements(arg) {
				if x.Type == bson.TypeEmbeddedDocument && !value.IsMissing(value.Field(x.Value, "$elemMatch")) {
					return false
				}
			}
		default:
			return false
		}
	}
	return true
}

func asksOfExistence(v bson.RawValue) bool {
	if v.Type != bson.TypeEmbeddedDocument {
		return false
	}
	return !value.IsMissing(value.Field(v.Value, "$exists")) || asksOfExistence(value.Field(v.Value, "$not"))
}

func (s *sortStage) changes() changes { return changes{} }

func (u *unwindStage) changes() changes {
	c := changes{paths: []string{u.dotted}}
	if len(u.index) > 0 {
		c.paths = append(c.paths, strings.Join(u.index, "."))
	}
	return c
}

func (l *lookupStage) changes() changes { return changes{paths: []string{strings.Join(l.as, ".")}} }

func (g *graphLookupStage) changes() changes {
	c := changes{paths: []string{strings.Join(g.as, ".")}}
	if len(g.depth) > 0 {
		c.paths = append(c.paths, strings.Join(g.depth, "."))
	}
	return c
}

func (g *groupStage) changes() changes {
	c := changes{except: true, renamed: map[string]string{}, existenceStays: len(g.ids) == 1}
	for i, id := range g.ids {
		name := "_id"
		if len(g.names) > 0 {
			name += "." + g.names[i]
		}
		rename(c.renamed, name, id)
	}
	return c
}

func (s *shapeStage) changes() changes {
	c := changes{except: s.shape.mode == includes, renamed: map[string]string{}}
	s.shape.collect(&c, "")
	return c
}

// collect adds what a shape marks and computes below prefix.
func (s *shape) collect(c *changes, prefix string) {
	for name := range s.marked {
		c.paths = append(c.paths, prefix+name)
	}
	for name, e := range s.computed {
		if prefix == "" && rename(c.renamed, name, e) {
			continue
		}
		if s.mode != includes {
			c.paths = append(c.paths, prefix+name)
		}
	}
	for name, child := range s.children {
		child.collect(c, prefix+name+".")
	}
}

// rename notes that name is the old field e, if that is all that e is.
func rename(renamed map[string]string, name string, e *expr.Expr) bool {
	old, ok := e.FieldPath()
	if !ok || strings.Contains(old, ".") {
		return false
	}
	renamed[name] = old
	return true
}
