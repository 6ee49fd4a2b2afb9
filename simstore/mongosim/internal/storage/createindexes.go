package storage

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// maxIndexes is how many indexes a collection may have.
const maxIndexes = 64

// CreateIndexes checks and builds indexes, all or none, and returns how many
// the collection had and has. It does nothing if all exist already. It waits
// for open transactions that use the collection; in a transaction it works on
// collections which that transaction has created.
func (c *Collection) CreateIndexes(ctx context.Context, tx *Txn, specs []bson.Raw) (before, after int, err error) {
	var asked []*indexSpec
	for _, raw := range specs {
		s, err := parseIndexSpec(raw, c.engine.cfg.WidePartialIndexes)
		if err != nil {
			return 0, 0, err
		}
		asked = append(asked, s)
	}
	c.mu.RLock()
	have := c.indexes
	c.mu.RUnlock()
	missing, err := missingSpecs(c.Namespace(), have, asked)
	if err != nil || len(missing) == 0 {
		return len(have), len(have), err
	}
	if tx != nil {
		return c.createInTxn(tx, asked)
	}
	unlock, err := c.exclusive(ctx, nil)
	if err != nil {
		return 0, 0, err
	}
	defer unlock()
	before = len(c.indexes)
	built, err := c.build(asked)
	if err != nil {
		return before, before, err
	}
	for _, ix := range built {
		ix.since = c.engine.commitOp(Op{Kind: OpCreateIndex, Coll: c.id, Message: ix.spec.name})
		c.since = ix.since
	}
	return before, len(c.indexes), nil
}

// createInTxn adds indexes to a collection that tx has created.
func (c *Collection) createInTxn(tx *Txn, asked []*indexSpec) (before, after int, err error) {
	if err := tx.begin(); err != nil {
		return 0, 0, err
	}
	defer tx.mu.Unlock()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.creator != tx {
		return 0, 0, mongoerr.New(mongoerr.OperationNotSupportedInTransaction,
			"Cannot create new indexes on existing collection %s in a multi-document transaction.", c.id.Namespace)
	}
	if c.rows.after(0) != nil {
		return 0, 0, mongoerr.New(mongoerr.OperationNotSupportedInTransaction,
			"Cannot create new indexes on non-empty collection %s in a multi-document transaction.", c.id.Namespace)
	}
	before = len(c.indexes)
	built, err := c.build(asked)
	if err != nil {
		return before, before, err
	}
	for _, ix := range built {
		tx.ops = append(tx.ops, Op{Kind: OpCreateIndex, Coll: c.id, Message: ix.spec.name})
	}
	return before, len(c.indexes), nil
}

// missingSpecs are those asked for which do not exist yet.
func missingSpecs(ns Namespace, have []*index, asked []*indexSpec) ([]*indexSpec, error) {
	all := make([]*indexSpec, 0, len(have)+len(asked))
	for _, ix := range have {
		all = append(all, ix.spec)
	}
	var out []*indexSpec
	for _, s := range asked {
		exists, err := conflicts(ns, all, s)
		if err != nil {
			return nil, err
		}
		if !exists {
			out = append(out, s)
			all = append(all, s)
		}
	}
	return out, nil
}

// conflicts compares a spec with those there are: an identical one exists, or
// it cannot be beside one of them.
func conflicts(ns Namespace, have []*indexSpec, s *indexSpec) (exists bool, err error) {
	if s.isID() && !s.fields[0].desc {
		return true, nil
	}
	for _, h := range have {
		if h.name != s.name {
			continue
		}
		switch {
		case !samePattern(h, s):
			return false, mongoerr.New(mongoerr.IndexKeySpecsConflict,
				"Index must have unique name.The existing index: %s has the same name as the requested index: %s", shellText(h.raw), shellText(s.raw))
		case !h.same(s):
			return false, mongoerr.New(mongoerr.IndexOptionsConflict, "Index with name: %s already exists with different options", s.name)
		}
		return true, nil
	}
	for _, h := range have {
		if !samePattern(h, s) {
			continue
		}
		if !h.same(s) {
			return false, mongoerr.New(mongoerr.IndexOptionsConflict, "Index: %s already exists with different options: %s", shellText(s.raw), shellText(h.raw))
		}
		return false, mongoerr.New(mongoerr.IndexOptionsConflict, "Index with name: %s already exists with a different name", s.name)
	}
	if len(have) >= maxIndexes {
		return false, mongoerr.New(mongoerr.CannotCreateIndex, "add index fails, too many indexes for %s key:%s", ns, shellText(s.pattern))
	}
	return false, nil
}

func samePattern(a, b *indexSpec) bool {
	return value.Equal(value.Doc(a.pattern), value.Doc(b.pattern))
}

// build makes those of the indexes that do not exist and fills them with the
// keys of every version of every document. mu is held for writing.
func (c *Collection) build(asked []*indexSpec) (built []*index, err error) {
	missing, err := missingSpecs(c.id.Namespace, c.indexes, asked)
	if err != nil {
		return nil, err
	}
	for i, s := range asked {
		twin := func(t *indexSpec) bool { return samePattern(s, t) && s.name == t.name }
		if slices.ContainsFunc(asked[:i], twin) && slices.ContainsFunc(missing, twin) {
			if c.rows.after(0) == nil {
				return nil, mongoerr.New(mongoerr.IndexAlreadyExists, "Identical index already exists: %s", s.name)
			}
			return nil, c.buildError(mongoerr.New(mongoerr.OperationFailed, "Cannot build two identical indexes. Try again without duplicate indexes."))
		}
	}
	var k keys
	for _, s := range missing {
		if err := s.buildable(); err != nil {
			return nil, c.buildError(err)
		}
		ix := newIndex(s)
		for r := c.rows.after(0); r != nil; r = c.rows.after(r.id) {
			for v := r.head; v != nil; v = v.prev {
				if v.doc == nil {
					continue
				}
				if err := ix.keysOf(v.doc, &k); err != nil {
					return nil, c.buildError(err)
				}
				if v == r.head {
					if err := c.checkUnique(Write{Txn: v.owner}, ix, r, &k, v.doc); err != nil {
						return nil, c.buildError(err)
					}
				}
				ix.insert(r, &k)
			}
		}
		built = append(built, ix)
	}
	// A new slice, as writers compare it with the one they prepared for.
	c.indexes = append(slices.Clip(slices.Clone(c.indexes)), built...)
	return built, nil
}

// buildError says that an index could not be built.
func (c *Collection) buildError(err error) error {
	e := mongoerr.From(err)
	if c.rows.after(0) == nil { // nothing to be built
		return e
	}
	return e.WithPrefix("Index build failed: " + newUUID().String() + ": Collection " + c.id.Namespace.String() + " ( " + c.uuid.String() + " )")
}

// Indexes lists the specifications as listIndexes shows them.
func (c *Collection) Indexes() []bson.Raw {
	c.mu.RLock()
	defer c.mu.RUnlock()
	out := make([]bson.Raw, len(c.indexes))
	for i, ix := range c.indexes {
		out[i] = ix.spec.raw
	}
	return out
}

// DropIndexes drops an index by name (a string) or key pattern (a document),
// several by name (an array), or all but _id's ("*"). It returns how many the
// collection had, and waits for open transactions that use it.
func (c *Collection) DropIndexes(ctx context.Context, which bson.RawValue) (before int, err error) {
	unlock, err := c.exclusive(ctx, nil)
	if err != nil {
		return 0, err
	}
	defer unlock()
	before = len(c.indexes)
	gone, err := c.chosen(which)
	if err != nil {
		return before, err
	}
	left := slices.DeleteFunc(slices.Clone(c.indexes), func(ix *index) bool { return slices.Contains(gone, ix) })
	c.indexes = left
	for _, ix := range gone {
		ix.dropped.Store(true)
		c.since = c.engine.commitOp(Op{Kind: OpDropIndex, Coll: c.id, Message: ix.spec.name})
	}
	return before, nil
}

// chosen finds the indexes that DropIndexes is to drop.
func (c *Collection) chosen(which bson.RawValue) ([]*index, error) {
	switch which.Type {
	case bson.TypeString:
		if value.AsString(which) == "*" {
			return slices.Clone(c.indexes[1:]), nil
		}
		ix, err := c.byName(value.AsString(which))
		return []*index{ix}, err
	case bson.TypeEmbeddedDocument:
		ix, err := c.byPattern(bson.Raw(which.Value))
		return []*index{ix}, err
	case bson.TypeArray:
		if value.Len(which) == 1 && value.Equal(value.Index(which, 0), value.String("*")) {
			return slices.Clone(c.indexes[1:]), nil
		}
		var out []*index
		for _, name := range value.Elements(which) {
			if name.Type != bson.TypeString {
				return nil, mongoerr.New(mongoerr.TypeMismatch, "dropIndexes: index names must be strings, got %s", value.TypeName(name.Type))
			}
			ix, err := c.byName(value.AsString(name))
			if err != nil {
				return nil, err
			}
			out = append(out, ix)
		}
		return out, nil
	}
	return nil, nil // as on the server, whatever else names no index
}

func (c *Collection) byName(name string) (*index, error) {
	for i, ix := range c.indexes {
		if ix.spec.name != name {
			continue
		}
		if i == 0 {
			return nil, mongoerr.New(mongoerr.InvalidOptions, "cannot drop _id index")
		}
		return ix, nil
	}
	return nil, mongoerr.New(mongoerr.IndexNotFound, "index not found with name [%s]", name)
}

func (c *Collection) byPattern(pattern bson.Raw) (*index, error) {
	for i, ix := range c.indexes {
		if !value.Equal(value.Doc(ix.spec.pattern), value.Doc(pattern)) {
			continue
		}
		if i == 0 {
			return nil, mongoerr.New(mongoerr.InvalidOptions, "cannot drop _id index")
		}
		return ix, nil
	}
	return nil, mongoerr.New(mongoerr.IndexNotFound, "can't find index with key: %s", shellText(pattern))
}

// SetIndex changes an index found by name or (with an empty name) by key
// pattern, as collMod does: when its documents expire, whether it is hidden.
// nil leaves a property as it is. It returns the specifications from before
// and after.
func (c *Collection) SetIndex(ctx context.Context, name string, key bson.Raw, expireAfterSeconds *int64, hidden *bool) (before, after bson.Raw, err error) {
	unlock, err := c.exclusive(ctx, nil)
	if err != nil {
		return nil, nil, err
	}
	defer unlock()
	at := slices.IndexFunc(c.indexes, func(ix *index) bool {
		if name != "" {
			return ix.spec.name == name
		}
		return value.Equal(value.Doc(ix.spec.pattern), value.Doc(key))
	})
	if at < 0 {
		what := name
		if what == "" {
			what = shellText(key)
		}
		return nil, nil, mongoerr.New(mongoerr.IndexNotFound, "cannot find index %s for ns %s", what, c.id.Namespace)
	}
	ix := c.indexes[at]
	spec := *ix.spec
	if expireAfterSeconds != nil {
		if !spec.ttl {
			return nil, nil, mongoerr.New(mongoerr.InvalidOptions, "no expireAfterSeconds field to update")
		}
		spec.expire = float64(*expireAfterSeconds)
		spec.raw = value.With(spec.raw, "expireAfterSeconds", value.Int64(*expireAfterSeconds))
	}
	if hidden != nil {
		if at == 0 {
			return nil, nil, mongoerr.New(mongoerr.BadValue, "can't hide _id index")
		}
		spec.hidden = *hidden
		spec.raw = withHidden(spec.raw, *hidden)
	}
	before = ix.spec.raw
	changed := &index{spec: &spec, tree: ix.tree, bytes: ix.bytes, multi: ix.multi, since: ix.since}
	changed.uses.Store(ix.uses.Load())
	if spec.hidden {
		ix.dropped.Store(true) // cursors that use it have to end, as the planner may not use it any more
	}
	c.indexes = slices.Clone(c.indexes)
	c.indexes[at] = changed
	c.since = c.engine.commitOp(Op{Kind: OpCollMod, Coll: c.id})
	return before, spec.raw, nil
}

// withHidden sets or removes the hidden property.
func withHidden(raw bson.Raw, hidden bool) bson.Raw {
	o := value.NewObject(len(raw) + 16)
	for name, v := range value.Fields(raw) {
		if name != "hidden" {
			o.Add(name, v)
		}
	}
	if hidden {
		o.Add("hidden", value.Bool(true))
	}
	return o.Doc()
}
