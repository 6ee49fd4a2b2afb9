package mongostore

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore/mongosim"
)

// hurried opens a store that does not wait long for an answer.
func (srv server) hurried(t testing.TB, change ...func(*Config)) *Store {
	t.Helper()
	s := srv.open(t, change...)
	s.answer = time.Second
	return s
}

// hangs has a server not answer a command once, as long as the test lasts.
func hangs(t testing.TB, srv server, command string) {
	t.Helper()
	require.NoError(t, srv.sim.FailCommand(mongosim.FailPoint{Commands: []string{command}, Times: 1, Block: time.Hour}))
}

func simMigrated(t testing.TB) server {
	t.Helper()
	srv := simFor(t)
	srv.migrate(t)
	return srv
}

// A server that hangs closes no connection. Appends are made again, long before the
// time that they may take in all is over.
func TestAppendsSurviveAServerThatHangs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		command string
		request func() eventstore.AppendRequest
	}{
		"a single event": {"insert", func() eventstore.AppendRequest {
			return eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{Stream: "a-1", Expected: eventstore.Any, Events: eventsUpTo(1)}}}
		}},
		"several events": {"insert", func() eventstore.AppendRequest {
			return eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{Stream: "a-1", Expected: eventstore.Any, Events: eventsUpTo(3)}}}
		}},
		"a commit": {"commitTransaction", func() eventstore.AppendRequest {
			return eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{Stream: "a-1", Expected: eventstore.Any, Events: eventsUpTo(3)}}}
		}},
		"a stream that is asked for": {"find", func() eventstore.AppendRequest {
			return eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{Stream: "a-1", Expected: eventstore.Exact(1), Events: eventsUpTo(1)}}}
		}},
		"a stream that is checked": {"find", func() eventstore.AppendRequest {
			return eventstore.AppendRequest{Streams: []eventstore.StreamAppend{
				{Stream: "a-1", Expected: eventstore.Any, Events: eventsUpTo(1)},
				{Stream: "b-1", Expected: eventstore.NoStream},
			}}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := simMigrated(t)
			ctx := testContext(t)
			other := srv.open(t, never)
			_, err := eventstore.Append(ctx, other, "a-1", eventstore.NoStream, event(1))
			require.NoError(t, err)
			s := srv.hurried(t, never, func(c *Config) { c.WriteTimeout = 5 * time.Minute })
			hangs(t, srv, c.command)
			req := c.request()
			res, err := s.Append(ctx, req)
			require.NoError(t, err)
			require.Equal(t, eventstore.Version(2), res.Streams[0].First)
			events, err := eventstore.Collect(other.ReadStream(ctx, "a-1", eventstore.StreamQuery{}))
			require.NoError(t, err)
			require.Len(t, events, 1+len(req.Streams[0].Events), "written once")
		})
	}
}

// An append gives up after its time although a server hangs that it has to ask.
func TestAppendIsGivenUpThoughTheServerHangs(t *testing.T) {
	t.Parallel()
	srv := simMigrated(t)
	s := srv.open(t, never, func(c *Config) { c.WriteTimeout = 100 * time.Millisecond })
	require.NoError(t, srv.sim.FailCommand(mongosim.FailPoint{Commands: []string{"find"}, Block: time.Hour}))
	_, err := eventstore.Append(testContext(t), s, "a-1", eventstore.Any, event(1))
	require.ErrorIs(t, err, eventstore.ErrNotWritten)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	srv.sim.ClearFailPoint()
}

// Sequencers, watchers and readers go on when a server has hung.
func TestLogSurvivesAServerThatHangs(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"getMore", "aggregate", "find", "insert", "findAndModify"} {
		t.Run(command, func(t *testing.T) {
			t.Parallel()
			srv := simMigrated(t)
			ctx, cancel := context.WithCancel(testContext(t))
			defer cancel()
			writer := srv.hurried(t, never)
			readers := []*Store{srv.hurried(t, never), srv.hurried(t)} // one watches, one sequences
			heard := make([]chan eventstore.Event, len(readers))
			for i, s := range readers {
				heard[i] = make(chan eventstore.Event)
				go func() {
					defer close(heard[i])
					for e, err := range eventstore.Subscribe(ctx, s, eventstore.LogQuery{}) {
						if err != nil {
							if ctx.Err() == nil {
								t.Error(err)
							}
							return
						}
						select {
						case heard[i] <- e:
						case <-ctx.Done():
							return
						}
					}
				}()
			}
			for n := range 4 {
				if n == 1 { // the log is complete, and the sequencer knows where to go on
					require.Eventually(t, func() bool {
						return writer.meta.FindOne(ctx, bson.D{{Key: "_id", Value: "sequencer"}}).Err() == nil
					}, patience, poll)
				}
				if n > 0 {
					hangs(t, srv, command)
				}
				_, err := eventstore.Append(ctx, writer, "a-1", eventstore.Any, event(n))
				require.NoError(t, err)
				for i := range heard {
					e, ok := <-heard[i]
					require.True(t, ok)
					require.Equal(t, eventstore.Position(n+1), e.Position)
				}
			}
			cancel()
			for i := range heard {
				for range heard[i] { //nolint:revive // until it is closed
				}
			}
		})
	}
}

// An append is found in the log though the server hangs that is asked for it.
func TestAwaitSurvivesAServerThatHangs(t *testing.T) {
	t.Parallel()
	srv := simMigrated(t)
	ctx := testContext(t)
	writer := srv.open(t)
	res, err := eventstore.Append(ctx, writer, "a-1", eventstore.NoStream, event(1))
	require.NoError(t, err)
	want, err := writer.Await(ctx, res.Token)
	require.NoError(t, err)
	s := srv.hurried(t, never)
	_, err = s.Wait(ctx, 0)
	require.NoError(t, err)
	hangs(t, srv, "find")
	got, err := s.Await(ctx, res.Token)
	require.NoError(t, err)
	require.Equal(t, want, got)
}

// Whose time is up when a server hangs for longer than WriteTimeout is the store, not
// the caller: the error says so, and that making it again may succeed.
func TestTimeOfTheStoreIsNotTheCallers(t *testing.T) {
	t.Parallel()
	checked := func(ctx context.Context, s *Store) error {
		_, err := s.Append(ctx, eventstore.AppendRequest{Streams: []eventstore.StreamAppend{
			{Stream: "a-1", Expected: eventstore.Any, Events: eventsUpTo(1)},
			{Stream: "b-1", Expected: eventstore.NoStream},
		}})
		return err
	}
	several := func(ctx context.Context, s *Store) error {
		_, err := eventstore.Append(ctx, s, "a-1", eventstore.NoStream, eventsUpTo(2)...)
		return err
	}
	remove := func(ctx context.Context, s *Store) error { return s.Delete(ctx, "a-1", eventstore.Any) }
	for name, c := range map[string]struct {
		command string
		call    func(context.Context, *Store) error
		outcome error
	}{
		"the commit of an append that checks": {"commitTransaction", checked, nil},
		"the reads of an append that checks":  {"find", checked, eventstore.ErrNotWritten},
		"the commit of an append":             {"commitTransaction", several, nil},
		"the commit of a deletion":            {"commitTransaction", remove, nil},
		"the reads of a deletion":             {"find", remove, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			srv := simMigrated(t)
			s := srv.open(t, never, func(c *Config) { c.WriteTimeout = 200 * time.Millisecond })
			require.NoError(t, srv.sim.FailCommand(mongosim.FailPoint{Commands: []string{c.command}, Block: time.Hour}))
			err := c.call(testContext(t), s)
			srv.sim.ClearFailPoint()
			require.NotErrorIs(t, err, context.DeadlineExceeded)
			require.ErrorIs(t, err, eventstore.ErrUnavailable)
			if c.outcome != nil {
				require.ErrorIs(t, err, c.outcome)
			}
		})
	}
}
