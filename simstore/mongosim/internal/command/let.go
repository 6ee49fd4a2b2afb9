package command

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	mqlexpr "github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// envWithLet is the environment with the variables of the command's let.
func (r *request) envWithLet() (*mqlexpr.Env, error) {
	env := r.env()
	let, err := r.document("let")
	if err != nil || let == nil {
		return env, err
	}
	env.Vars, err = evaluateLet(let, env)
	return env, err
}

// evaluateLet computes the variables of a let.
func evaluateLet(let bson.Raw, env *mqlexpr.Env) (bson.Raw, error) {
	o := value.NewObject(len(let))
	for name, v := range value.Fields(let) {
		e, err := mqlexpr.Parse(v, env)
		if err != nil {
			return nil, err
		}
		got, err := e.Eval(nil, nil)
		if err != nil {
			return nil, err
		}
		o.Add(name, got)
	}
	return o.Doc(), nil
}
