package mongostore

import (
	"context"
	"errors"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
)

// A streamState is what is known of a stream at a moment.
type streamState struct {
	eventstore.StreamInfo
	// restart is the head that the stream had when it was last deleted.
	restart eventstore.Version
}

// A streamRecord is a document of the streams collection, which has one for each
// stream that was deleted, tombstoned or truncated.
//
// Deletion leaves no state to be changed by the next append: the stream is
// deleted for as long as its head is the one of the deletion.
type streamRecord struct {
	ID string `bson:"_id"`
	// First is the first version to be read, zero standing for 1.
	First int64 `bson:"first,omitempty"`
	// Deleted is the head at the last deletion, zero for none.
	Deleted int64 `bson:"deleted,omitempty"`
	// Tombstoned closes the stream for good.
	Tombstoned bool `bson:"tombstoned,omitempty"`
}

// state combines a stream's record with its head.
func (r streamRecord) state(stream eventstore.StreamID, head eventstore.Version) streamState {
	st := streamState{
		StreamInfo: eventstore.StreamInfo{Stream: stream, Head: head, First: eventstore.Version(max(r.First, 1))},
		restart:    eventstore.Version(r.Deleted),
	}
	switch {
	case r.Tombstoned:
		st.State = eventstore.Tombstoned
		st.First = head + 1
	case r.Deleted > 0 && st.restart == head:
		st.State = eventstore.Deleted
		st.First = head + 1
	}
	return st
}

func (s *Store) streamRecord(ctx context.Context, stream eventstore.StreamID) (r streamRecord, err error) {
	err = s.streams.FindOne(ctx, bson.D{{Key: "_id", Value: stream}}).Decode(&r)
	if errors.Is(err, mongo.ErrNoDocuments) {
		err = nil
	}
	return r, err
}

// head returns a stream's last version. A tombstone's marker does not count.
func (s *Store) head(ctx context.Context, stream eventstore.StreamID) (eventstore.Version, error) {
	raw, err := s.events.FindOne(ctx,
		bson.D{{Key: "stream_id", Value: stream}},
		options.FindOne().SetSort(bson.D{{Key: "stream_id", Value: -1}, {Key: "version", Value: -1}}).
			SetProjection(bson.D{{Key: "_id", Value: 0}, {Key: "version", Value: 1}, {Key: "event_type", Value: 1}}),
	).Raw()
	switch {
	case errors.Is(err, mongo.ErrNoDocuments):
		return 0, nil
	case err != nil:
		return 0, err
	}
	var doc struct {
		Version eventstore.Version   `bson:"version"`
		Type    eventstore.EventType `bson:"event_type"`
	}
	if err := bson.Unmarshal(raw, &doc); err != nil {
		return 0, err
	}
	if isMarker(doc.Type) {
		doc.Version--
	}
	return doc.Version, nil
}

// stateWithin reads a stream's state in the session that ctx carries. In a
// transaction both reads have the same snapshot; elsewhere the record is read
// after the head, so that a deletion is never missed that the head shows to be
// over.
func (s *Store) stateWithin(ctx context.Context, stream eventstore.StreamID) (streamState, error) {
	head, err := s.head(ctx, stream)
	if err != nil {
		return streamState{}, err
	}
	r, err := s.streamRecord(ctx, stream)
	if err != nil {
		return streamState{}, err
	}
	return r.state(stream, head), nil
}

// state reads a stream's state in a session of its own.
func (s *Store) state(ctx context.Context, stream eventstore.StreamID) (streamState, error) {
	ctx, done, err := s.reading(ctx)
	if err != nil {
		return streamState{}, err
	}
	defer done()
	st, err := s.stateWithin(ctx, stream)
	if err == nil && !inTransaction(ctx) {
		s.heads.learn(stream, st.Head)
	}
	return st, err
}
