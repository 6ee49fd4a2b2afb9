package pipeline

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// unwindStage is $unwind.
type unwindStage struct {
	plain
	dotted      string
	path, index []string
	preserve    bool
}

func parseUnwind(_ *parser, arg bson.RawValue) ([]stage, error) {
	u := &unwindStage{}
	path, index := "", ""
	switch arg.Type {
	case bson.TypeString:
		path = value.AsString(arg)
	case bson.TypeEmbeddedDocument:
		for k, v := range value.Fields(arg.Value) {
			switch k {
			case "path":
				if v.Type != bson.TypeString {
					return nil, fail(28808, "expected a string as the path for $unwind stage, got %s", value.TypeName(v.Type))
				}
				path = value.AsString(v)
			case "preserveNullAndEmptyArrays":
				if v.Type != bson.TypeBoolean {
					return nil, fail(28809, "expected a boolean for the preserveNullAndEmptyArrays option to $unwind stage, got %s", value.TypeName(v.Type))
				}
				u.preserve = value.AsBool(v)
			case "includeArrayIndex":
				if index = value.AsString(v); v.Type != bson.TypeString || index == "" {
					return nil, fail(28810, "expected a non-empty string for the includeArrayIndex  option to $unwind stage, got %s", value.TypeName(v.Type))
				}
				if index[0] == '$' {
					return nil, fail(28822, "includeArrayIndex option to $unwind stage should not be prefixed with a '$': %s", index)
				}
			default:
				return nil, fail(28811, "unrecognized option to $unwind stage: %s", k)
			}
		}
	default:
		return nil, fail(15981, "expected either a string or an object as specification for $unwind stage, got %s", value.TypeName(arg.Type))
	}
	switch {
	case path == "":
		return nil, fail(28812, "no path specified to $unwind stage")
	case path[0] != '$':
		return nil, fail(28818, "path option to $unwind stage should be prefixed with a '$': %s", path)
	case strings.IndexByte(path, 0) >= 0:
		return nil, fail(16419, "field path must not contain embedded null characters")
	}
	var err error
	u.dotted = path[1:]
	if u.path, err = parsePath(u.dotted); err != nil {
		return nil, err
	}
	if index != "" {
		if u.index, err = parsePath(index); err != nil {
			return nil, err
		}
	}
	return []stage{u}, nil
}

func (u *unwindStage) run(_ *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		for doc, err := range in {
			if err != nil {
				yield(nil, err)
				return
			}
			if !u.unwind(doc, yield) {
				return
			}
		}
	}
}

func (u *unwindStage) unwind(doc bson.Raw, yield func(bson.Raw, error) bool) bool {
	v := value.Lookup(doc, u.dotted)
	switch {
	case v.Type == bson.TypeArray && !value.IsEmpty(v.Value):
		for i, e := range value.Elements(v) {
			if !yield(u.indexed(withPath(doc, u.path, e), value.Int64(int64(i))), nil) {
				return false
			}
		}
		return true
	case v.Type == bson.TypeArray && u.preserve:
		doc = withPath(doc, u.path, bson.RawValue{})
	case v.Type == bson.TypeArray || value.Nullish(v) && !u.preserve:
		return true
	}
	return yield(u.indexed(doc, value.Null()), nil)
}

func (u *unwindStage) indexed(doc bson.Raw, i bson.RawValue) bson.Raw {
	if u.index == nil {
		return doc
	}
	return withPath(doc, u.index, i)
}
