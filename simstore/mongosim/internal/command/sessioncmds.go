package command

import (
	"context"
	"crypto/rand"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/session"
)

func startSession(_ context.Context, r *request, out *reply) error {
	var uuid [16]byte
	if _, err := rand.Read(uuid[:]); err != nil {
		return err
	}
	uuid[6], uuid[8] = uuid[6]&0x0f|0x40, uuid[8]&0x3f|0x80
	r.e.sessions.Touch(session.NewID(uuid, r.conn.auth.identity()))
	at := out.begin("id")
	out.binary("id", bson.TypeBinaryUUID, uuid[:])
	out.end(at)
	out.int32("timeoutMinutes", sessionTimeoutMinutes)
	return nil
}

// sessionIDs reads the array of session ids that is the command's first field.
func (r *request) sessionIDs() ([]session.ID, error) {
	list := r.first()
	if list.Type != bson.TypeArray {
		return nil, notAnObject(r.cmd.name)
	}
	var ids []session.ID
	for _, v := range value.Elements(list) {
		doc, ok := v.DocumentOK()
		if !ok {
			return nil, r.wrongType(r.cmd.name, v, "object")
		}
		id, err := r.e.parseLSID(r.conn, doc, r.cmd.name)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

func endSessions(_ context.Context, r *request, _ *reply) error {
	ids, err := r.sessionIDs()
	for _, id := range ids {
		r.e.sessions.End(id)
	}
	return err
}

// killSessions kills the sessions that are named, or all if none are.
func killSessions(ctx context.Context, r *request, out *reply) error {
	ids, err := r.sessionIDs()
	if err == nil && len(ids) == 0 {
		return killAllSessions(ctx, r, out)
	}
	for _, id := range ids {
		r.e.sessions.Kill(id)
		r.e.cursors.killSession(id)
	}
	return err
}

func killAllSessions(_ context.Context, r *request, _ *reply) error {
	r.e.sessions.AbortAll()
	r.e.cursors.killWhere(func(c *cursor) bool { return c.owner.has })
	return nil
}

func refreshSessions(_ context.Context, r *request, _ *reply) error {
	ids, err := r.sessionIDs()
	for _, id := range ids {
		r.e.sessions.Touch(id)
	}
	return err
}

func commitTransaction(ctx context.Context, r *request, _ *reply) error {
	if r.checkedOut == nil || !r.session.autocommit {
		return mongoerr.New(mongoerr.CommandFailed, "commitTransaction must be run within a transaction")
	}
	if r.txn == nil { // committed already
		return nil
	}
	wrote := r.txn.Wrote()
	at, err := r.checkedOut.Commit(ctx, r.txn)
	r.e.cursors.killTransaction(r.session.id, r.session.txnNumber)
	if err == nil && wrote {
		r.noteWrite(at)
	}
	return err
}

func abortTransaction(_ context.Context, r *request, _ *reply) error {
	if r.checkedOut == nil || !r.session.autocommit {
		return mongoerr.New(mongoerr.CommandFailed, "abortTransaction must be run within a transaction")
	}
	r.checkedOut.Abort(r.txn)
	return nil
}
