package command

import (
	"context"
	"slices"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/wire"
)

// Limits that hello announces.
const (
	maxDocumentSize   = wire.MaxDocumentSize
	maxMessageSize    = wire.MaxMessageSize
	maxWriteBatchSize = 100_000

	sessionTimeoutMinutes = 30
)

func hello(ctx context.Context, r *request, out *reply) error { return r.hello(ctx, out, false) }

func isMaster(ctx context.Context, r *request, out *reply) error { return r.hello(ctx, out, true) }

func (r *request) hello(ctx context.Context, out *reply, legacy bool) error {
	if err := r.greet(); err != nil {
		return err
	}
	state, err := r.awaitTopology(ctx)
	if err != nil {
		return err
	}
	helloOk := value.Truthy(r.field("helloOk"))
	if helloOk || !legacy {
		r.conn.mu.Lock()
		r.conn.supportsHello = r.conn.supportsHello || helloOk
		r.conn.mu.Unlock()
	}
	if helloOk {
		out.bool("helloOk", true)
	}
	at := out.begin("topologyVersion")
	out.objectID("processId", r.e.topology.processID)
	out.int64("counter", state.counter)
	out.end(at)
	r.e.describeMember(out, state, legacy, r.conn.Host)
	out.int32("maxBsonObjectSize", maxDocumentSize)
	out.int32("maxMessageSizeBytes", maxMessageSize)
	out.int32("maxWriteBatchSize", maxWriteBatchSize)
	out.date("localTime", r.now.UnixMilli())
	out.int32("logicalSessionTimeoutMinutes", sessionTimeoutMinutes)
	out.int32("connectionId", int32(r.conn.ID))
	out.int32("minWireVersion", 0)
	out.int32("maxWireVersion", r.e.version.wire())
	out.bool("readOnly", false)
	r.negotiateCompression(out)
	return r.speculate(out)
}

// describeMember is the part of hello about the set and the node's place in it.
func (e *Engine) describeMember(out *reply, state topologyState, legacy bool, host string) {
	out.strings("hosts", []string{host})
	out.string("setName", e.cfg.SetName)
	out.int32("setVersion", 1)
	writable := "isWritablePrimary"
	if legacy {
		writable = "ismaster"
	}
	out.bool(writable, state.primary)
	out.bool("secondary", !state.primary)
	if state.primary {
		out.string("primary", host)
	}
	out.string("me", host)
	if state.primary {
		out.objectID("electionId", electionID())
	}
	last := e.store.LastOp().BSON()
	wrote := int64(last.T) * 1000
	at := out.begin("lastWrite")
	out.opTime("opTime", last)
	out.date("lastWriteDate", wrote)
	out.opTime("majorityOpTime", last)
	out.date("majorityWriteDate", wrote)
	out.end(at)
}

// greet takes the client's description, which may come once.
func (r *request) greet() error {
	c := r.conn
	meta := r.field("client")
	c.mu.Lock()
	defer c.mu.Unlock()
	seen := c.greeted
	c.greeted = true
	if value.IsMissing(meta) {
		return nil
	}
	if seen {
		return mongoerr.New(mongoerr.ClientMetadataCannotBeMutated, "The client metadata document may only be sent in the first isMaster")
	}
	doc, ok := meta.DocumentOK()
	if !ok {
		return mongoerr.New(mongoerr.TypeMismatch, "The client metadata document must be a document")
	}
	const maxMetadata = 512
	if len(doc) > maxMetadata {
		return mongoerr.New(mongoerr.ClientMetadataDocumentTooLarge, "The client metadata document must be less then or equal to %dbytes", maxMetadata)
	}
	c.meta = slices.Clone(doc)
	if app, ok := value.Field(doc, "application").DocumentOK(); ok {
		c.app, _ = value.Field(app, "name").StringValueOK()
	}
	return nil
}

// awaitTopology waits for a change when the client asks for one.
func (r *request) awaitTopology(ctx context.Context) (topologyState, error) {
	tv, await := r.field("topologyVersion"), r.field("maxAwaitTimeMS")
	state := r.e.topology.state()
	switch {
	case value.IsMissing(tv) && value.IsMissing(await):
		return state, nil
	case value.IsMissing(await):
		return state, mongoerr.New(31368, "A request with 'topologyVersion' must include 'maxAwaitTimeMS'")
	case value.IsMissing(tv):
		return state, mongoerr.New(31368, "A request with 'maxAwaitTimeMS' must include a 'topologyVersion'")
	}
	doc, ok := tv.DocumentOK()
	if !ok {
		return state, mongoerr.New(mongoerr.TypeMismatch, "'topologyVersion' must be an object")
	}
	process, ok1 := value.Field(doc, "processId").ObjectIDOK()
	counter, ok2 := value.Field(doc, "counter").AsInt64OK()
	if !ok1 || !ok2 {
		return state, mongoerr.New(mongoerr.TypeMismatch, "'topologyVersion' must have a 'processId' and a 'counter'")
	}
	ms, ok := toLong(await)
	switch {
	case !ok:
		return state, mongoerr.New(mongoerr.TypeMismatch, "maxAwaitTimeMS must be a number")
	case ms < 0:
		return state, mongoerr.New(31373, "maxAwaitTimeMS must be a non-negative integer")
	case process != r.e.topology.processID:
		return state, nil // another process's counter: answer at once
	case counter < 0:
		return state, mongoerr.New(31372, "topologyVersion must have a non-negative counter")
	case counter > state.counter:
		return state, mongoerr.New(31382, "Received a topology version with counter: %d which is greater than the server topology version counter: %d", counter, state.counter)
	}
	ctx, stop := r.conn.watch(ctx)
	defer stop()
	state = r.e.topology.await(ctx, counter, time.Duration(ms)*time.Millisecond)
	if ctx.Err() != nil {
		return state, contextError(ctx)
	}
	return state, nil
}

// negotiateCompression answers with the compressors that both sides know, in the client's order.
func (r *request) negotiateCompression(out *reply) {
	v := r.field("compression")
	if value.IsMissing(v) {
		return
	}
	var both []string
	for _, name := range stringsOf(v) {
		if slices.Contains(wire.Compressors(), strings.ToLower(name)) {
			both = append(both, name)
		}
	}
	if len(both) > 0 {
		out.strings("compression", both)
	}
}

// nextHello continues a stream of hellos: the next reply comes with the next change of the
// topology, or when the client's patience ends.
func nextHello(r *request, doc bson.Raw) *wire.Request {
	await := r.field("maxAwaitTimeMS")
	if value.IsMissing(await) || value.IsMissing(r.field("topologyVersion")) {
		return nil
	}
	next := newReply()
	for key, v := range value.Fields(r.body) {
		if key == "topologyVersion" {
			v = value.Field(doc, key)
		}
		next.value(key, v)
	}
	msg := *r.msg
	msg.Body = next.doc()
	return &msg
}
