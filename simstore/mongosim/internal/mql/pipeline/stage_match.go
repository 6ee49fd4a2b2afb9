package pipeline

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// matchStage is $match.
type matchStage struct {
	plain
	filter *match.Filter
	spec   bson.Raw
}

func parseMatch(p *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(15959, "the match filter must be an expression in an object")
	}
	f, err := match.Parse(arg.Value, p.env)
	if err != nil {
		return nil, err
	}
	return []stage{&matchStage{filter: f, spec: arg.Value}}, nil
}

// bind gives the filter with the values that variables have in this run.
func (m *matchStage) bind(r *run) (*match.Filter, error) {
	if len(r.env.Scope) == 0 {
		return m.filter, nil
	}
	env := *r.env
	env.Scope = nil
	var vars value.Object
	vars.AddAll(r.env.Vars)
	for i, name := range r.env.Scope {
		if i < len(r.vars) && r.vars[i].Type != 0 {
			vars.Add(name, r.vars[i])
		} else {
			env.Scope = append(env.Scope, name) // declared, without a value
		}
	}
	env.Vars = vars.Doc()
	return match.Parse(m.spec, &env)
}

func (m *matchStage) run(r *run, in docs) docs {
	f, err := m.bind(r)
	if err != nil {
		return failed(err)
	}
	return each(in, func(doc bson.Raw) (bson.Raw, error) {
		ok, err := f.Match(doc)
		if err != nil || !ok {
			return nil, err
		}
		return doc, nil
	})
}
