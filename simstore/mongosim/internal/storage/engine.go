package storage

import (
	"log/slog"
	"sync"
	"time"
)

// A Config tunes an Engine; its zero value works.
type Config struct {
	// Clock is the wall clock that timestamps and TTL indexes follow; time.Now
	// by default.
	Clock func() time.Time
	// OplogMaxEntries bounds the oplog's entries, 1,000,000 by default.
	OplogMaxEntries int
	// OplogMaxBytes bounds the bytes its entries refer to, 512 MiB by default.
	OplogMaxBytes int64
	// TTLInterval is how often expired documents are deleted, 60 s by default.
	// Negative: only when RunTTL is called.
	TTLInterval time.Duration
	// LockTimeout is how long an operation in a transaction waits for a
	// collection that is being dropped, renamed or indexed; 5 ms by default.
	LockTimeout time.Duration
	// HistoryWindow is how long superseded versions stay readable through
	// SnapshotAt without being pinned; 0 by default.
	HistoryWindow time.Duration
	// WidePartialIndexes lets filters of partial indexes use $in and $or, as
	// servers from 6.0 on do.
	WidePartialIndexes bool
	// Logger gets warnings (validationAction warn, TTL failures); discarded by
	// default.
	Logger *slog.Logger
}

// An Engine holds the databases of one simulated server. All methods are safe
// for concurrent use.
type Engine struct {
	cfg     Config
	log     *slog.Logger
	clock   clock
	oplog   *Oplog
	snaps   snapshots
	catalog catalog
	garbage garbage

	stop chan struct{}
	done sync.WaitGroup
	once sync.Once
}

// Open starts an empty engine. Close ends its TTL goroutine.
func Open(cfg Config) *Engine {
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	if cfg.OplogMaxEntries <= 0 {
		cfg.OplogMaxEntries = 1_000_000
	}
	if cfg.OplogMaxBytes <= 0 {
		cfg.OplogMaxBytes = 512 << 20
	}
	if cfg.TTLInterval == 0 {
		cfg.TTLInterval = time.Minute
	}
	if cfg.LockTimeout <= 0 {
		cfg.LockTimeout = 5 * time.Millisecond
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	e := &Engine{cfg: cfg, log: cfg.Logger, stop: make(chan struct{})}
	e.clock.wall = cfg.Clock
	e.oplog = newOplog(cfg.OplogMaxEntries, cfg.OplogMaxBytes)
	e.catalog.init()
	// A fresh replica set has an oplog entry already, so that there is a time
	// to read at.
	e.Noop("initiating set")
	if cfg.TTLInterval > 0 {
		e.done.Go(e.ttlLoop)
	}
	return e
}

// Close stops the engine's own goroutine and wakes everyone who waits for the
// oplog. It may be called more than once.
func (e *Engine) Close() {
	e.once.Do(func() { close(e.stop) })
	e.done.Wait()
	e.oplog.close()
}

// Oplog gives access to the log of committed operations.
func (e *Engine) Oplog() *Oplog { return e.oplog }
