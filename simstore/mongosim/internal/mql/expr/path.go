package expr

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// maxDepth is how deep documents, and so paths, may be nested.
const maxDepth = 200

type sourceKind uint8

const (
	fromRoot sourceKind = iota
	fromSlot
	fromValue // one of the system's variables
	fromNothing
)

// A source is where a path begins: the document or a variable.
type source struct {
	kind sourceKind
	slot int
}

// A fieldPath reads a path; an empty one is the document or variable itself.
type fieldPath struct {
	from source
	path []string
}

func newPath(from source, dotted string) (*fieldPath, error) {
	if dotted == "" {
		return nil, fail(40352, "FieldPath cannot be constructed with empty string")
	}
	if dotted[len(dotted)-1] == '.' {
		return nil, fail(40353, "FieldPath must not end with a '.'.")
	}
	path := strings.Split(dotted, ".")
	if len(path) > maxDepth {
		return nil, fail(mongoerr.Overflow, "FieldPath is too long")
	}
	for _, name := range path {
		if err := CheckFieldName(name); err != nil {
			return nil, err
		}
	}
	return &fieldPath{from: from, path: path}, nil
}

// CheckPath refuses a dotted path that no field path may be.
func CheckPath(dotted string) error {
	_, err := newPath(source{}, dotted)
	return err
}

// CheckFieldName refuses the names that no part of a path may have: empty
// ones, and those that start with a dollar or contain a dot or zero byte.
func CheckFieldName(name string) error {
	switch {
	case name == "":
		return fail(15998, "FieldPath field names may not be empty strings.")
	case name[0] == '$' && !allowedDollarName(name):
		return fail(16410, "FieldPath field names may not start with '$'.")
	case strings.IndexByte(name, 0) >= 0:
		return fail(16411, "FieldPath field names may not contain '\\0'.")
	case strings.IndexByte(name, '.') >= 0:
		return fail(16412, "FieldPath field names may not contain '.'.")
	}
	return nil
}

// allowedDollarName knows the parts of a DBRef and the names under which
// metadata travels between servers.
func allowedDollarName(name string) bool {
	switch name {
	case "$id", "$ref", "$db",
		"$sortKey", "$recordId", "$randVal", "$textScore", "$indexKey", "$dis", "$pt", "$searchScore", "$searchHighlights":
		return true
	}
	return false
}

func (f *fieldPath) dotted() string { return strings.Join(f.path, ".") }

func (f *fieldPath) eval(s *scope) (bson.RawValue, error) {
	if f.from.kind == fromRoot {
		if len(f.path) == 0 {
			return value.Doc(s.root), nil
		}
		return walk(s.root, f.path), nil
	}
	if f.from.kind == fromNothing {
		return bson.RawValue{}, nil
	}
	return walkValue(s.vars[f.from.slot], f.path), nil
}

func (f *fieldPath) fold() (node, error) {
	if f.from.kind == fromNothing {
		return &constant{}, nil
	}
	return f, nil
}

func walkValue(v bson.RawValue, path []string) bson.RawValue {
	switch {
	case len(path) == 0:
		return v
	case v.Type == bson.TypeEmbeddedDocument:
		return walk(v.Value, path)
	case v.Type == bson.TypeArray:
		return walkArray(v, path)
	default:
		return bson.RawValue{}
	}
}

// walk follows the path; through an array it collects what its documents
// have there.
func walk(doc bson.Raw, path []string) bson.RawValue {
	for {
		v := value.Field(doc, path[0])
		if path = path[1:]; len(path) == 0 {
			return v
		}
		switch v.Type {
		case bson.TypeEmbeddedDocument:
			doc = v.Value
		case bson.TypeArray:
			return walkArray(v, path)
		default:
			return bson.RawValue{}
		}
	}
}

func walkArray(arr bson.RawValue, path []string) bson.RawValue {
	var out value.Arr
	for _, e := range value.Elements(arr) {
		if e.Type != bson.TypeEmbeddedDocument {
			continue
		}
		if v := walk(e.Value, path); v.Type != 0 {
			out.Add(v)
		}
	}
	return out.Value()
}
