package expr

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func objectOperators() map[string]*operator {
	return map[string]*operator{
		"$objectToArray": unary(objectToArray),
		"$arrayToObject": unary(arrayToObject),
		"$bsonSize":      unary(bsonSize),
		"$getField":      {since: V50, parse: parseGetField},
		"$setField":      {since: V50, parse: parseSetField, eval: setField},
		"$unsetField":    {since: V50, parse: parseSetField, eval: setField},
	}
}

func objectToArray(v bson.RawValue) (bson.RawValue, error) {
	if value.Nullish(v) {
		return value.Null(), nil
	}
	if v.Type != bson.TypeEmbeddedDocument {
		return bson.RawValue{}, fail(40390, "$objectToArray requires a document input, found: %s", value.TypeName(v.Type))
	}
	var out value.Arr
	for k, e := range value.Fields(v.Value) {
		o := value.NewObject(len(k) + len(e.Value) + 16)
		o.Add("k", value.String(k))
		o.Add("v", e)
		out.Add(o.Value())
	}
	return out.Value(), nil
}

func arrayToObject(v bson.RawValue) (bson.RawValue, error) {
	if value.Nullish(v) {
		return value.Null(), nil
	}
	if v.Type != bson.TypeArray {
		return bson.RawValue{}, fail(40386, "$arrayToObject requires an array input, found: %s", value.TypeName(v.Type))
	}
	var fields fieldList
	pairs := false
	for i, e := range value.Elements(v) {
		if i == 0 {
			if e.Type != bson.TypeArray && e.Type != bson.TypeEmbeddedDocument {
				return bson.RawValue{}, fail(40398, "Unrecognised input type format for $arrayToObject: %s", value.TypeName(e.Type))
			}
			pairs = e.Type == bson.TypeArray
		}
		read := keyAndValue
		if pairs {
			read = pair
		}
		k, val, err := read(e)
		if err != nil {
			return bson.RawValue{}, err
		}
		fields.set(k, val)
	}
	return value.Doc(fields.doc()), nil
}

func pair(e bson.RawValue) (key string, v bson.RawValue, err error) {
	if e.Type != bson.TypeArray {
		return "", v, fail(40396, "$arrayToObject requires a consistent input format. Elements must all be arrays or all be objects. Array was detected, now found: %s", value.TypeName(e.Type))
	}
	if n := value.Len(e); n != 2 {
		return "", v, fail(40397, "$arrayToObject requires an array of size 2 arrays, found array of size: %d", n)
	}
	k := value.Index(e, 0)
	if k.Type != bson.TypeString {
		return "", v, fail(40395, "$arrayToObject requires an array of key-value pairs, where the key must be of type string. Found key type: %s", value.TypeName(k.Type))
	}
	key = value.AsString(k)
	if strings.IndexByte(key, 0) >= 0 {
		return "", v, fail(4940400, "Key field cannot contain an embedded null byte")
	}
	return key, value.Index(e, 1), nil
}

func keyAndValue(e bson.RawValue) (key string, v bson.RawValue, err error) {
	if e.Type != bson.TypeEmbeddedDocument {
		return "", v, fail(40391, "$arrayToObject requires a consistent input format. Elements must all be arrays or all be objects. Object was detected, now found: %s", value.TypeName(e.Type))
	}
	if n := value.Len(e); n != 2 {
		return "", v, fail(40392, "$arrayToObject requires an object keys of 'k' and 'v'. Found incorrect number of keys:%d", n)
	}
	k, v := value.Field(e.Value, "k"), value.Field(e.Value, "v")
	if k.Type == 0 || v.Type == 0 {
		return "", v, fail(40393, "$arrayToObject requires an object with keys 'k' and 'v'. Missing either or both keys from: %s", show(e))
	}
	if k.Type != bson.TypeString {
		return "", v, fail(40394, "$arrayToObject requires an object with keys 'k' and 'v', where the value of 'k' must be of type string. Found type: %s", value.TypeName(k.Type))
	}
	key = value.AsString(k)
	if strings.IndexByte(key, 0) >= 0 {
		return "", v, fail(4940401, "Key field cannot contain an embedded null byte")
	}
	return key, v, nil
}

// A fieldList collects fields; one that is set again keeps its place.
type fieldList struct {
	names  []string
	values []bson.RawValue
	index  map[string]int
}

func (l *fieldList) set(name string, v bson.RawValue) {
	if i, ok := l.index[name]; ok {
		l.values[i] = v
		return
	}
	if l.index == nil {
		l.index = map[string]int{}
	}
	l.index[name] = len(l.names)
	l.names = append(l.names, name)
	l.values = append(l.values, v)
}

func (l *fieldList) doc() bson.Raw {
	var o value.Object
	for i, name := range l.names {
		o.Add(name, l.values[i])
	}
	return o.Doc()
}

func bsonSize(v bson.RawValue) (bson.RawValue, error) {
	if value.Nullish(v) {
		return value.Null(), nil
	}
	if v.Type != bson.TypeEmbeddedDocument {
		return bson.RawValue{}, fail(31393, "$bsonSize requires a document input, found: %s", value.TypeName(v.Type))
	}
	return value.Int32(int32(len(v.Value))), nil
}

// constantField reads the name of a field, which must be known beforehand.
func (p *parser) constantField(op *operator, v bson.RawValue, notConstant, notString mongoerr.Code) (string, error) {
	n, err := p.operand(v)
	if err != nil {
		return "", err
	}
	if n, err = n.fold(); err != nil {
		return "", err
	}
	c, ok := n.(*constant)
	if !ok {
		return "", fail(notConstant, "%s requires 'field' to evaluate to a constant, but got a non-constant argument", op.name)
	}
	if c.v.Type != bson.TypeString {
		return "", fail(notString, "%s requires 'field' to evaluate to type String, but got %s", op.name, value.TypeName(c.v.Type))
	}
	return value.AsString(c.v), nil
}

// A getter is $getField.
type getter struct {
	field string
	input node
}

func (g *getter) eval(s *scope) (bson.RawValue, error) {
	v, err := g.input.eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	switch {
	case v.Type == bson.TypeEmbeddedDocument:
		return value.Field(v.Value, g.field), nil
	case v.Type == 0:
		return v, nil
	case value.Nullish(v):
		return value.Null(), nil
	default:
		return bson.RawValue{}, nil
	}
}

func (g *getter) fold() (node, error) {
	parts := []node{g.input}
	all, err := foldParts(parts)
	g.input = parts[0]
	if err != nil || !all {
		return g, err
	}
	return calculate(g)
}

// parseGetField takes {field, input} or the name of a field of the document.
func parseGetField(p *parser, op *operator, arg bson.RawValue) (node, error) {
	field, input := arg, bson.RawValue{}
	if arg.Type == bson.TypeEmbeddedDocument && !strings.HasPrefix(firstName(arg.Value), "$") {
		field = bson.RawValue{}
		for k, v := range value.Fields(arg.Value) {
			switch k {
			case "field":
				field = v
			case "input":
				input = v
			default:
				return nil, fail(3041701, "$getField found an unknown argument: %s", k)
			}
		}
		if field.Type == 0 {
			return nil, fail(3041702, "$getField requires 'field' to be specified")
		}
		if input.Type == 0 {
			return nil, fail(3041703, "$getField requires 'input' to be specified")
		}
	}
	name, err := p.constantField(op, field, 5654601, 5654602)
	if err != nil {
		return nil, err
	}
	g := &getter{field: name}
	if input.Type != 0 {
		g.input, err = p.operand(input)
	} else {
		var from source
		from, err = p.variable("CURRENT")
		g.input = &fieldPath{from: from}
	}
	return g, err
}

func firstName(doc bson.Raw) string {
	name, _, _, _ := value.Next(value.Body(doc))
	return name
}

// setField has its name as a constant first argument; a missing value removes.
func setField(s *scope, args []node) (bson.RawValue, error) {
	name, err := args[0].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	in, err := args[1].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	if value.Nullish(in) {
		return value.Null(), nil
	}
	if in.Type != bson.TypeEmbeddedDocument {
		return bson.RawValue{}, fail(4161105, "$setField requires 'input' to evaluate to type Object")
	}
	v, err := args[2].eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	return value.Doc(value.With(in.Value, value.AsString(name), v)), nil
}

func parseSetField(p *parser, op *operator, arg bson.RawValue) (node, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(4161100, "%s only supports an object as its argument", op.name)
	}
	removes := op.name == "$unsetField"
	var field, input, val bson.RawValue
	for k, v := range value.Fields(arg.Value) {
		switch {
		case k == "field":
			field = v
		case k == "input":
			input = v
		case k == "value" && !removes:
			val = v
		default:
			return nil, fail(4161101, "%s found an unknown argument: %s", op.name, k)
		}
	}
	switch {
	case field.Type == 0:
		return nil, fail(4161102, "%s requires 'field' to be specified", op.name)
	case input.Type == 0:
		return nil, fail(4161109, "%s requires 'input' to be specified", op.name)
	case val.Type == 0 && !removes:
		return nil, fail(4161103, "%s requires 'value' to be specified", op.name)
	}
	name, err := p.constantField(op, field, 4161106, 4161107)
	if err != nil {
		return nil, err
	}
	if removes {
		val = value.String("$$REMOVE")
	}
	args, err := p.operands([]bson.RawValue{input, val})
	if err != nil {
		return nil, err
	}
	return &namedCall{op, append([]node{&constant{value.String(name)}}, args...)}, nil
}
