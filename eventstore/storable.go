package eventstore

import (
	"encoding"
	"encoding/json"
	"fmt"
	"reflect"
)

// A storage is what a codec can store, as far as types alone tell. A codec leaves
// unexported fields out without a word; for a type that keeps all it has in them,
// as decimals and addresses of other packages do, an event would be stored empty.
type storage struct {
	// custom reports whether values of a type write and read themselves.
	custom func(reflect.Type) bool
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
		mend:     "MarshalJSON and UnmarshalJSON",
		promotes: true,
	}
}

func (c *bsonCodec) storage() storage {
	return storage{
		custom:  func(t reflect.Type) bool { return t == timeType || ofDriver(t) || implementsAny(t, customTypes[:]) },
		mend:    "MarshalBSONValue and UnmarshalBSONValue",
		refuses: func(t reflect.Type) string { return c.plan(t).refused },
	}
}

// mistake says which part of a type would be lost or could not be read back, ""
// for none.
func (s storage) mistake(t reflect.Type) string {
	if m := s.check(t, t.String(), map[reflect.Type]bool{}); m != "" || s.refuses == nil {
		return m
	}
	return s.refuses(t)
}

func (s storage) check(t reflect.Type, path string, seen map[reflect.Type]bool) string {
	if seen[t] || s.custom(t) {
		return ""
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return s.check(t.Elem(), path, seen)
	case reflect.Struct:
		return s.checkStruct(t, path, seen)
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return fmt.Sprintf("%s is an interface (%s), which nothing can be read back into; use a concrete type", path, t)
		}
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.Uintptr, reflect.UnsafePointer:
		return fmt.Sprintf("%s (%s) cannot be stored", path, t)
	}
	return ""
}

func (s storage) checkStruct(t reflect.Type, path string, seen map[reflect.Type]bool) string {
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
		if m := s.check(f.Type, path+"."+f.Name, seen); m != "" {
			return m
		}
	}
	if hidden > 0 && stored == 0 {
		return fmt.Sprintf("%s (%s) has unexported fields only, which are not stored; export them or give it %s", path, t, s.mend)
	}
	return ""
}

func hasExported(t reflect.Type) bool {
	for f := range t.Fields() {
		if f.IsExported() {
			return true
		}
	}
	return false
}
