package mongostore

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// insert sends one insert command and returns the time of the server's reply in
// the cluster's time, zero where there is none. In the transaction that ctx carries
// it is part of that, else it is acknowledged by the majority; another session of
// the caller's has no part in it.
//
// The driver's own methods are not used for three reasons. They make each write a
// retryable one, for which the server keeps a record in a collection of its own:
// one more write for each. Documents of a store need none, their keys tell whether
// they were written before. They also copy every document field by field and decode
// its _id; and they try again by themselves, which this does not: an error that may
// pass is the caller's to deal with.
//
// Errors are a [mongo.WriteException] when documents were refused or the majority
// did not acknowledge, and what the driver returns for other commands. All
// documents and the rest of the command fit into 16 MiB and 16 KiB.
func insert(ctx context.Context, coll *mongo.Collection, ordered bool, docs ...bson.Raw) (bson.Timestamp, error) {
	within := inTransaction(ctx)
	if !within && mongo.SessionFromContext(ctx) != nil {
		ctx = mongo.NewSessionContext(ctx, nil)
	}
	reply, err := coll.Database().RunCommand(ctx, insertCommand(coll.Name(), ordered, !within, docs)).Raw()
	if refused, ok := errors.AsType[mongo.WriteException](err); ok {
		reply = refused.Raw
	}
	return operationTime(reply), err
}

func insertCommand(coll string, ordered, majority bool, docs []bson.Raw) bson.Raw {
	size := 128 + len(coll)
	for _, doc := range docs {
		size += len(doc) + 8
	}
	start, b := openDocument(make([]byte, 0, size))
	b = appendStringElement(b, "insert", coll)
	if !ordered {
		b = append(appendKey(b, bson.TypeBoolean, "ordered"), 0)
	}
	if majority {
		var concern int
		concern, b = openDocument(appendKey(b, bson.TypeEmbeddedDocument, "writeConcern"))
		b = closeDocument(appendStringElement(b, "w", "majority"), concern)
	}
	array, b := openDocument(appendKey(b, bson.TypeArray, "documents"))
	for i, doc := range docs {
		b = append(b, byte(bson.TypeEmbeddedDocument))
		b = append(appendDecimal(b, i), 0)
		b = append(b, doc...)
	}
	return closeDocument(closeDocument(b, array), start)
}

// operationTime reads the time that every reply of a replica set carries.
func operationTime(reply bson.Raw) (t bson.Timestamp) {
	for it := elementsOf(reply); ; {
		el, ok := it.next()
		if !ok {
			return t
		}
		if string(el.key) == "operationTime" {
			t, _ = el.timestamp()
			return t
		}
	}
}
