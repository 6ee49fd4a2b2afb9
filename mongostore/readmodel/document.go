package readmodel

import (
	"context"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"

	"github.com/annals-es/annals/projection"
)

// maxAsked is the number of documents that one query asks for.
const maxAsked = 10_000

// collectionOf returns the name of a model's collection.
func (b *Backend) collectionOf(model string) (string, error) {
	switch {
	case model == "":
		return "", invalid("model", "has no name")
	case strings.ContainsAny(model, "$\x00"), b.cfg.Prefix == "" && strings.HasPrefix(model, "system."):
		return "", invalid("model", "has the name %q, which no collection can have: it holds $ or NUL or starts with \"system.\"", model)
	}
	return b.cfg.Prefix + model, nil
}

// LoadDocuments implements [projection.DocumentStore] with one query for each
// 10,000 keys. Within a transaction it reads what the transaction sees.
func (b *Backend) LoadDocuments(ctx context.Context, model string, keys []string) ([]projection.Document, error) {
	name, err := b.collectionOf(model)
	if err != nil {
		return nil, err
	}
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	coll := on.db.Collection(name)
	docs := make([]projection.Document, 0, len(keys))
	for len(keys) > 0 {
		n := min(len(keys), maxAsked)
		docs, err = appendDocuments(run, docs, coll, keyFilter(keys[:n]), options.Find().SetBatchSize(int32(n)+1))
		if err != nil {
			return nil, b.failed(ctx, "load documents of "+model, err)
		}
		keys = keys[n:]
	}
	return docs, nil
}

// ScanDocuments implements [projection.DocumentStore].
func (b *Backend) ScanDocuments(ctx context.Context, model, from, to string, limit int) ([]projection.Document, error) {
	name, err := b.collectionOf(model)
	if err != nil {
		return nil, err
	}
	if limit < 0 {
		return nil, invalid("limit", "is negative; 0 stands for no limit")
	}
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	keys := bson.D{{Key: "$gte", Value: from}}
	if to != "" {
		keys = append(keys, bson.E{Key: "$lt", Value: to})
	}
	docs, err := appendDocuments(run, nil, on.db.Collection(name), bson.D{{Key: "_id", Value: keys}},
		options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(int64(limit)))
	return docs, b.failed(ctx, "scan documents of "+model, err)
}

// DropModel implements [projection.DocumentStore].
func (b *Backend) DropModel(ctx context.Context, model string) error {
	name, err := b.collectionOf(model)
	if err != nil {
		return err
	}
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	b.made.Delete(name)
	err = on.db.Collection(name).Drop(run)
	b.made.Delete(name)
	return b.failed(ctx, "drop model "+model, err)
}

// keyFilter returns {_id: {$in: keys}}.
func keyFilter(keys []string) bson.Raw {
	size := 64
	for _, k := range keys {
		size += len(k) + 16
	}
	doc, dst := bsoncore.AppendDocumentStart(make([]byte, 0, size))
	id, dst := bsoncore.AppendDocumentElementStart(dst, "_id")
	in, dst := bsoncore.AppendArrayElementStart(dst, "$in")
	for i, k := range keys {
		dst = appendIndex(dst, bsoncore.TypeString, i)
		dst = bsoncore.AppendString(dst, k)
	}
	dst = closeDocument(dst, in)
	dst = closeDocument(dst, id)
	return closeDocument(dst, doc)
}

// appendIndex starts the i-th element of an array.
func appendIndex(dst []byte, t bsoncore.Type, i int) []byte {
	return append(strconv.AppendInt(append(dst, byte(t)), int64(i), 10), 0)
}

// closeDocument ends a document or array that was started at index.
func closeDocument(dst []byte, index int32) []byte {
	dst = append(dst, 0)
	binary.LittleEndian.PutUint32(dst[index:], uint32(len(dst)-int(index)))
	return dst
}

// appendDocuments appends what a query finds.
func appendDocuments(ctx context.Context, docs []projection.Document, coll *mongo.Collection, filter any, opts *options.FindOptionsBuilder) ([]projection.Document, error) {
	cur, err := coll.Find(ctx, filter, opts)
	if err != nil {
		return nil, err
	}
	defer cur.Close(context.WithoutCancel(ctx))
	var a arena
	for cur.Next(ctx) {
		d, err := a.document(cur.Current)
		if err != nil {
			return nil, fmt.Errorf("collection %s: %w", coll.Name(), err)
		}
		docs = append(docs, d)
	}
	return docs, cur.Err()
}

// An arena holds the bytes of documents that are loaded together, in blocks.
type arena struct {
	block []byte
	size  int
}

const (
	arenaMin = 1 << 10
	arenaMax = 64 << 10
)

func (a *arena) take(n int) []byte {
	if n > arenaMax/8 {
		return make([]byte, 0, n)
	}
	if cap(a.block)-len(a.block) < n {
		a.size = min(max(2*a.size, arenaMin, n), arenaMax)
		a.block = make([]byte, 0, a.size)
	}
	at := len(a.block)
	a.block = a.block[:at+n]
	return a.block[at : at : at+n]
}

// document takes the key out of a stored document. The server keeps _id first.
func (a *arena) document(stored bson.Raw) (projection.Document, error) {
	elem, rest, ok := bsoncore.ReadElement(stored[4:])
	if !ok || elem.Key() != "_id" {
		return projection.Document{}, fmt.Errorf("a document does not start with _id: %.100s", stored)
	}
	key, ok := elem.Value().StringValueOK()
	if !ok {
		return projection.Document{}, fmt.Errorf("the document with _id %s was not written by a projection: its key is no string", elem.Value())
	}
	size := 4 + len(rest)
	data := binary.LittleEndian.AppendUint32(a.take(size), uint32(size))
	return projection.Document{Key: key, Data: append(data, rest...)}, nil
}
