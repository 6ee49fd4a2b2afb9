package command

import (
	"context"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pipeline"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// explain tells how another command would be executed: which index, which bounds, and with
// executionStats how many keys and documents it looks at.
func explain(ctx context.Context, r *request, out *reply) error {
	inner, ok := r.first().DocumentOK()
	if !ok {
		return mongoerr.New(mongoerr.FailedToParse, "explain command requires a nested object")
	}
	verbosity := "allPlansExecution"
	if v := r.field("verbosity"); !value.IsMissing(v) {
		s, ok := v.StringValueOK()
		if !ok || s != "queryPlanner" && s != "executionStats" && s != "allPlansExecution" {
			return mongoerr.New(mongoerr.FailedToParse, "verbosity string must be one of {'queryPlanner', 'executionStats', 'allPlansExecution'}")
		}
		verbosity = s
	}
	sub := &request{e: r.e, conn: r.conn, msg: r.msg, body: inner, now: r.now, rc: r.rc, txn: r.txn, readAt: r.readAt}
	if err := parseRequest(sub); err != nil && mongoerr.CodeOf(err) != 40571 {
		return err
	}
	if sub.db != "" && sub.db != r.db {
		return mongoerr.New(mongoerr.InvalidNamespace, "Mismatched $db in explain command. Expected %s but got %s", r.db, sub.db)
	}
	sub.db = r.db
	if len(sub.fields) == 0 {
		return mongoerr.New(mongoerr.CommandNotFound, "Explain failed due to unknown command: ")
	}
	if sub.cmd = r.e.commands[sub.name]; sub.cmd == nil {
		return mongoerr.New(mongoerr.CommandNotFound, "Explain failed due to unknown command: %s", sub.name)
	}
	sub.session, sub.generic.maxTimeMS = r.session, bson.RawValue{}
	if err := sub.checkFields(); err != nil {
		return err
	}
	return sub.explainAs(ctx, verbosity, out)
}

func (r *request) explainAs(ctx context.Context, verbosity string, out *reply) error {
	switch r.cmd.name {
	case "find":
		op, err := r.parseFind()
		if err != nil {
			return err
		}
		return r.explainQuery(ctx, explained{ns: op.ns, query: op.query, filter: op.filter, projection: op.projection}, verbosity, out)
	case "count":
		op, err := r.parseCount()
		if err != nil {
			return err
		}
		return r.explainQuery(ctx, explained{ns: op.ns, query: op.query, filter: op.filter, top: "COUNT"}, verbosity, out)
	case "distinct":
		return r.explainFilter(ctx, "query", "", verbosity, out)
	case "findAndModify":
		top := "UPDATE"
		if value.Truthy(r.field("remove")) {
			top = "DELETE"
		}
		return r.explainFilter(ctx, "query", top, verbosity, out)
	case "aggregate":
		op, err := r.parseAggregateForExplain()
		if err != nil {
			return err
		}
		return r.explainAggregate(ctx, op, verbosity, out)
	case "update", "delete":
		return r.explainBatch(ctx, verbosity, out)
	}
	return mongoerr.New(mongoerr.IllegalOperation, "Cannot explain cmd: %s", r.cmd.name)
}

// explained is a query to explain; top is the stage above it, if any.
type explained struct {
	ns         storage.Namespace
	query      storage.Query
	filter     bson.Raw
	projection bson.Raw
	top        string
	optimized  bool // a pipeline of which nothing remains
}

// fast tells whether the command is executed without a parsed query: a count of everything, a write to one _id.
func (x explained) fast() bool {
	switch x.top {
	case "COUNT":
		return value.IsEmpty(x.filter)
	case "UPDATE", "DELETE":
		return storage.OnlyID(parsedQuery(x.filter))
	}
	return false
}

func (r *request) explainFilter(ctx context.Context, name, top, verbosity string, out *reply) error {
	ns, err := r.collection()
	if err != nil {
		return err
	}
	filter, err := r.document(name)
	if err != nil {
		return err
	}
	f, err := match.Parse(filter, r.env())
	if err != nil {
		return err
	}
	hint, err := parseHint(r.field("hint"))
	if err != nil {
		return err
	}
	return r.explainQuery(ctx, explained{ns: ns, query: storage.Query{Filter: f, Hint: hint}, filter: filter, top: top}, verbosity, out)
}

func (r *request) explainBatch(ctx context.Context, verbosity string, out *reply) error {
	ns, err := r.collection()
	if err != nil {
		return err
	}
	list, top := "updates", "UPDATE"
	if r.cmd.name == "delete" {
		list, top = "deletes", "DELETE"
	}
	ops, _, err := r.documents(list)
	if err != nil {
		return err
	}
	if len(ops) != 1 {
		return mongoerr.New(mongoerr.InvalidLength, "explained write batches must be of size 1")
	}
	filter, _ := value.Field(ops[0], "q").DocumentOK()
	f, err := match.Parse(filter, r.env())
	if err != nil {
		return err
	}
	hint, err := parseHint(value.Field(ops[0], "hint"))
	if err != nil {
		return err
	}
	return r.explainQuery(ctx, explained{ns: ns, query: storage.Query{Filter: f, Hint: hint}, filter: filter, top: top}, verbosity, out)
}

// explainQuery writes queryPlanner, and executionStats when asked for.
func (r *request) explainQuery(ctx context.Context, x explained, verbosity string, out *reply) error {
	plan, err := r.plan(ctx, x, verbosity != "queryPlanner")
	if err != nil {
		return err
	}
	if err := appendQueryPlanner(out, x, plan); err != nil {
		return err
	}
	if verbosity != "queryPlanner" {
		if err := appendExecution(out, x, plan); err != nil {
			return err
		}
	}
	r.appendServerInfo(out)
	return nil
}

// plan plans a query, and executes it for the counters.
func (r *request) plan(ctx context.Context, x explained, execute bool) (*storage.Plan, error) {
	coll, err := r.lookup(x.ns)
	if err != nil {
		return nil, err
	}
	if coll == nil {
		return storage.EOFPlan(), nil
	}
	x.query.FilterSpec = parsedQuery(x.filter)
	if !execute {
		return coll.Plan(r.view(), x.query)
	}
	cur, err := coll.Find(ctx, r.view(), x.query)
	if err != nil {
		return nil, err
	}
	defer cur.Close()
	for {
		_, ok, err := cur.Next(ctx)
		if err != nil {
			return nil, orContext(ctx, err)
		}
		if !ok {
			return cur.Plan(), nil
		}
	}
}

func appendQueryPlanner(out *reply, x explained, plan *storage.Plan) error {
	at := out.begin("queryPlanner")
	out.int32("plannerVersion", 1)
	out.string("namespace", x.ns.String())
	out.bool("indexFilterSet", false)
	if !x.fast() {
		out.document("parsedQuery", parsedQuery(x.filter))
	}
	if x.optimized {
		out.bool("optimizedPipeline", true)
	}
	stage, err := x.wrap(plan.Winning())
	if err != nil {
		return err
	}
	out.document("winningPlan", stage)
	out.documents("rejectedPlans", nil)
	out.end(at)
	return nil
}

func appendExecution(out *reply, x explained, plan *storage.Plan) error {
	stage, err := x.wrap(plan.Execution())
	if err != nil {
		return err
	}
	at := out.begin("executionStats")
	out.bool("executionSuccess", true)
	appendCount(out, "nReturned", plan.Returned)
	out.int32("executionTimeMillis", 0)
	appendCount(out, "totalKeysExamined", plan.KeysExamined)
	appendCount(out, "totalDocsExamined", plan.DocsExamined)
	out.document("executionStages", stage)
	out.end(at)
	return nil
}

// wrap puts the stages of the command above those of the query.
func (x explained) wrap(plan bson.D) (bson.Raw, error) {
	if len(plan) > 0 && plan[0].Value == "EOF" {
		return bson.Marshal(plan)
	}
	if x.top == "COUNT" && x.fast() {
		return bson.Marshal(bson.D{{Key: "stage", Value: "RECORD_STORE_FAST_COUNT"}})
	}
	if x.top != "" {
		plan = bson.D{{Key: "stage", Value: x.top}, {Key: "inputStage", Value: plan}}
	}
	if len(x.projection) > 0 && !value.IsEmpty(x.projection) {
		plan = bson.D{{Key: "stage", Value: projectionStage(x.projection)}, {Key: "transformBy", Value: x.projection}, {Key: "inputStage", Value: plan}}
	}
	return bson.Marshal(plan)
}

// projectionStage names the stage that makes a projection: a simple one only takes or leaves whole fields.
func projectionStage(projection bson.Raw) string {
	for path, v := range value.Fields(projection) {
		if strings.ContainsAny(path, ".$") || !v.IsNumber() && v.Type != bson.TypeBoolean {
			return "PROJECTION_DEFAULT"
		}
	}
	return "PROJECTION_SIMPLE"
}

// parsedQuery shows a filter with its equalities written out, as the server does.
func parsedQuery(filter bson.Raw) bson.Raw {
	out := newReply()
	var parts []bson.Raw
	for key, v := range value.Fields(filter) {
		part := newReply()
		if alternatives, ok := parsedList(key, v); ok {
			if len(alternatives) == 1 && key != "$nor" {
				parts = append(parts, alternatives[0])
				continue
			}
			part.documents(key, alternatives)
			parts = append(parts, part.doc())
			continue
		}
		if doc, ok := v.DocumentOK(); len(key) > 0 && key[0] == '$' || ok && v.Type == bson.TypeEmbeddedDocument && hasOperators(doc) || v.Type == bson.TypeRegex {
			part.value(key, v)
		} else {
			at := part.begin(key)
			part.value("$eq", v)
			part.end(at)
		}
		parts = append(parts, part.doc())
	}
	switch len(parts) {
	case 0:
	case 1:
		return parts[0]
	default:
		out.documents("$and", parts)
	}
	return out.doc()
}

// parsedList is parsedQuery for the filters of a logical operator.
func parsedList(key string, v bson.RawValue) (list []bson.Raw, ok bool) {
	if key != "$and" && key != "$or" && key != "$nor" {
		return nil, false
	}
	for _, e := range value.Elements(v) {
		list = append(list, parsedQuery(bson.Raw(e.Value)))
	}
	return list, true
}

func (r *request) appendServerInfo(out *reply) {
	at := out.begin("serverInfo")
	out.string("host", r.conn.Host)
	out.int32("port", 27017)
	out.string("version", r.e.version.String())
	out.string("gitVersion", "mongosim")
	out.end(at)
}

// parseAggregateForExplain is parseAggregate for a command that needs no cursor option.
func (r *request) parseAggregateForExplain() (*aggregateOp, error) {
	r.fields = append(r.fields, field{"explain", value.Bool(true)})
	op, err := r.parseAggregate()
	if err != nil {
		return nil, err
	}
	op.pipe, err = pipeline.Parse(op.stages, op.pipelineNamespace(), op.env)
	return op, err
}

// explainAggregate shows the query in front of a pipeline, and the stages that remain.
func (r *request) explainAggregate(ctx context.Context, op *aggregateOp, verbosity string, out *reply) error {
	x := explained{ns: op.ns}
	rest := op.stages
	if op.pipe.ReadsCollection() {
		q, used := op.pushdown()
		x.query, rest = q, op.stages[used:]
		if len(op.stages) > 0 {
			x.filter, _ = value.Field(op.stages[0], "$match").DocumentOK()
		}
	}
	if x.optimized = len(rest) == 0; x.optimized {
		return r.explainQuery(ctx, x, verbosity, out)
	}
	plan, err := r.plan(ctx, x, verbosity != "queryPlanner")
	if err != nil {
		return err
	}
	cursorStage := newReply()
	at := cursorStage.begin("$cursor")
	if err := appendQueryPlanner(cursorStage, x, plan); err != nil {
		return err
	}
	if verbosity != "queryPlanner" {
		if err := appendExecution(cursorStage, x, plan); err != nil {
			return err
		}
	}
	cursorStage.end(at)
	out.documents("stages", append([]bson.Raw{cursorStage.doc()}, rest...))
	r.appendServerInfo(out)
	return nil
}

func hasOperators(u bson.Raw) bool {
	for key := range value.Fields(u) {
		return len(key) > 0 && key[0] == '$'
	}
	return false
}
