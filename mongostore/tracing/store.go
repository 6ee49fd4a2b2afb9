package tracing

import (
	"context"
	"errors"
	"iter"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/annals-es/annals/eventstore"
)

const scope = "github.com/annals-es/annals"

// Wrap returns a store that makes spans of appends (annals.append) and of loads of
// streams (annals.load), and of reads of the log and waiting for it
// (annals.read_log, annals.await) when these are made within a span. Other errors
// than conflicts mark a span as failed. It hands everything else on, and is an
// [eventstore.Streams] if the store is one.
//
// An append carries its span in the metadata of its events, in place of the trace
// context that ctx has by [eventstore.CausedBy], which becomes a link. Trace context
// that an event brings itself is kept.
//
// With a nil provider it returns the store.
func Wrap(s eventstore.EventStore, provider trace.TracerProvider, options ...Option) eventstore.EventStore {
	if provider == nil {
		return s
	}
	w := &store{EventStore: s, tracer: provider.Tracer(scope), inject: Inject}
	for _, o := range options {
		o(w)
	}
	if streams, ok := s.(eventstore.Streams); ok {
		return &storeOfStreams{store: w, Streams: streams}
	}
	return w
}

// An Option is an option of [Wrap].
type Option func(*store)

// WithoutInjection leaves the metadata of events as it is, for programs that fill
// in the trace context themselves.
func WithoutInjection() Option {
	return func(s *store) { s.inject = func(ctx context.Context) context.Context { return ctx } }
}

type store struct {
	eventstore.EventStore
	tracer trace.Tracer
	inject func(context.Context) context.Context
}

type storeOfStreams struct {
	*store
	eventstore.Streams
}

// Append implements [eventstore.Appender].
func (s *store) Append(ctx context.Context, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	cause := linkTo(ctx, eventstore.MetadataFrom(ctx))
	ctx, span := s.tracer.Start(ctx, "annals.append", trace.WithSpanKind(trace.SpanKindProducer), trace.WithLinks(cause...))
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(appendAttributes(req)...)
	}
	res, err := s.EventStore.Append(s.inject(ctx), req)
	switch {
	case err == nil:
		span.SetAttributes(attribute.Bool("annals.duplicate", res.Duplicate))
	case errors.Is(err, eventstore.ErrConflict):
		span.SetAttributes(attribute.Bool("annals.conflict", true))
	default:
		failed(span, err)
	}
	return res, err
}

// appendAttributes tell of the streams and types of a request, without its data.
func appendAttributes(req eventstore.AppendRequest) []attribute.KeyValue {
	const most = 16 // types told
	var types []string
	events := 0
	for i := range req.Streams {
		for j := range req.Streams[i].Events {
			events++
			if len(types) < most {
				types = append(types, string(req.Streams[i].Events[j].Type))
			}
		}
	}
	attributes := []attribute.KeyValue{
		attribute.Int("annals.streams", len(req.Streams)),
		attribute.Int("annals.events", events),
		attribute.StringSlice("annals.event_types", types),
	}
	if len(req.Streams) == 1 {
		attributes = append(attributes, attribute.String("annals.stream", string(req.Streams[0].Stream)))
	}
	return attributes
}

// ReadStream implements [eventstore.StreamReader].
func (s *store) ReadStream(ctx context.Context, stream eventstore.StreamID, q eventstore.StreamQuery) iter.Seq2[eventstore.Event, error] {
	return s.reading(ctx, "annals.load", []attribute.KeyValue{attribute.String("annals.stream", string(stream))},
		func(ctx context.Context) iter.Seq2[eventstore.Event, error] {
			return s.EventStore.ReadStream(ctx, stream, q)
		})
}

// ReadLog implements [eventstore.Log].
func (s *store) ReadLog(ctx context.Context, q eventstore.LogQuery) iter.Seq2[eventstore.Event, error] {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return s.EventStore.ReadLog(ctx, q)
	}
	return s.reading(ctx, "annals.read_log", []attribute.KeyValue{attribute.Int64("annals.after", int64(q.After))},
		func(ctx context.Context) iter.Seq2[eventstore.Event, error] { return s.EventStore.ReadLog(ctx, q) })
}

// reading makes a span of each iteration.
func (s *store) reading(ctx context.Context, name string, attributes []attribute.KeyValue, read func(context.Context) iter.Seq2[eventstore.Event, error]) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		ctx, span := s.tracer.Start(ctx, name, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(attributes...))
		defer span.End()
		n := 0
		defer func() { span.SetAttributes(attribute.Int("annals.events", n)) }()
		for e, err := range read(ctx) {
			if err != nil {
				failed(span, err)
			} else {
				n++
			}
			if !yield(e, err) {
				return
			}
		}
	}
}

// Await implements [eventstore.Log].
func (s *store) Await(ctx context.Context, t eventstore.Token) (eventstore.Position, error) {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return s.EventStore.Await(ctx, t)
	}
	ctx, span := s.tracer.Start(ctx, "annals.await", trace.WithSpanKind(trace.SpanKindClient))
	defer span.End()
	p, err := s.EventStore.Await(ctx, t)
	if err != nil {
		failed(span, err)
		return p, err
	}
	span.SetAttributes(attribute.Int64("annals.position", int64(p)))
	return p, nil
}

func failed(span trace.Span, err error) {
	span.RecordError(err)
	span.SetStatus(codes.Error, err.Error())
}
