package eventstore

import (
	"context"
	"iter"
)

// An EventStore appends events to streams and reads them. Implementations are
// safe for concurrent use.
//
// Every method returns promptly with the context's error when its context is
// cancelled, and with [ErrClosed] when the store was closed.
type EventStore interface {
	Appender
	StreamReader
	Log
}

// An Appender appends events to streams.
type Appender interface {
	// Append writes all events of the request or none. It returns when the
	// events are committed: they are seen by every ReadStream that starts
	// afterwards, and by the log some time later (see [Log.Await]).
	//
	// Errors: [*InvalidError] and [*TooLargeError] for what can be seen from
	// the request alone, [*ConflictError], [*TombstonedError],
	// [ErrAppendIDReused], [ErrClosed], [ErrUnavailable], the context's error.
	// Every error matches either [ErrNotWritten] or [ErrOutcomeUnknown]. A
	// stream that is only checked counts as appended to. When several streams
	// conflict, the error names any one of them.
	Append(ctx context.Context, req AppendRequest) (AppendResult, error)
}

// A StreamReader reads single streams.
type StreamReader interface {
	// ReadStream yields events of a stream in the order of their versions,
	// without gaps. It includes everything committed when the iteration
	// starts, and perhaps what is committed during it. A stream without events
	// and a deleted one yield nothing; a tombstoned one yields a
	// [*TombstonedError].
	//
	// One exception: while a replicated back end fails over, a read may for a
	// moment lag behind what other handles of the store have committed, and so
	// may the version that a conflict names. It never lags behind what was
	// appended or read through the same handle, and no append is decided by it.
	//
	// An error is yielded once, as the last pair: an [*InvalidError] for a bad
	// name or query, else as in Append. Cancelling ctx also ends a read of which
	// events are left to yield. Breaking out of the loop releases everything.
	// The sequence can be iterated again, which reads again.
	ReadStream(ctx context.Context, stream StreamID, q StreamQuery) iter.Seq2[Event, error]
}

// A Log is the sequence of all committed events of a store.
//
// [Subscribe] and [Follow] build on it.
type Log interface {
	// ReadLog yields the log's events after q.After that q asks for, in the
	// order of their positions, up to the head that the log has when the
	// iteration starts. Errors, break and repetition are as in ReadStream.
	//
	// Truncated and deleted events stay in the log. Erased ones leave a
	// placeholder, see [ErasedType].
	ReadLog(ctx context.Context, q LogQuery) iter.Seq2[Event, error]

	// Head returns the position of the log's last event, zero when it is
	// empty.
	Head(ctx context.Context) (Position, error)

	// Wait returns the log's head as soon as it is greater than after.
	Wait(ctx context.Context, after Position) (Position, error)

	// Await waits until the log includes an append and returns the position of
	// that append's last event. The token may come from another process. The
	// zero token returns zero at once. What cannot be a token of this store is
	// an [*InvalidError].
	Await(ctx context.Context, token Token) (Position, error)
}

// Streams tells of streams and ends them. All of its methods may be repeated.
// Names, expectations and versions that make no sense are an [*InvalidError].
type Streams interface {
	// StreamInfo tells the head and state of a stream. A stream that never had
	// an event is live with head 0 and first 1.
	StreamInfo(ctx context.Context, stream StreamID) (StreamInfo, error)

	// Delete makes a stream read as if it had no events. It can be continued
	// with an append that expects NoStream, Any or Exact(head), whose versions
	// follow the old head. The events stay in the log. Deleting a stream
	// without events, or a deleted one, does nothing, whatever is expected; a
	// tombstoned one is a [*TombstonedError].
	Delete(ctx context.Context, stream StreamID, expected ExpectedVersion) error

	// Tombstone closes a stream for good: reading it and appending to it are
	// [*TombstonedError]s. The events stay in the log. A stream without events
	// can be tombstoned. Of a tombstoned one nothing is expected.
	Tombstone(ctx context.Context, stream StreamID, expected ExpectedVersion) error

	// Truncate hides the events whose version is below before from ReadStream.
	// They stay in the log. Before may be at most head+1; a value at or below
	// the present first version does nothing. A tombstoned stream is a
	// [*TombstonedError].
	Truncate(ctx context.Context, stream StreamID, before Version) error

	// Erase destroys data and metadata of all events of a stream and tombstones
	// it. In the log each event leaves a placeholder of type [ErasedType] with
	// its position, stream and version, so positions stay dense. It cannot be
	// undone.
	Erase(ctx context.Context, stream StreamID) error
}

// A Direction is the order in which a stream is read.
type Direction uint8

const (
	// Forward reads towards the head.
	Forward Direction = iota
	// Backward reads towards the first event.
	Backward
)

// A StreamQuery says which events of a stream to read. The zero value reads all
// of them forward.
type StreamQuery struct {
	Direction Direction
	// From is the version to start at, inclusive. Zero means the first event
	// forward and the last one backward. Forward from beyond the head yields
	// nothing; backward from there starts at the head.
	From Version
	// Limit is the greatest number of events to yield; no limit when zero.
	Limit int
}

// Validate reports what in the query makes no sense, as an [*InvalidError].
func (q StreamQuery) Validate() error {
	switch {
	case q.Direction > Backward:
		return &InvalidError{What: "direction", Reason: "is neither Forward nor Backward"}
	case q.From < 0:
		return &InvalidError{What: "from", Reason: "is negative; versions start at 1, and 0 stands for the first one"}
	case q.Limit < 0:
		return &InvalidError{What: "limit", Reason: "is negative; 0 stands for no limit"}
	}
	return nil
}

// A LogQuery says which events of the log to read. The zero value reads all of
// them.
type LogQuery struct {
	// After is the position to start behind: a checkpoint.
	After Position
	// Through is the last position to consider; the head when zero.
	Through Position
	// Limit is the greatest number of events to yield; no limit when zero.
	Limit int
	// Filter selects events.
	Filter Filter
}

// Validate reports what in the query makes no sense, as an [*InvalidError].
func (q LogQuery) Validate() error {
	switch {
	case q.After < 0:
		return &InvalidError{What: "after", Reason: "is negative; 0 stands before the first event"}
	case q.Through < 0:
		return &InvalidError{What: "through", Reason: "is negative; 0 stands for the head"}
	case q.Limit < 0:
		return &InvalidError{What: "limit", Reason: "is negative; 0 stands for no limit"}
	case q.Filter.Share.Of < 0 || q.Filter.Share.Index < 0 || q.Filter.Share.Index >= max(q.Filter.Share.Of, 1):
		return &InvalidError{What: "filter's share", Reason: "is none: its index is from 0 to the number of shares less 1"}
	}
	return nil
}

// A Filter selects events of the log. An event passes when its type is one of
// Types, its stream's category one of Categories and its stream in Share; what is
// empty lets everything pass.
type Filter struct {
	Types      []EventType
	Categories []string
	Share      Share
}

// IsZero reports whether everything passes.
func (f Filter) IsZero() bool {
	return len(f.Types) == 0 && len(f.Categories) == 0 && f.Share.Of <= 1
}

// A Share is one of several equal parts that all streams are divided into, by the
// hash of their keys ([StreamID.ShareHash]). The zero value holds all streams.
type Share struct {
	// Index is the number of the share, from 0 to Of-1.
	Index, Of int
}

// Includes reports whether a stream is in the share.
func (s Share) Includes(stream StreamID) bool {
	return s.Of <= 1 || int(stream.ShareHash()%uint32(s.Of)) == s.Index
}

// Matcher returns a function that tells whether an event of a stream and type
// passes. The function is safe for concurrent use and does not see later changes
// of f.
func (f Filter) Matcher() func(StreamID, EventType) bool {
	types := make(map[EventType]struct{}, len(f.Types))
	for _, t := range f.Types {
		types[t] = struct{}{}
	}
	categories := make(map[string]struct{}, len(f.Categories))
	for _, c := range f.Categories {
		categories[c] = struct{}{}
	}
	return func(s StreamID, t EventType) bool {
		if len(types) > 0 {
			if _, ok := types[t]; !ok {
				return false
			}
		}
		if len(categories) > 0 {
			if _, ok := categories[s.Category()]; !ok {
				return false
			}
		}
		return f.Share.Includes(s)
	}
}
