package order_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/mqltest"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/order"
)

func TestExpandRefusesParallelArrays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ doc, err string }{
		{`{a: [1, 2], b: [3]}`, "cannot index parallel arrays [b] [a]"}, // also where only one element is taken
		{`{a: [{"0": 1}], b: [3]}`, "cannot index parallel arrays [b] [a]"},
		{`{a: [], b: [3]}`, "cannot index parallel arrays [b] [a]"},
		{`{a: {"0": [1]}, b: [3]}`, "cannot index parallel arrays [b] [0]"},
		{`{a: "x", b: [3]}`, ""},
		{`{a: [1, 2], b: 3}`, ""},
	} {
		err := order.Expand([]string{"a.0", "b"}, mqltest.Short(t, c.doc), func([]bson.RawValue, uint64) error { return nil })
		if c.err == "" {
			require.NoError(t, err, c.doc)
			continue
		}
		assert.EqualError(t, err, c.err, c.doc)
	}
}
