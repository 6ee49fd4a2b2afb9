package command

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

func listCollections(ctx context.Context, r *request, out *reply) error {
	spec, err := r.document("filter")
	if err != nil {
		return err
	}
	filter, err := match.Parse(spec, r.env())
	if err != nil {
		return err
	}
	nameOnly, err := r.bool("nameOnly", false)
	if err != nil {
		return err
	}
	var docs []bson.Raw
	for _, c := range r.e.store.Collections(r.txn, r.db) {
		describe := describeCollection
		if nameOnly {
			describe = nameCollection
		}
		doc, err := describe(c)
		if err != nil {
			return err
		}
		ok, err := filter.Match(doc)
		if err != nil {
			return err
		}
		if ok {
			docs = append(docs, doc)
		}
	}
	ns := storage.Namespace{DB: r.db, Coll: "$cmd.listCollections"}
	return r.respondWith(ctx, ns, docs, out)
}

// nameCollection is what nameOnly leaves, of the filter's view too: it finds nothing by options.
func nameCollection(c *storage.Collection) (bson.Raw, error) {
	d := newReply()
	d.string("name", c.Namespace().Coll)
	d.string("type", "collection")
	return d.doc(), nil
}

// respondWith answers with a cursor over documents at hand.
func (r *request) respondWith(ctx context.Context, ns storage.Namespace, docs []bson.Raw, out *reply) error {
	size, err := r.cursorOption()
	if err != nil {
		return err
	}
	if size < 0 {
		size = int64(len(docs)) + 1
	}
	c := &cursor{ns: ns, src: &sliceSource{docs}, left: int64(len(docs)), catalog: true}
	b, err := c.fill(ctx, size)
	if err != nil {
		return err
	}
	if len(docs) == 0 {
		b.end = true
	}
	r.respond(c, ns.String(), b, nil, out)
	return nil
}

// cursorOption reads {cursor: {batchSize: n}}; -1 means that there is no batch size.
func (r *request) cursorOption() (int64, error) {
	v := r.field("cursor")
	if value.IsMissing(v) {
		return -1, nil
	}
	doc, ok := v.DocumentOK()
	if !ok || v.Type != bson.TypeEmbeddedDocument {
		return 0, mongoerr.New(mongoerr.TypeMismatch, "cursor field must be missing or an object")
	}
	size := int64(-1)
	for key, e := range value.Fields(doc) {
		if key != "batchSize" {
			return 0, mongoerr.New(mongoerr.BadValue, "cursor object can't contain fields other than batchSize")
		}
		n, ok := toLong(e)
		if !ok {
			return 0, mongoerr.New(mongoerr.TypeMismatch, "cursor.batchSize must be a number")
		}
		if n < 0 {
			return 0, mongoerr.New(mongoerr.BadValue, "cursor.batchSize must not be negative")
		}
		size = n
	}
	return size, nil
}

func describeCollection(c *storage.Collection) (bson.Raw, error) {
	options, err := bson.Marshal(c.Options().Document())
	if err != nil {
		return nil, err
	}
	d := newReply()
	d.string("name", c.Namespace().Coll)
	d.string("type", "collection")
	d.document("options", options)
	info := d.begin("info")
	d.bool("readOnly", false)
	id := c.UUID()
	d.binary("uuid", bson.TypeBinaryUUID, id[:])
	d.end(info)
	if specs := c.Indexes(); len(specs) > 0 {
		d.document("idIndex", specs[0])
	}
	return d.doc(), nil
}

var createFields = []string{
	"capped", "autoIndexId", "idIndex", "size", "max", "storageEngine", "flags", "validator", "validationLevel",
	"validationAction", "indexOptionDefaults", "viewOn", "pipeline", "collation", "temp", "recordPreImages",
	"changeStreamPreAndPostImages", "timeseries", "expireAfterSeconds", "clusteredIndex", "encryptedFields",
}

func create(ctx context.Context, r *request, _ *reply) error {
	ns, err := r.collection()
	if err != nil {
		return err
	}
	if err := checkCreatable(ns); err != nil {
		return err
	}
	if !value.IsMissing(r.field("viewOn")) {
		if r.txn != nil {
			return notInTransaction("Cannot create a view in a multi-document transaction.")
		}
		return mongoerr.New(mongoerr.CommandNotSupported, "mongosim does not support views ('viewOn')")
	}
	var opts storage.CollectionOptions
	for _, f := range r.fields[1:] {
		if err := r.collectionOption(&opts, f); err != nil {
			return err
		}
	}
	if opts.Capped && opts.Size <= 0 {
		return invalidOptions("the 'size' field is required when 'capped' is true")
	}
	if !opts.Capped && (opts.Size > 0 || opts.MaxCount > 0) {
		return invalidOptions("the 'capped' field needs to be true when either the 'size' or 'max' fields are present")
	}
	if _, err := r.e.store.Create(ctx, r.txn, ns, opts); err != nil {
		return err
	}
	if r.txn == nil {
		r.noteWrite(r.e.store.LastOp())
	}
	return nil
}

// collectionOption reads an option that create and collMod have in common, or create alone.
func (r *request) collectionOption(o *storage.CollectionOptions, f field) error {
	v := f.value
	wrong := func(want string) error { return r.wrongType(f.key, v, want) }
	switch f.key {
	case "capped":
		o.Capped = value.Truthy(v)
	case "size", "max":
		n, ok := toLong(v)
		if !ok {
			return wrong("long")
		}
		if n < 0 && f.key == "size" {
			return mongoerr.New(mongoerr.BadValue, "size has to be >= 0")
		}
		if f.key == "size" {
			o.Size = (n + 255) &^ 255 // rounded up as the server does
		} else {
			o.MaxCount = max(n, 0)
		}
	case "validator":
		if v.Type != bson.TypeEmbeddedDocument && r.cmd.name == "collMod" {
			return notAnObject(f.key)
		}
		if v.Type != bson.TypeEmbeddedDocument {
			return wrong("object")
		}
		if _, err := match.ParseWith(v.Document(), r.env(), match.FeatureExpr|match.FeatureJSONSchema); err != nil {
			return err
		}
		o.Validator = value.Clone(v).Document()
		if value.IsEmpty(o.Validator) {
			o.Validator = nil
		}
	case "validationLevel":
		s, ok := v.StringValueOK()
		if !ok {
			return wrong("string")
		}
		if s != storage.LevelOff && s != storage.LevelStrict && s != storage.LevelModerate {
			return mongoerr.New(mongoerr.BadValue, "invalid validation level: %s", s)
		}
		o.ValidationLevel = s
	case "validationAction":
		s, ok := v.StringValueOK()
		if !ok {
			return wrong("string")
		}
		if s != storage.ActionError && s != storage.ActionWarn {
			return mongoerr.New(mongoerr.BadValue, "invalid validation action: %s", s)
		}
		o.ValidationAction = s
	case "recordPreImages":
		if r.e.version.atLeast(6, 0) {
			return unknownField(r, f.key)
		}
		o.PreImages, o.PreImagesField = value.Truthy(v), f.key
	case "changeStreamPreAndPostImages":
		doc, ok := v.DocumentOK()
		if !r.e.version.atLeast(6, 0) {
			return unknownField(r, f.key)
		}
		if !ok {
			return wrong("object")
		}
		o.PreImages, o.PreImagesField = value.Truthy(value.Field(doc, "enabled")), f.key
	case "collation":
		return refuseCollation(v)
	case "viewOn", "pipeline", "timeseries", "clusteredIndex", "encryptedFields":
		return mongoerr.New(mongoerr.CommandNotSupported, "mongosim does not support collections with '%s'", f.key)
	case "storageEngine", "indexOptionDefaults":
		if v.Type != bson.TypeEmbeddedDocument {
			return wrong("object")
		}
		o.Extra = append(o.Extra, bson.E{Key: f.key, Value: value.Clone(v).Document()})
	}
	return nil
}

func drop(ctx context.Context, r *request, out *reply) error {
	ns, err := r.collection()
	if err != nil {
		return err
	}
	n, err := r.e.store.Drop(ctx, ns)
	if err != nil {
		return err
	}
	r.noteWrite(r.e.store.LastOp())
	out.int32("nIndexesWas", int32(n))
	out.string("ns", ns.String())
	return nil
}

func renameCollection(ctx context.Context, r *request, _ *reply) error {
	source, ok := r.first().StringValueOK()
	if !ok {
		return r.wrongType("renameCollection", r.first(), "string")
	}
	target, present, err := r.string("to")
	if err != nil {
		return err
	}
	if !present {
		return r.missing("to")
	}
	from, to := storage.ParseNamespace(source), storage.ParseNamespace(target)
	for _, ns := range []storage.Namespace{from, to} {
		if !validCollection(ns.Coll) || checkDatabase(ns.DB) != nil {
			return mongoerr.New(mongoerr.InvalidNamespace, "Invalid namespace: %s", ns)
		}
	}
	if err := checkCreatable(to); err != nil {
		return err
	}
	if err := r.e.store.Rename(ctx, from, to, value.Truthy(r.field("dropTarget"))); err != nil {
		return err
	}
	r.noteWrite(r.e.store.LastOp())
	return nil
}

func collMod(ctx context.Context, r *request, out *reply) error {
	ns, err := r.collection()
	if err != nil {
		return err
	}
	c, err := r.lookup(ns)
	if err != nil {
		return err
	}
	if c == nil {
		return mongoerr.New(mongoerr.NamespaceNotFound, "ns does not exist")
	}
	var options []field
	for _, f := range r.fields[1:] {
		switch f.key {
		case "index":
			if err := r.modifyIndex(ctx, c, f.value, out); err != nil {
				return err
			}
		case "validator", "validationLevel", "validationAction", "recordPreImages", "changeStreamPreAndPostImages":
			options = append(options, f)
		case "size", "max", "cappedSize", "cappedMax", "dryRun":
			return mongoerr.New(mongoerr.CommandNotSupported, "mongosim's collMod does not support '%s'", f.key)
		default:
			return invalidOptions("unknown option to collMod: %s", f.key)
		}
	}
	if len(options) == 0 {
		return nil
	}
	err = c.SetOptions(ctx, func(o *storage.CollectionOptions) error {
		for _, f := range options {
			if err := r.collectionOption(o, f); err != nil {
				return err
			}
			switch f.key {
			case "validator", "validationLevel", "validationAction":
				o.SetValidationDefaults()
			}
		}
		return nil
	})
	r.noteWrite(r.e.store.LastOp())
	return err
}

// modifyIndex is collMod's index option: a TTL's time, or whether the planner sees the index.
func (r *request) modifyIndex(ctx context.Context, c *storage.Collection, v bson.RawValue, out *reply) error {
	doc, ok := v.DocumentOK()
	if !ok {
		return notAnObject("index")
	}
	name, hasName := value.Field(doc, "name").StringValueOK()
	key, hasKey := value.Field(doc, "keyPattern").DocumentOK()
	switch {
	case hasName && hasKey:
		return invalidOptions("Cannot specify both key pattern and name.")
	case !hasName && !hasKey:
		return invalidOptions("Must specify either index name or key pattern.")
	case value.IsMissing(value.Field(doc, "expireAfterSeconds")) && value.IsMissing(value.Field(doc, "hidden")):
		return invalidOptions("no expireAfterSeconds or hidden field")
	}
	var expire *int64
	if e := value.Field(doc, "expireAfterSeconds"); !value.IsMissing(e) {
		n, ok := toLong(e)
		if !ok {
			return invalidOptions("expireAfterSeconds field must be a number")
		}
		expire = &n
	}
	var hidden *bool
	if h := value.Field(doc, "hidden"); !value.IsMissing(h) {
		b := value.Truthy(h)
		hidden = &b
	}
	before, after, err := c.SetIndex(ctx, name, key, expire, hidden)
	if err != nil {
		return err
	}
	r.noteWrite(r.e.store.LastOp())
	for _, f := range []string{"expireAfterSeconds", "hidden"} {
		if !value.IsMissing(value.Field(doc, f)) {
			old := value.Field(before, f)
			if value.IsMissing(old) && f == "hidden" {
				old = value.Bool(false)
			}
			now := value.Field(after, f)
			if f == "expireAfterSeconds" {
				now = value.Field(doc, f) // as the client wrote it
			}
			if value.IsMissing(now) && f == "hidden" {
				now = value.Bool(false)
			}
			out.value(f+"_old", old)
			out.value(f+"_new", now)
		}
	}
	return nil
}

func collStats(_ context.Context, r *request, out *reply) error {
	ns, err := r.collection()
	if err != nil {
		return err
	}
	scale, err := r.scale()
	if err != nil {
		return err
	}
	c, err := r.lookup(ns)
	if err != nil {
		return err
	}
	out.string("ns", ns.String())
	if c == nil {
		for _, f := range []string{"size", "count", "storageSize", "totalSize", "nindexes", "totalIndexSize"} {
			out.int32(f, 0)
		}
		at := out.begin("indexDetails")
		out.end(at)
		at = out.begin("indexSizes")
		out.end(at)
		out.int32("scaleFactor", int32(scale))
		return nil
	}
	appendCollStats(out, c.Stats(), scale)
	return nil
}

// appendCollStats writes the figures of collStats, without the namespace.
func appendCollStats(out *reply, s storage.Stats, scale int64) {
	appendCount(out, "size", s.Size/scale)
	appendCount(out, "count", s.Count)
	if s.Count > 0 {
		appendCount(out, "avgObjSize", s.Size/s.Count)
	}
	appendCount(out, "storageSize", s.Size/scale)
	out.int32("freeStorageSize", 0)
	out.bool("capped", s.Capped)
	if s.Capped {
		appendCount(out, "max", s.Max)
		appendCount(out, "maxSize", s.MaxSize/scale)
	}
	out.int32("nindexes", int32(len(s.Indexes)))
	at := out.begin("indexDetails")
	out.end(at)
	out.strings("indexBuilds", nil)
	appendCount(out, "totalIndexSize", s.IndexSize/scale)
	appendCount(out, "totalSize", (s.Size+s.IndexSize)/scale)
	at = out.begin("indexSizes")
	for _, ix := range s.Indexes {
		appendCount(out, ix.Name, ix.Size/scale)
	}
	out.end(at)
	out.int32("scaleFactor", int32(scale))
}

// validate reports what a healthy collection would.
func validate(_ context.Context, r *request, out *reply) error {
	ns, err := r.collection()
	if err != nil {
		return err
	}
	c, err := r.lookup(ns)
	if err != nil {
		return err
	}
	if c == nil {
		return mongoerr.New(mongoerr.NamespaceNotFound, "Collection '%s' does not exist to validate.", ns)
	}
	s := c.Stats()
	out.string("ns", ns.String())
	out.int32("nInvalidDocuments", 0)
	appendCount(out, "nrecords", s.Count)
	out.int32("nIndexes", int32(len(s.Indexes)))
	at := out.begin("keysPerIndex")
	for _, ix := range s.Indexes {
		appendCount(out, ix.Name, ix.Entries)
	}
	out.end(at)
	out.bool("valid", true)
	out.strings("warnings", nil)
	out.strings("errors", nil)
	return nil
}
