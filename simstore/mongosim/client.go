package mongosim

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// An Option changes the configuration of a server that [Start] makes:
//
//	mongosim.Start(t, func(c *mongosim.Config) { c.Version = "8.0" })
type Option func(*Config)

// Start makes a server for a test or benchmark, which closes it. A configuration that is wrong fails
// the test. Without a Logger of its own, the server's errors go to the test's output: such
// as a command that panicked, which clients see as one that failed.
func Start(t testing.TB, opts ...Option) *Server {
	t.Helper()
	var cfg Config
	for _, o := range opts {
		o(&cfg)
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelError}))
	}
	s, err := New(cfg)
	if err != nil {
		t.Fatalf("mongosim.Start: %v", err)
	}
	t.Cleanup(s.Close)
	return s
}

// heartbeatInterval is the driver's shortest. With its default of 10 s a client that has been told
// of a stepdown or shutdown waits as long before it looks at the server again.
const heartbeatInterval = 500 * time.Millisecond

// URI is the server's connection string. Over TCP, once the server listens, anyone can
// connect with it; before that, only through the server's pipes ([Server.ClientOptions]).
func (s *Server) URI() string {
	s.mu.Lock()
	host := s.host
	s.mu.Unlock()
	if host == "" {
		host = pipeHost
	}
	return "mongodb://" + host + "/?replicaSet=" + s.cfg.SetName
}

// ClientOptions are options for a client that reaches the server through pipes in memory, and looks
// at it often, so that it finds a primary again soon after a failure. Add to
// them what the test needs. With Config.Users the client still has to be given its credentials.
func (s *Server) ClientOptions() *options.ClientOptions {
	return options.Client().
		ApplyURI("mongodb://" + pipeHost + "/?replicaSet=" + s.cfg.SetName).
		SetDialer(s).
		SetHeartbeatInterval(heartbeatInterval)
}

// Client returns a client of the server, which is disconnected when the test ends. opts come
// on top of [Server.ClientOptions].
func (s *Server) Client(t testing.TB, opts ...*options.ClientOptions) *mongo.Client {
	t.Helper()
	c, err := mongo.Connect(append([]*options.ClientOptions{s.ClientOptions()}, opts...)...)
	if err != nil {
		t.Fatalf("mongosim: connecting: %v", err)
	}
	t.Cleanup(func() {
		if err := c.Disconnect(context.Background()); err != nil {
			t.Errorf("mongosim: disconnecting: %v", err)
		}
	})
	return c
}
