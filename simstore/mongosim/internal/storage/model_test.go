package storage

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"testing"

	"go.mongodb.org/mongo-driver/v2/bson"
	"pgregory.net/rapid"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// The model: what is committed, with the time of each document's and each
// key's last change, and open transactions that hold a copy of what was
// committed when they began.
type model struct {
	docs    map[int]modelDoc
	touched map[int]int // _id → step of the last committed change
	keys    map[int]int // k → step at which its holder last changed
	step    int
}

type modelDoc struct {
	k    int
	tags []int
}

type modelTxn struct {
	tx    *Txn
	begun int
	docs  map[int]modelDoc // what it sees
	dirty map[int]bool     // _ids it has written
	held  map[int]bool     // keys it has taken or given up
}

func (d modelDoc) bson(id int) bson.Raw {
	o := value.NewObject(64)
	o.Add("_id", value.Int32(int32(id)))
	o.Add("k", value.Int32(int32(d.k)))
	tags := make([]bson.RawValue, len(d.tags))
	for i, t := range d.tags {
		tags[i] = value.Int32(int32(t))
	}
	o.Add("tags", value.ArrayOf(tags...))
	return o.Doc()
}

func TestTransactionsAgainstAModel(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		e := Open(Config{TTLInterval: -1})
		defer e.Close()
		c, _, err := e.Ensure(context.Background(), nil, ns)
		must(rt, err)
		for _, spec := range []string{`{"key":{"k":1},"name":"k","unique":true}`, `{"key":{"tags":1},"name":"tags"}`} {
			var doc bson.Raw
			must(rt, bson.UnmarshalExtJSON([]byte(spec), false, &doc))
			_, _, err = c.CreateIndexes(context.Background(), nil, []bson.Raw{doc})
			must(rt, err)
		}
		m := &model{docs: map[int]modelDoc{}, touched: map[int]int{}, keys: map[int]int{}}
		var txns []*modelTxn
		ids, keys := rapid.IntRange(1, 6), rapid.IntRange(1, 4)
		docs := rapid.Custom(func(t *rapid.T) modelDoc {
			return modelDoc{keys.Draw(t, "k"), rapid.SliceOfNDistinct(rapid.IntRange(1, 3), 0, 3, rapid.ID).Draw(t, "tags")}
		})
		pick := func(t *rapid.T) *modelTxn {
			if len(txns) == 0 {
				t.Skip("no open transaction")
			}
			return txns[rapid.IntRange(0, len(txns)-1).Draw(t, "txn")]
		}
		end := func(x *modelTxn) { txns = slices.DeleteFunc(txns, func(y *modelTxn) bool { return x == y }) }

		rt.Repeat(map[string]func(*rapid.T){
			"begin": func(t *rapid.T) {
				if len(txns) == 4 {
					t.Skip("enough")
				}
				tx, err := e.Begin(TxnOptions{})
				must(t, err)
				txns = append(txns, &modelTxn{tx: tx, begun: m.step, docs: maps.Clone(m.docs), dirty: map[int]bool{}, held: map[int]bool{}})
			},
			"commit": func(t *rapid.T) {
				x := pick(t)
				_, err := x.tx.Commit(context.Background())
				must(t, err)
				m.step++
				for id := range x.dirty {
					if d, ok := x.docs[id]; ok {
						m.docs[id] = d
					} else {
						delete(m.docs, id)
					}
					m.touched[id] = m.step
				}
				for k := range x.held {
					m.keys[k] = m.step
				}
				end(x)
			},
			"abort": func(t *rapid.T) {
				x := pick(t)
				x.tx.Abort()
				end(x)
			},
			"write in a transaction": func(t *rapid.T) {
				x := pick(t)
				err := m.write(t, c, txns, x, ids.Draw(t, "id"), docs.Draw(t, "doc"), rapid.IntRange(0, 2).Draw(t, "how"))
				if err != nil {
					x.tx.Abort()
					end(x)
				}
			},
			"plain write": func(t *rapid.T) {
				_ = m.write(t, c, txns, nil, ids.Draw(t, "id"), docs.Draw(t, "doc"), rapid.IntRange(0, 2).Draw(t, "how"))
			},
			"": func(t *rapid.T) {
				compare(t, c, View{}, m.docs)
				for _, x := range txns {
					compare(t, c, View{Txn: x.tx}, x.docs)
				}
			},
		})
		for _, x := range txns {
			x.tx.Abort()
		}
		compare(rt, c, View{}, m.docs)
		clean(rt, c, m.docs)
	})
}

type failer interface {
	Helper()
	Fatalf(string, ...any)
}

func must(t failer, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// write inserts, replaces or deletes a document and checks the outcome that
// the model foretells. It returns the error of a write in a transaction.
func (m *model) write(t *rapid.T, c *Collection, txns []*modelTxn, x *modelTxn, id int, d modelDoc, how int) error {
	seen := m.docs
	var w Write
	if x != nil {
		seen, w.Txn = x.docs, x.tx
	}
	old, exists := seen[id]
	if how == 0 {
		exists = false
	}
	// Who stands in the way?
	docTaken, keyTaken := false, false
	changesKey := how != 2 && (!exists || old.k != d.k)
	for _, y := range txns {
		if y != x {
			docTaken = docTaken || y.dirty[id]
			keyTaken = keyTaken || changesKey && y.held[d.k]
		}
	}
	newer := x != nil && m.touched[id] > x.begun
	newerKey := x != nil && changesKey && m.keys[d.k] > x.begun
	holder := -1
	for other, o := range seen {
		if how != 2 && o.k == d.k && other != id {
			holder = other
		}
	}
	_, dupID := seen[id]

	ctx, cancel := context.WithCancel(context.Background())
	cancel() // whoever would wait gives up at once
	var err error
	switch {
	case how == 0:
		_, err = c.Insert(ctx, w, d.bson(id))
	case !exists:
		return nil // nothing to modify
	default:
		_, at := c.FindByID(View{Txn: w.Txn}, value.Int32(int32(id)))
		_, err = c.Modify(ctx, w, at, func(bson.Raw) (Change, error) {
			if how == 2 {
				return Change{Delete: true}, nil
			}
			return Change{Doc: d.bson(id)}, nil
		})
	}
	waits := mongoerr.Interrupted
	if x != nil {
		waits = mongoerr.WriteConflict
	}
	got := mongoerr.CodeOf(err)
	if err == nil {
		got = 0
	}
	var allowed []mongoerr.Code
	conflict := docTaken || keyTaken || newer || newerKey
	dup := holder >= 0 || how == 0 && dupID
	switch {
	case conflict && dup: // whichever index is looked at first
		allowed = []mongoerr.Code{waits, mongoerr.DuplicateKey}
	case conflict:
		allowed = []mongoerr.Code{waits}
	case dup:
		allowed = []mongoerr.Code{mongoerr.DuplicateKey}
	default:
		allowed = []mongoerr.Code{0}
	}
	if !slices.Contains(allowed, got) {
		t.Fatalf("write %d of %d %v in %v: got %v, want one of %v", how, id, d, x != nil, err, allowed)
	}
	if err != nil {
		return err
	}
	if x != nil {
		x.dirty[id] = true
		if exists && (how == 2 || old.k != d.k) {
			x.held[old.k] = true
		}
		if changesKey {
			x.held[d.k] = true
		}
		if how == 2 {
			delete(x.docs, id)
		} else {
			x.docs[id] = d
		}
		return nil
	}
	m.step++
	m.touched[id] = m.step
	if exists && (how == 2 || old.k != d.k) {
		m.keys[old.k] = m.step
	}
	if changesKey {
		m.keys[d.k] = m.step
	}
	if how == 2 {
		delete(m.docs, id)
	} else {
		m.docs[id] = d
	}
	return nil
}

// compare reads everything through natural order, through each index and by
// _id.
func compare(t failer, c *Collection, v View, want map[int]modelDoc) {
	t.Helper()
	all := map[string]string{}
	for id, d := range want {
		all[strconv.Itoa(id)] = d.bson(id).String()
	}
	read := func(name string, q Query) map[string]string {
		t.Helper()
		got := map[string]string{}
		cur, err := c.Find(context.Background(), v, q)
		must(t, err)
		for doc, err := range cur.All(context.Background()) {
			must(t, err)
			id := shellValue(value.Field(doc, "_id"))
			if _, twice := got[id]; twice {
				t.Fatalf("%s: %s twice", name, id)
			}
			got[id] = doc.String()
		}
		return got
	}
	same := func(name string, got, want map[string]string) {
		t.Helper()
		if !maps.Equal(got, want) {
			t.Fatalf("%s: got %v, want %v", name, got, want)
		}
	}
	same("natural order", read("natural order", Query{}), all)
	for _, name := range []string{"_id_", "k", "tags"} {
		same(name, read(name, Query{Hint: Hint{Name: name}}), all)
	}
	n, err := c.Count(v)
	must(t, err)
	if int(n) != len(want) {
		t.Fatalf("count %d, want %d", n, len(want))
	}
	for key := 1; key <= 4; key++ {
		for field, has := range map[string]func(modelDoc) bool{
			"k":    func(d modelDoc) bool { return d.k == key },
			"tags": func(d modelDoc) bool { return slices.Contains(d.tags, key) },
		} {
			spec := value.NewObject(16)
			spec.Add(field, value.Int32(int32(key)))
			f, err := match.Parse(spec.Doc(), &expr.Env{})
			must(t, err)
			part := map[string]string{}
			for id, d := range want {
				if has(d) {
					part[strconv.Itoa(id)] = d.bson(id).String()
				}
			}
			name := fmt.Sprintf("%s: %d", field, key)
			same(name, read(name, Query{Filter: f, FilterSpec: spec.Doc()}), part)
		}
	}
}

// clean checks that nothing is left but the documents: one version each, and
// the index entries that belong to them.
func clean(t failer, c *Collection, want map[int]modelDoc) {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for r := c.rows.after(0); r != nil; r = c.rows.after(r.id) {
		n++
		if r.head.prev != nil {
			t.Fatalf("record %d has an old version", r.id)
		}
	}
	tags, size := 0, int64(0)
	for id, d := range want {
		tags += max(1, len(d.tags))
		size += int64(len(d.bson(id)))
	}
	for name, got := range map[string][2]int{
		"records": {n, len(want)}, "_id": {c.indexes[0].tree.Len(), len(want)}, "k": {c.indexes[1].tree.Len(), len(want)},
		"tags": {c.indexes[2].tree.Len(), tags}, "count": {int(c.count), len(want)}, "size": {int(c.size), int(size)},
		"stale": {len(c.stale), 0}, "users": {len(c.users), 0},
	} {
		if got[0] != got[1] {
			t.Fatalf("%s: %d, want %d", name, got[0], got[1])
		}
	}
}
