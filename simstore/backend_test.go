package simstore_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/projection/projectiontest"
	"github.com/annals-es/annals/simstore"
)

func TestBackend(t *testing.T) {
	t.Parallel()
	projectiontest.Backend(t, func(t *testing.T) (projection.Backend, func(time.Duration)) {
		var shift atomic.Int64
		store := simstore.New(simstore.Config{Clock: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }})
		t.Cleanup(func() { _ = store.Close() })
		return store, func(d time.Duration) { shift.Add(int64(d)) }
	})
}
