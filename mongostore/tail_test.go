package mongostore

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/eventstore"
)

// A sequencer that starts while another one writes must not leave its own store's
// readers behind: what it writes itself comes to them from its memory alone.
func TestSequencerStartsWhileAnotherWrites(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	ctx := testContext(t)
	s, other := srv.open(t, never), srv.open(t, never)
	for round := range 20 {
		_, err := eventstore.Append(ctx, other, "a-1", eventstore.Any, event(round))
		require.NoError(t, err)
		run, cancel := context.WithCancel(ctx)
		ended := make(chan struct{})
		go func() { defer close(ended); _ = newSequencer(other.follow).run(run) }()
		own, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() { defer close(done); _ = newSequencer(s.follow).run(own) }()
		res, err := eventstore.Append(ctx, s, "a-1", eventstore.Any, event(round))
		require.NoError(t, err)
		_, err = s.Await(ctx, res.Token)
		require.NoError(t, err)
		cancel()
		<-ended
		// Alone now, and no change stream tells s of what it writes.
		res, err = eventstore.Append(ctx, other, "a-1", eventstore.Any, event(round))
		require.NoError(t, err)
		decoded, err := decodeToken(res.Token)
		require.NoError(t, err)
		require.Eventually(t, func() bool { _, ok := s.tail.find(decoded.ids); return ok }, patience, poll)
		stop()
		<-done
	}
}

func TestTailRefusesGaps(t *testing.T) {
	t.Parallel()
	tl := newTail(4)
	doc := func(first eventstore.Position, n int) logDoc {
		d := logDoc{first: first}
		for range n {
			d.entries = append(d.entries, logEntry{id: bson.NewObjectID(), stream: "a-1", typ: "t", version: 1})
		}
		return d
	}
	require.True(t, tl.add(doc(1, 3)))
	require.False(t, tl.add(doc(5, 1)))
	require.True(t, tl.add(doc(2, 2)), "known already")
	second := doc(4, 3)
	require.True(t, tl.add(second))
	head, known, _, _ := tl.state()
	require.True(t, known)
	require.Equal(t, eventstore.Position(6), head)
	require.Nil(t, tl.after(0), "dropped for the limit")
	require.Equal(t, second.entries[1:], tl.after(4))
	p, ok := tl.find([]bson.ObjectID{second.entries[2].id, second.entries[0].id})
	require.True(t, ok)
	require.Equal(t, eventstore.Position(6), p)
	tl.skip(10, bson.Timestamp{})
	require.Nil(t, tl.after(4))
	require.True(t, tl.add(doc(11, 1)))
}

func TestTailReachesATime(t *testing.T) {
	t.Parallel()
	tl := newTail(4)
	require.True(t, tl.reaches(bson.Timestamp{}), "of a token that does not know its time")
	require.False(t, tl.reaches(bson.Timestamp{T: 1}))
	entry := logEntry{id: bson.NewObjectID(), stream: "a-1", typ: "t", version: 1}
	require.True(t, tl.add(logDoc{first: 1, entries: []logEntry{entry}, mark: bson.Timestamp{T: 5, I: 2}}))
	require.True(t, tl.reaches(bson.Timestamp{T: 5, I: 2}))
	require.False(t, tl.reaches(bson.Timestamp{T: 5, I: 3}))
}
