package update

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func parseRename(field string, arg bson.RawValue) (node, error) {
	to := value.AsString(arg)
	if strings.IndexByte(to, 0) >= 0 {
		return nil, mongoerr.New(mongoerr.BadValue, "The 'to' field for $rename cannot contain an embedded null byte")
	}
	from, dest := strings.Split(field, "."), strings.Split(to, ".")
	n := min(len(from), len(dest))
	switch {
	case field == to:
		return nil, mongoerr.New(mongoerr.BadValue, "The source and target field for $rename must differ: %s: %s", field, show(arg))
	case slices.Equal(from[:n], dest[:n]):
		return nil, mongoerr.New(mongoerr.BadValue,
			"The source and target field for $rename must not be on the same path: %s: %s", field, show(arg))
	case slices.ContainsFunc(from, isDynamic):
		return nil, mongoerr.New(mongoerr.BadValue, "The source field for $rename may not be dynamic: %s", field)
	case slices.ContainsFunc(dest, isDynamic):
		return nil, mongoerr.New(mongoerr.BadValue, "The destination field for $rename may not be dynamic: %s", to)
	}
	return &renameLeaf{from}, nil
}

func isDynamic(part string) bool {
	_, ok := arrayIdentifier(part)
	return ok || part == "$"
}

// A renameLeaf moves a field to where the node stands; a placeholder stands
// where the field comes from.
type renameLeaf struct{ from []string }

func (l *renameLeaf) apply(r *run, p place) (bool, error) {
	source, found, viable := find(r.root, l.from)
	if found < len(l.from) {
		if !viable && found > 0 {
			return false, errNotViable(source, l.from, found)
		}
		return false, nil
	}
	if err := notInArray(source.parent, "source", strings.Join(l.from, ".")); err != nil {
		return false, err
	}
	dest := p.e
	if len(r.missing(p)) == 0 {
		dest = dest.parent
	}
	if err := notInArray(dest, "destination", r.dotted()); err != nil {
		return false, err
	}
	put := &leaf{op: overwrite{source.value()}}
	if _, err := put.apply(r, p); err != nil {
		return false, err
	}
	path := r.path
	r.path = l.from
	defer func() { r.path = path }()
	take := &leaf{op: unset{}}
	return take.applyExisting(r, source)
}

func notInArray(e *element, which, path string) error {
	for ; e != nil && e.parent != nil; e = e.parent {
		if e.isArray() {
			return mongoerr.New(mongoerr.BadValue,
				"The %s field cannot be an array element, '%s' in doc with %s has an array field called '%s'", which, path, e.describeID(), e.key)
		}
	}
	return nil
}

// overwrite sets a value, and changes the document even if the value was
// there.
type overwrite struct{ v bson.RawValue }

func (o overwrite) update(_ *run, e *element) (outcome, error) {
	e.set(o.v)
	return changed, nil
}

func (o overwrite) create(*run) (bson.RawValue, error) { return o.v, nil }
