package mongostore

import (
	"context"
	"fmt"
	"iter"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
)

// streamBatch is how many events of a stream are asked for at a time. The server
// bounds a reply to 16 MiB besides.
const streamBatch = 4_096

// ReadStream implements [eventstore.StreamReader]. Within a transaction of the
// caller's it sees what the transaction has appended.
func (s *Store) ReadStream(ctx context.Context, stream eventstore.StreamID, q eventstore.StreamQuery) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		if err := s.ready(ctx); err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		if err := stream.Validate(); err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		if err := q.Validate(); err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		start := time.Now()
		r := streamReading{store: s, stream: stream, query: q, yield: yield}
		err := r.run(ctx)
		if r.count == 0 && s.reauthenticated(ctx, err) {
			err = r.run(ctx)
		}
		if r.left {
			return
		}
		err = s.failed(ctx, fmt.Sprintf("read stream %q", stream), err)
		if hook := s.cfg.Hooks.Read; hook != nil {
			hook(ReadStats{Events: r.count, Duration: time.Since(start), Err: err})
		}
		if err != nil {
			yield(eventstore.Event{}, err)
		}
	}
}

// A streamReading is one iteration over a stream.
type streamReading struct {
	store  *Store
	stream eventstore.StreamID
	query  eventstore.StreamQuery
	yield  func(eventstore.Event, error) bool

	decoder eventDecoder
	count   int
	left    bool // the consumer has left the loop
}

func (r *streamReading) run(ctx context.Context) error {
	ctx, stop := r.store.bounded(ctx)
	defer stop()
	r.store = r.store.enter(ctx)
	defer r.store.leave()
	inTxn := inTransaction(ctx)
	recordOf := func() (streamRecord, error) { return r.store.streamRecord(ctx, r.stream) }
	if !inTxn {
		// The record is read at the same time as the events: it says what of
		// them is hidden, and most streams have none.
		recordOf = r.ask(ctx)
	}
	reading, done, err := r.store.reading(ctx)
	if err != nil {
		return err
	}
	defer done()
	low := max(r.query.From, 1)
	if r.query.Direction == eventstore.Backward {
		low = 1
	}
	cur, err := r.find(reading, low)
	if err != nil {
		_, _ = recordOf()
		return err
	}
	record, err := recordOf()
	switch {
	case err != nil:
		closeCursor(reading, cur)
		return err
	case record.Tombstoned:
		closeCursor(reading, cur)
		return &eventstore.TombstonedError{Stream: r.stream}
	}
	first := eventstore.Version(max(record.First, record.Deleted+1, 1))
	if first > low {
		closeCursor(reading, cur)
		if cur, err = r.find(reading, first); err != nil {
			return err
		}
	}
	defer closeCursor(reading, cur)
	last, err := r.drain(reading, cur)
	if !inTxn {
		r.store.heads.learn(r.stream, last)
	}
	return err
}

// ask reads the stream's record concurrently; the function returned waits for
// it and must be called.
func (r *streamReading) ask(ctx context.Context) func() (streamRecord, error) {
	type answer struct {
		record streamRecord
		err    error
	}
	answered := make(chan answer, 1)
	go func() {
		ctx, done, err := r.store.reading(mongo.NewSessionContext(ctx, nil))
		if err != nil {
			answered <- answer{err: err}
			return
		}
		defer done()
		record, err := r.store.streamRecord(ctx, r.stream)
		answered <- answer{record, err}
	}()
	return func() (streamRecord, error) {
		a := <-answered
		return a.record, a.err
	}
}

// find opens a cursor on the versions from low on, in the query's direction.
func (r *streamReading) find(ctx context.Context, low eventstore.Version) (*mongo.Cursor, error) {
	versions := bson.D{{Key: "$gte", Value: int64(low)}}
	dir := 1
	if r.query.Direction == eventstore.Backward {
		dir = -1
		if r.query.From > 0 {
			versions = append(versions, bson.E{Key: "$lte", Value: int64(r.query.From)})
		}
	}
	opts := options.Find().
		SetSort(bson.D{{Key: "stream_id", Value: dir}, {Key: "version", Value: dir}}).
		SetBatchSize(streamBatch)
	if r.query.Limit > 0 {
		opts.SetLimit(int64(r.query.Limit))
	}
	return r.store.events.Find(ctx, bson.D{{Key: "stream_id", Value: r.stream}, {Key: "version", Value: versions}}, opts)
}

// drain yields what the cursor gives and returns the highest version seen.
func (r *streamReading) drain(ctx context.Context, cur *mongo.Cursor) (last eventstore.Version, err error) {
	r.decoder.stream = r.stream
	for cur.Next(ctx) {
		e, isEvent, err := r.decoder.decode(cur.Current)
		if err != nil {
			return last, err
		}
		if !isEvent {
			continue
		}
		last = max(last, e.Version)
		r.count++
		if !r.yield(e, nil) {
			r.left = true
			return last, nil
		}
		if err := ctx.Err(); err != nil {
			return last, err
		}
	}
	return last, cur.Err()
}

// closeCursor releases a cursor also when its context has ended.
func closeCursor(ctx context.Context, cur *mongo.Cursor) {
	if cur.ID() == 0 { // exhausted
		_ = cur.Close(ctx)
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), abortTimeout)
	defer cancel()
	_ = cur.Close(ctx)
}
