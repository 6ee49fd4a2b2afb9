package mongostore

import (
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/eventstore"
)

// A logEntry is one event's place in the log.
type logEntry struct {
	id      bson.ObjectID // of the event's document
	stream  eventstore.StreamID
	version eventstore.Version
	typ     eventstore.EventType
}

// A logDoc is a document of the log: the entries of successive positions, and how
// far the change stream of events had been read when it was made. Who inserts the
// document behind it goes on from there, so that the log as a whole is what the
// change stream gives, without gap or repetition.
type logDoc struct {
	first   eventstore.Position
	entries []logEntry
	// mark is the cluster time of the last entry's commit: everything committed
	// up to it is in this document or before. In a recovered one it is that of
	// the document before.
	mark bson.Timestamp
	// token is the change stream's resume token, nil in a recovered document.
	token bson.Raw
	// recovered is set when the entries do not come from the change stream but
	// from a comparison of the events with the log.
	recovered bool
}

func (d *logDoc) last() eventstore.Position {
	return d.first + eventstore.Position(len(d.entries)) - 1
}

// encode returns the document {_id, n, entries, cluster_time, token, at}.
func (d *logDoc) encode(at time.Time) bson.Raw {
	size := 256 + len(d.token)
	for i := range d.entries {
		size += 80 + len(d.entries[i].stream) + len(d.entries[i].typ)
	}
	start, b := openDocument(make([]byte, 0, size))
	b = appendInt64Element(b, "_id", int64(d.first))
	b = appendInt32Element(b, "n", int32(len(d.entries)))
	b = appendKey(b, bson.TypeArray, "entries")
	array, b := openDocument(b)
	var key []byte
	for i := range d.entries {
		e := &d.entries[i]
		key = appendDecimal(key[:0], i)
		b = append(b, byte(bson.TypeEmbeddedDocument))
		b = append(b, key...)
		b = append(b, 0)
		var entry int
		entry, b = openDocument(b)
		b = appendObjectIDElement(b, "id", e.id)
		b = appendStringElement(b, "stream_id", e.stream)
		b = appendStringElement(b, "event_type", e.typ)
		b = appendInt64Element(b, "version", int64(e.version))
		b = closeDocument(b, entry)
	}
	b = closeDocument(b, array)
	if !d.mark.IsZero() { // the server would replace it by the present time
		b = appendTimestampElement(b, "cluster_time", d.mark)
	}
	if d.token != nil {
		b = appendDocumentElement(b, "token", d.token)
	}
	if d.recovered {
		b = append(appendKey(b, bson.TypeBoolean, "recovered"), 1)
	}
	b = appendDateElement(b, "at", at.UnixMilli())
	return closeDocument(b, start)
}

func appendDecimal(b []byte, n int) []byte {
	if n >= 10 {
		b = appendDecimal(b, n/10)
	}
	return append(b, byte('0'+n%10))
}

// A logDecoder reads documents of the log. Entries share no memory with them.
type logDecoder struct {
	types   eventDecoder // for its set of types
	streams map[string]eventstore.StreamID
}

// streamsMax bounds the stream names that a decoder shares among entries.
const streamsMax = 4_096

func (d *logDecoder) stream(b []byte) eventstore.StreamID {
	if s, ok := d.streams[string(b)]; ok {
		return s
	}
	if d.streams == nil || len(d.streams) >= streamsMax {
		d.streams = map[string]eventstore.StreamID{}
	}
	s := eventstore.StreamID(b)
	d.streams[string(s)] = s
	return s
}

func (d *logDecoder) decode(doc []byte) (out logDoc, err error) {
	it := elementsOf(doc)
	var n int64 = -1
	for {
		el, ok := it.next()
		if !ok {
			break
		}
		good := true
		switch string(el.key) {
		case "_id":
			var v int64
			v, good = el.integer()
			out.first = eventstore.Position(v)
		case "n":
			n, good = el.integer()
		case "entries":
			var b []byte
			if b, good = el.document(); good {
				if out.entries, err = d.entries(b); err != nil {
					return out, err
				}
			}
		case "cluster_time":
			out.mark, good = el.timestamp()
		case "token":
			var b []byte
			b, good = el.document()
			out.token = slices.Clone(b)
		case "recovered":
			out.recovered = el.kind == bson.TypeBoolean && el.value[0] == 1
		}
		if !good {
			return out, malformed("field %s of a log document has type %s", el.key, el.kind)
		}
	}
	switch {
	case it.err != nil:
		return out, it.err
	case out.first < 1 || n != int64(len(out.entries)):
		return out, malformed("log document %d says it has %d entries and has %d", out.first, n, len(out.entries))
	}
	return out, nil
}

func (d *logDecoder) entries(array []byte) ([]logEntry, error) {
	it := elementsOf(array)
	entries := make([]logEntry, 0, len(array)/96+1)
	for {
		el, ok := it.next()
		if !ok {
			return entries, it.err
		}
		b, ok := el.document()
		if !ok {
			return nil, malformed("a log entry has type %s", el.kind)
		}
		e, err := d.entry(b)
		if err != nil {
			return nil, err
		}
		entries = append(entries, e)
	}
}

// entry reads what a log entry and an event's envelope have in common; the id is
// named id in the one and _id in the other.
func (d *logDecoder) entry(doc []byte) (e logEntry, err error) {
	it := elementsOf(doc)
	have := 0
	for {
		el, ok := it.next()
		if !ok {
			break
		}
		good := true
		switch string(el.key) {
		case "id", "_id":
			e.id, good = el.objectID()
			have |= 1
		case "stream_id":
			var b []byte
			if b, good = el.text(); good {
				e.stream = d.stream(b)
				have |= 2
			}
		case "event_type":
			var b []byte
			if b, good = el.text(); good {
				e.typ = d.types.eventType(b)
				have |= 4
			}
		case "version":
			var v int64
			v, good = el.integer()
			e.version = eventstore.Version(v)
			have |= 8
		}
		if !good {
			return e, malformed("field %s of an event has type %s; Annals writes another", el.key, el.kind)
		}
	}
	if it.err == nil && have != 15 {
		return e, malformed("an event or log entry lacks its id, stream_id, event_type or version")
	}
	return e, it.err
}
