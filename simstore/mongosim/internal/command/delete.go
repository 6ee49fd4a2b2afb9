package command

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	mqlexpr "github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

func deleteCommand(ctx context.Context, r *request, out *reply) error {
	b, ops, err := r.parseDeletes()
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
		goOn, err := r.deleteStatement(ctx, &b, i, &ops[i], env, &res)
		if err != nil {
			return err
		}
		if !goOn {
			break
		}
	}
	out.int32("n", int32(res.n))
	r.appendWriteErrors(out, &res)
	return nil
}

func parseDeletes(r *request) error {
	_, _, err := r.parseDeletes()
	return err
}

func (r *request) parseDeletes() (writeBatch, []deleteOp, error) {
	b, entries, err := r.parseBatch("deletes")
	if err != nil {
		return b, nil, err
	}
	ops := make([]deleteOp, len(entries))
	for i, e := range entries {
		if ops[i], err = r.parseDeleteOp(e); err != nil {
			return b, nil, err
		}
	}
	return b, ops, nil
}

func (r *request) deleteStatement(ctx context.Context, b *writeBatch, i int, op *deleteOp, env *mqlexpr.Env, res *writeResult) (goOn bool, _ error) {
	if done, ok := r.executed(b.statement(i)); ok {
		res.n += done.n
		return true, nil
	}
	n := 0
	var err error
	if op.multi && r.retrying() {
		err = invalidOptions("Cannot use (or request) retryable writes with limit=0")
	} else {
		n, err = r.performDelete(ctx, b.ns, b.write, op, env)
	}
	res.n += n
	if err != nil {
		return r.fail(res, i, err, b.ordered)
	}
	if n > 0 {
		r.record(b.statement(i), statementResult{n: n, kind: deleteStatement})
	}
	return true, nil
}

// A deleteOp is one operation of a delete command.
type deleteOp struct {
	q     bson.Raw
	multi bool
	hint  storage.Hint
}

func (r *request) parseDeleteOp(entry bson.Raw) (deleteOp, error) {
	op := deleteOp{}
	p := entryParser{r: r, where: r.cmd.name + ".deletes"}
	limited := false
	for key, v := range value.Fields(entry) {
		switch key {
		case "q":
			op.q = p.document(key, v)
		case "limit":
			limited = true
			limit := 0.0
			if v.IsNumber() {
				limit = value.ToDouble(v)
			}
			if limit != 0 && limit != 1 {
				p.fail(mongoerr.FailedToParse, "The limit field in delete objects must be 0 or 1. Got %v", limit)
			}
			op.multi = limit == 0
		case "hint":
			op.hint = p.hint(v)
		case "collation":
			p.check(refuseCollation(v))
		default:
			p.unknown(key)
		}
	}
	if op.q == nil {
		p.missing("q")
	}
	if !limited {
		p.missing("limit")
	}
	return op, p.err
}

func (r *request) performDelete(ctx context.Context, ns storage.Namespace, w storage.Write, op *deleteOp, env *mqlexpr.Env) (int, error) {
	filter, err := match.Parse(op.q, env)
	if err != nil {
		return 0, err
	}
	coll, err := r.lookup(ns)
	if err != nil || coll == nil {
		return 0, err
	}
	q := storage.Query{Filter: filter, Hint: op.hint}
	if !op.multi {
		m, err := r.modifyOne(ctx, coll, w, q, nil, remove(filter))
		if m.matched && err == nil {
			return 1, nil
		}
		return 0, err
	}
	ids, err := matching(ctx, coll, storage.View{Txn: w.Txn}, q)
	if err != nil {
		return 0, err
	}
	n, change := 0, remove(filter)
	for _, id := range ids {
		if err := canceled(ctx); err != nil {
			return n, err
		}
		m, err := coll.Modify(ctx, w, id, func(doc bson.Raw) (storage.Change, error) {
			c, _, err := change(doc)
			return c, err
		})
		if err != nil {
			return n, err
		}
		r.noteWrite(m.Time)
		if m.Changed {
			n++
		}
	}
	return n, nil
}

// remove deletes a document that still matches.
func remove(filter *match.Filter) changeFunc {
	return func(cur bson.Raw) (storage.Change, bool, error) {
		ok, err := filter.Match(cur)
		return storage.Change{Delete: ok}, ok, err
	}
}
