package changestream

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// An event is a change as a client gets to see it.
type event struct {
	at    position
	token bson.Raw
	doc   bson.Raw
	last  bool // the invalidate event, after which nothing comes
}

// operationType is an operation's name in events.
func operationType(k storage.OpKind) string {
	switch k {
	case storage.OpInsert:
		return "insert"
	case storage.OpUpdate:
		return "update"
	case storage.OpReplace:
		return "replace"
	case storage.OpDelete:
		return "delete"
	case storage.OpDrop:
		return "drop"
	case storage.OpRename:
		return "rename"
	default:
		return "dropDatabase"
	}
}

// positionOf is where an operation is in the stream.
func positionOf(en *storage.Entry, op *storage.Op, index int) position {
	p := position{time: en.Time, version: tokenVersion, kind: tokenEvent, txnIndex: index}
	if op.Kind != storage.OpDropDatabase {
		id := op.Coll.UUID
		p.uuid = &id
	}
	p.key = documentKey(op)
	p.encode()
	return p
}

// documentKey is {_id: …} of the document that an operation changed; nil for
// commands.
func documentKey(op *storage.Op) bson.Raw {
	switch op.Kind {
	case storage.OpInsert, storage.OpUpdate, storage.OpReplace:
		id := value.Field(op.Doc, "_id")
		o := value.NewObject(len(id.Value) + 16)
		o.Add("_id", id)
		return o.Doc()
	case storage.OpDelete:
		return op.Doc
	default:
		return nil
	}
}

// event makes an operation's event.
func (s *Stream) event(en *storage.Entry, op *storage.Op, index int) (event, error) {
	ev := event{at: positionOf(en, op, index)}
	ev.token = ev.at.token()
	o := value.NewObject(256 + len(op.Doc))
	if op.Kind == storage.OpRename {
		o.Add("to", namespace(op.To.Namespace))
	}
	if en.Txn != nil {
		o.Add("txnNumber", value.Int64(en.Txn.Number))
		if en.Txn.LSID != nil {
			o.Add("lsid", value.Doc(en.Txn.LSID))
		}
	}
	o.Add("_id", value.Doc(ev.token))
	o.Add("operationType", value.String(operationType(op.Kind)))
	o.Add("clusterTime", value.Timestamp(en.Time.T(), en.Time.I()))
	if s.opts.version >= expr.V60 {
		o.Add("wallTime", value.Date(int64(en.Time.T())*1000))
	}
	if err := s.addImages(o, op); err != nil {
		return event{}, err
	}
	ns := namespace(op.Coll.Namespace)
	if op.Kind == storage.OpDropDatabase {
		db := value.NewObject(32)
		db.Add("db", value.String(op.Coll.Namespace.DB))
		ns = db.Value()
	}
	o.Add("ns", ns)
	if ev.at.key != nil {
		o.Add("documentKey", value.Doc(ev.at.key))
	}
	if op.Kind == storage.OpUpdate {
		o.Add("updateDescription", s.description(op.Update))
	}
	ev.doc = o.Doc()
	return ev, nil
}

func namespace(ns storage.Namespace) bson.RawValue {
	o := value.NewObject(len(ns.DB) + len(ns.Coll) + 32)
	o.Add("db", value.String(ns.DB))
	o.Add("coll", value.String(ns.Coll))
	return o.Value()
}

// addImages adds the document after and before the change.
func (s *Stream) addImages(o *value.Object, op *storage.Op) error {
	switch op.Kind {
	case storage.OpInsert, storage.OpReplace:
		o.Add("fullDocument", value.Doc(op.Doc))
	case storage.OpUpdate:
		after, err := s.afterUpdate(op)
		if err != nil {
			return err
		}
		if !value.IsMissing(after) {
			o.Add("fullDocument", after)
		}
	}
	switch op.Kind {
	case storage.OpUpdate, storage.OpReplace, storage.OpDelete:
	default:
		return nil
	}
	switch {
	case s.opts.before == modeOff:
	case op.Pre != nil:
		o.Add("fullDocumentBeforeChange", value.Doc(op.Pre))
	case s.opts.before == modeRequired && s.opts.version >= expr.V60:
		return fatal(mongoerr.NoMatchingDocument, "Change stream was configured to require a pre-image for all update, delete and replace events, but the pre-image was not found for event: %s", storage.ShellText(o.Doc()))
	case s.opts.before == modeRequired:
		return mongoerr.New(51770, "Change stream was configured to require a pre-image for all update, delete and replace events, but no pre-image optime was recorded for event: %s", storage.ShellText(o.Doc()))
	case s.opts.version >= expr.V60:
		o.Add("fullDocumentBeforeChange", value.Null())
	}
	return nil
}

// afterUpdate is the document that an update's event shows; missing for none.
func (s *Stream) afterUpdate(op *storage.Op) (bson.RawValue, error) {
	switch s.opts.lookup {
	case modeLookup:
		c := s.engine.CollectionByUUID(op.Coll.UUID)
		if c == nil {
			return value.Null(), nil
		}
		doc, _ := c.FindByID(storage.View{}, value.Field(op.Doc, "_id"))
		if doc == nil {
			return value.Null(), nil
		}
		return value.Doc(doc), nil
	case modeWhenAvailable, modeRequired:
		// Post-images are kept where pre-images are.
		if op.Pre != nil {
			return value.Doc(op.Doc), nil
		}
		if s.opts.lookup == modeRequired {
			return bson.RawValue{}, fatal(mongoerr.NoMatchingDocument, "Change stream was configured to require a post-image for all update events, but the post-image was not found for event: %s", storage.ShellText(documentKey(op)))
		}
		return value.Null(), nil
	default:
		return value.Missing(), nil
	}
}

// description tells which fields an update changed.
func (s *Stream) description(u *storage.UpdateDescription) bson.RawValue {
	o := value.NewObject(64 + len(u.Updated))
	updated := u.Updated
	if updated == nil {
		updated = value.NewObject(8).Doc()
	}
	o.Add("updatedFields", value.Doc(updated))
	removed := make([]bson.RawValue, len(u.Removed))
	for i, r := range u.Removed {
		removed[i] = value.String(r)
	}
	o.Add("removedFields", value.ArrayOf(removed...))
	if s.opts.version >= expr.V50 {
		o.Add("truncatedArrays", value.ArrayOf())
	}
	return o.Value()
}

// invalidate is the event that follows one that ends the stream.
func invalidate(cause *event) event {
	at := cause.at
	at.invalidate = true
	at.encode()
	ev := event{at: at, token: at.token(), last: true}
	o := value.NewObject(160)
	o.Add("_id", value.Doc(ev.token))
	o.Add("operationType", value.String("invalidate"))
	o.Add("clusterTime", value.Timestamp(at.time.T(), at.time.I()))
	ev.doc = o.Doc()
	return ev
}

// fatal is an error after which a stream cannot be resumed at that place.
func fatal(code mongoerr.Code, format string, args ...any) error {
	return mongoerr.New(code, format, args...).WithLabels(mongoerr.LabelNonResumable)
}
