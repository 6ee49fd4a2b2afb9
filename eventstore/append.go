package eventstore

import (
	"context"

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
