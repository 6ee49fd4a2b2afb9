package eventstore

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
)

// A Registry knows the Go type of each event type, encodes values into events
// and decodes them, bringing old schema versions up to date. It does not change
// after it was built and is safe for concurrent use.
type Registry struct {
	codecs map[Format]Codec
	codec  Codec // encodes
	byName map[EventType]*TypeDef
	byGo   map[uintptr]*TypeDef // by address of the Go type, which hashes in no time
	names  []EventType
}

// A TypeDef ties an event type to a Go type. [Type] makes one.
type TypeDef struct {
	name    EventType
	aliases []EventType
	schema  int
	oldest  int
	goType  reflect.Type
	steps   map[int]upcaster
	chain   []upcaster // step from schema version oldest+i, once built
	decode  func(Codec, []byte) (any, error)
	encode  func(any) ([]byte, error) // of the registry's codec, once it is added
	format  Format                    // of what encode gives
	err     error                     // a mistake in the options, reported by NewRegistry
}

// A TypeOption is an option of [Type].
type TypeOption func(*TypeDef)

// Type declares that events of a name have payloads of type T, a struct or map
// type. T itself is what Decode returns; Encode takes T and *T.
func Type[T any](name EventType, opts ...TypeOption) TypeDef {
	d := TypeDef{
		name:   name,
		schema: 1,
		oldest: 1,
		goType: reflect.TypeFor[T](),
		steps:  map[int]upcaster{},
		decode: decodeAs[T],
	}
	for _, opt := range opts {
		opt(&d)
	}
	return d
}

func decodeAs[T any](codec Codec, data []byte) (any, error) {
	var v T
	if err := codec.Unmarshal(data, &v); err != nil {
		return nil, err
	}
	return v, nil
}

// Alias lets events that were stored under former names decode as this type.
// New events get the present name.
func Alias(names ...EventType) TypeOption {
	return func(d *TypeDef) { d.aliases = append(d.aliases, names...) }
}

// Schema sets the present version of the payload's schema; it is 1 by default.
// Each earlier version since the oldest ([Oldest]) needs an [Upcast].
func Schema(version int) TypeOption {
	return func(d *TypeDef) { d.schema = version }
}

// Oldest says that no event with a schema version below it was ever stored, so
// that the chain of upcasters starts there; it is 1 by default.
func Oldest(version int) TypeOption {
	return func(d *TypeDef) { d.oldest = version }
}

// NewRegistry returns a registry that encodes with codec ([NewBSONCodec] when
// nil) and decodes both formats. It refuses, naming all mistakes at once: names
// or Go types declared twice, Go types that do not encode as documents, and
// chains of upcasters with gaps or that do not end in the declared type.
func NewRegistry(codec Codec, types ...TypeDef) (*Registry, error) {
	if codec == nil {
		codec = NewBSONCodec()
	}
	r := &Registry{
		codecs: map[Format]Codec{BSON: NewBSONCodec(), JSON: NewJSONCodec()},
		codec:  codec,
		byName: map[EventType]*TypeDef{},
		byGo:   map[uintptr]*TypeDef{},
	}
	r.codecs[codec.Format()] = codec
	var errs []error
	for _, d := range types {
		errs = append(errs, r.add(&d))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	slices.Sort(r.names)
	return r, nil
}

// MustRegistry is [NewRegistry] with the BSON codec that panics on a mistake.
// For registries written down as variables.
func MustRegistry(types ...TypeDef) *Registry {
	r, err := NewRegistry(nil, types...)
	if err != nil {
		panic("eventstore: " + err.Error())
	}
	return r
}

func (r *Registry) add(d *TypeDef) error {
	if d.goType == nil {
		return &InvalidError{What: "type declaration", Reason: "is empty; make it with eventstore.Type"}
	}
	errs := []error{d.err}
	for _, name := range append([]EventType{d.name}, d.aliases...) {
		if err := name.Validate(); err != nil {
			errs = append(errs, fmt.Errorf("type %s: %w", d.goType, err))
		}
		if other, ok := r.byName[name]; ok {
			errs = append(errs, &InvalidError{What: "event type " + string(name), Reason: fmt.Sprintf("is declared for %s and for %s", other.goType, d.goType)})
		}
		r.byName[name] = d
	}
	goType := addressOf(d.goType)
	if other, ok := r.byGo[goType]; ok {
		errs = append(errs, &InvalidError{What: d.goType.String(), Reason: fmt.Sprintf("is declared for %s and for %s; use Alias for a former name", other.name, d.name)})
	}
	r.byGo[goType] = d
	d.encode, d.format = r.codec.Marshal, r.codec.Format()
	if c, ok := r.codec.(*bsonCodec); ok {
		d.encode = c.marshaler(d.goType)
	}
	errs = append(errs, r.checkType(d), d.buildChain())
	r.names = append(r.names, d.name)
	return errors.Join(errs...)
}

// checkType reports whether the declared type can be stored, and read back from
// all of its former shapes.
func (r *Registry) checkType(d *TypeDef) error {
	switch k := d.goType.Kind(); {
	case k == reflect.Struct && d.goType != timeType:
	case k == reflect.Map && d.goType.Key().Kind() == reflect.String:
	default:
		return &InvalidError{What: d.goType.String(), Reason: fmt.Sprintf("(event type %s) does not encode as a document; declare a struct or a map with string keys", d.name)}
	}
	codec, ok := r.codec.(typedCodec)
	if !ok {
		return nil
	}
	shapes := []reflect.Type{d.goType}
	for _, step := range d.steps {
		shapes = append(shapes, step.from)
	}
	for _, t := range shapes {
		if m := codec.storage().mistake(t); m != "" {
			return &InvalidError{What: "event type " + string(d.name), Reason: "cannot be stored: " + m}
		}
	}
	return nil
}

// Types returns the declared names, sorted, without aliases.
func (r *Registry) Types() []EventType { return slices.Clone(r.names) }

// TypeOf returns the name under which values of v's type are stored, and whether
// the type is registered.
func (r *Registry) TypeOf(v any) (EventType, bool) {
	d, _ := r.lookup(v)
	if d == nil {
		return "", false
	}
	return d.name, true
}

// Names returns the name and all aliases of the type that T is registered as:
// what a filter for such events must hold. It returns none when T is not
// registered.
func Names[T any](r *Registry) []EventType {
	d, ok := r.byGo[addressOf(reflect.TypeFor[T]())]
	if !ok {
		return nil
	}
	return append([]EventType{d.name}, d.aliases...)
}

// Encode makes an event to append of each value, without metadata. A type that
// is not registered is an error matching [ErrUnregistered].
func (r *Registry) Encode(values ...any) ([]EventData, error) {
	events := make([]EventData, len(values))
	for i, v := range values {
		d, v := r.lookup(v)
		if d == nil {
			return nil, fmt.Errorf("encode event %d of %d: Go type %T is %w; declare it with eventstore.Type", i+1, len(values), v, ErrUnregistered)
		}
		data, err := d.encode(v)
		if err != nil {
			return nil, fmt.Errorf("encode event %d of %d: %s as %s: %w", i+1, len(values), d.name, r.codec.Format(), NotWritten(err))
		}
		e := &events[i]
		e.Type, e.Schema, e.Format, e.Data = d.name, d.schema, d.format, data
	}
	return events, nil
}

// lookup finds the declaration of v's type, following pointers.
func (r *Registry) lookup(v any) (*TypeDef, any) {
	t := reflect.TypeOf(v)
	if t == nil {
		return nil, v
	}
	if d, ok := r.byGo[addressOf(t)]; ok {
		return d, v
	}
	if t.Kind() != reflect.Pointer || reflect.ValueOf(v).IsNil() {
		return nil, v
	}
	return r.byGo[addressOf(t.Elem())], v
}

// addressOf returns what a type is told from others by: there is one description
// of each, and it stays where it is.
func addressOf(t reflect.Type) uintptr { return reflect.ValueOf(t).Pointer() }

// Decode returns the payload of an event as a value of its registered type,
// brought up to the present schema version. An event type that is not
// registered, an alias included, is an error matching [ErrUnregistered]; any
// other failure is a [*DecodeError]. A schema version newer than the registry's
// is refused rather than misread.
func (r *Registry) Decode(e Event) (any, error) {
	d, ok := r.byName[e.Type]
	if !ok {
		return nil, &DecodeError{Event: e.Ref(), Err: fmt.Errorf("event type %q is %w", e.Type, ErrUnregistered)}
	}
	codec, ok := r.codecs[e.Format]
	if !ok {
		return nil, &DecodeError{Event: e.Ref(), Err: fmt.Errorf("no codec for format %s", e.Format)}
	}
	v, err := d.decodeSchema(codec, e.Schema, e.Data)
	if err != nil {
		return nil, &DecodeError{Event: e.Ref(), Err: err}
	}
	return v, nil
}

// A DecodeError says which event could not be decoded, and why. It matches
// [ErrUndecodable], and [ErrUnregistered] if that is the reason.
type DecodeError struct {
	Event EventRef
	Err   error
}

// An EventRef says which event is meant without its payload.
type EventRef struct {
	ID       EventID
	Stream   StreamID
	Version  Version
	Position Position
	Type     EventType
	Schema   int
}

// Ref returns what identifies the event, without its payload.
func (e Event) Ref() EventRef {
	return EventRef{ID: e.ID, Stream: e.Stream, Version: e.Version, Position: e.Position, Type: e.Type, Schema: e.Schema}
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("decode %s (schema %d) at %q version %d: %v", e.Event.Type, e.Event.Schema, e.Event.Stream, e.Event.Version, e.Err)
}

// Unwrap returns what went wrong.
func (e *DecodeError) Unwrap() error { return e.Err }

// Is reports whether target is ErrUndecodable.
func (e *DecodeError) Is(target error) bool { return target == ErrUndecodable }
