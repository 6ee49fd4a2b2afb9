package eventstore

import (
	"bytes"
	"math"
	"reflect"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// NewBSONCodec returns the default codec. It takes the names of fields from bson
// struct tags and, where there are none, from json struct tags, so that domain
// types need not know of BSON; of a tag's options it honours omitempty, inline,
// minsize, truncate and omitzero, the last only in types that it writes by itself
// (see below). Types with the option string of encoding/json, or with omitzero
// where it is not honoured, are refused, by [NewRegistry] and when they are encoded
// or decoded. Embedded structs are subdocuments unless tagged inline.
// Documents in fields of interface type decode as map[string]any. A time keeps its
// milliseconds and is in UTC afterwards. Types write themselves with MarshalBSON
// or MarshalBSONValue; MarshalJSON and MarshalText are not asked.
//
// It reads and writes what the MongoDB driver's codec does with these settings.
// Types made of plain fields, slices, pointers and maps with string keys, which
// most events are, take a path of its own that is several times faster; all
// others, and every error, are left to the driver's.
func NewBSONCodec() Codec {
	// A registry of its own: the driver's keeps the field names that it first
	// saw for a type, and in its default registry those would be the names that
	// other code asked for.
	registry := bson.NewRegistry()
	c := &bsonCodec{}
	c.encoders.New = func() any {
		e := &bsonEncoder{}
		e.enc = bson.NewEncoder(bson.NewDocumentWriter(&e.buf))
		e.enc.SetRegistry(registry)
		e.enc.UseJSONStructTags()
		return e
	}
	c.decoders.New = func() any {
		d := bson.NewDecoder(bson.NewDocumentReader(bytes.NewReader(nil)))
		d.SetRegistry(registry)
		d.UseJSONStructTags()
		d.DefaultDocumentMap()
		return d
	}
	c.buffers.New = func() any { return new([]byte) }
	return c
}

type bsonCodec struct {
	plans              sync.Map // *bsonPlan by reflect.Type
	buffers            sync.Pool
	encoders, decoders sync.Pool // the driver's
}

type bsonEncoder struct {
	buf bytes.Buffer
	enc *bson.Encoder
}

// maxPooled is the size in bytes above which a buffer is not kept for reuse.
const maxPooled = 64 << 10

func (*bsonCodec) Format() Format { return BSON }

func (c *bsonCodec) Marshal(v any) ([]byte, error) {
	value := reflect.ValueOf(v)
	if value.Kind() == reflect.Pointer {
		value = value.Elem()
	}
	if !value.IsValid() {
		return c.marshalByDriver(v)
	}
	return c.marshalPlanned(c.plan(value.Type()), value, v)
}

// marshaler returns Marshal for values of a type, and pointers to such.
func (c *bsonCodec) marshaler(t reflect.Type) func(any) ([]byte, error) {
	plan := c.plan(t)
	return func(v any) ([]byte, error) {
		value := reflect.ValueOf(v)
		if value.Kind() == reflect.Pointer {
			value = value.Elem()
		}
		return c.marshalPlanned(plan, value, v)
	}
}

// marshalPlanned encodes v, which value is or what it points to.
func (c *bsonCodec) marshalPlanned(plan *bsonPlan, value reflect.Value, v any) ([]byte, error) {
	if data, ok := c.encode(plan, value); ok {
		return data, nil
	}
	if plan.err != nil {
		return nil, plan.err
	}
	return c.marshalByDriver(v)
}

// encode encodes a value by the plan of its type.
func (c *bsonCodec) encode(plan *bsonPlan, value reflect.Value) ([]byte, bool) {
	if plan.encode == nil {
		return nil, false
	}
	buf := c.buffers.Get().(*[]byte)
	data, ok := plan.encode((*buf)[:0], value)
	if ok = ok && len(data) <= math.MaxInt32; ok {
		*buf = data
		data = make([]byte, len(data))
		copy(data, *buf)
	}
	if cap(*buf) <= maxPooled {
		c.buffers.Put(buf)
	}
	return data, ok
}

func (c *bsonCodec) marshalByDriver(v any) ([]byte, error) {
	e := c.encoders.Get().(*bsonEncoder)
	e.buf.Reset()
	e.enc.Reset(bson.NewDocumentWriter(&e.buf))
	if err := e.enc.Encode(addressable(v)); err != nil {
		return nil, err // the encoder may be half way through a document: not pooled again
	}
	data := bytes.Clone(e.buf.Bytes())
	if e.buf.Cap() <= maxPooled {
		c.encoders.Put(e)
	}
	return data, nil
}

func (c *bsonCodec) Unmarshal(data []byte, v any) error {
	if err := validateBSON(data); err != nil {
		return err
	}
	if ok, err := c.unmarshalPlanned(data, v); ok || err != nil {
		return err
	}
	d := c.decoders.Get().(*bson.Decoder)
	d.Reset(bson.NewDocumentReader(bytes.NewReader(data)))
	err := d.Decode(v)
	c.decoders.Put(d)
	return err
}

// unmarshalPlanned decodes into a zero value; what is merged into one that has
// something in it is the driver's to say. Where it fails it leaves the zero value
// behind.
func (c *bsonCodec) unmarshalPlanned(data []byte, v any) (bool, error) {
	value := reflect.ValueOf(v)
	if value.Kind() != reflect.Pointer || value.IsNil() {
		return false, nil
	}
	value = value.Elem()
	plan := c.plan(value.Type())
	if plan.decode == nil || !value.IsZero() {
		return false, plan.err
	}
	r := bsonReader{data: data}
	if !plan.decode(&r, bsonDocument, value) {
		value.SetZero()
		return false, nil
	}
	return true, nil
}

func (c *bsonCodec) plan(t reflect.Type) *bsonPlan {
	if p, ok := c.plans.Load(t); ok {
		return p.(*bsonPlan)
	}
	p, _ := c.plans.LoadOrStore(t, planType(t))
	return p.(*bsonPlan)
}
