package mongostore

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/eventstore"
)

func TestInsertCommand(t *testing.T) {
	t.Parallel()
	docs := make([]bson.Raw, 12) // more than nine: indexes of two digits
	want := bson.A{}
	for i := range docs {
		doc, err := bson.Marshal(bson.D{{Key: "_id", Value: int32(i)}})
		require.NoError(t, err)
		docs[i] = doc
		want = append(want, bson.D{{Key: "_id", Value: int32(i)}})
	}
	var got bson.D
	require.NoError(t, bson.Unmarshal(insertCommand("events", false, true, docs), &got))
	require.Equal(t, bson.D{
		{Key: "insert", Value: "events"},
		{Key: "ordered", Value: false},
		{Key: "writeConcern", Value: bson.D{{Key: "w", Value: "majority"}}},
		{Key: "documents", Value: want},
	}, got)
	got = nil
	require.NoError(t, bson.Unmarshal(insertCommand("log", true, false, docs[:1]), &got))
	require.Equal(t, bson.D{{Key: "insert", Value: "log"}, {Key: "documents", Value: want[:1]}}, got)
}

// An insert goes by itself whatever session its context has, unless that runs a
// transaction, of which it is part then.
func TestInsertInSessions(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	sess, err := srv.client.StartSession()
	require.NoError(t, err)
	defer sess.EndSession(ctx)
	insertOne := func(id int) (bson.Timestamp, error) {
		doc, err := bson.Marshal(bson.D{{Key: "_id", Value: id}})
		require.NoError(t, err)
		return insert(mongo.NewSessionContext(ctx, sess), s.meta, true, doc)
	}
	at, err := insertOne(1)
	require.NoError(t, err)
	require.False(t, at.IsZero())
	require.Nil(t, sess.OperationTime(), "the session was not used")

	at, err = insertOne(1)
	require.True(t, mongo.IsDuplicateKeyError(err), "%v", err)
	require.False(t, at.IsZero(), "a refusal tells the time as well")

	require.NoError(t, sess.StartTransaction())
	_, err = insertOne(2)
	require.NoError(t, err)
	require.NoError(t, sess.AbortTransaction(ctx))
	require.ErrorIs(t, s.meta.FindOne(ctx, bson.D{{Key: "_id", Value: 2}}).Err(), mongo.ErrNoDocuments)
}

// In a group of which the server has refused some, each append is told its own, and
// what may pass is left to be sent again whatever befell the others.
func TestPartlyRefusedGroup(t *testing.T) {
	t.Parallel()
	srv := simFor(t)
	srv.migrate(t)
	s := srv.open(t)
	group := make([]*pending, 4)
	for i, stream := range []eventstore.StreamID{"taken-1", "later-1", "never-1", "fine-1"} {
		a := newPending(eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{Stream: stream, Events: eventsUpTo(1)}}}, time.Now())
		require.NoError(t, s.encode(a))
		group[i] = a
	}
	left, reason := s.settleEach(group, mongo.WriteException{WriteErrors: mongo.WriteErrors{
		{Index: 0, Code: codeDuplicateKey}, {Index: 1, Code: 91}, {Index: 2, Code: 121},
	}}, time.Now(), bson.Timestamp{T: 7})
	require.Equal(t, []*pending{group[1]}, left)
	require.True(t, isRetryable(reason), "%v", reason)
	require.True(t, group[1].maybe)
	require.Equal(t, lost, group[0].outcome)
	require.Equal(t, failed, group[2].outcome)
	require.Error(t, group[2].err)
	require.Equal(t, written, group[3].outcome)
	require.Equal(t, eventstore.Version(1), s.heads.get("fine-1"))

	left, reason = s.settleEach(group[3:], mongo.WriteException{WriteConcernError: &mongo.WriteConcernError{Code: 64}}, time.Now(), bson.Timestamp{})
	require.Len(t, left, 1)
	require.True(t, isRetryable(reason))
	require.True(t, group[3].maybe)
}
