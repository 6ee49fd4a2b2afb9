package command

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/session"
)

// sessionFields are the fields of a command that concern its session.
type sessionFields struct {
	lsid, txnNumberField, autocommitField, startField bson.RawValue

	has          bool
	id           session.ID
	hasTxnNumber bool
	txnNumber    int64
	autocommit   bool // autocommit: false was given: part of a transaction
	start        bool
}

// parseSession reads and checks them, in the server's order.
func (r *request) parseSession() error {
	s := &r.session
	if err := r.parseSessionTypes(); err != nil {
		return err
	}
	autocommitGiven := !value.IsMissing(s.autocommitField)
	startGiven := !value.IsMissing(s.startField)
	if r.cmd.noAuth {
		switch {
		case autocommitGiven:
			return mongoerr.New(mongoerr.OperationNotSupportedInTransaction, "This command is not supported in transactions")
		case s.hasTxnNumber:
			return mongoerr.New(50889, "It is illegal to provide a txnNumber for this command")
		}
	}
	switch {
	case !s.has && s.hasTxnNumber:
		return invalidOptions("Transaction number requires a session ID to also be specified")
	case s.hasTxnNumber && s.txnNumber < 0:
		return invalidOptions("Transaction number cannot be negative")
	case !s.hasTxnNumber && autocommitGiven:
		return invalidOptions("'autocommit' field requires a transaction number to also be specified")
	case autocommitGiven && value.AsBool(s.autocommitField):
		return invalidOptions("Specifying autocommit=true is not allowed.")
	case !autocommitGiven && startGiven:
		return invalidOptions("'startTransaction' field requires 'autocommit' field to also be specified")
	case startGiven && !value.AsBool(s.startField):
		return invalidOptions("Specifying startTransaction=false is not allowed.")
	}
	s.autocommit, s.start = autocommitGiven, startGiven
	if s.has {
		r.e.sessions.Touch(s.id)
	}
	return nil
}

func (r *request) parseSessionTypes() error {
	s := &r.session
	wrong := func(name string, v bson.RawValue, want string) error {
		return mongoerr.New(mongoerr.TypeMismatch, "BSON field 'OperationSessionInfo.%s' is the wrong type '%s', expected type '%s'",
			name, value.TypeName(v.Type), want)
	}
	if !value.IsMissing(s.lsid) {
		doc, ok := s.lsid.DocumentOK()
		if !ok {
			return wrong("lsid", s.lsid, "object")
		}
		id, err := r.e.parseLSID(r.conn, doc, "OperationSessionInfo.lsid")
		if err != nil {
			return err
		}
		s.has, s.id = true, id
	}
	if v := s.txnNumberField; !value.IsMissing(v) {
		if v.Type != bson.TypeInt64 {
			return wrong("txnNumber", v, "long")
		}
		s.hasTxnNumber, s.txnNumber = true, value.AsInt64(v)
	}
	for name, v := range map[string]bson.RawValue{"autocommit": s.autocommitField, "startTransaction": s.startField} {
		if !value.IsMissing(v) && v.Type != bson.TypeBoolean {
			return wrong(name, v, "bool")
		}
	}
	return nil
}

// parseLSID reads a session's id as clients send it: {id: UUID}.
func (e *Engine) parseLSID(c *Conn, doc bson.Raw, where string) (session.ID, error) {
	for key := range value.Fields(doc) {
		if key != "id" && key != "uid" {
			return session.ID{}, mongoerr.New(40415, "BSON field '%s.%s' is an unknown field.", where, key)
		}
	}
	v := value.Field(doc, "id")
	if value.IsMissing(v) {
		return session.ID{}, mongoerr.New(40414, "BSON field '%s.id' is missing but a required field", where)
	}
	subtype, data, ok := v.BinaryOK()
	if !ok {
		return session.ID{}, mongoerr.New(mongoerr.TypeMismatch, "BSON field '%s.id' is the wrong type '%s', expected type 'binData'", where, value.TypeName(v.Type))
	}
	if subtype != bson.TypeBinaryUUID {
		return session.ID{}, mongoerr.New(mongoerr.TypeMismatch, "BSON field '%s.id' is the wrong bindData type '%s', expected type 'UUID'", where, binaryName(subtype))
	}
	if len(data) != 16 {
		return session.ID{}, mongoerr.New(mongoerr.InvalidUUID, "uuid must be a 16-byte binary field with UUID (4) subtype")
	}
	return session.NewID([16]byte(data), c.auth.identity()), nil
}

func binaryName(subtype byte) string {
	switch subtype {
	case bson.TypeBinaryGeneric:
		return "general"
	case bson.TypeBinaryFunction:
		return "function"
	case bson.TypeBinaryBinaryOld:
		return "binary"
	case bson.TypeBinaryUUIDOld:
		return "UUID"
	case bson.TypeBinaryMD5:
		return "MD5"
	}
	return "unknown"
}

func invalidOptions(format string, args ...any) error {
	return mongoerr.New(mongoerr.InvalidOptions, format, args...)
}

// checkTransaction refuses what the command may not do in a transaction, or with a number and
// without one.
func (r *request) checkTransaction() error {
	s := &r.session
	switch {
	case r.cmd.skipCheckout:
		return nil
	case s.autocommit:
		if err := r.checkInTransaction(); err != nil {
			return err
		}
	case s.hasTxnNumber && !r.cmd.retryable:
		return mongoerr.New(50768, "txnNumber may only be provided for multi-document transactions and retryable write commands. autocommit:false was not provided, and %s is not a retryable write command.", r.cmd.name)
	}
	if !s.start {
		return nil
	}
	refuse := func(text string) error { return mongoerr.New(mongoerr.OperationNotSupportedInTransaction, "%s", text) }
	switch r.cmd.name {
	case "killCursors":
		return refuse("Cannot run killCursors as the first operation in a multi-document transaction.")
	case "commitTransaction":
		return refuse("Cannot start a transaction with a commit")
	case "abortTransaction":
		return refuse("Cannot start a transaction with an abort")
	}
	return nil
}

func (r *request) checkInTransaction() error {
	refuse := func(format string, args ...any) error {
		return mongoerr.New(mongoerr.OperationNotSupportedInTransaction, format, args...)
	}
	switch {
	case r.cmd.name == "count":
		return refuse("Cannot run 'count' in a multi-document transaction. Please see http://dochub.mongodb.org/core/transaction-count for a recommended alternative.")
	case !r.cmd.inTransaction:
		return refuse("Cannot run '%s' in a multi-document transaction.", r.cmd.name)
	case r.db == "local", r.db == "admin" && !r.cmd.endsTransaction && r.cmd.name != "bulkWrite":
		return refuse("Cannot run command against the '%s' database in a transaction.", r.db)
	case r.db == "config":
		return refuse("Cannot run command against the config database in a transaction.")
	}
	if name, ok := r.first().StringValueOK(); ok && name == "system.profile" {
		return refuse("Cannot run command against the '%s.%s' collection in a transaction.", r.db, name)
	}
	return nil
}
