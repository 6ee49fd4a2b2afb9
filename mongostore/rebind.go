package mongostore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/mongostore/internal/handover"
	"github.com/annals-es/annals/mongostore/internal/refusal"
)

// A binding is what of a store belongs to one client of the driver. A store may
// be moved to another client while it works; see [Store.Rebind]. An operation
// stays on the binding that it has entered: sessions and collections of
// different clients do not mix.
type binding struct {
	client *mongo.Client
	collections
	used handover.Use
}

// bindings are the bindings of a store: the present one, and the one before for
// the sake of transactions that callers have begun on its client.
type bindings struct {
	current  atomic.Pointer[Store]
	previous atomic.Pointer[Store]
	moving   sync.Mutex
}

// bind makes the store that works on a client and shares everything else.
func (s *shared) bind(client *mongo.Client, c collections) *Store {
	return &Store{shared: s, binding: &binding{client: client, collections: c}}
}

// Rebind moves the store to another client of the same deployment, as after a
// change of credentials. What is under way ends on the old client, what begins
// from now on uses the new one; the log is followed from where it was. No
// operation fails for it. The channel is closed when nothing uses the old client
// any more: then it may be disconnected. Transactions that a caller has begun on
// the old client (see [WithTransaction]) are the caller's to wait for; the store
// takes part in them until the next Rebind.
//
// The client is not tried out. It may be the one that is in use, which changes
// nothing. The function suits client.Client.OnSwap.
func (s *Store) Rebind(client *mongo.Client) (drained <-chan struct{}) {
	s.moving.Lock()
	defer s.moving.Unlock()
	old := s.current.Load()
	if old.client == client {
		return handover.Nothing()
	}
	s.previous.Store(old)
	s.current.Store(s.bind(client, collectionsOf(client, s.cfg)))
	s.follow.restart()
	return old.used.Retire()
}

// enter returns the store as bound to the client of the moment, or of the
// caller's transaction, which stays in use until leave is called.
func (s *Store) enter(ctx context.Context) *Store {
	if inTransaction(ctx) {
		client := mongo.SessionFromContext(ctx).Client()
		if before := s.previous.Load(); before != nil && before.client == client {
			before.used.MustEnter()
			return before
		}
	}
	for {
		if on := s.current.Load(); on.used.Enter() {
			return on
		}
	}
}

func (b *binding) leave() { b.used.Leave() }

// reauthenticated reports whether an operation failed because the server has
// refused the credentials, and new ones have been got since: it can be made again
// then. Where credentials are refused nothing was done.
func (s *Store) reauthenticated(ctx context.Context, err error) bool {
	if err == nil || s.cfg.Reauthenticate == nil || inTransaction(ctx) || ctx.Err() != nil {
		return false
	}
	if !isRefused(err) || s.cfg.Reauthenticate(ctx) != nil {
		return false
	}
	// Where it fails, the server's time limit does it.
	_ = refusal.Free(context.WithoutCancel(ctx), s.current.Load().client, err)
	return true
}

// hasMoved reports whether an operation has failed on a client that was replaced
// since, for a reason that need not hold on the one of the moment.
func (s *Store) hasMoved(ctx context.Context, err error, before *Store) bool {
	return isRetryable(err) && s.current.Load() != before && !inTransaction(ctx) && ctx.Err() == nil
}

// again reports whether what has failed is to be made again on the same client:
// not when that was replaced, since it may never get a connection any more.
func (s *Store) again(op string) func(error) bool {
	retried := s.retried(op)
	return func(err error) bool {
		retried(err)
		return !s.used.Retired()
	}
}

// isRefused reports whether the server has refused the credentials, which this
// client will not change.
func isRefused(err error) bool { return errors.Is(Classify("", err), ErrAuthentication) }

// onPresentClient runs fn on the store as bound to the client of the moment, and
// once more when the credentials were refused and could be renewed.
func (s *Store) onPresentClient(ctx context.Context, fn func(*Store) error) error {
	before := s.current.Load()
	run := func() error {
		on := s.enter(ctx)
		defer on.leave()
		return fn(on)
	}
	err := run()
	if s.reauthenticated(ctx, err) || s.hasMoved(ctx, err, before) {
		return run()
	}
	return err
}
