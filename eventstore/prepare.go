package eventstore

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// Prepare is the first step of every store's Append: it validates a request and
// returns a copy that shares no memory with it that could change, and has all
// defaults filled in: event ids, schema versions, times (now for those not set,
// all in UTC and cut to milliseconds) and metadata from ctx. Its errors match
// [ErrNotWritten].
func Prepare(ctx context.Context, req AppendRequest, now time.Time) (AppendRequest, error) {
	p := Preparer{Clock: func() time.Time { return now }}
	return p.Prepare(ctx, req)
}

// A Preparer prepares one request after the other in memory that it uses again:
// for stores that have copied what they keep before their Append returns. It is
// not safe for concurrent use.
type Preparer struct {
	// Clock gives the time of events that have none. The system's clock when
	// nil; it is then read once for a request, for times and new ids alike.
	Clock func() time.Time

	streams []StreamAppend
	events  []EventData
	data    []byte
}

// maxPrepared is the number of events above which a Preparer does not keep its
// memory.
const maxPrepared = 64

// Prepare does what the function [Prepare] does. What it returns is valid until
// Reset.
func (p *Preparer) Prepare(ctx context.Context, req AppendRequest) (AppendRequest, error) {
	if err := ctx.Err(); err != nil {
		return AppendRequest{}, NotWritten(err)
	}
	if err := validateShape(req); err != nil {
		return AppendRequest{}, err
	}
	p.copyParts(req.Streams)
	req.Streams = p.streams
	var d defaults
	d.set(ctx, p.Clock)
	total := 0
	for i := range req.Streams {
		s := &req.Streams[i]
		for j := range s.Events {
			n, err := p.event(&s.Events[j], &d)
			if err != nil {
				return AppendRequest{}, fmt.Errorf("append to %q: event %d of %d: %w", s.Stream, j+1, len(s.Events), err)
			}
			total += n + len(s.Stream)
		}
	}
	if total > MaxAppendSize {
		return AppendRequest{}, &TooLargeError{What: "append", Size: total, Limit: MaxAppendSize}
	}
	if len(p.events) > 1 {
		if err := refuseRepeatedIDs(p.events); err != nil {
			return AppendRequest{}, err
		}
	}
	return req, nil
}

// Reset lets go of the request prepared last. Its memory is used again.
func (p *Preparer) Reset() {
	if cap(p.events) > maxPrepared || cap(p.streams) > maxPrepared || cap(p.data) > maxPooled {
		*p = Preparer{Clock: p.Clock}
		return
	}
	// Cleared of the strings and maps of the caller's, which the store may not
	// have kept.
	clear(p.streams)
	clear(p.events)
	p.streams, p.events, p.data = p.streams[:0], p.events[:0], p.data[:0]
}

// copyParts copies the parts of a request and their events, though not yet what those
// refer to, and makes room for that: copies must not move once they are made.
func (p *Preparer) copyParts(streams []StreamAppend) {
	events, size := 0, 0
	for i := range streams {
		events += len(streams[i].Events)
		for j := range streams[i].Events {
			size += len(streams[i].Events[j].Data)
		}
	}
	p.streams = append(slices.Grow(p.streams[:0], len(streams)), streams...)
	p.events = slices.Grow(p.events[:0], events)
	p.data = p.data[:0]
	if size <= MaxAppendSize { // what is over is refused, not copied
		p.data = slices.Grow(p.data, size)
	}
	for i := range p.streams {
		s, start := &p.streams[i], len(p.events)
		p.events = append(p.events, s.Events...)
		s.Events = p.events[start:len(p.events):len(p.events)]
	}
}

// defaults are what events of a request get where they have nothing of their own.
type defaults struct {
	time      time.Time
	idTime    time.Time // of new ids; zero if each reads the clock
	inherited *Metadata // nil for none
}

func (d *defaults) set(ctx context.Context, clock func() time.Time) {
	if clock == nil {
		d.idTime = time.Now()
		d.time = cutTime(d.idTime)
	} else {
		d.time = cutTime(clock())
	}
	d.inherited = metadataFrom(ctx)
}

func validateShape(req AppendRequest) error {
	switch n := len(req.Streams); {
	case n == 0:
		return &InvalidError{What: "append", Reason: "names no stream"}
	case n > MaxAppendStreams:
		return &TooLargeError{What: "number of streams of an append", Size: n, Limit: MaxAppendStreams}
	}
	events := 0
	for i := range req.Streams {
		s := &req.Streams[i]
		if err := s.Stream.Validate(); err != nil {
			return err
		}
		if err := s.Expected.Validate(); err != nil {
			return fmt.Errorf("append to %q: %w", s.Stream, err)
		}
		if i > 0 && len(req.Streams) <= 16 && slices.ContainsFunc(req.Streams[:i], func(o StreamAppend) bool { return o.Stream == s.Stream }) {
			return repeatedStream(s.Stream)
		}
		events += len(s.Events)
	}
	if len(req.Streams) > 16 {
		seen := make(map[StreamID]struct{}, len(req.Streams))
		for _, s := range req.Streams {
			if _, ok := seen[s.Stream]; ok {
				return repeatedStream(s.Stream)
			}
			seen[s.Stream] = struct{}{}
		}
	}
	if events > MaxAppendEvents {
		return &TooLargeError{What: "number of events of an append", Size: events, Limit: MaxAppendEvents}
	}
	return nil
}

func repeatedStream(s StreamID) error {
	return &InvalidError{What: "append", Reason: fmt.Sprintf("names stream %q twice; put its events into one part", s)}
}

func refuseRepeatedIDs(events []EventData) error {
	seen := make(map[EventID]struct{}, len(events))
	for i := range events {
		id := events[i].ID
		if _, ok := seen[id]; ok {
			return &InvalidError{What: "append", Reason: "has two events with the id " + id.String()}
		}
		seen[id] = struct{}{}
	}
	return nil
}

// event validates an event, fills in its defaults, replaces what it shares with
// the caller and returns its size.
func (p *Preparer) event(e *EventData, d *defaults) (int, error) {
	if err := e.Type.Validate(); err != nil {
		return 0, err
	}
	if e.Schema < 0 || e.Schema > math.MaxInt32 {
		return 0, &InvalidError{What: "schema version", Reason: fmt.Sprintf("is %d; versions start at 1 and have 31 bits", e.Schema)}
	}
	if e.Schema == 0 {
		e.Schema = 1
	}
	if e.ID == (EventID{}) {
		e.ID = d.newID()
	}
	if e.Time.IsZero() {
		e.Time = d.time
	} else {
		e.Time = cutTime(e.Time)
	}
	switch {
	case d.inherited != nil:
		e.Metadata = e.Metadata.Or(*d.inherited)
	case len(e.Metadata.Custom) > 0:
		e.Metadata = e.Metadata.Or(Metadata{})
	default:
		e.Metadata.Custom = nil
	}
	if len(e.Metadata.Custom) > 0 {
		if err := e.Metadata.validate(); err != nil {
			return 0, err
		}
	}
	size := e.size()
	if size > MaxEventSize {
		return 0, &TooLargeError{What: "event", Size: size, Limit: MaxEventSize}
	}
	if err := validateData(e.Format, e.Data); err != nil {
		return 0, err
	}
	if cap(p.data)-len(p.data) < len(e.Data) {
		return size, nil // the append is too large as a whole
	}
	start := len(p.data)
	p.data = append(p.data, e.Data...)
	// Capped: appending to one event's data cannot reach into the next one's.
	e.Data = p.data[start:len(p.data):len(p.data)]
	return size, nil
}

func (d *defaults) newID() EventID {
	if d.idTime.IsZero() {
		return NewEventID()
	}
	return newEventID(&lastTick, d.idTime)
}

// cutTime cuts a time to the precision that is stored.
func cutTime(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }

func (e *EventData) size() int {
	m := &e.Metadata
	n := len(e.Data) + len(e.Type) + len(m.CorrelationID) + len(m.CausationID) + len(m.Tenant) + len(m.TraceParent) + len(m.TraceState)
	if len(m.Custom) > 0 { // asked first, as going through an empty map takes longer
		for k, v := range m.Custom {
			n += len(k) + len(v)
		}
	}
	return n
}
