package mongostore

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
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
		tok, err := decodeToken(res.Token)
		require.NoError(t, err)
		for _, s := range []*Store{sequencing, watching, srv.open(t, never)} { // the last one reads
			_, err := s.Wait(ctx, eventstore.Position(n))
			require.NoError(t, err)
			require.GreaterOrEqual(t, s.observed.Load(), packTime(tok.until))
		}
	}
}
