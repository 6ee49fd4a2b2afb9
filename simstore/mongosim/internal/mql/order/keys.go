package order

import (
	"bytes"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// pathOrArray follows a path through documents up to its end or an array on
// the way. rest is what is left of the path behind what it found.
func pathOrArray(doc bson.Raw, path string) (v bson.RawValue, rest string) {
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
	rest  string // of the path, "" once fixed
	fixed bson.RawValue
	at    positional
}

// A positional is a path component that names an element of the array that is
// being expanded ("a.0").
type positional struct {
	elem  bson.RawValue // the element; missing if the component names none
	value bson.RawValue // what the rest of the path leads to from there
	rest  string        // of the path behind value
}

// appendLeastKey appends the least of the keys an index would hold for doc.
func (o *Order) appendLeastKey(dst []byte, doc bson.Raw) ([]byte, error) {
	parts := make([]part, len(o.fields))
	for i, f := range o.fields {
		parts[i].rest = f.Path
	}
	k := keys{order: o}
	if err := k.expand(parts, doc); err != nil {
		return dst, err
	}
	return append(dst, k.least...), nil
}

type keys struct {
	order *Order
	least []byte
	key   []byte
}

// expand makes the keys for doc, in which the parts that aren't fixed yet are
// looked up.
func (k *keys) expand(parts []part, doc bson.Raw) error {
	var arr bson.RawValue
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
			p.fixed, p.rest = value.Null(), ""
		case v.Type != bson.TypeArray:
			p.fixed = v
		case arr.Type != 0 && &arr.Value[0] != &v.Value[0]:
			return mongoerr.New(mongoerr.BadValue, "cannot sort with keys that are parallel arrays")
		default:
			arr, through[i] = v, true
			whole = whole || nested
		}
	}
	for i := range parts {
		parts[i].at = positional{}
	}
	switch {
	case arr.Type == 0:
		k.offer(parts)
		return nil
	case value.IsEmpty(arr.Value):
		return k.element(parts, through, bson.RawValue{Type: bson.TypeUndefined}, arr, false)
	}
	for i := range parts {
		p := &parts[i]
		if p.rest == "" {
			continue
		}
		head, _, _ := strings.Cut(p.rest, ".")
		if p.at.elem = value.Field(arr.Value, head); p.at.elem.Type != 0 {
			p.at.value, p.at.rest = pathOrArray(arr.Value, p.rest)
		}
	}
	for _, v := range value.Elements(arr) {
		if err := k.element(parts, through, v, arr, whole); err != nil {
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
		v, p.rest = pathOrArray(doc, p.rest)
		return v, false, nil
	case byPosition:
		p.rest = p.at.rest
		return p.at.value, p.at.elem.Type == bson.TypeArray, nil
	}
	return v, false, nil
}

// element makes the keys that one element of the array gives.
func (k *keys) element(parts []part, through []bool, elem, arr bson.RawValue, whole bool) error {
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
	return k.expand(below, doc)
}

// offer keeps a key if it is the least so far.
func (k *keys) offer(parts []part) {
	k.key = k.key[:0]
	for i, p := range parts {
		k.key = value.AppendKey(k.key, p.fixed, k.order.fields[i].Desc)
	}
	if k.least == nil || bytes.Compare(k.key, k.least) < 0 {
		k.least = append(k.least[:0], k.key...)
	}
}
