package session

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type fixture struct {
	*Registry
	now atomic.Int64 // seconds since the start
	id  ID
}

func setup(t *testing.T) *fixture {
	t.Helper()
	store := storage.Open(storage.Config{TTLInterval: -1})
	t.Cleanup(store.Close)
	f := &fixture{id: NewID([16]byte{1}, "")}
	start := time.Now()
	f.Registry = NewRegistry(Config{
		Begin: store.Begin,
		Now:   func() time.Time { return start.Add(time.Duration(f.now.Load()) * time.Second) },
	})
	return f
}

func (f *fixture) checkout(t *testing.T) *Session {
	t.Helper()
	s, err := f.Checkout(t.Context(), f.id)
	require.NoError(t, err)
	return s
}

func refused(t *testing.T, err error, code mongoerr.Code) {
	t.Helper()
	require.Error(t, err)
	assert.Equal(t, code, mongoerr.CodeOf(err), "%v", err)
}

func TestIDAsTheServerWritesIt(t *testing.T) {
	t.Parallel()
	id := NewID([16]byte([]byte("0123456789abcdea")), "")
	assert.Equal(t, "30313233-3435-3637-3839-616263646561 - 47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=", id.String())
	assert.NotEqual(t, id, NewID(id.UUID, "app@admin"), "sessions belong to users")
}

func TestCheckoutIsExclusive(t *testing.T) {
	t.Parallel()
	f := setup(t)
	s := f.checkout(t)
	ctx, cancel := context.WithCancelCause(t.Context())
	given := errors.New("given up")
	cancel(given)
	_, err := f.Checkout(ctx, f.id)
	require.ErrorIs(t, err, given)
	got := make(chan *Session)
	go func() {
		s, _ := f.Checkout(context.Background(), f.id)
		got <- s
	}()
	s.Checkin()
	assert.Same(t, s, <-got)
}

func TestNumbersOnlyGrow(t *testing.T) {
	t.Parallel()
	f := setup(t)
	s := f.checkout(t)
	require.NoError(t, s.BeginRetryable(5))
	require.NoError(t, s.BeginRetryable(5), "sent again")
	refused(t, s.BeginRetryable(4), mongoerr.TransactionTooOld)
	_, err := s.Start(5, storage.TxnOptions{})
	refused(t, err, mongoerr.ConflictingOperationInProgress)
	_, err = s.Start(4, storage.TxnOptions{})
	refused(t, err, mongoerr.TransactionTooOld)
	_, err = s.Continue(5, false)
	refused(t, err, mongoerr.NoSuchTransaction)
	txn, err := s.Start(6, storage.TxnOptions{})
	require.NoError(t, err)
	refused(t, s.BeginRetryable(6), mongoerr.IncompleteTransactionHistory)
	again, err := s.Continue(6, false)
	require.NoError(t, err)
	assert.Same(t, txn, again)
	_, err = s.Start(6, storage.TxnOptions{})
	refused(t, err, mongoerr.ConflictingOperationInProgress)
}

func TestStatementsBelongToTheirNumber(t *testing.T) {
	t.Parallel()
	f := setup(t)
	s := f.checkout(t)
	require.NoError(t, s.BeginRetryable(1))
	s.Record(0, "first")
	got, ok := s.Statement(0)
	assert.True(t, ok)
	assert.Equal(t, "first", got)
	_, ok = s.Statement(1)
	assert.False(t, ok)
	require.NoError(t, s.BeginRetryable(2))
	_, ok = s.Statement(0)
	assert.False(t, ok)
}

func TestCommitTwiceAbortOnce(t *testing.T) {
	t.Parallel()
	f := setup(t)
	s := f.checkout(t)
	txn, err := s.Start(1, storage.TxnOptions{})
	require.NoError(t, err)
	_, err = s.Commit(t.Context(), txn)
	require.NoError(t, err)
	again, err := s.Continue(1, true)
	require.NoError(t, err)
	assert.Nil(t, again, "committed already")
	_, err = s.Continue(1, false)
	refused(t, err, mongoerr.TransactionCommitted)

	txn, err = s.Start(2, storage.TxnOptions{})
	require.NoError(t, err)
	s.Abort(txn)
	for _, committing := range []bool{false, true} {
		_, err = s.Continue(2, committing)
		refused(t, err, mongoerr.NoSuchTransaction)
	}
}

func TestANewNumberAbortsTheTransaction(t *testing.T) {
	t.Parallel()
	f := setup(t)
	s := f.checkout(t)
	txn, err := s.Start(1, storage.TxnOptions{})
	require.NoError(t, err)
	require.NoError(t, s.BeginRetryable(2))
	<-txn.Done()
	assert.Equal(t, 0, f.Open())
}

func TestLifetimes(t *testing.T) {
	t.Parallel()
	f := setup(t)
	s := f.checkout(t)
	txn, err := s.Start(1, storage.TxnOptions{})
	require.NoError(t, err)
	f.now.Store(59)
	assert.Empty(t, f.Reap())
	_, err = s.Continue(1, false)
	require.NoError(t, err)
	f.now.Store(60)
	_, err = s.Continue(1, false)
	refused(t, err, mongoerr.NoSuchTransaction)
	<-txn.Done()

	f.now.Store(1860)
	assert.Empty(t, f.Reap(), "a session in use is kept")
	s.Checkin()
	assert.Equal(t, []ID{f.id}, f.Reap())
	assert.Zero(t, f.Len())
}

func TestEndForgetsSoon(t *testing.T) {
	t.Parallel()
	f := setup(t)
	s := f.checkout(t)
	txn, err := s.Start(1, storage.TxnOptions{})
	require.NoError(t, err)
	s.Checkin()
	f.End(f.id)
	assert.Empty(t, f.Reap())
	assert.Equal(t, 1, f.Open(), "a transaction outlives the end of its session")
	f.now.Store(301)
	assert.Equal(t, []ID{f.id}, f.Reap())
	<-txn.Done()
	f.End(f.id) // unknown by now: nothing to do
}

func TestKillAborts(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.Kill(f.id) // unknown: nothing to do
	s := f.checkout(t)
	txn, err := s.Start(1, storage.TxnOptions{})
	require.NoError(t, err)
	s.Checkin()
	f.Kill(f.id)
	<-txn.Done()
	assert.Zero(t, f.Open())
}

func TestAbortAll(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for i := range 3 {
		s, err := f.Checkout(t.Context(), NewID([16]byte{byte(i)}, ""))
		require.NoError(t, err)
		_, err = s.Start(1, storage.TxnOptions{})
		require.NoError(t, err)
		s.Checkin()
	}
	assert.Equal(t, 3, f.Open())
	f.AbortAll()
	assert.Equal(t, 0, f.Open())
}
