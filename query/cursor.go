package query

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// ErrCursor says that a cursor is damaged, forged, expired, or was made for another
// query. It says nothing about the collection: answer the request with 400.
var ErrCursor = errors.New("invalid cursor")

// MinKeyLength is the least length of a key for cursors, in bytes.
const MinKeyLength = 32

// MaxCursorLength is the greatest length of a cursor, in bytes. Sort keys that
// don't fit into one (very long strings) are an error of the page.
const MaxCursorLength = 8192

// Cursors makes and reads the cursors of keyset pages. A cursor is a position in
// an order: the sort keys of a document. It is opaque and URL-safe, is signed
// (HMAC-SHA256) together with the collection, the order, the filter and the collation it belongs to,
// and is not encrypted: whoever holds it can read the sort keys, which were in
// the page's documents anyway. Cursors is immutable and safe for concurrent use.
type Cursors struct {
	keys     [][]byte
	lifetime time.Duration
	now      func() time.Time
}

// CursorsConfig configures Cursors. Key is required.
type CursorsConfig struct {
	// Key signs cursors: MinKeyLength random bytes or more, the same in all processes that serve one API.
	Key []byte
	// PreviousKeys are still accepted, so that keys can be changed while cursors are under way.
	PreviousKeys [][]byte
	// Lifetime is how long a cursor is accepted; 0 means for ever.
	Lifetime time.Duration
	// Now is the clock for Lifetime; nil means time.Now.
	Now func() time.Time
}

// NewCursors returns an error that names the bad field, if there is one.
func NewCursors(config CursorsConfig) (*Cursors, error) {
	c := &Cursors{lifetime: config.Lifetime, now: config.Now}
	if c.now == nil {
		c.now = time.Now
	}
	if config.Lifetime < 0 {
		return nil, invalidf("query: CursorsConfig.Lifetime is %v, it can't be negative", config.Lifetime)
	}
	for i, key := range append([][]byte{config.Key}, config.PreviousKeys...) {
		if len(key) < MinKeyLength {
			field := "Key"
			if i > 0 {
				field = fmt.Sprintf("PreviousKeys[%d]", i-1)
			}
			return nil, invalidf("query: CursorsConfig.%s has %d bytes, it needs %d", field, len(key), MinKeyLength)
		}
		c.keys = append(c.keys, append([]byte(nil), key...))
	}
	return c, nil
}

// position is what a cursor says.
type position struct {
	// backward: the page ends before the position instead of starting after it.
	backward bool
	// inclusive: the document at the position belongs to the page.
	inclusive bool
	// values are the sort keys, null standing for a missing field too.
	values []bson.RawValue
}

// A cursor is: version, flags, expiry (8 bytes, 0 for none), the values as a
// BSON array, and the signature. The scope is signed but not in it.
const (
	cursorVersion  = 1
	cursorHead     = 10
	flagBackward   = 1
	flagInclusive  = 2
	signatureBytes = sha256.Size
)

var cursorEncoding = base64.RawURLEncoding.Strict()

// scope is a digest of the query that a cursor belongs to.
type scope [sha256.Size]byte

func (c *Cursors) seal(p position, s scope) (string, error) {
	buf := make([]byte, cursorHead, 256)
	buf[0] = cursorVersion
	if p.backward {
		buf[1] |= flagBackward
	}
	if p.inclusive {
		buf[1] |= flagInclusive
	}
	if c.lifetime > 0 {
		binary.BigEndian.PutUint64(buf[2:], uint64(c.now().Add(c.lifetime).UnixMilli()))
	}
	buf = appendArray(buf, p.values)
	buf = append(buf, c.sign(c.keys[0], buf, s)...)
	if cursorEncoding.EncodedLen(len(buf)) > MaxCursorLength {
		return "", fmt.Errorf("the sort keys are too long for a cursor (%d bytes)", len(buf))
	}
	return cursorEncoding.EncodeToString(buf), nil
}

func (c *Cursors) sign(key, body []byte, s scope) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write(s[:])
	mac.Write(body)
	return mac.Sum(nil)
}

func cursorError(why string) error { return fmt.Errorf("%w: %s", ErrCursor, why) }

func (c *Cursors) open(token string, s scope, values int) (position, error) {
	if len(token) > MaxCursorLength {
		return position{}, cursorError("it is too long")
	}
	if strings.ContainsAny(token, "\r\n") {
		// Package base64 skips line breaks: one cursor would have many spellings.
		return position{}, cursorError("it is damaged")
	}
	raw, err := cursorEncoding.DecodeString(token)
	if err != nil || len(raw) < cursorHead+5+signatureBytes {
		return position{}, cursorError("it is damaged")
	}
	body, signature := raw[:len(raw)-signatureBytes], raw[len(raw)-signatureBytes:]
	if !c.signed(body, signature, s) {
		return position{}, cursorError("it is damaged or belongs to another query")
	}
	return c.parse(body, values)
}

func (c *Cursors) signed(body, signature []byte, s scope) bool {
	ok := false
	for _, key := range c.keys {
		ok = hmac.Equal(signature, c.sign(key, body, s)) || ok
	}
	return ok
}

// parse reads a body whose signature is good. It trusts nothing all the same.
func (c *Cursors) parse(body []byte, values int) (position, error) {
	if body[0] != cursorVersion || body[1]&^(flagBackward|flagInclusive) != 0 {
		return position{}, cursorError("its version is not known")
	}
	if expiry := binary.BigEndian.Uint64(body[2:cursorHead]); expiry != 0 && c.now().UnixMilli() >= int64(expiry) {
		return position{}, cursorError("it has expired")
	}
	array := bson.RawArray(body[cursorHead:])
	if err := array.Validate(); err != nil {
		return position{}, cursorError("its content is damaged")
	}
	list, err := array.Values()
	if err != nil || len(list) != values {
		return position{}, cursorError("its content is damaged")
	}
	for _, v := range list {
		if !pageable(v.Type) {
			return position{}, cursorError("its content is damaged")
		}
	}
	return position{backward: body[1]&flagBackward != 0, inclusive: body[1]&flagInclusive != 0, values: list}, nil
}

// appendArray writes values as a BSON array.
func appendArray(buf []byte, values []bson.RawValue) []byte {
	start := len(buf)
	buf = append(buf, 0, 0, 0, 0)
	for i, v := range values {
		buf = append(buf, byte(v.Type))
		buf = fmt.Append(buf, i)
		buf = append(buf, 0)
		buf = append(buf, v.Value...)
	}
	buf = append(buf, 0)
	binary.LittleEndian.PutUint32(buf[start:], uint32(len(buf)-start))
	return buf
}

// scopeOf digests what must be the same for a cursor to make sense.
func scopeOf(namespace string, sort bson.D, bound any, collation any) (scope, error) {
	doc, err := bson.Marshal(bson.D{
		{Key: "ns", Value: namespace}, {Key: "sort", Value: sort}, {Key: "bound", Value: bound}, {Key: "collation", Value: collation},
	})
	if err != nil {
		return scope{}, fmt.Errorf("the filter can't be bound to a cursor, set Keyset.Scope: %w", err)
	}
	return sha256.Sum256(doc), nil
}
