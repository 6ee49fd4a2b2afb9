package storage

import (
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
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

// a slot is one index field on its way through a document: what has been
// reached and which path is left from there.
type slot struct {
	at    bson.RawValue // missing if the path leads nowhere
	rest  string        // "" when at is the field's value
	whole bool          // at was chosen by its position: an array there is one value
}

// extract finds a document's keys for the index, as the server's key
// generator does: a missing field counts as null, an array contributes each
// of its elements, an empty one undefined.
func (spec *indexSpec) extract(doc bson.Raw, k *keys) error {
	k.reset()
	var slots [4]slot
	var vals [4]bson.RawValue
	s, v := slots[:0], vals[:0]
	simple := true
	for _, f := range spec.fields {
		if f.dotted {
			s = append(s, slot{at: value.Doc(doc), rest: f.path})
			v = append(v, bson.RawValue{})
			simple = false
			continue
		}
		x := value.Field(doc, f.path)
		if x.Type == bson.TypeArray {
			simple = false
		}
		s = append(s, slot{at: x})
		v = append(v, x)
	}
	if simple {
		if spec.sparse && allMissing(v) {
			return nil
		}
		k.add(spec, v)
		return nil
	}
	return spec.expand(s, v, k, 0)
}

func allMissing(vals []bson.RawValue) bool {
	for _, v := range vals {
		if !value.IsMissing(v) {
			return false
		}
	}
	return true
}

// expand walks each slot to its value or to the first array, and goes on with
// each element of that array. done has a bit for each slot whose value is
// final.
func (spec *indexSpec) expand(slots []slot, vals []bson.RawValue, k *keys, done uint64) error {
	var array bson.RawValue
	var owner string
	var through uint64
	for i := range slots {
		if done&(1<<i) != 0 {
			continue
		}
		slots[i] = walk(slots[i])
		s := slots[i]
		if s.at.Type != bson.TypeArray || s.whole && s.rest == "" && value.Len(s.at) > 0 {
			vals[i] = s.at
			if s.rest != "" {
				vals[i] = value.Missing()
			}
			done |= 1 << i
			continue
		}
		if spec.fields[i].hashed {
			return mongoerr.New(16766, "hashed indexes do not currently support array values")
		}
		if through == 0 {
			array, owner = s.at, spec.fields[i].path
		} else if !sameArray(array, s.at) {
			return mongoerr.New(171, "cannot index parallel arrays [%s] [%s]", lastPart(spec.fields[i].path), lastPart(owner))
		}
		through |= 1 << i
	}
	if through == 0 {
		if !spec.sparse || !allMissing(vals) {
			k.add(spec, vals)
		}
		return nil
	}
	k.multi |= through
	next := make([]slot, len(slots))
	into := func(elem bson.RawValue, empty bool) error {
		copy(next, slots)
		d := done
		for i := range slots {
			switch {
			case through&(1<<i) == 0:
			case slots[i].rest == "":
				vals[i] = elem
				if empty {
					vals[i] = bson.RawValue{Type: bson.TypeUndefined}
				}
				d |= 1 << i
			case empty || elem.Type != bson.TypeEmbeddedDocument:
				vals[i] = value.Missing()
				d |= 1 << i
			default:
				next[i].at = elem
			}
		}
		return spec.expand(next, append([]bson.RawValue(nil), vals...), k, d)
	}
	n := 0
	for _, elem := range value.Elements(array) {
		n++
		if err := into(elem, false); err != nil {
			return err
		}
	}
	if n == 0 {
		return into(bson.RawValue{}, true)
	}
	return nil
}

// walk follows a slot's path as far as it goes without choosing among an
// array's elements; a number in the path chooses.
func walk(s slot) slot {
	for s.rest != "" {
		part, rest, _ := strings.Cut(s.rest, ".")
		switch s.at.Type {
		case bson.TypeEmbeddedDocument:
			s.at, s.rest, s.whole = value.Field(bson.Raw(s.at.Value), part), rest, false
		case bson.TypeArray:
			i, err := strconv.Atoi(part)
			if err != nil || i < 0 || part != strconv.Itoa(i) || i >= value.Len(s.at) {
				return s
			}
			s.at, s.rest, s.whole = value.Index(s.at, i), rest, true
		default:
			s.at = value.Missing()
			return s
		}
	}
	return s
}

func sameArray(a, b bson.RawValue) bool {
	return len(a.Value) == len(b.Value) && &a.Value[0] == &b.Value[0]
}

func lastPart(path string) string { return path[strings.LastIndexByte(path, '.')+1:] }
