package match

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

type (
	// parseOnPath parses an operator on a path. A nil node without an error
	// adds no condition.
	parseOnPath func(*parser, operand) (node, error)
	// parsePathless parses what stands in the place of a path.
	parsePathless func(p *parser, name string, v bson.RawValue, at level) (node, error)
)

// pathOperator is the table of the operators on paths, by their names without
// the dollar.
func pathOperator(name string) parseOnPath {
	switch name {
	case "eq":
		return compareWith(kindEq)
	case "gt":
		return compareWith(kindGt)
	case "gte":
		return compareWith(kindGte)
	case "lt":
		return compareWith(kindLt)
	case "lte":
		return compareWith(kindLte)
	case "ne":
		return parseNe
	case "in":
		return parseIn
	case "nin":
		return func(p *parser, o operand) (node, error) { return negated(parseIn(p, o)) }
	case "not":
		return (*parser).not
	case "exists":
		return parseExists
	case "type":
		return parseType
	case "size":
		return func(_ *parser, o operand) (node, error) {
			s, err := parseSize(o.v)
			return onArray(kindSize, o.path, s, err)
		}
	case "all":
		return func(p *parser, o operand) (node, error) { return p.all(o.path, o.v) }
	case "elemMatch":
		return func(p *parser, o operand) (node, error) { return p.elemMatch(o.path, o.v) }
	case "mod":
		return func(_ *parser, o operand) (node, error) {
			m, err := parseModulo(o.v)
			return onLeaf(kindMod, o.path, m, err)
		}
	case "regex":
		return func(_ *parser, o operand) (node, error) { return parseRegexDoc(o.path, o.context) }
	case "options":
		return parseOptions
	case "bitsAllSet":
		return bitsWith(kindBitsAllSet)
	case "bitsAllClear":
		return bitsWith(kindBitsAllClear)
	case "bitsAnySet":
		return bitsWith(kindBitsAnySet)
	case "bitsAnyClear":
		return bitsWith(kindBitsAnyClear)
	case "near", "nearSphere", "geoNear":
		return parseNear
	case "geoWithin", "within", "geoIntersects":
		return func(_ *parser, o operand) (node, error) {
			return nil, mongoerr.New(mongoerr.CommandNotSupported, "%s is not supported: this server has no geometry", o.op)
		}
	}
	return nil
}

// pathlessOperator is the table of what stands in the place of a path, by
// names without the dollar.
func pathlessOperator(name string) parsePathless {
	switch name {
	case "and":
		return tree(func(ns []node) node { return &and{ns} })
	case "or":
		return tree(func(ns []node) node { return &or{ns} })
	case "nor":
		return tree(func(ns []node) node { return &nor{ns} })
	case "expr":
		return (*parser).expression
	case "jsonSchema":
		return (*parser).jsonSchema
	case "comment":
		return func(*parser, string, bson.RawValue, level) (node, error) { return nil, nil }
	case "where":
		return (*parser).where
	case "text":
		return (*parser).text
	case "sampleRate":
		return (*parser).sampleRate
	case "alwaysTrue":
		return always(true)
	case "alwaysFalse":
		return always(false)
	case "ref", "id", "db": // the parts of a DBRef are fields
		return func(_ *parser, name string, v bson.RawValue, _ level) (node, error) {
			return comparisonLeaf(kindEq, name, v)
		}
	}
	return nil
}

func onLeaf(k kind, path string, t tester, err error) (node, error) {
	if err != nil {
		return nil, err
	}
	return newLeaf(k, path, true, t), nil
}

func onArray(k kind, path string, t tester, err error) (node, error) {
	if err != nil {
		return nil, err
	}
	return newLeaf(k, path, false, t), nil
}

func negated(n node, err error) (node, error) {
	if err != nil {
		return nil, err
	}
	return &not{n}, nil
}

func compareWith(k kind) parseOnPath {
	return func(_ *parser, o operand) (node, error) { return comparisonLeaf(k, o.path, o.v) }
}

func parseNe(_ *parser, o operand) (node, error) {
	if o.v.Type == bson.TypeRegex {
		return nil, mongoerr.New(mongoerr.BadValue, "Can't have regex as arg to $ne.")
	}
	return negated(comparisonLeaf(kindEq, o.path, o.v))
}

func parseIn(_ *parser, o operand) (node, error) {
	if o.v.Type != bson.TypeArray {
		return nil, mongoerr.New(mongoerr.BadValue, "%s needs an array", o.op)
	}
	m, err := newMembership(o.v)
	return onLeaf(kindIn, o.path, m, err)
}

func parseExists(_ *parser, o operand) (node, error) {
	n := newLeaf(kindExists, o.path, true, existence{})
	if value.Truthy(o.v) {
		return n, nil
	}
	return &not{n}, nil
}

func parseType(_ *parser, o operand) (node, error) {
	s, err := parseTypes(o.path, o.v)
	return onLeaf(kindType, o.path, s, err)
}

func bitsWith(k kind) parseOnPath {
	return func(_ *parser, o operand) (node, error) {
		b, err := parseBits(k, o.op, o.v)
		return onLeaf(k, o.path, b, err)
	}
}

// parseOptions only checks that there is a $regex beside $options, which
// reads them.
func parseOptions(_ *parser, o operand) (node, error) {
	for name := range value.Fields(o.context) {
		if name == "$regex" {
			return nil, nil
		}
	}
	return nil, mongoerr.New(mongoerr.BadValue, "$options needs a $regex")
}

// parseRegexDoc reads {$regex: ..., $options: ...}.
func parseRegexDoc(path string, doc bson.Raw) (node, error) {
	var pattern, options string
	for name, v := range value.Fields(doc) {
		switch name {
		case "$regex":
			switch v.Type {
			case bson.TypeString:
				pattern = value.AsString(v)
			case bson.TypeRegex:
				var own string
				pattern, own = value.AsRegex(v)
				if own == "" {
					continue
				}
				if options != "" {
					return nil, mongoerr.New(51074, "options set in both $regex and $options")
				}
				options = own
			default:
				return nil, mongoerr.New(mongoerr.BadValue, "$regex has to be a string")
			}
		case "$options":
			if v.Type != bson.TypeString {
				return nil, mongoerr.New(mongoerr.BadValue, "$options has to be a string")
			}
			if options != "" {
				return nil, mongoerr.New(51075, "options set in both $regex and $options")
			}
			options = value.AsString(v)
		}
	}
	return regexLeaf(path, pattern, options)
}

func regexLeaf(path, pattern, options string) (node, error) {
	re, err := newRegex(pattern, options)
	return onLeaf(kindRegex, path, re, err)
}

// parseNear refuses the operators that need a geospatial index, in the way of
// a server that has none on the field.
func parseNear(p *parser, o operand) (node, error) {
	first, v, _, _ := value.Next(value.Body(o.context))
	if first != o.op || v.Type != bson.TypeEmbeddedDocument && v.Type != bson.TypeArray {
		return nil, mongoerr.New(mongoerr.BadValue, "near must be first in: %s", expr.Show(value.Doc(o.context)))
	}
	if p.allowed&FeatureGeoNear == 0 {
		return nil, mongoerr.New(mongoerr.BadValue, "$geoNear, $near, and $nearSphere are not allowed in this context")
	}
	return nil, mongoerr.New(mongoerr.NoQueryExecutionPlans, "unable to find index for $geoNear query")
}
