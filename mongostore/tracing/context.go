package tracing

import (
	"context"

	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/annals-es/annals/eventstore"
)

// The header names of the W3C trace context.
const (
	traceParent = "traceparent"
	traceState  = "tracestate"
)

// SpanContextOf returns the span that metadata names: of an event, the span that
// it was appended in. It is invalid where none is named, or not in the form of the
// W3C trace context.
func SpanContextOf(m eventstore.Metadata) trace.SpanContext {
	if m.TraceParent == "" {
		return trace.SpanContext{}
	}
	carrier := propagation.MapCarrier{traceParent: m.TraceParent, traceState: m.TraceState}
	return trace.SpanContextFromContext(propagation.TraceContext{}.Extract(context.Background(), carrier))
}

// Inject returns a context whose appends carry the context's span in their
// metadata. Without a span it returns ctx. A store of [Wrap] does it by itself.
func Inject(ctx context.Context) context.Context {
	if !trace.SpanContextFromContext(ctx).IsValid() {
		return ctx
	}
	carrier := propagation.MapCarrier{}
	propagation.TraceContext{}.Inject(ctx, carrier)
	return eventstore.WithMetadata(ctx, eventstore.Metadata{TraceParent: carrier[traceParent], TraceState: carrier[traceState]})
}

// linkTo returns the link to a span that metadata names, unless that is the
// parent anyway.
func linkTo(ctx context.Context, m eventstore.Metadata) []trace.Link {
	cause := SpanContextOf(m) //nolint:contextcheck // of the metadata, not of the context
	if !cause.IsValid() || cause.SpanID() == trace.SpanContextFromContext(ctx).SpanID() {
		return nil
	}
	return []trace.Link{{SpanContext: cause}}
}
