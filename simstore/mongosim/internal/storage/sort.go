package storage

import (
	"bytes"
	"container/heap"
	"context"
	"slices"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/order"
)

// sortMemory is how many bytes may be sorted in memory without allowDiskUse.
const sortMemory = 100 << 20

// A keyed document is one to be sorted: by key, and where keys are equal in
// the order in which documents came.
type keyed struct {
	found
	sortKey []byte
	seq     int
}

func compareKeyed(a, b keyed) int {
	if c := bytes.Compare(a.sortKey, b.sortKey); c != 0 {
		return c
	}
	return a.seq - b.seq
}

// worstFirst is a heap of the best documents so far, the worst on top.
type worstFirst []keyed

func (h worstFirst) Len() int           { return len(h) }
func (h worstFirst) Less(i, j int) bool { return compareKeyed(h[i], h[j]) > 0 }
func (h worstFirst) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *worstFirst) Push(x any)        { *h = append(*h, x.(keyed)) }
func (h *worstFirst) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// sort reads all that the filter matches and puts it in order. With a limit
// no more than that is kept.
func (cur *Cursor) sort(ctx context.Context) error {
	q := &cur.plan.query
	by, err := order.Parse(q.SortSpec)
	if err != nil {
		return err
	}
	keep := 0
	if q.Limit > 0 {
		keep = int(q.Limit + q.Skip)
	}
	var all worstFirst
	size := 0
	for seq := 0; ; seq++ {
		f, ok, err := cur.filtered(ctx)
		if err != nil {
			return err
		}
		if !ok {
			break
		}
		key, err := by.AppendKey(nil, f.doc)
		if err != nil {
			return err
		}
		d := keyed{found: f, sortKey: key, seq: seq}
		size += len(f.doc) + len(key)
		switch {
		case keep == 0 || len(all) < keep:
			all = append(all, d)
			if len(all) == keep {
				heap.Init(&all)
			}
		case compareKeyed(d, all[0]) < 0:
			size -= len(all[0].doc) + len(all[0].sortKey)
			all[0] = d
			heap.Fix(&all, 0)
		default:
			size -= len(f.doc) + len(key)
		}
		if size > sortMemory && !q.AllowDiskUse {
			return mongoerr.New(292, "Executor error during find command :: caused by :: Sort exceeded memory limit of %d bytes, but did not opt in to external sorting.", sortMemory)
		}
	}
	slices.SortFunc(all, compareKeyed)
	cur.results = make([]found, len(all))
	for i, d := range all {
		cur.results[i] = d.found
	}
	return nil
}
