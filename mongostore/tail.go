package mongostore

import (
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/eventstore"
)

// A tail is the end of the log in memory: its head, its last documents, and who
// waits for more. It holds only what a majority of the servers has.
type tail struct {
	limit int // of entries

	mu      sync.Mutex
	known   bool
	head    eventstore.Position
	mark    bson.Timestamp
	docs    []logDoc // contiguous up to head
	entries int
	index   map[bson.ObjectID]eventstore.Position
	err     error         // why the log cannot be followed
	changed chan struct{} // closed when any of it changes
}

func newTail(limit int) *tail {
	return &tail{limit: limit, index: map[bson.ObjectID]eventstore.Position{}, changed: make(chan struct{})}
}

func (t *tail) notify() {
	close(t.changed)
	t.changed = make(chan struct{})
}

// add takes the document behind the head. It reports false when there are others
// in between; one that is known already is ignored.
func (t *tail) add(d logDoc) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case d.last() <= t.head:
		return true
	case d.first != t.head+1:
		return false
	}
	t.docs = append(t.docs, d)
	for i := range d.entries {
		t.index[d.entries[i].id] = d.first + eventstore.Position(i)
	}
	t.entries += len(d.entries)
	drop := 0
	for t.entries > t.limit && drop < len(t.docs)-1 {
		for i := range t.docs[drop].entries {
			delete(t.index, t.docs[drop].entries[i].id)
		}
		t.entries -= len(t.docs[drop].entries)
		drop++
	}
	if drop > 0 {
		t.docs = slices.Delete(t.docs, 0, drop)
	}
	t.head, t.mark, t.known = d.last(), d.mark, true
	t.notify()
	return true
}

// skip moves the head forward without knowing the documents in between.
func (t *tail) skip(head eventstore.Position, mark bson.Timestamp) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.known && head <= t.head {
		return
	}
	t.docs, t.entries = nil, 0
	clear(t.index)
	t.head, t.mark, t.known = head, mark, true
	t.notify()
}

// fail makes waiters see an error; nil ends that.
func (t *tail) fail(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil && t.err == nil {
		return
	}
	t.err = err
	t.notify()
}

// state returns the head, whether it is known at all, and a channel that is
// closed when any of it changes.
func (t *tail) state() (head eventstore.Position, known bool, changed <-chan struct{}, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.head, t.known, t.changed, t.err
}

// reaches reports whether the log goes up to a time of the cluster.
func (t *tail) reaches(until bson.Timestamp) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return packTime(t.mark) >= packTime(until)
}

// after returns entries from a position on, if they are in memory: those of one
// document.
func (t *tail) after(p eventstore.Position) []logEntry {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.docs) == 0 || p < t.docs[0].first-1 || p >= t.head {
		return nil
	}
	i, found := slices.BinarySearchFunc(t.docs, p+1, func(d logDoc, p eventstore.Position) int { return int(d.first - p) })
	if !found {
		i--
	}
	d := &t.docs[i]
	return d.entries[p+1-d.first:]
}

// find returns the highest position of some events, if all are in memory.
func (t *tail) find(ids []bson.ObjectID) (last eventstore.Position, ok bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, id := range ids {
		p, ok := t.index[id]
		if !ok {
			return 0, false
		}
		last = max(last, p)
	}
	return last, true
}
