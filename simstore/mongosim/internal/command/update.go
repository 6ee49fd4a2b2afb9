package command

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	mqlexpr "github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pipeline"
	mqlupdate "github.com/annals-es/annals/simstore/mongosim/internal/mql/update"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

func update(ctx context.Context, r *request, out *reply) error {
	b, ops, err := r.parseUpdates()
	if err != nil {
		return err
	}
	if err := r.checkBatchTarget(b.ns); err != nil {
		return err
	}
	env, err := r.envWithLet()
	if err != nil {
		return err
	}
	var res writeResult
	for i := range ops {
		goOn, err := r.updateStatement(ctx, &b, i, &ops[i], env, &res)
		if err != nil {
			return err
		}
		if !goOn {
			break
		}
	}
	out.int32("n", int32(res.n))
	out.int32("nModified", int32(res.nModified))
	if len(res.upserted) > 0 {
		at := out.beginArray("upserted")
		var idx indexKey
		for i, u := range res.upserted {
			el := out.begin(string(idx.of(i)))
			out.int32("index", int32(u.index))
			out.value("_id", u.id)
			out.end(el)
		}
		out.end(at)
	}
	r.appendWriteErrors(out, &res)
	return nil
}

func parseUpdates(r *request) error {
	_, _, err := r.parseUpdates()
	return err
}

func (r *request) parseUpdates() (writeBatch, []updateOp, error) {
	b, entries, err := r.parseBatch("updates")
	if err != nil {
		return b, nil, err
	}
	ops := make([]updateOp, len(entries))
	for i, e := range entries {
		if ops[i], err = r.parseUpdateOp(e); err != nil {
			return b, nil, err
		}
	}
	return b, ops, nil
}

// updateStatement performs one operation of a batch, unless it has been before.
func (r *request) updateStatement(ctx context.Context, b *writeBatch, i int, op *updateOp, env *mqlexpr.Env, res *writeResult) (goOn bool, _ error) {
	done, ok := r.executed(b.statement(i))
	if !ok {
		var err error
		if op.multi && r.retrying() {
			err = invalidOptions("Cannot use (or request) retryable writes with multi=true")
		} else {
			done, err = r.performUpdate(ctx, b.ns, b.write, op, env)
		}
		if err != nil {
			return r.fail(res, i, err, b.ordered)
		}
		if done.nModified > 0 || !value.IsMissing(done.upserted) {
			done.kind = updateStatement
			r.record(b.statement(i), done)
		}
	}
	res.n += done.n
	res.nModified += done.nModified
	if !value.IsMissing(done.upserted) {
		res.upserted = append(res.upserted, upserted{i, done.upserted})
	}
	return true, nil
}

// An updateOp is one operation of an update command.
type updateOp struct {
	q              bson.Raw
	u              bson.RawValue
	multi, upsert  bool
	upsertSupplied bool
	arrayFilters   []bson.Raw
	hint           storage.Hint
	sort           bson.Raw
	c              bson.Raw // variables for a pipeline
	insert         bson.Raw // with upsertSupplied: what to insert; otherwise c.new
}

func (r *request) parseUpdateOp(entry bson.Raw) (updateOp, error) {
	op := updateOp{}
	p := entryParser{r: r, where: r.cmd.name + ".updates"}
	for key, v := range value.Fields(entry) {
		switch key {
		case "q":
			op.q = p.document(key, v)
		case "u":
			if v.Type != bson.TypeEmbeddedDocument && v.Type != bson.TypeArray {
				p.fail(mongoerr.FailedToParse, "Update argument must be either an object or an array")
			}
			op.u = v
			p.stages(v)
		case "c":
			op.c = p.document(key, v)
		case "multi":
			if v.Type != bson.TypeBoolean {
				p.wrongType(key, v, "bool")
			}
			op.multi = value.Truthy(v)
		case "upsert":
			op.upsert = p.bool(key, v)
		case "upsertSupplied":
			op.upsertSupplied = p.bool(key, v)
		case "arrayFilters":
			op.arrayFilters = p.documents(key, v)
		case "hint":
			op.hint = p.hint(v)
		case "collation":
			p.check(refuseCollation(v))
		case "sort":
			if !r.e.version.atLeast(8, 0) {
				p.unknown(key)
			}
			op.sort = p.document(key, v)
		default:
			p.unknown(key)
		}
	}
	if op.q == nil {
		p.missing("q")
	}
	if value.IsMissing(op.u) {
		p.missing("u")
	}
	return op, p.err
}

// entryParser reads the fields of one operation of a batch and keeps the first error.
type entryParser struct {
	r     *request
	where string
	err   error
}

func (p *entryParser) check(err error) {
	if p.err == nil {
		p.err = err
	}
}

func (p *entryParser) fail(code mongoerr.Code, format string, args ...any) {
	p.check(mongoerr.New(code, format, args...))
}

func (p *entryParser) wrongType(key string, v bson.RawValue, want string) {
	p.fail(mongoerr.TypeMismatch, "BSON field '%s.%s' is the wrong type '%s', expected type '%s'", p.where, key, value.TypeName(v.Type), want)
}

func (p *entryParser) unknown(key string) {
	p.fail(40415, "BSON field '%s.%s' is an unknown field.", p.where, key)
}

func (p *entryParser) missing(key string) {
	p.fail(40414, "BSON field '%s.%s' is missing but a required field", p.where, key)
}

func (p *entryParser) document(key string, v bson.RawValue) bson.Raw {
	if v.Type != bson.TypeEmbeddedDocument {
		p.wrongType(key, v, "object")
		return nil
	}
	return v.Document()
}

// stages checks a pipeline as far as the whole command is refused for it.
func (p *entryParser) stages(v bson.RawValue) {
	if v.Type != bson.TypeArray {
		return
	}
	var stages []bson.Raw
	for _, e := range value.Elements(v) {
		if e.Type != bson.TypeEmbeddedDocument {
			p.fail(mongoerr.TypeMismatch, "Each element of the 'pipeline' array must be an object")
			return
		}
		stages = append(stages, e.Document())
	}
	p.check(pipeline.CheckStages(stages, pipeline.Namespace{}, p.r.env()))
}

func (p *entryParser) documents(key string, v bson.RawValue) []bson.Raw {
	if v.Type != bson.TypeArray {
		p.check(notAnObject(key))
		return nil
	}
	docs := []bson.Raw{}
	for _, e := range value.Elements(v) {
		if e.Type != bson.TypeEmbeddedDocument {
			p.wrongType(key, e, "object")
			return nil
		}
		docs = append(docs, e.Document())
	}
	return docs
}

func (p *entryParser) bool(key string, v bson.RawValue) bool {
	switch {
	case v.Type == bson.TypeBoolean, v.IsNumber():
		return value.Truthy(v)
	}
	p.wrongType(key, v, "bool")
	return false
}

func (p *entryParser) hint(v bson.RawValue) storage.Hint {
	h, err := parseHint(v)
	p.check(err)
	return h
}

// parseHint reads a hint: an index's name, its key pattern, or {$natural: ±1}.
func parseHint(v bson.RawValue) (storage.Hint, error) {
	switch v.Type {
	case 0:
		return storage.Hint{}, nil
	case bson.TypeString:
		return storage.Hint{Name: value.AsString(v)}, nil
	case bson.TypeEmbeddedDocument:
		doc := v.Document()
		if value.IsEmpty(doc) {
			return storage.Hint{}, nil
		}
		if n := value.Field(doc, "$natural"); !value.IsMissing(n) {
			dir, ok := toLong(n)
			if !ok || dir != 1 && dir != -1 {
				return storage.Hint{}, mongoerr.New(mongoerr.FailedToParse, "$natural hint must be 1 or -1")
			}
			return storage.Hint{Natural: int(dir)}, nil
		}
		return storage.Hint{Key: doc}, nil
	}
	return storage.Hint{}, mongoerr.New(mongoerr.FailedToParse, "Hint must be a string or an object")
}

// maxUpsertAttempts bounds how often an upsert starts again because another write made
// the document first.
const maxUpsertAttempts = 100

// performUpdate performs one operation, again when it meets a document that another upsert has just inserted.
func (r *request) performUpdate(ctx context.Context, ns storage.Namespace, w storage.Write, op *updateOp, env *mqlexpr.Env) (statementResult, error) {
	u, err := r.prepareUpdate(op, env)
	if err != nil {
		return statementResult{}, err
	}
	for attempt := 1; ; attempt++ {
		res, err := r.tryUpdate(ctx, ns, w, u)
		if err == nil || !op.upsert || op.multi || r.txn != nil || attempt == maxUpsertAttempts || !retryUpsert(err, u.filter) {
			return res, err
		}
	}
}

// A preparedUpdate is a parsed operation.
type preparedUpdate struct {
	*updateOp
	filter *match.Filter
	update *mqlupdate.Update
}

// prepareUpdate parses the update before the filter, as the server does.
func (r *request) prepareUpdate(op *updateOp, env *mqlexpr.Env) (*preparedUpdate, error) {
	u, err := mqlupdate.Parse(op.u, mqlupdate.Options{ArrayFilters: op.arrayFilters, Env: env, Multi: op.multi, Constants: op.c})
	if err != nil {
		return nil, err
	}
	features := match.AllFeatures
	if op.upsert {
		features &^= match.FeatureExpr
	}
	filter, err := match.ParseWith(op.q, env, features)
	if err != nil {
		return nil, err
	}
	return &preparedUpdate{op, filter, u}, nil
}

// retryUpsert tells whether an upsert that met a duplicate key may try again: its filter
// asks for exactly the values of that key.
func retryUpsert(err error, f *match.Filter) bool {
	if mongoerr.CodeOf(err) != mongoerr.DuplicateKey {
		return false
	}
	pattern, values := duplicateFields(asError(err))
	if pattern == nil {
		return false
	}
	equal := map[string]bson.RawValue{}
	conjuncts := f.Conjuncts()
	for _, p := range f.Equalities() {
		equal[p.Path] = p.Value
	}
	fields := 0
	for path := range value.Fields(pattern) {
		v, ok := equal[path]
		if !ok || !value.Equal(v, value.Field(values, path)) {
			return false
		}
		fields++
	}
	return fields == len(equal) && fields == len(conjuncts)
}

func duplicateFields(e *mongoerr.Error) (pattern, values bson.Raw) {
	for _, f := range e.Fields {
		doc, _ := f.Value.(bson.Raw)
		switch f.Key {
		case "keyPattern":
			pattern = doc
		case "keyValue":
			values = doc
		}
	}
	return pattern, values
}

// tryUpdate performs a prepared operation once.
func (r *request) tryUpdate(ctx context.Context, ns storage.Namespace, w storage.Write, u *preparedUpdate) (statementResult, error) {
	coll, err := r.lookup(ns)
	if err != nil {
		return statementResult{}, err
	}
	var res statementResult
	if coll != nil {
		if u.multi {
			res, err = r.updateMany(ctx, coll, w, u)
		} else {
			var m modification
			change := u.change(r) //nolint:contextcheck // an update's pipeline sees one document
			m, err = r.modifyOne(ctx, coll, w, storage.Query{Filter: u.filter, Hint: u.hint}, u.sort, change)
			if m.matched {
				res.n = 1
			}
			if m.Changed {
				res.nModified = 1
			}
		}
		if err != nil || res.n > 0 {
			return res, err
		}
	}
	if !u.upsert {
		return res, nil
	}
	id, _, err := r.upsert(ctx, ns, w, u)
	if err != nil {
		return res, err
	}
	return statementResult{n: 1, upserted: id}, nil
}

// upsert inserts what the operation makes of its filter.
func (r *request) upsert(ctx context.Context, ns storage.Namespace, w storage.Write, u *preparedUpdate) (id bson.RawValue, doc bson.Raw, err error) {
	if u.upsertSupplied {
		if doc = u.insert; doc == nil {
			doc, _ = value.Field(u.c, "new").DocumentOK()
		}
		if doc == nil {
			return id, nil, mongoerr.New(mongoerr.FailedToParse, "the parameter 'upsertSupplied' is set to 'true', but no document was supplied")
		}
	} else if doc, err = u.update.Upsert(u.filter); err != nil { //nolint:contextcheck // as above
		return id, nil, err
	}
	if doc, err = r.e.fixForUpsert(doc, u.update.IsReplacement()); err != nil {
		return id, nil, err
	}
	coll, _, err := r.e.store.Ensure(ctx, w.Txn, ns)
	if err != nil {
		return id, nil, err
	}
	at, err := coll.Insert(ctx, w, doc)
	if err != nil {
		return id, nil, err
	}
	r.noteWrite(at)
	return value.Field(doc, "_id"), doc, nil
}

// fixForUpsert gives the document an _id; only those of a replacement get their empty timestamps filled.
func (e *Engine) fixForUpsert(doc bson.Raw, fill bool) (bson.Raw, error) {
	id := value.Field(doc, "_id")
	if !value.IsMissing(id) {
		if err := checkID(id); err != nil {
			return nil, err
		}
	}
	if err := checkResult(doc); err != nil {
		return nil, err
	}
	doc = withIDFirst(doc, id)
	if fill {
		doc = e.store.FillTimestamps(doc)
	}
	return doc, nil
}

// checkResult refuses documents that an update has made too large or too deep.
func checkResult(doc bson.Raw) error {
	if len(doc) > maxDocumentSize {
		return mongoerr.New(17419, "Resulting document after update is larger than %d", maxDocumentSize)
	}
	if tooDeep(doc, maxStoredDepth) {
		return mongoerr.New(mongoerr.Overflow, "Document to be stored exceeds maximum nested object depth: %d", maxStoredDepth)
	}
	return nil
}
