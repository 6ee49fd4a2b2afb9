package mongostore

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
)

func TestAppendReadLog(t *testing.T) {
	t.Parallel()
	srv := migrated(t)
	s := srv.open(t)
	ctx := testContext(t)
	events := eventsUpTo(3)
	res, err := eventstore.Append(ctx, s, "order-1", eventstore.NoStream, events[0])
	require.NoError(t, err)
	require.Equal(t, eventstore.Version(1), res.Streams[0].Last)
	res, err = eventstore.Append(ctx, s, "order-1", eventstore.Exact(1), events[1:]...)
	require.NoError(t, err)
	require.Equal(t, eventstore.StreamResult{Stream: "order-1", First: 2, Last: 3}, res.Streams[0])

	got, err := eventstore.Collect(s.ReadStream(ctx, "order-1", eventstore.StreamQuery{}))
	require.NoError(t, err)
	require.Len(t, got, 3)
	for i, e := range got {
		require.Equal(t, events[i].ID, e.ID)
		require.Equal(t, eventstore.Version(i+1), e.Version)
		require.Equal(t, events[i].Data, e.Data)
	}
	p, err := s.Await(ctx, res.Token)
	require.NoError(t, err)
	require.Equal(t, eventstore.Position(3), p)
	got, err = eventstore.Collect(s.ReadLog(ctx, eventstore.LogQuery{}))
	require.NoError(t, err)
	require.Len(t, got, 3)
	require.Equal(t, eventstore.Position(3), got[2].Position)

	_, err = eventstore.Append(ctx, s, "order-1", eventstore.Exact(5), event(9))
	var conflict *eventstore.ConflictError
	require.ErrorAs(t, err, &conflict)
	require.Equal(t, eventstore.Version(3), conflict.Actual)

	res, err = eventstore.Append(ctx, s, "order-1", eventstore.Exact(1), events[1:]...)
	require.NoError(t, err)
	require.True(t, res.Duplicate)
}
