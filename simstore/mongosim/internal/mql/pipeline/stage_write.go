package pipeline

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// outStage is $out.
type outStage struct {
	plain
	ns Namespace
}

func outTarget(p *parser, arg bson.RawValue) (Namespace, error) {
	switch arg.Type {
	case bson.TypeString:
		return Namespace{p.ns.DB, value.AsString(arg)}, nil
	case bson.TypeEmbeddedDocument:
		db, coll := value.Field(arg.Value, "db"), value.Field(arg.Value, "coll")
		if value.Len(arg) != 2 || db.Type != bson.TypeString || coll.Type != bson.TypeString {
			return Namespace{}, fail(16994, "If an object is passed to $out it must have exactly 2 fields: 'db' and 'coll'")
		}
		return Namespace{value.AsString(db), value.AsString(coll)}, nil
	default:
		return Namespace{}, fail(16990, "$out only supports a string or object argument, but found %s", value.TypeName(arg.Type))
	}
}

func checkOut(p *parser, arg bson.RawValue) error {
	ns, err := outTarget(p, arg)
	if err == nil && strings.ContainsRune(ns.Coll, '$') {
		return fail(mongoerr.IllegalOperation, "error with target namespace: invalid collection name")
	}
	if err == nil && !validCollection(ns.Coll) {
		err = fail(mongoerr.InvalidNamespace, "Invalid $out target namespace, %s", ns)
	}
	return err
}

func parseOut(p *parser, arg bson.RawValue) ([]stage, error) {
	ns, err := outTarget(p, arg)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(ns.Coll, "system.") {
		return nil, fail(17385, "Can't $out to special collection: %s", ns.Coll)
	}
	if internalDatabase(ns.DB) {
		return nil, fail(31321, "Can't $out to internal database: %s", ns.DB)
	}
	return []stage{&outStage{ns: ns}}, nil
}

func internalDatabase(db string) bool { return db == "admin" || db == "local" || db == "config" }

func (s *outStage) target() Namespace { return s.ns }

func (s *outStage) run(r *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		if err := r.host.Replace(r.ctx, s.ns, in); err != nil {
			yield(nil, err)
		}
	}
}

// mergeStage is $merge.
type mergeStage struct {
	ns         Namespace
	on         [][]string
	matched    string // replace, keepExisting, merge, fail or pipeline
	notMatched string // insert, discard or fail
	pipeline   bson.RawValue
	letNames   []string
	let        []*expr.Expr
}

// mergeArg reads what can be checked without the collection.
func mergeArg(p *parser, arg bson.RawValue) (*mergeStage, bson.RawValue, error) {
	m := &mergeStage{matched: "merge", notMatched: "insert"}
	var let bson.RawValue
	switch arg.Type {
	case bson.TypeString:
		m.ns = Namespace{p.ns.DB, value.AsString(arg)}
		return m, let, nil
	case bson.TypeEmbeddedDocument:
	default:
		return nil, let, fail(mongoerr.TypeMismatch, "$merge requires a string or object argument, but found %s", value.TypeName(arg.Type))
	}
	hasTarget := false
	for k, v := range value.Fields(arg.Value) {
		var err error
		switch k {
		case "into":
			hasTarget = true
			m.ns, err = mergeTarget(p.ns.DB, v)
		case "on":
			m.on, err = mergeOn(v)
		case "let":
			if let = v; v.Type != bson.TypeEmbeddedDocument {
				err = fail(mongoerr.TypeMismatch, "BSON field '$merge.let' is the wrong type '%s', expected type 'object'", value.TypeName(v.Type))
			}
		case "whenMatched":
			err = m.whenMatched(v)
		case "whenNotMatched":
			m.notMatched = value.AsString(v)
			if v.Type != bson.TypeString {
				err = fail(mongoerr.TypeMismatch, "BSON field '$merge.whenNotMatched' is the wrong type '%s', expected type 'string'", value.TypeName(v.Type))
			} else if m.notMatched != "insert" && m.notMatched != "discard" && m.notMatched != "fail" {
				err = fail(mongoerr.BadValue, "Enumeration value '%s' for field '$merge.whenNotMatched' is not a valid value.", m.notMatched)
			}
		default:
			err = fail(40415, "BSON field '$merge.%s' is an unknown field.", k)
		}
		if err != nil {
			return nil, let, err
		}
	}
	if !hasTarget {
		return nil, let, fail(40414, "BSON field '$merge.into' is missing but a required field")
	}
	return m, let, nil
}

func mergeTarget(db string, v bson.RawValue) (Namespace, error) {
	switch v.Type {
	case bson.TypeString:
		return Namespace{db, value.AsString(v)}, nil
	case bson.TypeEmbeddedDocument:
		ns := Namespace{DB: db}
		for k, e := range value.Fields(v.Value) {
			if e.Type != bson.TypeString || k != "db" && k != "coll" {
				return ns, fail(51178, "$merge 'into' field must specify a 'coll' and optionally a 'db', both strings")
			}
			if k == "db" {
				ns.DB = value.AsString(e)
			} else {
				ns.Coll = value.AsString(e)
			}
		}
		if ns.Coll == "" {
			return ns, fail(51178, "$merge 'into' field must specify a 'coll' that is not empty, null or undefined")
		}
		return ns, nil
	default:
		return Namespace{}, fail(51178, "$merge 'into' field  must be either a string or an object, but found %s", value.TypeName(v.Type))
	}
}

func mergeOn(v bson.RawValue) ([][]string, error) {
	names := []bson.RawValue{v}
	switch v.Type {
	case bson.TypeString:
	case bson.TypeArray:
		names = value.Slice(v)
	default:
		return nil, fail(51186, "$merge 'on' field  must be either a string or an array of strings, but found %s", value.TypeName(v.Type))
	}
	if len(names) == 0 {
		return nil, fail(51187, "If explicitly specifying $merge 'on', must include at least one field")
	}
	var out [][]string
	seen := map[string]bool{}
	for _, n := range names {
		if n.Type != bson.TypeString {
			return nil, fail(51134, "$merge 'on' array elements must be strings, but found %s", value.TypeName(n.Type))
		}
		name := value.AsString(n)
		path, err := parsePath(name)
		if err != nil {
			return nil, err
		}
		if seen[name] {
			return nil, fail(31465, "Found a duplicate field '%s'", name)
		}
		seen[name] = true
		out = append(out, path)
	}
	return out, nil
}

func (m *mergeStage) whenMatched(v bson.RawValue) error {
	switch v.Type {
	case bson.TypeArray:
		if _, err := pipelineArg(v); err != nil {
			return err
		}
		m.matched, m.pipeline = "pipeline", v
		return nil
	case bson.TypeString:
		m.matched = value.AsString(v)
	default:
		return fail(51191, "$merge 'whenMatched' field  must be either a string or an array, but found %s", value.TypeName(v.Type))
	}
	switch m.matched {
	case "replace", "keepExisting", "merge", "fail":
		return nil
	default:
		return fail(mongoerr.BadValue, "Enumeration value '%s' for field 'whenMatched' is not a valid value.", m.matched)
	}
}

func checkMerge(p *parser, arg bson.RawValue) error {
	m, _, err := mergeArg(p, arg)
	if err != nil {
		return err
	}
	if !validCollection(m.ns.Coll) {
		return fail(mongoerr.InvalidNamespace, "Invalid $merge target namespace: '%s'", m.ns)
	}
	if (m.matched == "keepExisting" || m.matched == "fail") && m.notMatched != "insert" {
		return fail(51181, "Combination of $merge modes 'whenMatched: %s' and 'whenNotMatched: %s' is not supported", m.matched, m.notMatched)
	}
	if m.matched == "pipeline" {
		raw, err := pipelineArg(m.pipeline)
		if err != nil {
			return err
		}
		return p.checkStages(raw)
	}
	return nil
}

func parseMerge(p *parser, arg bson.RawValue) ([]stage, error) {
	m, let, err := mergeArg(p, arg)
	if err != nil {
		return nil, err
	}
	if strings.HasPrefix(m.ns.Coll, "system.") {
		return nil, fail(31319, "Cannot $merge to special collection: %s", m.ns.Coll)
	}
	if internalDatabase(m.ns.DB) {
		return nil, fail(31320, "Cannot $merge to internal database: %s", m.ns.DB)
	}
	if m.matched != "pipeline" {
		if let.Type != 0 {
			return nil, fail(51199, "Cannot use 'let' variables with 'whenMatched: %s' mode", m.matched)
		}
		return []stage{m}, nil
	}
	if let.Type == 0 {
		let = object("new", value.String("$$ROOT"))
	} else if n := value.Field(let.Value, "new"); n.Type != 0 && value.AsString(n) != "$$ROOT" {
		return nil, fail(51273, "'let' may not define a value for the reserved 'new' variable other than '$$ROOT'")
	} else if n.Type == 0 && m.notMatched == "insert" {
		let = value.Doc(value.With(let.Value, "new", value.String("$$ROOT")))
	}
	for name, v := range value.Fields(let.Value) {
		if err := expr.CheckNewVariable(name); err != nil {
			return nil, err
		}
		e, err := expr.ParseLazily(v, p.env)
		if err != nil {
			return nil, err
		}
		m.letNames, m.let = append(m.letNames, name), append(m.let, e)
	}
	return []stage{m}, nil
}

func (m *mergeStage) fold() error {
	for _, e := range m.let {
		if err := e.Fold(); err != nil {
			return err
		}
	}
	return nil
}

func (m *mergeStage) target() Namespace { return m.ns }

// mergeBatch is how many bytes of documents are gathered before they are written.
const mergeBatch = 16 << 20

func (m *mergeStage) run(r *run, in docs) docs {
	return func(yield func(bson.Raw, error) bool) {
		if err := m.mergeAll(r, in); err != nil {
			yield(nil, err)
		}
	}
}

func (m *mergeStage) mergeAll(r *run, in docs) error {
	if err := m.prepare(r); err != nil {
		return err
	}
	var batch []mergeWrite
	size := 0
	for doc, err := range in {
		if err != nil {
			return err
		}
		w, err := m.write(r, doc)
		if err != nil {
			return err
		}
		if size += len(w.doc); size > mergeBatch && len(batch) > 0 {
			if err := m.flush(r, batch); err != nil {
				return err
			}
			batch, size = batch[:0], len(w.doc)
		}
		batch = append(batch, w)
	}
	return m.flush(r, batch)
}

// flush makes the writes of a batch, in no promised order: one that fails keeps the others from nothing. The first
// failure is the batch's.
func (m *mergeStage) flush(r *run, batch []mergeWrite) error {
	var first error
	for _, w := range batch {
		err := m.perform(r, w)
		if first == nil {
			first = err
		}
		if err != nil && r.ctx.Err() != nil {
			break
		}
	}
	return first
}

// prepare refuses fields to merge on that no unique index holds apart.
func (m *mergeStage) prepare(r *run) error {
	if len(m.on) == 0 || len(m.on) == 1 && len(m.on[0]) == 1 && m.on[0][0] == "_id" {
		return nil
	}
	var names []string
	for _, path := range m.on {
		names = append(names, strings.Join(path, "."))
	}
	ok, err := r.host.UniqueOn(r.ctx, m.ns, names)
	if err == nil && !ok {
		err = fail(51183, "Cannot find index to verify that join fields will be unique")
	}
	return err
}

// A mergeWrite is what becomes of one document: an insert, or an update if it has a filter.
type mergeWrite struct {
	doc    bson.Raw
	update Update
}

// write is what is to be done with a document.
func (m *mergeStage) write(r *run, doc bson.Raw) (mergeWrite, error) {
	on := m.on
	if len(on) == 0 {
		on = [][]string{{"_id"}}
	}
	var filter value.Object
	for _, path := range on {
		name := strings.Join(path, ".")
		if name == "_id" && value.Field(doc, "_id").Type == 0 {
			doc = value.With(doc, "_id", value.ObjectID(bson.NewObjectID()))
		}
		v := value.Lookup(doc, name)
		if v.Type == bson.TypeArray {
			return mergeWrite{}, fail(51185, "$merge write error: 'on' field '%s' is an array", name)
		}
		if value.Nullish(v) {
			return mergeWrite{}, fail(51132, "$merge write error: 'on' field '%s' cannot be missing, null, undefined or an array", name)
		}
		filter.Add(name, v)
	}
	if m.matched == "fail" {
		return mergeWrite{doc: doc}, nil
	}
	u := Update{Filter: filter.Doc(), Upsert: m.notMatched == "insert"}
	switch m.matched {
	case "replace":
		u.Change = value.Doc(doc)
	case "merge":
		u.Change = object("$set", value.Doc(doc))
	case "keepExisting":
		u.Change = object("$setOnInsert", value.Doc(doc))
	default:
		var let value.Object
		for i, e := range m.let {
			v, err := e.Eval(doc, r.vars)
			if err != nil {
				return mergeWrite{}, err
			}
			let.Add(m.letNames[i], v)
		}
		u.Change, u.Let = m.pipeline, let.Doc()
		if u.Upsert {
			u.Insert = doc
		}
	}
	return mergeWrite{doc: doc, update: u}, nil
}

func (m *mergeStage) perform(r *run, w mergeWrite) error {
	if w.update.Filter == nil {
		return r.host.Insert(r.ctx, m.ns, w.doc)
	}
	n, err := r.host.Update(r.ctx, m.ns, w.update)
	if err == nil && n == 0 && m.notMatched == "fail" {
		err = fail(mongoerr.MergeStageNoMatchingDocument, "$merge could not find a matching document in the target collection for at least one document in the source collection")
	}
	return err
}
