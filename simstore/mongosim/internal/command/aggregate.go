package command

import (
	"context"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/changestream"
	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	mqlexpr "github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/order"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pipeline"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

var aggregateFields = []string{
	"pipeline", "cursor", "explain", "allowDiskUse", "bypassDocumentValidation", "collation", "hint", "let",
	"runtimeConstants", "legacyRuntimeConstants", "needsMerge", "fromMongos", "exchange", "isMapReduceCommand",
}

// An aggregateOp is a parsed aggregate command.
type aggregateOp struct {
	ns        storage.Namespace // Coll is "$cmd.aggregate" for a database's
	stages    []bson.Raw
	pipe      *pipeline.Pipeline
	env       *mqlexpr.Env
	hint      storage.Hint
	batchSize int64
	bypass    bool
	explain   bool
}

// collectionless is the collection that cursors of a database's aggregation are said to belong to.
const collectionless = "$cmd.aggregate"

func aggregate(ctx context.Context, r *request, out *reply) error {
	r.onlyReads = true
	op, err := r.parseAggregate()
	if err != nil {
		return err
	}
	if spec, ok := changeStreamSpec(op.stages); ok {
		return r.openChangeStream(ctx, op, spec, out)
	}
	if op.pipe, err = pipeline.Parse(op.stages, op.pipelineNamespace(), op.env); err != nil {
		return err
	}
	if op.explain && r.session.autocommit {
		return notInTransaction("Operation not permitted in transaction :: caused by :: Explain for the aggregate command cannot run within a multi-document transaction")
	}
	if op.explain {
		return r.explainAggregate(ctx, op, "queryPlanner", out)
	}
	if r.session.autocommit {
		if err := r.checkStagesInTransaction(op.stages); err != nil {
			return err
		}
	}
	if target, ok := op.pipe.Writes(); ok {
		r.onlyReads = false
		if err := r.checkPipelineWrite(target); err != nil {
			return err
		}
	}
	return r.runPipeline(ctx, op, out)
}

func parseStages(r *request) error {
	op, err := r.parseAggregate()
	if err != nil {
		return err
	}
	if _, ok := changeStreamSpec(op.stages); ok {
		return nil
	}
	return pipeline.CheckStages(op.stages, op.pipelineNamespace(), op.env)
}

// checkStagesInTransaction refuses stages that no transaction may have, also in the pipelines of other stages.
func (r *request) checkStagesInTransaction(stages []bson.Raw) error {
	for _, s := range stages {
		for name, arg := range value.Fields(s) {
			switch name {
			case "$out", "$merge":
				return notInTransaction("%s cannot be used in a transaction", name)
			case "$collStats", "$indexStats":
				return notInTransaction("Stage not supported inside of a multi-document transaction: %s", name)
			case "$changeStream", "$currentOp", "$listLocalSessions", "$listSessions", "$planCacheStats":
				return notInTransaction("Operation not permitted in transaction :: caused by :: Aggregation stage %s cannot run within a multi-document transaction.", name)
			}
			if within, ok := r.unionWithin(name, arg); ok && !r.e.version.atLeast(5, 0) {
				return notInTransaction("Stage not supported inside of a multi-document transaction: %s", within)
			}
		}
	}
	return nil
}

// unionWithin looks for a $unionWith in a stage, and names the stage that is refused for it.
func (r *request) unionWithin(name string, arg bson.RawValue) (refused string, ok bool) {
	var pipelines []bson.RawValue
	switch {
	case name == "$unionWith":
		return name, true
	case arg.Type != bson.TypeEmbeddedDocument:
		return "", false
	case name == "$lookup":
		pipelines = append(pipelines, value.Field(arg.Value, "pipeline"))
	case name == "$facet":
		for _, p := range value.Fields(arg.Value) {
			pipelines = append(pipelines, p)
		}
	}
	for _, p := range pipelines {
		if p.Type != bson.TypeArray {
			continue
		}
		for _, stage := range value.Elements(p) {
			if stage.Type != bson.TypeEmbeddedDocument {
				continue
			}
			for inner, a := range value.Fields(stage.Value) {
				if refused, ok := r.unionWithin(inner, a); ok {
					if name == "$lookup" {
						refused = name
					}
					return refused, true
				}
			}
		}
	}
	return "", false
}

func notInTransaction(format string, args ...any) error {
	return mongoerr.New(mongoerr.OperationNotSupportedInTransaction, format, args...)
}

func (op *aggregateOp) pipelineNamespace() pipeline.Namespace {
	ns := pipeline.Namespace{DB: op.ns.DB, Coll: op.ns.Coll}
	if ns.Coll == collectionless {
		ns.Coll = ""
	}
	return ns
}

func (r *request) parseAggregate() (*aggregateOp, error) {
	op := &aggregateOp{ns: storage.Namespace{DB: r.db}, batchSize: -1}
	first := r.first()
	switch name, isName := first.StringValueOK(); {
	case isName:
		op.ns.Coll = name
		if err := checkNamespace(op.ns); err != nil {
			return nil, err
		}
	case first.IsNumber():
		if n, ok := toLong(first); !ok || n != 1 {
			return nil, mongoerr.New(mongoerr.FailedToParse, "Invalid command format: the 'aggregate' field must specify a collection name or 1")
		}
		op.ns.Coll = collectionless
	default:
		return nil, mongoerr.New(mongoerr.TypeMismatch, "collection name has invalid type %s", value.TypeName(first.Type))
	}
	stages := r.field("pipeline")
	if value.IsMissing(stages) || stages.Type != bson.TypeArray {
		return nil, mongoerr.New(mongoerr.TypeMismatch, "'pipeline' option must be specified as an array")
	}
	for _, v := range value.Elements(stages) {
		if v.Type != bson.TypeEmbeddedDocument {
			return nil, mongoerr.New(mongoerr.TypeMismatch, "Each element of the 'pipeline' array must be an object")
		}
		op.stages = append(op.stages, v.Document())
	}
	return op, r.parseAggregateOptions(op)
}

func (r *request) parseAggregateOptions(op *aggregateOp) error {
	var err error
	cursorGiven := !value.IsMissing(r.field("cursor"))
	if op.batchSize, err = r.cursorOption(); err != nil {
		return err
	}
	for _, name := range []string{"explain", "allowDiskUse"} {
		if v := r.field(name); !value.IsMissing(v) && v.Type != bson.TypeBoolean {
			return mongoerr.New(mongoerr.TypeMismatch, "%s must be a boolean, not a %s", name, value.TypeName(v.Type))
		}
	}
	op.explain = value.Truthy(r.field("explain"))
	if !cursorGiven && !op.explain {
		return mongoerr.New(mongoerr.FailedToParse, "The 'cursor' option is required, except for aggregate with the explain argument")
	}
	op.bypass = value.Truthy(r.field("bypassDocumentValidation"))
	if op.hint, err = parseHint(r.field("hint")); err != nil {
		return err
	}
	if err := refuseCollation(r.field("collation")); err != nil {
		return err
	}
	if !value.IsMissing(r.field("let")) && !r.e.version.atLeast(5, 0) {
		return unrecognizedOption(r, "let")
	}
	op.env, err = r.envWithLet()
	return err
}

// checkPipelineWrite refuses $out and $merge where they may not write.
func (r *request) checkPipelineWrite(target pipeline.Namespace) error {
	if r.rc.is(levelLinearizable) {
		return invalidOptions("$out and $merge cannot be used with a 'linearizable' read concern level")
	}
	if !r.e.topology.isPrimary() {
		return mongoerr.New(mongoerr.NotWritablePrimary, "not primary")
	}
	return checkWritable(storage.Namespace{DB: target.DB, Coll: target.Coll})
}

// runPipeline opens the pipeline's cursor and answers with its first batch.
func (r *request) runPipeline(ctx context.Context, op *aggregateOp, out *reply) error {
	inner := newCursorContext(ctx)
	docs, err := r.pipelineDocs(inner, op) //nolint:contextcheck // it hands on ctx, and later those of the getMores
	if err != nil {
		return err
	}
	c := &cursor{ns: op.ns, src: newSeqSource(docs), left: -1, ctx: inner, budget: r.timeBudget()}
	first := op.batchSize
	if first < 0 {
		first = defaultFirstBatch
	}
	b, err := c.fill(ctx, first)
	if err != nil {
		c.release()
		return orContext(ctx, err)
	}
	if !b.end {
		c.snap, r.readAt = r.readAt, nil
	}
	r.respond(c, op.ns.String(), b, nil, out)
	return nil
}

// pipelineDocs is the pipeline's output.
func (r *request) pipelineDocs(ctx context.Context, op *aggregateOp) (iter.Seq2[bson.Raw, error], error) {
	host := &pipelineHost{r: r, view: r.view(), write: storage.Write{Txn: r.txn, BypassValidation: op.bypass}}
	var in iter.Seq2[bson.Raw, error] = func(func(bson.Raw, error) bool) {}
	pipe := op.pipe
	if pipe.ReadsCollection() {
		coll, err := r.lookup(op.ns)
		if err != nil {
			return nil, err
		}
		if coll != nil {
			q, used := op.pushdown()
			cur, err := coll.Find(ctx, host.view, q)
			if err != nil {
				return nil, err
			}
			in, pipe = cur.All(ctx), pipe.From(used)
		}
	}
	return pipe.Run(ctx, host, in), nil
}

// pushdown is the part of the pipeline that the collection's query answers.
func (op *aggregateOp) pushdown() (q storage.Query, used int) {
	p := op.pipe.Pushdown()
	return storage.Query{Filter: p.Filter, SortSpec: sortSpec(p.Sort), Limit: p.Limit, Hint: op.hint}, p.Used
}

// sortSpec writes an order down again.
func sortSpec(o *order.Order) bson.Raw {
	if o == nil {
		return nil
	}
	spec := newReply()
	for _, f := range o.Fields() {
		dir := int32(1)
		if f.Desc {
			dir = -1
		}
		spec.int32(f.Path, dir)
	}
	return spec.doc()
}

// changeStreamSpec finds a leading $changeStream stage.
func changeStreamSpec(stages []bson.Raw) (bson.RawValue, bool) {
	if len(stages) == 0 {
		return bson.RawValue{}, false
	}
	for name, v := range value.Fields(stages[0]) {
		return v, name == "$changeStream"
	}
	return bson.RawValue{}, false
}

// openChangeStream opens a change stream's cursor.
func (r *request) openChangeStream(ctx context.Context, op *aggregateOp, stage bson.RawValue, out *reply) error {
	r.changeStream = true
	switch {
	case r.session.autocommit:
		return notInTransaction("Operation not permitted in transaction :: caused by :: Aggregation stage $changeStream cannot run within a multi-document transaction.")
	case r.rc.level != "" && r.rc.level != levelMajority:
		return invalidOptions("$changeStream cannot run with a readConcern other than 'majority'. Current readConcern: %s", r.rc.level)
	}
	spec := changestream.Spec{
		DB: op.ns.DB, Coll: op.ns.Coll, Stage: stage, Pipeline: op.stages[1:], Env: op.env,
	}
	if spec.Coll == collectionless {
		spec.Coll = ""
	}
	if doc, ok := stage.DocumentOK(); ok && value.Truthy(value.Field(doc, "allChangesForCluster")) {
		if spec.DB != "admin" || spec.Coll != "" {
			return invalidOptions("A $changeStream with 'allChangesForCluster:true' may only be opened on the 'admin' database, and with no collection name; found %s", op.ns)
		}
	} else if err := checkWatchable(op.ns); err != nil {
		return err
	}
	stream, err := changestream.Open(ctx, r.e.store, spec)
	if err != nil {
		return err
	}
	c := &cursor{ns: op.ns, stream: stream, left: -1}
	limit := op.batchSize
	if limit < 0 {
		limit = defaultFirstBatch
	}
	var b batch
	if limit > 0 {
		if b.docs, err = stream.Next(ctx, int(min(limit, 1<<30)), maxBatchBytes, time.Time{}); err != nil {
			stream.Close()
			return orContext(ctx, err)
		}
	}
	b.end = stream.Closed()
	r.respond(c, op.ns.String(), b, stream.Token(), out)
	return nil
}

// checkWatchable refuses change streams on the server's own databases.
func checkWatchable(ns storage.Namespace) error {
	switch {
	case ns.DB == "admin" || ns.DB == "local" || ns.DB == "config":
		return mongoerr.New(mongoerr.InvalidNamespace, "$changeStream may not be opened on the internal %s database", ns.DB)
	case ns.Coll != collectionless && len(ns.Coll) > 7 && ns.Coll[:7] == "system.":
		return mongoerr.New(mongoerr.InvalidNamespace, "$changeStream may not be opened on the internal %s collection", ns)
	}
	return nil
}
