package command

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

func insert(ctx context.Context, r *request, out *reply) error {
	b, docs, err := r.parseBatch("documents")
	if err != nil {
		return err
	}
	if err := r.checkBatchTarget(b.ns); err != nil {
		return err
	}
	var res writeResult
	if err := r.insertAll(ctx, &b, docs, &res); err != nil {
		return err
	}
	out.int32("n", int32(res.n))
	r.appendWriteErrors(out, &res)
	return nil
}

func parseInsert(r *request) error {
	_, _, err := r.parseBatch("documents")
	return err
}

// insertAll inserts documents in runs: a run ends at a document that must not be
// inserted, because it is malformed or because it has been before. As on the server a command that is sent
// again does not try again what was refused, if a later document, its last one, was inserted.
func (r *request) insertAll(ctx context.Context, b *writeBatch, docs []bson.Raw, res *writeResult) error {
	run := make([]bson.Raw, 0, len(docs))
	start := 0
	_, lastDone := r.executed(b.statement(len(docs) - 1))
	flush := func() (bool, error) {
		goOn, err := r.insertRun(ctx, b, start, run, res)
		run = run[:0]
		return goOn, err
	}
	for i, doc := range docs {
		_, done := r.executed(b.statement(i))
		var fixed bson.Raw
		var err error
		if !done {
			fixed, err = r.e.fixForInsert(doc)
		}
		if !done && err == nil {
			if len(run) == 0 {
				start = i
			}
			run = append(run, fixed)
			continue
		}
		if done && lastDone {
			run = run[:0]
		}
		if goOn, err := flush(); err != nil || !goOn {
			return err
		}
		if done {
			res.n++
			continue
		}
		if goOn, err := r.fail(res, i, err, b.ordered); err != nil || !goOn {
			return err
		}
	}
	_, err := flush()
	return err
}

// insertRun inserts the documents at start and after of the batch.
func (r *request) insertRun(ctx context.Context, b *writeBatch, start int, docs []bson.Raw, res *writeResult) (goOn bool, err error) {
	if len(docs) == 0 {
		return true, nil
	}
	got, err := r.e.store.InsertMany(ctx, b.write, b.ns, docs, b.ordered)
	res.n += got.N
	r.noteWrite(got.Last)
	if r.retrying() {
		r.recordInserts(b, start, len(docs), got, err)
	}
	if err != nil {
		return false, err
	}
	for _, e := range got.Errors {
		if goOn, err = r.fail(res, start+e.Index, e.Err, b.ordered); err != nil || !goOn {
			return false, err
		}
	}
	return true, nil
}

func (r *request) recordInserts(b *writeBatch, start, n int, got storage.InsertResult, failed error) {
	if len(got.Errors) == 0 && failed == nil {
		for i := range n {
			r.record(b.statement(start+i), statementResult{n: 1, kind: insertStatement})
		}
		return
	}
	bad := map[int]bool{}
	for _, e := range got.Errors {
		bad[e.Index] = true
	}
	for i, left := 0, got.N; i < n && left > 0; i++ {
		if !bad[i] {
			r.record(b.statement(start+i), statementResult{n: 1, kind: insertStatement})
			left--
		}
	}
}

// maxStoredDepth is how deeply a stored document may nest.
const maxStoredDepth = 180

// fixForInsert checks a document that a client wants stored, puts its _id first, making one
// if need be, and fills empty timestamps.
func (e *Engine) fixForInsert(doc bson.Raw) (bson.Raw, error) {
	bad := func(format string, args ...any) (bson.Raw, error) {
		return nil, mongoerr.New(mongoerr.BadValue, format, args...)
	}
	if len(doc) > maxDocumentSize {
		return bad("object to insert too large. size in bytes: %d, max size: %d", len(doc), maxDocumentSize)
	}
	if tooDeep(doc, maxStoredDepth) {
		return nil, mongoerr.New(mongoerr.Overflow, "cannot insert document because it exceeds %d levels of nesting", maxStoredDepth)
	}
	var id bson.RawValue
	first, firstIsID, empty := true, false, false
	for key, v := range value.Fields(doc) {
		switch {
		case len(key) > 0 && key[0] == '$' && !e.version.atLeast(5, 0):
			return bad("Document can't have $ prefixed field names: %s", key)
		case key == "_id":
			if !value.IsMissing(id) {
				return bad("can't have multiple _id fields in one document")
			}
			if err := checkID(v); err != nil {
				return nil, err
			}
			id, firstIsID = v, first
		case v.Type == bson.TypeTimestamp:
			t, i := value.AsTimestamp(v)
			empty = empty || t == 0 && i == 0
		}
		first = false
	}
	if !firstIsID {
		doc = withIDFirst(doc, id)
	}
	if empty {
		doc = e.store.FillTimestamps(doc)
	}
	return doc, nil
}

// checkID refuses values that no _id may have.
func checkID(id bson.RawValue) error {
	switch id.Type {
	case bson.TypeRegex:
		return mongoerr.New(mongoerr.BadValue, "can't use a regex for _id")
	case bson.TypeUndefined:
		return mongoerr.New(mongoerr.BadValue, "can't use a undefined for _id")
	case bson.TypeArray:
		return mongoerr.New(mongoerr.BadValue, "can't use an array for _id")
	case bson.TypeEmbeddedDocument:
		return checkStorable(id.Document())
	}
	return nil
}

// checkStorable refuses names that begin with a dollar, however deep within an _id.
func checkStorable(doc bson.Raw) error {
	for key, v := range value.Fields(doc) {
		if len(key) > 0 && key[0] == '$' && key != "$ref" && key != "$id" && key != "$db" {
			return mongoerr.New(mongoerr.DollarPrefixedFieldName, "%s is not valid for storage.", key)
		}
		if v.Type == bson.TypeEmbeddedDocument || v.Type == bson.TypeArray {
			if err := checkStorable(bson.Raw(v.Value)); err != nil {
				return err
			}
		}
	}
	return nil
}

// withIDFirst moves _id to the front; a missing one becomes a new ObjectID.
func withIDFirst(doc bson.Raw, id bson.RawValue) bson.Raw {
	o := value.NewObject(len(doc) + 17)
	if value.IsMissing(id) {
		id = value.ObjectID(bson.NewObjectID())
	}
	o.Add("_id", id)
	for key, v := range value.Fields(doc) {
		if key != "_id" {
			o.Add(key, v)
		}
	}
	return o.Doc()
}

// tooDeep tells whether a document nests more than limit deep.
func tooDeep(doc bson.Raw, limit int) bool {
	if limit == 0 {
		return true
	}
	for _, v := range value.Fields(doc) {
		if (v.Type == bson.TypeEmbeddedDocument || v.Type == bson.TypeArray) && tooDeep(bson.Raw(v.Value), limit-1) {
			return true
		}
	}
	return false
}
