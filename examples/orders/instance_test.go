package main

import (
	"bufio"
	"context"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore/client"
	"github.com/annals-es/annals/simstore/mongosim"
)

// An instance is what a process of its own does, run in the test's.
type instance struct {
	url string
	// stop does what SIGTERM does, and waits until the instance has ended.
	stop func() error
}

// begin starts an instance with the arguments of a command line, which listens
// wherever there is room. It is stopped when the test ends.
func begin(t *testing.T, env environment, command string, args ...string) *instance {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	done := make(chan error, 1)
	go func() {
		err := run(ctx, append([]string{command, "-listen", "127.0.0.1:0"}, args...), env, w)
		_ = w.CloseWithError(err)
		done <- err
	}()
	i := &instance{stop: sync.OnceValue(func() error { cancel(); return <-done })}
	t.Cleanup(func() { require.NoError(t, i.stop(), "it stops cleanly") })
	line, err := bufio.NewReader(r).ReadString('\n')
	require.NoError(t, err)
	url, _, _ := strings.Cut(line, " ")
	i.url = strings.TrimSuffix(url, "/")
	return i
}

// sharedServer returns the environment of processes that share a server: that of
// MONGODB_URI, or a simulated one that they reach by TCP.
func sharedServer(t *testing.T) environment {
	t.Helper()
	if os.Getenv("MONGODB_URI") != "" {
		return os.LookupEnv
	}
	server := mongosim.Start(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	go func() { _ = server.Serve(l) }()
	return func(name string) (string, bool) {
		if name == "MONGODB_URI" {
			return "mongodb://" + l.Addr().String() + "/?directConnection=true", true
		}
		return os.LookupEnv(name)
	}
}

// databaseName returns the name of a database that is dropped when the test ends;
// that of a simulated server goes with it.
func databaseName(t *testing.T, env environment) string {
	t.Helper()
	database := "orders_test_" + eventstore.NewEventID().String()
	t.Cleanup(func() {
		if os.Getenv("MONGODB_URI") == "" {
			return
		}
		cfg, err := client.FromEnv(env)
		require.NoError(t, err)
		c, err := client.Connect(context.Background(), cfg)
		require.NoError(t, err)
		require.NoError(t, c.Mongo().Database(database).Drop(context.Background()))
		require.NoError(t, c.Close(context.Background()))
	})
	return database
}
