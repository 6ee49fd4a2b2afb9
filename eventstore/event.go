package eventstore

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"time"
)

// An EventType is an event's stable name, as in "order.placed". It is not a Go
// type: types may be renamed, what is stored may not. The rules for a name are
// those of a [StreamID].
type EventType string

// Validate reports why the name cannot name an event type, as an
// [*InvalidError].
func (t EventType) Validate() error { return validateName("event type", string(t)) }

// ErasedType is the type of the placeholders that [Streams.Erase] leaves in the
// log. They have a position, a stream and a version, and nothing else.
const ErasedType EventType = "$erased"

// A Format says how an event's data is encoded.
type Format uint8

const (
	// BSON is the default format: data is one BSON document. On MongoDB it is
	// stored as a subdocument and can be queried.
	BSON Format = iota
	// JSON is a JSON object. On MongoDB it is stored as a string.
	JSON
)

// String returns "bson" or "json".
func (f Format) String() string {
	switch f {
	case BSON:
		return "bson"
	case JSON:
		return "json"
	}
	return fmt.Sprintf("Format(%d)", uint8(f))
}

// EventData is an event to append. [Registry.Encode] makes one of a Go value.
type EventData struct {
	// ID identifies the event; a new UUIDv7 when zero. Set it to make the
	// append repeatable over a crash of the caller.
	ID EventID
	// Type is the event's stable name. Required.
	Type EventType
	// Schema is the version of the data's schema, from 1; 1 when zero.
	Schema int
	// Format is the encoding of Data.
	Format Format
	// Data is the encoded payload: one BSON document or one JSON object.
	// Stores copy it before Append returns.
	Data []byte
	// Metadata is kept with the event. Fields left empty are taken from the
	// context of the append, see [WithMetadata].
	Metadata Metadata
	// Time is when the event happened; the time of the append when zero. It is
	// kept in UTC with the precision of BSON, milliseconds, and orders nothing.
	Time time.Time
}

// An Event is an event as a store recorded it. Its Data and Metadata belong to
// the reader: stores hand out copies.
type Event struct {
	ID      EventID
	Stream  StreamID
	Version Version
	// Position is the event's place in the log. It is zero in what ReadStream
	// gives: an event of a stream may not be in the log yet.
	Position Position
	Type     EventType
	Schema   int
	Format   Format
	Data     []byte
	Metadata Metadata
	// Time is in UTC and has millisecond precision.
	Time time.Time
}

// Erased reports whether the event is a placeholder for one whose stream was
// erased.
func (e Event) Erased() bool { return e.Type == ErasedType }

// Equal reports whether two events are the same in everything but the position.
func (e Event) Equal(o Event) bool {
	return e.ID == o.ID && e.Stream == o.Stream && e.Version == o.Version &&
		e.Type == o.Type && e.Schema == o.Schema && e.Format == o.Format &&
		bytes.Equal(e.Data, o.Data) && e.Metadata.Equal(o.Metadata) && e.Time.Equal(o.Time)
}

// Clone returns a copy that shares no memory with e.
func (e Event) Clone() Event {
	e.Data = slices.Clone(e.Data)
	e.Metadata.Custom = maps.Clone(e.Metadata.Custom)
	return e
}
