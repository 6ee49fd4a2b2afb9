package projectiontest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/projection/projectiontest"
)

type total struct {
	Sum int `json:"sum"`
}

func totals(key func(set, eventstore.Event) string) projection.Fold[total] {
	return projection.Fold[total]{Name: "totals", Handlers: []projection.FoldHandler[total]{
		projection.FoldOn(key, func(t total, s set, _ eventstore.Event) total { return total{Sum: t.Sum + s.Value} }),
	}}
}

func TestFolded(t *testing.T) {
	t.Parallel()
	byKey := totals(func(s set, _ eventstore.Event) string { return s.Key })
	require.Equal(t, map[string]total{"a": {4}, "b": {2}}, projectiontest.Folded(t, registry(), byKey, set{"a", 1}, set{"b", 2}, set{"a", 3}))
	require.Equal(t, map[string]total{"1": {1}, "2": {5}}, projectiontest.Folded(t, registry(), totals(nil),
		set{"a", 1}, projectiontest.In{Stream: "x-2", Payload: set{"b", 5}}))
	require.Empty(t, projectiontest.Folded(t, registry(), byKey))
}

func TestFoldedFails(t *testing.T) {
	t.Parallel()
	failing := projection.Fold[total]{Name: "totals", Handlers: []projection.FoldHandler[total]{
		projection.ReduceOn(nil, func(*total, set, eventstore.Event) (*total, error) { return nil, errors.New("no") }),
	}}
	updating := projection.Fold[total]{Name: "totals", Handlers: []projection.FoldHandler[total]{
		projection.UpdateOn[total](nil, func(set, eventstore.Event) (any, error) { return projection.Patch{}, nil }),
	}}
	for want, fold := range map[string]projection.Fold[total]{"no": failing, "updated in part": updating, "has no handlers": {Name: "x"}} {
		f := &fatal{TB: t}
		func() {
			defer func() { _ = recover() }()
			projectiontest.Folded(f, registry(), fold, set{"a", 1})
		}()
		require.Contains(t, f.report, want)
	}
}

// A fatal test reports and panics, in place of ending the goroutine.
type fatal struct {
	testing.TB
	report string
}

func (f *fatal) Fatalf(format string, args ...any) {
	f.report = fmt.Sprintf(format, args...)
	panic(f.report)
}
