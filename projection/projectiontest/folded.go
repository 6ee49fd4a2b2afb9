package projectiontest

import (
	"context"
	"errors"
	"testing"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// Folded returns the documents that a fold makes of payloads, for tests of its
// handlers without a store. The events are of stream "test-1" unless a payload is
// an [In]. It fails the test when a handler does, or when one makes partial
// updates, which only a backend can apply.
func Folded[D any](t testing.TB, registry *eventstore.Registry, fold projection.Fold[D], payloads ...any) map[string]D {
	t.Helper()
	log, err := NewLog(registry)
	for _, p := range payloads {
		in, ok := p.(In)
		if !ok {
			in = In{Stream: "test-1", Payload: p}
		}
		err = errors.Join(err, log.Add(registry, in.Stream, in.Payload))
	}
	plan, err2 := fold.Plan(registry)
	if err := errors.Join(err, err2); err != nil {
		t.Fatalf("projectiontest: %v", err)
	}
	events, _ := log.snapshot()
	stored := map[string][]byte{}
	err = plan.FoldInto(t.Context(), "folded", events,
		func(_ context.Context, keys []string) ([]projection.Document, error) {
			var docs []projection.Document
			for _, key := range keys {
				if data, ok := stored[key]; ok {
					docs = append(docs, projection.Document{Key: key, Data: data})
				}
			}
			return docs, nil
		},
		func(_ context.Context, changes []projection.Change, _ int) error {
			for _, c := range changes {
				if len(c.Updates) > 0 {
					return errors.New("document " + c.Key + " is updated in part; test that on simstore")
				}
				if delete(stored, c.Key); !c.IsDelete() {
					stored[c.Key] = c.Data
				}
			}
			return nil
		})
	if err != nil {
		t.Fatalf("projectiontest: %v", err)
	}
	docs := make(map[string]D, len(stored))
	for key, data := range stored {
		var d D
		if err := plan.Codec.Unmarshal(data, &d); err != nil {
			t.Fatalf("projectiontest: decode document %q: %v", key, err)
		}
		docs[key] = d
	}
	return docs
}

// In is a payload for [Folded] whose event is in a stream of one's choice.
type In struct {
	Stream  eventstore.StreamID
	Payload any
}
