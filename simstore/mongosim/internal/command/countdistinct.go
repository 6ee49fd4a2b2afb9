package command

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	mqlexpr "github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

var countFields = []string{"query", "limit", "skip", "hint", "collation", "fields", "queryOptions"}

// A countOp is a parsed count command.
type countOp struct {
	ns          storage.Namespace
	query       storage.Query
	filter      bson.Raw
	skip, limit int64
}

func (r *request) parseCount() (*countOp, error) {
	ns, err := r.collection()
	if err != nil {
		return nil, err
	}
	op := &countOp{ns: ns}
	if op.filter, err = r.document("query"); err != nil {
		return nil, err
	}
	if v := r.field("limit"); !value.IsMissing(v) && !v.IsNumber() {
		return nil, mongoerr.New(mongoerr.BadValue, "limit value is not a valid number")
	}
	if op.limit, _, err = r.long("limit"); err != nil {
		return nil, err
	}
	if op.limit < 0 { // a negative limit counts as the positive one
		op.limit = -op.limit
	}
	if op.skip, _, err = r.long("skip"); err != nil {
		return nil, err
	}
	if op.skip < 0 {
		return nil, mongoerr.New(mongoerr.FailedToParse, "Expected a positive number in: skip: %d", op.skip)
	}
	if op.query.Hint, err = parseHint(r.field("hint")); err != nil {
		return nil, err
	}
	if err := refuseCollation(r.field("collation")); err != nil {
		return nil, err
	}
	op.query.Filter, err = match.Parse(op.filter, r.env())
	return op, err
}

func count(ctx context.Context, r *request, out *reply) error {
	op, err := r.parseCount()
	if err != nil {
		return err
	}
	coll, err := r.lookup(op.ns)
	if err != nil {
		return err
	}
	var n int64
	if coll != nil {
		if n, err = r.countMatching(ctx, coll, op); err != nil {
			return err
		}
	}
	n = max(n-op.skip, 0)
	if op.limit > 0 {
		n = min(n, op.limit)
	}
	appendCount(out, "n", n)
	return nil
}

func (r *request) countMatching(ctx context.Context, coll *storage.Collection, op *countOp) (int64, error) {
	if value.IsEmpty(op.filter) && op.query.Hint.IsZero() {
		return coll.Count(r.view())
	}
	cur, err := coll.Find(ctx, r.view(), op.query)
	if err != nil {
		return 0, err
	}
	defer cur.Close()
	var n int64
	for op.limit == 0 || n < op.limit+op.skip {
		_, ok, err := cur.Next(ctx)
		if err != nil {
			return 0, orContext(ctx, err)
		}
		if !ok {
			break
		}
		n++
	}
	return n, nil
}

// appendCount writes a count as the server does: an int if it fits.
func appendCount(out *reply, key string, n int64) {
	if int64(int32(n)) == n {
		out.int32(key, int32(n))
		return
	}
	out.int64(key, n)
}

var distinctFields = []string{"key", "query", "collation"}

func distinct(ctx context.Context, r *request, out *reply) error {
	ns, err := r.collection()
	if err != nil {
		return err
	}
	key, present, err := r.string("key")
	if err != nil {
		return err
	}
	if !present {
		return r.missing("key")
	}
	if err := mqlexpr.CheckPath(key); err != nil {
		return err
	}
	filter := r.field("query")
	if !value.IsMissing(filter) && filter.Type != bson.TypeEmbeddedDocument && filter.Type != bson.TypeNull {
		return r.wrongType("query", filter, "object")
	}
	if err := refuseCollation(r.field("collation")); err != nil {
		return err
	}
	doc, _ := filter.DocumentOK()
	f, err := match.Parse(doc, r.env())
	if err != nil {
		return err
	}
	hint, err := parseHint(r.field("hint"))
	if err != nil {
		return err
	}
	coll, err := r.lookup(ns)
	if err != nil {
		return err
	}
	var values distinctValues
	if coll != nil {
		cur, err := coll.Find(ctx, r.view(), storage.Query{Filter: f, Hint: hint})
		if err != nil {
			return err
		}
		defer cur.Close()
		for {
			doc, ok, err := cur.Next(ctx)
			if err != nil {
				return orContext(ctx, err)
			}
			if !ok {
				break
			}
			values.collect(doc, key)
		}
	}
	if values.size > maxDocumentSize {
		return mongoerr.New(17217, "distinct too big, 16mb cap")
	}
	slices.SortFunc(values.list, value.Compare) // as the server does, though it promises no order
	at := out.beginArray("values")
	var idx indexKey
	for i, v := range values.list {
		out.value(string(idx.of(i)), v)
	}
	out.end(at)
	return nil
}

// distinctValues are the different values of a path. Of equal ones the first that was met is kept.
type distinctValues struct {
	list []bson.RawValue
	seen map[string]struct{}
	size int
}

func (d *distinctValues) collect(doc bson.Raw, path string) {
	name, rest, more := strings.Cut(path, ".")
	v := value.Field(doc, name)
	switch {
	case value.IsMissing(v):
	case !more && v.Type == bson.TypeArray:
		for _, e := range value.Elements(v) {
			d.add(e)
		}
	case !more:
		d.add(v)
	case v.Type == bson.TypeEmbeddedDocument:
		d.collect(bson.Raw(v.Value), rest)
	case v.Type == bson.TypeArray:
		next, _, _ := strings.Cut(rest, ".")
		if _, err := strconv.ParseUint(next, 10, 32); err == nil {
			d.collect(bson.Raw(v.Value), rest) // a position
			return
		}
		for _, e := range value.Elements(v) {
			if e.Type == bson.TypeEmbeddedDocument {
				d.collect(bson.Raw(e.Value), rest)
			}
		}
	}
}

func (d *distinctValues) add(v bson.RawValue) {
	key := string(value.AppendKey(nil, v, false))
	if _, ok := d.seen[key]; ok {
		return
	}
	if d.seen == nil {
		d.seen = map[string]struct{}{}
	}
	d.seen[key] = struct{}{}
	d.list = append(d.list, bson.RawValue{Type: v.Type, Value: slices.Clone(v.Value)})
	d.size += len(v.Value) + 8
}
