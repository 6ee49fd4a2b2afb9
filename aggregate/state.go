package aggregate

import (
	"fmt"
	"reflect"
	"strings"
	"time"
)

// Both functions look for parts of a state that the repository's defaults would
// get wrong. They name the first one, "" when there is none.

// reference names the first part of a type that refers to memory elsewhere.
func reference(t reflect.Type, path []string) string {
	switch t.Kind() {
	case reflect.Pointer, reflect.Map, reflect.Slice, reflect.Chan, reflect.Func, reflect.Interface, reflect.UnsafePointer:
		return strings.Join(append(path, t.String()), " ")
	case reflect.Array:
		return reference(t.Elem(), path)
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return "" // its location is never changed in place
		}
		for f := range t.Fields() {
			if found := reference(f.Type, append(path, "field "+f.Name)); found != "" {
				return found
			}
		}
	}
	return ""
}

// unkept says what of a state a snapshot in BSON would not keep: codecs leave
// unexported fields out without a word, and a state without them decides by other
// rules.
func unkept(t reflect.Type) string {
	top := t
	for top.Kind() == reflect.Pointer {
		top = top.Elem()
	}
	if top.Kind() != reflect.Struct && top.Kind() != reflect.Map {
		return fmt.Sprintf("is %s, which does not encode as a document", t)
	}
	if field := hidden(t, t.String(), map[reflect.Type]bool{}); field != "" {
		return fmt.Sprintf("has the unexported field %s, which a snapshot would not keep", field)
	}
	return ""
}

// hidden names the first unexported field of a type.
func hidden(t reflect.Type, path string, seen map[reflect.Type]bool) string {
	if seen[t] || t == reflect.TypeFor[time.Time]() || writesItself(t) {
		return ""
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return hidden(t.Elem(), path, seen)
	case reflect.Struct:
		for f := range t.Fields() {
			here := path + "." + f.Name
			switch {
			case isRoot(f.Type) || f.Name == "_" || f.Tag.Get("bson") == "-" || f.Tag.Get("json") == "-":
				continue
			case !f.IsExported():
				return here
			}
			if found := hidden(f.Type, here, seen); found != "" {
				return found
			}
		}
	}
	return ""
}

// writesItself reports whether a type has methods by which the codec writes it.
// They are asked for by name: this package does not know of BSON.
func writesItself(t reflect.Type) bool {
	if t.Kind() != reflect.Pointer && t.Kind() != reflect.Interface {
		t = reflect.PointerTo(t)
	}
	_, document := t.MethodByName("MarshalBSON")
	_, value := t.MethodByName("MarshalBSONValue")
	return document || value
}

// isRoot reports whether a type is a [Root]: what it has recorded is no state.
func isRoot(t reflect.Type) bool {
	return t.PkgPath() == reflect.TypeFor[Root[any]]().PkgPath() && strings.HasPrefix(t.Name(), "Root[")
}
