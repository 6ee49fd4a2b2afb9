package session

import (
	"context"
	"sync"
	"time"

	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// DefaultTimeout is how long an unused session is kept.
const DefaultTimeout = 30 * time.Minute

// endedGrace is how long the record of a session is kept after its client ended it.
const endedGrace = 5 * time.Minute

// Config sets up a Registry. Begin is required; the other fields have defaults.
type Config struct {
	// Begin opens a storage transaction.
	Begin func(storage.TxnOptions) (*storage.Txn, error)
	// Ended, if set, is told of each transaction that is aborted, whoever does it. It must not call
	// the registry.
	Ended func(id ID, number int64)
	// Now is the wall clock; time.Now by default.
	Now func() time.Time
	// Timeout of an unused session; DefaultTimeout by default.
	Timeout time.Duration
	// TransactionLifetime is how long a transaction may stay open; 60 s by default.
	TransactionLifetime time.Duration
}

// A Registry holds the sessions of a server. It is safe for concurrent use.
type Registry struct {
	cfg Config

	mu       sync.Mutex
	sessions map[ID]*Session
}

// NewRegistry returns an empty registry.
func NewRegistry(cfg Config) *Registry {
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultTimeout
	}
	if cfg.TransactionLifetime <= 0 {
		cfg.TransactionLifetime = time.Minute
	}
	return &Registry{cfg: cfg, sessions: map[ID]*Session{}}
}

// Touch notes that a session is in use, and makes it if need be.
func (r *Registry) Touch(id ID) { r.get(id) }

func (r *Registry) get(id ID) *Session {
	now := r.cfg.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.sessions[id]
	if s == nil {
		s = &Session{id: id, reg: r, token: make(chan struct{}, 1), active: none}
		r.sessions[id] = s
	}
	s.lastUse = now
	return s
}

// Checkout waits until no other operation uses the session and takes it for the
// caller, who must call Checkin. It gives up with ctx.
func (r *Registry) Checkout(ctx context.Context, id ID) (*Session, error) {
	s := r.get(id)
	select {
	case s.token <- struct{}{}:
		return s, nil
	default:
	}
	select {
	case s.token <- struct{}{}:
		return s, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Len is the number of sessions known.
func (r *Registry) Len() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.sessions)
}

// End lets the session's record go soon, unless it is used again. Like the server it leaves an open
// transaction alone until then.
func (r *Registry) End(id ID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.sessions[id]; s != nil {
		s.lastUse = r.cfg.Now().Add(endedGrace - r.cfg.Timeout)
	}
}

// Kill aborts the session's transaction.
func (r *Registry) Kill(id ID) {
	r.mu.Lock()
	s := r.sessions[id]
	r.mu.Unlock()
	if s != nil {
		s.abortOpen()
	}
}

// AbortAll aborts every open transaction, as a stepdown does.
func (r *Registry) AbortAll() {
	for _, s := range r.all() {
		s.abortOpen()
	}
}

// Open is the number of open transactions.
func (r *Registry) Open() int {
	n := 0
	for _, s := range r.all() {
		s.mu.Lock()
		if s.state == inProgress {
			n++
		}
		s.mu.Unlock()
	}
	return n
}

// Reap aborts the transactions that are over their lifetime and forgets the sessions that were not used for
// their timeout; it returns the latter.
func (r *Registry) Reap() []ID {
	now := r.cfg.Now()
	var gone []ID
	for _, s := range r.all() {
		s.abortExpired(now)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, s := range r.sessions {
		if now.Sub(s.lastUse) >= r.cfg.Timeout && len(s.token) == 0 {
			delete(r.sessions, id)
			gone = append(gone, id)
			s.abortOpen()
		}
	}
	return gone
}

func (r *Registry) all() []*Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Session, 0, len(r.sessions))
	for _, s := range r.sessions {
		all = append(all, s)
	}
	return all
}
