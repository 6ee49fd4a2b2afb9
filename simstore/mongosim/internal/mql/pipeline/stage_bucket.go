package pipeline

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// parseBucket makes $bucket a $group by a $switch, and a $sort.
func parseBucket(p *parser, arg bson.RawValue) ([]stage, error) {
	if arg.Type != bson.TypeEmbeddedDocument {
		return nil, fail(40201, "Argument to $bucket stage must be an object, but found type: %s.", value.TypeName(arg.Type))
	}
	var by, otherwise bson.RawValue
	var boundaries []bson.RawValue
	var output value.Object
	hasOutput := false
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch k {
		case "groupBy":
			by = v
			if !hasOperator(v) && (v.Type != bson.TypeString || !strings.HasPrefix(value.AsString(v), "$")) {
				return nil, fail(40202, "The $bucket 'groupBy' field must be defined as a $-prefixed path or an expression, but found: %s.", expr.Show(v))
			}
		case "boundaries":
			boundaries, err = bucketBoundaries(p, v)
		case "default":
			if otherwise, err = constantOf(p, v); err == nil && otherwise.Type == 0 {
				return nil, fail(40195, "The $bucket 'default' field must be a constant expression, but found: %s.", expr.Show(v))
			}
		case "output":
			if hasOutput = true; v.Type != bson.TypeEmbeddedDocument {
				return nil, fail(40196, "The $bucket 'output' field must be an object, but found type: %s.", value.TypeName(v.Type))
			}
			output.AddAll(v.Value)
		default:
			return nil, fail(40197, "Unrecognized option to $bucket: %s.", k)
		}
		if err != nil {
			return nil, err
		}
	}
	if by.Type == 0 || len(boundaries) == 0 {
		return nil, fail(40198, "$bucket requires 'groupBy' and 'boundaries' to be specified.")
	}
	low, high := boundaries[0], boundaries[len(boundaries)-1]
	if otherwise.Type != 0 && value.CompareTypes(otherwise.Type, low.Type) == 0 &&
		value.Compare(otherwise, low) >= 0 && value.Compare(otherwise, high) < 0 {
		return nil, fail(40199, "The $bucket 'default' field must be less than the lowest boundary or greater than or equal to the highest boundary.")
	}
	if !hasOutput {
		output.Add("count", object("$sum", value.Int32(1)))
	}
	output.Add("_id", bucketSwitch(by, boundaries, otherwise))
	group, err := parseGroup(p, output.Value())
	if err != nil {
		return nil, err
	}
	sort, err := parseSort(p, object("_id", value.Int32(1)))
	return append(group, sort...), err
}

func bucketSwitch(by bson.RawValue, boundaries []bson.RawValue, otherwise bson.RawValue) bson.RawValue {
	var branches value.Arr
	literal := func(v bson.RawValue) bson.RawValue { return object("$literal", v) }
	for i := 1; i < len(boundaries); i++ {
		from, to := literal(boundaries[i-1]), literal(boundaries[i])
		inside := object("$and", value.ArrayOf(object("$gte", value.ArrayOf(by, from)), object("$lt", value.ArrayOf(by, to))))
		branches.Add(object("case", inside, "then", from))
	}
	if otherwise.Type == 0 {
		return object("$switch", object("branches", branches.Value()))
	}
	return object("$switch", object("default", literal(otherwise), "branches", branches.Value()))
}

// constantOf calculates a constant expression; missing tells that it isn't one.
func constantOf(p *parser, v bson.RawValue) (bson.RawValue, error) {
	e, err := expr.Parse(v, p.env)
	if err != nil {
		return bson.RawValue{}, err
	}
	c, _ := e.Constant()
	return c, nil
}

func bucketBoundaries(p *parser, v bson.RawValue) ([]bson.RawValue, error) {
	if v.Type != bson.TypeArray {
		return nil, fail(40200, "The $bucket 'boundaries' field must be an array, but found type: %s.", value.TypeName(v.Type))
	}
	var out []bson.RawValue
	for _, e := range value.Elements(v) {
		c, err := constantOf(p, e)
		if err != nil {
			return nil, err
		}
		if c.Type == 0 {
			return nil, fail(40191, "The $bucket 'boundaries' field must be an array of constant values, but found value: %s.", expr.Show(e))
		}
		out = append(out, c)
	}
	if len(out) < 2 {
		return nil, fail(40192, "The $bucket 'boundaries' field must have at least 2 values, but found %d value(s).", len(out))
	}
	for i := 1; i < len(out); i++ {
		if value.CompareTypes(out[i-1].Type, out[i].Type) != 0 {
			return nil, fail(40193, "All values in the the 'boundaries' option to $bucket must have the same type. Found conflicting types %s and %s.", value.TypeName(out[i-1].Type), value.TypeName(out[i].Type))
		}
		if value.Compare(out[i-1], out[i]) >= 0 {
			return nil, fail(40194, "The 'boundaries' option to $bucket must be sorted, but elements %d and %d are not in ascending order (%s is not less than %s).", i-1, i, expr.Show(out[i-1]), expr.Show(out[i]))
		}
	}
	return out, nil
}
