package command

import (
	"context"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

var listDatabasesFields = []string{"nameOnly", "filter", "authorizedDatabases"}

func listDatabases(_ context.Context, r *request, out *reply) error {
	spec, err := r.document("filter")
	if err != nil {
		return err
	}
	filter, err := match.Parse(spec, r.env())
	if err != nil {
		return err
	}
	nameOnly, err := r.bool("nameOnly", false)
	if err != nil {
		return err
	}
	var docs []bson.Raw
	var total int64
	for _, db := range r.e.databases() {
		d := newReply()
		d.string("name", db.Name)
		if !nameOnly {
			d.double("sizeOnDisk", float64(db.Size))
			d.bool("empty", db.Empty)
		}
		doc := d.doc()
		ok, err := filter.Match(doc)
		if err != nil {
			return err
		}
		if ok {
			docs = append(docs, doc)
			total += db.Size
		}
	}
	out.documents("databases", docs)
	if !nameOnly {
		out.double("totalSize", float64(total))
	}
	return nil
}

// databases lists the user's databases among those that every server has. What a real one keeps in these,
// sessions and the oplog, is not stored as documents here.
func (e *Engine) databases() []storage.DatabaseInfo {
	list := e.store.Databases()
	for _, name := range []string{"admin", "config", "local"} {
		if !slices.ContainsFunc(list, func(d storage.DatabaseInfo) bool { return d.Name == name }) {
			list = append(list, storage.DatabaseInfo{Name: name, Size: 4096})
		}
	}
	slices.SortFunc(list, func(a, b storage.DatabaseInfo) int { return strings.Compare(a.Name, b.Name) })
	return list
}

func dropDatabase(ctx context.Context, r *request, out *reply) error {
	if n, ok := toLong(r.first()); !ok || n != 1 {
		return mongoerr.New(mongoerr.IllegalOperation, "have to pass 1 as db parameter")
	}
	switch r.db {
	case "admin", "local", "config":
		return mongoerr.New(mongoerr.IllegalOperation, "Dropping the '%s' database is prohibited.", r.db)
	}
	existed, err := r.e.store.DropDatabase(ctx, r.db)
	if err != nil {
		return err
	}
	if existed {
		r.noteWrite(r.e.store.LastOp())
		out.string("dropped", r.db)
	}
	return nil
}

func dbStats(_ context.Context, r *request, out *reply) error {
	scale, err := r.scale()
	if err != nil {
		return err
	}
	var collections, objects, size, indexes, indexSize int64
	for _, c := range r.e.store.Collections(nil, r.db) {
		s := c.Stats()
		collections++
		objects += s.Count
		size += s.Size
		indexes += int64(len(s.Indexes))
		indexSize += s.IndexSize
	}
	out.string("db", r.db)
	appendCount(out, "collections", collections)
	out.int32("views", 0)
	appendCount(out, "objects", objects)
	average := 0.0
	if objects > 0 {
		average = float64(size) / float64(objects)
	}
	out.double("avgObjSize", average)
	out.double("dataSize", float64(size/scale))
	out.double("storageSize", float64(size/scale))
	appendCount(out, "indexes", indexes)
	out.double("indexSize", float64(indexSize/scale))
	out.double("totalSize", float64((size+indexSize)/scale))
	out.double("scaleFactor", float64(scale))
	out.double("fsUsedSize", 0)
	out.double("fsTotalSize", 0)
	return nil
}

// scale is what sizes are divided by.
func (r *request) scale() (int64, error) {
	n, present, err := r.long("scale")
	if err != nil {
		return 0, err
	}
	if !present {
		return 1, nil
	}
	if n < 1 {
		return 0, mongoerr.New(mongoerr.BadValue, "scale has to be >= 1")
	}
	return n, nil
}

func dataSize(_ context.Context, r *request, out *reply) error {
	name, ok := r.first().StringValueOK()
	if !ok {
		return mongoerr.New(mongoerr.TypeMismatch, "dataSize needs the full name of a collection")
	}
	var size, objects int64
	for _, c := range r.e.store.Collections(nil, r.db) {
		if c.Namespace().String() == name {
			s := c.Stats()
			size, objects = s.Size, s.Count
		}
	}
	out.bool("estimate", false)
	appendCount(out, "size", size)
	appendCount(out, "numObjects", objects)
	out.int32("millis", 0)
	return nil
}
