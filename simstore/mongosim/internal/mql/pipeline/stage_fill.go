package pipeline

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// parseFill makes $fill a $setWindowFields for the methods and an $addFields
// for the values.
func parseFill(p *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(mongoerr.FailedToParse, "The $fill stage specification must be an object, found %s", value.TypeName(arg.Type))
	}
	var sortBy, output, by bson.RawValue
	for k, v := range value.Fields(arg.Value) {
		switch k {
		case "sortBy":
			sortBy = v
		case "output":
			output = v
		case "partitionBy":
			by = v
		case "partitionByFields":
			var fields value.Object
			for _, name := range value.Elements(v) {
				if s := value.AsString(name); name.Type != bson.TypeString || strings.HasPrefix(s, "$") {
					return nil, fail(mongoerr.BadValue, "partitionByFields must be names of fields, found %s", expr.Show(name))
				}
				fields.Add(value.AsString(name), value.String("$"+value.AsString(name)))
			}
			by = fields.Value()
		default:
			return nil, fail(40415, "BSON field '$fill.%s' is an unknown field.", k)
		}
	}
	if output.Type != bson.TypeEmbeddedDocument {
		return nil, fail(40414, "BSON field '$fill.output' is missing but a required field")
	}
	var window, values value.Object
	methods, constants := 0, 0
	for name, v := range value.Fields(output.Value) {
		method, constant := value.Field(v.Value, "method"), value.Field(v.Value, "value")
		path := value.String("$" + name)
		switch {
		case v.Type != bson.TypeEmbeddedDocument || (method.Type == 0) == (constant.Type == 0):
			return nil, fail(6050202, "Each field in the output must be an object with exactly one of 'method' and 'value', found %s", expr.Show(v))
		case constant.Type != 0:
			constants++
			values.Add(name, object("$ifNull", value.ArrayOf(path, constant)))
		case value.AsString(method) == "linear":
			methods++
			window.Add(name, object("$linearFill", path))
		case value.AsString(method) == "locf":
			methods++
			window.Add(name, object("$locf", path))
		default:
			return nil, fail(6050202, "Method must be either locf or linear")
		}
	}
	var out []stage
	if methods > 0 {
		spec := object("output", window.Value())
		for name, v := range map[string]bson.RawValue{"partitionBy": by, "sortBy": sortBy} {
			if v.Type != 0 {
				spec = value.Doc(value.With(spec.Value, name, v))
			}
		}
		stages, err := parseSetWindowFields(p, spec)
		if err != nil {
			return nil, err
		}
		out = append(out, stages...)
	}
	if constants > 0 {
		stages, err := parseAddFields(p, values.Value())
		if err != nil {
			return nil, err
		}
		out = append(out, stages...)
	}
	return out, nil
}

// densifyStage is $densify.
type densifyStage struct {
	plain
	field      string
	path       []string
	partitions []string
	step       bson.RawValue
	unit       expr.Unit
	hasUnit    bool
	full       bool // the range of all documents instead of each partition's
	low, high  bson.RawValue
}

func parseDensify(_ *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(5733401, "The $densify stage specification must be an object, found %s", value.TypeName(arg.Type))
	}
	d := &densifyStage{}
	hasRange := false
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch k {
		case "field":
			d.field = value.AsString(v)
			d.path, err = parsePath(d.field)
		case "partitionByFields":
			for _, name := range value.Elements(v) {
				d.partitions = append(d.partitions, value.AsString(name))
			}
		case "range":
			hasRange = true
			err = d.parseRange(v)
		default:
			err = fail(40415, "BSON field '$densify.%s' is an unknown field.", k)
		}
		if err != nil {
			return nil, err
		}
	}
	if d.field == "" || !hasRange {
		return nil, fail(40414, "$densify requires 'field' and 'range'")
	}
	if slices.Contains(d.partitions, d.field) {
		return nil, fail(8993000, "BSON field 'field' cannot appear in partitionByFields")
	}
	return []stage{d}, nil
}

func (d *densifyStage) parseRange(v bson.RawValue) error {
	d.step = value.Field(v.Value, "step")
	if !value.IsNumber(d.step) || value.ToDouble(d.step) <= 0 {
		return fail(5733401, "The step parameter in a range statement must be a strictly positive numeric value")
	}
	if unit := value.Field(v.Value, "unit"); unit.Type != 0 {
		if d.unit, d.hasUnit = expr.UnitByName(value.AsString(unit)); !d.hasUnit {
			return fail(mongoerr.FailedToParse, "unknown time unit value: %s", expr.Show(unit))
		}
		if _, whole := value.Int64Exact(d.step); !whole {
			return fail(6586400, "The step parameter in a range statement must be a whole number when densifying a date range")
		}
	}
	switch b := value.Field(v.Value, "bounds"); {
	case b.Type == bson.TypeString && (value.AsString(b) == "full" || value.AsString(b) == "partition"):
		if d.full = value.AsString(b) == "full"; !d.full && len(d.partitions) == 0 {
			d.full = true
		}
		return nil
	case b.Type == bson.TypeArray && value.Len(b) == 2:
		d.low, d.high = value.Index(b, 0), value.Index(b, 1)
		if d.accepts(d.low) && d.accepts(d.high) && value.Compare(d.low, d.high) <= 0 {
			return nil
		}
		return fail(5733402, "the bounds in a range statement must be two ascending numbers or, with a unit, dates")
	default:
		return fail(5946800, "The bounds in a range statement must be the string 'full', 'partition', or an ascending array of two numbers or two dates")
	}
}

func (d *densifyStage) accepts(v bson.RawValue) bool {
	if d.hasUnit {
		return v.Type == bson.TypeDateTime
	}
	return value.IsNumber(v)
}

// next goes n steps on from a value.
func (d *densifyStage) next(from bson.RawValue, n int64) bson.RawValue {
	if d.hasUnit {
		ms, _ := d.unit.AddTo(value.AsDate(from), n*value.ClampInt64(d.step))
		return value.Date(ms)
	}
	by, _ := value.Multiply(d.step, value.Int64(n))
	if d.step.Type == bson.TypeInt32 && from.Type == bson.TypeInt32 {
		by = value.Int(value.AsInt64(by))
	}
	sum, ok := value.Add(from, by)
	if !ok {
		return value.MaxKey()
	}
	return sum
}

// maxDensified bounds how many documents are made.
const maxDensified = 500_000

func (d *densifyStage) run(_ *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		var all, others []bson.Raw
		densified := after(in, func(doc bson.Raw) error {
			v := value.Lookup(doc, d.field)
			if value.Nullish(v) {
				others = append(others, doc)
				return nil
			}
			if !d.accepts(v) {
				return fail(5733201, "Densify field type must be numeric, or a date with a unit, found %s", value.TypeName(v.Type))
			}
			all = append(all, doc)
			return nil
		}, func(emit func(bson.Raw) bool) error {
			out, err := d.densify(all)
			for _, doc := range append(others, out...) {
				if err != nil || !emit(doc) {
					break
				}
			}
			return err
		})
		densified(yield)
	}
}

func (d *densifyStage) densify(all []bson.Raw) ([]bson.Raw, error) {
	at := func(doc bson.Raw) bson.RawValue { return value.Lookup(doc, d.field) }
	slices.SortStableFunc(all, func(a, b bson.Raw) int { return value.Compare(at(a), at(b)) })
	parts := map[string][]bson.Raw{}
	var names []string
	for _, doc := range all {
		var key []byte
		for _, f := range d.partitions {
			key = value.AppendKey(key, value.Lookup(doc, f), false)
		}
		if parts[string(key)] == nil {
			names = append(names, string(key))
		}
		parts[string(key)] = append(parts[string(key)], doc)
	}
	var out []bson.Raw
	for _, name := range names {
		part := parts[name]
		low, high, inclusive := d.low, d.high, false
		if low.Type == 0 {
			source := part
			if d.full {
				source = all
			}
			low, high, inclusive = at(source[0]), at(source[len(source)-1]), true
		}
		made := d.fill(part, low, high, inclusive)
		if out = append(out, made...); len(out) > len(all)+maxDensified {
			return nil, fail(5897900, "Generated %d documents in $densify, which is over the limit of %d", len(out)-len(all), maxDensified)
		}
	}
	return out, nil
}

// fill merges a partition with the documents that are missing from low to
// high, which is excluded unless it comes from the documents.
func (d *densifyStage) fill(part []bson.Raw, low, high bson.RawValue, inclusive bool) []bson.Raw {
	var out []bson.Raw
	made := int64(0)
	for step := int64(0); made <= maxDensified; step++ {
		v := d.next(low, step)
		if c := value.Compare(v, high); c > 0 || c == 0 && !inclusive {
			break
		}
		for len(part) > 0 && value.Compare(value.Lookup(part[0], d.field), v) < 0 {
			out, part = append(out, part[0]), part[1:]
		}
		if len(part) > 0 && value.Equal(value.Lookup(part[0], d.field), v) {
			continue
		}
		made++
		out = append(out, d.document(part, out, v))
	}
	return append(out, part...)
}

// document makes one with the partition's fields and the value.
func (d *densifyStage) document(part, before []bson.Raw, v bson.RawValue) bson.Raw {
	doc := bson.Raw{5, 0, 0, 0, 0}
	var model bson.Raw
	if len(part) > 0 {
		model = part[0]
	} else if len(before) > 0 {
		model = before[len(before)-1]
	}
	for _, f := range d.partitions {
		if x := value.Lookup(model, f); x.Type != 0 {
			doc = withPath(doc, strings.Split(f, "."), x)
		}
	}
	return withPath(doc, d.path, v)
}
