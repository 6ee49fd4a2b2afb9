package simstore_test

import (
	"testing"
	"time"

	"github.com/annals-es/annals/eventstore/eventstoretest"
	"github.com/annals-es/annals/simstore"
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
