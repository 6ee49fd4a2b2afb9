package order

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// PathOrArray follows a path through documents up to its end or an array on
// the way. rest is what is left of the path behind what it found.
func PathOrArray(doc bson.Raw, path string) (v bson.RawValue, rest string) {
	for {
		head, tail, _ := strings.Cut(path, ".")
		v = value.Field(doc, head)
		switch {
		case v.Type == 0, v.Type == bson.TypeArray, tail == "":
			return v, tail
		case v.Type != bson.TypeEmbeddedDocument:
			return bson.RawValue{}, tail
		}
		doc, path = v.Value, tail
	}
}

// A part is one field of a key while the key is made.
type part struct {
	rest  string        // of the path, "" once fixed
	fixed bson.RawValue // missing if the path led nowhere
	at    positional
}

// A positional is a path component that names an element of the array that is
// being expanded ("a.0").
type positional struct {
	elem  bson.RawValue // the element; missing if the component names none
	value bson.RawValue // what the rest of the path leads to from there
	rest  string        // of the path behind value
}

// ParallelArrays is the error of fields that run through different arrays, which no key can be made of. It
// names the fields that hold them.
type ParallelArrays struct{ Second, First string }

func (e *ParallelArrays) Error() string {
	return fmt.Sprintf("cannot index parallel arrays [%s] [%s]", e.Second, e.First)
}

// Expand gives emit the values of each key that an index over paths holds for doc: an array contributes its
// elements, an empty one undefined; a missing value is the zero one. through has a bit for each path that ran
// through an array. emit must not keep values. An error of emit ends it.
func Expand(paths []string, doc bson.Raw, emit func(values []bson.RawValue, through uint64) error) error {
	parts := make([]part, len(paths))
	for i, path := range paths {
		parts[i].rest = path
	}
	e := expansion{paths: paths, emit: emit, values: make([]bson.RawValue, len(paths))}
	return e.expand(parts, doc, 0)
}

// appendLeastKey appends the least of the keys an index would hold for doc.
func (o *Order) appendLeastKey(dst []byte, doc bson.Raw) ([]byte, error) {
	paths := make([]string, len(o.fields))
	for i, f := range o.fields {
		paths[i] = f.Path
	}
	var least, key []byte
	err := Expand(paths, doc, func(values []bson.RawValue, _ uint64) error {
		key = key[:0]
		for i, v := range values {
			if v.Type == 0 {
				v = value.Null()
			}
			key = value.AppendKey(key, v, o.fields[i].Desc)
		}
		if least == nil || bytes.Compare(key, least) < 0 {
			least = append(least[:0], key...)
		}
		return nil
	})
	if _, ok := errors.AsType[*ParallelArrays](err); ok {
		err = mongoerr.New(mongoerr.BadValue, "cannot sort with keys that are parallel arrays")
	}
	return append(dst, least...), err
}

// An expansion is the making of one document's keys.
type expansion struct {
	paths  []string
	values []bson.RawValue
	emit   func([]bson.RawValue, uint64) error
}

// holder is the name of the field that path reached with rest left.
func holder(path, rest string) string {
	path = strings.TrimSuffix(strings.TrimSuffix(path, rest), ".")
	return path[strings.LastIndexByte(path, '.')+1:]
}

// expand makes the keys for doc, in which the parts that aren't fixed yet are
// looked up. before are the parts that ran through arrays so far.
func (e *expansion) expand(parts []part, doc bson.Raw, before uint64) error {
	var arr bson.RawValue
	first := 0                          // the part that found arr
	through := make([]bool, len(parts)) // the parts that run through arr
	whole := false                      // arr isn't expanded for the parts that end there
	for i := range parts {
		p := &parts[i]
		if p.rest == "" {
			continue
		}
		v, nested, err := p.next(doc)
		if err != nil {
			return err
		}
		switch {
		case v.Type == 0:
			p.fixed, p.rest = v, ""
		case v.Type != bson.TypeArray:
			p.fixed = v
		case arr.Type != 0 && &arr.Value[0] != &v.Value[0]:
			return &ParallelArrays{Second: holder(e.paths[i], p.rest), First: holder(e.paths[first], parts[first].rest)}
		default:
			if arr.Type == 0 {
				first = i
			}
			arr, through[i] = v, true
			before |= 1 << i
			whole = whole || nested
		}
	}
	for i := range parts {
		parts[i].at = positional{}
	}
	switch {
	case arr.Type == 0:
		for i, p := range parts {
			e.values[i] = p.fixed
		}
		return e.emit(e.values, before)
	case value.IsEmpty(arr.Value):
		return e.element(parts, through, bson.RawValue{Type: bson.TypeUndefined}, arr, false, before)
	}
	for i := range parts {
		p := &parts[i]
		if p.rest == "" {
			continue
		}
		head, _, _ := strings.Cut(p.rest, ".")
		if p.at.elem = value.Field(arr.Value, head); p.at.elem.Type != 0 {
			p.at.value, p.at.rest = PathOrArray(arr.Value, p.rest)
		}
	}
	for _, v := range value.Elements(arr) {
		if err := e.element(parts, through, v, arr, whole, before); err != nil {
			return err
		}
	}
	return nil
}

// next looks up a part in doc, or takes what its position in the array leads
// to. nested tells that this position holds an array itself.
func (p *part) next(doc bson.Raw) (v bson.RawValue, nested bool, err error) {
	head, _, _ := strings.Cut(p.rest, ".")
	has := value.Field(doc, head).Type != 0
	byPosition := p.at.elem.Type != 0
	switch {
	case has && byPosition:
		return v, false, mongoerr.New(16746,
			"Ambiguous field name found in array (do not use numeric field names in embedded elements in an array), field: '%s'", head)
	case has:
		v, p.rest = PathOrArray(doc, p.rest)
		return v, false, nil
	case byPosition:
		p.rest = p.at.rest
		return p.at.value, p.at.elem.Type == bson.TypeArray, nil
	}
	return v, false, nil
}

// element makes the keys that one element of the array gives.
func (e *expansion) element(parts []part, through []bool, elem, arr bson.RawValue, whole bool, before uint64) error {
	below := make([]part, len(parts))
	copy(below, parts)
	for i := range below {
		if !through[i] || below[i].rest != "" {
			continue
		}
		below[i].fixed = elem
		if whole {
			below[i].fixed = arr
		}
	}
	var doc bson.Raw
	if elem.Type == bson.TypeEmbeddedDocument {
		doc = elem.Value
	}
	return e.expand(below, doc, before)
}
