package projectiontest

import (
	"context"
	"errors"
	"iter"
	"strconv"
	"sync"

	"github.com/annals-es/annals/eventstore"
)

// A Log is a log in memory that holds what it was given: event n has position n.
// It is safe for concurrent use. Its tokens are positions in decimal.
type Log struct {
	mu     sync.Mutex
	events []eventstore.Event
	grown  chan struct{}
}

var _ eventstore.Log = (*Log)(nil)

// NewLog returns a log with an event for each payload, all of stream "test-1".
func NewLog(registry *eventstore.Registry, payloads ...any) (*Log, error) {
	l := &Log{grown: make(chan struct{})}
	if err := l.Add(registry, "test-1", payloads...); err != nil {
		return nil, err
	}
	return l, nil
}

// Add puts an event for each payload behind the log.
func (l *Log) Add(registry *eventstore.Registry, stream eventstore.StreamID, payloads ...any) error {
	data, err := registry.Encode(payloads...)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	version := eventstore.Version(0)
	for _, e := range l.events {
		if e.Stream == stream {
			version = e.Version
		}
	}
	for i, d := range data {
		l.events = append(l.events, eventstore.Event{
			ID:       eventstore.NewEventID(),
			Stream:   stream,
			Version:  version + eventstore.Version(i) + 1,
			Position: eventstore.Position(len(l.events) + 1),
			Type:     d.Type,
			Schema:   d.Schema,
			Format:   d.Format,
			Data:     d.Data,
		})
	}
	close(l.grown)
	l.grown = make(chan struct{})
	return nil
}

// ReadLog implements [eventstore.Log].
func (l *Log) ReadLog(ctx context.Context, q eventstore.LogQuery) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		if err := errors.Join(ctx.Err(), q.Validate()); err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		events, _ := l.snapshot()
		matches, left := q.Filter.Matcher(), q.Limit
		for _, e := range events {
			if e.Position <= q.After || (q.Through > 0 && e.Position > q.Through) || !matches(e.Stream, e.Type) {
				continue
			}
			if !yield(e.Clone(), nil) {
				return
			}
			if left--; left == 0 {
				return
			}
		}
	}
}

// Head implements [eventstore.Log].
func (l *Log) Head(ctx context.Context) (eventstore.Position, error) {
	events, _ := l.snapshot()
	return eventstore.Position(len(events)), ctx.Err()
}

// Wait implements [eventstore.Log].
func (l *Log) Wait(ctx context.Context, after eventstore.Position) (eventstore.Position, error) {
	for {
		events, grown := l.snapshot()
		if head := eventstore.Position(len(events)); head > after {
			return head, ctx.Err()
		}
		select {
		case <-grown:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// Await implements [eventstore.Log].
func (l *Log) Await(ctx context.Context, token eventstore.Token) (eventstore.Position, error) {
	n, err := strconv.ParseInt(string(token), 10, 64)
	if err != nil {
		return 0, &eventstore.InvalidError{What: "token", Reason: "is not a position"}
	}
	_, err = l.Wait(ctx, eventstore.Position(n-1))
	return eventstore.Position(n), err
}

func (l *Log) snapshot() ([]eventstore.Event, <-chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.events, l.grown
}
