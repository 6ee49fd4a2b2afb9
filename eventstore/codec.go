package eventstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A Codec turns Go values into event data and back. Implementations are safe
// for concurrent use.
type Codec interface {
	// Format is what Marshal makes and Unmarshal takes.
	Format() Format
	// Marshal returns data that the caller may keep. A value whose encoding is
	// not a document or object is an error.
	Marshal(v any) ([]byte, error)
	// Unmarshal decodes data into the value that v points to. It keeps nothing
	// of data.
	Unmarshal(data []byte, v any) error
}

// NewBSONCodec returns the default codec. It takes the names of fields from bson
// struct tags and, where there are none, from json struct tags, so that domain
// types need not know of BSON. Documents in fields of interface type decode as
// map[string]any. A time keeps its milliseconds and is in UTC afterwards.
func NewBSONCodec() Codec {
	c := &bsonCodec{}
	c.encoders.New = func() any {
		e := &bsonEncoder{}
		e.enc = bson.NewEncoder(bson.NewDocumentWriter(&e.buf))
		e.enc.UseJSONStructTags()
		return e
	}
	c.decoders.New = func() any {
		d := bson.NewDecoder(bson.NewDocumentReader(bytes.NewReader(nil)))
		d.UseJSONStructTags()
		d.DefaultDocumentMap()
		return d
	}
	return c
}

type bsonCodec struct{ encoders, decoders sync.Pool }

type bsonEncoder struct {
	buf bytes.Buffer
	enc *bson.Encoder
}

func (*bsonCodec) Format() Format { return BSON }

func (c *bsonCodec) Marshal(v any) ([]byte, error) {
	e := c.encoders.Get().(*bsonEncoder)
	e.buf.Reset()
	e.enc.Reset(bson.NewDocumentWriter(&e.buf))
	if err := e.enc.Encode(v); err != nil {
		return nil, err // the encoder may be half way through a document: not pooled again
	}
	data := bytes.Clone(e.buf.Bytes())
	if e.buf.Cap() <= 64<<10 {
		c.encoders.Put(e)
	}
	return data, nil
}

func (c *bsonCodec) Unmarshal(data []byte, v any) error {
	if err := validateData(BSON, data); err != nil {
		return err
	}
	d := c.decoders.Get().(*bson.Decoder)
	d.Reset(bson.NewDocumentReader(bytes.NewReader(data)))
	err := d.Decode(v)
	c.decoders.Put(d)
	return err
}

// NewJSONCodec returns a codec on encoding/json, for stores shared with programs
// that want JSON. Data is larger and cannot be queried on MongoDB.
func NewJSONCodec() Codec { return jsonCodec{} }

type jsonCodec struct{}

func (jsonCodec) Format() Format { return JSON }

func (jsonCodec) Marshal(v any) ([]byte, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	if len(data) == 0 || data[0] != '{' {
		return nil, fmt.Errorf("%T encodes to JSON that is not an object", v)
	}
	return data, nil
}

func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// validateData reports whether data is one well-formed document of its format:
// what MongoDB would refuse, every store refuses.
func validateData(f Format, data []byte) error {
	switch f {
	case BSON:
		doc := bson.Raw(data)
		if err := doc.Validate(); err != nil {
			return &InvalidError{What: "data", Reason: "is not a BSON document: " + err.Error()}
		}
		if n := int(uint32(data[0]) | uint32(data[1])<<8 | uint32(data[2])<<16 | uint32(data[3])<<24); n != len(data) {
			return &InvalidError{What: "data", Reason: fmt.Sprintf("is a BSON document of %d bytes followed by %d others", n, len(data)-n)}
		}
		return nil
	case JSON:
		trimmed := bytes.TrimLeft(data, " \t\r\n")
		if len(trimmed) == 0 || trimmed[0] != '{' || !json.Valid(data) {
			return &InvalidError{What: "data", Reason: "is not a JSON object"}
		}
		return nil
	}
	return &InvalidError{What: "format", Reason: "is neither BSON nor JSON"}
}
