package projection

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/annals-es/annals/eventstore"
)

// A Fold is a read model of documents of type D, each the fold of the events that
// concern its key. Its functions are pure: what they return follows from their
// arguments alone. A [Worker] has documents and checkpoint written in one step,
// so every event counts exactly once, whatever crashes when.
type Fold[D any] struct {
	// Name is the projection's stable name. It is not empty and holds none of
	// "@", "/" and NUL.
	Name string
	// Version is raised when handlers change what they make of old events: the
	// new version is built beside the old one. 1 when zero.
	Version int
	// Handlers say what events do, at most one for each event type. Events
	// without a handler are not read.
	Handlers []FoldHandler[D]
	// Categories restricts the projection to streams of these categories.
	Categories []string
	// Codec encodes documents; BSON when nil, with the names of fields taken
	// from bson or json struct tags. A backend may take no other. No field of a
	// document is named _id: that is where MongoDB has the document's key.
	Codec eventstore.Codec
}

// A FoldHandler says what events of one Go type do to documents of type D.
// [FoldOn] and others make one.
type FoldHandler[D any] struct {
	what     string
	types    func(*eventstore.Registry) []eventstore.EventType
	keys     func(payload any, e eventstore.Event) []string
	apply    func(w *Work, key string, payload any, e eventstore.Event) error
	load     bool
	byStream bool
}

// FoldOn has the document of an event's key replaced by what fn makes of it and
// the event. A document that is missing is the zero D. An event with an empty key
// concerns no document. When key is nil it is that of the event's stream (the
// whole name if that has none); when it is nil in all handlers of a projection,
// each partition reads its own share of the streams alone.
func FoldOn[D, E any](key func(E, eventstore.Event) string, fn func(D, E, eventstore.Event) D) FoldHandler[D] {
	var keys func(E, eventstore.Event) []string
	if key != nil {
		keys = func(v E, e eventstore.Event) []string { return []string{key(v, e)} }
	}
	return FoldEach(keys, fn)
}

// FoldEach is [FoldOn] for events that concern several documents. Repeated keys
// count once.
func FoldEach[D, E any](keys func(E, eventstore.Event) []string, fn func(D, E, eventstore.Event) D) FoldHandler[D] {
	return ReduceOn(keys, func(d *D, v E, e eventstore.Event) (*D, error) {
		if d == nil {
			d = new(D)
		}
		*d = fn(*d, v, e)
		return d, nil
	})
}

// ReduceOn is the general handler: fn gets nil for a document that is missing and
// returns nil for one that is to be removed. It may change the document that it
// is given. An error has the event tried again and then parked for this key; see
// [WorkerConfig] and [Permanent].
func ReduceOn[D, E any](keys func(E, eventstore.Event) []string, fn func(*D, E, eventstore.Event) (*D, error)) FoldHandler[D] {
	h := newFoldHandler[D](keys)
	h.load = true
	h.apply = func(w *Work, key string, payload any, e eventstore.Event) error {
		d, err := Load[D](w, key)
		if err != nil {
			return err
		}
		next, err := fn(d, payload.(E), e)
		switch {
		case err != nil:
			return err
		case next != nil:
			return w.Put(key, next)
		case d != nil:
			return w.Delete(key)
		}
		return nil
	}
	return h
}

// UpdateOn changes the documents of an event's keys in part, without loading
// them: for large ones. Fn returns a [Patch], or what the backend takes as an
// update; nil for none. A document that is missing is made.
//
// Where a projection both folds and updates one document, its batches are cut
// between the two, so keep them apart for speed.
func UpdateOn[D, E any](keys func(E, eventstore.Event) []string, fn func(E, eventstore.Event) (any, error)) FoldHandler[D] {
	h := newFoldHandler[D](keys)
	h.apply = func(w *Work, key string, payload any, e eventstore.Event) error {
		u, err := fn(payload.(E), e)
		if err != nil || u == nil {
			return err
		}
		return w.Update(key, u)
	}
	return h
}

// DeleteOn removes the documents of an event's keys.
func DeleteOn[D, E any](keys func(E, eventstore.Event) []string) FoldHandler[D] {
	h := newFoldHandler[D](keys)
	h.apply = func(w *Work, key string, _ any, _ eventstore.Event) error { return w.Delete(key) }
	return h
}

func newFoldHandler[D, E any](keys func(E, eventstore.Event) []string) FoldHandler[D] {
	h := FoldHandler[D]{
		what:     fmt.Sprintf("Go type %T", *new(E)),
		types:    eventstore.Names[E],
		byStream: keys == nil,
		keys:     func(_ any, e eventstore.Event) []string { return []string{StreamKey(e.Stream)} },
	}
	if keys != nil {
		h.keys = func(payload any, e eventstore.Event) []string { return keys(payload.(E), e) }
	}
	return h
}

// StreamKey returns the key of a stream, or the whole name when it has none: what
// [eventstore.StreamID.ShareHash] is the hash of.
func StreamKey(s eventstore.StreamID) string {
	if key := s.Key(); key != "" {
		return key
	}
	return string(s)
}

// hasKeyField reports whether documents of type D are written with a field _id,
// unless it is only written when it is not empty.
func hasKeyField[D any](codec eventstore.Codec) bool {
	data, err := codec.Marshal(new(D))
	if err != nil {
		return false // documents that are not zero may do better
	}
	var probe struct {
		ID any `bson:"_id" json:"_id"`
	}
	return codec.Unmarshal(data, &probe) == nil && probe.ID != nil
}

// isScalar reports whether values of type D are numbers, strings or the like, which
// no codec writes as a document.
func isScalar[D any](codec eventstore.Codec) bool {
	t := reflect.TypeFor[D]()
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	switch t.Kind() {
	case reflect.Struct, reflect.Map, reflect.Slice, reflect.Array, reflect.Interface:
		return false
	default:
		_, err := codec.Marshal(new(D)) // it may write itself
		return err != nil
	}
}

// Plan implements [Definition].
func (f Fold[D]) Plan(r *eventstore.Registry) (*Plan, error) {
	p := &Plan{
		Name:     f.Name,
		Version:  f.Version,
		Filter:   eventstore.Filter{Categories: f.Categories},
		Codec:    f.Codec,
		ByStream: true,
	}
	errs := []error{p.Check()}
	invalid := func(format string, args ...any) {
		errs = append(errs, &eventstore.InvalidError{What: "projection " + f.Name, Reason: fmt.Sprintf(format, args...)})
	}
	if len(f.Handlers) == 0 {
		invalid("has no handlers")
	}
	if isScalar[D](p.Codec) {
		invalid("has documents of type %T, which is not written as a document; make it a field of a struct", *new(D))
	}
	if hasKeyField[D](p.Codec) {
		invalid("has documents of type %T with a field _id, where the document's key is kept; give the field another name", *new(D))
	}
	handlers := map[eventstore.EventType]*FoldHandler[D]{}
	for i := range f.Handlers {
		h := &f.Handlers[i]
		if h.types == nil {
			invalid("has a handler that was not made by a function of this package")
			continue
		}
		p.ByStream = p.ByStream && h.byStream
		types := h.types(r)
		if len(types) == 0 {
			invalid("handles %s, which is not registered", h.what)
		}
		for _, t := range types {
			if handlers[t] != nil {
				invalid("has two handlers for event type %s", t)
			}
			handlers[t] = h
			p.Filter.Types = append(p.Filter.Types, t)
		}
	}
	p.Route = func(e eventstore.Event) (Routed, error) {
		payload, err := r.Decode(e)
		if err != nil {
			return Routed{}, Permanent(err)
		}
		h := handlers[e.Type]
		return Routed{Payload: payload, Keys: h.keys(payload, e), Load: h.load}, nil
	}
	p.Apply = func(_ context.Context, w *Work, routed Routed, key string) error {
		return handlers[routed.Event.Type].apply(w, key, routed.Payload, routed.Event)
	}
	return p, errors.Join(errs...)
}
