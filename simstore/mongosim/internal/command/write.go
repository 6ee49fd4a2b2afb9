package command

import (
	"context"
	"errors"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// writeFields are the fields that insert, update and delete share.
var (
	insertFields = []string{"documents", "bypassDocumentValidation", "ordered", "runtimeConstants"}
	updateFields = []string{"updates", "bypassDocumentValidation", "ordered", "runtimeConstants", "let", "legacyRuntimeConstants"}
	deleteFields = []string{"deletes", "bypassDocumentValidation", "ordered", "let", "legacyRuntimeConstants"}
)

// A writeBatch is what insert, update and delete share.
type writeBatch struct {
	ns      storage.Namespace
	ordered bool
	write   storage.Write
	first   int32   // statement id of the first operation
	ids     []int32 // statement ids, when the client gave one for each
}

// parseBatch reads what the batch commands share; list is the name of their array.
func (r *request) parseBatch(list string) (writeBatch, []bson.Raw, error) {
	b := writeBatch{write: r.write()}
	name, ok := r.first().StringValueOK()
	if !ok {
		return b, nil, mongoerr.New(mongoerr.InvalidNamespace, "collection name has invalid type %s", value.TypeName(r.first().Type))
	}
	b.ns = storage.Namespace{DB: r.db, Coll: name}
	docs, present, err := r.documents(list)
	if err != nil {
		return b, nil, err
	}
	if !present {
		return b, nil, r.missing(list)
	}
	if b.ordered, err = r.bool("ordered", true); err != nil {
		return b, nil, err
	}
	if b.write.BypassValidation, err = r.bool("bypassDocumentValidation", false); err != nil {
		return b, nil, err
	}
	if len(docs) == 0 || len(docs) > maxWriteBatchSize {
		return b, nil, mongoerr.New(mongoerr.InvalidLength, "Write batch sizes must be between 1 and %d. Got %d operations.", maxWriteBatchSize, len(docs))
	}
	return b, docs, r.parseStatementIDs(&b, len(docs))
}

func (r *request) parseStatementIDs(b *writeBatch, n int) error {
	one, many := r.generic.stmtID, r.generic.stmtIDs
	if !value.IsMissing(one) {
		id, ok := toLong(one)
		if !ok {
			return r.wrongType("stmtId", one, "int")
		}
		b.first = int32(id)
	}
	if value.IsMissing(many) {
		return nil
	}
	if many.Type != bson.TypeArray {
		return notAnObject("stmtIds")
	}
	for _, v := range value.Elements(many) {
		id, ok := toLong(v)
		if !ok {
			return r.wrongType("stmtIds", v, "int")
		}
		b.ids = append(b.ids, int32(id))
	}
	switch {
	case len(b.ids) != n:
		return mongoerr.New(mongoerr.InvalidLength, "Number of statement ids must match the number of batch entries")
	case !value.IsMissing(one):
		return invalidOptions("May not specify both stmtId and stmtIds in write command")
	}
	return nil
}

// statement is the statement id of operation i.
func (b *writeBatch) statement(i int) int32 {
	if b.ids != nil {
		return b.ids[i]
	}
	return b.first + int32(i)
}

// retrying tells whether the command is a retryable write, whose statements are applied once.
func (r *request) retrying() bool { return r.checkedOut != nil && !r.session.autocommit }

// A statementResult is what is kept of a statement of a retryable write.
type statementResult struct {
	n, nModified int
	upserted     bson.RawValue // the _id; missing if nothing was
	// of a findAndModify
	found bool
	value bson.Raw
	image image
	kind  statementKind
}

// An image is which document of a findAndModify was kept.
type image int

const (
	noImage image = iota
	imageBefore
	imageAfter
)

type statementKind int

const (
	insertStatement statementKind = iota
	updateStatement
	deleteStatement
)

// executed returns the result of a statement that has been applied before.
func (r *request) executed(id int32) (statementResult, bool) {
	if !r.retrying() {
		return statementResult{}, false
	}
	res, ok := r.checkedOut.Statement(id)
	if !ok {
		return statementResult{}, false
	}
	return res.(statementResult), true
}

// record keeps the result of a statement that has changed something.
func (r *request) record(id int32, res statementResult) {
	if r.retrying() {
		r.checkedOut.Record(id, res)
	}
}

// A writeError is the refusal of one operation of a batch.
type writeError struct {
	index int
	err   *mongoerr.Error
}

// A writeResult is what a batch command reports.
type writeResult struct {
	n, nModified int
	upserted     []upserted
	errors       []writeError
}

type upserted struct {
	index int
	id    bson.RawValue
}

// fail notes the failure of an operation and tells whether the batch goes on. What concerns the whole
// command is returned.
func (r *request) fail(res *writeResult, index int, err error, ordered bool) (goOn bool, _ error) {
	if r.endsCommand(err) {
		return false, err
	}
	r.failedAt = true
	res.errors = append(res.errors, writeError{index, asError(err)})
	return !ordered && r.txn == nil, nil
}

// endsCommand tells errors that concern a whole command: interruptions, and in a transaction
// those after which it is to be tried again.
func (r *request) endsCommand(err error) bool {
	var e *mongoerr.Error
	if !errors.As(err, &e) {
		return true
	}
	switch e.Code {
	case mongoerr.LockTimeout, mongoerr.MaxTimeMSExpired, mongoerr.CursorKilled, mongoerr.ExceededTimeLimit,
		mongoerr.ClientDisconnect, mongoerr.InterruptedAtShutdown, mongoerr.Interrupted, mongoerr.InterruptedDueToReplStateChange:
		return true
	}
	return r.txn != nil && isTransient(e.Code, false, false)
}

// appendWriteErrors writes what all batch commands end their replies with.
func (r *request) appendWriteErrors(out *reply, res *writeResult) {
	if r.wc.unacknowledged() {
		out.reset()
		return
	}
	if len(res.errors) > 0 {
		at := out.beginArray("writeErrors")
		var idx indexKey
		for i, e := range res.errors {
			el := out.begin(string(idx.of(i)))
			out.int32("index", int32(e.index))
			out.int32("code", int32(e.err.Code))
			for _, f := range e.err.Fields {
				out.any(f.Key, f.Value)
			}
			out.string("errmsg", e.err.Message)
			out.end(el)
		}
		out.end(at)
	}
	out.opTime("opTime", r.operationTime())
	out.objectID("electionId", electionID())
}

// checkWritable refuses collections that clients may not write to.
func checkWritable(ns storage.Namespace) error {
	if ns.Coll == "system.profile" || ns.DB == "local" && ns.Coll == "oplog.rs" {
		return mongoerr.New(mongoerr.InvalidNamespace, "cannot write to '%s'", ns)
	}
	return checkCreatable(ns)
}

// checkBatchTarget is checkWritable for insert, update and delete.
func (r *request) checkBatchTarget(ns storage.Namespace) error {
	if err := r.checkSystemInTransaction(ns, 50791); err != nil {
		return err
	}
	return checkWritable(ns)
}

func (r *request) checkSystemInTransaction(ns storage.Namespace, code mongoerr.Code) error {
	if r.txn != nil && strings.HasPrefix(ns.Coll, "system.") {
		return mongoerr.New(code, "Cannot write to system collection %s within a transaction.", ns)
	}
	return nil
}

// lookup finds a collection; nil if there is none.
func (r *request) lookup(ns storage.Namespace) (*storage.Collection, error) {
	return r.e.store.Collection(r.txn, ns)
}

// canceled is the context's error, as the client is to see it.
func canceled(ctx context.Context) error {
	if ctx.Err() == nil {
		return nil
	}
	return contextError(ctx)
}
