package simstore

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

type letterScope struct {
	projection string
	version    int
}

type letterKey struct {
	key      string
	position eventstore.Position
}

// park writes and removes dead letters.
func (s *Store) park(parked []projection.DeadLetter, unparked []projection.LetterID) {
	for _, l := range parked {
		l.Event = l.Event.Clone()
		l.First, l.Last = cutTime(l.First), cutTime(l.Last)
		s.letters.update(letterScope{l.Projection, l.Version}, func(row *map[letterKey]projection.DeadLetter) {
			if *row == nil {
				*row = map[letterKey]projection.DeadLetter{}
			}
			(*row)[letterKey{l.Key, l.Position}] = l
		})
	}
	for _, id := range unparked {
		s.letters.update(letterScope{id.Projection, id.Version}, func(row *map[letterKey]projection.DeadLetter) {
			delete(*row, letterKey{id.Key, id.Position})
		})
	}
}

func cutTime(t time.Time) time.Time { return time.UnixMilli(t.UnixMilli()).UTC() }

// DeadLetters implements [projection.DeadLetterStore].
func (s *Store) DeadLetters(ctx context.Context, q projection.LetterQuery) ([]projection.DeadLetter, error) {
	if err := s.begin(ctx, OpDeadLetters, ""); err != nil {
		return nil, err
	}
	if q.Limit < 0 {
		return nil, invalidf("limit", "is negative; 0 stands for no limit")
	}
	s.letters.mu.Lock()
	defer s.letters.mu.Unlock()
	var letters []projection.DeadLetter
	for id, l := range s.letters.rows[letterScope{q.Projection, q.Version}] {
		if id.position > q.After && (q.Key == "" || id.key == q.Key) {
			l.Event = l.Event.Clone()
			letters = append(letters, l)
		}
	}
	slices.SortFunc(letters, func(a, b projection.DeadLetter) int {
		return cmp.Or(cmp.Compare(a.Position, b.Position), strings.Compare(a.Key, b.Key))
	})
	if q.Limit > 0 && len(letters) > q.Limit {
		letters = letters[:q.Limit]
	}
	return letters, nil
}

// ParkedKeys implements [projection.DeadLetterStore].
func (s *Store) ParkedKeys(ctx context.Context, name string, version int) (map[string]int, error) {
	if err := s.begin(ctx, OpParkedKeys, ""); err != nil {
		return nil, err
	}
	s.letters.mu.Lock()
	defer s.letters.mu.Unlock()
	keys := map[string]int{}
	for id := range s.letters.rows[letterScope{name, version}] {
		keys[id.key]++
	}
	return keys, nil
}

// DropDeadLetters implements [projection.DeadLetterStore].
func (s *Store) DropDeadLetters(ctx context.Context, name string, version int) error {
	if err := s.begin(ctx, OpDropDeadLetters, ""); err != nil {
		return err
	}
	s.letters.mu.Lock()
	defer s.letters.mu.Unlock()
	delete(s.letters.rows, letterScope{name, version})
	return nil
}
