package storage

import (
	"context"
	"errors"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
)

// ErrClosed is returned to those who wait when the engine is closed.
var ErrClosed = errors.New("storage: engine closed")

// errWriteConflict is what a transaction gets when it would write what
// another has written.
func errWriteConflict() *mongoerr.Error {
	return mongoerr.New(mongoerr.WriteConflict,
		"WriteConflict error: this operation conflicted with another operation. Please retry your operation or multi-document transaction.").
		WithLabels(mongoerr.LabelTransientTransaction)
}

// errAborted is what an operation gets whose transaction was aborted beneath
// it. The session layer knows the transaction's number and says it better.
func errAborted() *mongoerr.Error {
	return mongoerr.New(mongoerr.NoSuchTransaction, "Transaction has been aborted.").
		WithLabels(mongoerr.LabelTransientTransaction)
}

// errDropped is what an operation gets whose collection was dropped beneath it.
func errDropped(c *Collection) *mongoerr.Error {
	return mongoerr.New(mongoerr.QueryPlanKilled, "collection dropped. UUID %s", c.uuid)
}

// waitError turns the end of a context into what the server answers.
func waitError(ctx context.Context) error {
	switch err := context.Cause(ctx); {
	case errors.Is(err, context.DeadlineExceeded):
		return mongoerr.New(mongoerr.MaxTimeMSExpired, "operation exceeded time limit")
	case errors.Is(err, context.Canceled):
		return mongoerr.New(mongoerr.Interrupted, "operation was interrupted")
	default:
		return err
	}
}

// A busy error says that another transaction has to end first.
type busy struct{ txn *Txn }

func (*busy) Error() string { return "storage: waiting for an open transaction" }

// conflict is the answer to a write that meets an uncommitted one of other's,
// or (with nil) one committed after the writer's snapshot.
func conflict(w Write, other *Txn) error {
	if w.Txn == nil && other != nil {
		return &busy{other}
	}
	return errWriteConflict()
}
