// Package tracing makes OpenTelemetry spans of what is done with an event store:
// one for each append, load and handled event.
//
// Spans are connected through the events. An append writes its span into the
// metadata of its events, as W3C trace context. Whoever handles an event does so in
// a span that links to the append of the event; and when handling it appends
// further events, that append links to the span that its cause was appended in. So a
// process can be followed over days and services, without traces that never end.
//
// [Wrap] wraps a store, [On] and [OnEvent] make handlers of projections. Without a
// TracerProvider they return what they are given: nothing is paid for tracing that
// is not used. The package needs OpenTelemetry's API alone; which spans are kept and
// where they are sent is the program's choice.
package tracing
