package changestream

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// A Spec says what to watch and from where.
type Spec struct {
	// DB and Coll name the collection to watch. An empty Coll watches the
	// database; for the cluster DB is admin and the stage says
	// allChangesForCluster.
	DB, Coll string
	// Stage is the $changeStream stage's argument.
	Stage bson.RawValue
	// Pipeline are the stages after it.
	Pipeline []bson.Raw
	// Env is the command's; its version decides what events look like and
	// whether fullDocument may be whenAvailable or required (6.0).
	Env *expr.Env
}

// options are a checked $changeStream stage.
type options struct {
	scope      scope
	lookup     string // fullDocument
	before     string // fullDocumentBeforeChange
	resume     *position
	startAfter bool // resume came as startAfter
	token      bson.Raw
	startAt    storage.Timestamp
	version    expr.Version
}

const (
	modeOff           = "off"
	modeDefault       = "default"
	modeLookup        = "updateLookup"
	modeWhenAvailable = "whenAvailable"
	modeRequired      = "required"
)

// parse checks a spec in the server's order.
func (spec Spec) parse() (*options, error) {
	if spec.Stage.Type != bson.TypeEmbeddedDocument {
		return nil, mongoerr.New(50808, "$changeStream stage expects a document as argument.")
	}
	o := &options{lookup: modeDefault, before: modeOff, version: expr.V44}
	if spec.Env != nil && spec.Env.Version != 0 {
		o.version = spec.Env.Version
	}
	stage := bson.Raw(spec.Stage.Value)
	all, err := o.fields(stage)
	if err != nil {
		return nil, err
	}
	if err := spec.legal(all); err != nil {
		return nil, err
	}
	o.scope = scope{db: spec.DB, coll: spec.Coll, cluster: all}
	if err := o.checkLookup(); err != nil {
		return nil, err
	}
	return o, o.takeStart(stage)
}

// fields takes over the fields of the stage.
func (o *options) fields(stage bson.Raw) (all bool, err error) {
	for name, v := range value.Fields(stage) {
		want := func(t bson.Type) error {
			if v.Type == t {
				return nil
			}
			return mongoerr.New(mongoerr.TypeMismatch, "BSON field '$changeStream.%s' is the wrong type '%s', expected type '%s'",
				name, value.TypeName(v.Type), value.TypeName(t))
		}
		switch name {
		case "resumeAfter", "startAfter":
			if err := want(bson.TypeEmbeddedDocument); err != nil {
				return false, err
			}
			// That it is a token is checked as the stage is read, what it says later.
			if _, _, err := checkToken(bson.Raw(v.Value)); err != nil {
				return false, err
			}
		case "startAtOperationTime":
			if err := want(bson.TypeTimestamp); err != nil {
				return false, err
			}
			o.startAt = storage.MakeTimestamp(value.AsTimestamp(v))
		case "fullDocument":
			if err := want(bson.TypeString); err != nil {
				return false, err
			}
			o.lookup = value.AsString(v)
		case "fullDocumentBeforeChange":
			if err := want(bson.TypeString); err != nil {
				return false, err
			}
			switch o.before = value.AsString(v); o.before {
			case modeOff, modeWhenAvailable, modeRequired:
			default:
				return false, mongoerr.New(mongoerr.BadValue, "Enumeration value '%s' for field '$changeStream.fullDocumentBeforeChange' is not a valid value.", o.before)
			}
		case "allChangesForCluster", "showMigrationEvents", "allowToRunOnConfigDB", "showExpandedEvents":
			if name == "showExpandedEvents" && o.version < expr.V60 {
				return false, unknownField(name)
			}
			if err := want(bson.TypeBoolean); err != nil {
				return false, err
			}
			if name == "showExpandedEvents" && value.AsBool(v) {
				return false, mongoerr.New(mongoerr.CommandNotSupported, "mongosim does not support $changeStream's showExpandedEvents")
			}
			all = all || name == "allChangesForCluster" && value.AsBool(v)
		default:
			return false, unknownField(name)
		}
	}
	return all, nil
}

func unknownField(name string) error {
	return mongoerr.New(40415, "BSON field '$changeStream.%s' is an unknown field.", name)
}

// legal refuses internal databases and collections.
func (spec Spec) legal(all bool) error {
	ns := spec.DB + "." + spec.Coll
	if spec.Coll == "" {
		ns = spec.DB + ".$cmd.aggregate"
	}
	if all && (spec.DB != "admin" || spec.Coll != "") {
		return mongoerr.New(mongoerr.InvalidOptions,
			"A $changeStream with 'allChangesForCluster:true' may only be opened on the 'admin' database, and with no collection name; found %s", ns)
	}
	if spec.DB == "local" || spec.DB == "config" || spec.DB == "admin" && !all {
		return mongoerr.New(mongoerr.InvalidNamespace, "$changeStream may not be opened on the internal %s database", spec.DB)
	}
	if strings.HasPrefix(spec.Coll, "system.") {
		return mongoerr.New(mongoerr.InvalidNamespace, "$changeStream may not be opened on the internal %s collection", ns)
	}
	return nil
}

func (o *options) checkLookup() error {
	switch o.lookup {
	case modeDefault, modeLookup:
		return nil
	case modeWhenAvailable, modeRequired:
		if o.version >= expr.V60 {
			return nil
		}
	}
	return mongoerr.New(40575, "unrecognized value for the 'fullDocument' option to the $changeStream stage. Expected 'default' or 'updateLookup', got '%s'", o.lookup)
}

// takeStart finds out where to start.
func (o *options) takeStart(stage bson.Raw) error {
	after, start := value.Field(stage, "resumeAfter"), value.Field(stage, "startAfter")
	if !value.IsMissing(after) && !value.IsMissing(start) {
		return mongoerr.New(50865, "Do not specify both 'resumeAfter' and 'startAfter' in a $changeStream stage")
	}
	token := after
	if value.IsMissing(after) {
		token, o.startAfter = start, true
	}
	if value.IsMissing(token) {
		return nil
	}
	o.token = bson.Raw(token.Value)
	p, err := parseToken(o.token)
	if err != nil {
		return err
	}
	o.resume = &p
	switch {
	case p.invalidate && !o.startAfter:
		return mongoerr.New(mongoerr.InvalidResumeToken, "Attempting to resume a change stream using 'resumeAfter' is not allowed from an invalidate notification.")
	case p.uuid == nil && o.scope.coll != "" && !p.isHighWater():
		return mongoerr.New(mongoerr.InvalidResumeToken, "Attempted to resume a single-collection stream, but the resume token does not include a UUID.")
	case o.startAt != 0:
		return mongoerr.New(40674, "Only one type of resume option is allowed, but multiple were found.")
	}
	return nil
}

// A scope is what a stream watches.
type scope struct {
	db, coll string
	cluster  bool
}

// covers tells whether writes to a collection belong to the stream.
func (s scope) covers(ns storage.Namespace) bool {
	if s.coll != "" {
		return ns.DB == s.db && ns.Coll == s.coll
	}
	if strings.HasPrefix(ns.Coll, "$") || strings.HasPrefix(ns.Coll, "system.") {
		return false
	}
	if s.cluster {
		return ns.DB != "admin" && ns.DB != "config" && ns.DB != "local"
	}
	return ns.DB == s.db
}

// sees tells whether an operation becomes an event of the stream.
func (s scope) sees(op *storage.Op) bool {
	switch op.Kind {
	case storage.OpInsert, storage.OpUpdate, storage.OpReplace, storage.OpDelete, storage.OpDrop:
		return s.covers(op.Coll.Namespace)
	case storage.OpRename:
		return s.covers(op.Coll.Namespace) || s.covers(op.To.Namespace)
	case storage.OpDropDatabase:
		return s.coll == "" && s.covers(storage.Namespace{DB: op.Coll.Namespace.DB, Coll: "any"})
	default:
		return false
	}
}

// ends tells whether the stream is invalidated by an operation it sees.
func (s scope) ends(op *storage.Op) bool {
	switch op.Kind {
	case storage.OpDrop, storage.OpRename:
		return s.coll != ""
	case storage.OpDropDatabase:
		return !s.cluster
	default:
		return false
	}
}
