package eventstore

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/google/uuid"
)

const (
	// MaxEventSize is the greatest size in bytes of one event: its data, its
	// metadata and names together. It is MongoDB's limit of 16 MiB for a
	// document less 16 KiB for the envelope.
	MaxEventSize = 16<<20 - 16<<10
	// MaxAppendSize is the greatest size in bytes of one append. A MongoDB
	// transaction may be larger since 4.2, but every oplog entry of it stays
	// below 16 MiB and the whole is held in the server's cache.
	MaxAppendSize = 48_000_000 - 1<<20
	// MaxAppendEvents is the greatest number of events in one append.
	MaxAppendEvents = 10_000
	// MaxAppendStreams is the greatest number of streams in one append.
	MaxAppendStreams = 1_000
)

// An AppendID makes an append repeatable whatever version it expects: a store
// that has seen the id answers with the first result. How long ids are kept is
// the store's to state. Zero means none.
type AppendID = uuid.UUID

// A Token stands for an append in [Log.Await]. It can be sent to another
// process. The zero token stands for an append that wrote nothing.
type Token string

// An AppendRequest is what to append: all of it or nothing.
//
// A request is repeatable in two ways. With an ID, the store returns the first
// result when it has seen the id, marked as a duplicate, whatever the streams look
// like by then. And a request all of whose events go to streams with NoStream or
// Exact expectations is recognised by its event ids: when each of these streams
// already holds exactly these ids at exactly this place, that is the first result,
// marked as a duplicate; only otherwise is it a conflict. The place is right
// behind the expected version; with NoStream it is the beginning, or the
// beginning after a deletion ([Streams.Delete]). Events that are truncated or
// deleted count as much as others. Streams that are only checked are not looked
// at then, and StreamResult.Last of them is the present head. What expects Any or
// Exists and has no ID is written again when it is made again.
//
// An ID is kept only by an append that wrote something; one that was refused does
// not use it up. So a request with an ID and no events, expecting Any, asks
// whether the append was made: the answer is its first result, marked as a
// duplicate, or one that is not.
type AppendRequest struct {
	ID AppendID
	// Streams names each stream once.
	Streams []StreamAppend
}

// A StreamAppend is one stream's part of an append.
type StreamAppend struct {
	Stream StreamID
	// Expected is required; the zero value is refused.
	Expected ExpectedVersion
	// Events go to the stream in this order. None: the stream is checked in the
	// same atomic step and not written.
	Events []EventData
}

// An AppendResult tells what an append did.
type AppendResult struct {
	// Streams has an entry for each stream of the request, in its order.
	Streams []StreamResult
	// Token is for [Log.Await]. It is zero when nothing was written.
	Token Token
	// Duplicate is set when this append had been made before: the rest is the
	// first result.
	Duplicate bool
}

// A StreamResult tells what an append did to one stream.
type StreamResult struct {
	Stream StreamID
	// First and Last are the versions of the first and last event appended. Of
	// a stream that was only checked, First is zero and Last the head.
	First, Last Version
}

// Append appends events to one stream. See [Appender].
func Append(ctx context.Context, store Appender, stream StreamID, expected ExpectedVersion, events ...EventData) (AppendResult, error) {
	return store.Append(ctx, AppendRequest{Streams: []StreamAppend{{Stream: stream, Expected: expected, Events: events}}})
}

// Prepare is the first step of every store's Append: it validates a request and
// returns a copy that shares no memory with it that could change, and has all
// defaults filled in: event ids, schema versions, times (now for those not set,
// all in UTC and cut to milliseconds) and metadata from ctx. Its errors match
// [ErrNotWritten].
func Prepare(ctx context.Context, req AppendRequest, now time.Time) (AppendRequest, error) {
	if err := ctx.Err(); err != nil {
		return AppendRequest{}, NotWritten(err)
	}
	if err := validateShape(req); err != nil {
		return AppendRequest{}, err
	}
	p := preparation{now: cutTime(now), inherited: MetadataFrom(ctx)}
	p.inherits = !p.inherited.IsZero()
	req.Streams = p.copyStreams(req.Streams)
	for i := range req.Streams {
		s := &req.Streams[i]
		for j := range s.Events {
			n, err := p.event(&s.Events[j])
			if err != nil {
				return AppendRequest{}, fmt.Errorf("append to %q: event %d of %d: %w", s.Stream, j+1, len(s.Events), err)
			}
			p.size += n + len(s.Stream)
		}
	}
	if p.size > MaxAppendSize {
		return AppendRequest{}, &TooLargeError{What: "append", Size: p.size, Limit: MaxAppendSize}
	}
	if p.events > 1 {
		if err := refuseRepeatedIDs(req.Streams, p.events); err != nil {
			return AppendRequest{}, err
		}
	}
	return req, nil
}

// A preparation is what Prepare knows while it works.
type preparation struct {
	now       time.Time
	inherited Metadata
	inherits  bool
	events    int
	size      int
	data      []byte // room for the copies of all data
}

// copyStreams copies the parts of a request and their events, though not yet
// what those refer to, in as few pieces as possible.
func (p *preparation) copyStreams(streams []StreamAppend) []StreamAppend {
	size := 0
	for i := range streams {
		p.events += len(streams[i].Events)
		for j := range streams[i].Events {
			size += len(streams[i].Events[j].Data)
		}
	}
	if size <= MaxAppendSize { // what is over is refused, not copied
		p.data = make([]byte, 0, size)
	}
	if len(streams) == 1 && p.events == 1 {
		one := &struct {
			streams [1]StreamAppend
			events  [1]EventData
		}{streams: [1]StreamAppend{streams[0]}, events: [1]EventData{streams[0].Events[0]}}
		one.streams[0].Events = one.events[:]
		return one.streams[:]
	}
	streams = slices.Clone(streams)
	events := make([]EventData, 0, p.events)
	for i := range streams {
		start := len(events)
		events = append(events, streams[i].Events...)
		streams[i].Events = events[start:len(events):len(events)]
	}
	return streams
}

func validateShape(req AppendRequest) error {
	switch n := len(req.Streams); {
	case n == 0:
		return &InvalidError{What: "append", Reason: "names no stream"}
	case n > MaxAppendStreams:
		return &TooLargeError{What: "number of streams of an append", Size: n, Limit: MaxAppendStreams}
	}
	events := 0
	for i, s := range req.Streams {
		if err := s.Stream.Validate(); err != nil {
			return err
		}
		if err := s.Expected.Validate(); err != nil {
			return fmt.Errorf("append to %q: %w", s.Stream, err)
		}
		if len(req.Streams) <= 16 && slices.ContainsFunc(req.Streams[:i], func(o StreamAppend) bool { return o.Stream == s.Stream }) {
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

func refuseRepeatedIDs(streams []StreamAppend, events int) error {
	seen := make(map[EventID]struct{}, events)
	for _, s := range streams {
		for _, e := range s.Events {
			if _, ok := seen[e.ID]; ok {
				return &InvalidError{What: "append", Reason: "has two events with the id " + e.ID.String()}
			}
			seen[e.ID] = struct{}{}
		}
	}
	return nil
}

// event validates an event, fills in its defaults, replaces what it shares with
// the caller and returns its size.
func (p *preparation) event(e *EventData) (int, error) {
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
		e.ID = NewEventID()
	}
	if e.Time.IsZero() {
		e.Time = p.now
	} else {
		e.Time = cutTime(e.Time)
	}
	if p.inherits || len(e.Metadata.Custom) > 0 {
		e.Metadata = e.Metadata.Or(p.inherited)
	} else {
		e.Metadata.Custom = nil
	}
	if err := e.Metadata.validate(); err != nil {
		return 0, err
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

// cutTime cuts a time to the precision that is stored.
func cutTime(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }

func (e *EventData) size() int {
	m := &e.Metadata
	n := len(e.Data) + len(e.Type) + len(m.CorrelationID) + len(m.CausationID) + len(m.Tenant) + len(m.TraceParent) + len(m.TraceState)
	for k, v := range m.Custom {
		n += len(k) + len(v)
	}
	return n
}
