package mongostore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// A binding is what of a store belongs to one client of the driver. A store may
// be moved to another client while it works; see [Store.Rebind]. An operation
// stays on the binding that it has entered: sessions and collections of
// different clients do not mix.
type binding struct {
	client *mongo.Client
	collections

	mu      sync.Mutex
	users   int
	retired bool
	drained chan struct{} // closed when it is retired and nobody uses it
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
	return &Store{shared: s, binding: &binding{client: client, collections: c, drained: make(chan struct{})}}
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
		nothing := make(chan struct{})
		close(nothing)
		return nothing
	}
	s.previous.Store(old)
	s.current.Store(s.bind(client, collectionsOf(client, s.cfg)))
	s.follow.restart()
	old.retire()
	return old.drained
}

// enter returns the store as bound to the client of the moment, or of the
// caller's transaction, which stays in use until leave is called.
func (s *Store) enter(ctx context.Context) *Store {
	if inTransaction(ctx) {
		client := mongo.SessionFromContext(ctx).Client()
		if before := s.previous.Load(); before != nil && before.client == client {
			before.use(true)
			return before
		}
	}
	for {
		if on := s.current.Load(); on.use(false) {
			return on
		}
	}
}

// use counts a user. Of a retired binding it does so only if it must.
func (b *binding) use(must bool) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.retired && !must {
		return false
	}
	b.users++
	return true
}

func (b *binding) leave() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.users--
	b.drain()
}

func (b *binding) retire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.retired = true
	b.drain()
}

// drain notes that nobody uses a retired binding. mu is held.
func (b *binding) drain() {
	if !b.retired || b.users > 0 {
		return
	}
	select {
	case <-b.drained:
	default:
		close(b.drained)
	}
}

// reauthenticated reports whether an operation failed because the server has
// refused the credentials, and new ones have been got since: it can be made again
// then. Where credentials are refused nothing was done.
func (s *Store) reauthenticated(ctx context.Context, err error) bool {
	if err == nil || s.cfg.Reauthenticate == nil || inTransaction(ctx) || ctx.Err() != nil {
		return false
	}
	return isRefused(err) && s.cfg.Reauthenticate(ctx) == nil
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
		s.mu.Lock()
		defer s.mu.Unlock()
		return !s.retired
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
