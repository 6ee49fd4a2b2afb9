package tracing_test

import (
	"context"
	"errors"
	"testing"

	"github.com/stretchr/testify/require"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/eventstore/eventstoretest"
	"github.com/annals-es/annals/mongostore/tracing"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newStore(t testing.TB) *simstore.Store {
	t.Helper()
	s := simstore.New(simstore.Config{})
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// recorded is a store whose spans are kept.
func recorded(t *testing.T) (eventstore.EventStore, *sdktrace.TracerProvider, *tracetest.SpanRecorder) {
	t.Helper()
	spans := tracetest.NewSpanRecorder()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	return tracing.Wrap(newStore(t), provider), provider, spans
}

func happened(name string) eventstore.EventData {
	data, err := eventstore.NewBSONCodec().Marshal(map[string]int{"n": 1})
	if err != nil {
		panic(err)
	}
	return eventstore.EventData{ID: eventstore.NewEventID(), Type: eventstore.EventType(name), Data: data}
}

func request(stream eventstore.StreamID, expected eventstore.ExpectedVersion, names ...string) eventstore.AppendRequest {
	st := eventstore.StreamAppend{Stream: stream, Expected: expected}
	for _, name := range names {
		st.Events = append(st.Events, happened(name))
	}
	return eventstore.AppendRequest{Streams: []eventstore.StreamAppend{st}}
}

// spansOf returns the ended spans of a name.
func spansOf(r *tracetest.SpanRecorder, name string) (spans []sdktrace.ReadOnlySpan) {
	for _, s := range r.Ended() {
		if s.Name() == name {
			spans = append(spans, s)
		}
	}
	return spans
}

func attributes(s sdktrace.ReadOnlySpan) map[attribute.Key]any {
	m := map[attribute.Key]any{}
	for _, a := range s.Attributes() {
		m[a.Key] = a.Value.AsInterface()
	}
	return m
}

func TestConformance(t *testing.T) {
	t.Parallel()
	for name, wrap := range map[string]func(eventstore.EventStore) eventstore.EventStore{
		"recording": func(s eventstore.EventStore) eventstore.EventStore {
			// What is injected is metadata that the suite has not written.
			return tracing.Wrap(s, sdktrace.NewTracerProvider(), tracing.WithoutInjection())
		},
		"noop": func(s eventstore.EventStore) eventstore.EventStore { return tracing.Wrap(s, noop.NewTracerProvider()) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eventstoretest.Run(t, func(t testing.TB) eventstoretest.Store {
				s := simstore.New(simstore.Config{})
				wrapped := wrap(s)
				streams, ok := wrapped.(eventstore.Streams)
				require.True(t, ok)
				return eventstoretest.Store{EventStore: wrapped, Streams: streams, Close: s.Close}
			}, eventstoretest.Remote())
		})
	}
}

func TestUnusedCostsNothing(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	require.Same(t, s, tracing.Wrap(s, nil))
}

func TestAppendAndLoad(t *testing.T) {
	t.Parallel()
	s, provider, spans := recorded(t)
	ctx, parent := provider.Tracer("test").Start(t.Context(), "request")
	_, err := s.Append(ctx, request("order-1", eventstore.NoStream, "placed", "paid"))
	require.NoError(t, err)
	_, err = s.Append(ctx, request("order-1", eventstore.NoStream, "placed"))
	require.ErrorIs(t, err, eventstore.ErrConflict)
	_, err = s.Append(ctx, request("", eventstore.NoStream, "placed"))
	require.ErrorIs(t, err, eventstore.ErrInvalid)
	var events []eventstore.Event
	for e, err := range s.ReadStream(ctx, "order-1", eventstore.StreamQuery{}) {
		require.NoError(t, err)
		events = append(events, e)
	}
	parent.End()

	appends := spansOf(spans, "annals.append")
	require.Len(t, appends, 3)
	for _, a := range appends {
		require.Equal(t, parent.SpanContext().SpanID(), a.Parent().SpanID())
		require.Equal(t, trace.SpanKindProducer, a.SpanKind())
		require.Empty(t, a.Links())
	}
	require.Equal(t, map[attribute.Key]any{
		"annals.stream": "order-1", "annals.streams": int64(1), "annals.events": int64(2),
		"annals.event_types": []string{"placed", "paid"}, "annals.duplicate": false,
	}, attributes(appends[0]))
	require.Equal(t, codes.Unset, appends[1].Status().Code, "a conflict is part of the game")
	require.Equal(t, true, attributes(appends[1])["annals.conflict"])
	require.Equal(t, codes.Error, appends[2].Status().Code)

	loads := spansOf(spans, "annals.load")
	require.Len(t, loads, 1)
	require.Equal(t, int64(2), attributes(loads[0])["annals.events"])

	// The events name the span that they were appended in.
	require.Len(t, events, 2)
	for _, e := range events {
		require.Equal(t, appends[0].SpanContext().SpanID(), tracing.SpanContextOf(e.Metadata).SpanID())
		require.Equal(t, appends[0].SpanContext().TraceID(), tracing.SpanContextOf(e.Metadata).TraceID())
	}
}

func TestLoadThatIsBrokenOff(t *testing.T) {
	t.Parallel()
	s, _, spans := recorded(t)
	_, err := s.Append(t.Context(), request("order-1", eventstore.NoStream, "a", "b", "c"))
	require.NoError(t, err)
	for _, err := range s.ReadStream(t.Context(), "order-1", eventstore.StreamQuery{}) {
		require.NoError(t, err)
		break
	}
	require.Equal(t, int64(1), attributes(spansOf(spans, "annals.load")[0])["annals.events"])
}

// TestLogIsTracedWithinASpanOnly keeps what polls in the background out.
func TestLogIsTracedWithinASpanOnly(t *testing.T) {
	t.Parallel()
	s, provider, spans := recorded(t)
	res, err := s.Append(t.Context(), request("order-1", eventstore.NoStream, "a"))
	require.NoError(t, err)
	use := func(ctx context.Context) {
		_, err := s.Await(ctx, res.Token)
		require.NoError(t, err)
		for _, err := range s.ReadLog(ctx, eventstore.LogQuery{}) {
			require.NoError(t, err)
		}
	}
	use(t.Context())
	require.Empty(t, spansOf(spans, "annals.await"))
	require.Empty(t, spansOf(spans, "annals.read_log"))
	ctx, span := provider.Tracer("test").Start(t.Context(), "request")
	use(ctx)
	span.End()
	require.Len(t, spansOf(spans, "annals.await"), 1)
	require.Len(t, spansOf(spans, "annals.read_log"), 1)
}

// TestChainOfEvents handles an event by appending another: each span links to the
// append of the event that it follows from.
func TestChainOfEvents(t *testing.T) {
	t.Parallel()
	s, provider, spans := recorded(t)
	_, err := s.Append(t.Context(), request("order-1", eventstore.NoStream, "placed"))
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	boom := errors.New("boom")
	attempts := 0
	p := projection.Projection{Name: "shipping", Handlers: []projection.Handler{
		tracing.OnEvent(provider, "shipping", "placed", func(ctx context.Context, e eventstore.Event) error {
			if attempts++; attempts == 1 {
				return boom
			}
			_, err := s.Append(eventstore.CausedBy(ctx, e), request("parcel-1", eventstore.NoStream, "packed"))
			cancel()
			return err
		}),
	}}
	run(ctx, t, s, p)

	appends := spansOf(spans, "annals.append")
	require.Len(t, appends, 2)
	projects := spansOf(spans, "annals.project")
	require.Len(t, projects, 2)
	require.Equal(t, codes.Error, projects[0].Status().Code)
	require.Equal(t, codes.Unset, projects[1].Status().Code)
	for _, span := range append(projects, appends[1]) {
		require.Len(t, span.Links(), 1, span.Name())
		require.Equal(t, appends[0].SpanContext().SpanID(), span.Links()[0].SpanContext.SpanID(), span.Name())
	}
	require.Equal(t, projects[1].SpanContext().SpanID(), appends[1].Parent().SpanID())
	require.NotEqual(t, appends[0].SpanContext().TraceID(), appends[1].SpanContext().TraceID(), "a trace ends with its request")
	require.Equal(t, map[attribute.Key]any{
		"annals.projection": "shipping", "annals.event_type": "placed", "annals.stream": "order-1",
		"annals.version": int64(1), "annals.position": int64(1),
	}, attributes(projects[1]))
	for e, err := range s.ReadStream(t.Context(), "parcel-1", eventstore.StreamQuery{}) {
		require.NoError(t, err)
		require.Equal(t, appends[1].SpanContext().SpanID(), tracing.SpanContextOf(e.Metadata).SpanID())
	}
}

// run runs a projection until its context is cancelled.
func run(ctx context.Context, t *testing.T, s eventstore.EventStore, p projection.Projection) {
	t.Helper()
	registry, err := eventstore.NewRegistry(eventstore.NewBSONCodec())
	require.NoError(t, err)
	r, err := projection.NewRunner(s, registry, newStore(t), p, projection.Config{})
	require.NoError(t, err)
	err = r.Run(ctx)
	if !errors.Is(err, context.Canceled) {
		require.NoError(t, err)
	}
}

func TestInject(t *testing.T) {
	t.Parallel()
	require.Equal(t, t.Context(), tracing.Inject(t.Context()), "no span, nothing to inject")
	state, err := trace.ParseTraceState("vendor=x")
	require.NoError(t, err)
	span := trace.NewSpanContext(trace.SpanContextConfig{
		TraceID: trace.TraceID{1}, SpanID: trace.SpanID{2}, TraceFlags: trace.FlagsSampled, TraceState: state,
	})
	m := eventstore.MetadataFrom(tracing.Inject(trace.ContextWithSpanContext(t.Context(), span)))
	require.Equal(t, "00-01000000000000000000000000000000-0200000000000000-01", m.TraceParent)
	require.Equal(t, "vendor=x", m.TraceState)
	got := tracing.SpanContextOf(m)
	require.True(t, got.Equal(span.WithRemote(true)))
	for _, bad := range []string{"", "x", "00-00-00-00", "00-00000000000000000000000000000000-0000000000000000-01"} {
		require.False(t, tracing.SpanContextOf(eventstore.Metadata{TraceParent: bad}).IsValid(), bad)
	}
}

func BenchmarkAppend(b *testing.B) {
	for name, provider := range map[string]trace.TracerProvider{
		"none": nil, "noop": noop.NewTracerProvider(), "recording": sdktrace.NewTracerProvider(),
	} {
		b.Run(name, func(b *testing.B) {
			s := tracing.Wrap(newStore(b), provider)
			b.ReportAllocs()
			for b.Loop() {
				if _, err := s.Append(b.Context(), request("order-1", eventstore.Any, "placed")); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
