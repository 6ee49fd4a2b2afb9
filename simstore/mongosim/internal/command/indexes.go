package command

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func createIndexes(ctx context.Context, r *request, out *reply) error {
	ns, err := r.collection()
	if err != nil {
		return err
	}
	if v := r.field("indexes"); !value.IsMissing(v) && v.Type != bson.TypeArray {
		return mongoerr.New(mongoerr.TypeMismatch, "The field 'indexes' must be an array, but got %s", value.TypeName(v.Type))
	}
	specs, present, err := r.documents("indexes")
	if err != nil {
		return err
	}
	if !present {
		return mongoerr.New(mongoerr.FailedToParse, "The 'indexes' field is a required argument of the createIndexes command")
	}
	if len(specs) == 0 {
		return mongoerr.New(mongoerr.BadValue, "Must specify at least one index to create")
	}
	for _, s := range specs {
		if value.IsMissing(value.Field(s, "name")) && !value.IsMissing(value.Field(s, "key")) {
			return mongoerr.New(mongoerr.FailedToParse, "Error in specification %s :: caused by :: The 'name' field is a required property of an index specification", text(s))
		}
		if err := refuseCollation(value.Field(s, "collation")); err != nil {
			return err
		}
	}
	for _, f := range r.fields[1:] {
		switch f.key {
		case "indexes", "ignoreUnknownIndexOptions", "commitQuorum":
		default:
			return mongoerr.New(mongoerr.BadValue, "Invalid field specified for createIndexes command: %s", f.key)
		}
	}
	if err := checkCreatable(ns); err != nil {
		return err
	}
	quorum := r.field("commitQuorum")
	if err := checkQuorum(quorum); err != nil {
		return err
	}
	c, err := r.lookup(ns)
	if err != nil {
		return err
	}
	created := c == nil
	if created {
		if c, created, err = r.e.store.Ensure(ctx, r.txn, ns); err != nil {
			return err
		}
	}
	before, after, err := c.CreateIndexes(ctx, r.txn, specs)
	if err != nil {
		if created && r.txn == nil {
			// the server validates before it creates; an empty collection with nothing else leaves no trace
			_, _ = r.e.store.Drop(ctx, ns)
		}
		return err
	}
	if before == after {
		out.int32("numIndexesBefore", int32(before))
		out.int32("numIndexesAfter", int32(after))
		out.string("note", "all indexes already exist")
		return nil
	}
	if r.txn == nil {
		r.noteWrite(r.e.store.LastOp())
	}
	out.bool("createdCollectionAutomatically", created)
	out.int32("numIndexesBefore", int32(before))
	out.int32("numIndexesAfter", int32(after))
	if before+len(specs) > after {
		out.string("note", "index already exists")
	}
	if value.IsMissing(quorum) {
		quorum = value.String("votingMembers")
	}
	out.value("commitQuorum", quorum)
	return nil
}

// checkQuorum refuses a commit quorum that a set of one node does not have.
func checkQuorum(v bson.RawValue) error {
	if name, ok := v.StringValueOK(); ok && name != "votingMembers" && name != levelMajority {
		return mongoerr.New(mongoerr.UnknownReplWriteConcern, "No write concern mode named '%s' found in replica set configuration", name)
	}
	if n, ok := toLong(v); ok && n > 1 {
		return mongoerr.New(mongoerr.UnsatisfiableCommitQuorum, "Not enough data-bearing voting nodes to satisfy commit quorum")
	}
	return nil
}

func listIndexes(ctx context.Context, r *request, out *reply) error {
	ns, err := r.collection()
	if err != nil {
		return err
	}
	c, err := r.lookup(ns)
	if err != nil {
		return err
	}
	if c == nil {
		return mongoerr.New(mongoerr.NamespaceNotFound, "ns does not exist: %s", ns)
	}
	return r.respondWith(ctx, ns, c.Indexes(), out)
}

func dropIndexes(ctx context.Context, r *request, out *reply) error {
	ns, err := r.collection()
	if err != nil {
		return err
	}
	which := r.field("index")
	c, err := r.lookup(ns)
	if err != nil {
		return err
	}
	if c == nil {
		return mongoerr.New(mongoerr.NamespaceNotFound, "ns not found %s", ns)
	}
	n, err := c.DropIndexes(ctx, which)
	if err != nil {
		return err
	}
	r.noteWrite(r.e.store.LastOp())
	out.int32("nIndexesWas", int32(n))
	all := value.String("*")
	if value.Equal(which, all) || which.Type == bson.TypeArray && value.Len(which) == 1 && value.Equal(value.Index(which, 0), all) {
		out.string("msg", "non-_id indexes dropped for collection")
	}
	return nil
}

// indexFields are an index's fields, and whether it can stand for "exactly one document" on them.
func indexFields(spec bson.Raw) (fields []string, unique bool) {
	key, _ := value.Field(spec, "key").DocumentOK()
	for name := range value.Fields(key) {
		fields = append(fields, name)
	}
	partial := !value.IsMissing(value.Field(spec, "partialFilterExpression"))
	isID := len(fields) == 1 && fields[0] == "_id"
	return fields, (isID || value.Truthy(value.Field(spec, "unique"))) && !partial
}
