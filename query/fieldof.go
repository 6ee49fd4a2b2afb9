package query

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
)

// Tags says which struct tags name the stored fields.
type Tags uint8

const (
	// BSONTags is how the driver names fields by default: by the bson tag, or else the Go
	// name in lower case.
	BSONTags Tags = iota
	// JSONTags is how the driver names fields with BSONOptions.UseJSONStructTags:
	// by the bson tag, or else the json tag, or else the Go name in lower case.
	JSONTags
)

// FieldOf makes the Field of a struct field, chosen by a function that returns
// its address:
//
//	var total = query.FieldOf(func(o *Order) *int64 { return &o.Total })
//
// The compiler checks field and type: renaming or retyping the Go field breaks
// the build and not the query. The name in the database comes from the struct
// tags. The function is called once, with a value in which all embedded
// pointers to structs are set, so &o.Customer.Address.City works through pointers.
// Use it for package variables; a function that returns something other than the
// address of a field gives a Field with an error.
func FieldOf[D, T any](choose func(*D) *T, tags ...Tags) Field[T] {
	return Field[T](pathOf(choose, tags))
}

// StringFieldOf is FieldOf for strings.
func StringFieldOf[D any, T ~string](choose func(*D) *T, tags ...Tags) StringField[T] {
	return StringField[T]{FieldOf(choose, tags...)}
}

// OptionalFieldOf is FieldOf for pointers: nil is stored as null or not at all,
// comparisons take the value.
func OptionalFieldOf[D, T any](choose func(*D) **T, tags ...Tags) Field[T] {
	return Field[T](pathOf(choose, tags))
}

// ArrayFieldOf is FieldOf for slices.
func ArrayFieldOf[D any, S ~[]E, E any](choose func(*D) *S, tags ...Tags) ArrayField[E] {
	return ArrayField[E](pathOf(choose, tags))
}

// pathOf finds the field whose address the function returns.
func pathOf[D, T any](choose func(*D) *T, tags []Tags) (found pathAndError) {
	var doc D
	root := reflect.ValueOf(&doc).Elem()
	if root.Kind() != reflect.Struct {
		return pathAndError{err: fmt.Errorf("FieldOf: %s is not a struct", root.Type())}
	}
	defer func() {
		if r := recover(); r != nil {
			found = pathAndError{err: fmt.Errorf("FieldOf: the function for a field of %s panicked: %v", root.Type(), r)}
		}
	}()
	fillPointers(root, nil)
	target := reflect.ValueOf(choose(&doc))
	if target.IsNil() {
		return pathAndError{err: fmt.Errorf("FieldOf: the function for a field of %s returned nil", root.Type())}
	}
	t := BSONTags
	if len(tags) > 0 {
		t = tags[0]
	}
	path, ok, err := search(root, target, t, nil)
	switch {
	case err != nil:
		return pathAndError{err: err}
	case !ok:
		return pathAndError{err: fmt.Errorf("FieldOf: the function for %s returned the address of something that is not a stored field", root.Type())}
	}
	p := strings.Join(path, ".")
	return pathAndError{path: p, err: checkField(p)}
}

// fillPointers sets pointers to structs, once per type on each way down, so that
// recursive types end.
func fillPointers(v reflect.Value, seen []reflect.Type) {
	for _, t := range seen {
		if t == v.Type() {
			return
		}
	}
	seen = append(seen, v.Type())
	for _, f := range v.Fields() {
		switch {
		case f.Kind() == reflect.Struct:
			fillPointers(f, seen)
		case f.Kind() == reflect.Pointer && f.Type().Elem().Kind() == reflect.Struct && f.CanSet():
			f.Set(reflect.New(f.Type().Elem()))
			fillPointers(f.Elem(), seen)
		}
	}
}

// search walks the struct for a field at the target's address and of its type.
// A struct and its first field share an address; the type tells them apart.
func search(v, target reflect.Value, tags Tags, path []string) ([]string, bool, error) {
	for i := range v.NumField() {
		sf, f := v.Type().Field(i), v.Field(i)
		if !sf.IsExported() {
			continue
		}
		key, inline, skip := storedName(sf, tags)
		if skip {
			if contains(f, target) {
				return nil, false, fmt.Errorf("FieldOf: %s.%s is not stored, its tag is \"-\"", v.Type(), sf.Name)
			}
			continue
		}
		here := path
		if !inline {
			here = append(slices.Clip(path), key)
		}
		if !inline && f.CanAddr() && f.Addr().Pointer() == target.Pointer() && f.Type() == target.Type().Elem() {
			return here, true, nil
		}
		inner := f
		if f.Kind() == reflect.Pointer && !f.IsNil() && f.Type().Elem().Kind() == reflect.Struct {
			inner = f.Elem()
		}
		if inner.Kind() != reflect.Struct {
			continue
		}
		if found, ok, err := search(inner, target, tags, here); ok || err != nil {
			return found, ok, err
		}
	}
	return nil, false, nil
}

// contains reports whether the target lies inside the field.
func contains(f, target reflect.Value) bool {
	if !f.CanAddr() {
		return false
	}
	start, at := f.Addr().Pointer(), target.Pointer()
	return f.Type().Size() > 0 && at >= start && at < start+f.Type().Size()
}

// storedName reads the tag the way the driver does.
func storedName(sf reflect.StructField, tags Tags) (key string, inline, skip bool) {
	tag, ok := sf.Tag.Lookup("bson")
	if !ok && !strings.Contains(string(sf.Tag), ":") && sf.Tag != "" {
		tag, ok = string(sf.Tag), true
	}
	if !ok && tags == JSONTags {
		tag = sf.Tag.Get("json")
	}
	if tag == "-" {
		return "", false, true
	}
	key, options, _ := strings.Cut(tag, ",")
	if key == "" {
		key = strings.ToLower(sf.Name)
	}
	for o := range strings.SplitSeq(options, ",") {
		inline = inline || o == "inline"
	}
	return key, inline, false
}
