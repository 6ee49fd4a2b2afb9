package update

import (
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// maxDocumentSize bounds a stored document.
const maxDocumentSize = 16 << 20

// Upsert builds the document to insert where no document satisfied f: what f
// demands to be equal, changed by the update as if that were the document. It
// begins with an _id, a new ObjectId if none is given. Errors are
// *mongoerr.Error.
func (u *Update) Upsert(f *match.Filter) (bson.Raw, error) {
	doc, err := u.fromFilter(f)
	if err != nil {
		return nil, err
	}
	switch {
	case u.replacement != nil:
		doc, err = resultDoc(replace(doc, u.replacement, false))
	case u.pipeline != nil:
		doc, err = resultDoc(u.applyPipeline(doc, false))
	default:
		r := &run{root: newRoot(doc), insert: true}
		_, err = u.root.apply(r, place{e: r.root})
		doc = r.root.value().Value
	}
	if err != nil {
		return nil, err
	}
	if value.Field(doc, "_id").Type == 0 {
		o := value.NewObject(len(doc) + 17)
		o.Add("_id", value.ObjectID(bson.NewObjectID()))
		o.AddAll(doc)
		doc = o.Doc()
	}
	doc = idFirst(doc)
	if err := CheckStorable(doc); err != nil {
		return nil, err
	}
	if len(doc) > maxDocumentSize {
		return nil, mongoerr.New(17420, "Document to upsert is larger than %d", maxDocumentSize)
	}
	return doc, nil
}

func resultDoc(r Result, err error) (bson.Raw, error) { return r.Doc, err }

// fromFilter makes a document of a filter's equalities; for a replacement
// only the _id matters.
func (u *Update) fromFilter(f *match.Filter) (bson.Raw, error) {
	type equality struct {
		path  string
		parts []string
		v     bson.RawValue
	}
	var all []equality
	for _, p := range f.Equalities() {
		e := equality{p.Path, strings.Split(p.Path, "."), p.Value}
		if u.replacement != nil {
			if e.parts[0] != "_id" {
				continue
			}
			if len(e.parts) > 1 {
				return nil, mongoerr.New(mongoerr.NotExactValueField,
					"field at '_id' must be exactly specified, field at sub-path '%s'found", e.path)
			}
		}
		for i := len(e.parts); i > 0; i-- {
			prefix := strings.Join(e.parts[:i], ".")
			if !slices.ContainsFunc(all, func(o equality) bool { return o.path == prefix }) {
				continue
			}
			if i < len(e.parts) {
				return nil, mongoerr.New(mongoerr.NotSingleValueField,
					"cannot infer query fields to set, both paths '%s' and '%s' are matched", e.path, prefix)
			}
			return nil, mongoerr.New(mongoerr.NotSingleValueField, "cannot infer query fields to set, path '%s' is matched twice", e.path)
		}
		all = append(all, e)
	}
	slices.SortStableFunc(all, func(a, b equality) int { return strings.Compare(a.path, b.path) })
	root := newRoot(emptyDoc())
	for _, e := range all {
		if err := setAt(root, e.parts, e.v); err != nil {
			return nil, err
		}
	}
	return root.value().Value, nil
}

// setAt sets the value at a path, making what is missing on the way.
func setAt(root *element, parts []string, v bson.RawValue) error {
	e, found, viable := find(root, parts)
	switch {
	case !viable && found > 0:
		return errNotViable(e, parts, found)
	case found == len(parts):
		e.set(v)
		return nil
	}
	_, _, err := createPath(e, parts[found:], v)
	return err
}
