package command

import (
	"encoding/binary"
	"math"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A reply is a document under construction. Its zero value is not ready: use newReply.
type reply struct{ b []byte }

func newReply() *reply { return &reply{b: make([]byte, 4, 512)} }

// reset forgets what has been written.
func (r *reply) reset() { r.b = r.b[:4] }

// doc completes the document.
func (r *reply) doc() bson.Raw {
	r.b = append(r.b, 0)
	binary.LittleEndian.PutUint32(r.b, uint32(len(r.b)))
	return r.b
}

func (r *reply) key(t bson.Type, key string) {
	r.b = append(r.b, byte(t))
	r.b = append(r.b, key...)
	r.b = append(r.b, 0)
}

func (r *reply) int32(key string, v int32) {
	r.key(bson.TypeInt32, key)
	r.b = binary.LittleEndian.AppendUint32(r.b, uint32(v))
}

func (r *reply) int64(key string, v int64) {
	r.key(bson.TypeInt64, key)
	r.b = binary.LittleEndian.AppendUint64(r.b, uint64(v))
}

func (r *reply) double(key string, v float64) {
	r.key(bson.TypeDouble, key)
	r.b = binary.LittleEndian.AppendUint64(r.b, math.Float64bits(v))
}

func (r *reply) bool(key string, v bool) {
	r.key(bson.TypeBoolean, key)
	if v {
		r.b = append(r.b, 1)
	} else {
		r.b = append(r.b, 0)
	}
}

func (r *reply) string(key, v string) {
	r.key(bson.TypeString, key)
	r.b = binary.LittleEndian.AppendUint32(r.b, uint32(len(v)+1))
	r.b = append(r.b, v...)
	r.b = append(r.b, 0)
}

func (r *reply) null(key string) { r.key(bson.TypeNull, key) }

func (r *reply) date(key string, ms int64) {
	r.key(bson.TypeDateTime, key)
	r.b = binary.LittleEndian.AppendUint64(r.b, uint64(ms))
}

func (r *reply) timestamp(key string, ts bson.Timestamp) {
	r.key(bson.TypeTimestamp, key)
	r.b = binary.LittleEndian.AppendUint32(r.b, ts.I)
	r.b = binary.LittleEndian.AppendUint32(r.b, ts.T)
}

func (r *reply) objectID(key string, id bson.ObjectID) {
	r.key(bson.TypeObjectID, key)
	r.b = append(r.b, id[:]...)
}

func (r *reply) binary(key string, subtype byte, data []byte) {
	r.key(bson.TypeBinary, key)
	r.b = binary.LittleEndian.AppendUint32(r.b, uint32(len(data)))
	r.b = append(r.b, subtype)
	r.b = append(r.b, data...)
}

func (r *reply) document(key string, doc bson.Raw) {
	r.key(bson.TypeEmbeddedDocument, key)
	r.b = append(r.b, doc...)
}

// value appends v; a missing value appends nothing.
func (r *reply) value(key string, v bson.RawValue) {
	if !value.IsMissing(v) {
		r.b = value.AppendElem(r.b, key, v)
	}
}

// begin opens an embedded document, end closes it.
func (r *reply) begin(key string) int { return r.open(bson.TypeEmbeddedDocument, key) }

// beginArray opens an array, whose keys the caller counts; end closes it.
func (r *reply) beginArray(key string) int { return r.open(bson.TypeArray, key) }

func (r *reply) open(t bson.Type, key string) int {
	r.key(t, key)
	at := len(r.b)
	r.b = append(r.b, 0, 0, 0, 0)
	return at
}

func (r *reply) end(at int) {
	r.b = append(r.b, 0)
	binary.LittleEndian.PutUint32(r.b[at:], uint32(len(r.b)-at))
}

// documents appends an array of documents.
func (r *reply) documents(key string, docs []bson.Raw) {
	at := r.beginArray(key)
	var idx indexKey
	for i, d := range docs {
		r.b = append(r.b, byte(bson.TypeEmbeddedDocument))
		r.b = append(r.b, idx.of(i)...)
		r.b = append(r.b, 0)
		r.b = append(r.b, d...)
	}
	r.end(at)
}

func (r *reply) strings(key string, vs []string) {
	at := r.beginArray(key)
	var idx indexKey
	for i, v := range vs {
		r.string(string(idx.of(i)), v)
	}
	r.end(at)
}

func (r *reply) int64s(key string, vs []int64) {
	at := r.beginArray(key)
	var idx indexKey
	for i, v := range vs {
		r.int64(string(idx.of(i)), v)
	}
	r.end(at)
}

// opTime appends a document {ts, t} as the server writes optimes.
func (r *reply) opTime(key string, ts bson.Timestamp) {
	at := r.begin(key)
	r.timestamp("ts", ts)
	r.int64("t", term)
	r.end(at)
}

// indexKey formats array indexes without allocating.
type indexKey struct{ buf [12]byte }

func (k *indexKey) of(i int) []byte {
	at := len(k.buf)
	for {
		at--
		k.buf[at] = byte('0' + i%10)
		if i /= 10; i == 0 {
			return k.buf[at:]
		}
	}
}

// any appends a Go value, as error fields hold them.
func (r *reply) any(key string, v any) {
	switch v := v.(type) {
	case bson.Raw:
		r.document(key, v)
	case bson.RawValue:
		r.value(key, v)
	case string:
		r.string(key, v)
	default:
		t, data, err := bson.MarshalValue(v)
		if err == nil {
			r.value(key, bson.RawValue{Type: t, Value: data})
		}
	}
}
