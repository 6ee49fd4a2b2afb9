package session

import (
	"context"
	"sync"
	"time"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// none is the active transaction number of a session that has not used any.
const none = -1

type state int

const (
	retryable  state = iota // no transaction: a retryable write, or nothing yet
	inProgress              // a transaction is open
	committing
	committed
	aborted
)

// A Session is checked out by one operation at a time; see [Registry.Checkout].
type Session struct {
	id      ID
	reg     *Registry
	token   chan struct{} // holds one element while checked out
	lastUse time.Time     // guarded by reg.mu

	mu      sync.Mutex
	active  int64
	state   state
	txn     *storage.Txn
	expires time.Time

	statements map[int32]any // results of a retryable write, by statement
}

// ID is the session's.
func (s *Session) ID() ID { return s.id }

// Checkin hands the session to the next operation.
func (s *Session) Checkin() { <-s.token }

// BeginRetryable makes number the session's retryable write, new or sent again.
func (s *Session) BeginRetryable(number int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if number < s.active {
		return mongoerr.New(mongoerr.TransactionTooOld,
			"Retryable write with txnNumber %d is prohibited on session %s because a newer %s with txnNumber %d has already started on this session.",
			number, s.id, s.kind(), s.active)
	}
	if number > s.active {
		s.renew(number)
		return nil
	}
	if s.state != retryable {
		return mongoerr.New(mongoerr.IncompleteTransactionHistory,
			"Cannot retry a retryable write that has been converted into a transaction")
	}
	return nil
}

// Start opens the transaction of that number, with the read options of opts.
func (s *Session) Start(number int64, opts storage.TxnOptions) (*storage.Txn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.tooOld(number); err != nil {
		return nil, err
	}
	if number == s.active {
		return nil, mongoerr.New(mongoerr.ConflictingOperationInProgress,
			"Only servers in a sharded cluster can start a new transaction at the active transaction number")
	}
	s.renew(number)
	s.state = aborted // unless it can be opened
	lsid, err := s.id.Document()
	if err != nil {
		return nil, err
	}
	opts.LSID, opts.TxnNumber = lsid, number
	txn, err := s.reg.cfg.Begin(opts)
	if err != nil {
		return nil, err
	}
	s.state, s.txn = inProgress, txn
	s.expires = s.reg.cfg.Now().Add(s.reg.cfg.TransactionLifetime)
	return txn, nil
}

// Continue returns the open transaction of that number. For committing it again it
// returns a committed one's, as nil.
func (s *Session) Continue(number int64, committing bool) (*storage.Txn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.tooOld(number); err != nil {
		return nil, err
	}
	if number != s.active || s.state == retryable {
		return nil, mongoerr.New(mongoerr.NoSuchTransaction,
			"Given transaction number %d does not match any in-progress transactions. The active transaction number is %d",
			number, s.active)
	}
	s.expire(s.reg.cfg.Now())
	switch s.state {
	case aborted:
		return nil, mongoerr.New(mongoerr.NoSuchTransaction, "Transaction %d has been aborted.", number)
	case committed:
		if !committing {
			return nil, mongoerr.New(mongoerr.TransactionCommitted, "Transaction %d has been committed.", number)
		}
		return nil, nil
	}
	return s.txn, nil
}

// Commit commits the open transaction. When that fails it is aborted. From here on
// nothing from outside can abort it any more.
func (s *Session) Commit(ctx context.Context, txn *storage.Txn) (storage.Timestamp, error) {
	s.mu.Lock()
	if s.txn == txn {
		s.state, s.txn = committing, nil
	}
	s.mu.Unlock()

	at, err := txn.Commit(ctx)

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == committing {
		if s.state = committed; err != nil {
			s.state = aborted
		}
	}
	return at, err
}

// Abort aborts the open transaction, if it is still txn.
func (s *Session) Abort(txn *storage.Txn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.txn == txn {
		s.abort()
	}
}

// Statement returns the recorded result of a statement of the session's retryable write.
func (s *Session) Statement(id int32) (result any, done bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	result, done = s.statements[id]
	return result, done
}

// Record keeps the result of a statement, so that it is not applied again.
func (s *Session) Record(id int32, result any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.statements == nil {
		s.statements = map[int32]any{}
	}
	s.statements[id] = result
}

func (s *Session) kind() string {
	if s.state == retryable {
		return "retryable write"
	}
	return "transaction"
}

func (s *Session) tooOld(number int64) error {
	if number >= s.active {
		return nil
	}
	return mongoerr.New(mongoerr.TransactionTooOld,
		"Cannot start transaction %d on session %s because a newer %s with txnNumber %d has already started on this session.",
		number, s.id, s.kind(), s.active)
}

// renew moves to a new number, which aborts what is open at the old one.
func (s *Session) renew(number int64) {
	s.abort()
	s.active, s.state, s.statements = number, retryable, nil
}

func (s *Session) abort() {
	if s.txn != nil {
		s.txn.Abort()
		s.txn = nil
		if s.reg.cfg.Ended != nil {
			s.reg.cfg.Ended(s.id, s.active)
		}
	}
	if s.state == inProgress {
		s.state = aborted
	}
}

func (s *Session) abortOpen() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.abort()
}

func (s *Session) abortExpired(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire(now)
}

func (s *Session) expire(now time.Time) {
	if s.state == inProgress && !now.Before(s.expires) {
		s.abort()
	}
}
