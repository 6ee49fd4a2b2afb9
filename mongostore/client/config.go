package client

import (
	"log/slog"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// A Config says how to connect. URI is required, everything else has a default.
// What the URI says too is overruled by a field that is set.
type Config struct {
	// URI is the connection string, mongodb:// or mongodb+srv://. It may carry
	// credentials, which are never printed.
	URI string
	// AppName tells the server who connects; "annals" when empty.
	AppName string

	// MinPool and MaxPool are the numbers of connections that are kept and
	// allowed to each server; 5 and 100 when zero.
	MinPool, MaxPool uint64
	// MaxIdleTime is how long a connection may lie unused; 10 minutes when zero.
	MaxIdleTime time.Duration
	// WaitQueueTimeout bounds how long [Client.Use] waits while MaxPool
	// operations are under way; 10 s when zero. Operations made on the driver's
	// client directly wait as long as their context lets them.
	WaitQueueTimeout time.Duration
	// ServerSelectionTimeout bounds how long an operation waits for a suitable
	// server; 30 s when zero.
	ServerSelectionTimeout time.Duration
	// ConnectTimeout bounds the making of a connection; 10 s when zero.
	ConnectTimeout time.Duration

	TLS TLS

	ReadPreference ReadPreference
	ReadConcern    ReadConcern
	WriteConcern   WriteConcern

	// Credentials gives the user and password, instead of the URI's, and new
	// ones when they expire or are refused. See [Provider].
	Credentials Provider

	// SimulationMode names what stands in for the server; see its constants.
	// Anything but disabled needs a Dialer.
	SimulationMode SimulationMode
	// Dialer makes the connections; over TCP when nil. A simulated server or a
	// recording is plugged in here.
	Dialer options.ContextDialer

	// CommandMonitor is told of every command, for metrics and tracing.
	CommandMonitor *event.CommandMonitor
	// PoolMonitor is told of every event of a pool, besides the client's own.
	PoolMonitor *event.PoolMonitor
	// OnChange is called with the new state whenever the topology has changed:
	// its type, the primary, a secondary. It must return quickly.
	OnChange func(State)
	// Logger receives what an operator should know; nothing when nil.
	Logger *slog.Logger
}

// TLS says how connections are encrypted. The files are read again when they
// change; see [Connect]. Whether certificates were revoked is not asked for.
type TLS struct {
	// Enabled turns TLS on. Files without it are refused, lest somebody believe
	// that they are used.
	Enabled bool
	// CAFile holds the PEM certificates of the authorities to trust; those of
	// the system when empty.
	CAFile string
	// CertFile and KeyFile hold the PEM certificate and key of this client; none
	// when empty. They may be the same file.
	CertFile, KeyFile string
	// MinVersion is the lowest version of the protocol, tls.VersionTLS12 when
	// zero.
	MinVersion uint16
	// ServerName is what the server's certificate must be made out to; the host
	// of the URI when empty.
	ServerName string
	// ReloadInterval is how often the files are looked at; 10 s when zero.
	ReloadInterval time.Duration
}

// A SimulationMode says what stands in for the server.
type SimulationMode string

const (
	// SimulationDisabled talks to a real server. So does the empty mode.
	SimulationDisabled SimulationMode = "disabled"
	// SimulationServer talks to a simulated server (simstore/mongosim).
	SimulationServer SimulationMode = "server"
	// SimulationRecord talks to a real server and writes the conversation down.
	SimulationRecord SimulationMode = "record"
	// SimulationReplay answers from a conversation written down before.
	SimulationReplay SimulationMode = "replay"
)

const (
	defaultAppName                = "annals"
	defaultMinPool                = 5
	defaultMaxPool                = 100
	defaultMaxIdleTime            = 10 * time.Minute
	defaultWaitQueueTimeout       = 10 * time.Second
	defaultServerSelectionTimeout = 30 * time.Second
	defaultConnectTimeout         = 10 * time.Second
	defaultReloadInterval         = 10 * time.Second
)

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, def time.Duration) {
		if *d == 0 {
			*d = def
		}
	}
	optionsOfURI(c.URI).apply(&c)
	if c.AppName == "" {
		c.AppName = defaultAppName
	}
	if c.MaxPool == 0 {
		c.MaxPool = defaultMaxPool
	}
	if c.MinPool == 0 {
		c.MinPool = min(defaultMinPool, c.MaxPool)
	}
	set(&c.MaxIdleTime, defaultMaxIdleTime)
	set(&c.WaitQueueTimeout, defaultWaitQueueTimeout)
	set(&c.ServerSelectionTimeout, defaultServerSelectionTimeout)
	set(&c.ConnectTimeout, defaultConnectTimeout)
	set(&c.TLS.ReloadInterval, defaultReloadInterval)
	if c.SimulationMode == "" {
		c.SimulationMode = SimulationDisabled
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
