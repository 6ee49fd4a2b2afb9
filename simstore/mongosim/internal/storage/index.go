package storage

import (
	"bytes"
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/tidwall/btree"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// An entry says that at least one version of a record has the key.
type entry struct {
	key string
	r   *record // nil sorts before all records
}

func entryLess(a, b entry) bool {
	switch c := strings.Compare(a.key, b.key); {
	case c != 0:
		return c < 0
	case b.r == nil:
		return false
	case a.r == nil:
		return true
	default:
		return a.r.id < b.r.id
	}
}

// An index keeps entries in the order of their keys. The collection's mutex
// guards all of it but uses and dropped.
type index struct {
	spec  *indexSpec
	tree  *btree.BTreeG[entry]
	bytes int64
	multi uint64 // bit i: some document's field i went through an array
	since Timestamp
	// hint remembers where the last write went; documents often come in the
	// order of a key. It is used with the lock held for writing.
	hint btree.PathHint

	uses    atomic.Int64
	dropped atomic.Bool
}

func newIndex(spec *indexSpec) *index {
	return &index{spec: spec, tree: btree.NewBTreeGOptions(entryLess, btree.Options{NoLocks: true})}
}

// keyPool lends out the space in which keys are made.
var keyPool = sync.Pool{New: func() any { return new(keys) }}

// keysOf finds the keys of a document, none if the index leaves it out.
func (ix *index) keysOf(doc bson.Raw, k *keys) error {
	if f := ix.spec.filter; f != nil {
		if ok, err := f.Match(doc); err != nil || !ok {
			k.reset()
			return err
		}
	}
	return ix.spec.extract(doc, k)
}

// insert adds r's keys.
func (ix *index) insert(r *record, k *keys) {
	ix.multi |= k.multi
	for i := range k.len() {
		key := string(k.at(i))
		if _, replaced := ix.tree.SetHint(entry{key, r}, &ix.hint); !replaced {
			ix.bytes += int64(len(key))
		}
	}
}

// remove takes one of r's keys out.
func (ix *index) remove(r *record, key []byte) {
	if _, ok := ix.tree.Delete(entry{string(key), r}); ok {
		ix.bytes -= int64(len(key))
	}
}

// removeUnshared takes out the keys of a document of r that none of the
// versions r still has shares.
func (ix *index) removeUnshared(r *record, doc bson.Raw) {
	gone := keyPool.Get().(*keys)
	defer keyPool.Put(gone)
	if ix.keysOf(doc, gone) != nil || gone.len() == 0 {
		return
	}
	kept := keyPool.Get().(*keys)
	defer keyPool.Put(kept)
	shared := make([]bool, gone.len())
	for v := r.head; v != nil; v = v.prev {
		if v.doc == nil || ix.keysOf(v.doc, kept) != nil {
			continue
		}
		for i := range gone.len() {
			shared[i] = shared[i] || kept.has(gone.at(i))
		}
	}
	for i, s := range shared {
		if !s {
			ix.remove(r, gone.at(i))
		}
	}
}

// unmoved tells whether a document has the very keys k.
func (ix *index) unmoved(doc bson.Raw, k *keys) bool {
	old := keyPool.Get().(*keys)
	defer keyPool.Put(old)
	return ix.keysOf(doc, old) == nil && slices.Equal(old.ends, k.ends) && bytes.Equal(old.buf, k.buf)
}

// hasKey tells whether a version of a record that has an entry with the key
// has it itself.
func (ix *index) hasKey(v *version, key []byte) bool {
	if v == nil || v.doc == nil {
		return false
	}
	k := keyPool.Get().(*keys)
	defer keyPool.Put(k)
	return ix.keysOf(v.doc, k) == nil && k.has(key)
}

// unique checks that r may have the keys beside all other records. It answers
// with a *duplicate, with busy where an open transaction decides, or with
// WriteConflict in a transaction that cannot see what it runs into.
func (ix *index) unique(w Write, r *record, k *keys) error {
	if !ix.spec.unique {
		return nil
	}
	var err error
	for i := range k.len() {
		key := k.at(i)
		ix.tree.AscendHint(entry{key: text(key)}, func(e entry) bool {
			if e.key != text(key) {
				return false
			}
			if e.r != r {
				err = ix.clash(w, e.r, key)
			}
			return err == nil
		}, &ix.hint)
		if errors.Is(err, errDuplicate) {
			return &duplicate{key: key}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// clash decides whether another record that has, or had, the key stands in the
// way of writing it. A key in the version that the writer sees is a duplicate,
// whatever others have made of the record since. A key that the writer does not
// see is a conflict if somebody has written it since.
func (ix *index) clash(w Write, r *record, key []byte) error {
	v := r.head
	if v != nil && !v.committed() && v.owner == w.Txn { // our own, or for a plain write one of its own batch
		if ix.hasKey(v, key) {
			return errDuplicate
		}
		return nil
	}
	seen := v
	for seen != nil && (!seen.committed() || w.Txn != nil && Timestamp(seen.time.Load()) > w.Txn.snapshot) {
		seen = seen.prev
	}
	if ix.hasKey(seen, key) {
		return errDuplicate
	}
	for ; v != seen; v = v.prev {
		switch {
		case ix.hasKey(v.prev, key) == ix.hasKey(v, key): // another field was changed
		case v.committed() && w.Txn == nil: // since we looked
			return ix.clash(w, r, key)
		case v.committed():
			return errWriteConflict()
		default:
			return conflict(w, v.owner)
		}
	}
	return nil
}

// errDuplicate says that a key is taken, a *duplicate also which.
var errDuplicate = errors.New("storage: duplicate key")

type duplicate struct{ key []byte }

func (*duplicate) Error() string { return "storage: duplicate key" }

// duplicateError is the server's error for a document whose key in ix is
// taken.
func (c *Collection) duplicateError(ix *index, doc bson.Raw, taken func(key []byte) bool) *mongoerr.Error {
	var k keys
	var found []bson.RawValue
	k.want = func(vals []bson.RawValue) {
		if found == nil && taken(k.at(k.len()-1)) {
			found = append([]bson.RawValue(nil), vals...)
		}
	}
	_ = ix.keysOf(doc, &k) // it worked when the key was checked
	shown, keyValue := value.NewObject(64), value.NewObject(64)
	for i, v := range found {
		if value.IsMissing(v) {
			v = value.Null()
		}
		name := ix.spec.fields[i].path
		keyValue.Add(name, v)
		if v.Type == bson.TypeString && !utf8.ValidString(value.AsString(v)) {
			v = value.String("0x" + hexLower(value.AsString(v)))
		}
		shown.Add(name, v)
	}
	return mongoerr.New(mongoerr.DuplicateKey, "E11000 duplicate key error collection: %s index: %s dup key: %s",
		c.id.Namespace, ix.spec.name, shellText(shown.Doc())).
		WithFields(bson.E{Key: "keyPattern", Value: ix.spec.pattern}, bson.E{Key: "keyValue", Value: keyValue.Doc()})
}

func hexLower(s string) string {
	const digits = "0123456789abcdef"
	var b strings.Builder
	for i := range len(s) {
		b.WriteByte(digits[s[i]>>4])
		b.WriteByte(digits[s[i]&15])
	}
	return b.String()
}
