package query

import (
	"bytes"
	"errors"
	"slices"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

func fuzzCursors(t testing.TB) *Cursors {
	c, err := NewCursors(CursorsConfig{Key: bytes.Repeat([]byte("k"), MinKeyLength), Lifetime: time.Hour, Now: func() time.Time { return time.UnixMilli(1_700_000_000_000) }})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func sealedCursors(t testing.TB, c *Cursors) []string {
	var tokens []string
	for _, values := range [][]any{{1}, {bson.Null{}, "a"}, {bson.D{{Key: "a", Value: 1}}, bson.ObjectID{1}, 2.5}, {bson.MinKey{}, bson.MaxKey{}}} {
		var raws []bson.RawValue
		for _, v := range values {
			typ, data, err := bson.MarshalValue(v)
			if err != nil {
				t.Fatal(err)
			}
			raws = append(raws, bson.RawValue{Type: bson.Type(typ), Value: data})
		}
		token, err := c.seal(position{backward: len(values)%2 == 0, inclusive: len(values) == 3, values: raws}, scope{})
		if err != nil {
			t.Fatal(err)
		}
		p, err := c.open(token, scope{}, len(values))
		if err != nil || len(p.values) != len(values) || p.backward != (len(values)%2 == 0) || p.inclusive != (len(values) == 3) {
			t.Fatalf("a cursor doesn't come back: %v %v", p, err)
		}
		tokens = append(tokens, token)
	}
	return tokens
}

// FuzzCursor: nothing that was not made here opens, and nothing panics.
func FuzzCursor(f *testing.F) {
	c := fuzzCursors(f)
	good := sealedCursors(f, c)
	for _, token := range good {
		f.Add(token)
	}
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, token string) {
		for n := range 4 {
			_, err := c.open(token, scope{}, n)
			if err == nil {
				if slices.Contains(good, token) {
					return
				}
				t.Fatalf("a cursor that was not made here opens: %q", token)
			}
			if !errors.Is(err, ErrCursor) {
				t.Fatalf("unexpected error %v", err)
			}
		}
	})
}

// FuzzCursorBody: even content with a good signature, as a leaked key would
// give, leads to an error or to values that make a filter.
func FuzzCursorBody(f *testing.F) {
	c := fuzzCursors(f)
	for _, token := range sealedCursors(f, c) {
		raw, _ := cursorEncoding.DecodeString(token)
		f.Add(raw[:len(raw)-signatureBytes])
	}
	keys := []SortKey{Asc("a"), Desc("b"), Asc("_id")}
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) < cursorHead+5 {
			return
		}
		for n := range 4 {
			p, err := c.parse(body, n)
			if err != nil {
				if !errors.Is(err, ErrCursor) {
					t.Fatalf("unexpected error %v", err)
				}
				continue
			}
			d, err := beyond(keys[:n], p).Build()
			if err != nil {
				t.Fatalf("no filter: %v", err)
			}
			if _, err := bson.Marshal(d); err != nil {
				t.Fatalf("the filter can't be encoded: %v", err)
			}
		}
	})
}
