package command

import (
	"context"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/session"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
	"github.com/annals-es/annals/simstore/mongosim/internal/wire"
)

// A request is one command on its way through the node.
type request struct {
	e    *Engine
	conn *Conn
	msg  *wire.Request
	cmd  *command
	name string // as the client wrote it
	db   string
	body bson.Raw

	fields  []field // those that are the command's own, its name first
	generic genericFields
	session sessionFields

	labels       []string // a fail point's, instead of the server's own; nil: none
	onlyReads    bool     // an aggregation that does not write
	changeStream bool     // the aggregation opens one, the getMore continues one

	checkedOut *session.Session // for commands with a transaction number
	txn        *storage.Txn     // the open transaction the command is part of
	now        time.Time
	readAt     *storage.Snapshot // for readConcern snapshot outside transactions
	rc         readConcern
	wc         writeConcern
	wrote      storage.Timestamp // of the last write, zero if there was none
	ran        bool              // the command itself was reached
	failedAt   bool              // a write failed: its client's last operation is the system's
}

// A field is an element of a command.
type field struct {
	key   string
	value bson.RawValue
}

// genericFields are those that every command takes.
type genericFields struct {
	maxTimeMS    bson.RawValue
	readConcern  bson.RawValue
	writeConcern bson.RawValue
	readPref     bson.RawValue
	comment      bson.RawValue
	help         bson.RawValue
	clusterTime  bson.RawValue
	stmtID       bson.RawValue
	stmtIDs      bson.RawValue
}

// parseRequest splits the body into the command's own fields and the generic ones.
func parseRequest(r *request) error {
	first := true
	r.fields = make([]field, 0, 8)
	for key, v := range value.Fields(r.body) {
		if first {
			first = false
			r.name = key
			r.fields = append(r.fields, field{key, v})
			continue
		}
		switch key {
		case "$db":
			db, ok := v.StringValueOK()
			if !ok {
				return mongoerr.New(mongoerr.BadValue, "$db must be a string, but was of type %s", value.TypeName(v.Type))
			}
			r.db = db
		case "lsid":
			r.session.lsid = v
		case "txnNumber":
			r.session.txnNumberField = v
		case "autocommit":
			r.session.autocommitField = v
		case "startTransaction":
			r.session.startField = v
		case "maxTimeMS":
			r.generic.maxTimeMS = v
		case "readConcern":
			r.generic.readConcern = v
		case "writeConcern":
			r.generic.writeConcern = v
		case "$readPreference":
			r.generic.readPref = v
		case "comment":
			r.generic.comment = v
		case "help":
			r.generic.help = v
		case "$clusterTime":
			r.generic.clusterTime = v
		case "stmtId":
			r.generic.stmtID = v
		case "stmtIds":
			r.generic.stmtIDs = v
		case "apiVersion", "apiStrict", "apiDeprecationErrors":
			if !r.e.version.atLeast(5, 0) {
				r.fields = append(r.fields, field{key, v})
			}
		case "$audit", "$client", "$configServerState", "$oplogQueryData", "$queryOptions", "$replData",
			"allowImplicitCollectionCreation", "coordinator", "databaseVersion", "maxTimeMSOpOnly",
			"operationSessionInfo", "shardVersion", "tracking_info", "clientOperationKey":
		case "$maxTimeMS":
			return mongoerr.New(mongoerr.InvalidOptions, "no such command option $maxTimeMs; use maxTimeMS instead")
		default:
			r.fields = append(r.fields, field{key, v})
		}
	}
	if r.msg.Op == wire.OpQuery {
		r.db = r.msg.DB
	} else if r.db == "" && value.IsMissing(value.Field(r.body, "$db")) {
		return mongoerr.New(40571, "OP_MSG requests require a $db argument")
	}
	return nil
}

// manyFields is how many fields are compared with one another rather than collected in a map.
const manyFields = 24

// checkDuplicates refuses a body that has a key twice.
func (r *request) checkDuplicates() error {
	var few [manyFields]string
	var many map[string]struct{}
	n := 0
	for key := range value.Fields(r.body) {
		double := false
		switch {
		case many != nil:
			_, double = many[key]
			many[key] = struct{}{}
		case n < manyFields:
			double = slices.Contains(few[:n], key)
			few[n] = key
		default:
			many = make(map[string]struct{}, 2*manyFields)
			for _, k := range few {
				many[k] = struct{}{}
			}
			_, double = many[key]
			many[key] = struct{}{}
		}
		if n++; double {
			return mongoerr.New(mongoerr.FailedToParse, "Parsed command object contains duplicate top level key: %s", key)
		}
	}
	return nil
}

// field returns a field of the command, missing if it is absent.
func (r *request) field(name string) bson.RawValue {
	for i := range r.fields {
		if r.fields[i].key == name {
			return r.fields[i].value
		}
	}
	return bson.RawValue{}
}

// first is the value of the command's own name.
func (r *request) first() bson.RawValue { return r.fields[0].value }

// documents returns an array field's documents, which may have come as a document sequence.
func (r *request) documents(name string) ([]bson.Raw, bool, error) {
	if docs, ok := r.msg.Sequence(name); ok {
		return docs, true, nil
	}
	v := r.field(name)
	if value.IsMissing(v) {
		return nil, false, nil
	}
	if v.Type != bson.TypeArray && v.Type != bson.TypeEmbeddedDocument { // a document's values are as good
		return nil, true, notAnObject(name)
	}
	var docs []bson.Raw
	for i, e := range value.Elements(v) {
		if e.Type != bson.TypeEmbeddedDocument {
			return nil, true, mongoerr.New(mongoerr.TypeMismatch, "BSON field '%s.%s.%d' is the wrong type '%s', expected type 'object'",
				r.cmd.name, name, i, value.TypeName(e.Type))
		}
		docs = append(docs, e.Document())
	}
	return docs, true, nil
}

// notAnObject is the refusal where the server expects an array and asks for its superclass.
func notAnObject(name string) error {
	return mongoerr.New(10065, "invalid parameter: expected an object (%s)", name)
}

func (r *request) wrongType(name string, v bson.RawValue, want string) error {
	return mongoerr.New(mongoerr.TypeMismatch, "BSON field '%s.%s' is the wrong type '%s', expected type '%s'",
		r.cmd.name, name, value.TypeName(v.Type), want)
}

// missing is the refusal of a command without a required field.
func (r *request) missing(name string) error {
	return mongoerr.New(40414, "BSON field '%s.%s' is missing but a required field", r.cmd.name, name)
}

// collection returns the namespace of a command whose first field names a collection.
func (r *request) collection() (storage.Namespace, error) {
	v := r.first()
	name, ok := v.StringValueOK()
	if !ok {
		if v.Type == bson.TypeBinary {
			return storage.Namespace{}, mongoerr.New(mongoerr.InvalidNamespace, "collection UUIDs are not supported")
		}
		return storage.Namespace{}, mongoerr.New(mongoerr.InvalidNamespace, "collection name has invalid type %s", value.TypeName(v.Type))
	}
	ns := storage.Namespace{DB: r.db, Coll: name}
	return ns, checkNamespace(ns)
}

// namespace is what the request concerns, as far as it can be told; for the fail point.
func (r *request) namespace() string {
	if name, ok := r.first().StringValueOK(); ok {
		return r.db + "." + name
	}
	return r.db
}

// env is what expressions evaluate in.
func (r *request) env() *expr.Env { return r.e.env(r) }

// view says through whose eyes the command reads.
func (r *request) view() storage.View { return storage.View{Txn: r.txn, Snapshot: r.readAt} }

// write says on whose behalf the command writes.
func (r *request) write() storage.Write { return storage.Write{Txn: r.txn} }

// noteWrite remembers the time of a write for opTime and operationTime.
func (r *request) noteWrite(at storage.Timestamp) {
	if at > r.wrote {
		r.wrote = at
	}
}

// sleep waits for d, or less when the client hangs up or the node stops.
func (r *request) sleep(ctx context.Context, d time.Duration) error {
	ctx, stop := r.conn.watch(ctx)
	defer stop()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return contextError(ctx)
	}
}
