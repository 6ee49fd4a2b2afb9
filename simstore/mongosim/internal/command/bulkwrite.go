package command

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	mqlexpr "github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

var bulkWriteFields = []string{
	"ops", "nsInfo", "ordered", "bypassDocumentValidation", "let", "errorsOnly", "cursor", "stmtId", "stmtIds",
}

// A bulkWriteOp is a parsed bulkWrite command: inserts, updates and deletes on several
// collections at once.
type bulkWriteOp struct {
	writeBatch
	ops        []bson.Raw
	targets    []storage.Namespace
	errorsOnly bool
	batchSize  int64
	env        *mqlexpr.Env
}

// bulkResult is what bulkWrite reports.
type bulkResult struct {
	errors, inserted, matched, modified, upserted, deleted int
	replies                                                []bson.Raw
}

func bulkWrite(ctx context.Context, r *request, out *reply) error {
	op, err := r.parseBulkWrite()
	if err != nil {
		return err
	}
	var res bulkResult
	for i, spec := range op.ops {
		if err := r.bulkOp(ctx, op, i, spec, &res); err != nil {
			if r.endsCommand(err) {
				return err
			}
			r.failedAt = true
			res.errors++
			res.replies = append(res.replies, bulkError(i, asError(err)))
			if op.ordered || r.txn != nil {
				break
			}
		}
	}
	return r.respondBulk(ctx, op, &res, out)
}

func (r *request) respondBulk(ctx context.Context, op *bulkWriteOp, res *bulkResult, out *reply) error {
	size := op.batchSize
	if size < 0 {
		size = int64(len(res.replies)) + 1
	}
	ns := storage.Namespace{DB: "admin", Coll: "$cmd.bulkWrite"}
	c := &cursor{ns: ns, src: &sliceSource{res.replies}, left: int64(len(res.replies))}
	b, err := c.fill(ctx, size)
	if err != nil {
		return err
	}
	b.end = b.end || len(res.replies) == 0
	r.respond(c, ns.String(), b, nil, out)
	for _, f := range []struct {
		name string
		n    int
	}{
		{"nErrors", res.errors},
		{"nInserted", res.inserted},
		{"nMatched", res.matched},
		{"nModified", res.modified},
		{"nUpserted", res.upserted},
		{"nDeleted", res.deleted},
	} {
		out.int32(f.name, int32(f.n))
	}
	return nil
}

func (r *request) parseBulkWrite() (*bulkWriteOp, error) {
	op := &bulkWriteOp{}
	op.write = r.write()
	var err error
	var present bool
	if op.ops, present, err = r.documents("ops"); err != nil {
		return nil, err
	} else if !present {
		return nil, r.missing("ops")
	}
	infos, present, err := r.documents("nsInfo")
	if err != nil {
		return nil, err
	}
	if !present {
		return nil, r.missing("nsInfo")
	}
	if len(op.ops) == 0 || len(op.ops) > maxWriteBatchSize {
		return nil, mongoerr.New(mongoerr.InvalidLength, "Write batch sizes must be between 1 and %d. Got %d operations.", maxWriteBatchSize, len(op.ops))
	}
	for _, info := range infos {
		name, ok := value.Field(info, "ns").StringValueOK()
		if !ok {
			return nil, mongoerr.New(40414, "BSON field 'bulkWrite.nsInfo.ns' is missing but a required field")
		}
		ns := storage.ParseNamespace(name)
		if err := checkDatabase(ns.DB); err != nil {
			return nil, err
		}
		if err := checkWritable(ns); err != nil {
			return nil, err
		}
		op.targets = append(op.targets, ns)
	}
	if op.ordered, err = r.bool("ordered", true); err != nil {
		return nil, err
	}
	if op.errorsOnly, err = r.bool("errorsOnly", false); err != nil {
		return nil, err
	}
	if op.write.BypassValidation, err = r.bool("bypassDocumentValidation", false); err != nil {
		return nil, err
	}
	if op.batchSize, err = r.cursorOption(); err != nil {
		return nil, err
	}
	if err := r.parseStatementIDs(&op.writeBatch, len(op.ops)); err != nil {
		return nil, err
	}
	op.env, err = r.envWithLet()
	return op, err
}

// bulkOp performs one operation of a bulkWrite.
func (r *request) bulkOp(ctx context.Context, op *bulkWriteOp, i int, spec bson.Raw, res *bulkResult) error {
	kind, index, err := bulkKind(spec)
	if err != nil {
		return err
	}
	if index < 0 || index >= int64(len(op.targets)) {
		return mongoerr.New(mongoerr.BadValue, "BulkWrite ops entry %d has an invalid nsInfo index.", i)
	}
	ns := op.targets[index]
	done, again := r.executed(op.statement(i))
	if !again {
		if done, err = r.bulkApply(ctx, op, kind, ns, spec); err != nil {
			return err
		}
		if done.n > 0 && (kind != "update" || done.nModified > 0 || !value.IsMissing(done.upserted)) {
			r.record(op.statement(i), done)
		}
	}
	row := newReply()
	row.double("ok", 1)
	row.int32("idx", int32(i))
	row.int32("n", int32(done.n))
	switch kind {
	case "insert":
		res.inserted += done.n
	case "delete":
		res.deleted += done.n
	default:
		row.int32("nModified", int32(done.nModified))
		res.modified += done.nModified
		if value.IsMissing(done.upserted) {
			res.matched += done.n
		} else {
			res.upserted++
			at := row.begin("upserted")
			row.value("_id", done.upserted)
			row.end(at)
		}
	}
	if !op.errorsOnly {
		res.replies = append(res.replies, row.doc())
	}
	return nil
}

func bulkKind(spec bson.Raw) (kind string, index int64, err error) {
	for key, v := range value.Fields(spec) {
		n, ok := toLong(v)
		if !ok || key != "insert" && key != "update" && key != "delete" {
			break
		}
		return key, n, nil
	}
	return "", 0, mongoerr.New(mongoerr.FailedToParse, "BSON field 'bulkWrite.ops' entries must start with insert, update or delete and the index of a namespace")
}

func (r *request) bulkApply(ctx context.Context, op *bulkWriteOp, kind string, ns storage.Namespace, spec bson.Raw) (statementResult, error) {
	switch kind {
	case "insert":
		doc, ok := value.Field(spec, "document").DocumentOK()
		if !ok {
			return statementResult{}, mongoerr.New(40414, "BSON field 'insert.document' is missing but a required field")
		}
		fixed, err := r.e.fixForInsert(doc)
		if err != nil {
			return statementResult{}, err
		}
		coll, _, err := r.e.store.Ensure(ctx, r.txn, ns)
		if err != nil {
			return statementResult{}, err
		}
		at, err := coll.Insert(ctx, op.write, fixed)
		r.noteWrite(at)
		return statementResult{n: 1, kind: insertStatement}, err
	case "delete":
		d, err := r.parseBulkDelete(spec)
		if err != nil {
			return statementResult{}, err
		}
		n, err := r.performDelete(ctx, ns, op.write, d, op.env)
		return statementResult{n: n, kind: deleteStatement}, err
	}
	u, err := r.parseBulkUpdate(spec)
	if err != nil {
		return statementResult{}, err
	}
	res, err := r.performUpdate(ctx, ns, op.write, u, op.env)
	res.kind = updateStatement
	return res, err
}

func (r *request) parseBulkDelete(spec bson.Raw) (*deleteOp, error) {
	op := &deleteOp{}
	p := entryParser{r: r, where: "bulkWrite.ops"}
	for key, v := range value.Fields(spec) {
		switch key {
		case "delete":
		case "filter":
			op.q = p.document(key, v)
		case "multi":
			op.multi = p.bool(key, v)
		case "hint":
			op.hint = p.hint(v)
		case "collation":
			p.check(refuseCollation(v))
		default:
			p.unknown(key)
		}
	}
	if op.q == nil {
		p.missing("filter")
	}
	if op.multi && r.retrying() {
		p.check(invalidOptions("Cannot use (or request) retryable writes with multi=true"))
	}
	return op, p.err
}

func (r *request) parseBulkUpdate(spec bson.Raw) (*updateOp, error) {
	op := &updateOp{}
	p := entryParser{r: r, where: "bulkWrite.ops"}
	for key, v := range value.Fields(spec) {
		switch key {
		case "update":
		case "filter":
			op.q = p.document(key, v)
		case "updateMods":
			op.u = v
		case "constants":
			op.c = p.document(key, v)
		case "multi":
			op.multi = p.bool(key, v)
		case "upsert":
			op.upsert = p.bool(key, v)
		case "arrayFilters":
			op.arrayFilters = p.documents(key, v)
		case "hint":
			op.hint = p.hint(v)
		case "sort":
			op.sort = p.document(key, v)
		case "collation":
			p.check(refuseCollation(v))
		default:
			p.unknown(key)
		}
	}
	if op.q == nil {
		p.missing("filter")
	}
	if value.IsMissing(op.u) {
		p.missing("updateMods")
	}
	if op.multi && r.retrying() {
		p.check(invalidOptions("Cannot use (or request) retryable writes with multi=true"))
	}
	return op, p.err
}

func bulkError(i int, err *mongoerr.Error) bson.Raw {
	row := newReply()
	row.double("ok", 0)
	row.int32("idx", int32(i))
	row.int32("code", int32(err.Code))
	for _, f := range err.Fields {
		row.any(f.Key, f.Value)
	}
	row.string("errmsg", err.Message)
	row.int32("n", 0)
	return row.doc()
}
