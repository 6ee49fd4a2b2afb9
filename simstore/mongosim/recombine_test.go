package mongosim_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
)

// A recombiner makes questions that nobody recorded out of the parts of those that somebody did: a recorded
// case is copied, and on the way values, paths, operators and whole arguments are now and then exchanged for
// others that stood in such a place somewhere.
type recombiner struct {
	t   testing.TB
	rng *rand.Rand
	// chance is how likely a part is exchanged: some seeds stay close to what was recorded, others go far.
	chance float64

	cases map[string][]mqltest.Case
	// byRoom holds what was seen in each part of the language: filters, stages, expressions, updates, ...
	byRoom  map[string]*parts
	scalars []any
	values  []any
	refs    []string
}

// parts are what was seen in one part of the language.
type parts struct {
	paths     []string
	operators []bson.E
	arguments map[string][]any
}

// elsewhere are the stages that answer differently each time, or write.
var elsewhere = []string{"$sample", "$indexStats", "$out", "$merge", "$currentDate"}

func newRecombiner(t testing.TB, seed uint64) *recombiner {
	g := &recombiner{
		t:      t,
		rng:    rand.New(rand.NewPCG(seed, seed)),
		chance: []float64{0.03, 0.08, 0.2}[seed/8%3],
		cases:  map[string][]mqltest.Case{},
		byRoom: map[string]*parts{},
	}
	for _, group := range []string{"filter", "find", "update", "pipeline", "expr"} {
		g.cases[group] = mqltest.Cases(t, group)
		for _, c := range g.cases[group] {
			g.learn("filter", decode(t, c.Filter))
			g.learn("sort", decode(t, c.Sort))
			g.learn("projection", decode(t, c.Projection))
			for _, s := range c.Pipeline {
				g.learn("stage", decode(t, s))
			}
			for _, f := range c.ArrayFilters {
				g.learn("filter", decode(t, f))
			}
			g.learn("update", decodeValue(t, c.Update))
			g.learnValues(decode(t, c.Doc))
		}
	}
	for _, name := range []string{"mixed", "orders", "products", "events"} {
		for _, d := range mqltest.Datasets(t)[name] {
			g.learnValues(decode(t, d))
		}
	}
	return g
}

func decode(t testing.TB, d bson.Raw) any {
	if d == nil {
		return nil
	}
	var out bson.D
	require.NoError(t, bson.Unmarshal(d, &out))
	return out
}

func decodeValue(t testing.TB, v bson.RawValue) any {
	if v.IsZero() {
		return nil
	}
	var out any
	require.NoError(t, v.Unmarshal(&out))
	return out
}

// inside names the part of the language that an operator's argument is written in.
func inside(room, operator string) string {
	switch {
	case operator == "$match":
		return "filter"
	case operator == "$expr":
		return "expression"
	case room == "stage" && operator != "$facet" && operator != "pipeline":
		return "expression"
	case room == "projection":
		return "expression"
	}
	return room
}

func (g *recombiner) room(name string) *parts {
	p := g.byRoom[name]
	if p == nil {
		p = &parts{arguments: map[string][]any{}}
		g.byRoom[name] = p
	}
	return p
}

func (g *recombiner) learn(room string, v any) {
	switch v := v.(type) {
	case nil:
	case bson.D:
		for _, e := range v {
			p := g.room(room)
			if strings.HasPrefix(e.Key, "$") {
				if slices.Contains(elsewhere, e.Key) {
					continue
				}
				p.operators = append(p.operators, e)
			} else {
				p.paths = append(p.paths, e.Key)
			}
			p.arguments[e.Key] = append(p.arguments[e.Key], e.Value)
			g.learn(inside(room, e.Key), e.Value)
		}
	case bson.A:
		for _, x := range v {
			g.learn(room, x)
		}
	case string:
		if strings.HasPrefix(v, "$") {
			g.refs = append(g.refs, v)
		} else {
			g.scalars = append(g.scalars, v)
		}
	default:
		g.scalars = append(g.scalars, v)
	}
}

// learnValues keeps what stands in documents.
func (g *recombiner) learnValues(v any) {
	switch v := v.(type) {
	case bson.D:
		for _, e := range v {
			if e.Key != "_id" {
				g.values = append(g.values, e.Value)
			}
			g.learnValues(e.Value)
		}
	case bson.A:
		for _, x := range v {
			g.learnValues(x)
		}
	case nil:
	default:
		g.scalars = append(g.scalars, v)
	}
}

func pick[T any](g *recombiner, from []T) T { return from[g.rng.IntN(len(from))] }

func (g *recombiner) now() bool { return g.rng.Float64() < g.chance }

// rarely is now, twice in a row.
func (g *recombiner) rarely() bool { return g.rng.Float64() < g.chance*g.chance }

// vary copies v and exchanges some of it.
func (g *recombiner) vary(room string, v any) any {
	switch v := v.(type) {
	case bson.D:
		return g.varyDoc(room, v)
	case bson.A:
		var out bson.A
		for _, x := range v {
			if g.rarely() {
				continue
			}
			out = append(out, g.vary(room, x))
		}
		if out == nil {
			out = bson.A{}
		}
		return out
	case string:
		if strings.HasPrefix(v, "$") {
			if g.now() {
				return pick(g, g.refs)
			}
			return v
		}
	}
	if !g.now() {
		return v
	}
	switch g.rng.IntN(8) {
	case 0:
		return pick(g, g.values)
	case 1:
		if room == "expression" {
			return pick(g, g.refs)
		}
	}
	return pick(g, g.scalars)
}

func (g *recombiner) varyDoc(room string, d bson.D) bson.D {
	p := g.room(room)
	out := bson.D{}
	for _, e := range d {
		if strings.HasPrefix(e.Key, "_id") && len(d) > 1 && g.chance < 0.1 {
			out = append(out, e) // close to the recorded ones, the order of answers is known
			continue
		}
		switch {
		case g.rarely():
			continue
		case strings.HasPrefix(e.Key, "$") && g.now() && len(p.operators) > 0:
			out = append(out, pick(g, p.operators))
			continue
		case g.now() && len(p.arguments[e.Key]) > 0:
			out = append(out, bson.E{Key: e.Key, Value: pick(g, p.arguments[e.Key])})
			continue
		case !strings.HasPrefix(e.Key, "$") && (room == "filter" || room == "update" || room == "sort") && g.now():
			e.Key = pick(g, p.paths)
		}
		out = append(out, bson.E{Key: e.Key, Value: g.vary(inside(room, e.Key), e.Value)})
	}
	if g.rarely() && len(p.operators) > 0 {
		out = append(out, pick(g, p.operators))
	}
	return once(out)
}

// once leaves out the fields whose names were there before: what servers make of them, nobody should rely on.
func once(d bson.D) bson.D {
	seen := map[string]bool{}
	return slices.DeleteFunc(d, func(e bson.E) bool {
		again := seen[e.Key]
		seen[e.Key] = true
		return again
	})
}

// next makes a question of a group.
func (g *recombiner) next(group string) mqltest.Case {
	c := pick(g, g.cases[group])
	c.Want, c.N, c.NMod, c.Error = nil, 0, 0, nil
	c.Filter = g.varyRaw("filter", c.Filter)
	c.Sort = g.varyRaw("sort", c.Sort)
	if g.now() {
		c.Projection = pick(g, g.cases["find"]).Projection
	}
	c.Projection = g.varyRaw("projection", c.Projection)
	if c.Pipeline != nil {
		c.Pipeline = g.pipeline(group, c.Pipeline)
	}
	if c.Kind != "update" {
		return c
	}
	if g.rng.IntN(2) == 0 {
		other := pick(g, g.cases["update"])
		c.Doc, c.Filter = other.Doc, other.Filter
	}
	if doc, ok := decode(g.t, c.Doc).(bson.D); ok {
		for i := range doc {
			if doc[i].Key != "_id" && g.rng.IntN(3) == 0 {
				doc[i].Value = pick(g, g.values)
			}
		}
		c.Doc = g.marshal(doc)
	}
	c.Update = g.varyUpdate(c.Update)
	for i := range c.ArrayFilters {
		c.ArrayFilters = slices.Clone(c.ArrayFilters)
		c.ArrayFilters[i] = g.varyRaw("filter", c.ArrayFilters[i])
	}
	if g.now() {
		c.Upsert = !c.Upsert
	}
	return c
}

func (g *recombiner) pipeline(group string, stages []bson.Raw) []bson.Raw {
	out := []bson.Raw{}
	for _, s := range stages {
		if group == "pipeline" && g.now() {
			s = pick(g, pick(g, g.cases["pipeline"]).Pipeline)
		}
		if d, ok := decode(g.t, s).(bson.D); ok && len(d) > 0 && slices.Contains(elsewhere, d[0].Key) {
			continue
		}
		out = append(out, g.varyRaw("stage", s))
	}
	// an expression is asked about another document
	if group == "expr" && len(stages) > 0 {
		if d, ok := decode(g.t, stages[0]).(bson.D); ok && len(d) == 1 && d[0].Key == "$match" {
			out[0] = g.marshal(bson.D{{Key: "$match", Value: bson.D{{Key: "_id", Value: 1 + g.rng.IntN(len(mixedIDs))}}}})
		}
	}
	return out
}

func (g *recombiner) varyUpdate(u bson.RawValue) bson.RawValue {
	if u.IsZero() {
		return u
	}
	room := "update"
	if u.Type == bson.TypeArray {
		room = "stage"
	}
	return g.marshal(bson.D{{Key: "u", Value: g.vary(room, decodeValue(g.t, u))}}).Lookup("u")
}

func (g *recombiner) varyRaw(room string, d bson.Raw) bson.Raw {
	if d == nil {
		return nil
	}
	return g.marshal(g.vary(room, decode(g.t, d)).(bson.D))
}

func (g *recombiner) marshal(d bson.D) bson.Raw {
	b, err := bson.Marshal(d)
	require.NoError(g.t, err)
	return b
}

// mixedIDs are the documents of the mixed data set.
var mixedIDs [90]struct{}

// datasets are the recorded data sets with other contents: in the mixed one any value anywhere, in the others
// the fields of one document in another.
func (g *recombiner) datasets() map[string][]bson.Raw {
	sets := mqltest.Datasets(g.t)
	mixed := make([]bson.Raw, len(mixedIDs))
	for i := range mixed {
		d := bson.D{{Key: "_id", Value: int32(i + 1)}}
		for _, key := range []string{"a", "b", "n", "s"} {
			switch {
			case g.rng.IntN(5) == 0:
			case key == "n":
				d = append(d, bson.E{Key: key, Value: int32(g.rng.IntN(16) - 3)})
			case key == "s":
				d = append(d, bson.E{Key: key, Value: pick(g, []string{"", "alpha", "beta", "Gamma", "épsilon", "a", "\u00e9", "日本"})})
			default:
				d = append(d, bson.E{Key: key, Value: pick(g, g.values)})
			}
		}
		mixed[i] = g.marshal(d)
	}
	for name, docs := range sets {
		if name == "mixed" {
			continue
		}
		for i, raw := range docs {
			d := decode(g.t, raw).(bson.D)
			other := decode(g.t, pick(g, docs)).(bson.D)
			for j := range d {
				if j > 0 && g.rng.IntN(3) == 0 {
					if v := find(other, d[j].Key); v != nil {
						d[j].Value = v
					}
				}
			}
			docs[i] = g.marshal(d)
		}
	}
	sets["mixed"] = mixed
	return sets
}

func find(d bson.D, key string) any {
	for _, e := range d {
		if e.Key == key {
			return e.Value
		}
	}
	return nil
}
