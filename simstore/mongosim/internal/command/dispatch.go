package command

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
	"github.com/annals-es/annals/simstore/mongosim/internal/wire"
)

// A Response is the answer to one request.
type Response struct {
	Doc bson.Raw // nil: there is nothing to send
	// Next is set for an exhaust stream: another reply follows this one without
	// being asked for, and is the answer to Next.
	Next *wire.Request
	// Close asks to hang up, after sending Doc if there is one.
	Close bool
}

// Handle answers one request of a connection. ctx bounds the work; its cause should
// be ErrShutdown when the node stops.
func (e *Engine) Handle(ctx context.Context, c *Conn, msg *wire.Request) (resp Response) {
	r := &request{e: e, conn: c, msg: msg, body: msg.Body, now: e.cfg.Now()}
	defer func() {
		if p := recover(); p != nil {
			// a bug in the simulation must not take the test process down
			e.log.ErrorContext(ctx, "command panicked", "command", r.name, "panic", p, "stack", string(debug.Stack()))
			resp = Response{Doc: r.failure(mongoerr.New(mongoerr.InternalError, "mongosim: command %s panicked: %v", r.name, p))}
		}
	}()
	out := newReply()
	err := e.execute(ctx, r, out)
	if errors.Is(err, errCloseConnection) || r.cmd != nil && e.fail.losesReply(r) {
		return Response{Close: true}
	}
	if msg.Op == wire.OpMsg && msg.Flags&wire.MoreToCome != 0 {
		return Response{} // the client does not wait for an answer
	}
	if err != nil {
		return Response{Doc: r.failure(asError(err))}
	}
	resp.Doc = r.success(out)
	if msg.Flags&wire.ExhaustAllowed != 0 && r.cmd.exhaust != nil {
		resp.Next = r.cmd.exhaust(r, resp.Doc)
	}
	return resp
}

// HandleMalformed answers a request that could not be read.
func (e *Engine) HandleMalformed(c *Conn, bad *wire.RequestError) bson.Raw {
	r := &request{e: e, conn: c, msg: bad.Request, now: e.cfg.Now()}
	return r.failure(mongoerr.New(mongoerr.Code(bad.Code), "%s", bad.Message))
}

// execute takes a request through the checks that all commands share, and runs it.
func (e *Engine) execute(ctx context.Context, r *request, out *reply) error {
	if err := parseRequest(r); err != nil {
		return err
	}
	if len(r.fields) == 0 {
		return mongoerr.New(mongoerr.CommandNotFound, "no such command: ''")
	}
	if err := e.resolve(r); err != nil {
		return err
	}
	if err := r.gossip(); err != nil {
		return err
	}
	if err := r.parseSession(); err != nil {
		return err
	}
	if err := e.fail.beforeCommand(ctx, r); err != nil {
		return err
	}
	if err := checkDatabase(r.db); err != nil {
		return err
	}
	for _, check := range []func() error{
		r.checkTransaction, r.checkDuplicates, r.checkAuthenticated, r.checkReadPreference, r.checkForm,
	} {
		if err := check(); err != nil {
			return err
		}
	}
	if r.cmd.secondary == never {
		primary, end := e.primary.begin(ctx)
		defer end()
		ctx = primary
	}
	if err := r.checkPrimary(); err != nil {
		return err
	}
	if err := r.checkReadConcern(); err != nil {
		return err
	}
	ctx, stop, err := r.withTimeLimit(ctx)
	if err != nil {
		return err
	}
	defer stop()
	if err := r.awaitReadConcern(); err != nil {
		return err
	}
	if err := r.checkWriteConcern(); err != nil {
		return err
	}
	e.counters.count(r.cmd)
	return e.runInSession(ctx, r, out)
}

// checkForm refuses what can be told without a look at the session, in which the command would otherwise
// begin or abort a transaction.
func (r *request) checkForm() error {
	if !r.cmd.lateFields || !r.session.autocommit {
		if err := r.checkFields(); err != nil {
			return err
		}
	}
	if r.cmd.parse != nil && r.session.autocommit {
		return r.cmd.parse(r)
	}
	return nil
}

// resolve finds the command, and refuses it on the wrong database.
func (e *Engine) resolve(r *request) error {
	cmd := e.commands[r.name]
	if cmd == nil {
		return mongoerr.New(mongoerr.CommandNotFound, "no such command: '%s'", r.name)
	}
	r.cmd = cmd
	if cmd.admin && r.db != "admin" {
		return mongoerr.New(mongoerr.Unauthorized, "%s may only be run against the admin database.", cmd.name)
	}
	if r.msg.Op == wire.OpQuery && cmd.name != "hello" && cmd.name != "isMaster" {
		return mongoerr.New(mongoerr.UnsupportedOpQueryCommand, "Unsupported OP_QUERY command: %s. The client driver may require an upgrade.", r.name)
	}
	return nil
}

// gossip takes note of the cluster time that the client has seen.
func (r *request) gossip() error {
	v := r.generic.clusterTime
	if value.IsMissing(v) {
		return nil
	}
	doc, ok := v.DocumentOK()
	if !ok {
		return notAnObject("$clusterTime")
	}
	at := value.Field(doc, "clusterTime")
	if value.IsMissing(at) {
		return mongoerr.New(mongoerr.NoSuchKey, "Missing expected field \"clusterTime\"")
	}
	t, i, ok := at.TimestampOK()
	if !ok {
		return mongoerr.New(mongoerr.TypeMismatch, "\"clusterTime\" had the wrong type. Expected timestamp, found %s", value.TypeName(at.Type))
	}
	const maxDrift = 365 * 24 * time.Hour
	if time.Unix(int64(t), 0).After(r.now.Add(maxDrift)) {
		return mongoerr.New(mongoerr.ClusterTimeFailsRateLimiter, "New cluster time, %d, is too far from this node's wall clock time, %d.", t, r.now.Unix())
	}
	r.e.store.AdvanceClusterTime(storage.MakeTimestamp(t, i))
	return nil
}

// checkPrimary refuses what this member of the set may not do now.
func (r *request) checkPrimary() error {
	if r.cmd.secondary == always || r.e.topology.isPrimary() {
		return nil
	}
	subject, option := "not master", "slaveOk=false"
	if r.conn.helloSupported() {
		subject, option = "not primary", "secondaryOk=false"
	}
	if r.cmd.secondary == optIn && !r.session.autocommit {
		if r.secondaryOK() {
			return nil
		}
		return mongoerr.New(mongoerr.NotPrimaryNoSecondaryOk, "%s and %s", subject, option)
	}
	return mongoerr.New(mongoerr.NotWritablePrimary, "%s", subject)
}

// secondaryOK tells whether the client reads from secondaries.
func (r *request) secondaryOK() bool {
	doc, ok := r.generic.readPref.DocumentOK()
	if !ok {
		return false
	}
	mode, ok := value.Field(doc, "mode").StringValueOK()
	return ok && mode != "primary"
}

// checkReadPreference refuses what is no read preference.
func (r *request) checkReadPreference() error {
	v := r.generic.readPref
	if value.IsMissing(v) {
		return nil
	}
	doc, ok := v.DocumentOK()
	if !ok {
		return mongoerr.New(mongoerr.TypeMismatch, "$readPreference has incorrect type: expected object but got %s", value.TypeName(v.Type))
	}
	mode := value.Field(doc, "mode")
	name, ok := mode.StringValueOK()
	switch {
	case value.IsMissing(mode):
		return mongoerr.New(40414, "BSON field '$readPreference.mode' is missing but a required field")
	case !ok:
		return mongoerr.New(mongoerr.TypeMismatch, "BSON field '$readPreference.mode' is the wrong type '%s', expected type 'string'", value.TypeName(mode.Type))
	}
	switch name {
	case "primary", "primaryPreferred", "secondary", "secondaryPreferred", "nearest":
		return nil
	}
	return mongoerr.New(mongoerr.BadValue, "Could not parse $readPreference mode '%s'. Only the modes 'primary', 'primaryPreferred', 'secondary', 'secondaryPreferred', and 'nearest' are supported.", name)
}

func noStop() {}

// withTimeLimit applies maxTimeMS, which means something else to getMore and hello.
func (r *request) withTimeLimit(ctx context.Context) (context.Context, func(), error) {
	ms, err := parseMaxTimeMS(r.generic.maxTimeMS)
	if err != nil {
		return nil, nil, err
	}
	if ms == 0 || r.cmd.ownTimeLimit {
		return ctx, noStop, nil
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(ms)*time.Millisecond)
	return ctx, cancel, nil
}

func parseMaxTimeMS(v bson.RawValue) (int64, error) {
	if value.IsMissing(v) {
		return 0, nil
	}
	if !v.IsNumber() {
		return 0, mongoerr.New(mongoerr.BadValue, "maxTimeMS must be a number")
	}
	ms, exact := value.Int64Exact(v)
	switch {
	case !exact:
		return 0, mongoerr.New(mongoerr.BadValue, "maxTimeMS has non-integral value")
	case ms < 0 || ms > 1<<31-1:
		return 0, mongoerr.New(mongoerr.BadValue, "maxTimeMS is out of range")
	}
	return ms, nil
}

// runInSession runs the command, with its session checked out when it has a
// transaction number.
func (e *Engine) runInSession(ctx context.Context, r *request, out *reply) error {
	r.ran = true
	if !r.session.hasTxnNumber || r.cmd.skipCheckout {
		release, err := r.openReadSnapshot()
		if err != nil {
			return err
		}
		defer release()
		return r.cmd.run(ctx, r, out)
	}
	s, err := e.sessions.Checkout(ctx, r.session.id)
	if err != nil {
		return err
	}
	defer s.Checkin()
	r.checkedOut = s
	if !r.session.autocommit {
		if err := s.BeginRetryable(r.session.txnNumber); err != nil {
			return err
		}
		return r.cmd.run(ctx, r, out)
	}
	if err := r.enterTransaction(); err != nil {
		return err
	}
	if r.cmd.lateFields {
		if err := r.checkFields(); err != nil {
			return r.abandon(err)
		}
	}
	if err := r.cmd.run(ctx, r, out); err != nil {
		return r.abandon(err)
	}
	if r.failedAt && r.txn != nil { // write errors in a reply that is ok
		s.Abort(r.txn)
	}
	return nil
}

func (r *request) enterTransaction() (err error) {
	s := r.checkedOut
	if r.session.start {
		r.txn, err = s.Start(r.session.txnNumber, storage.TxnOptions{At: r.rc.atClusterTime})
		return err
	}
	r.txn, err = s.Continue(r.session.txnNumber, r.cmd.name == "commitTransaction")
	if mongoerr.CodeOf(err) == mongoerr.NoSuchTransaction && r.wc.given {
		// what the client learns has to be committed by a majority
		r.noteWrite(r.e.store.Noop("NoSuchTransaction error"))
	}
	return err
}

// abandon aborts the transaction in which a command has failed. When the transaction was
// aborted beneath the command, it says so in the session's words.
func (r *request) abandon(err error) error {
	if r.txn == nil {
		return err
	}
	r.checkedOut.Abort(r.txn)
	if mongoerr.CodeOf(err) == mongoerr.NoSuchTransaction && !r.cmd.endsTransaction {
		return mongoerr.New(mongoerr.NoSuchTransaction, "Transaction %d has been aborted.", r.session.txnNumber)
	}
	return err
}

// success completes the reply of a command that has run.
func (r *request) success(out *reply) bson.Raw {
	var wcCode mongoerr.Code
	if r.cmd.batch {
		out.double("ok", 1)
		wcCode = r.appendWriteConcernError(out)
	} else {
		wcCode = r.appendWriteConcernError(out)
		out.double("ok", 1)
	}
	r.appendLabels(out, r.errorLabels(0, wcCode))
	if isNotPrimary(wcCode) {
		r.appendTopologyVersion(out)
	}
	r.appendClusterTime(out)
	out.timestamp("operationTime", r.operationTime())
	return out.doc()
}

// appendWriteConcernError tells that the write concern of a command that has run, successfully or not, is
// not satisfied.
func (r *request) appendWriteConcernError(out *reply) (code mongoerr.Code) {
	if !r.ran || !r.cmd.writeConcern || r.onlyReads {
		return 0
	}
	doc, code := r.wc.error()
	if injected, ok := r.e.fail.afterCommand(r); ok {
		n, _ := value.Field(injected, "code").AsInt64OK()
		doc, code = injected, mongoerr.Code(n)
	}
	if doc != nil {
		out.document("writeConcernError", doc)
	}
	return code
}

// failure is the reply to a request that failed.
func (r *request) failure(err *mongoerr.Error) bson.Raw {
	out := newReply()
	wcCode := r.appendWriteConcernError(out)
	labels := r.errorLabels(err.Code, wcCode)
	if r.labels == nil {
		labels = withLabels(labels, err.Labels)
	}
	r.appendLabels(out, labels)
	if isNotPrimary(err.Code) {
		r.appendTopologyVersion(out)
	}
	out.timestamp("operationTime", r.operationTime())
	out.double("ok", 0)
	out.string("errmsg", err.Message)
	out.int32("code", int32(err.Code))
	out.string("codeName", err.Code.Name())
	for _, f := range err.Fields {
		out.any(f.Key, f.Value)
	}
	r.appendClusterTime(out)
	return out.doc()
}

func (r *request) appendLabels(out *reply, labels []string) {
	if len(labels) > 0 {
		out.strings("errorLabels", labels)
	}
}

func (r *request) appendTopologyVersion(out *reply) {
	at := out.begin("topologyVersion")
	out.objectID("processId", r.e.topology.processID)
	out.int64("counter", r.e.topology.state().counter)
	out.end(at)
}

func (r *request) appendClusterTime(out *reply) {
	at := out.begin("$clusterTime")
	out.timestamp("clusterTime", r.e.store.ClusterTime().BSON())
	signature := out.begin("signature")
	out.binary("hash", bson.TypeBinaryGeneric, make([]byte, 20))
	out.int64("keyId", 0)
	out.end(signature)
	out.end(at)
}

// operationTime is the time of the request's own write, else the newest.
func (r *request) operationTime() bson.Timestamp {
	if r.wrote != 0 {
		return r.wrote.BSON()
	}
	return r.e.store.LastOp().BSON()
}
