package readmodel

import (
	"testing"
	"time"

	"github.com/annals-es/annals/projection/projectiontest"
)

// Workers are killed, deceived and overtaken while events are written; in the end
// every read model equals the fold of the log.
func TestCrash(t *testing.T) {
	t.Parallel()
	projectiontest.Crash(t, projectiontest.CrashConfig{LeaseTTL: time.Second}, func(t *testing.T) projectiontest.CrashBackend {
		e := setup(t)
		return projectiontest.CrashBackend{Store: e.store, Backend: e}
	})
}
