package mongostore

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestEveryKindHasALabelOfItsOwn(t *testing.T) {
	t.Parallel()
	seen := map[string]Kind{}
	for k := range kindNames() {
		label := k.Label()
		require.Regexp(t, `^[a-z]+(_[a-z]+)*$`, label, "%v", k)
		require.NotEqual(t, "unclassified", label, "%v", k)
		require.NotContains(t, seen, label)
		seen[label] = k
	}
	require.Equal(t, "unclassified", Kind(0).Label())
}
