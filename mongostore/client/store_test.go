package client_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/mongostore/client"
	"github.com/annals-es/annals/simstore/mongosim"
)

// openStore opens an event store that follows the client's credentials.
func openStore(t *testing.T, c *client.Client) *mongostore.Store {
	t.Helper()
	cfg := mongostore.Config{Database: "db", Reauthenticate: c.Refresh, WriteTimeout: 5 * time.Minute}
	require.NoError(t, mongostore.Migrate(t.Context(), c.Mongo(), cfg))
	s, err := mongostore.Open(t.Context(), c.Mongo(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, s.Close(context.Background())) })
	c.OnSwap(s.Rebind)
	return s
}

func happened() eventstore.EventData {
	data, err := eventstore.NewBSONCodec().Marshal(map[string]int{"n": 1})
	if err != nil {
		panic(err)
	}
	return eventstore.EventData{ID: eventstore.NewEventID(), Type: "happened", Data: data}
}

// A workload appends to streams of its own, reads them back and follows the log,
// until it is told to stop. Every error is a failure.
type workload struct {
	cut     bool // connections are cut as well: reads may fail for that
	stop    atomic.Bool
	written atomic.Int64
	done    sync.WaitGroup
	read    chan int
}

func runWorkload(t *testing.T, s *mongostore.Store, cut bool) *workload {
	const writers = 4
	w := &workload{read: make(chan int, 1), cut: cut}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	t.Cleanup(cancel)
	for i := range writers {
		w.done.Go(func() {
			stream := eventstore.StreamID(fmt.Sprintf("load-%d", i))
			for n := eventstore.Version(0); !w.stop.Load(); {
				events := []eventstore.EventData{happened()}
				if i%2 == 0 { // a transaction
					events = append(events, happened())
				}
				res, err := s.Append(ctx, eventstore.AppendRequest{Streams: []eventstore.StreamAppend{
					{Stream: stream, Expected: eventstore.Exact(n), Events: events},
				}})
				if err != nil {
					t.Errorf("append behind %d: %v", n, err)
					return
				}
				n = res.Streams[0].Last
				w.written.Add(int64(len(events)))
				for e, err := range s.ReadStream(ctx, stream, eventstore.StreamQuery{From: n}) {
					if w.cut && isCut(err) {
						break
					}
					if err != nil || e.Version != n {
						t.Errorf("read at %d: %v, %v", n, e.Version, err)
						return
					}
				}
			}
		})
	}
	go func() { // a reader that has all of the log in the end
		n := 0
		defer func() { w.read <- n }()
		for again := true; again; {
			again = false
			for e, err := range eventstore.Subscribe(ctx, s, eventstore.LogQuery{After: eventstore.Position(n)}) {
				if w.cut && isCut(err) {
					again = true
					break
				}
				if err != nil {
					t.Errorf("subscription: %v", err)
					return
				}
				n++
				if e.Position != eventstore.Position(n) {
					t.Errorf("position %d comes as event %d", e.Position, n)
				}
				if e.Type == "last" {
					return
				}
			}
		}
	}()
	return w
}

// isCut reports whether a read has failed because its connection was cut, or the
// password changed again while it was made a second time.
func isCut(err error) bool {
	return errors.Is(err, eventstore.ErrUnavailable) || errors.Is(err, mongostore.ErrAuthentication)
}

// finish stops the load and checks that the log has everything once.
func (w *workload) finish(t *testing.T, s *mongostore.Store) {
	t.Helper()
	w.stop.Store(true)
	w.done.Wait()
	last := happened()
	last.Type = "last"
	_, err := s.Append(t.Context(), eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{Stream: "load-last", Expected: eventstore.NoStream, Events: []eventstore.EventData{last}}}})
	require.NoError(t, err)
	require.EqualValues(t, w.written.Load()+1, <-w.read)
}

// TestStoreMovesToNewCredentials swaps the clients of a store again and again
// under load, by credentials that expire: no operation fails, and the clients
// before are disconnected.
func TestStoreMovesToNewCredentials(t *testing.T) {
	t.Parallel()
	var calls, swaps atomic.Int64
	c, err := connect(t, mongosim.Start(t, withUsers), client.Config{Credentials: rotating(&calls, 150*time.Millisecond), MinPool: 1})
	require.NoError(t, err)
	s := openStore(t, c)
	var mu sync.Mutex
	var clients []*mongo.Client
	c.OnSwap(func(m *mongo.Client) <-chan struct{} {
		mu.Lock()
		defer mu.Unlock()
		clients = append(clients, m)
		swaps.Add(1)
		return nil
	})
	w := runWorkload(t, s, false)
	require.Eventually(t, func() bool { return swaps.Load() > 6 }, time.Minute, time.Millisecond)
	w.finish(t, s)
	mu.Lock()
	defer mu.Unlock()
	require.Eventually(t, func() bool { return clients[0].Ping(t.Context(), nil) == mongo.ErrClientDisconnected }, time.Minute, time.Millisecond) //nolint:errorlint // returned bare
}

// TestStoreAfterPasswordsChanged changes the passwords on the server and cuts all
// connections under load: the new ones are refused, until the provider has been
// asked again. No append fails; a read that was cut off may.
func TestStoreAfterPasswordsChanged(t *testing.T) {
	t.Parallel()
	server := mongosim.Start(t, withUsers)
	var changed atomic.Int64
	password := func() string { return fmt.Sprintf("password %d", changed.Load()) }
	require.NoError(t, server.SetUsers(mongosim.User{Name: "app", Password: password()}))
	c, err := connect(t, server, client.Config{MinPool: 1, Credentials: client.ProviderFunc(func(context.Context) (client.Credential, error) {
		return client.Credential{Username: "app", Password: password()}, nil
	})})
	require.NoError(t, err)
	s := openStore(t, c)
	w := runWorkload(t, s, true)
	for range 3 {
		n := w.written.Load()
		changed.Add(1)
		require.NoError(t, server.SetUsers(mongosim.User{Name: "app", Password: password()}))
		server.DropConnections()
		require.Eventually(t, func() bool { return w.written.Load() > n+10 || t.Failed() }, time.Minute, time.Millisecond)
	}
	w.finish(t, s)
}

// TestRefusalIsNoticedOnAnybodysConnection has operations on the driver's client
// itself be refused; the client finds new credentials without being asked.
func TestRefusalIsNoticedOnAnybodysConnection(t *testing.T) {
	t.Parallel()
	server := mongosim.Start(t, withUsers)
	var calls atomic.Int64
	t.Cleanup(func() {
		require.EqualValues(t, 2, calls.Load(), "what was refused before the swap needs no further one")
	})
	c, err := connect(t, server, client.Config{Credentials: rotating(&calls, time.Hour)})
	require.NoError(t, err)
	before := c.Mongo()
	require.NoError(t, server.SetUsers(mongosim.User{Name: "second", Password: "pw/2"}))
	server.DropConnections()
	require.Eventually(t, func() bool {
		// A client that is disconnected meanwhile is waited for to the end.
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		_ = c.Mongo().Database("db").Collection("c").FindOne(ctx, struct{}{}).Err()
		return c.Mongo() != before
	}, time.Minute, time.Millisecond)
}

// TestProviderIsLeftAlone asks for a refresh many times; the provider, which has
// nothing new, is asked once.
func TestProviderIsLeftAlone(t *testing.T) {
	t.Parallel()
	var calls atomic.Int64
	start := time.Now()
	c, err := connect(t, mongosim.Start(t, withUsers), client.Config{Credentials: client.ProviderFunc(func(context.Context) (client.Credential, error) {
		calls.Add(1)
		return client.Credential{Username: "first", Password: "pw 1", Expires: time.Now().Add(-time.Hour)}, nil
	})})
	require.NoError(t, err)
	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() { assert.NoError(t, c.Refresh(t.Context())) })
	}
	callers.Wait()
	require.LessOrEqual(t, calls.Load(), 3+int64(time.Since(start)/time.Second))
}
