package update

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pipeline"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// Options accompany an update.
type Options struct {
	ArrayFilters []bson.Raw
	Env          *expr.Env // nil means the zero Env
	Multi        bool      // many documents are to be updated: refuses replacements
	Constants    bson.Raw  // the update's c: variables for a pipeline; nil for none
}

// A Result is a document after an update.
type Result struct {
	Doc     bson.Raw
	Changed bool // counts as modified; without it Doc is the document as it was
	// Replaced tells that a change stream reports the whole document. If it
	// is false, Updated holds the paths that were set with their new values,
	// and Removed those that were removed.
	Replaced bool
	Updated  bson.Raw
	Removed  []string
}

// An Update is a parsed update. It is safe for concurrent use.
type Update struct {
	// Exactly one of these is set.
	root        *objectNode
	replacement bson.Raw
	pipeline    *pipeline.Pipeline

	positional bool
}

// Parse checks an update: a document of operators, a replacement document, or
// a pipeline. Errors are *mongoerr.Error with the code a server refuses with.
// The server looks at an update before it looks at the filter.
func Parse(u bson.RawValue, o Options) (*Update, error) {
	if o.Env == nil {
		o.Env = &expr.Env{}
	}
	filters, err := parseArrayFilters(o.ArrayFilters, o.Env)
	if err != nil {
		return nil, err
	}
	switch u.Type {
	case bson.TypeArray:
		if len(filters) > 0 {
			return nil, mongoerr.New(mongoerr.FailedToParse, "arrayFilters may not be specified for pipeline-syle updates")
		}
		return parsePipeline(u, o)
	case bson.TypeEmbeddedDocument:
	default:
		return nil, mongoerr.New(mongoerr.FailedToParse, "Update argument must be either an object or an array")
	}
	if o.Constants != nil {
		return nil, mongoerr.New(51198, "Constant values may only be specified for pipeline updates")
	}
	if first, _, _, _ := value.Next(value.Body(u.Value)); !strings.HasPrefix(first, "$") {
		if o.Multi {
			return nil, mongoerr.New(mongoerr.FailedToParse, "multi update is not supported for replacement-style update")
		}
		return &Update{replacement: u.Value}, nil
	}
	return parseOperators(u.Value, filters, o.Env)
}

func parseArrayFilters(docs []bson.Raw, env *expr.Env) (map[string]*match.Filter, error) {
	if len(docs) == 0 {
		return nil, nil
	}
	const context = "Error parsing array filter"
	filters := map[string]*match.Filter{}
	for _, d := range docs {
		f, err := match.ParseWith(d, env, match.NoFeatures)
		if err != nil {
			return nil, mongoerr.From(err).WithPrefix(context)
		}
		id, err := f.Placeholder()
		if err != nil {
			return nil, mongoerr.From(err).WithPrefix(context)
		}
		if id == "" {
			return nil, mongoerr.New(mongoerr.FailedToParse, "Cannot use an expression without a top-level field name in arrayFilters")
		}
		if filters[id] != nil {
			return nil, mongoerr.New(mongoerr.FailedToParse, "Found multiple array filters with the same top-level field name %s", id)
		}
		filters[id] = f
	}
	return filters, nil
}

// A parser merges the operators of an update into one tree.
type parser struct {
	env        *expr.Env
	filters    map[string]*match.Filter
	used       map[string]bool // the array filters that a path names
	root       *objectNode
	positional bool
}

func parseOperators(doc bson.Raw, filters map[string]*match.Filter, env *expr.Env) (*Update, error) {
	if value.Field(doc, "$v").Type != 0 {
		return nil, mongoerr.New(mongoerr.FailedToParse, "The $v update field is only recognized internally")
	}
	p := &parser{env: env, filters: filters, used: map[string]bool{}, root: &objectNode{}}
	for name, fields := range value.Fields(doc) {
		if _, ok, _ := parseOperator(name, "", value.Missing(), env); !ok {
			return nil, mongoerr.New(mongoerr.FailedToParse,
				"Unknown modifier: %s. Expected a valid update modifier or pipeline-style update specified as an array", name)
		}
		if fields.Type != bson.TypeEmbeddedDocument {
			return nil, mongoerr.New(mongoerr.FailedToParse,
				"Modifiers operate on fields but we found type %s instead. For example: {$mod: {<field>: ...}} not {%s: %s}",
				value.TypeName(fields.Type), name, show(fields))
		}
		if value.IsEmpty(fields.Value) {
			return nil, mongoerr.New(mongoerr.FailedToParse,
				"'%s' is empty. You must specify a field like so: {%s: {<field>: ...}}", name, name)
		}
		for field, arg := range value.Fields(fields.Value) {
			if err := p.add(name, field, arg); err != nil {
				return nil, err
			}
		}
	}
	for _, id := range slices.Sorted(maps.Keys(filters)) {
		if !p.used[id] {
			return nil, mongoerr.New(mongoerr.FailedToParse,
				"The array filter for identifier '%s' was not used in the update %s", id, show(value.Doc(doc)))
		}
	}
	return &Update{root: p.root, positional: p.positional}, nil
}

// add merges one operator on one field.
func (p *parser) add(name, field string, arg bson.RawValue) error {
	dotted := field
	if name == "$rename" {
		held := func() (node, error) { return &leaf{op: placeholder{}}, nil }
		if err := p.insert(field, held); err != nil {
			return err
		}
		if arg.Type != bson.TypeString {
			return mongoerr.New(mongoerr.BadValue, "The 'to' field for $rename must be a string: %s: %s", field, show(arg))
		}
		dotted = value.AsString(arg)
	}
	return p.insert(dotted, func() (node, error) {
		n, _, err := parseOperator(name, field, arg, p.env)
		return n, err
	})
}

// A parent is a node that has others below it.
type parent interface {
	node
	child(name string) node
	setChild(name string, n node)
}

// insert puts a node at the end of a path.
func (p *parser) insert(dotted string, makeLeaf func() (node, error)) error {
	parts, err := splitPath(dotted)
	if err != nil {
		return err
	}
	dollars := 0
	for _, part := range parts {
		if part == "$" {
			dollars++
		}
	}
	switch {
	case dollars > 1:
		return mongoerr.New(mongoerr.BadValue, "Too many positional (i.e. '$') elements found in path '%s'", dotted)
	case parts[0] == "$":
		return mongoerr.New(mongoerr.BadValue, "Cannot have positional (i.e. '$') element in the first position in path '%s'", dotted)
	}
	n, err := makeLeaf()
	if err != nil {
		return err
	}
	var current parent = p.root
	last := len(parts) - 1
	for i, part := range parts {
		name, err := p.childName(part, i, dotted)
		if err != nil {
			return err
		}
		child := current.child(name)
		if i == last {
			if child != nil {
				return errConflict(dotted, dotted)
			}
			current.setChild(name, n)
			break
		}
		_, arrayBelow := arrayIdentifier(parts[i+1])
		switch next := child.(type) {
		case nil:
			var below parent = &objectNode{}
			if arrayBelow {
				below = &arrayNode{byID: map[string]node{}, filters: p.filters}
			}
			current.setChild(name, below)
			current = below
			continue
		case *arrayNode:
			if arrayBelow {
				current = next
				continue
			}
		case *objectNode:
			if !arrayBelow {
				current = next
				continue
			}
		}
		return errConflict(dotted, strings.Join(parts[:i+1], "."))
	}
	p.positional = p.positional || dollars > 0
	return nil
}

func errConflict(path, at string) error {
	return mongoerr.New(mongoerr.ConflictingUpdateOperators, "Updating the path '%s' would create a conflict at '%s'", path, at)
}

// childName gives the name under which a path component is kept: array
// filters by their identifiers.
func (p *parser) childName(part string, at int, dotted string) (string, error) {
	id, ok := arrayIdentifier(part)
	switch {
	case !ok:
		return part, nil
	case at == 0:
		return "", mongoerr.New(mongoerr.BadValue,
			"Cannot have array filter identifier (i.e. '$[<id>]') element in the first position in path '%s'", dotted)
	case id == "":
		return "", nil
	case p.filters[id] == nil:
		return "", mongoerr.New(mongoerr.BadValue, "No array filter found for identifier '%s' in path '%s'", id, dotted)
	}
	p.used[id] = true
	return id, nil
}

// NeedsPosition tells whether Apply uses the index that the filter matched:
// match.Filter.MatchPosition finds it.
func (u *Update) NeedsPosition() bool { return u.positional }

// IsReplacement tells whether the update replaces the whole document by
// another one that it carries.
func (u *Update) IsReplacement() bool { return u.replacement != nil }

// Apply changes a document. index is the array position that the filter
// matched, -1 for none. Errors are *mongoerr.Error.
func (u *Update) Apply(doc bson.Raw, index int) (Result, error) {
	r, err := u.apply(doc, index)
	if err != nil {
		return Result{}, err
	}
	if r.Changed && len(r.Doc) > maxDocumentSize {
		return Result{}, mongoerr.New(17419, "Resulting document after update is larger than %d", maxDocumentSize)
	}
	return r, nil
}

func (u *Update) apply(doc bson.Raw, index int) (Result, error) {
	switch {
	case u.replacement != nil:
		return replace(doc, u.replacement, true)
	case u.pipeline != nil:
		return u.applyPipeline(doc, true)
	}
	log := &changes{}
	r := &run{root: newRoot(doc), validate: true, log: log}
	if index >= 0 {
		r.matched = strconv.Itoa(index)
	}
	did, err := u.root.apply(r, place{e: r.root})
	if err != nil {
		return Result{}, err
	}
	if !did {
		return Result{Doc: doc}, nil
	}
	return Result{
		Doc:     idFirst(r.root.value().Value),
		Changed: true,
		Updated: log.updated.Doc(),
		Removed: log.removed,
	}, nil
}

// idFirst moves _id to the front.
func idFirst(doc bson.Raw) bson.Raw {
	first, _, _, _ := value.Next(value.Body(doc))
	id := value.Field(doc, "_id")
	if first == "_id" || id.Type == 0 {
		return doc
	}
	o := value.NewObject(len(doc))
	o.Add("_id", id)
	for name, v := range value.Fields(doc) {
		if name != "_id" {
			o.Add(name, v)
		}
	}
	return o.Doc()
}
