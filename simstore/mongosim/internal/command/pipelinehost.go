package command

import (
	"context"
	"iter"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pipeline"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// pipelineHost is the node as a pipeline's stages see it, on behalf of one command.
type pipelineHost struct {
	r     *request
	view  storage.View
	write storage.Write
}

var _ pipeline.Host = (*pipelineHost)(nil)

func storageNamespace(ns pipeline.Namespace) storage.Namespace {
	return storage.Namespace{DB: ns.DB, Coll: ns.Coll}
}

// Scan reads a collection, by an index where the filter allows it.
func (h *pipelineHost) Scan(ctx context.Context, ns pipeline.Namespace, f *match.Filter) iter.Seq2[bson.Raw, error] {
	return func(yield func(bson.Raw, error) bool) {
		coll, err := h.lookup(ns)
		if err != nil {
			yield(nil, err)
			return
		}
		if coll == nil {
			return
		}
		cur, err := coll.Find(ctx, h.view, storage.Query{Filter: f})
		if err != nil {
			yield(nil, err)
			return
		}
		cur.All(ctx)(yield)
	}
}

func (h *pipelineHost) lookup(ns pipeline.Namespace) (*storage.Collection, error) {
	return h.r.e.store.Collection(h.view.Txn, storageNamespace(ns))
}

// CollStats answers $collStats.
func (h *pipelineHost) CollStats(_ context.Context, ns pipeline.Namespace, spec bson.Raw) (bson.Raw, error) {
	coll, err := h.lookup(ns)
	if err != nil {
		return nil, err
	}
	if coll == nil {
		return nil, mongoerr.New(mongoerr.NamespaceNotFound, "Unable to retrieve storageStats in $collStats stage :: caused by :: Collection [%s] not found.", ns)
	}
	stats := coll.Stats()
	out := newReply()
	out.string("ns", ns.String())
	out.string("host", h.r.conn.Host)
	out.date("localTime", h.r.now.UnixMilli())
	for key, v := range value.Fields(spec) {
		switch key {
		case "storageStats":
			scale := int64(1)
			if doc, ok := v.DocumentOK(); ok {
				if n, ok := toLong(value.Field(doc, "scale")); ok && n > 0 {
					scale = n
				}
			}
			at := out.begin(key)
			appendCollStats(out, stats, scale)
			out.end(at)
		case "count":
			appendCount(out, key, stats.Count)
		case "latencyStats", "queryExecStats":
			at := out.begin(key)
			out.end(at)
		}
	}
	return out.doc(), nil
}

// IndexStats answers $indexStats.
func (h *pipelineHost) IndexStats(_ context.Context, ns pipeline.Namespace) iter.Seq2[bson.Raw, error] {
	return func(yield func(bson.Raw, error) bool) {
		coll, err := h.lookup(ns)
		if err != nil {
			yield(nil, err)
			return
		}
		if coll == nil {
			return
		}
		for _, ix := range coll.Stats().Indexes {
			out := newReply()
			out.string("name", ix.Name)
			out.value("key", value.Field(ix.Spec, "key"))
			out.string("host", h.r.conn.Host)
			at := out.begin("accesses")
			out.int64("ops", ix.Uses)
			out.date("since", h.r.e.started.UnixMilli())
			out.end(at)
			out.document("spec", ix.Spec)
			if !yield(out.doc(), nil) {
				return
			}
		}
	}
}

// Exists tells whether a collection exists.
func (h *pipelineHost) Exists(_ context.Context, ns pipeline.Namespace) (bool, error) {
	coll, err := h.lookup(ns)
	return coll != nil, err
}

// UniqueOn tells whether a unique index has exactly these fields.
func (h *pipelineHost) UniqueOn(_ context.Context, ns pipeline.Namespace, fields []string) (bool, error) {
	if len(fields) == 1 && fields[0] == "_id" {
		return true, nil
	}
	coll, err := h.lookup(ns)
	if err != nil || coll == nil {
		return false, err
	}
	want := slices.Sorted(slices.Values(fields))
	for _, spec := range coll.Indexes() {
		have, unique := indexFields(spec)
		slices.Sort(have)
		if unique && slices.Equal(want, have) {
			return true, nil
		}
	}
	return false, nil
}

// Replace is $out: it fills a temporary collection with the target's options and indexes, and
// renames it over the target.
func (h *pipelineHost) Replace(ctx context.Context, ns pipeline.Namespace, docs iter.Seq2[bson.Raw, error]) error {
	e, target := h.r.e, storageNamespace(ns)
	temp := storage.Namespace{DB: ns.DB, Coll: "tmp.agg_out." + bson.NewObjectID().Hex()}
	var opts storage.CollectionOptions
	old, err := e.store.Collection(nil, target)
	if err != nil {
		return err
	}
	if old != nil {
		if opts = old.Options(); opts.Capped {
			return mongoerr.New(17152, "namespace '%s' is capped so it can't be used for $out", target)
		}
	}
	coll, err := e.store.Create(ctx, nil, temp, opts)
	if err != nil {
		return err
	}
	if err := h.fill(ctx, coll, old, docs); err != nil {
		_, _ = e.store.Drop(context.WithoutCancel(ctx), temp)
		return err
	}
	if err := e.store.Rename(ctx, temp, target, true); err != nil {
		_, _ = e.store.Drop(context.WithoutCancel(ctx), temp)
		return err
	}
	h.r.noteWrite(e.store.LastOp())
	return nil
}

func (h *pipelineHost) fill(ctx context.Context, coll, old *storage.Collection, docs iter.Seq2[bson.Raw, error]) error {
	if old != nil {
		if specs := old.Indexes(); len(specs) > 1 {
			if _, _, err := coll.CreateIndexes(ctx, nil, specs[1:]); err != nil {
				return err
			}
		}
	}
	for doc, err := range docs {
		if err != nil {
			return err
		}
		fixed, err := h.r.e.fixForInsert(doc)
		if err != nil {
			return err
		}
		if _, err := coll.Insert(ctx, h.write, fixed); err != nil {
			return err
		}
	}
	return nil
}

// Insert inserts a document.
func (h *pipelineHost) Insert(ctx context.Context, ns pipeline.Namespace, doc bson.Raw) error {
	fixed, err := h.r.e.fixForInsert(doc)
	if err != nil {
		return err
	}
	coll, _, err := h.r.e.store.Ensure(ctx, nil, storageNamespace(ns))
	if err != nil {
		return err
	}
	at, err := coll.Insert(ctx, h.write, fixed)
	h.r.noteWrite(at)
	return err
}

// Update changes at most one document, as $merge asks.
func (h *pipelineHost) Update(ctx context.Context, ns pipeline.Namespace, u pipeline.Update) (int, error) {
	op := &updateOp{q: u.Filter, u: u.Change, upsert: u.Upsert, c: u.Let}
	if u.Upsert && u.Insert != nil {
		op.upsertSupplied, op.insert = true, u.Insert
	}
	res, err := h.r.performUpdate(ctx, storageNamespace(ns), h.write, op, h.r.env())
	if !value.IsMissing(res.upserted) {
		return 0, err
	}
	return res.n, err
}
