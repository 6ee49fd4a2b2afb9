package update

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// maxPadding bounds the nulls that fill an array up to a new position.
const maxPadding = 1500000

// splitPath cuts up a path and refuses one that no update may have.
func splitPath(dotted string) ([]string, error) {
	if dotted == "" {
		return nil, mongoerr.New(mongoerr.EmptyFieldName, "An empty update path is not valid.")
	}
	parts := strings.Split(dotted, ".")
	if slices.Contains(parts, "") {
		return nil, mongoerr.New(mongoerr.EmptyFieldName,
			"The update path '%s' contains an empty field name, which is not allowed.", dotted)
	}
	return parts, nil
}

// arrayIdentifier reads $[identifier].
func arrayIdentifier(part string) (id string, ok bool) {
	if len(part) < 3 || !strings.HasPrefix(part, "$[") || !strings.HasSuffix(part, "]") {
		return "", false
	}
	return part[2 : len(part)-1], true
}

// createPath makes the elements named by parts below e, the last with the
// value v. It gives the topmost element it made and the last.
func createPath(e *element, parts []string, v bson.RawValue) (first, last *element, err error) {
	switch {
	case e.isArray():
		i, ok := position(parts[0])
		if !ok {
			return nil, nil, errCannotCreate(e, parts[0])
		}
		pad := i - len(e.open())
		if pad > maxPadding {
			return nil, nil, mongoerr.New(mongoerr.CannotBackfillArray, "can't backfill more than %d elements", maxPadding)
		}
		for range pad {
			e.push("", value.Null())
		}
	case !e.isDoc():
		return nil, nil, errCannotCreate(e, parts[0])
	}
	for i, name := range parts {
		fieldValue := v
		if i < len(parts)-1 {
			fieldValue = value.Doc(emptyDoc())
		}
		e = e.push(name, fieldValue)
		if first == nil {
			first = e
		}
	}
	return first, e, nil
}

func emptyDoc() bson.Raw { return bson.Raw{5, 0, 0, 0, 0} }

func errCannotCreate(e *element, part string) error {
	return mongoerr.New(mongoerr.PathNotViable, "Cannot create field '%s' in element {%s}", part, e.describe())
}

// find follows a path as far as it exists. It gives the last element found,
// and how many parts led to it; viable is false if the path runs into a value
// that can't have the next part.
func find(root *element, parts []string) (e *element, found int, viable bool) {
	e = root
	for i, name := range parts {
		if e.isArray() {
			if _, ok := position(name); !ok {
				return e, i, false
			}
		} else if !e.isDoc() {
			return e, i, false
		}
		next := e.child(name)
		if next == nil {
			return e, i, true
		}
		e = next
	}
	return e, len(parts), true
}

func errNotViable(e *element, parts []string, at int) error {
	return mongoerr.New(mongoerr.PathNotViable, "cannot use the part (%s of %s) to traverse the element ({%s})",
		parts[max(0, at-1)], strings.Join(parts, "."), e.describe())
}
