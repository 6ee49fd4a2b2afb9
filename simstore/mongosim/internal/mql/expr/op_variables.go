package expr

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func variableOperators() map[string]*operator {
	return map[string]*operator{
		"$literal":     {parse: parseLiteral},
		"$const":       {parse: parseLiteral},
		"$let":         {parse: parseLet},
		"$meta":        {parse: parseMeta},
		"$function":    {parse: refuseScripts},
		"$accumulator": {since: 10000, parse: refuseScripts},
	}
}

func parseLiteral(_ *parser, _ *operator, arg bson.RawValue) (node, error) {
	return &constant{arg}, nil
}

// refuseScripts answers as a server does whose JavaScript is turned off.
func refuseScripts(_ *parser, op *operator, _ bson.RawValue) (node, error) {
	return nil, fail(31264, "%s not supported without JavaScript enabled", op.name)
}

// A binder is $let: the values go into their slots, then body is evaluated.
type binder struct {
	slots  []int
	values []node
	body   node
}

func (b *binder) eval(s *scope) (bson.RawValue, error) {
	for i, n := range b.values {
		v, err := n.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		s.vars[b.slots[i]] = v
	}
	return b.body.eval(s)
}

func (b *binder) fold() (node, error) {
	if _, err := foldParts(b.values); err != nil {
		return nil, err
	}
	body, err := b.body.fold()
	if err != nil {
		return nil, err
	}
	b.body = body
	if len(b.slots) == 0 {
		return body, nil
	}
	return b, nil
}

func parseLet(p *parser, _ *operator, arg bson.RawValue) (node, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(16874, "$let only supports an object as its argument")
	}
	var vars, in bson.RawValue
	for k, v := range value.Fields(arg.Value) {
		switch k {
		case "vars":
			vars = v
		case "in":
			in = v
		default:
			return nil, fail(16875, "Unrecognized parameter to $let: %s", k)
		}
	}
	if vars.Type == 0 {
		return nil, fail(16876, "Missing 'vars' parameter to $let")
	}
	if in.Type == 0 {
		return nil, fail(16877, "Missing 'in' parameter to $let")
	}
	if vars.Type != bson.TypeEmbeddedDocument {
		return nil, fail(10065, "invalid parameter: expected an object (vars)")
	}
	b := &binder{}
	for _, v := range value.Fields(vars.Value) {
		n, err := p.operand(v)
		if err != nil {
			return nil, err
		}
		b.values = append(b.values, n)
	}
	defer p.release(p.mark())
	for name := range value.Fields(vars.Value) {
		if err := CheckNewVariable(name); err != nil {
			return nil, err
		}
		b.slots = append(b.slots, p.bind(name))
	}
	body, err := p.operand(in)
	b.body = body
	return b, err
}

// metadata is $meta. Documents here carry no metadata, so kinds that a query
// needn't provide are missing.
func parseMeta(_ *parser, _ *operator, arg bson.RawValue) (node, error) {
	if arg.Type != bson.TypeString {
		return nil, fail(17307, "$meta only supports string arguments")
	}
	switch kind := value.AsString(arg); kind {
	case "textScore", "geoNearDistance", "geoNearPoint":
		return &absentMeta{kind}, nil
	case "randVal", "searchScore", "searchHighlights", "recordId", "indexKey", "sortKey", "searchScoreDetails":
		return &fieldPath{from: source{kind: fromNothing}}, nil
	default:
		return nil, fail(17308, "Unsupported argument to $meta: %s", kind)
	}
}

// absentMeta is refused before the query starts.
type absentMeta struct{ kind string }

func (m *absentMeta) err() error {
	what := map[string]string{"textScore": "text score", "geoNearDistance": "geo near distance", "geoNearPoint": "geo near point"}[m.kind]
	return fail(40218, "query requires %s metadata, but it is not available", what)
}

func (m *absentMeta) eval(*scope) (bson.RawValue, error) { return bson.RawValue{}, m.err() }
func (m *absentMeta) fold() (node, error)                { return nil, m.err() }
