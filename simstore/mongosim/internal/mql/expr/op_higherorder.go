package expr

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func higherOrderOperators() map[string]*operator {
	return map[string]*operator{
		"$map":       {parse: parseMap},
		"$filter":    {parse: parseFilter},
		"$reduce":    {parse: parseReduce},
		"$zip":       {parse: parseZip},
		"$sortArray": {since: V52, parse: parseSortArray},
	}
}

// A loop is $map or $filter: body is evaluated for each element of input.
type loop struct {
	input, body node
	limit       node // $filter's, may be nil
	slot        int
	filters     bool
}

func (l *loop) fold() (node, error) {
	parts := []node{l.input, l.body, l.limit}
	if _, err := foldParts(parts); err != nil {
		return nil, err
	}
	l.input, l.body, l.limit = parts[0], parts[1], parts[2]
	return l, nil
}

func (l *loop) eval(s *scope) (bson.RawValue, error) {
	in, err := l.input.eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	if value.Nullish(in) {
		return value.Null(), nil
	}
	if in.Type != bson.TypeArray {
		if l.filters {
			return bson.RawValue{}, fail(28651, "input to $filter must be an array not %s", value.TypeName(in.Type))
		}
		return bson.RawValue{}, fail(16883, "input to $map must be an array not %s", value.TypeName(in.Type))
	}
	limit, err := l.evalLimit(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	var out value.Arr
	for _, e := range value.Elements(in) {
		if limit >= 0 && out.Len() >= limit {
			break
		}
		s.vars[l.slot] = e
		v, err := l.body.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		switch {
		case !l.filters:
			out.Add(v)
		case value.Truthy(v):
			out.Add(e)
		}
	}
	return out.Value(), nil
}

func (l *loop) evalLimit(s *scope) (int, error) {
	v, err := evalOr(s, l.limit, value.Null())
	if err != nil || value.Nullish(v) {
		return -1, err
	}
	n, ok := value.Int32Exact(v)
	if !ok {
		return 0, fail(327391, "$filter: limit must be represented as a 32-bit integral value: %s", show(v))
	}
	if n <= 0 {
		return 0, fail(327392, "$filter: limit must be greater than 0, found: %d", n)
	}
	return int(n), nil
}

func parseMap(p *parser, _ *operator, arg bson.RawValue) (node, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(16878, "$map only supports an object as its argument")
	}
	var input, as, in bson.RawValue
	for k, v := range value.Fields(arg.Value) {
		switch k {
		case "input":
			input = v
		case "as":
			as = v
		case "in":
			in = v
		default:
			return nil, fail(16879, "Unrecognized parameter to $map: %s", k)
		}
	}
	if input.Type == 0 {
		return nil, fail(16880, "Missing 'input' parameter to $map")
	}
	if in.Type == 0 {
		return nil, fail(16882, "Missing 'in' parameter to $map")
	}
	return p.loop(&loop{}, input, as, in)
}

func parseFilter(p *parser, _ *operator, arg bson.RawValue) (node, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(28646, "$filter only supports an object as its argument")
	}
	var input, as, cond, limit bson.RawValue
	for k, v := range value.Fields(arg.Value) {
		switch {
		case k == "input":
			input = v
		case k == "as":
			as = v
		case k == "cond":
			cond = v
		case k == "limit" && p.env.Supports(V52):
			limit = v
		default:
			return nil, fail(28647, "Unrecognized parameter to $filter: %s", k)
		}
	}
	if input.Type == 0 {
		return nil, fail(28648, "Missing 'input' parameter to $filter")
	}
	if cond.Type == 0 {
		return nil, fail(28650, "Missing 'cond' parameter to $filter")
	}
	l := &loop{filters: true}
	if limit.Type != 0 {
		n, err := p.operand(limit)
		if err != nil {
			return nil, err
		}
		l.limit = n
	}
	return p.loop(l, input, as, cond)
}

func (p *parser) loop(l *loop, input, as, body bson.RawValue) (node, error) {
	n, err := p.operand(input)
	if err != nil {
		return nil, err
	}
	l.input = n
	name := "this"
	if as.Type != 0 { // what isn't a string reads as an empty one
		name = ""
		if as.Type == bson.TypeString {
			name = value.AsString(as)
		}
	}
	if err := CheckNewVariable(name); err != nil {
		return nil, err
	}
	defer p.release(p.mark())
	l.slot = p.bind(name)
	l.body, err = p.operand(body)
	return l, err
}

// A reduction is $reduce.
type reduction struct {
	input, initial, body node
	this, value          int
}

func (r *reduction) fold() (node, error) {
	parts := []node{r.input, r.initial, r.body}
	if _, err := foldParts(parts); err != nil {
		return nil, err
	}
	r.input, r.initial, r.body = parts[0], parts[1], parts[2]
	return r, nil
}

func (r *reduction) eval(s *scope) (bson.RawValue, error) {
	in, err := r.input.eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	if value.Nullish(in) {
		return value.Null(), nil
	}
	if in.Type != bson.TypeArray {
		return bson.RawValue{}, fail(40080, "$reduce requires that 'input' be an array, found: %s", show(in))
	}
	acc, err := r.initial.eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	for _, e := range value.Elements(in) {
		s.vars[r.this], s.vars[r.value] = e, acc
		if acc, err = r.body.eval(s); err != nil {
			return bson.RawValue{}, err
		}
	}
	return acc, nil
}

func parseReduce(p *parser, _ *operator, arg bson.RawValue) (node, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(40075, "$reduce requires an object as an argument, found: %s", value.TypeName(arg.Type))
	}
	r := &reduction{}
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch k {
		case "input":
			r.input, err = p.operand(v)
		case "initialValue":
			r.initial, err = p.operand(v)
		case "in":
			mark := p.mark()
			r.this, r.value = p.bind("this"), p.bind("value")
			r.body, err = p.operand(v)
			p.release(mark)
		default:
			err = fail(40076, "$reduce found an unknown argument: %s", k)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case r.input == nil:
		return nil, fail(40077, "$reduce requires 'input' to be specified")
	case r.initial == nil:
		return nil, fail(40078, "$reduce requires 'initialValue' to be specified")
	case r.body == nil:
		return nil, fail(40079, "$reduce requires 'in' to be specified")
	}
	return r, nil
}

// A zipper is $zip.
type zipper struct {
	inputs, defaults []node
	longest          bool
}

func (z *zipper) fold() (node, error) {
	if _, err := foldParts(z.inputs); err != nil {
		return nil, err
	}
	_, err := foldParts(z.defaults)
	return z, err
}

func (z *zipper) eval(s *scope) (bson.RawValue, error) {
	columns := make([][]bson.RawValue, len(z.inputs))
	least, most := 0, 0
	for i, n := range z.inputs {
		v, err := n.eval(s)
		if err != nil {
			return bson.RawValue{}, err
		}
		if value.Nullish(v) {
			return value.Null(), nil
		}
		if v.Type != bson.TypeArray {
			return bson.RawValue{}, fail(34468, "$zip found a non-array expression in input: %s", show(v))
		}
		columns[i] = value.Slice(v)
		if i == 0 {
			least = len(columns[i])
		}
		least, most = min(least, len(columns[i])), max(most, len(columns[i]))
	}
	defaults := make([]bson.RawValue, len(z.inputs))
	if least != most {
		for i, n := range z.defaults {
			v, err := n.eval(s)
			if err != nil {
				return bson.RawValue{}, err
			}
			defaults[i] = v
		}
	}
	rows := least
	if z.longest {
		rows = most
	}
	var out value.Arr
	for row := range rows {
		var r value.Arr
		for i, column := range columns {
			if row < len(column) {
				r.Add(column[row])
			} else {
				r.Add(defaults[i])
			}
		}
		out.Add(r.Value())
	}
	return out.Value(), nil
}

func parseZip(p *parser, _ *operator, arg bson.RawValue) (node, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(34460, "$zip only supports an object as an argument, found %s", value.TypeName(arg.Type))
	}
	z := &zipper{}
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch k {
		case "inputs":
			if v.Type != bson.TypeArray {
				return nil, fail(34461, "inputs must be an array of expressions, found %s", value.TypeName(v.Type))
			}
			z.inputs, err = p.operands(value.Slice(v))
		case "defaults":
			if v.Type != bson.TypeArray {
				return nil, fail(34462, "defaults must be an array of expressions, found %s", value.TypeName(v.Type))
			}
			z.defaults, err = p.operands(value.Slice(v))
		case "useLongestLength":
			if v.Type != bson.TypeBoolean {
				return nil, fail(34463, "useLongestLength must be a bool, found %s", value.TypeName(v.Type))
			}
			z.longest = value.AsBool(v)
		default:
			err = fail(34464, "$zip found an unknown argument: %s", k)
		}
		if err != nil {
			return nil, err
		}
	}
	switch {
	case len(z.inputs) == 0:
		return nil, fail(34465, "$zip requires at least one input array")
	case len(z.defaults) > 0 && !z.longest:
		return nil, fail(34466, "cannot specify defaults unless useLongestLength is true")
	case len(z.defaults) > 0 && len(z.defaults) != len(z.inputs):
		return nil, fail(34467, "defaults and inputs must have the same length")
	}
	return z, nil
}

// A sorter is $sortArray: by whole values, or by paths of documents.
type sorter struct {
	input node
	sense int
	paths []sortPath
}

type sortPath struct {
	path  []string
	sense int
}

func (o *sorter) fold() (node, error) {
	parts := []node{o.input}
	all, err := foldParts(parts)
	o.input = parts[0]
	if err != nil || !all {
		return o, err
	}
	return calculate(o)
}

func (o *sorter) eval(s *scope) (bson.RawValue, error) {
	in, err := o.input.eval(s)
	if err != nil {
		return bson.RawValue{}, err
	}
	if value.Nullish(in) {
		return value.Null(), nil
	}
	if in.Type != bson.TypeArray {
		return bson.RawValue{}, fail(2942504, "The input argument to $sortArray must be an array, but was of type: %s", value.TypeName(in.Type))
	}
	vs := value.Slice(in)
	sortStable(vs, o.compare)
	return value.ArrayOf(vs...), nil
}

func (o *sorter) compare(a, b bson.RawValue) int {
	if o.sense != 0 {
		return o.sense * value.Compare(a, b)
	}
	for _, p := range o.paths {
		if c := value.Compare(orNull(walkValue(a, p.path)), orNull(walkValue(b, p.path))); c != 0 {
			return p.sense * c
		}
	}
	return 0
}

func orNull(v bson.RawValue) bson.RawValue {
	if v.Type == 0 {
		return value.Null()
	}
	return v
}

func parseSortArray(p *parser, _ *operator, arg bson.RawValue) (node, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(2942500, "$sortArray requires an object as an argument, found: %s", value.TypeName(arg.Type))
	}
	o := &sorter{}
	var by bson.RawValue
	for k, v := range value.Fields(arg.Value) {
		switch k {
		case "input":
			n, err := p.operand(v)
			if err != nil {
				return nil, err
			}
			o.input = n
		case "sortBy":
			by = v
		default:
			return nil, fail(2942501, "$sortArray found an unknown argument: %s", k)
		}
	}
	if o.input == nil {
		return nil, fail(2942502, "$sortArray requires 'input' to be specified")
	}
	if by.Type == 0 {
		return nil, fail(2942503, "$sortArray requires 'sortBy' to be specified")
	}
	if by.Type != bson.TypeEmbeddedDocument {
		sense, ok := value.Int32Exact(by)
		if !ok || sense != 1 && sense != -1 {
			return nil, fail(2942507, "The $sort element value must be either 1 or -1")
		}
		o.sense = int(sense)
		return o, nil
	}
	for k, v := range value.Fields(by.Value) {
		f, err := newPath(source{}, k)
		if err != nil {
			return nil, err
		}
		sense, ok := value.Int32Exact(v)
		if !ok || sense != 1 && sense != -1 {
			return nil, fail(15975, "$sort key ordering must be 1 (for ascending) or -1 (for descending)")
		}
		o.paths = append(o.paths, sortPath{f.path, int(sense)})
	}
	if len(o.paths) == 0 {
		return nil, fail(15976, "$sort stage must have at least one sort key")
	}
	return o, nil
}
