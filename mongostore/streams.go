package mongostore

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
)

// StreamInfo implements [eventstore.Streams].
func (s *Store) StreamInfo(ctx context.Context, stream eventstore.StreamID) (eventstore.StreamInfo, error) {
	if err := s.readyFor(ctx, stream); err != nil {
		return eventstore.StreamInfo{}, err
	}
	var st streamState
	err := s.onPresentClient(ctx, func(s *Store) (err error) {
		st, err = s.state(ctx, stream)
		return err
	})
	if err != nil {
		return eventstore.StreamInfo{}, s.failed(ctx, fmt.Sprintf("ask for stream %q", stream), err)
	}
	return st.StreamInfo, nil
}

// Delete implements [eventstore.Streams].
func (s *Store) Delete(ctx context.Context, stream eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	return s.onPresentClient(ctx, func(s *Store) error { return s.deleteStream(ctx, stream, expected) })
}

func (s *Store) deleteStream(ctx context.Context, stream eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	return s.change(ctx, "delete", stream, expected, func(ctx context.Context, st streamState) error {
		switch {
		case st.State == eventstore.Tombstoned:
			return &eventstore.TombstonedError{Stream: stream}
		case st.Head == 0 || st.State == eventstore.Deleted:
			return nil
		}
		if err := expect(st, expected); err != nil {
			return err
		}
		// An append that expects the stream to exist reads its record and
		// inserts at this key: it meets either the guard or the deletion.
		guard := []bson.Raw{encodeMarker(s.ids.next(), stream, st.Head+1, guardType)}
		if _, err := s.events.InsertMany(ctx, guard); err != nil {
			return err
		}
		if err := s.deleteMarkers(ctx, guard); err != nil {
			return err
		}
		return s.setRecord(ctx, stream, bson.D{
			{Key: "deleted", Value: int64(st.Head)},
			{Key: "first", Value: int64(st.Head + 1)},
		})
	})
}

// Tombstone implements [eventstore.Streams].
func (s *Store) Tombstone(ctx context.Context, stream eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	return s.onPresentClient(ctx, func(s *Store) error { return s.tombstoneStream(ctx, stream, expected) })
}

func (s *Store) tombstoneStream(ctx context.Context, stream eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	return s.change(ctx, "tombstone", stream, expected, func(ctx context.Context, st streamState) error {
		if st.State == eventstore.Tombstoned {
			return nil
		}
		if err := expect(st, expected); err != nil {
			return err
		}
		return s.tombstone(ctx, st)
	})
}

// tombstone takes the version after the head for good, so that an append by a
// process that knows the head but not of the tombstone meets a taken key.
func (s *Store) tombstone(ctx context.Context, st streamState) error {
	if _, err := s.events.InsertOne(ctx, encodeMarker(s.ids.next(), st.Stream, st.Head+1, tombstoneType)); err != nil {
		return err
	}
	return s.setRecord(ctx, st.Stream, bson.D{{Key: "tombstoned", Value: true}})
}

// Truncate implements [eventstore.Streams].
func (s *Store) Truncate(ctx context.Context, stream eventstore.StreamID, before eventstore.Version) error {
	return s.onPresentClient(ctx, func(s *Store) error { return s.truncateStream(ctx, stream, before) })
}

func (s *Store) truncateStream(ctx context.Context, stream eventstore.StreamID, before eventstore.Version) error {
	return s.change(ctx, "truncate", stream, eventstore.Any, func(ctx context.Context, st streamState) error {
		switch {
		case st.State == eventstore.Tombstoned:
			return &eventstore.TombstonedError{Stream: stream}
		case before < 0 || before > st.Head+1:
			return &eventstore.InvalidError{What: "before", Reason: fmt.Sprintf("is %d; stream %q can be truncated before 1 to %d", before, stream, st.Head+1)}
		case before <= st.First:
			return nil
		}
		return s.setRecord(ctx, stream, bson.D{{Key: "first", Value: int64(before)}})
	})
}

// Erase implements [eventstore.Streams]. It also removes the stream's snapshots.
// The data may be found in backups, and in the oplog until that has moved on.
//
// It is made in steps: when it fails, the stream is tombstoned or untouched, and
// repeating it finishes what is left.
func (s *Store) Erase(ctx context.Context, stream eventstore.StreamID) error {
	return s.onPresentClient(ctx, func(s *Store) error { return s.eraseStream(ctx, stream) })
}

func (s *Store) eraseStream(ctx context.Context, stream eventstore.StreamID) error {
	err := s.change(ctx, "erase", stream, eventstore.Any, func(ctx context.Context, st streamState) error {
		if st.State == eventstore.Tombstoned {
			return nil
		}
		return s.tombstone(ctx, st)
	})
	if err != nil {
		return err
	}
	_, err = s.events.UpdateMany(ctx,
		bson.D{
			{Key: "stream_id", Value: stream},
			{Key: "event_type", Value: bson.D{{Key: "$nin", Value: bson.A{string(eventstore.ErasedType), tombstoneType, guardType}}}},
		},
		bson.D{
			{Key: "$set", Value: bson.D{{Key: "event_type", Value: string(eventstore.ErasedType)}}},
			{Key: "$unset", Value: bson.D{
				{Key: "data", Value: ""},
				{Key: "metadata", Value: ""},
				{Key: "timestamp", Value: ""},
				{Key: "event_id", Value: ""},
				{Key: "schema", Value: ""},
			}},
		})
	if err != nil {
		return s.failed(ctx, fmt.Sprintf("erase %q", stream), err)
	}
	return s.Snapshots().Delete(ctx, stream)
}

func (s *Store) readyFor(ctx context.Context, stream eventstore.StreamID) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	return stream.Validate()
}

// expect compares a stream with what is expected of it.
func expect(st streamState, expected eventstore.ExpectedVersion) error {
	if st.State == eventstore.Tombstoned {
		return &eventstore.TombstonedError{Stream: st.Stream}
	}
	if !expected.Matches(st.StreamInfo) {
		return &eventstore.ConflictError{Stream: st.Stream, Expected: expected, Actual: st.Head}
	}
	return nil
}

// change runs fn on a stream's state in a transaction: the caller's, or one of
// its own.
func (s *Store) change(ctx context.Context, op string, stream eventstore.StreamID, expected eventstore.ExpectedVersion, fn func(context.Context, streamState) error) error {
	if err := s.readyFor(ctx, stream); err != nil {
		return err
	}
	if err := expected.Validate(); err != nil {
		return err
	}
	within := func(ctx context.Context) error {
		st, err := s.stateWithin(ctx, stream)
		if err != nil {
			return err
		}
		return duplicateIsTransient(fn(ctx, st))
	}
	verb := op
	op = fmt.Sprintf("%s %q", op, stream)
	if inTransaction(ctx) {
		return s.failed(ctx, op, within(ctx))
	}
	_, err := detached(ctx, s, func(err error) error { return err }, func(ctx context.Context) (struct{}, error) {
		sess, err := s.session()
		if err != nil {
			return struct{}{}, s.failed(ctx, op, err)
		}
		defer sess.EndSession(context.WithoutCancel(ctx))
		err = transact(ctx, sess, s.answer, s.again(verb), within)
		s.observe(sess)
		if ctx.Err() != nil && s.life.Err() == nil && (ofContext(err) || isRetryable(err)) {
			return struct{}{}, s.givenUp(op, err)
		}
		return struct{}{}, s.failed(ctx, op, err)
	})
	return err
}

func (s *Store) setRecord(ctx context.Context, stream eventstore.StreamID, fields bson.D) error {
	_, err := s.streams.UpdateOne(ctx,
		bson.D{{Key: "_id", Value: stream}},
		bson.D{{Key: "$set", Value: fields}},
		options.UpdateOne().SetUpsert(true))
	return err
}
