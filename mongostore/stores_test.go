package mongostore

import (
	"bytes"
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/projection/projectiontest"
	"github.com/annals-es/annals/snapshot"
	"github.com/annals-es/annals/snapshot/snapshottest"
)

func TestLeases(t *testing.T) {
	t.Parallel()
	projectiontest.LeaseStore(t, func(t *testing.T) (projection.LeaseStore, func(time.Duration)) {
		s := migrated(t).open(t)
		return s.Leases(), func(d time.Duration) { time.Sleep(d) }
	})
}

func TestLeaseNamesAreNoPaths(t *testing.T) {
	t.Parallel()
	l := migrated(t).open(t).Leases()
	ctx := testContext(t)
	for _, name := range []string{"$expires", "a.b", "$$NOW"} {
		got, err := l.AcquireLease(ctx, name, name, time.Minute)
		require.NoError(t, err)
		require.Equal(t, name, got.Owner)
	}
}

func TestCheckpoints(t *testing.T) {
	t.Parallel()
	projectiontest.CheckpointStore(t, func(t *testing.T) projection.CheckpointStore {
		return migrated(t).open(t).Checkpoints()
	})
}

func TestCheckpointInATransaction(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	c := srv.open(t).Checkpoints()
	ctx := testContext(t)
	key := projection.CheckpointKey{Projection: "orders", Version: 1}
	require.NoError(t, c.SaveCheckpoint(ctx, key, projection.Checkpoint{Position: 3, Fence: 2}))
	err := WithTransaction(ctx, srv.client, func(ctx context.Context) error {
		if err := c.SaveCheckpoint(ctx, key, projection.Checkpoint{Position: 7, Fence: 2}); err != nil {
			return err
		}
		return context.Canceled
	})
	require.ErrorIs(t, err, context.Canceled)
	err = WithTransaction(ctx, srv.client, func(ctx context.Context) error {
		return c.SaveCheckpoint(ctx, key, projection.Checkpoint{Position: 9, Fence: 1})
	})
	require.ErrorIs(t, err, projection.ErrFenced)
	got, err := c.LoadCheckpoint(ctx, key)
	require.NoError(t, err)
	require.Equal(t, projection.Checkpoint{Position: 3, Fence: 2}, got)
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	snapshottest.Run(t, func(t testing.TB) snapshot.Store { return migrated(t).open(t).Snapshots() })
}

// A state larger than a document is a file, and no file stays behind.
func TestLargeSnapshots(t *testing.T) {
	t.Parallel()
	s := migrated(t).open(t)
	snaps := s.Snapshots()
	ctx := t.Context() // slow under the race detector
	key := snapshot.Key{Stream: "order-1", Schema: 1}
	state := func(n int, b byte) []byte { return bytes.Repeat([]byte{b}, n) }
	bucket := s.db.GridFSBucket(options.GridFSBucket().SetName("snapshots"))
	files := func() int64 {
		n, err := bucket.GetFilesCollection().CountDocuments(ctx, bson.D{})
		require.NoError(t, err)
		return n
	}
	for i, step := range []struct {
		version eventstore.Version
		size    int
		files   int64
		kept    bool
	}{
		{1, 17 << 20, 1, true},  // a file
		{3, 18 << 20, 1, true},  // replaced
		{2, 17 << 20, 1, false}, // too old
		{4, 100, 0, true},       // small again
		{5, 17 << 20, 1, true},
	} {
		want := snapshot.Snapshot{Key: key, Version: step.version, State: state(step.size, byte(i)), Time: time.UnixMilli(int64(i)).UTC()}
		require.NoError(t, snaps.Save(ctx, want))
		require.Equal(t, step.files, files(), "files after step %d", i)
		got, err := snaps.Load(ctx, key)
		require.NoError(t, err)
		if step.kept {
			require.Equal(t, want.Version, got.Version)
			require.True(t, bytes.Equal(want.State, got.State), "state of step %d", i)
			require.Equal(t, want.Time, got.Time)
		} else {
			require.NotEqual(t, want.Version, got.Version)
		}
	}
	// Left behind by a crash, one just now and one long ago.
	for _, age := range []time.Duration{0, 2 * orphanAge} {
		id, err := bucket.UploadFromStream(ctx, "order-1", bytes.NewReader(state(100, 1)))
		require.NoError(t, err)
		_, err = bucket.GetFilesCollection().UpdateByID(ctx, id, bson.D{{Key: "$set", Value: bson.D{{Key: "uploadDate", Value: time.Now().Add(-age)}}}})
		require.NoError(t, err)
	}
	n, err := snaps.Sweep(ctx)
	require.NoError(t, err)
	require.Equal(t, 1, n)
	require.Equal(t, int64(2), files())
	require.NoError(t, snaps.Delete(ctx, "order-1"))
	require.Equal(t, int64(1), files())
	_, err = snaps.Load(ctx, key)
	require.ErrorIs(t, err, snapshot.ErrNotFound)
}

// AwaitAll finds the log complete, also where it was not in use before, and whatever
// became of the streams.
func TestAwaitAll(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	head, err := s.AwaitAll(ctx)
	require.NoError(t, err)
	require.Zero(t, head)
	other := srv.open(t, func(c *Config) { c.Sequencing = Never })
	for _, stream := range []eventstore.StreamID{"a-1", "a-2", "a-3", "a-4"} {
		_, err := eventstore.Append(ctx, other, stream, eventstore.NoStream, eventsUpTo(5)...)
		require.NoError(t, err)
	}
	require.NoError(t, other.Delete(ctx, "a-1", eventstore.Any))
	require.NoError(t, other.Truncate(ctx, "a-2", 3))
	require.NoError(t, other.Tombstone(ctx, "a-3", eventstore.Any))
	require.NoError(t, other.Erase(ctx, "a-4"))
	head, err = s.AwaitAll(ctx)
	require.NoError(t, err)
	require.EqualValues(t, 20, head)
	events, err := eventstore.Collect(s.ReadLog(ctx, eventstore.LogQuery{}))
	require.NoError(t, err)
	require.Len(t, events, 20)
	require.NoError(t, s.Close(ctx))
	_, err = s.AwaitAll(ctx)
	require.ErrorIs(t, err, eventstore.ErrClosed)
}
