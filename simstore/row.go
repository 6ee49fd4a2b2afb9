package simstore

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/annals-es/annals/projection"
)

// LoadRow implements [projection.RowStore].
func (s *Store) LoadRow(ctx context.Context, name string) (projection.Row, error) {
	if err := s.begin(ctx, OpLoadRow, ""); err != nil {
		return projection.Row{}, err
	}
	s.rows.mu.Lock()
	defer s.rows.mu.Unlock()
	row := s.rows.rows[name]
	row.Name, row.Data = name, slices.Clone(row.Data)
	return row, nil
}

// SaveRow implements [projection.RowStore].
func (s *Store) SaveRow(ctx context.Context, r projection.Row) (projection.Row, error) {
	if err := s.ready(ctx); err != nil {
		return projection.Row{}, err
	}
	if r.Name == "" {
		return projection.Row{}, invalidf("row's name", "is empty")
	}
	if err := s.models.codec.Unmarshal(r.Data, &struct{}{}); err != nil {
		return projection.Row{}, err
	}
	if err := s.begin(ctx, OpSaveRow, ""); err != nil {
		return projection.Row{}, err
	}
	s.rows.mu.Lock()
	defer s.rows.mu.Unlock()
	stored := s.rows.rows[r.Name]
	if r.Revision != projection.AnyRevision && r.Revision != stored.Revision {
		return projection.Row{}, fmt.Errorf("save row %q at revision %d: %w: it is at %d", r.Name, r.Revision, projection.ErrMoved, stored.Revision)
	}
	stored = projection.Row{Name: r.Name, Revision: stored.Revision + 1, Data: slices.Clone(r.Data), At: cutTime(s.clock())}
	if s.rows.rows == nil {
		s.rows.rows = map[string]projection.Row{}
	}
	s.rows.rows[r.Name] = stored
	stored.Data = slices.Clone(stored.Data)
	return stored, nil
}

// DeleteRow implements [projection.RowStore].
func (s *Store) DeleteRow(ctx context.Context, name string) error {
	if err := s.begin(ctx, OpDeleteRow, ""); err != nil {
		return err
	}
	s.rows.mu.Lock()
	defer s.rows.mu.Unlock()
	delete(s.rows.rows, name)
	return nil
}

// Rows implements [projection.RowStore].
func (s *Store) Rows(ctx context.Context, prefix string) ([]projection.Row, error) {
	if err := s.begin(ctx, OpRows, ""); err != nil {
		return nil, err
	}
	s.rows.mu.Lock()
	defer s.rows.mu.Unlock()
	var rows []projection.Row
	for name, r := range s.rows.rows {
		if strings.HasPrefix(name, prefix) {
			r.Data = slices.Clone(r.Data)
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b projection.Row) int { return strings.Compare(a.Name, b.Name) })
	return rows, nil
}

// Now implements [projection.RowStore].
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	if err := s.begin(ctx, OpNow, ""); err != nil {
		return time.Time{}, err
	}
	return s.clock().UTC(), nil
}
