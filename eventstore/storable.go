package eventstore

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A storage is what a codec can store, as far as types alone tell. A codec leaves
// unexported fields out without a word; for a type that keeps all it has in them,
// as decimals and addresses of other packages do, an event would be stored empty.
type storage struct {
	// custom reports whether values of a type write and read themselves.
	custom func(reflect.Type) bool
	// writers are the interfaces of values that write themselves, the one that is
	// preferred first.
	writers []reflect.Type
	// mend says how a type does that.
	mend string
	// promotes is set when the exported fields of an embedded struct are stored
	// though the struct's own name is not exported.
	promotes bool
	// refuses says which tag the codec does not heed, "" for none; nil if it
	// heeds all.
	refuses func(reflect.Type) string
}

// A typedCodec is a codec that knows what it can store.
type typedCodec interface{ storage() storage }

func (jsonCodec) storage() storage {
	custom := []reflect.Type{
		reflect.TypeFor[json.Marshaler](), reflect.TypeFor[json.Unmarshaler](),
		reflect.TypeFor[encoding.TextMarshaler](), reflect.TypeFor[encoding.TextUnmarshaler](),
	}
	return storage{
		custom:   func(t reflect.Type) bool { return implementsAny(t, custom) },
		writers:  []reflect.Type{reflect.TypeFor[json.Marshaler](), reflect.TypeFor[encoding.TextMarshaler]()},
		mend:     "MarshalJSON and UnmarshalJSON",
		promotes: true,
	}
}

func (c *bsonCodec) storage() storage {
	return storage{
		custom:  func(t reflect.Type) bool { return t == timeType || ofDriver(t) || implementsAny(t, customTypes[:]) },
		writers: []reflect.Type{reflect.TypeFor[bson.ValueMarshaler](), reflect.TypeFor[bson.Marshaler]()},
		mend:    "MarshalBSONValue and UnmarshalBSONValue",
		refuses: func(t reflect.Type) string { return c.plan(t).refused },
	}
}

// mistake says which part of a type would be lost or could not be read back, ""
// for none.
func (s storage) mistake(t reflect.Type) string {
	if m := s.check(part{t, true}, t.String(), map[part]bool{}); m != "" || s.refuses == nil {
		return m
	}
	return s.refuses(t)
}

// A part is a type where it stands: whether a codec can take the address of its
// values there. It can't in maps.
type part struct {
	reflect.Type
	addressable bool
}

func (s storage) check(t part, path string, seen map[part]bool) string {
	if seen[t] {
		return ""
	}
	seen[t] = true
	if s.custom(t.Type) {
		if !t.addressable && s.writtenByPointer(t.Type) {
			return fmt.Sprintf("%s (%[2]s) is in a map and writes itself by a method of *%[2]s, which is not called there; make it a method of %[2]s, or keep pointers in the map", path, t.Type)
		}
		return ""
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice:
		return s.check(part{t.Elem(), true}, path, seen)
	case reflect.Array:
		return s.check(part{t.Elem(), t.addressable}, path, seen)
	case reflect.Map:
		return s.check(part{t.Elem(), false}, path, seen)
	case reflect.Struct:
		return s.checkStruct(t, path, seen)
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return fmt.Sprintf("%s is an interface (%s), which nothing can be read back into; use a concrete type", path, t.Type)
		}
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.Uintptr, reflect.UnsafePointer:
		return fmt.Sprintf("%s (%s) cannot be stored", path, t.Type)
	}
	return ""
}

func (s storage) checkStruct(t part, path string, seen map[part]bool) string {
	hidden, stored := 0, 0
	for f := range t.Fields() {
		switch embedded := f.Anonymous && f.Type.Kind() == reflect.Struct; {
		case f.Name == "_":
			continue
		case f.IsExported() || embedded && s.promotes:
			stored++
		case embedded && hasExported(f.Type):
			return fmt.Sprintf("%s.%s is embedded and not exported, so its fields are not stored; export its type or make it a field", path, f.Name)
		default:
			hidden++
			continue
		}
		if f.Tag.Get("bson") == "-" || f.Tag.Get("json") == "-" {
			continue
		}
		if m := s.check(part{f.Type, t.addressable}, path+"."+f.Name, seen); m != "" {
			return m
		}
	}
	if hidden > 0 && stored == 0 {
		return fmt.Sprintf("%s (%s) has unexported fields only, which are not stored; export them or give it %s", path, t.Type, s.mend)
	}
	return ""
}

// writtenByPointer reports whether the method that a type writes itself with is one
// of pointers to it.
func (s storage) writtenByPointer(t reflect.Type) bool {
	for _, w := range s.writers {
		if reflect.PointerTo(t).Implements(w) {
			return !t.Implements(w)
		}
	}
	return false
}

func hasExported(t reflect.Type) bool {
	for f := range t.Fields() {
		if f.IsExported() {
			return true
		}
	}
	return false
}
