package eventstore_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore"
)

func TestStreamID(t *testing.T) {
	t.Parallel()
	for id, want := range map[eventstore.StreamID][2]string{
		"order-7f3c": {"order", "7f3c"}, "order-7-3": {"order", "7-3"}, "order": {"order", ""}, "-x": {"", "x"}, "order-": {"order", ""},
	} {
		assert.Equal(t, want, [2]string{id.Category(), id.Key()})
		require.NoError(t, id.Validate())
	}
	assert.Equal(t, eventstore.StreamID("order-7"), eventstore.NewStreamID("order", "7"))
	for text, id := range map[string]eventstore.StreamID{
		"is empty": "", "has 513 bytes": eventstore.StreamID(strings.Repeat("x", 513)), "starts with $": "$x", "NUL": "a\x00", "not valid UTF-8": "\xff",
	} {
		err := id.Validate()
		require.ErrorIs(t, err, eventstore.ErrInvalid)
		require.ErrorContains(t, err, text)
	}
}

func TestExpectedVersion(t *testing.T) {
	t.Parallel()
	live := func(head eventstore.Version) eventstore.StreamInfo { return eventstore.StreamInfo{Head: head} }
	deleted := eventstore.StreamInfo{Head: 3, State: eventstore.Deleted}
	for _, c := range []struct {
		expected eventstore.ExpectedVersion
		text     string
		none     bool // matches no stream
		three    bool // one at 3
		deleted  bool // one deleted at 3
		version  eventstore.Version
		exact    bool
	}{
		{eventstore.Any, "any", true, true, true, 0, false},
		{eventstore.NoStream, "no stream", true, false, true, 0, true},
		{eventstore.Exact(0), "no stream", true, false, true, 0, true},
		{eventstore.Exists, "exists", false, true, false, 0, false},
		{eventstore.Exact(3), "3", false, true, true, 3, true},
		{eventstore.Exact(4), "4", false, false, false, 4, true},
	} {
		require.NoError(t, c.expected.Validate())
		assert.Equal(t, c.text, c.expected.String())
		assert.Equal(t, c.none, c.expected.Matches(live(0)), c.text)
		assert.Equal(t, c.three, c.expected.Matches(live(3)), c.text)
		assert.Equal(t, c.deleted, c.expected.Matches(deleted), c.text)
		v, exact := c.expected.Version()
		assert.Equal(t, c.version, v)
		assert.Equal(t, c.exact, exact)
	}
	for _, bad := range []eventstore.ExpectedVersion{0, -4, eventstore.Exact(-1)} {
		require.ErrorIs(t, bad.Validate(), eventstore.ErrInvalid)
		assert.False(t, bad.Matches(live(0)))
	}
	assert.Equal(t, "not set", eventstore.ExpectedVersion(0).String())
}

func TestNamesOfKinds(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "live deleted tombstoned StreamState(9)", fmt.Sprint(eventstore.Live, eventstore.Deleted, eventstore.Tombstoned, eventstore.StreamState(9)))
	assert.Equal(t, "bson json Format(9)", fmt.Sprint(eventstore.BSON, eventstore.JSON, eventstore.Format(9)))
}

func TestErrorsSayWhatHappened(t *testing.T) {
	t.Parallel()
	conflict := &eventstore.ConflictError{Stream: "order-1", Expected: eventstore.Exact(3), Actual: 5}
	require.EqualError(t, conflict, `stream "order-1": version conflict: expected 3, the stream is at 5`)
	for _, c := range []struct {
		err       error
		kind      error
		retryable bool
	}{
		{conflict, eventstore.ErrConflict, false},
		{&eventstore.TombstonedError{Stream: "order-1"}, eventstore.ErrTombstoned, false},
		{&eventstore.InvalidError{What: "x", Reason: "is bad"}, eventstore.ErrInvalid, false},
		{&eventstore.TooLargeError{What: "event", Size: 2, Limit: 1}, eventstore.ErrTooLarge, false},
		{eventstore.NotWritten(eventstore.ErrUnavailable), eventstore.ErrUnavailable, true},
		{eventstore.NotWritten(context.Canceled), context.Canceled, false},
	} {
		wrapped := fmt.Errorf("more: %w", c.err)
		require.ErrorIs(t, wrapped, c.kind)
		require.ErrorIs(t, wrapped, eventstore.ErrNotWritten)
		require.NotErrorIs(t, wrapped, eventstore.ErrOutcomeUnknown)
		assert.Equal(t, wrapped, eventstore.NotWritten(wrapped), "marked once")
		assert.Equal(t, c.retryable, eventstore.Retryable(wrapped))
	}
	unknown := eventstore.OutcomeUnknown(errors.New("connection lost"))
	require.EqualError(t, unknown, "connection lost (outcome unknown)")
	assert.True(t, eventstore.Retryable(unknown))
	assert.False(t, eventstore.Retryable(eventstore.OutcomeUnknown(context.DeadlineExceeded)))
	assert.False(t, eventstore.Retryable(errors.New("other")))
	require.NoError(t, eventstore.NotWritten(nil))
	require.NoError(t, eventstore.OutcomeUnknown(nil))
}

func TestMetadataOfContexts(t *testing.T) {
	t.Parallel()
	base := eventstore.WithMetadata(t.Context(), eventstore.Metadata{Tenant: "t1", TraceParent: "p1", TraceState: "s1", Custom: map[string]string{"a": "1", "b": "1"}})
	ctx := eventstore.WithMetadata(base, eventstore.Metadata{CorrelationID: "c", TraceParent: "p2", Custom: map[string]string{"b": "2"}})
	want := eventstore.Metadata{CorrelationID: "c", Tenant: "t1", TraceParent: "p2", Custom: map[string]string{"a": "1", "b": "2"}}
	assert.True(t, want.Equal(eventstore.MetadataFrom(ctx)), eventstore.MetadataFrom(ctx))
	assert.Equal(t, "1", eventstore.MetadataFrom(base).Custom["b"], "the outer context stays as it was")
	assert.True(t, eventstore.MetadataFrom(t.Context()).IsZero())
	assert.False(t, want.IsZero())
	assert.True(t, eventstore.Metadata{Custom: map[string]string{}}.Equal(eventstore.Metadata{}))

	e := eventstore.Event{ID: eventstore.NewEventID(), Metadata: eventstore.Metadata{CorrelationID: "c1", Tenant: "t2", TraceParent: "p3", Custom: map[string]string{"x": "y"}}}
	got := eventstore.MetadataFrom(eventstore.CausedBy(context.Background(), e))
	assert.Equal(t, eventstore.Metadata{CorrelationID: "c1", CausationID: e.ID.String(), Tenant: "t2", TraceParent: "p3"}, got)
	e.Metadata.CorrelationID = ""
	assert.Equal(t, e.ID.String(), eventstore.MetadataFrom(eventstore.CausedBy(context.Background(), e)).CorrelationID)
}

func TestEventCloneAndEqual(t *testing.T) {
	t.Parallel()
	e := eventstore.Event{
		ID: eventstore.NewEventID(), Stream: "order-1", Version: 1, Type: "x", Schema: 1, Data: []byte{5, 0, 0, 0, 0},
		Metadata: eventstore.Metadata{Custom: map[string]string{"a": "b"}}, Time: time.Unix(1, 0),
	}
	c := e.Clone()
	assert.True(t, e.Equal(c))
	c.Position = 5
	assert.True(t, e.Equal(c), "the position does not count")
	c.Data[0] = 9
	c.Metadata.Custom["a"] = "c"
	assert.Equal(t, byte(5), e.Data[0])
	assert.Equal(t, "b", e.Metadata.Custom["a"])
	assert.False(t, e.Equal(c))
	for _, change := range []func(*eventstore.Event){
		func(e *eventstore.Event) { e.ID[0]++ }, func(e *eventstore.Event) { e.Stream = "y" }, func(e *eventstore.Event) { e.Version++ },
		func(e *eventstore.Event) { e.Type = "y" }, func(e *eventstore.Event) { e.Schema++ }, func(e *eventstore.Event) { e.Format = eventstore.JSON },
		func(e *eventstore.Event) { e.Time = time.Unix(2, 0) }, func(e *eventstore.Event) { e.Metadata.Tenant = "t" },
	} {
		c := e.Clone()
		change(&c)
		assert.False(t, e.Equal(c))
	}
}

func TestFilterMatcherDoesNotSeeLaterChanges(t *testing.T) {
	t.Parallel()
	f := eventstore.Filter{Types: []eventstore.EventType{"a"}, Categories: []string{"order"}}
	matches := f.Matcher()
	f.Types[0], f.Categories[0] = "b", "stock"
	assert.True(t, matches("order-1", "a"))
	assert.False(t, matches("order-1", "b"))
	assert.False(t, matches("stock-1", "a"))
	assert.True(t, eventstore.Filter{}.Matcher()("anything", "x"))
	assert.True(t, eventstore.Filter{}.IsZero())
	assert.False(t, f.IsZero())
}

// TestPrepareProperties checks on random requests that a prepared one is complete
// and shares nothing with the request.
func TestPrepareProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		var req eventstore.AppendRequest
		for i := range rapid.IntRange(1, 20).Draw(t, "streams") {
			s := eventstore.StreamAppend{Stream: eventstore.NewStreamID("s", fmt.Sprint(i)), Expected: eventstore.Any}
			for range rapid.IntRange(0, 3).Draw(t, "events") {
				e := eventstore.EventData{Type: "x", Data: []byte{5, 0, 0, 0, 0}, Schema: rapid.IntRange(0, 2).Draw(t, "schema")}
				if rapid.Bool().Draw(t, "custom") {
					e.Metadata.Custom = map[string]string{"k": "v"}
				}
				s.Events = append(s.Events, e)
			}
			req.Streams = append(req.Streams, s)
		}
		now := time.Date(2024, 1, 1, 0, 0, 0, 999_999, time.FixedZone("", 60))
		got, err := eventstore.Prepare(context.Background(), req, now)
		require.NoError(t, err)
		require.Len(t, got.Streams, len(req.Streams))
		for i, s := range req.Streams {
			require.Len(t, got.Streams[i].Events, len(s.Events))
			for j, e := range got.Streams[i].Events {
				require.NotZero(t, e.ID)
				require.Equal(t, max(1, s.Events[j].Schema), e.Schema)
				require.Equal(t, time.Date(2023, 12, 31, 23, 59, 0, 0, time.UTC), e.Time)
				require.Equal(t, len(e.Data), cap(e.Data))
				require.Zero(t, s.Events[j].ID, "the request is not written to")
				s.Events[j].Data[0] = 77
				require.Equal(t, byte(5), e.Data[0])
				if s.Events[j].Metadata.Custom != nil {
					s.Events[j].Metadata.Custom["k"] = "changed"
					require.Equal(t, "v", e.Metadata.Custom["k"])
				}
			}
		}
	})
}

func TestPrepareOfManyStreamsFindsRepetition(t *testing.T) {
	t.Parallel()
	var req eventstore.AppendRequest
	for i := range 20 {
		req.Streams = append(req.Streams, eventstore.StreamAppend{Stream: eventstore.NewStreamID("s", fmt.Sprint(i)), Expected: eventstore.Any})
	}
	_, err := eventstore.Prepare(t.Context(), req, time.Now())
	require.NoError(t, err)
	req.Streams[19].Stream = req.Streams[3].Stream
	_, err = eventstore.Prepare(t.Context(), req, time.Now())
	require.ErrorContains(t, err, `names stream "s-3" twice`)
}

func TestFollowValidatesAndBreaks(t *testing.T) {
	t.Parallel()
	store := simstore.New(simstore.Config{})
	defer store.Close()
	for _, err := range eventstore.Follow(t.Context(), store, eventstore.LogQuery{After: -1}, 0) {
		require.ErrorIs(t, err, eventstore.ErrInvalid)
	}
	for range 5 {
		_, err := eventstore.Append(t.Context(), store, "order-1", eventstore.Any, eventstore.EventData{Type: "x", Data: []byte{5, 0, 0, 0, 0}})
		require.NoError(t, err)
	}
	batches := 0
	for batch, err := range eventstore.Follow(t.Context(), store, eventstore.LogQuery{}, 2) {
		require.NoError(t, err)
		require.Len(t, batch.Events, 2)
		if batches++; batches == 2 {
			break
		}
	}
	store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpReadLog}, Kind: simstore.Unavailable, Events: 3})
	events, err := eventstore.Collect(eventstore.Subscribe(t.Context(), store, eventstore.LogQuery{}))
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.Empty(t, events, "a batch that broke off is not yielded")
	for _, err := range eventstore.Subscribe(t.Context(), store, eventstore.LogQuery{Through: 2}) {
		require.ErrorIs(t, err, eventstore.ErrUnavailable)
		break
	}
}

func FuzzPrepareNames(f *testing.F) {
	f.Add("order-1", "order.placed", "key")
	f.Add("", "$", "\x00")
	f.Fuzz(func(t *testing.T, stream, typ, key string) {
		req := eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{
			Stream: eventstore.StreamID(stream), Expected: eventstore.Any,
			Events: []eventstore.EventData{{
				Type: eventstore.EventType(typ), Data: []byte{5, 0, 0, 0, 0},
				Metadata: eventstore.Metadata{Custom: map[string]string{key: "x"}},
			}},
		}}}
		_, err := eventstore.Prepare(context.Background(), req, time.Unix(0, 0))
		want := eventstore.StreamID(stream).Validate() == nil && eventstore.EventType(typ).Validate() == nil && eventstore.EventType(key).Validate() == nil
		if (err == nil) != want {
			t.Fatalf("got error %v for stream %q, type %q, key %q", err, stream, typ, key)
		}
		if err != nil && !errors.Is(err, eventstore.ErrNotWritten) {
			t.Fatalf("error %v does not match ErrNotWritten", err)
		}
	})
}
