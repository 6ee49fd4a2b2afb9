package projection_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// A slowRow is a record that takes a while to be read: so long before it is looked
// at, so long afterwards.
type slowRow struct {
	projection.RowStore

	mu    sync.Mutex
	row   projection.Row
	waits []struct{ before, after time.Duration }
}

func (s *slowRow) LoadRow(context.Context, string) (projection.Row, error) {
	s.mu.Lock()
	wait := s.waits[0]
	s.waits = s.waits[1:]
	s.mu.Unlock()
	time.Sleep(wait.before)
	s.mu.Lock()
	row := s.row
	s.mu.Unlock()
	time.Sleep(wait.after)
	return row, nil
}

// save makes a version the current one.
func (s *slowRow) save(t *testing.T, version int) {
	t.Helper()
	type versionRecord struct {
		Version int `json:"version"`
	}
	data, err := eventstore.NewBSONCodec().Marshal(struct {
		Current  int             `json:"current"`
		Versions []versionRecord `json:"versions"`
	}{version, []versionRecord{{1}, {2}}})
	require.NoError(t, err)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.row = projection.Row{Name: s.row.Name, Revision: s.row.Revision + 1, Data: data}
}

// Of two answers that are under way at the same time, the one that was asked for
// later may be the older one: it takes nobody back behind a promotion, or behind a
// rollback.
func TestResolverDoesNotGoBack(t *testing.T) {
	t.Parallel()
	for name, versions := range map[string][2]int{"promotion": {1, 2}, "rollback": {2, 1}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				rows := &slowRow{waits: []struct{ before, after time.Duration }{
					{before: 3 * time.Second}, // asked first, and told what is after the change
					{after: 4 * time.Second},  // asked second, and told what was before it
				}}
				rows.save(t, versions[0])
				r := projection.NewResolver(rows, time.Hour)
				resolve := func() int {
					_, version, err := r.Model(t.Context(), "p")
					assert.NoError(t, err)
					return version
				}
				first, second := make(chan int, 1), make(chan int, 1)
				go func() { first <- resolve() }()
				time.Sleep(time.Second)
				go func() { second <- resolve() }()
				time.Sleep(time.Second)
				rows.save(t, versions[1])
				require.Equal(t, versions[1], <-first)
				require.Equal(t, versions[1], resolve())
				require.Equal(t, versions[1], <-second)
				require.Equal(t, versions[1], resolve())
			})
		})
	}
}
