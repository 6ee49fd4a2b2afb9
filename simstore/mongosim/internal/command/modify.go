package command

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// A modification is what modifyOne did.
type modification struct {
	storage.ModifyResult
	matched bool
}

// change is the storage's view of the operation: it matches anew, since the document may have
// changed since it was found.
func (u *preparedUpdate) change(r *request) changeFunc {
	return func(cur bson.Raw) (storage.Change, bool, error) {
		ok, index, err := u.match(cur)
		if err != nil || !ok {
			return storage.Change{}, false, err
		}
		res, err := u.update.Apply(cur, index)
		if err != nil || !res.Changed {
			return storage.Change{}, true, err
		}
		doc := res.Doc
		if res.Replaced {
			doc = r.e.store.FillTimestamps(doc)
		}
		if err := checkResult(doc); err != nil {
			return storage.Change{}, true, err
		}
		c := storage.Change{Doc: doc}
		if !res.Replaced {
			c.Update = &storage.UpdateDescription{Updated: res.Updated, Removed: res.Removed}
		}
		return c, true, nil
	}
}

// match also finds the array element that the update's positional operator means.
func (u *preparedUpdate) match(doc bson.Raw) (ok bool, index int, err error) {
	if u.update.NeedsPosition() {
		return u.filter.MatchPosition(doc)
	}
	ok, err = u.filter.Match(doc)
	return ok, -1, err
}

// A changeFunc decides about a document, and tells whether it (still) matches.
type changeFunc func(cur bson.Raw) (c storage.Change, matched bool, err error)

// modifyOne changes the first document of a query that still matches when it is written.
func (r *request) modifyOne(ctx context.Context, coll *storage.Collection, w storage.Write, q storage.Query, sort bson.Raw, change changeFunc) (modification, error) {
	q.Expect = 1
	if err := setSort(&q, sort); err != nil {
		return modification{}, err
	}
	for {
		cur, err := coll.Find(ctx, storage.View{Txn: w.Txn}, q)
		if err != nil {
			return modification{}, err
		}
		m, again, err := r.modifyNext(ctx, coll, w, cur, change)
		cur.Close()
		if err != nil || m.matched {
			return m, err
		}
		if !again {
			return modification{}, nil
		}
		if err := canceled(ctx); err != nil {
			return modification{}, err
		}
	}
}

// modifyNext changes the next document that matches. With again the first one in the query's order has been
// changed by others meanwhile, so that the query is to be run anew.
func (r *request) modifyNext(ctx context.Context, coll *storage.Collection, w storage.Write, cur *storage.Cursor, change changeFunc) (m modification, again bool, err error) {
	_, ok, err := cur.Next(ctx)
	if err != nil || !ok {
		return m, false, err
	}
	m.ModifyResult, err = coll.Modify(ctx, w, cur.RecordID(), func(doc bson.Raw) (storage.Change, error) {
		c, matched, err := change(doc)
		m.matched = matched
		return c, err
	})
	if err != nil {
		return m, false, err
	}
	m.matched = m.matched && m.Found
	r.noteWrite(m.Time)
	return m, !m.matched, nil
}

// updateMany changes every document that matches. Their ids are collected first, so that none is met
// again where its change has moved it.
func (r *request) updateMany(ctx context.Context, coll *storage.Collection, w storage.Write, u *preparedUpdate) (statementResult, error) {
	var res statementResult
	ids, err := matching(ctx, coll, storage.View{Txn: w.Txn}, storage.Query{Filter: u.filter, Hint: u.hint})
	if err != nil {
		return res, err
	}
	change := u.change(r) //nolint:contextcheck // an update's pipeline sees one document
	for _, id := range ids {
		if err := canceled(ctx); err != nil {
			return res, err
		}
		matched := false
		m, err := coll.Modify(ctx, w, id, func(doc bson.Raw) (c storage.Change, err error) {
			c, matched, err = change(doc)
			return c, err
		})
		if err != nil {
			return res, err
		}
		r.noteWrite(m.Time)
		if m.Found && matched {
			res.n++
		}
		if m.Changed {
			res.nModified++
		}
	}
	return res, nil
}

// matching collects the record ids of a query.
func matching(ctx context.Context, coll *storage.Collection, v storage.View, q storage.Query) ([]storage.RecordID, error) {
	cur, err := coll.Find(ctx, v, q)
	if err != nil {
		return nil, err
	}
	defer cur.Close()
	var ids []storage.RecordID
	for {
		_, ok, err := cur.Next(ctx)
		if err != nil || !ok {
			return ids, err
		}
		ids = append(ids, cur.RecordID())
	}
}
