package command

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	mqlexpr "github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/project"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

var findAndModifyFields = []string{
	"query", "sort", "remove", "update", "new", "fields", "upsert", "bypassDocumentValidation",
	"hint", "collation", "arrayFilters", "let", "runtimeConstants", "legacyRuntimeConstants",
}

// A findAndModifyOp is a parsed findAndModify command.
type findAndModifyOp struct {
	updateOp
	remove    bool
	returnNew bool
	fields    bson.Raw
	write     storage.Write
	stmt      int32
}

func findAndModify(ctx context.Context, r *request, out *reply) error {
	ns, err := r.collection()
	if err != nil {
		return err
	}
	op, err := r.parseFindAndModify()
	if err != nil {
		return err
	}
	if err := r.checkSystemInTransaction(ns, 50781); err != nil {
		return err
	}
	if err := checkWritable(ns); err != nil {
		return err
	}
	res, ok := r.executed(op.stmt)
	if !ok {
		env, err := r.envWithLet()
		if err != nil {
			return err
		}
		if res, err = r.performFindAndModify(ctx, ns, op, env); err != nil {
			return err
		}
	} else if err := op.checkRetry(res); err != nil {
		return err
	}
	at := out.begin("lastErrorObject")
	out.int32("n", int32(res.n))
	if !op.remove {
		out.bool("updatedExisting", res.found)
		out.value("upserted", res.upserted)
	}
	out.end(at)
	if res.value == nil {
		out.null("value")
	} else {
		out.document("value", res.value)
	}
	return nil
}

func (r *request) parseFindAndModify() (*findAndModifyOp, error) {
	op := &findAndModifyOp{write: r.write()}
	failed := func(text string) (*findAndModifyOp, error) {
		return nil, mongoerr.New(mongoerr.FailedToParse, "%s", text)
	}
	object := func(name string, code mongoerr.Code) (bson.Raw, error) {
		v := r.field(name)
		if value.IsMissing(v) {
			return nil, nil
		}
		if v.Type != bson.TypeEmbeddedDocument {
			return nil, mongoerr.New(code, "'%s' parameter must be an object, found %s", name, value.TypeName(v.Type))
		}
		return v.Document(), nil
	}
	if !value.IsMissing(r.field("let")) && !r.e.version.atLeast(5, 0) {
		return nil, unknownPlain(r, "let")
	}
	var err error
	for _, f := range []struct {
		dst  *bson.Raw
		name string
		code mongoerr.Code
	}{{&op.q, "query", 31160}, {&op.sort, "sort", 31174}, {&op.fields, "fields", 31175}} {
		if *f.dst, err = object(f.name, f.code); err != nil {
			return nil, err
		}
	}
	op.remove = value.Truthy(r.field("remove"))
	op.returnNew = value.Truthy(r.field("new"))
	op.upsert = value.Truthy(r.field("upsert"))
	op.write.BypassValidation = value.Truthy(r.field("bypassDocumentValidation"))
	op.u = r.field("update")
	if op.hint, err = parseHint(r.field("hint")); err != nil {
		return nil, err
	}
	if err := refuseCollation(r.field("collation")); err != nil {
		return nil, err
	}
	hasUpdate := !value.IsMissing(op.u)
	if hasUpdate && op.u.Type != bson.TypeEmbeddedDocument && op.u.Type != bson.TypeArray {
		return failed("Update argument must be either an object or an array")
	}
	if v := r.field("arrayFilters"); !value.IsMissing(v) {
		p := entryParser{r: r, where: r.cmd.name}
		if op.arrayFilters = p.documents("arrayFilters", v); p.err != nil {
			return nil, p.err
		}
	}
	if id, ok := toLong(r.generic.stmtID); ok {
		op.stmt = int32(id)
	}
	switch {
	case !op.remove && !hasUpdate:
		return failed("Either an update or remove=true must be specified")
	case op.remove && hasUpdate:
		return failed("Cannot specify both an update and remove=true")
	case op.remove && op.upsert:
		return failed("Cannot specify both upsert=true and remove=true")
	case op.remove && op.returnNew:
		return failed("Cannot specify both new=true and remove=true; 'remove' always returns the deleted document")
	case op.remove && op.arrayFilters != nil:
		return failed("Cannot specify arrayFilters and remove=true")
	case hasUpdate && op.u.Type == bson.TypeArray && op.arrayFilters != nil:
		return failed("Cannot specify arrayFilters and a pipeline update")
	}
	if op.q == nil {
		op.q = newReply().doc()
	}
	return op, nil
}

// checkRetry refuses a command sent again that is not the one that was applied.
func (op *findAndModifyOp) checkRetry(res statementResult) error {
	incompatible := func(code mongoerr.Code, kind string) error {
		return mongoerr.New(code, "findAndModify retry request is not compatible with previous write in the transaction of type: %s", kind)
	}
	switch {
	case res.kind == deleteStatement && !op.remove:
		return incompatible(40606, "d")
	case (res.kind == insertStatement || !value.IsMissing(res.upserted)) && !op.upsert:
		return incompatible(40608, "i")
	case res.kind != updateStatement || !value.IsMissing(res.upserted):
		return nil
	case op.returnNew && res.image != imageAfter:
		return mongoerr.New(40611, "findAndModify retry request wants the document after update returned, but only before update document is stored")
	case !op.returnNew && res.image != imageBefore:
		return mongoerr.New(40612, "findAndModify retry request wants the document before update returned, but only after update document is stored")
	}
	return nil
}

func (r *request) performFindAndModify(ctx context.Context, ns storage.Namespace, op *findAndModifyOp, env *mqlexpr.Env) (statementResult, error) {
	var u *preparedUpdate
	var filter *match.Filter
	var err error
	if op.remove {
		filter, err = match.Parse(op.q, env)
	} else if u, err = r.prepareUpdate(&op.updateOp, env); err == nil {
		filter = u.filter
	}
	if err != nil {
		return statementResult{}, err
	}
	var proj *project.Projection
	if op.fields != nil && !value.IsEmpty(op.fields) {
		if proj, err = project.Parse(op.fields, filter, env); err != nil {
			return statementResult{}, err
		}
		if op.returnNew && proj.Positional() {
			return statementResult{}, mongoerr.New(mongoerr.BadValue, "cannot use a positional projection and return the new document")
		}
	}
	for attempt := 1; ; attempt++ {
		res, err := r.tryFindAndModify(ctx, ns, op, u, filter)
		if err != nil && op.upsert && r.txn == nil && attempt < maxUpsertAttempts && retryUpsert(err, filter) {
			continue
		}
		if err == nil && proj != nil && res.value != nil {
			res.value, err = proj.Apply(res.value)
		}
		if err != nil {
			return res, err
		}
		if res.n > 0 {
			r.record(op.stmt, res)
		}
		return res, nil
	}
}

func (r *request) tryFindAndModify(ctx context.Context, ns storage.Namespace, op *findAndModifyOp, u *preparedUpdate, filter *match.Filter) (statementResult, error) {
	res := statementResult{kind: updateStatement}
	change := remove(filter)
	if u != nil {
		change = u.change(r) //nolint:contextcheck // an update's pipeline sees one document
	} else {
		res.kind = deleteStatement
	}
	coll, err := r.lookup(ns)
	if err != nil {
		return res, err
	}
	if coll != nil {
		m, err := r.modifyOne(ctx, coll, op.write, storage.Query{Filter: filter, Hint: op.hint}, op.sort, change)
		if err != nil {
			return res, err
		}
		if m.matched {
			res.n, res.found = 1, true
			res.value, res.image = m.Before, imageBefore
			if op.returnNew && m.After != nil {
				res.value, res.image = m.After, imageAfter
			}
			return res, nil
		}
	}
	if !op.upsert {
		return res, nil
	}
	id, doc, err := r.upsert(ctx, ns, op.write, u)
	if err != nil {
		return res, err
	}
	res.n, res.upserted = 1, id
	if op.returnNew {
		res.value = doc
	}
	return res, nil
}
