package changestream

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// The two kinds of tokens: for a point between events, and for an event.
const (
	tokenHighWater = 0
	tokenEvent     = 128
)

// tokenVersion is the version of the tokens that are made here.
const tokenVersion = 1

// A position is what a resume token says: which event, or (a high water mark)
// which point in time before all events of that time.
type position struct {
	time       storage.Timestamp
	version    int
	kind       int
	txnIndex   int // of the operation within its transaction
	invalidate bool
	uuid       *storage.UUID // of the collection; nil for none
	key        bson.Raw      // the document key; nil for none

	encoded []byte // the key string, complete
	types   []byte // its type bits; nil if they are all zero
}

func highWater(t storage.Timestamp) position {
	p := position{time: t, version: tokenVersion, kind: tokenHighWater}
	p.encode()
	return p
}

// isHighWater tells whether a token stands for a point in time rather than an
// event.
func (p *position) isHighWater() bool {
	return p.version == tokenVersion && p.kind == tokenHighWater && p.txnIndex == 0 && !p.invalidate && p.key == nil
}

// encode writes the key string: it orders as the events do.
func (p *position) encode() {
	k := keyString{buf: make([]byte, 0, 80)}
	k.timestamp(uint64(p.time))
	k.int(int64(p.version))
	if p.version > 0 {
		k.int(int64(p.kind))
	}
	k.int(int64(p.txnIndex))
	if p.version > 0 {
		k.bool(p.invalidate)
	}
	if p.uuid != nil {
		k.binary(4, p.uuid[:])
	}
	if p.key != nil {
		k.value(value.Doc(p.key))
	}
	k.end()
	p.encoded, p.types = k.buf, k.types.bytes()
}

// token renders the position as a resume token.
func (p *position) token() bson.Raw {
	o := value.NewObject(2*len(p.encoded) + 32)
	text := make([]byte, 2*len(p.encoded))
	const digits = "0123456789ABCDEF"
	for i, b := range p.encoded {
		text[2*i], text[2*i+1] = digits[b>>4], digits[b&15]
	}
	o.Add("_data", value.String(string(text)))
	if p.types != nil {
		o.Add("_typeBits", value.Binary(0, p.types))
	}
	return o.Doc()
}

func (p *position) equal(q *position) bool { return bytes.Equal(p.encoded, q.encoded) }

// checkToken makes sure that a document looks like a resume token.
func checkToken(doc bson.Raw) (data, types bson.RawValue, err error) {
	data = value.Field(doc, "_data")
	if data.Type != bson.TypeString {
		return data, types, mongoerr.New(40647, "Bad resume token: _data of missing or of wrong type. Expected string, got %s", compactText(doc))
	}
	types = value.Field(doc, "_typeBits")
	if !value.IsMissing(types) {
		if subtype, _ := asBinary(types); subtype != 0 {
			return data, types, mongoerr.New(40648, "Bad resume token: _typeBits of wrong type %s", compactText(doc))
		}
	}
	return data, types, nil
}

// parseToken reads a resume token that a client sends.
func parseToken(doc bson.Raw) (position, error) {
	data, types, err := checkToken(doc)
	if err != nil {
		return position{}, err
	}
	raw, err := hex.DecodeString(value.AsString(data))
	if err != nil {
		return position{}, mongoerr.New(mongoerr.FailedToParse, "resume token string was not a valid hex string")
	}
	p, perr := decode(raw)
	if perr != nil {
		return position{}, perr
	}
	if !value.IsMissing(types) {
		_, p.types = asBinary(types)
	}
	return p, nil
}

func asBinary(v bson.RawValue) (subtype int, data []byte) {
	if v.Type != bson.TypeBinary {
		return -1, nil
	}
	s, d := value.AsBinary(v)
	return int(s), d
}

// compactText renders a token as the server does in these messages: {x: 1}.
func compactText(doc bson.Raw) string {
	s := storage.ShellText(doc)
	s = strings.Replace(s, "{ ", "{", 1)
	if strings.HasSuffix(s, " }") {
		s = s[:len(s)-2] + "}"
	}
	return s
}

// A decoder reads a key string from the beginning.
type decoder struct{ rest []byte }

var errUnderflow = mongoerr.New(50804, "Error reading from buffer when decoding resume token")

func (d *decoder) more() bool { return len(d.rest) > 0 && d.rest[0] != ksEnd }

func (d *decoder) take(n int) ([]byte, bool) {
	if len(d.rest) < n {
		return nil, false
	}
	b := d.rest[:n]
	d.rest = d.rest[n:]
	return b, true
}

// int reads an integer that is not negative.
func (d *decoder) int() (int, bool) {
	first, ok := d.take(1)
	if !ok {
		return 0, false
	}
	if first[0] == ksZero {
		return 0, true
	}
	n := int(first[0]) - ksPos1Byte + 1
	if n < 1 || n > 5 {
		return 0, false
	}
	b, ok := d.take(n)
	if !ok {
		return 0, false
	}
	v := uint64(0)
	for _, x := range b {
		v = v<<8 | uint64(x)
	}
	return int(v >> 1), v&1 == 0
}

// decode reads a token's key string. The document key is kept as it is: it
// only has to be equal to an event's.
func decode(raw []byte) (position, error) {
	p := position{encoded: raw}
	d := decoder{raw}
	if !d.more() {
		return p, mongoerr.New(40649, "invalid empty resume token")
	}
	head, ok := d.take(9)
	if !ok || head[0] != ksTimestamp {
		return p, errUnderflow
	}
	p.time = storage.Timestamp(binary.BigEndian.Uint64(head[1:]))
	if !d.more() {
		return p, mongoerr.New(50796, "Resume Token does not contain version")
	}
	if p.version, ok = d.int(); !ok {
		return p, mongoerr.New(50854, "Invalid resume token: wrong type for version")
	}
	if p.version > tokenVersion {
		return p, mongoerr.New(50795, "Invalid Resume Token: only supports version 0 or 1")
	}
	if p.version > 0 {
		if !d.more() {
			return p, mongoerr.New(51055, "Resume Token does not contain tokenType")
		}
		if p.kind, ok = d.int(); !ok {
			return p, mongoerr.New(51056, "Resume Token tokenType is not an int.")
		}
		if p.kind != tokenHighWater && p.kind != tokenEvent {
			return p, mongoerr.New(51057, "Token type %d not recognized", p.kind)
		}
	}
	if !d.more() {
		return p, mongoerr.New(50793, "Resume Token does not contain txnOpIndex")
	}
	if p.txnIndex, ok = d.int(); !ok {
		return p, mongoerr.New(50855, "Resume Token txnOpIndex is not an integer")
	}
	if p.version > 0 {
		if !d.more() {
			return p, mongoerr.New(50872, "Resume Token does not contain fromInvalidate")
		}
		b, _ := d.take(1)
		if b[0] != ksFalse && b[0] != ksTrue {
			return p, mongoerr.New(50870, "Resume Token fromInvalidate is not a boolean.")
		}
		p.invalidate = b[0] == ksTrue
	}
	return p, d.collection(&p)
}

// collection reads what follows: nothing, a UUID, or a UUID and a document
// key.
func (d *decoder) collection(p *position) error {
	if !d.more() {
		return nil
	}
	b, ok := d.take(19)
	if !ok || b[0] != ksBinary || b[1] != 16 || b[2] != 4 {
		return mongoerr.New(mongoerr.InvalidUUID, "UUID must be a 16-byte binary field with UUID (4) subtype")
	}
	id := storage.UUID(b[3:])
	p.uuid = &id
	if d.more() {
		p.key = bson.Raw(d.rest) // not a document, but what tells that there is one
	}
	return nil
}
