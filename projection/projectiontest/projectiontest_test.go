package projectiontest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/projection/projectiontest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type set struct {
	Key   string
	Value int
}

func registry() *eventstore.Registry { return eventstore.MustRegistry(eventstore.Type[set]("set")) }

func payloads() []any {
	var all []any
	for i := range 40 {
		all = append(all, set{Key: fmt.Sprint("k", i%7), Value: i})
	}
	return all
}

// model builds a read model with a way of applying an event to it.
func model(apply func(m map[string]int, s set, e eventstore.Event)) func() projectiontest.Model {
	return func() projectiontest.Model {
		m := map[string]int{}
		return projectiontest.Model{
			Projection: projection.Projection{Name: "p", Handlers: []projection.Handler{
				projection.On(func(_ context.Context, s set, e eventstore.Event) error { apply(m, s, e); return nil }),
			}},
			Dump: func() any { return m },
		}
	}
}

func TestIdempotent(t *testing.T) {
	t.Parallel()
	projectiontest.Idempotent(t, registry(), payloads(), model(func(m map[string]int, s set, _ eventstore.Event) { m[s.Key] = s.Value }))
}

func TestIdempotentCatches(t *testing.T) {
	t.Parallel()
	for name, apply := range map[string]func(map[string]int, set, eventstore.Event){
		"a counter": func(m map[string]int, s set, _ eventstore.Event) { m[s.Key]++ },
		"a sum":     func(m map[string]int, s set, _ eventstore.Event) { m[s.Key] += s.Value },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{TB: t}
			projectiontest.Idempotent(r, registry(), payloads(), model(apply))
			require.Len(t, r.reports, 2)
			require.Contains(t, r.reports[0], "after all events came twice")
			require.Contains(t, r.reports[1], "seed")
		})
	}
}

type recorder struct {
	testing.TB
	reports []string
}

func (r *recorder) Errorf(format string, args ...any) {
	r.reports = append(r.reports, strings.TrimSpace(fmt.Sprintf(format, args...)))
}

func TestLog(t *testing.T) {
	t.Parallel()
	log, err := projectiontest.NewLog(registry(), payloads()...)
	require.NoError(t, err)
	require.NoError(t, log.Add(registry(), "other-1", set{Key: "x"}))
	events, err := eventstore.Collect(log.ReadLog(t.Context(), eventstore.LogQuery{After: 38, Filter: eventstore.Filter{Categories: []string{"other"}}}))
	require.NoError(t, err)
	require.Len(t, events, 1)
	require.Equal(t, eventstore.Position(41), events[0].Position)
	p, err := log.Await(t.Context(), "41")
	require.NoError(t, err)
	require.Equal(t, eventstore.Position(41), p)
	_, err = log.Await(t.Context(), "nonsense")
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err = log.Wait(ctx, 41)
	require.ErrorIs(t, err, context.Canceled)
	_, err = eventstore.Collect(log.ReadLog(t.Context(), eventstore.LogQuery{After: -1}))
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	_, err = projectiontest.NewLog(registry(), "not registered")
	require.ErrorIs(t, err, eventstore.ErrUnregistered)
}
