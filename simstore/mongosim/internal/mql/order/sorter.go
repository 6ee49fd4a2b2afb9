package order

import (
	"bytes"
	"container/heap"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// Sort sorts documents in place. Those that are equal keep their order. It
// fails on a document that has no key, as AppendKey says, and leaves docs
// alone then.
func (o *Order) Sort(docs []bson.Raw) error {
	s := NewSorter(o, 0)
	for _, d := range docs {
		if err := s.Add(d); err != nil {
			return err
		}
	}
	copy(docs, s.Docs())
	return nil
}

// A Sorter takes documents one by one and gives them back sorted. With a
// limit it holds no more than that many. It isn't safe for concurrent use.
type Sorter struct {
	order *Order
	limit int
	items items
	n     int
	key   []byte // of the last document, when it wasn't kept
}

// NewSorter starts a Sorter. A limit of 0 means none.
func NewSorter(o *Order, limit int) *Sorter {
	return &Sorter{order: o, limit: limit}
}

// Add takes a document, which it keeps a reference to.
func (s *Sorter) Add(doc bson.Raw) error {
	key, err := s.order.AppendKey(s.key[:0], doc)
	if err != nil {
		return err
	}
	s.key = nil
	it := item{key: key, seq: s.n, doc: doc}
	s.n++
	switch {
	case s.limit <= 0 || len(s.items) < s.limit:
		s.items = append(s.items, it)
		if len(s.items) == s.limit {
			heap.Init(&s.items)
		}
	case bytes.Compare(key, s.items[0].key) < 0:
		s.key = s.items[0].key
		s.items[0] = it
		heap.Fix(&s.items, 0)
	default:
		s.key = key
	}
	return nil
}

// Docs gives the documents in order. The Sorter is empty afterwards.
func (s *Sorter) Docs() []bson.Raw {
	slices.SortFunc(s.items, func(a, b item) int { return a.compare(b) })
	docs := make([]bson.Raw, len(s.items))
	for i, it := range s.items {
		docs[i] = it.doc
	}
	s.items, s.n = nil, 0
	return docs
}

type item struct {
	key []byte
	seq int
	doc bson.Raw
}

func (a item) compare(b item) int {
	if c := bytes.Compare(a.key, b.key); c != 0 {
		return c
	}
	return a.seq - b.seq
}

// items is a heap with the greatest on top.
type items []item

func (h items) Len() int           { return len(h) }
func (h items) Less(i, j int) bool { return h[i].compare(h[j]) > 0 }
func (h items) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *items) Push(x any)        { *h = append(*h, x.(item)) }

func (h *items) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}
