package command

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	mqlexpr "github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/order"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/project"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

var findFields = []string{
	"filter", "sort", "projection", "hint", "skip", "limit", "batchSize", "ntoreturn", "singleBatch", "max", "min",
	"returnKey", "showRecordId", "tailable", "oplogReplay", "noCursorTimeout", "awaitData", "allowPartialResults",
	"collation", "allowDiskUse", "let", "runtimeConstants", "legacyRuntimeConstants", "options", "term", "readOnce",
}

// A findOp is a parsed find command.
type findOp struct {
	ns          storage.Namespace
	query       storage.Query
	proj        *project.Projection
	batchSize   int64 // -1: not given
	singleBatch bool
	awaits      bool
	filter      bson.Raw // as it came
	projection  bson.Raw
	env         *mqlexpr.Env
}

func find(ctx context.Context, r *request, out *reply) error {
	op, err := r.parseFind()
	if err != nil {
		return err
	}
	coll, err := r.lookup(op.ns)
	if err != nil {
		return err
	}
	if coll == nil {
		appendCatalogBatch(out, 0, op.ns.String(), nil)
		return nil
	}
	if op.query.Tailable && !coll.Options().Capped {
		return mongoerr.New(mongoerr.BadValue, "error processing query: ns=%s: tailable cursor requested on non capped collection", op.ns)
	}
	limit := op.query.Limit
	op.query.Limit = 0
	if len(op.query.SortSpec) > 0 {
		op.query.Limit = limit // a sort keeps no more than it needs
	}
	cur, err := coll.Find(ctx, r.view(), op.query)
	if err != nil {
		return err
	}
	c := &cursor{ns: op.ns, src: &findSource{cur, op.proj}, tails: op.query.Tailable, waits: op.awaits, left: -1}
	if limit > 0 {
		c.left = limit
	}
	c.budget = r.timeBudget()
	first := op.batchSize
	if first < 0 {
		first = defaultFirstBatch
	}
	b, err := c.fill(ctx, first)
	if err != nil {
		c.release()
		return orContext(ctx, err)
	}
	b.end = b.end || op.singleBatch
	if !b.end {
		c.snap, r.readAt = r.readAt, nil // the cursor goes on reading at the snapshot
	}
	r.respond(c, op.ns.String(), b, nil, out)
	return nil
}

// orContext prefers the context's reason to an error that came of it.
func orContext(ctx context.Context, err error) error {
	if ctx.Err() != nil && mongoerr.CodeOf(err) != mongoerr.WriteConflict {
		return contextError(ctx)
	}
	return err
}

// timeBudget is what maxTimeMS leaves for further batches.
func (r *request) timeBudget() time.Duration {
	ms, err := parseMaxTimeMS(r.generic.maxTimeMS)
	if err != nil || ms == 0 {
		return 0
	}
	left := time.Duration(ms)*time.Millisecond - r.e.cfg.Now().Sub(r.now)
	return max(left, 1)
}

// parseFind reads and checks a find command.
func (r *request) parseFind() (*findOp, error) {
	name, ok := r.first().StringValueOK()
	if !ok {
		return nil, mongoerr.New(mongoerr.FailedToParse, "Failed to parse: find: %s. 'find' field must be of BSON type string.", shortText(r.first()))
	}
	op := &findOp{ns: storage.Namespace{DB: r.db, Coll: name}, batchSize: -1}
	if err := checkNamespace(op.ns); err != nil {
		return nil, err
	}
	if err := r.parseFindNumbers(op); err != nil {
		return nil, err
	}
	if err := r.parseFindFlags(op); err != nil {
		return nil, err
	}
	return op, r.parseFindQuery(op)
}

// findFailed words the refusal of a field of the wrong type.
func findFailed(name string, v bson.RawValue, want string) error {
	return mongoerr.New(mongoerr.FailedToParse, "Failed to parse: %s: %s. '%s' field must be of BSON type %s.", name, shortText(v), name, want)
}

func (r *request) findDocument(name string) (bson.Raw, error) {
	v := r.field(name)
	if value.IsMissing(v) {
		return nil, nil
	}
	if v.Type != bson.TypeEmbeddedDocument {
		return nil, findFailed(name, v, "object")
	}
	return v.Document(), nil
}

func (r *request) parseFindNumbers(op *findOp) error {
	for _, f := range []struct {
		name string
		dst  *int64
	}{{"skip", &op.query.Skip}, {"limit", &op.query.Limit}, {"batchSize", &op.batchSize}} {
		v := r.field(f.name)
		if value.IsMissing(v) {
			continue
		}
		n, ok := toLong(v)
		if !ok {
			return mongoerr.New(mongoerr.FailedToParse, "Failed to parse: %s. '%s' field must be numeric.", text(r.body), f.name)
		}
		if n < 0 {
			name := map[string]string{"skip": "Skip", "limit": "Limit", "batchSize": "BatchSize"}[f.name]
			return mongoerr.New(mongoerr.BadValue, "%s value must be non-negative, but received: %d", name, n)
		}
		*f.dst = n
	}
	return nil
}

func (r *request) parseFindFlags(op *findOp) error {
	flag := func(name string) (bool, error) {
		v := r.field(name)
		if value.IsMissing(v) {
			return false, nil
		}
		if v.Type != bson.TypeBoolean {
			return false, findFailed(name, v, "bool")
		}
		return value.AsBool(v), nil
	}
	var err error
	if op.singleBatch, err = flag("singleBatch"); err != nil {
		return err
	}
	if op.query.Tailable, err = flag("tailable"); err != nil {
		return err
	}
	if op.awaits, err = flag("awaitData"); err != nil {
		return err
	}
	if v := r.field("allowDiskUse"); !value.IsMissing(v) && v.Type != bson.TypeBoolean {
		return mongoerr.New(mongoerr.FailedToParse, "Failed to parse: allowDiskUse: %s. 'allowDiskUse' field must be of BSON type bool.", mqlexpr.Show(v))
	}
	for _, name := range []string{"returnKey", "showRecordId"} {
		on, err := flag(name)
		if err != nil {
			return err
		}
		if on {
			return mongoerr.New(mongoerr.CommandNotSupported, "mongosim does not support find with %s", name)
		}
	}
	switch {
	case op.awaits && !op.query.Tailable:
		return mongoerr.New(mongoerr.FailedToParse, "Cannot set 'awaitData' without also setting 'tailable'")
	case op.query.Tailable && op.singleBatch:
		return mongoerr.New(mongoerr.BadValue, "cannot use tailable option with the 'singleBatch' option")
	case op.query.Tailable && r.session.autocommit:
		return invalidOptions("It is illegal to open a tailable cursor in a transaction")
	}
	return nil
}

func (r *request) parseFindQuery(op *findOp) error {
	var err error
	if op.filter, err = r.findDocument("filter"); err != nil {
		return err
	}
	sort, err := r.findDocument("sort")
	if err != nil {
		return err
	}
	if op.projection, err = r.findDocument("projection"); err != nil {
		return err
	}
	if op.query.Hint, err = parseHint(r.field("hint")); err != nil {
		return err
	}
	if op.query.Min, err = r.findDocument("min"); err != nil {
		return err
	}
	if op.query.Max, err = r.findDocument("max"); err != nil {
		return err
	}
	if (op.query.Min != nil || op.query.Max != nil) && op.query.Hint.IsZero() {
		return mongoerr.New(51173, "When using min()/max() a hint of which index to use must be provided")
	}
	if err := refuseCollation(r.field("collation")); err != nil {
		return err
	}
	if !value.IsMissing(r.field("let")) && !r.e.version.atLeast(5, 0) {
		return unrecognizedField(r, "let")
	}
	if op.env, err = r.envWithLet(); err != nil {
		return err
	}
	if op.query.Filter, err = match.Parse(op.filter, op.env); err != nil {
		return err
	}
	if op.query.Tailable && !value.IsEmpty(sort) && value.ToDouble(value.Field(sort, "$natural")) != 1 {
		return mongoerr.New(mongoerr.BadValue, "cannot use tailable option with a sort other than {$natural: 1}")
	}
	if !value.IsEmpty(op.projection) {
		if op.proj, err = project.Parse(op.projection, op.query.Filter, op.env); err != nil {
			return err
		}
	}
	return setSort(&op.query, sort)
}

// setSort makes a query ordered by a sort specification; an empty one leaves the order to the plan.
func setSort(q *storage.Query, spec bson.Raw) error {
	if value.IsEmpty(spec) {
		return nil
	}
	if _, err := order.Parse(spec); err != nil {
		return err
	}
	q.SortSpec = spec
	return nil
}
