package eventstore

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
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

// NewJSONCodec returns a codec on encoding/json, for stores shared with programs
// that want JSON. Data is larger and cannot be queried on MongoDB.
func NewJSONCodec() Codec { return jsonCodec{} }

type jsonCodec struct{}

func (jsonCodec) Format() Format { return JSON }

func (jsonCodec) Marshal(v any) ([]byte, error) {
	data, err := json.Marshal(addressable(v))
	if err != nil {
		return nil, err
	}
	if len(data) == 0 || data[0] != '{' {
		return nil, fmt.Errorf("%T encodes to JSON that is not an object", v)
	}
	return data, nil
}

// addressable returns v, or a pointer to a copy of it if it is no pointer: of types
// whose methods for writing belong to their pointers, as those of big.Int do, an
// encoder calls the methods only where it can take an address, and else writes
// the exported fields.
func addressable(v any) any {
	value := reflect.ValueOf(v)
	if !value.IsValid() || value.Kind() == reflect.Pointer {
		return v
	}
	p := reflect.New(value.Type())
	p.Elem().Set(value)
	return p.Interface()
}

func (jsonCodec) Unmarshal(data []byte, v any) error { return json.Unmarshal(data, v) }

// validateData reports whether data is one well-formed document of its format:
// what MongoDB would refuse, every store refuses.
func validateData(f Format, data []byte) error {
	switch f {
	case BSON:
		return validateBSON(data)
	case JSON:
		trimmed := bytes.TrimLeft(data, " \t\r\n")
		if len(trimmed) == 0 || trimmed[0] != '{' || !json.Valid(data) {
			return &InvalidError{What: "data", Reason: "is not a JSON object"}
		}
		return nil
	}
	return &InvalidError{What: "format", Reason: "is neither BSON nor JSON"}
}
