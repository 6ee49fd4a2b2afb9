package simstore_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/annals-es/annals/eventstore/eventstoretest"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/projection/projectiontest"
	"github.com/annals-es/annals/simstore"
	"github.com/annals-es/annals/snapshot"
	"github.com/annals-es/annals/snapshot/snapshottest"
)

func TestStore(t *testing.T) {
	t.Parallel()
	eventstoretest.Run(t, open(simstore.Config{}))
}

// The suite holds for a store whose log comes late, too.
func TestStoreWithALaggingLog(t *testing.T) {
	t.Parallel()
	eventstoretest.Run(t, open(simstore.Config{LogDelay: 2 * time.Millisecond}), eventstoretest.Remote())
}

func open(cfg simstore.Config) func(testing.TB) eventstoretest.Store {
	return func(testing.TB) eventstoretest.Store {
		store := simstore.New(cfg)
		return eventstoretest.Store{EventStore: store, Streams: store, Close: store.Close}
	}
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	snapshottest.Run(t, func(t testing.TB) snapshot.Store { return fresh(t, simstore.Config{}).Snapshots() })
}

func TestCheckpoints(t *testing.T) {
	t.Parallel()
	projectiontest.CheckpointStore(t, func(t *testing.T) projection.CheckpointStore { return fresh(t, simstore.Config{}) })
}

func TestLeases(t *testing.T) {
	t.Parallel()
	projectiontest.LeaseStore(t, func(t *testing.T) (projection.LeaseStore, func(time.Duration)) {
		var passed atomic.Int64
		start := time.Now()
		s := fresh(t, simstore.Config{Clock: func() time.Time { return start.Add(time.Duration(passed.Load())) }})
		return s, func(d time.Duration) { passed.Add(int64(d)) }
	})
}
