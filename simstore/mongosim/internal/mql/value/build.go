package value

import (
	"encoding/binary"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// AppendElem appends a field to the body of a document. A missing value
// appends nothing.
func AppendElem(dst []byte, key string, v bson.RawValue) []byte {
	if v.Type == 0 {
		return dst
	}
	dst = append(dst, byte(v.Type))
	dst = append(dst, key...)
	dst = append(dst, 0)
	return append(dst, v.Value...)
}

// AppendStart begins a document or array inside a buffer; at goes to
// AppendEnd.
func AppendStart(dst []byte) (out []byte, at int) {
	return append(dst, 0, 0, 0, 0), len(dst)
}

// AppendElemStart begins an embedded document or array as the field key.
func AppendElemStart(dst []byte, t bson.Type, key string) (out []byte, at int) {
	dst = append(dst, byte(t))
	dst = append(dst, key...)
	dst = append(dst, 0)
	return AppendStart(dst)
}

// AppendEnd finishes what AppendStart began at at.
func AppendEnd(dst []byte, at int) []byte {
	dst = append(dst, 0)
	binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at))
	return dst
}

// Object builds a document field by field. Its zero value is ready.
type Object struct{ buf []byte }

// NewObject starts a document whose size is expected to be about size bytes.
func NewObject(size int) *Object {
	return &Object{buf: append(make([]byte, 0, size+5), 0, 0, 0, 0)}
}

// Add appends a field. A missing value appends nothing.
func (o *Object) Add(key string, v bson.RawValue) {
	if len(o.buf) == 0 {
		o.buf = append(make([]byte, 0, 64), 0, 0, 0, 0)
	}
	o.buf = AppendElem(o.buf, key, v)
}

// AddAll appends all fields of a document.
func (o *Object) AddAll(doc bson.Raw) {
	if len(o.buf) == 0 {
		o.buf = append(make([]byte, 0, len(doc)+32), 0, 0, 0, 0)
	}
	if len(doc) > 5 {
		o.buf = append(o.buf, doc[4:len(doc)-1]...)
	}
}

// Doc finishes the document. The Object must not be used afterwards.
func (o *Object) Doc() bson.Raw {
	if len(o.buf) == 0 {
		o.buf = append(o.buf, 0, 0, 0, 0)
	}
	return bson.Raw(AppendEnd(o.buf, 0))
}

// Value finishes the document as a value.
func (o *Object) Value() bson.RawValue { return Doc(o.Doc()) }

// Arr builds an array element by element. Its zero value is ready.
type Arr struct {
	buf []byte
	n   int
}

// Add appends an element; a missing value becomes null.
func (a *Arr) Add(v bson.RawValue) {
	if len(a.buf) == 0 {
		a.buf = append(make([]byte, 0, 64), 0, 0, 0, 0)
	}
	t := v.Type
	if t == 0 {
		t = bson.TypeNull
	}
	a.buf = append(a.buf, byte(t))
	a.buf = strconv.AppendInt(a.buf, int64(a.n), 10)
	a.buf = append(a.buf, 0)
	a.buf = append(a.buf, v.Value...)
	a.n++
}

// AddAll appends the elements of an array.
func (a *Arr) AddAll(arr bson.RawValue) {
	for _, v := range Elements(arr) {
		a.Add(v)
	}
}

// Len tells how many elements there are so far.
func (a *Arr) Len() int { return a.n }

// Size tells how many bytes the array holds so far.
func (a *Arr) Size() int { return len(a.buf) }

// Value finishes the array. The Arr must not be used afterwards.
func (a *Arr) Value() bson.RawValue {
	if len(a.buf) == 0 {
		a.buf = append(a.buf, 0, 0, 0, 0)
	}
	return bson.RawValue{Type: bson.TypeArray, Value: AppendEnd(a.buf, 0)}
}

// With returns a copy of doc in which the field key has the value v: in its
// place if it is there, at the end otherwise; a missing v removes it.
func With(doc bson.Raw, key string, v bson.RawValue) bson.Raw {
	o := NewObject(len(doc) + len(key) + len(v.Value) + 2)
	done := false
	for k, old := range Fields(doc) {
		if k != key {
			o.Add(k, old)
			continue
		}
		if !done {
			o.Add(k, v)
			done = true
		}
	}
	if !done {
		o.Add(key, v)
	}
	return o.Doc()
}

// Clone copies a value into memory of its own.
func Clone(v bson.RawValue) bson.RawValue {
	return bson.RawValue{Type: v.Type, Value: append([]byte(nil), v.Value...)}
}
