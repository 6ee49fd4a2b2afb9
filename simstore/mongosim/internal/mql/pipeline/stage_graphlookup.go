package pipeline

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// graphLookupStage is $graphLookup, a search breadth first.
type graphLookupStage struct {
	from      Namespace
	as, depth []string
	start     *expr.Expr
	fromField []string
	toField   string
	restrict  bson.RawValue
	maxDepth  int64 // -1: none
	env       *expr.Env
}

func checkGraphLookup(p *parser, arg bson.RawValue) error { return checkFrom(p, "$graphLookup", arg) }

func parseGraphLookup(p *parser, arg bson.RawValue) ([]stage, error) {
	g := &graphLookupStage{from: p.ns, maxDepth: -1, env: p.env}
	texts := map[string]string{}
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch k {
		case "startWith":
			g.start, err = expr.ParseLazily(v, p.env)
		case "maxDepth":
			if !value.IsNumber(v) {
				return nil, fail(40100, "maxDepth must be numeric, found type: %s", value.TypeName(v.Type))
			}
			if g.maxDepth = value.ClampInt64(v); g.maxDepth < 0 {
				return nil, fail(40101, "maxDepth requires a nonnegative argument, found: %d", g.maxDepth)
			}
			if _, whole := value.Int64Exact(v); !whole {
				return nil, fail(40102, "maxDepth could not be represented as a long long: %d", g.maxDepth)
			}
		case "restrictSearchWithMatch":
			if v.Type != bson.TypeEmbeddedDocument {
				return nil, fail(40185, "restrictSearchWithMatch must be an object, found %s", value.TypeName(v.Type))
			}
			if _, err := match.Parse(v.Value, p.env); err != nil {
				return nil, mongoerr.From(err).WithPrefix("Failed to parse 'restrictSearchWithMatch' option to $graphLookup")
			}
			g.restrict = v
		case "from", "as", "connectFromField", "connectToField", "depthField":
			if v.Type != bson.TypeString {
				return nil, fail(40103, "expected string as argument for %s, found: %s", k, expr.Show(v))
			}
			texts[k] = value.AsString(v)
			if k == "depthField" {
				g.depth, err = parsePath(texts[k])
			}
		default:
			return nil, fail(40104, "Unknown argument to $graphLookup: %s", k)
		}
		if err != nil {
			return nil, err
		}
	}
	for _, name := range [...]string{"from", "as", "connectFromField", "connectToField"} {
		if texts[name] == "" || g.start == nil {
			return nil, fail(40105, "$graphLookup requires 'from', 'as', 'startWith', 'connectFromField', and 'connectToField' to be specified.")
		}
	}
	g.from.Coll, g.toField = texts["from"], texts["connectToField"]
	var err error
	if g.as, err = parsePath(texts["as"]); err != nil {
		return nil, err
	}
	if g.fromField, err = parsePath(texts["connectFromField"]); err != nil {
		return nil, err
	}
	return []stage{g}, expr.CheckPath(g.toField)
}

func (g *graphLookupStage) fold() error        { return g.start.Fold() }
func (g *graphLookupStage) reads() []Namespace { return []Namespace{g.from} }

func (g *graphLookupStage) run(r *run, in docs) docs {
	return each(in, func(doc bson.Raw) (bson.Raw, error) {
		s := &search{graphLookupStage: g, visited: map[string]bool{}, asked: map[string]bool{}}
		v, err := g.start.Eval(doc, r.vars)
		if err != nil {
			return nil, err
		}
		if v.Type == bson.TypeArray {
			for _, e := range value.Elements(v) {
				s.ask(e)
			}
		} else {
			s.ask(v)
		}
		for depth := int64(0); len(s.frontier) > 0 && (g.maxDepth < 0 || depth <= g.maxDepth); depth++ {
			if err := s.step(r, depth); err != nil {
				return nil, err
			}
		}
		return withPath(doc, g.as, s.found.Value()), nil
	})
}

// A search is the state of the search that begins at one document.
type search struct {
	*graphLookupStage
	visited  map[string]bool // by _id
	asked    map[string]bool
	frontier []bson.RawValue
	found    value.Arr
}

// ask puts a value that hasn't been searched for yet into the frontier. A
// missing one is searched for as null.
func (s *search) ask(v bson.RawValue) {
	if v.Type == 0 {
		v = value.Null()
	}
	key := string(value.AppendKey(nil, v, false))
	if !s.asked[key] {
		s.asked[key] = true
		s.frontier = append(s.frontier, v)
	}
}

// step finds what the frontier leads to.
func (s *search) step(r *run, depth int64) error {
	wanted := object(s.toField, object("$in", value.ArrayOf(s.frontier...)))
	s.frontier = nil
	if s.restrict.Type != 0 {
		wanted = object("$and", value.ArrayOf(s.restrict, wanted))
	}
	f, err := match.Parse(wanted.Value, s.env)
	if err != nil {
		return err
	}
	for doc, err := range r.host.Scan(r.ctx, s.from, f) {
		if err != nil {
			return err
		}
		if err := s.visit(doc, depth); err != nil {
			return err
		}
	}
	return nil
}

func (s *search) visit(doc bson.Raw, depth int64) error {
	id := value.Field(doc, "_id")
	if id.Type == 0 {
		return fail(40271, "Documents in the '%s' namespace must contain an _id for de-duplication in $graphLookup", s.from)
	}
	key := string(value.AppendKey(nil, id, false))
	if s.visited[key] {
		return nil
	}
	s.visited[key] = true
	if s.depth != nil {
		doc = withPath(doc, s.depth, value.Int64(depth))
	}
	s.found.Add(value.Doc(doc))
	if s.found.Size() > maxLookup {
		return fail(40099, "$graphLookup reached maximum memory consumption")
	}
	return visitValues(doc, s.fromField, func(v bson.RawValue) error {
		s.ask(v)
		return nil
	})
}
