package tracing

import (
	"context"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// On is [projection.On] with a span for each event handled (annals.project), which
// links to the append of the event. With a nil provider it is projection.On.
func On[T any](provider trace.TracerProvider, name string, fn func(ctx context.Context, payload T, e eventstore.Event) error) projection.Handler {
	if provider == nil {
		return projection.On(fn)
	}
	tracer := provider.Tracer(scope)
	return projection.On(func(ctx context.Context, payload T, e eventstore.Event) error {
		return handle(ctx, tracer, name, e, func(ctx context.Context) error { return fn(ctx, payload, e) })
	})
}

// OnEvent is [projection.OnEvent] with spans as [On] makes them.
func OnEvent(provider trace.TracerProvider, name string, event eventstore.EventType, fn func(ctx context.Context, e eventstore.Event) error) projection.Handler {
	if provider == nil {
		return projection.OnEvent(event, fn)
	}
	tracer := provider.Tracer(scope)
	return projection.OnEvent(event, func(ctx context.Context, e eventstore.Event) error {
		return handle(ctx, tracer, name, e, func(ctx context.Context) error { return fn(ctx, e) })
	})
}

func handle(ctx context.Context, tracer trace.Tracer, name string, e eventstore.Event, fn func(context.Context) error) error {
	ctx, span := tracer.Start(ctx, "annals.project", trace.WithSpanKind(trace.SpanKindConsumer), trace.WithLinks(linkTo(ctx, e.Metadata)...))
	defer span.End()
	if span.IsRecording() {
		span.SetAttributes(
			attribute.String("annals.projection", name),
			attribute.String("annals.event_type", string(e.Type)),
			attribute.String("annals.stream", string(e.Stream)),
			attribute.Int64("annals.version", int64(e.Version)),
			attribute.Int64("annals.position", int64(e.Position)),
		)
	}
	err := fn(ctx)
	if err != nil {
		failed(span, err)
	}
	return err
}
