package projection_test

import (
	"context"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	counted struct{ N int }
	ignored struct{ N int }
	renamed struct{ N int }
)

func registry() *eventstore.Registry {
	return eventstore.MustRegistry(
		eventstore.Type[counted]("counted"),
		eventstore.Type[ignored]("ignored"),
		eventstore.Type[renamed]("renamed", eventstore.Alias("former")),
	)
}

func newStore(t testing.TB, cfg simstore.Config) *simstore.Store {
	t.Helper()
	store := simstore.New(cfg)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// add appends events to stream "test-1" and returns the last append's token.
func add(t testing.TB, store *simstore.Store, payloads ...any) eventstore.Token {
	t.Helper()
	return addTo(t, store, "test-1", payloads...)
}

func addTo(t testing.TB, store *simstore.Store, stream eventstore.StreamID, payloads ...any) eventstore.Token {
	t.Helper()
	data, err := registry().Encode(payloads...)
	require.NoError(t, err)
	result, err := eventstore.Append(t.Context(), store, stream, eventstore.Any, data...)
	require.NoError(t, err)
	return result.Token
}

func numbers(from, to int) []any {
	var payloads []any
	for n := from; n <= to; n++ {
		payloads = append(payloads, counted{N: n})
	}
	return payloads
}

// tape records what handlers were handed.
type tape struct {
	mu sync.Mutex
	ns []int
	at []eventstore.Position
}

func (p *tape) add(n int, e eventstore.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.ns, p.at = append(p.ns, n), append(p.at, e.Position)
}

func (p *tape) played() []int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]int{}, p.ns...)
}

// counting is a projection that records the numbers of counted events.
func counting(p *tape) projection.Projection {
	return projection.Projection{Name: "counting", Handlers: []projection.Handler{
		projection.On(func(_ context.Context, c counted, e eventstore.Event) error {
			p.add(c.N, e)
			return nil
		}),
	}}
}

func newRunner(t testing.TB, store *simstore.Store, p projection.Projection, cfg projection.Config) *projection.Runner {
	t.Helper()
	r, err := projection.NewRunner(store, registry(), store, p, cfg)
	require.NoError(t, err)
	return r
}

// start runs a runner until the returned function stops it and hands out what
// Run returned.
func start(t testing.TB, r *projection.Runner) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	var once sync.Once
	var err error
	stop = func() error {
		once.Do(func() {
			cancel()
			err = <-done
		})
		return err
	}
	t.Cleanup(func() { _ = stop() })
	return stop
}
