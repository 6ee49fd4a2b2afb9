package projection

import (
	"container/list"
	"context"
	"errors"
	"fmt"
	"sync"

	"github.com/annals-es/annals/eventstore"
)

// A LiveView folds events when it is read: nothing is stored, and what it
// gives is not behind what it reads, a stream or the log. It keeps the last results in
// memory and folds only what has come since. It is safe for concurrent use.
//
// Its states are shared between readers: fn must return a new state rather than
// change maps, slices or pointers of the old one.
type LiveView[S any] struct {
	fn    func(S, eventstore.Event) (S, error)
	limit int

	mu      sync.Mutex
	entries map[string]*list.Element // of *liveEntry[S]
	recent  *list.List               // the most recently used first
}

// A liveEntry is a state with what it was folded from.
type liveEntry[S any] struct {
	name string

	mu       sync.Mutex // held while folding
	state    S
	version  eventstore.Version
	first    eventstore.Version // of the stream's first event, which deletion moves on
	position eventstore.Position
}

// NewLiveView returns a view that keeps at most limit states, the least
// recently used going first; 1,000 when zero, none when negative.
func NewLiveView[S any](limit int, fn func(S, eventstore.Event) (S, error)) *LiveView[S] {
	if limit == 0 {
		limit = 1000
	}
	return &LiveView[S]{fn: fn, limit: limit, entries: map[string]*list.Element{}, recent: list.New()}
}

// Decoded makes of a function on payloads one for [NewLiveView]. Payloads are decoded
// with the registry; events of types that it does not know are left out.
func Decoded[S any](r *eventstore.Registry, fn func(S, any, eventstore.Event) (S, error)) func(S, eventstore.Event) (S, error) {
	return func(s S, e eventstore.Event) (S, error) {
		if e.Erased() {
			return s, nil
		}
		payload, err := r.Decode(e)
		if err != nil {
			if errors.Is(err, eventstore.ErrUnregistered) {
				err = nil
			}
			return s, err
		}
		return fn(s, payload, e)
	}
}

// entry returns the entry of a name, a new one when there is none, and makes it
// the most recently used one.
func (l *LiveView[S]) entry(name string) *liveEntry[S] {
	if l.limit < 0 {
		return &liveEntry[S]{name: name}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if at, ok := l.entries[name]; ok {
		l.recent.MoveToFront(at)
		return at.Value.(*liveEntry[S])
	}
	e := &liveEntry[S]{name: name}
	l.entries[name] = l.recent.PushFront(e)
	for l.recent.Len() > l.limit {
		oldest := l.recent.Back()
		delete(l.entries, oldest.Value.(*liveEntry[S]).name)
		l.recent.Remove(oldest)
	}
	return e
}

// streams tells which events of a stream are there to read; stores that can
// delete and truncate do.
type streams interface {
	StreamInfo(ctx context.Context, stream eventstore.StreamID) (eventstore.StreamInfo, error)
}

// Stream folds a stream, everything included that is committed when it is called.
// When the reader tells of deletion and truncation ([eventstore.Streams]), a state
// that holds events which are gone is folded anew.
func (l *LiveView[S]) Stream(ctx context.Context, r eventstore.StreamReader, stream eventstore.StreamID) (S, eventstore.Version, error) {
	e := l.entry("stream " + string(stream))
	e.mu.Lock()
	defer e.mu.Unlock()
	var none S
	if info, ok := r.(streams); ok && e.version > 0 {
		i, err := info.StreamInfo(ctx, stream)
		if err != nil {
			return none, 0, fmt.Errorf("fold stream %q: %w", stream, err)
		}
		if i.State != eventstore.Live || i.First != e.first {
			e.state, e.version = none, 0
		}
	}
	state, version, first := e.state, e.version, e.first
	for event, err := range r.ReadStream(ctx, stream, eventstore.StreamQuery{From: version + 1}) {
		if err == nil {
			state, err = l.apply(state, event)
		}
		if err != nil {
			return none, 0, fmt.Errorf("fold stream %q after version %d: %w", stream, version, err)
		}
		if version == 0 {
			first = event.Version
		}
		version = event.Version
	}
	e.state, e.version, e.first = state, version, first
	return state, version, nil
}

// Category folds the streams of a category, in the order of the log.
func (l *LiveView[S]) Category(ctx context.Context, log eventstore.Log, category string) (S, eventstore.Position, error) {
	return l.Query(ctx, log, eventstore.Filter{Categories: []string{category}})
}

// Query folds what a filter lets pass, in the order of the log, up to the head
// that the log has when it is called. It returns the position up to which the log
// was read. Who must see what was appended a moment ago waits for the append's
// token first ([eventstore.Log].Await): events get into the log a little later.
func (l *LiveView[S]) Query(ctx context.Context, log eventstore.Log, f eventstore.Filter) (S, eventstore.Position, error) {
	e := l.entry(fmt.Sprintf("query %q %q %d/%d", f.Types, f.Categories, f.Share.Index, f.Share.Of))
	e.mu.Lock()
	defer e.mu.Unlock()
	var none S
	head, err := log.Head(ctx)
	if err != nil {
		return none, 0, fmt.Errorf("fold the log: %w", err)
	}
	if head <= e.position {
		return e.state, e.position, nil
	}
	state := e.state
	for event, err := range log.ReadLog(ctx, eventstore.LogQuery{After: e.position, Through: head, Filter: f}) {
		if err == nil {
			state, err = l.apply(state, event)
		}
		if err != nil {
			return none, 0, fmt.Errorf("fold the log after %d: %w", e.position, err)
		}
	}
	e.state, e.position = state, head
	return state, head, nil
}

// apply applies an event; a panic is an error.
func (l *LiveView[S]) apply(s S, e eventstore.Event) (next S, err error) {
	err = safely(func() error {
		next, err = l.fn(s, e)
		return err
	})
	return next, err
}
