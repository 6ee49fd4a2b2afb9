package mongostore

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore/mongosim"
)

// Who was told of a position reads as of its time or later, also from a primary that
// does not know yet that what its predecessor has told is there to stay. Whether the
// store has written the log itself, watched or read it makes no difference.
func TestReadsAreNotBehindTheLogThatWasSeen(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	ctx := testContext(t)
	writer, sequencing, watching := srv.open(t, never), srv.open(t), srv.open(t, never)
	for n := range 5 {
		res, err := eventstore.Append(ctx, writer, "a-1", eventstore.Any, event(n))
		require.NoError(t, err)
		_, err = sequencing.Await(ctx, res.Token)
		require.NoError(t, err)
		last, err := writer.lastLogDoc(ctx)
		require.NoError(t, err)
		for _, s := range []*Store{sequencing, watching, srv.open(t, never)} { // the last one reads
			_, err := s.Wait(ctx, eventstore.Position(n))
			require.NoError(t, err)
			require.GreaterOrEqual(t, s.observed.Load(), packTime(last.mark), "the time of the event's commit")
		}
	}
}

// The token of an append whose reply was lost says when it was committed, as that of
// any other does: it is found in the log without a search of all of it.
func TestTokenOfALostReplyIsAsGood(t *testing.T) {
	t.Parallel()
	srv := simFor(t)
	srv.migrate(t)
	ctx := testContext(t)
	s := srv.open(t, never)
	require.NoError(t, srv.sim.FailCommand(mongosim.FailPoint{Commands: []string{"insert"}, Times: 1, LoseReply: true}))
	res, err := eventstore.Append(ctx, s, "a-1", eventstore.Any, event(1))
	require.NoError(t, err)
	tok, err := decodeToken(res.Token)
	require.NoError(t, err)
	sequencing := srv.open(t)
	other, err := eventstore.Append(ctx, sequencing, "b-1", eventstore.Any, event(1))
	require.NoError(t, err)
	for _, token := range []eventstore.Token{res.Token, other.Token} {
		_, err = sequencing.Await(ctx, token)
		require.NoError(t, err)
	}
	later, err := decodeToken(other.Token)
	require.NoError(t, err)
	require.NotZero(t, tok.since)
	require.NotZero(t, tok.until)
	require.LessOrEqual(t, packTime(tok.since), packTime(tok.until))
	require.Less(t, packTime(tok.until), packTime(later.until))
}
