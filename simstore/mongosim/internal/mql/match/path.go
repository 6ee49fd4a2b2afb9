package match

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A path is a dotted field path, cut up once.
type path struct {
	dotted string
	parts  []string
	rest   []string // rest[i] is the dotted text from part i on
}

func parsePath(dotted string) path {
	p := path{dotted: dotted, parts: strings.Split(dotted, ".")}
	p.rest = make([]string, len(p.parts)+1)
	at := 0
	for i, part := range p.parts {
		p.rest[i] = dotted[at:]
		at = min(at+len(part)+1, len(dotted))
	}
	return p
}

// ends tells whether nothing follows the part before i. A trailing dot counts
// as nothing once an array has been met, as it does for the server.
func (p *path) ends(i int) bool {
	return i >= len(p.parts) || p.rest[i] == ""
}

func (p *path) first() string { return p.parts[0] }

// A tester judges one value that a path leads to. Missing is the zero value.
type tester interface {
	test(v bson.RawValue, st *state) bool
}

// A walk leads to every value that a path reaches in a document and stops at
// the first that its tester accepts.
type walk struct {
	path    *path
	leafArr bool // also the elements of an array at the end of the path
	t       tester
}

const noIndex = -1

// document looks up the path from part i on in doc. It reports whether a
// value was accepted and, if an array was traversed implicitly on the way, the
// position in the outermost such array.
func (w *walk) document(doc []byte, i int, st *state) (bool, int) {
	last := len(w.path.parts) - 1
	for ; ; i++ {
		name := ""
		if i <= last {
			name = w.path.parts[i]
		}
		v := value.Field(doc, name)
		switch v.Type {
		case bson.TypeEmbeddedDocument:
			if i >= last {
				return w.t.test(v, st), noIndex
			}
			doc = v.Value
			continue
		case bson.TypeArray:
			return w.array(v, i, st)
		}
		if i < last {
			v = bson.RawValue{}
		}
		return w.t.test(v, st), noIndex
	}
}

// array goes on in an array found at part i.
func (w *walk) array(arr bson.RawValue, i int, st *state) (bool, int) {
	if w.path.ends(i + 1) {
		if w.leafArr {
			rest := value.Body(arr.Value)
			for index := 0; ; index++ {
				_, v, tail, ok := value.Next(rest)
				if !ok {
					break
				}
				if w.t.test(v, st) {
					return true, index
				}
				rest = tail
			}
		}
		return w.t.test(arr, st), noIndex
	}
	name := w.path.parts[i+1]
	numeric := allDigits(name)
	rest := value.Body(arr.Value)
	for index := 0; ; index++ {
		key, v, tail, ok := value.Next(rest)
		if !ok {
			return false, noIndex
		}
		rest = tail
		if v.Type == bson.TypeEmbeddedDocument {
			if found, _ := w.document(v.Value, i+1, st); found {
				return true, index
			}
		}
		if !numeric || key != name {
			continue
		}
		// The part names this very position.
		switch {
		case i+2 >= len(w.path.parts):
			if w.t.test(v, st) {
				return true, noIndex
			}
		case v.Type == bson.TypeEmbeddedDocument:
			if found, inner := w.document(v.Value, i+2, st); found {
				return true, inner
			}
		case v.Type == bson.TypeArray:
			if found, inner := w.array(v, i+1, st); found {
				return true, inner
			}
		}
	}
}

// wrapped matches v as if it were the value of the path's first part.
func (w *walk) wrapped(v bson.RawValue, st *state) (bool, int) {
	switch {
	case len(w.path.parts) <= 1:
		if v.Type == bson.TypeArray {
			return w.array(v, 0, st)
		}
		return w.t.test(v, st), noIndex
	case v.Type == bson.TypeEmbeddedDocument:
		return w.document(v.Value, 1, st)
	case v.Type == bson.TypeArray:
		return w.array(v, 0, st)
	}
	return w.t.test(bson.RawValue{}, st), noIndex
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}
