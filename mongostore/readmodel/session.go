package readmodel

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
)

// begin starts an operation: bounded by the backend's timeout, and in a session
// that sees everything the backend has seen. A transaction that ctx carries is
// left in place. done ends the operation.
func (b *Backend) begin(ctx context.Context) (_ context.Context, on *binding, done func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, nil, nil, err
	}
	on = b.enter(ctx)
	bounded, stop := context.WithTimeout(ctx, b.cfg.Timeout)
	cancel := func() {
		stop()
		on.used.Leave()
	}
	if inTransaction(ctx) {
		return bounded, on, cancel, nil
	}
	b.left.free(bounded, on)
	sess, err := b.session(on)
	if err != nil {
		cancel()
		return nil, nil, nil, b.failed(ctx, "start a session", err)
	}
	return mongo.NewSessionContext(bounded, sess), on, func() {
		b.observe(sess)
		sess.EndSession(context.WithoutCancel(ctx))
		cancel()
	}, nil
}

func (b *Backend) session(on *binding) (*mongo.Session, error) {
	sess, err := on.client.StartSession()
	if err != nil {
		return nil, err
	}
	if seen := b.observed.Load(); seen != 0 {
		if err := sess.AdvanceOperationTime(&bson.Timestamp{T: uint32(seen >> 32), I: uint32(seen)}); err != nil {
			return nil, err
		}
	}
	return sess, nil
}

// observe notes the time of a session's last operation.
func (b *Backend) observe(sess *mongo.Session) {
	t := sess.OperationTime()
	if t == nil {
		return
	}
	for now := uint64(t.T)<<32 | uint64(t.I); ; {
		old := b.observed.Load()
		if now <= old || b.observed.CompareAndSwap(old, now) {
			return
		}
	}
}

func inTransaction(ctx context.Context) bool {
	sess := mongo.SessionFromContext(ctx)
	return sess != nil && sess.TransactionRunning()
}
