package eventstore_test

import (
	"fmt"
	"hash/fnv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
)

func TestShare(t *testing.T) {
	t.Parallel()
	for i := range 200 {
		stream := eventstore.NewStreamID("order", fmt.Sprint(i))
		h := fnv.New32a()
		_, _ = h.Write([]byte(stream.Key()))
		require.Equal(t, h.Sum32(), stream.ShareHash())
		in := 0
		for index := range 7 {
			f := eventstore.Filter{Share: eventstore.Share{Index: index, Of: 7}}
			require.False(t, f.IsZero())
			if f.Matcher()(stream, "x") {
				in++
			}
		}
		require.Equal(t, 1, in, "a stream is in one share")
		require.True(t, eventstore.Share{}.Includes(stream))
	}
	require.Equal(t, eventstore.StreamID("order-7").ShareHash(), eventstore.StreamID("payment-7").ShareHash())
	require.NotEqual(t, eventstore.StreamID("order").ShareHash(), eventstore.StreamID("payment").ShareHash(), "without a key the name counts")
	for _, bad := range []eventstore.Share{{Index: 2, Of: 2}, {Index: -1, Of: 2}, {Of: -1}, {Index: 1}} {
		require.ErrorIs(t, eventstore.LogQuery{Filter: eventstore.Filter{Share: bad}}.Validate(), eventstore.ErrInvalid)
	}
	require.NoError(t, eventstore.LogQuery{Filter: eventstore.Filter{Share: eventstore.Share{Index: 1, Of: 2}}}.Validate())
}
