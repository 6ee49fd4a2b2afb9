package eventstore_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
)

// A Preparer gives what Prepare gives, whatever it prepared before.
func TestPreparerForgetsWhatItPreparedBefore(t *testing.T) {
	t.Parallel()
	now := time.UnixMilli(1_700_000_000_000).UTC()
	empty := []byte{5, 0, 0, 0, 0}
	events := func(n int, m eventstore.Metadata) (list []eventstore.EventData) {
		for i := range n {
			list = append(list, eventstore.EventData{ID: eventstore.EventID{byte(i), byte(i >> 8), 1}, Type: "x", Data: empty, Metadata: m})
		}
		return list
	}
	tenant := eventstore.Metadata{Tenant: "t", Custom: map[string]string{"a": "b"}}
	requests := []eventstore.AppendRequest{
		{Streams: []eventstore.StreamAppend{
			{Stream: "a-1", Expected: eventstore.Any, Events: events(2, tenant)}, {Stream: "a-2", Expected: eventstore.Exists},
		}},
		{Streams: []eventstore.StreamAppend{{Stream: "a-1", Expected: eventstore.Any, Events: events(1, eventstore.Metadata{})}}},
		{Streams: []eventstore.StreamAppend{{Stream: "", Expected: eventstore.Any}}}, // refused
		{Streams: []eventstore.StreamAppend{{Stream: "a-3", Expected: eventstore.Any, Events: events(500, eventstore.Metadata{})}}},
		{Streams: []eventstore.StreamAppend{{Stream: "a-4", Expected: eventstore.NoStream}}},
	}
	p := eventstore.Preparer{Clock: func() time.Time { return now }}
	for range 3 {
		for i, req := range requests {
			want, wantErr := eventstore.Prepare(t.Context(), req, now)
			got, err := p.Prepare(t.Context(), req)
			require.Equal(t, wantErr, err, "request %d", i)
			require.Len(t, got.Streams, len(want.Streams))
			for j, s := range want.Streams {
				require.Equal(t, s.Stream, got.Streams[j].Stream)
				require.Equal(t, s.Expected, got.Streams[j].Expected)
				require.Len(t, got.Streams[j].Events, len(s.Events))
				for k, e := range s.Events {
					require.Equal(t, e, got.Streams[j].Events[k])
				}
			}
			p.Reset()
		}
	}
}

// What a Preparer returns is a copy.
func TestPreparerCopies(t *testing.T) {
	t.Parallel()
	data := []byte{5, 0, 0, 0, 0}
	events := []eventstore.EventData{{Type: "x", Data: data, Metadata: eventstore.Metadata{Custom: map[string]string{"a": "1"}}}}
	parts := []eventstore.StreamAppend{{Stream: "a-1", Expected: eventstore.Any, Events: events}}
	var p eventstore.Preparer
	before := time.Now().Truncate(time.Millisecond)
	got, err := p.Prepare(context.Background(), eventstore.AppendRequest{Streams: parts})
	require.NoError(t, err)
	data[0], parts[0].Stream, events[0].Type = 9, "b-1", "y"
	events[0].Metadata.Custom["a"] = "2"
	e := got.Streams[0].Events[0]
	require.Equal(t, eventstore.StreamID("a-1"), got.Streams[0].Stream)
	require.Equal(t, eventstore.EventType("x"), e.Type)
	require.Equal(t, []byte{5, 0, 0, 0, 0}, e.Data)
	require.Equal(t, "1", e.Metadata.Custom["a"])
	require.False(t, e.Time.Before(before), "the system's clock")
	require.NotZero(t, e.ID)
	require.Zero(t, events[0].ID, "the caller's events stay as they are")
}
