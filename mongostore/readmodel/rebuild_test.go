package readmodel

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/query"
)

// A view is a document of the test's read model. Version tells which version of
// the projection has made it.
type view struct {
	Count   int64 `bson:"count"`
	Version int64 `bson:"version"`
}

func views(version int) projection.Fold[view] {
	return projection.Fold[view]{Name: "views", Version: version, Handlers: []projection.FoldHandler[view]{
		projection.FoldOn(nil, func(v view, _ lineAdded, _ eventstore.Event) view {
			v.Count++
			v.Version = int64(version)
			return v
		}),
	}}
}

// A new version is built beside the old one, while events are written and the model
// is read. A reader finds everything that it has waited for, of one version, and
// never a half-built one.
//
// ANNALS_REBUILD_EVENTS sets the length of the history.
func TestRebuildUnderReaders(t *testing.T) {
	t.Parallel()
	events := 3_000
	if text := os.Getenv("ANNALS_REBUILD_EVENTS"); text != "" {
		var err error
		events, err = strconv.Atoi(text)
		require.NoError(t, err)
	}
	e := setup(t)
	ctx, cancel := context.WithCancel(t.Context())
	var working sync.WaitGroup
	defer working.Wait()
	defer cancel()
	run := func(version int) {
		w, err := projection.NewWorker(e.store, benchRegistry(), e,
			projection.WorkerConfig{Partitions: 2, Heartbeat: 20 * time.Millisecond, LeaseTTL: time.Second}, views(version))
		require.NoError(t, err)
		working.Go(func() {
			if err := w.Run(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	head := history(t, e, events, max(100, events/1000))
	control := projection.NewControl(e.store, e)
	collections := e.Collections(10 * time.Millisecond)
	_, err := collections.Collection(ctx, "views")
	require.ErrorIs(t, err, projection.ErrNotBuilt)

	start := time.Now()
	phase := func(what string) {
		t.Logf("%s after %s", what, time.Since(start).Round(time.Millisecond))
		start = time.Now()
	}
	run(1)
	until(ctx, t, "version 1 is built", func() error { _, err := collections.Collection(ctx, "views"); return err })
	require.NoError(t, control.WaitUntil(ctx, "views", 1, head))
	phase(fmt.Sprintf("version 1 was built from %d events", head))

	var reads, writes atomic.Int64
	var reading sync.WaitGroup
	stop := make(chan struct{})
	least := int64(events)
	for range 2 {
		reading.Go(func() {
			for last := int64(1); ; {
				select {
				case <-stop:
					return
				default:
				}
				version, err := readAll(ctx, collections, least)
				if err != nil || version < last {
					t.Errorf("of version %d after %d: %v", version, last, err)
					return
				}
				last = version
				reads.Add(1)
			}
		})
	}
	reading.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			if err := appendLine(ctx, e, fmt.Sprintf("new-%d", n%10)); err != nil {
				t.Error(err)
				return
			}
			writes.Add(1)
		}
	})
	run(2)
	until(ctx, t, "version 2 is current", func() error {
		version, err := readAll(ctx, collections, least)
		if err == nil && version != 2 {
			err = fmt.Errorf("it is %d", version)
		}
		return err
	})
	phase("version 2 was built and promoted")
	close(stop)
	reading.Wait()
	t.Logf("meanwhile the whole model was read %d times and %d events were appended", reads.Load(), writes.Load())

	// What is written now is seen in the new version.
	require.NoError(t, appendLine(ctx, e, "last"))
	head, err = e.store.Head(ctx)
	require.NoError(t, err)
	require.NoError(t, control.WaitUntil(ctx, "views", 2, head))
	require.NoError(t, control.Rollback(ctx, "views"))
	until(ctx, t, "version 1 is current again", func() error {
		version, err := readAll(ctx, collections, least)
		if err == nil && version != 1 {
			err = fmt.Errorf("it is %d", version)
		}
		return err
	})
}

// readAll adds up the counts of all documents and returns their version.
func readAll(ctx context.Context, collections *Collections, least int64) (version int64, err error) {
	coll, err := collections.Collection(ctx, "views")
	if err != nil {
		return 0, err
	}
	all, err := query.From[view](coll).Find().All(ctx)
	if err != nil {
		return 0, err
	}
	var sum int64
	for _, v := range all {
		sum += v.Count
		if version != 0 && v.Version != version {
			return 0, errors.New("documents of several versions")
		}
		version = v.Version
	}
	if sum < least {
		return version, fmt.Errorf("version %d shows %d events of at least %d", version, sum, least)
	}
	return version, nil
}

func appendLine(ctx context.Context, e *env, order string) error {
	events, err := benchRegistry().Encode(lineAdded{Order: order, Amount: 1})
	if err != nil {
		return err
	}
	_, err = eventstore.Append(ctx, e.store, eventstore.StreamID("order-"+order), eventstore.Any, events...)
	return err
}

func until(ctx context.Context, t *testing.T, what string, done func() error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, 5*time.Minute)
	defer cancel()
	for {
		err := done()
		if err == nil {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("never came: %s: %v", what, err)
		case <-time.After(5 * time.Millisecond):
		}
	}
}
