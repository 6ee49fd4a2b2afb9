package process_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/process"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/projection/projectiontest"
	"github.com/annals-es/annals/simstore"
)

// sentCommands remembers every command by key and id.
type sentCommands struct {
	mu    sync.Mutex
	byKey map[string]map[eventstore.AppendID]string
}

func (s *sentCommands) send(_ context.Context, c process.Command) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.byKey[c.Key] == nil {
		s.byKey[c.Key] = map[eventstore.AppendID]string{}
	}
	s.byKey[c.Key][c.ID] = fmt.Sprintf("%T", c.Payload)
	return nil
}

// Workers die in every way, and still each order is reserved once and then either
// shipped or cancelled, never both.
func TestManagerSurvivesCrashes(t *testing.T) {
	t.Parallel()
	var shift atomic.Int64
	store := simstore.New(simstore.Config{Clock: func() time.Time { return time.Now().Add(time.Duration(shift.Load())) }})
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	sent := &sentCommands{byKey: map[string]map[eventstore.AppendID]string{}}
	m := fulfil(newOffice())
	m.Send = sent.send
	m.Handlers[0] = process.On(func(p placed, _ eventstore.Event) string { return p.Order }, func(_ *order, p placed, _ eventstore.Event, do *process.Do) (*order, error) {
		do.Send(reserve(p))
		limit := 200 * time.Millisecond
		if p.Order == "0" { // whatever the machine is busy with, it is paid in time
			limit = time.Hour
		}
		do.After("unpaid", limit)
		return &order{}, nil
	})
	orders, written := 0, 0
	write := func(n int) (eventstore.StreamID, []any) {
		o := fmt.Sprint(n / 3)
		orders, written = n/3+1, n+1
		switch {
		case n%3 == 0:
			return eventstore.NewStreamID("order", o), []any{placed{o}}
		case n%3 == 1:
			return eventstore.NewStreamID("stock", o), []any{reserved{o}}
		case n/3%2 == 0:
			return eventstore.NewStreamID("payment", o), []any{paid{o}}
		}
		return eventstore.NewStreamID("other", o), []any{noted{o}}
	}
	types := []eventstore.TypeDef{
		eventstore.Type[placed]("placed"), eventstore.Type[paid]("paid"), eventstore.Type[reserved]("reserved"), eventstore.Type[noted]("noted"),
	}
	projectiontest.Crash(t, projectiontest.CrashConfig{Extra: projectiontest.CrashExtra{
		Types:       types,
		Write:       write,
		Definitions: []projection.Definition{m},
		Names:       []string{"fulfilment"},
		Check: func(t *testing.T) {
			for written < 3 { // so that the first order is paid
				stream, payloads := write(written)
				events, err := eventstore.MustRegistry(types...).Encode(payloads...)
				require.NoError(t, err)
				_, err = eventstore.Append(t.Context(), store, stream, eventstore.Any, events...)
				require.NoError(t, err)
			}
			for range 3000 {
				left := 0
				for _, model := range []string{"fulfilment_v1_outbox", "fulfilment_v1_timers"} {
					docs, err := store.ScanDocuments(t.Context(), model, "", "", 0)
					require.NoError(t, err)
					left += len(docs)
				}
				if left == 0 {
					break
				}
				time.Sleep(20 * time.Millisecond)
			}
			sent.mu.Lock()
			defer sent.mu.Unlock()
			require.Len(t, sent.byKey, orders)
			shipped := 0
			for key, commands := range sent.byKey {
				counts := map[string]int{}
				for _, name := range commands {
					counts[name]++
				}
				require.Equal(t, 1, counts["process_test.reserve"], "order %s: %v", key, counts)
				require.Equal(t, 1, counts["process_test.ship"]+counts["process_test.cancel"], "order %s: %v", key, counts)
				shipped += counts["process_test.ship"]
			}
			require.Positive(t, shipped, "the first order has an hour to be paid in")
			t.Logf("%d orders, %d shipped", orders, shipped)
		},
	}}, func(*testing.T) projectiontest.CrashBackend {
		return projectiontest.CrashBackend{Store: store, Backend: store, Pass: func(d time.Duration) { shift.Add(int64(d)) }}
	})
}
