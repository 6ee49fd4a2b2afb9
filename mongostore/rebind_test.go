package mongostore

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/snapshot"
)

func appendOne(stream eventstore.StreamID, expected eventstore.ExpectedVersion) eventstore.AppendRequest {
	return eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{Stream: stream, Expected: expected, Events: eventsUpTo(1)}}}
}

func isClosed(ch <-chan struct{}) bool {
	select {
	case <-ch:
		return true
	default:
		return false
	}
}

// TestRebindLeavesNothingOnTheOldClient disconnects the old client and uses
// everything that the store has made before.
func TestRebindLeavesNothingOnTheOldClient(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	snapshots, checkpoints, leases := s.Snapshots(), s.Checkpoints(), s.Leases()
	res, err := s.Append(ctx, appendOne("order-1", eventstore.NoStream))
	require.NoError(t, err)
	_, err = s.Await(ctx, res.Token) // the log is being followed
	require.NoError(t, err)

	<-s.Rebind(srv.newClient(t))
	require.NoError(t, disconnect(srv.client))

	res, err = s.Append(ctx, appendOne("order-1", eventstore.Exact(1)))
	require.NoError(t, err)
	head, err := s.Await(ctx, res.Token)
	require.NoError(t, err)
	require.EqualValues(t, 2, head)
	for e, err := range s.ReadLog(ctx, eventstore.LogQuery{After: 1}) {
		require.NoError(t, err)
		require.EqualValues(t, 2, e.Version)
	}
	require.NoError(t, snapshots.Save(ctx, snapshot.Snapshot{Key: snapshot.Key{Stream: "order-1", Schema: 1}, Version: 1, State: make([]byte, 16<<20)}))
	key := projection.CheckpointKey{Projection: "p", Version: 1}
	require.NoError(t, checkpoints.SaveCheckpoint(ctx, key, projection.Checkpoint{Position: 2}))
	_, err = leases.AcquireLease(ctx, "l", "me", time.Second)
	require.NoError(t, err)
	require.NoError(t, s.Tombstone(ctx, "order-2", eventstore.Any))
	lag, err := s.SequencerLag(ctx)
	require.NoError(t, err)
	require.Zero(t, lag)
}

// TestRebindWaitsForWhatIsUnderWay keeps a read open.
func TestRebindWaitsForWhatIsUnderWay(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	_, err := s.Append(ctx, eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{Stream: "order-1", Expected: eventstore.NoStream, Events: eventsUpTo(3)}}})
	require.NoError(t, err)
	var drained <-chan struct{}
	n := 0
	for _, err := range s.ReadStream(ctx, "order-1", eventstore.StreamQuery{}) {
		require.NoError(t, err)
		if n++; n == 1 {
			drained = s.Rebind(srv.newClient(t))
		}
		require.False(t, isClosed(drained), "the read is on the old client")
	}
	require.Equal(t, 3, n)
	<-drained
	require.True(t, isClosed(s.Rebind(s.current.Load().client)), "the same client: nothing to wait for")
}

// TestRebindDuringTheCallersTransaction commits a transaction that was begun on
// the client before.
func TestRebindDuringTheCallersTransaction(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	err := WithTransaction(ctx, srv.client, func(ctx context.Context) error {
		if _, err := s.Append(ctx, appendOne("order-1", eventstore.NoStream)); err != nil {
			return err
		}
		s.Rebind(srv.newClient(t))
		if _, err := s.Append(ctx, appendOne("order-2", eventstore.NoStream)); err != nil {
			return err
		}
		for e, err := range s.ReadStream(ctx, "order-1", eventstore.StreamQuery{}) {
			if err != nil || e.Version != 1 {
				return errors.Join(errors.New("the transaction does not see its own append"), err)
			}
		}
		return nil
	})
	require.NoError(t, err)
	for _, stream := range []eventstore.StreamID{"order-1", "order-2"} {
		info, err := s.StreamInfo(ctx, stream)
		require.NoError(t, err)
		require.EqualValues(t, 1, info.Head)
	}
}

// TestWatchMovesToAnotherClient moves what is watched, and where the place is kept,
// and disconnects the client before each time.
func TestWatchMovesToAnotherClient(t *testing.T) {
	t.Parallel()
	srv := serverFor(t)
	items, places := watched(t, srv)
	ctx := testContext(t)
	cfg := WatchConfig{Tokens: places, Name: "w", SaveEvery: time.Nanosecond}
	first(t, items, cfg)

	client := srv.newClient(t)
	target := NewTarget(client, func(c *mongo.Client) Watchable { return c.Database(srv.database).Collection("items") })
	<-places.Rebind(client)
	watching, stop := context.WithCancel(ctx)
	defer stop()
	changes := make(chan Change[item])
	done := make(chan error, 1)
	go func() {
		for change, err := range Watch[item](watching, target, cfg) {
			if err != nil {
				done <- err
				return
			}
			select {
			case changes <- change:
			case <-watching.Done():
			}
		}
	}()
	next := 1
	seen := func() { // the next item, once
		t.Helper()
		_, err := items.InsertOne(ctx, item{ID: next})
		require.NoError(t, err)
		for {
			select {
			case change := <-changes:
				if change.Document == nil || change.Document.ID < 0 {
					continue // the last one before comes again
				}
				require.Equal(t, next, change.Document.ID)
				next++
				return
			case err := <-done:
				require.NoError(t, err)
			}
		}
	}
	seen()
	for range 3 {
		fresh := srv.newClient(t)
		drained := []<-chan struct{}{target.Rebind(fresh), places.Rebind(fresh)}
		seen()
		for _, ch := range drained {
			<-ch
		}
		require.NoError(t, disconnect(client))
		client = fresh
		seen()
	}
	stop()
	require.ErrorIs(t, <-done, context.Canceled)
	require.True(t, isClosed(target.Rebind(client)), "the same client: nothing to wait for")
	place, err := places.LoadToken(ctx, "w")
	require.NoError(t, err)
	require.NotNil(t, place)
	require.NoError(t, WithTransaction(ctx, srv.client, func(ctx context.Context) error {
		return places.SaveToken(ctx, "w", place) // on the client of the transaction
	}))
}

// TestTriggersMoveToAnotherClient moves a trigger while it runs.
func TestTriggersMoveToAnotherClient(t *testing.T) {
	t.Parallel()
	srv := serverFor(t)
	items, places := watched(t, srv)
	ctx := testContext(t)
	client := srv.newClient(t)
	<-places.Rebind(client)
	ran := make(chan struct{}, 100)
	m := &TriggerManager{Database: client.Database(srv.database), Tokens: places, Triggers: []Trigger{{
		Name: "t", Collection: "items",
		Run: func(context.Context, Change[bson.Raw]) error { ran <- struct{}{}; return nil },
	}}}
	running, stop := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- m.Run(running) }()
	fires := func() {
		t.Helper()
		require.Eventually(t, func() bool {
			_, err := items.InsertOne(ctx, bson.D{})
			require.NoError(t, err)
			select {
			case <-ran:
				return true
			case <-time.After(50 * time.Millisecond):
				return false
			}
		}, time.Minute, time.Millisecond)
	}
	fires()
	next := srv.newClient(t)
	<-places.Rebind(next)
	<-m.Rebind(next)
	require.NoError(t, disconnect(client))
	fires()
	stop()
	require.ErrorIs(t, <-done, context.Canceled)
}
