package eventstore

import (
	"fmt"
	"reflect"
)

// An upcaster brings a payload from one schema version to the next.
type upcaster struct {
	from, to reflect.Type
	decode   func(Codec, []byte) (any, error)
	apply    func(any) (any, error)
}

// Upcast declares how payloads of schema version from become payloads of
// version from+1. Keep the old shape as a type of its own, or take a
// map[string]any. The last step of a chain ends in the registered type. Where
// one step ends in another type than the next one starts with, the payload is
// encoded and decoded in between.
//
// The function must be pure: it runs on every read of such an event.
func Upcast[From, To any](from int, fn func(From) (To, error)) TypeOption {
	return func(d *TypeDef) {
		if _, ok := d.steps[from]; ok {
			d.err = &InvalidError{What: fmt.Sprintf("event type %s", d.name), Reason: fmt.Sprintf("has two upcasters from schema version %d", from)}
			return
		}
		if fn == nil {
			d.err = &InvalidError{What: fmt.Sprintf("event type %s", d.name), Reason: fmt.Sprintf("has no function to upcast from schema version %d", from)}
			return
		}
		d.steps[from] = upcaster{
			from:   reflect.TypeFor[From](),
			to:     reflect.TypeFor[To](),
			decode: decodeAs[From],
			apply:  func(v any) (any, error) { return fn(v.(From)) },
		}
	}
}

// buildChain checks that there is one upcaster from each version of oldest to
// schema-1, and no other, and that the last one ends in the registered type.
func (d *TypeDef) buildChain() error {
	invalid := func(format string, args ...any) error {
		return &InvalidError{What: "event type " + string(d.name), Reason: fmt.Sprintf(format, args...)}
	}
	if d.oldest < 1 || d.schema < d.oldest {
		return invalid("has schema version %d and oldest version %d; versions start at 1 and the oldest is at most the present one", d.schema, d.oldest)
	}
	for v := d.oldest; v < d.schema; v++ {
		step, ok := d.steps[v]
		if !ok {
			return invalid("has schema version %d and no upcaster from version %d to %d", d.schema, v, v+1)
		}
		d.chain = append(d.chain, step)
	}
	for v := range d.steps {
		if v < d.oldest || v >= d.schema {
			return invalid("has an upcaster from schema version %d, outside of %d to %d", v, d.oldest, d.schema-1)
		}
	}
	if n := len(d.chain); n > 0 && d.chain[n-1].to != d.goType {
		return invalid("has a last upcaster that ends in %s instead of %s", d.chain[n-1].to, d.goType)
	}
	return nil
}

func (d *TypeDef) decodeSchema(codec Codec, schema int, data []byte) (any, error) {
	schema = max(schema, 1)
	switch {
	case schema == d.schema:
		return d.decode(codec, data)
	case schema > d.schema:
		return nil, fmt.Errorf("schema version %d is newer than %d, the newest that this program knows", schema, d.schema)
	case schema < d.oldest:
		return nil, fmt.Errorf("schema version %d is older than %d, the oldest declared", schema, d.oldest)
	}
	chain := d.chain[schema-d.oldest:]
	v, err := chain[0].decode(codec, data)
	if err != nil {
		return nil, err
	}
	for i, step := range chain {
		if i > 0 && chain[i-1].to != step.from {
			if v, err = recode(codec, v, step); err != nil {
				return nil, err
			}
		}
		if v, err = step.apply(v); err != nil {
			return nil, fmt.Errorf("upcast from schema version %d: %w", schema+i, err)
		}
	}
	return v, nil
}

func recode(codec Codec, v any, step upcaster) (any, error) {
	data, err := codec.Marshal(v)
	if err != nil {
		return nil, err
	}
	return step.decode(codec, data)
}
