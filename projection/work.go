package projection

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/annals-es/annals/eventstore"
)

// Work is what a batch makes of the documents of a partition. It belongs to the
// partition's goroutine.
//
// It keeps documents between batches: nobody else writes them while the
// partition's fencing token is good, and a commit with one that is not is
// refused.
type Work struct {
	model string
	codec eventstore.Codec
	docs  map[string]*workDoc
	// touched are the documents with a change, in the order of the first one.
	touched []*workDoc
	// beside are changes of further models.
	beside  []Change
	atModel map[[2]string]int // index into beside
	size    int               // of all raw documents
}

// A workDoc is a document at work.
type workDoc struct {
	key     string
	loaded  bool
	raw     []byte // as stored, nil when there is none
	value   any    // decoded, a pointer; nil when not decoded yet
	op      operation
	updates []any
	data    []byte // as encoded by the last changes()
}

type operation uint8

const (
	keep operation = iota
	put
	remove
	update
)

// errCut says that the batch must be committed before this event: it needs a
// document as a partial update before has left it.
var errCut = errors.New("commit first")

func newWork(model string, codec eventstore.Codec) *Work {
	return &Work{model: model, codec: codec, docs: map[string]*workDoc{}, atModel: map[[2]string]int{}}
}

// Load returns the decoded document of a key, nil when there is none. The event
// must have been routed with Load. The pointer is to be handed to [Work.Put] when
// what it points to has been changed.
func Load[D any](w *Work, key string) (*D, error) {
	d := w.doc(key)
	switch {
	case d.op == update:
		return nil, errCut
	case d.op == remove || (d.value == nil && d.raw == nil):
		return nil, nil
	case d.value != nil:
		return d.value.(*D), nil
	}
	v := new(D)
	if err := w.codec.Unmarshal(d.raw, v); err != nil {
		return nil, Permanent(fmt.Errorf("decode document %q: %w", key, err))
	}
	d.value = v
	return v, nil
}

// Put has the document of a key replaced by a value, handed over as a pointer.
func (w *Work) Put(key string, value any) error {
	d := w.doc(key)
	if d.op == update {
		return errCut
	}
	w.touch(d)
	d.op, d.value = put, value
	return nil
}

// Delete has the document of a key removed.
func (w *Work) Delete(key string) error {
	d := w.doc(key)
	if d.op == update {
		return errCut
	}
	w.touch(d)
	d.op, d.value = remove, nil
	return nil
}

// Update has a partial update made to the document of a key.
func (w *Work) Update(key string, u any) error {
	d := w.doc(key)
	if d.op != keep && d.op != update {
		return errCut
	}
	w.touch(d)
	d.op = update
	d.updates = append(d.updates, u)
	return nil
}

// PutIn has a document of a further model written, the one whose name ends in a
// suffix. What it encodes to is seen by a scan after the commit.
func (w *Work) PutIn(suffix, key string, value any) error {
	data, err := w.codec.Marshal(value)
	if err != nil {
		return Permanent(err)
	}
	w.changeIn(Change{Model: w.model + suffix, Key: key, Data: data})
	return nil
}

// DeleteIn has a document of a further model removed.
func (w *Work) DeleteIn(suffix, key string) {
	w.changeIn(Change{Model: w.model + suffix, Key: key})
}

func (w *Work) changeIn(c Change) {
	id := [2]string{c.Model, c.Key}
	if i, ok := w.atModel[id]; ok {
		w.beside[i] = c
		return
	}
	w.atModel[id] = len(w.beside)
	w.beside = append(w.beside, c)
}

func (w *Work) doc(key string) *workDoc {
	d := w.docs[key]
	if d == nil {
		d = &workDoc{key: key}
		w.docs[key] = d
	}
	return d
}

func (w *Work) touch(d *workDoc) {
	if d.op == keep {
		w.touched = append(w.touched, d)
	}
}

// missing returns those of keys whose documents are not loaded.
func (w *Work) missing(keys []string) []string {
	var missing []string
	seen := map[string]struct{}{}
	for _, key := range keys {
		if d := w.docs[key]; d != nil && d.loaded {
			continue
		}
		if _, ok := seen[key]; !ok {
			seen[key] = struct{}{}
			missing = append(missing, key)
		}
	}
	return missing
}

// fill takes loaded documents; those of keys that are not among them do not
// exist.
func (w *Work) fill(keys []string, docs []Document) {
	for _, key := range keys {
		w.doc(key).loaded = true
	}
	for _, d := range docs {
		w.doc(d.Key).raw = d.Data
		w.size += len(d.Data)
	}
}

// changes encodes what is to be committed.
func (w *Work) changes() ([]Change, error) {
	changes := make([]Change, 0, len(w.touched)+len(w.beside))
	for _, d := range w.touched {
		c := Change{Model: w.model, Key: d.key}
		switch d.op {
		case put:
			data, err := w.codec.Marshal(d.value)
			if err != nil {
				return nil, &DocumentError{Model: w.model, Key: d.key, Err: err}
			}
			d.data = data
			if d.raw != nil && bytes.Equal(data, d.raw) {
				continue // it is stored as it is
			}
			c.Data, c.New = data, d.loaded && d.raw == nil
		case update:
			c.Updates = d.updates
		case remove:
			if d.loaded && d.raw == nil {
				continue
			}
		}
		changes = append(changes, c)
	}
	return append(changes, w.beside...), nil
}

// committed takes over what was committed.
func (w *Work) committed() {
	for _, d := range w.touched {
		w.size -= len(d.raw)
		switch d.op {
		case put:
			d.raw, d.loaded = d.data, true
		case remove:
			d.raw, d.value, d.loaded = nil, nil, true
		case update:
			d.raw, d.value, d.loaded = nil, nil, false
		}
		w.size += len(d.raw)
		d.op, d.updates, d.data = keep, nil, nil
	}
	w.clear()
}

// rewind undoes everything since the last commit.
func (w *Work) rewind() {
	for _, d := range w.touched {
		d.op, d.value, d.updates, d.data = keep, nil, nil, nil
	}
	// What was decoded and changed in place without a Put goes, too.
	for _, d := range w.docs {
		d.value = nil
	}
	w.clear()
}

func (w *Work) clear() {
	w.touched = w.touched[:0]
	w.beside = nil
	clear(w.atModel)
}

// forget drops documents until there is room for more: any of them, which serves
// streams that are active for a while as well as events without order.
func (w *Work) forget(limit int) {
	if w.size <= limit && len(w.docs) <= maxKeptDocs {
		return
	}
	for key, d := range w.docs {
		if w.size <= limit/2 && len(w.docs) <= maxKeptDocs/4*3 {
			return
		}
		w.size -= len(d.raw)
		delete(w.docs, key)
	}
}

// maxKeptDocs bounds the number of documents that are kept between steps, and of
// those that a step changes.
const maxKeptDocs = 20_000
