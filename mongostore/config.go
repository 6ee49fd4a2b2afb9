package mongostore

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A Config says how a store works. The zero value works but for Database.
type Config struct {
	// Database is the name of the database. Required.
	Database string
	// Prefix precedes the names of all collections; none by default. Stores with
	// different prefixes share a database without knowing of each other.
	Prefix string

	// WriteTimeout bounds how long an append is tried: over lost connections and
	// elections, and whatever time its caller has. After it, the outcome is
	// reported as unknown, or as not written where that is certain. 30 s by
	// default.
	WriteTimeout time.Duration
	// Flights is how many groups of appends may be written at the same time; 2
	// by default. What waits meanwhile goes out together. A group holds up to
	// MaxGroup events.
	Flights int
	// MaxGroup is the greatest number of events that are written together for
	// different callers; 1,000 by default.
	MaxGroup int
	// Heads is the number of streams whose last known version is kept in memory,
	// which saves asking before an append; 65,536 by default.
	Heads int
	// KeepAppendIDs is how long ids of appends are kept, in steps of seconds;
	// 24 h by default. It takes effect with Migrate.
	KeepAppendIDs time.Duration

	// Sequencing says whether this store writes the log.
	Sequencing Sequencing
	// LeaseTTL is how long another process waits before it takes over the log
	// from one that has crashed, by the server's clock; 5 s by default.
	LeaseTTL time.Duration
	// LogBatch is the greatest number of events in one document of the log;
	// 1,000 by default.
	LogBatch int
	// RecentEntries is the number of the log's last entries kept in memory;
	// 16,384 by default. Readers close to the head find them there.
	RecentEntries int

	// Reauthenticate is called when the server has refused the credentials, and
	// returns nil when new ones have been got and the store was moved to a client
	// that has them, as client.Client.Refresh does: the operation is made again
	// then. It fails at once when this is nil. See [Store.Rebind].
	Reauthenticate func(context.Context) error

	// Logger receives what an operator should know; nothing by default.
	Logger *slog.Logger
	// Hooks are told what the store does, for metrics.
	Hooks Hooks
	// Clock gives the time of events that have none; time.Now by default. It
	// orders nothing.
	Clock func() time.Time
}

// Sequencing says when a store takes part in writing the log.
type Sequencing uint8

const (
	// WhenUsed makes a store a candidate for the sequencer's lease as soon as
	// its log is used.
	WhenUsed Sequencing = iota
	// Always makes it a candidate from the start.
	Always
	// Never leaves it to other processes.
	Never
)

func (c Config) withDefaults() (Config, error) {
	switch {
	case c.Database == "":
		return c, invalidConfig("Database", "is empty; name the database to keep the events in")
	case c.Sequencing > Never:
		return c, invalidConfig("Sequencing", "is none of WhenUsed, Always and Never")
	case c.LeaseTTL != 0 && c.LeaseTTL < 100*time.Millisecond:
		return c, invalidConfig("LeaseTTL", "is less than 100 ms")
	case c.KeepAppendIDs != 0 && c.KeepAppendIDs < time.Second:
		return c, invalidConfig("KeepAppendIDs", "is less than a second")
	case c.MaxGroup > 10_000:
		return c, invalidConfig("MaxGroup", "is more than 10,000")
	case c.LogBatch > 10_000:
		return c, invalidConfig("LogBatch", "is more than 10,000; a document of the log would not fit into 16 MiB")
	}
	for _, f := range []struct {
		name  string
		value *int
		def   int
	}{
		{"Flights", &c.Flights, 2},
		{"MaxGroup", &c.MaxGroup, 1_000},
		{"Heads", &c.Heads, 1 << 16},
		{"LogBatch", &c.LogBatch, 1_000},
		{"RecentEntries", &c.RecentEntries, 1 << 14},
	} {
		if *f.value < 0 {
			return c, invalidConfig(f.name, fmt.Sprintf("is %d; 0 stands for the default, %d", *f.value, f.def))
		}
		if *f.value == 0 {
			*f.value = f.def
		}
	}
	for _, f := range []struct {
		name  string
		value *time.Duration
		def   time.Duration
	}{
		{"WriteTimeout", &c.WriteTimeout, 30 * time.Second},
		{"KeepAppendIDs", &c.KeepAppendIDs, 24 * time.Hour},
		{"LeaseTTL", &c.LeaseTTL, 5 * time.Second},
	} {
		if *f.value < 0 {
			return c, invalidConfig(f.name, "is negative")
		}
		if *f.value == 0 {
			*f.value = f.def
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Clock == nil {
		c.Clock = time.Now
	}
	return c, nil
}

func invalidConfig(field, reason string) error {
	return &eventstore.InvalidError{What: "mongostore.Config." + field, Reason: reason}
}
