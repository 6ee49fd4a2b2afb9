package mongostore

import (
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/snapshot"
)

// A process that knows the head and not of the tombstone must not get behind it.
func TestTombstoneStopsAppendsOfOtherProcesses(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	knows, buries := srv.open(t), srv.open(t)
	ctx := testContext(t)
	_, err := eventstore.Append(ctx, knows, "order-1", eventstore.NoStream, event(1))
	require.NoError(t, err)
	require.NoError(t, buries.Tombstone(ctx, "order-1", eventstore.Exact(1)))
	for _, expected := range []eventstore.ExpectedVersion{eventstore.Exact(1), eventstore.Any, eventstore.NoStream, eventstore.Exists} {
		_, err = eventstore.Append(ctx, knows, "order-1", expected, event(2))
		require.ErrorIs(t, err, eventstore.ErrTombstoned, "expecting %s", expected)
		_, err = eventstore.Append(ctx, knows, "order-1", expected, eventsUpTo(3)...)
		require.ErrorIs(t, err, eventstore.ErrTombstoned, "expecting %s", expected)
	}
	info, err := knows.StreamInfo(ctx, "order-1")
	require.NoError(t, err)
	require.Equal(t, eventstore.StreamInfo{Stream: "order-1", Head: 1, First: 2, State: eventstore.Tombstoned}, info)
}

func TestTombstoneRacesAppends(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	a, b := srv.open(t), srv.open(t)
	ctx := testContext(t)
	for round := range 25 {
		stream := eventstore.StreamID(fmt.Sprintf("order-%d", round))
		_, err := eventstore.Append(ctx, a, stream, eventstore.NoStream, event(1))
		require.NoError(t, err)
		var wg sync.WaitGroup
		appended := 1
		wg.Go(func() {
			for {
				_, err := eventstore.Append(ctx, a, stream, eventstore.Any, event(2))
				if err != nil {
					if !errors.Is(err, eventstore.ErrTombstoned) {
						t.Errorf("append: %v", err)
					}
					return
				}
				appended++
			}
		})
		require.NoError(t, b.Tombstone(ctx, stream, eventstore.Any))
		info, err := b.StreamInfo(ctx, stream)
		require.NoError(t, err)
		wg.Wait()
		require.Equal(t, eventstore.Version(appended), info.Head, "something was appended behind the tombstone")
	}
}

// An append that expects a stream to exist never gets behind its deletion.
func TestDeletionRacesExists(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	a, b := srv.open(t), srv.open(t)
	ctx := testContext(t)
	for round := range 30 {
		stream := eventstore.StreamID(fmt.Sprintf("order-%d", round))
		_, err := eventstore.Append(ctx, a, stream, eventstore.NoStream, event(1))
		require.NoError(t, err)
		var deleteErr, appendErr error
		var wg sync.WaitGroup
		wg.Go(func() { deleteErr = b.Delete(ctx, stream, eventstore.Exact(1)) })
		wg.Go(func() { _, appendErr = eventstore.Append(ctx, a, stream, eventstore.Exists, event(2)) })
		wg.Wait()
		oneOf(t, deleteErr, appendErr)
	}
}

func TestEraseLeavesNothing(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	secret := eventsUpTo(3)
	for i := range secret {
		secret[i].Metadata.Tenant = "secret"
	}
	res, err := eventstore.Append(ctx, s, "person-1", eventstore.NoStream, secret...)
	require.NoError(t, err)
	require.NoError(t, s.Snapshots().Save(ctx, snapshot.Snapshot{Key: snapshot.Key{Stream: "person-1", Schema: 1}, Version: 3, State: secret[0].Data}))
	_, err = s.Await(ctx, res.Token)
	require.NoError(t, err)
	require.NoError(t, s.Erase(ctx, "person-1"))
	require.NoError(t, s.Erase(ctx, "person-1"), "repeated")
	_, err = s.Snapshots().Load(ctx, snapshot.Key{Stream: "person-1", Schema: 1})
	require.ErrorIs(t, err, snapshot.ErrNotFound)
	events, err := eventstore.Collect(s.ReadLog(ctx, eventstore.LogQuery{}))
	require.NoError(t, err)
	require.Len(t, events, 3)
	for i, e := range events {
		require.Equal(t, eventstore.Event{Stream: "person-1", Version: eventstore.Version(i + 1), Position: eventstore.Position(i + 1), Type: eventstore.ErasedType}, e)
	}
	for filter, want := range map[eventstore.EventType]int{"test.happened": 0, eventstore.ErasedType: 3} {
		events, err = eventstore.Collect(s.ReadLog(ctx, eventstore.LogQuery{Filter: eventstore.Filter{Types: []eventstore.EventType{filter}}}))
		require.NoError(t, err)
		require.Len(t, events, want, "filter %s", filter)
	}
}
