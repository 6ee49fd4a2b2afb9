package mongostore

import (
	"encoding/binary"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/eventstore"
)

// Types of documents in the events collection that are no events. They are never
// in the log, and no reader sees them.
const (
	// tombstoneType marks the end of a tombstoned stream: a document at version
	// head+1 takes the key that the next append would need.
	tombstoneType = "$tombstone"
	// guardType is inserted at version head+1 and deleted in the same
	// transaction, to make a checked stream conflict with any append to it.
	guardType = "$guard"
	// markType is inserted and deleted by a recovery, to recognise a point of
	// the change stream.
	markType = "$mark"
)

// maxDocument is the size in bytes of the largest document that MongoDB stores.
const maxDocument = 16 << 20

const uuidSubtype = 4

// An event's document starts with _id, stream_id and version, so that the
// version can be changed in place when an append is tried again behind another
// head.
func versionOffset(stream eventstore.StreamID) int {
	const (
		header = 4
		id     = 1 + len("_id") + 1 + 12
		name   = 1 + len("stream_id") + 1 + 4 + 1 // and the name itself
		key    = 1 + len("version") + 1
	)
	return header + id + name + len(stream) + key
}

func setVersion(doc []byte, stream eventstore.StreamID, v eventstore.Version) {
	binary.LittleEndian.PutUint64(doc[versionOffset(stream):], uint64(v))
}

// appendEnvelope appends the part that all documents in events share.
func appendEnvelope(b []byte, id bson.ObjectID, stream eventstore.StreamID, v eventstore.Version, typ eventstore.EventType) []byte {
	b = appendObjectIDElement(b, "_id", id)
	b = appendStringElement(b, "stream_id", stream)
	b = appendInt64Element(b, "version", int64(v))
	return appendStringElement(b, "event_type", typ)
}

// encodeMarker returns a document that is no event.
func encodeMarker(id bson.ObjectID, stream eventstore.StreamID, v eventstore.Version, typ eventstore.EventType) bson.Raw {
	start, b := openDocument(make([]byte, 0, 96+len(stream)))
	return closeDocument(appendEnvelope(b, id, stream, v, typ), start)
}

// encodeEvent returns an event's document. Fields at their default (schema 1, no
// metadata) are left out.
func encodeEvent(id bson.ObjectID, stream eventstore.StreamID, v eventstore.Version, e *eventstore.EventData) (bson.Raw, error) {
	start, b := openDocument(make([]byte, 0, 192+len(stream)+len(e.Type)+len(e.Data)+metadataSize(&e.Metadata)))
	b = appendEnvelope(b, id, stream, v, e.Type)
	switch {
	case e.Format == eventstore.BSON:
		b = appendDocumentElement(b, "data", e.Data)
	case utf8.Valid(e.Data):
		b = appendStringElement(b, "data", string(e.Data))
	default: // JSON with bytes that are no UTF-8 inside its strings
		b = appendBinaryElement(b, "data", 0, e.Data)
	}
	if !e.Metadata.IsZero() {
		b = appendMetadata(b, &e.Metadata)
	}
	b = appendDateElement(b, "timestamp", e.Time.UnixMilli())
	b = appendBinaryElement(b, "event_id", uuidSubtype, e.ID[:])
	if e.Schema != 1 {
		b = appendInt32Element(b, "schema", int32(e.Schema))
	}
	b = closeDocument(b, start)
	if len(b) > maxDocument {
		return nil, &eventstore.TooLargeError{What: "event with its metadata", Size: len(b), Limit: maxDocument}
	}
	return b, nil
}

func metadataSize(m *eventstore.Metadata) int {
	if m.IsZero() {
		return 0
	}
	n := 128 + len(m.CorrelationID) + len(m.CausationID) + len(m.Tenant) + len(m.TraceParent) + len(m.TraceState)
	for k, v := range m.Custom {
		n += len(k) + len(v) + 8
	}
	return n
}

func appendMetadata(b []byte, m *eventstore.Metadata) []byte {
	b = appendKey(b, bson.TypeEmbeddedDocument, "metadata")
	start, b := openDocument(b)
	for _, f := range [...]struct{ key, value string }{
		{"correlation_id", m.CorrelationID},
		{"causation_id", m.CausationID},
		{"tenant", m.Tenant},
		{"traceparent", m.TraceParent},
		{"tracestate", m.TraceState},
	} {
		if f.value != "" {
			b = appendStringElement(b, f.key, f.value)
		}
	}
	if len(m.Custom) > 0 {
		keys := make([]string, 0, len(m.Custom))
		for k := range m.Custom {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		b = appendKey(b, bson.TypeEmbeddedDocument, "custom")
		var custom int
		custom, b = openDocument(b)
		for _, k := range keys {
			b = appendStringElement(b, k, m.Custom[k])
		}
		b = closeDocument(b, custom)
	}
	return closeDocument(b, start)
}

// An eventDecoder turns documents into events. What it hands out shares no
// memory with the documents; the data of neighbouring events share one
// allocation of at most arenaMax bytes.
type eventDecoder struct {
	stream eventstore.StreamID // of the last event; most reads have only one
	types  []eventstore.EventType
	arena  []byte
	block  int
}

const (
	arenaMin = 1 << 10
	arenaMax = 32 << 10
	typesMax = 32
)

// keep returns a copy of b.
func (d *eventDecoder) keep(b []byte) []byte {
	if len(b) > arenaMax/8 {
		return slices.Clone(b)
	}
	if cap(d.arena)-len(d.arena) < len(b) {
		d.block = min(max(2*d.block, arenaMin, len(b)), arenaMax)
		d.arena = make([]byte, 0, d.block)
	}
	n := len(d.arena)
	d.arena = append(d.arena, b...)
	return d.arena[n:len(d.arena):len(d.arena)]
}

func (d *eventDecoder) eventType(b []byte) eventstore.EventType {
	for i, t := range d.types {
		if string(t) == string(b) {
			if i > 0 { // types that come often are found at once
				d.types[i], d.types[i-1] = d.types[i-1], t
			}
			return t
		}
	}
	t := eventstore.EventType(b)
	if len(d.types) < typesMax {
		d.types = append(d.types, t)
	}
	return t
}

func (d *eventDecoder) streamID(b []byte) eventstore.StreamID {
	if string(d.stream) != string(b) {
		d.stream = eventstore.StreamID(b)
	}
	return d.stream
}

// decode turns a document into an event. It reports false for a marker.
func (d *eventDecoder) decode(doc []byte) (e eventstore.Event, isEvent bool, err error) {
	it := elementsOf(doc)
	e.Schema = 1
	var have uint8
	for {
		el, ok := it.next()
		if !ok {
			break
		}
		good := true
		switch string(el.key) {
		case "stream_id":
			var b []byte
			if b, good = el.text(); good {
				e.Stream = d.streamID(b)
				have |= 1
			}
		case "version":
			var v int64
			v, good = el.integer()
			e.Version = eventstore.Version(v)
			have |= 2
		case "event_type":
			var b []byte
			if b, good = el.text(); good {
				e.Type = d.eventType(b)
				have |= 4
			}
		case "data":
			good = d.data(&e, el)
		case "metadata":
			var b []byte
			if b, good = el.document(); good {
				good = decodeMetadata(b, &e.Metadata) == nil
			}
		case "timestamp":
			var ms int64
			ms, good = el.integer()
			e.Time = time.UnixMilli(ms).UTC()
		case "event_id":
			var b []byte
			b, _, good = el.binary()
			if good = good && len(b) == 16; good {
				e.ID = eventstore.EventID(b)
			}
		case "schema":
			var v int64
			v, good = el.integer()
			e.Schema = int(v)
		}
		if !good {
			return e, false, malformed("field %s of an event has type %s", el.key, el.kind)
		}
	}
	switch {
	case it.err != nil:
		return e, false, it.err
	case have != 7:
		return e, false, malformed("an event lacks its stream_id, version or event_type")
	case isMarker(e.Type):
		return e, false, nil
	case e.Type == eventstore.ErasedType:
		return eventstore.Event{Stream: e.Stream, Version: e.Version, Type: e.Type}, true, nil
	}
	return e, true, nil
}

func isMarker(t eventstore.EventType) bool {
	return strings.HasPrefix(string(t), "$") && t != eventstore.ErasedType
}

func (d *eventDecoder) data(e *eventstore.Event, el element) bool {
	switch el.kind {
	case bson.TypeEmbeddedDocument:
		e.Format, e.Data = eventstore.BSON, d.keep(el.value)
	case bson.TypeString:
		b, ok := el.text()
		e.Format, e.Data = eventstore.JSON, d.keep(b)
		return ok
	case bson.TypeBinary:
		b, _, ok := el.binary()
		e.Format, e.Data = eventstore.JSON, d.keep(b)
		return ok
	default:
		return false
	}
	return true
}

func decodeMetadata(doc []byte, m *eventstore.Metadata) error {
	it := elementsOf(doc)
	for {
		el, ok := it.next()
		if !ok {
			return it.err
		}
		if string(el.key) == "custom" {
			b, ok := el.document()
			if !ok {
				return malformed("metadata.custom has type %s", el.kind)
			}
			if err := decodeCustom(b, m); err != nil {
				return err
			}
			continue
		}
		var field *string
		switch string(el.key) {
		case "correlation_id":
			field = &m.CorrelationID
		case "causation_id":
			field = &m.CausationID
		case "tenant":
			field = &m.Tenant
		case "traceparent":
			field = &m.TraceParent
		case "tracestate":
			field = &m.TraceState
		default:
			continue
		}
		b, ok := el.text()
		if !ok {
			return malformed("metadata.%s has type %s", el.key, el.kind)
		}
		*field = string(b)
	}
}

func decodeCustom(doc []byte, m *eventstore.Metadata) error {
	it := elementsOf(doc)
	for {
		el, ok := it.next()
		if !ok {
			return it.err
		}
		b, ok := el.text()
		if !ok {
			return malformed("metadata.custom.%s has type %s", el.key, el.kind)
		}
		if m.Custom == nil {
			m.Custom = map[string]string{}
		}
		m.Custom[string(el.key)] = string(b)
	}
}
