package readmodel

import (
	"math/rand/v2"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/annals-es/annals/projection/projectiontest"
	"github.com/annals-es/annals/simstore/mongosim"
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

// The same while the server fails commands of every kind, and elects.
func TestCrashOnAFailingServer(t *testing.T) {
	t.Parallel()
	trouble := 3 * time.Second
	if longer, err := time.ParseDuration(os.Getenv("ANNALS_CRASH")); err == nil {
		trouble = longer
	}
	projectiontest.Crash(t, projectiontest.CrashConfig{Duration: trouble, LeaseTTL: time.Second}, func(t *testing.T) projectiontest.CrashBackend {
		e := simulated(t)
		var shaking sync.WaitGroup
		shaking.Go(func() { shake(t, e.sim, trouble) })
		t.Cleanup(shaking.Wait)
		return projectiontest.CrashBackend{Store: e.store, Backend: e}
	})
}

// shake has commands fail for a while.
func shake(t *testing.T, sim *mongosim.Server, d time.Duration) {
	commands := []string{"find", "update", "delete", "insert", "findAndModify", "commitTransaction", "abortTransaction", "aggregate", "getMore", "create", "hello"}
	r := rand.New(rand.NewPCG(11, 13))
	for end := time.Now().Add(d); time.Now().Before(end); time.Sleep(100 * time.Millisecond) {
		f := mongosim.FailPoint{Commands: []string{commands[r.IntN(len(commands))]}, Times: 1 + r.IntN(2)}
		switch r.IntN(5) {
		case 0:
			f.ErrorCode = 10107
		case 1:
			f.CloseConnection = true
		case 2:
			f.LoseReply = true
		case 3:
			f.Block = 50 * time.Millisecond
		case 4:
			sim.StepDown(10 * time.Millisecond)
			continue
		}
		if err := sim.FailCommand(f); err != nil {
			t.Error(err)
		}
	}
	sim.ClearFailPoint()
	sim.Elect()
}
