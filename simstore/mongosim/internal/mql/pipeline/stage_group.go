package pipeline

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// groupStage is $group. An _id that is an object literal is calculated field
// by field: names then has the fields' names.
type groupStage struct {
	names  []string
	ids    []*expr.Expr
	fields []statement
}

func parseGroup(p *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(15947, "a group's fields must be specified in an object")
	}
	g := &groupStage{}
	for k, v := range value.Fields(arg.Value) {
		if k == "_id" {
			if g.ids != nil {
				return nil, fail(15948, "a group's _id may only be specified once")
			}
			if err := g.parseID(p, v); err != nil {
				return nil, err
			}
			continue
		}
		s, err := parseStatement(p, k, v)
		if err != nil {
			return nil, err
		}
		g.fields = append(g.fields, s)
	}
	if g.ids == nil {
		return nil, fail(15955, "a group specification must include an _id")
	}
	return []stage{g}, nil
}

func (g *groupStage) parseID(p *parser, v bson.RawValue) error {
	if v.Type != bson.TypeEmbeddedDocument || hasOperator(v) {
		e, err := expr.ParseLazily(v, p.env)
		g.ids = []*expr.Expr{e}
		return err
	}
	if value.IsEmpty(v.Value) {
		g.ids = []*expr.Expr{expr.Constant(v)}
		return nil
	}
	for _, e := range value.Fields(v.Value) {
		if value.IsNumber(e) || e.Type == bson.TypeBoolean {
			return fail(17390, "$group does not support inclusion-style expressions")
		}
	}
	if _, err := expr.ParseObject(v.Value, p.env); err != nil { // names and duplicates
		return err
	}
	for k, e := range value.Fields(v.Value) {
		id, err := expr.ParseLazily(e, p.env)
		if err != nil {
			return err
		}
		g.names, g.ids = append(g.names, k), append(g.ids, id)
	}
	return nil
}

func (g *groupStage) fold() error {
	for _, id := range g.ids {
		if err := id.Fold(); err != nil {
			return err
		}
	}
	return foldStatements(g.fields)
}

// A group is the state of the documents with one _id.
type group struct {
	id     bson.RawValue
	states []accumulation
}

// maxGroups bounds the memory that groups may take, in bytes of their ids; a
// server's limit counts otherwise but is of the same size.
const maxGroups = 100 << 20

func (g *groupStage) run(r *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		groups := map[string]*group{}
		var list []*group // in the order in which they appeared
		var key []byte
		size := 0
		ids := make([]bson.RawValue, len(g.ids))
		grouped := after(in, func(doc bson.Raw) error {
			key = key[:0]
			for i, e := range g.ids {
				v, err := e.Eval(doc, r.vars)
				if err != nil {
					return err
				}
				if v.Type == 0 && len(ids) == 1 {
					v = value.Null()
				}
				ids[i] = v
				key = value.AppendKey(key, v, false)
			}
			at := groups[string(key)]
			if at == nil {
				at = &group{id: g.id(ids)}
				states, err := startStatements(g.fields, at.id, r.vars)
				if err != nil {
					return err
				}
				at.states = states
				groups[string(key)] = at
				list = append(list, at)
				if size += len(key) + len(at.id.Value); size > maxGroups {
					return fail(mongoerr.QueryExceededMemoryLimitNoDiskUseAllowed, "Exceeded memory limit for $group, but didn't allow external sort. Pass allowDiskUse:true to opt in.")
				}
			}
			return addToStatements(at.states, doc, r.vars)
		}, func(emit func(bson.Raw) bool) error {
			for _, at := range list {
				o := value.NewObject(len(at.id.Value) + 32*len(at.states) + 16)
				o.Add("_id", at.id)
				addResults(o, g.fields, at.states)
				if !emit(o.Doc()) {
					return nil
				}
			}
			return nil
		})
		grouped(yield)
	}
}

func (g *groupStage) id(ids []bson.RawValue) bson.RawValue {
	if g.names == nil {
		return ids[0]
	}
	var o value.Object
	for i, name := range g.names {
		o.Add(name, ids[i])
	}
	return o.Value()
}

// A statement is a field of a $group: an accumulator and what goes into it.
type statement struct {
	field string
	acc   accumulator
}

// An accumulator starts accumulations.
type accumulator interface {
	fold() error
	// start begins one for a group with this _id.
	start(id bson.RawValue, vars expr.Vars) (accumulation, error)
}

// An accumulation takes the documents of one group.
type accumulation interface {
	add(doc bson.Raw, vars expr.Vars) error
	value() bson.RawValue
}

func foldStatements(fields []statement) error {
	for _, f := range fields {
		if err := f.acc.fold(); err != nil {
			return err
		}
	}
	return nil
}

func startStatements(fields []statement, id bson.RawValue, vars expr.Vars) ([]accumulation, error) {
	out := make([]accumulation, len(fields))
	for i, f := range fields {
		a, err := f.acc.start(id, vars)
		if err != nil {
			return nil, err
		}
		out[i] = a
	}
	return out, nil
}

func addToStatements(states []accumulation, doc bson.Raw, vars expr.Vars) error {
	for _, s := range states {
		if err := s.add(doc, vars); err != nil {
			return err
		}
	}
	return nil
}

// addResults adds the fields with their results; a missing one is null.
func addResults(o *value.Object, fields []statement, states []accumulation) {
	for i, f := range fields {
		v := states[i].value()
		if v.Type == 0 {
			v = value.Null()
		}
		o.Add(f.field, v)
	}
}

func parseStatement(p *parser, field string, v bson.RawValue) (statement, error) {
	if !hasOperator(v) {
		return statement{}, fail(40234, "The field '%s' must be an accumulator object", field)
	}
	if strings.Contains(field, ".") {
		return statement{}, fail(40235, "The field name '%s' cannot contain '.'", field)
	}
	if strings.HasPrefix(field, "$") {
		return statement{}, fail(40236, "The field name '%s' cannot be an operator name", field)
	}
	name, arg, rest, _ := value.Next(value.Body(v.Value))
	if _, _, _, more := value.Next(rest); more {
		return statement{}, fail(40238, "The field '%s' must specify one accumulator", field)
	}
	if arg.Type == bson.TypeArray {
		return statement{}, fail(40237, "The %s accumulator is a unary operator", name)
	}
	acc, err := parseAccumulator(p, name, arg)
	return statement{field, acc}, err
}
