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

// A mailbox holds the letters of one version: those of each key by position.
type mailbox map[string][]projection.DeadLetter

// place returns the index of a position among letters, and whether it is there.
func place(letters []projection.DeadLetter, p eventstore.Position) (int, bool) {
	return slices.BinarySearchFunc(letters, p, func(l projection.DeadLetter, p eventstore.Position) int { return cmp.Compare(l.Position, p) })
}

// park writes and removes dead letters.
func (s *Store) park(parked []projection.DeadLetter, unparked []projection.LetterID) {
	for _, l := range parked {
		l.Event = l.Event.Clone()
		l.First, l.Last = cutTime(l.First), cutTime(l.Last)
		s.letters.update(letterScope{l.Projection, l.Version}, func(box *mailbox) {
			if *box == nil {
				*box = mailbox{}
			}
			letters := (*box)[l.Key]
			i, found := place(letters, l.Position)
			if found {
				letters[i] = l
			} else {
				(*box)[l.Key] = slices.Insert(letters, i, l)
			}
		})
	}
	for _, id := range unparked {
		s.letters.update(letterScope{id.Projection, id.Version}, func(box *mailbox) {
			letters := (*box)[id.Key]
			i, found := place(letters, id.Position)
			switch {
			case found && len(letters) == 1:
				delete(*box, id.Key)
			case found:
				(*box)[id.Key] = slices.Delete(letters, i, i+1)
			}
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
	box := s.letters.rows[letterScope{q.Projection, q.Version}]
	var letters []projection.DeadLetter
	take := func(of []projection.DeadLetter) {
		from, _ := place(of, q.After+1)
		of = of[from:]
		if q.Limit > 0 && len(of) > q.Limit {
			of = of[:q.Limit]
		}
		letters = append(letters, of...)
	}
	if q.Key != "" {
		take(box[q.Key])
	} else {
		for _, of := range box {
			take(of)
		}
		slices.SortFunc(letters, func(a, b projection.DeadLetter) int {
			return cmp.Or(cmp.Compare(a.Position, b.Position), strings.Compare(a.Key, b.Key))
		})
		if q.Limit > 0 && len(letters) > q.Limit {
			letters = letters[:q.Limit]
		}
	}
	for i := range letters {
		letters[i].Event = letters[i].Event.Clone()
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
	for key, letters := range s.letters.rows[letterScope{name, version}] {
		keys[key] = len(letters)
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
