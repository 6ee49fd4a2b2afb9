package command

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/session"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// Config sets up an Engine. Every field has a default.
type Config struct {
	Version string // DefaultVersion by default
	SetName string // rs0 by default

	Storage storage.Config

	TransactionLifetime time.Duration // 60 s by default
	SessionTimeout      time.Duration // 30 min by default
	CursorTimeout       time.Duration // 10 min by default
	Now                 func() time.Time
	Logger              *slog.Logger
	Seed                uint64 // of fail points' probabilities and of $sample; 0: random
	Users               []User // when there are any, clients must authenticate
}

// An Engine is a node. It is safe for concurrent use.
type Engine struct {
	cfg      Config
	version  version
	log      *slog.Logger
	store    *storage.Engine
	sessions *session.Registry
	cursors  *cursors
	topology *topology
	fail     *failPoint
	commands map[string]*command
	params   parameters
	users    atomic.Pointer[users]

	connIDs  atomic.Int64
	connOpen atomic.Int64
	counters counters
	started  time.Time

	randMu sync.Mutex
	random *rand.Rand

	primary primacy

	stop chan struct{}
	once sync.Once
	done sync.WaitGroup
}

// errCloseConnection makes the server hang up instead of answering.
var errCloseConnection = errors.New("command: the connection is to be closed")

// errShutdown is the cause of contexts that end because the node stops.
var errShutdown = errors.New("command: shutting down")

// ErrShutdown is the cause with which contexts handed to Handle are to be cancelled
// when the node stops.
func ErrShutdown() error { return errShutdown }

// New starts a node, which Close stops.
func New(cfg Config) (*Engine, error) {
	v, err := parseVersion(cfg.Version)
	if err != nil {
		return nil, err
	}
	if cfg.SetName == "" {
		cfg.SetName = "rs0"
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if cfg.CursorTimeout <= 0 {
		cfg.CursorTimeout = 10 * time.Minute
	}
	if cfg.TransactionLifetime <= 0 {
		cfg.TransactionLifetime = time.Minute
	}
	if cfg.Seed == 0 {
		cfg.Seed = rand.Uint64()
	}
	users, err := newUsers(cfg.Users)
	if err != nil {
		return nil, fmt.Errorf("Config.Users: %w", err)
	}
	cfg.Storage.Clock, cfg.Storage.Logger = cfg.Now, cfg.Logger
	cfg.Storage.WidePartialIndexes = v.atLeast(6, 0)
	e := &Engine{
		cfg: cfg, version: v, log: cfg.Logger,
		store:    storage.Open(cfg.Storage),
		topology: newTopology(cfg.Now),
		fail:     newFailPoint(rand.New(rand.NewPCG(cfg.Seed, 1))),
		started:  cfg.Now(),
		random:   rand.New(rand.NewPCG(cfg.Seed, 2)),
		stop:     make(chan struct{}),
	}
	e.cursors = newCursors(cfg.Now, cfg.CursorTimeout, rand.New(rand.NewPCG(cfg.Seed, 3)))
	e.sessions = session.NewRegistry(session.Config{
		Begin: e.store.Begin, Ended: e.cursors.killTransaction, Now: cfg.Now,
		Timeout: cfg.SessionTimeout, TransactionLifetime: cfg.TransactionLifetime,
	})
	e.users.Store(users)
	e.commands = e.index(table())
	e.params = defaultParameters(e)
	e.primary.renew()
	e.done.Go(e.reap)
	return e, nil
}

// Close stops the node: it aborts transactions, closes cursors and waits for its own
// goroutines. Requests that are running are to be ended by their contexts.
func (e *Engine) Close() {
	e.once.Do(func() {
		close(e.stop)
		e.topology.close()
		e.primary.interrupt(errShutdown)
	})
	e.done.Wait()
	e.sessions.AbortAll()
	e.cursors.closeAll()
	e.store.Close()
}

// reap ends what has lived too long.
func (e *Engine) reap() {
	ticker := time.NewTicker(max(min(time.Second, e.cfg.TransactionLifetime/4), time.Millisecond))
	defer ticker.Stop()
	for {
		select {
		case <-e.stop:
			return
		case <-ticker.C:
		}
		for _, id := range e.sessions.Reap() {
			e.cursors.killSession(id)
		}
		e.cursors.reap()
	}
}

// Connect registers a connection from remote to the address host, which is the one that the
// set's configuration shows to this client.
func (e *Engine) Connect(remote, host string) *Conn {
	e.connOpen.Add(1)
	return &Conn{ID: e.connIDs.Add(1), Remote: remote, Host: host}
}

// Disconnect forgets a connection.
func (e *Engine) Disconnect(c *Conn) {
	if !c.closed.Swap(true) {
		e.connOpen.Add(-1)
	}
}

// Connections is the number of connections open.
func (e *Engine) Connections() int { return int(e.connOpen.Load()) }

// SetFailPoint sets the failCommand fail point and returns how often it has fired so far.
func (e *Engine) SetFailPoint(mode FailMode, data FailData) int64 { return e.fail.set(mode, data) }

// FailPointFired is how often the fail point has fired so far.
func (e *Engine) FailPointFired() int64 {
	e.fail.mu.Lock()
	defer e.fail.mu.Unlock()
	return e.fail.entered
}

// TruncateOplog forgets the oplog up to now, so that change streams which are behind
// have lost their history.
func (e *Engine) TruncateOplog() { e.store.Oplog().Truncate(0) }

// RunTTL deletes expired documents now and returns how many.
func (e *Engine) RunTTL(ctx context.Context) (int, error) { return e.store.RunTTL(ctx) }

// StepDown makes the node a secondary for d, or until Elect when d is negative. Open
// transactions are aborted and operations that only a primary may run are interrupted. It reports whether
// the node was primary.
func (e *Engine) StepDown(d time.Duration) bool {
	if !e.topology.stepDown(d) {
		return false
	}
	e.primary.interrupt(mongoerr.New(mongoerr.InterruptedDueToReplStateChange, "operation was interrupted"))
	e.primary.drain()
	e.sessions.AbortAll()
	return true
}

// Elect makes the node primary again.
func (e *Engine) Elect() { e.topology.elect() }

// env is what expressions of a request evaluate in.
func (e *Engine) env(r *request) *expr.Env {
	t := e.store.ClusterTime()
	return &expr.Env{
		Version:     e.version.language(),
		Now:         r.now.Truncate(time.Millisecond),
		ClusterTime: value.Timestamp(t.T(), t.I()),
		Rand:        e.float64,
	}
}

func (e *Engine) float64() float64 {
	e.randMu.Lock()
	defer e.randMu.Unlock()
	return e.random.Float64()
}

// asError makes any error one that can be answered.
func asError(err error) *mongoerr.Error {
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return mongoerr.New(mongoerr.MaxTimeMSExpired, "operation exceeded time limit")
	case errors.Is(err, errShutdown), errors.Is(err, storage.ErrClosed):
		return mongoerr.New(mongoerr.InterruptedAtShutdown, "interrupted at shutdown")
	case errors.Is(err, context.Canceled):
		return mongoerr.New(mongoerr.Interrupted, "operation was interrupted")
	}
	return mongoerr.From(err)
}

// electionID is the id of the primary's election, as write replies and hello give it.
func electionID() bson.ObjectID {
	return bson.ObjectID{0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 0, 0, term}
}
