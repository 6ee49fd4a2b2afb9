package readmodel

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
)

// BenchmarkInline appends an event to a new stream and to one that has a document
// already, with an inline projection and without.
func BenchmarkInline(b *testing.B) {
	for _, name := range []string{"new", "known"} {
		b.Run(name, func(b *testing.B) {
			e := setup(b)
			in, err := e.Inline(b.Context(), benchRegistry(), summaries())
			require.NoError(b, err)
			appendTo := func(store eventstore.Appender, kind string) func(i int) error {
				return func(i int) error {
					if name == "known" {
						i = 0
					}
					return appendOne(b.Context(), store, fmt.Sprint(kind, i))
				}
			}
			takeTurns(b, 1, turn{"inline", appendTo(in, "inline")}, turn{"plain", appendTo(e.store, "plain")})
		})
	}
}

func appendOne(ctx context.Context, store eventstore.Appender, order string) error {
	events, err := benchRegistry().Encode(lineAdded{Order: order, Article: "article-4711", Amount: 3, Price: 1999})
	if err != nil {
		return err
	}
	_, err = eventstore.Append(ctx, store, eventstore.StreamID("order-"+order), eventstore.Any, events...)
	return err
}
