package command

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
	"github.com/annals-es/annals/simstore/mongosim/internal/wire"
)

var getMoreFields = []string{"collection", "batchSize", "term", "lastKnownCommittedOpTime"}

// defaultAwait is how long a getMore waits for data when the client names no time.
const defaultAwait = time.Second

func getMore(ctx context.Context, r *request, out *reply) error {
	id, ns, limit, err := r.parseGetMore()
	if err != nil {
		return err
	}
	ms, err := parseMaxTimeMS(r.generic.maxTimeMS)
	if err != nil {
		return err
	}
	c, ctx, err := r.e.cursors.pin(ctx, id)
	if err != nil {
		return err
	}
	end := false
	defer func() { r.e.cursors.unpin(c, end) }()
	r.changeStream = c.stream != nil
	if err := r.checkCursorOwner(c, ns); err != nil {
		return err
	}
	if ms > 0 && !c.waits && c.stream == nil {
		return mongoerr.New(mongoerr.BadValue, "cannot set maxTimeMS on getMore command for a non-awaitData cursor")
	}
	await := defaultAwait
	if !value.IsMissing(r.generic.maxTimeMS) && ms > 0 {
		await = time.Duration(ms) * time.Millisecond
	}
	var docs []bson.Raw
	var token bson.Raw
	if c.stream != nil {
		docs, err = r.readStream(ctx, c, limit, await)
		token, end = c.stream.Token(), c.stream.Closed()
	} else {
		docs, end, err = r.readCursor(ctx, c, limit, await)
	}
	if err != nil {
		end = true
		if ctx.Err() != nil {
			return contextError(ctx)
		}
		return err
	}
	id = c.id
	if end {
		id = 0
	}
	appendBatch(out, false, id, c.ns.String(), docs, token)
	return nil
}

func (r *request) parseGetMore() (id int64, ns storage.Namespace, limit int64, err error) {
	first := r.first()
	if first.Type != bson.TypeInt64 {
		return 0, ns, 0, mongoerr.New(mongoerr.TypeMismatch, "Field 'getMore' must be of type long in: %s", text(r.body))
	}
	id = value.AsInt64(first)
	coll := r.field("collection")
	name, ok := coll.StringValueOK()
	switch {
	case value.IsMissing(coll):
		return 0, ns, 0, mongoerr.New(mongoerr.FailedToParse, "Field 'collection' missing in: %s", text(r.body))
	case !ok:
		return 0, ns, 0, mongoerr.New(mongoerr.TypeMismatch, "Field 'collection' must be of type string in: %s", text(r.body))
	case name == "":
		return 0, ns, 0, mongoerr.New(mongoerr.InvalidNamespace, "Invalid namespace for getMore: %s.%s", r.db, name)
	case id == 0:
		return 0, ns, 0, mongoerr.New(mongoerr.BadValue, "Cursor id for getMore must be non-zero")
	}
	limit = -1
	if v := r.field("batchSize"); !value.IsMissing(v) {
		n, ok := toLong(v)
		if !ok {
			return 0, ns, 0, mongoerr.New(mongoerr.TypeMismatch, "Field 'batchSize' must be a number in: %s", text(r.body))
		}
		switch {
		case n < 0, n == 0 && !r.e.version.atLeast(5, 0):
			return 0, ns, 0, mongoerr.New(mongoerr.BadValue, "Batch size for getMore must be positive, but received: %d", n)
		case n > 0:
			limit = n
		}
	}
	return id, storage.Namespace{DB: r.db, Coll: name}, limit, nil
}

// checkCursorOwner refuses a cursor of another collection, session or transaction.
func (r *request) checkCursorOwner(c *cursor, ns storage.Namespace) error {
	s, o := &r.session, &c.owner
	prefix := "Cannot run getMore on cursor %d, which was "
	switch {
	case s.has && !o.has:
		return mongoerr.New(50736, prefix+"not created in a session, in session %s", c.id, s.id)
	case !s.has && o.has:
		return mongoerr.New(50737, prefix+"created in session %s, without an lsid", c.id, o.id)
	case s.has && s.id != o.id:
		return mongoerr.New(50738, prefix+"created in session %s, in session %s", c.id, o.id, s.id)
	case s.hasTxnNumber && !o.autocommit:
		return mongoerr.New(50739, prefix+"not created in a transaction, in transaction %d", c.id, s.txnNumber)
	case !s.hasTxnNumber && o.autocommit:
		return mongoerr.New(50740, prefix+"created in transaction %d, without a txnNumber", c.id, o.txnNumber)
	case s.hasTxnNumber && s.txnNumber != o.txnNumber:
		return mongoerr.New(50741, prefix+"created in transaction %d, in transaction %d", c.id, o.txnNumber, s.txnNumber)
	case ns != c.ns:
		return mongoerr.New(mongoerr.Unauthorized, "Requested getMore on namespace '%s', but cursor belongs to a different namespace %s", ns, c.ns)
	case c.user != r.conn.auth.identity():
		return mongoerr.New(mongoerr.Unauthorized, "cursor id %d was not created by the authenticated user", c.id)
	}
	return nil
}

// readCursor takes the next batch of a query.
func (r *request) readCursor(ctx context.Context, c *cursor, limit int64, await time.Duration) ([]bson.Raw, bool, error) {
	if c.budget > 0 {
		limited, cancel := context.WithTimeout(ctx, c.budget)
		defer cancel()
		started := time.Now()
		defer func() { c.budget = max(c.budget-time.Since(started), 1) }()
		ctx = limited
	}
	if c.ctx != nil {
		c.ctx.set(ctx)
	}
	if err := c.src.resume(); err != nil {
		return nil, true, err
	}
	next := r.e.nextOp() // before looking, so that nothing is missed
	b, err := c.fill(ctx, limit)
	if err != nil || len(b.docs) > 0 || b.end || !c.waits {
		return b.docs, b.end, err
	}
	return r.awaitDocuments(ctx, c, limit, next, await)
}

// nextOp is the number that the next operation in the oplog will have.
func (e *Engine) nextOp() uint64 {
	n, _ := e.store.Oplog().Seek(e.store.LastOp() + 1)
	return n
}

// awaitDocuments looks again whenever something has been written, until there are documents
// or the client's patience ends.
func (r *request) awaitDocuments(ctx context.Context, c *cursor, limit int64, next uint64, await time.Duration) ([]bson.Raw, bool, error) {
	ctx, stop := r.conn.watch(ctx)
	defer stop()
	patience, cancel := context.WithTimeout(ctx, await)
	defer cancel()
	for {
		if err := r.e.store.Oplog().Wait(patience, next); err != nil {
			if patience.Err() != nil && ctx.Err() == nil {
				return nil, false, nil // nothing came
			}
			return nil, true, err
		}
		next = r.e.nextOp()
		b, err := c.fill(ctx, limit)
		if err != nil || len(b.docs) > 0 || b.end {
			return b.docs, b.end, err
		}
	}
}

// readStream takes the next events of a change stream.
func (r *request) readStream(ctx context.Context, c *cursor, limit int64, await time.Duration) ([]bson.Raw, error) {
	n := int(min(max(limit, 0), 1<<30))
	docs, err := c.stream.Next(ctx, n, maxBatchBytes, time.Time{})
	if err != nil || len(docs) > 0 || c.stream.Closed() {
		return docs, err
	}
	ctx, stop := r.conn.watch(ctx)
	defer stop()
	return c.stream.Next(ctx, n, maxBatchBytes, time.Now().Add(await))
}

// nextGetMore goes on with an exhaust cursor.
func nextGetMore(r *request, doc bson.Raw) *wire.Request {
	cur, _ := value.Field(doc, "cursor").DocumentOK()
	if id, _ := value.Field(cur, "id").Int64OK(); id == 0 {
		return nil
	}
	return r.msg
}

// killCursors closes cursors; nobody needs to own them but their user.
func killCursors(_ context.Context, r *request, out *reply) error {
	name, ok := r.first().StringValueOK()
	if !ok {
		return mongoerr.New(mongoerr.FailedToParse, "Field 'killCursors' must be of type string in: %s", text(r.body))
	}
	list := r.field("cursors")
	switch {
	case value.IsMissing(list):
		return mongoerr.New(mongoerr.FailedToParse, "Field 'cursors' missing in: %s", text(r.body))
	case list.Type != bson.TypeArray:
		return mongoerr.New(mongoerr.FailedToParse, "Field 'cursors' must be of type array in: %s", text(r.body))
	case value.Len(list) == 0:
		return mongoerr.New(mongoerr.BadValue, "Must specify at least one cursor id in: %s", text(r.body))
	}
	ns := storage.Namespace{DB: r.db, Coll: name}
	mine := r.conn.auth.identity()
	var killed, missing []int64
	for _, v := range value.Elements(list) {
		id, ok := v.Int64OK()
		if !ok {
			return mongoerr.New(mongoerr.FailedToParse, "Field 'cursors' contains an element that is not of type long: %s", text(r.body))
		}
		if r.e.cursors.kill(id, func(c *cursor) bool { return c.ns == ns && c.user == mine }) {
			killed = append(killed, id)
		} else {
			missing = append(missing, id)
		}
	}
	out.int64s("cursorsKilled", killed)
	out.int64s("cursorsNotFound", missing)
	out.int64s("cursorsAlive", nil)
	out.int64s("cursorsUnknown", nil)
	return nil
}
