package projection

import (
	"context"

	"github.com/annals-es/annals/eventstore"
)

// A Publisher hands events to others, as to a message broker: in the order of the
// log for each stream, at least once, the checkpoint saved after. The log is its
// outbox.
type Publisher struct {
	// Name and Version are as in [Projection].
	Name    string
	Version int
	// Types and Categories say which events are published; all when empty.
	Types      []eventstore.EventType
	Categories []string
	// Publish publishes a batch. When it returns nil, all events were published.
	// It is called again with the same events, or some of them, after an error,
	// without end: a broker that is down is waited for. A [Permanent] error says
	// that an event cannot be published; the batch is narrowed down to it, and
	// its stream is parked.
	Publish func(ctx context.Context, events []eventstore.Event) error
}

// Plan implements [Definition].
func (p Publisher) Plan(*eventstore.Registry) (*Plan, error) {
	plan := &Plan{
		Name:     p.Name,
		Version:  p.Version,
		Filter:   eventstore.Filter{Types: p.Types, Categories: p.Categories},
		ByStream: true,
		Hash:     func(key string) uint32 { return eventstore.StreamID(key).ShareHash() },
		Effects:  true,
		Direct:   true,
		Batch:    p.Publish,
		Route: func(e eventstore.Event) (Routed, error) {
			return Routed{Keys: []string{string(e.Stream)}}, nil
		},
	}
	if p.Publish == nil {
		return plan, &eventstore.InvalidError{What: "publisher " + p.Name, Reason: "has no Publish"}
	}
	return plan, plan.Check()
}
