package projection_test

import (
	"sync/atomic"
	"testing"
	"time"

	"github.com/annals-es/annals/projection/projectiontest"
	"github.com/annals-es/annals/simstore"
)

func TestCrash(t *testing.T) {
	t.Parallel()
	projectiontest.Crash(t, projectiontest.CrashConfig{}, func(t *testing.T) projectiontest.CrashBackend {
		var shift atomic.Int64
		store := newStore(t, simstore.Config{Clock: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }})
		return projectiontest.CrashBackend{Store: store, Backend: store, Pass: func(d time.Duration) { shift.Add(int64(d)) }}
	})
}
