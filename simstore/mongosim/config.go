package mongosim

import (
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/annals-es/annals/simstore/mongosim/internal/command"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// Config describes a server. Its zero value is a server without authentication that
// presents itself as MongoDB 4.4.6.
type Config struct {
	// Version is the release that the server presents itself as, such as "8.0"
	// or "4.4.6". It decides the wire version and which commands and operators there
	// are: 4.4, 5.0, 6.0, 7.0 and 8.0 are known. Default: "4.4.6", whose
	// answers the simulation was compared with.
	Version string

	// SetName is the name of the replica set. Default: "rs0".
	SetName string

	// OplogEntries bounds how many operations the oplog keeps; a change stream
	// that falls further behind gets ChangeStreamHistoryLost (286). Default: 1,000,000.
	OplogEntries int

	// OplogBytes bounds the bytes that the oplog's entries refer to. Default: 512 MiB.
	OplogBytes int64

	// TransactionLifetimeLimit is how long a transaction may stay open before the
	// server aborts it. Default: 60 s.
	TransactionLifetimeLimit time.Duration

	// SessionTimeout is how long an unused session is kept. Default: 30 min.
	SessionTimeout time.Duration

	// CursorTimeout is how long a cursor outside a session may stay unused. Default: 10 min.
	CursorTimeout time.Duration

	// TTLInterval is how often documents that TTL indexes have let expire are deleted;
	// negative: only by [Server.DeleteExpired]. Default: 60 s.
	TTLInterval time.Duration

	// HistoryWindow is how far back reads at an earlier cluster time reach. Default: 0,
	// as far as open transactions and cursors need it.
	HistoryWindow time.Duration

	// Now is the wall clock that cluster times, TTL indexes and lifetimes
	// follow; it must be safe for concurrent use. Default: time.Now.
	Now func() time.Time

	// Logger gets the server's warnings and errors. Default: none; with [Start], the
	// errors are in the test's output.
	Logger *slog.Logger

	// Seed makes what is random (fail points with a probability, $sample, cursor
	// ids) repeatable. Default: 0, a random one.
	Seed uint64

	// Users are the accounts, which authenticate with SCRAM-SHA-256 and may then do
	// everything. Default: none, and nobody needs to authenticate.
	Users []User
}

// A User is an account of the server.
type User struct {
	Name     string
	Password string
	Database string // where the account is defined (authSource); default: "admin"
}

func (c Config) validate() error {
	for _, d := range []struct {
		name string
		d    time.Duration
	}{
		{"TransactionLifetimeLimit", c.TransactionLifetimeLimit},
		{"SessionTimeout", c.SessionTimeout},
		{"CursorTimeout", c.CursorTimeout},
		{"HistoryWindow", c.HistoryWindow},
	} {
		if d.d < 0 {
			return fmt.Errorf("mongosim: Config.%s is negative", d.name)
		}
	}
	if c.OplogEntries < 0 || c.OplogBytes < 0 {
		return errors.New("mongosim: Config.OplogEntries and OplogBytes must not be negative")
	}
	return nil
}

func (c Config) engine() command.Config {
	users := make([]command.User, len(c.Users))
	for i, u := range c.Users {
		users[i] = command.User(u)
	}
	return command.Config{
		Version: c.Version,
		SetName: c.SetName,
		Storage: storage.Config{
			OplogMaxEntries: c.OplogEntries,
			OplogMaxBytes:   c.OplogBytes,
			TTLInterval:     c.TTLInterval,
			HistoryWindow:   c.HistoryWindow,
		},
		TransactionLifetime: c.TransactionLifetimeLimit,
		SessionTimeout:      c.SessionTimeout,
		CursorTimeout:       c.CursorTimeout,
		Now:                 c.Now,
		Logger:              c.Logger,
		Seed:                c.Seed,
		Users:               users,
	}
}
