package storage

import (
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/order"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// keys are the index keys of one document, each ready for bytes.Compare. A
// document has several where the index goes through an array.
type keys struct {
	buf   []byte
	ends  []int                 // where each key in buf ends
	want  func([]bson.RawValue) // is told the values of each key; usually nil
	multi uint64                // bit i: field i went through an array
}

func (k *keys) reset() { k.buf, k.ends, k.multi = k.buf[:0], k.ends[:0], 0 }

func (k *keys) len() int { return len(k.ends) }

func (k *keys) at(i int) []byte {
	start := 0
	if i > 0 {
		start = k.ends[i-1]
	}
	return k.buf[start:k.ends[i]]
}

func (k *keys) has(key []byte) bool {
	for i := range k.ends {
		if string(k.at(i)) == string(key) {
			return true
		}
	}
	return false
}

// add appends a key made of the fields' values, unless it is there already.
func (k *keys) add(spec *indexSpec, vals []bson.RawValue) {
	start := len(k.buf)
	for i, v := range vals {
		if value.IsMissing(v) {
			v = value.Null()
		}
		k.buf = value.AppendKey(k.buf, v, spec.fields[i].desc)
	}
	if len(k.ends) > 0 && k.has(k.buf[start:]) {
		k.buf = k.buf[:start]
		return
	}
	k.ends = append(k.ends, len(k.buf))
	if k.want != nil {
		k.want(vals)
	}
}

// extract finds a document's keys for the index, as the server's key
// generator does: a missing field counts as null, an array contributes each
// of its elements, an empty one undefined.
func (spec *indexSpec) extract(doc bson.Raw, k *keys) error {
	k.reset()
	var few [4]bson.RawValue
	vals := few[:0]
	for _, f := range spec.fields {
		v, rest := order.PathOrArray(doc, f.path)
		if v.Type == bson.TypeArray {
			return spec.expand(doc, k)
		}
		if rest != "" {
			v = value.Missing()
		}
		vals = append(vals, v)
	}
	if !spec.sparse || !allMissing(vals) {
		k.add(spec, vals)
	}
	return nil
}

func allMissing(vals []bson.RawValue) bool {
	for _, v := range vals {
		if !value.IsMissing(v) {
			return false
		}
	}
	return true
}

// expand finds the keys of a document with an array on the way to a field.
func (spec *indexSpec) expand(doc bson.Raw, k *keys) error {
	paths := make([]string, len(spec.fields))
	for i, f := range spec.fields {
		paths[i] = f.path
	}
	err := order.Expand(paths, doc, func(vals []bson.RawValue, through uint64) error {
		for i, f := range spec.fields {
			if f.hashed && through&(1<<i) != 0 {
				return mongoerr.New(16766, "hashed indexes do not currently support array values")
			}
		}
		k.multi |= through
		if !spec.sparse || !allMissing(vals) {
			k.add(spec, vals)
		}
		return nil
	})
	if parallel, ok := errors.AsType[*order.ParallelArrays](err); ok {
		return mongoerr.New(171, "%s", parallel.Error())
	}
	return err
}
