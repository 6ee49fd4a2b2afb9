package main

import (
	"context"
	"sync"

	"github.com/annals-es/annals/eventstore"
)

// A witness is an event store that remembers what was appended to it, by the
// tour and by the fulfilment process behind it, so that the tour can wait until
// all of it is applied.
type witness struct {
	eventstore.EventStore
	mu     sync.Mutex
	tokens []eventstore.Token
}

func (w *witness) Append(ctx context.Context, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	result, err := w.EventStore.Append(ctx, req)
	if err == nil && result.Token != "" {
		w.mu.Lock()
		w.tokens = append(w.tokens, result.Token)
		w.mu.Unlock()
	}
	return result, err
}

// take returns the tokens of all appends since it was called last.
func (w *witness) take() []eventstore.Token {
	w.mu.Lock()
	defer w.mu.Unlock()
	tokens := w.tokens
	w.tokens = nil
	return tokens
}
