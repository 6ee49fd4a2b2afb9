package order

import (
	"bytes"
	"math/rand/v2"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// maxFields bounds the fields of a specification.
const maxFields = 32

// A Field is one field to sort by.
type Field struct {
	Path string
	Desc bool
	rand bool // {$meta: "randVal"}: no field, a random order
}

// An Order is a parsed sort specification. It is safe for concurrent use.
type Order struct {
	fields  []Field
	natural int
}

// Parse checks a sort specification. Errors are *mongoerr.Error with the code
// a server refuses with.
func Parse(spec bson.Raw) (*Order, error) {
	o := &Order{}
	if v := value.Field(spec, "$natural"); v.Type != 0 {
		return o, o.parseNatural(spec, v)
	}
	for name, v := range value.Fields(spec) {
		f, err := parseField(name, v)
		if err != nil {
			return nil, err
		}
		o.fields = append(o.fields, f)
	}
	if len(o.fields) > maxFields {
		return nil, mongoerr.New(13103, "too many compound keys")
	}
	return o, nil
}

func (o *Order) parseNatural(spec bson.Raw, v bson.RawValue) error {
	if value.Len(value.Doc(spec)) != 1 {
		return mongoerr.New(mongoerr.BadValue, "Cannot include '$natural' in compound sort: %s", expr.Show(value.Doc(spec)))
	}
	o.natural = int(value.ClampInt64(v))
	if o.natural != 1 && o.natural != -1 {
		return mongoerr.New(mongoerr.BadValue, "$natural sort cannot be set to a value other than -1 or 1.")
	}
	return nil
}

func parseField(name string, v bson.RawValue) (Field, error) {
	if v.Type == bson.TypeEmbeddedDocument {
		return parseMeta(v)
	}
	if !value.IsNumber(v) {
		return Field{}, mongoerr.New(15974, "Illegal key in $sort specification: %s: %s", name, expr.Show(v))
	}
	n := value.ClampInt64(v)
	if n != 1 && n != -1 {
		return Field{}, mongoerr.New(15975, "$sort key ordering must be 1 (for ascending) or -1 (for descending)")
	}
	if err := expr.CheckPath(name); err != nil {
		return Field{}, err
	}
	return Field{Path: name, Desc: n < 0}, nil
}

func parseMeta(v bson.RawValue) (Field, error) {
	name, meta, _, _ := value.Next(value.Body(v.Value))
	switch {
	case name != "$meta":
		return Field{}, mongoerr.New(17312, "$meta is the only expression supported by $sort right now")
	case value.Len(v) != 1:
		return Field{}, mongoerr.New(mongoerr.FailedToParse, "Cannot have additional keys in a $meta sort specification")
	}
	kind := ""
	if meta.Type == bson.TypeString {
		kind = value.AsString(meta)
	}
	switch kind {
	case "randVal":
		return Field{Desc: true, rand: true}, nil
	case "textScore":
		return Field{}, mongoerr.New(40218, "query requires text score metadata, but it is not available")
	case "searchScore":
		return Field{}, mongoerr.New(31218, "$meta sort by 'searchScore' metadata is not supported")
	case "searchHighlights":
		return Field{}, mongoerr.New(31219, "$meta sort by 'searchHighlights' metadata is not supported")
	}
	return Field{}, mongoerr.New(31138, "Illegal $meta sort: $meta: %s", expr.Show(meta))
}

// Fields lists the fields to sort by, for a planner. It is nil if the order
// can't come from an index.
func (o *Order) Fields() []Field {
	for _, f := range o.fields {
		if f.rand {
			return nil
		}
	}
	return o.fields
}

// Natural gives the direction of {$natural: 1} or {$natural: -1}, 0 for any
// other order.
func (o *Order) Natural() int { return o.natural }

// AppendKey appends to dst the bytes that order doc: bytes.Compare of two keys
// is the order of the documents. It fails if two fields run through different
// arrays.
func (o *Order) AppendKey(dst []byte, doc bson.Raw) ([]byte, error) {
	start := len(dst)
	for _, f := range o.fields {
		if f.rand {
			dst = value.AppendKey(dst, value.Double(rand.Float64()), f.Desc)
			continue
		}
		v, rest := PathOrArray(doc, f.Path)
		switch {
		case v.Type == bson.TypeArray && rest == "" && len(o.fields) == 1 && f.Path == "_id":
			// the one path whose arrays order as wholes, as no index spreads them
		case v.Type == bson.TypeArray:
			return o.appendLeastKey(dst[:start], doc)
		case v.Type == 0 || rest != "":
			v = value.Null()
		}
		dst = value.AppendKey(dst, v, f.Desc)
	}
	return dst, nil
}

// Compare orders two documents. Documents that have no key, as AppendKey says,
// come before all others.
func (o *Order) Compare(a, b bson.Raw) int {
	x, errX := o.AppendKey(nil, a)
	y, errY := o.AppendKey(nil, b)
	switch {
	case errX != nil && errY != nil:
		return 0
	case errX != nil:
		return -1
	case errY != nil:
		return 1
	}
	return bytes.Compare(x, y)
}
