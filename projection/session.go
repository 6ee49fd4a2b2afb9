package projection

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A Session is what a [Dispatcher] works with: its partition. It is used by the
// partition's goroutine alone.
type Session struct {
	p        *partition
	written  map[string]struct{} // suffixes of models
	failures int
}

// Scan reads documents of the further model whose name ends in suffix, those of
// all partitions; see [DocumentStore].
func (s *Session) Scan(ctx context.Context, suffix, from, to string, limit int) ([]Document, error) {
	return s.p.backend.ScanDocuments(ctx, s.p.work.model+suffix, from, to, limit)
}

// Written reports whether a commit has changed a further model since the last
// Dispatch.
func (s *Session) Written(suffix string) bool {
	_, ok := s.written[suffix]
	return ok
}

// Owns reports whether a key belongs to the partition.
func (s *Session) Owns(key string) bool { return s.p.owns(key) }

// Position is the position up to which the partition has handled the log.
func (s *Session) Position() eventstore.Position { return s.p.read }

// Parked reports whether a key is parked.
func (s *Session) Parked(key string) bool { return s.p.parked[key] > 0 }

// Holding reports whether effects are to be held back.
func (s *Session) Holding() bool {
	o, _ := s.p.told()
	return s.p.read < o.hold
}

// StoreNow is the time by the backend's clock.
func (s *Session) StoreNow(ctx context.Context) (time.Time, error) { return s.p.backend.Now(ctx) }

// Now is the time by the worker's clock, the one that Dispatch's result is
// measured by.
func (s *Session) Now() time.Time { return s.p.cfg.Now() }

// Retry is how long to wait after a number of failures in a row.
func (s *Session) Retry(failures int) time.Duration { return s.p.cfg.Backoff.delay(failures) }

// Logger is the partition's.
func (s *Session) Logger() *slog.Logger { return s.p.logger }

// Commit loads the documents of keys, lets fn work on them and commits that.
// Nothing is committed when fn fails.
func (s *Session) Commit(ctx context.Context, keys []string, fn func(w *Work) error) error {
	w := s.p.work
	if keys = w.missing(keys); len(keys) > 0 {
		docs, err := s.p.backend.LoadDocuments(ctx, w.model, keys)
		if err != nil {
			return fmt.Errorf("load %d documents of %s: %w", len(keys), w.model, err)
		}
		w.fill(keys, docs)
	}
	err := safely(func() error { return fn(w) })
	var changes []Change
	if err == nil {
		changes, err = w.changes()
	}
	if err == nil && len(changes) > 0 {
		err = s.p.commit(ctx, Commit{To: s.p.read, Changes: changes})
	}
	if err != nil {
		w.rewind()
		return err
	}
	s.note(changes)
	w.committed()
	return nil
}

// safely makes an error of a panic.
func safely(fn func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = newPanicError(v)
		}
	}()
	return fn()
}

// note notes which further models a commit has changed.
func (s *Session) note(changes []Change) {
	for _, c := range changes {
		if suffix, ok := strings.CutPrefix(c.Model, s.p.work.model); ok && suffix != "" {
			if s.written == nil {
				s.written = map[string]struct{}{}
			}
			s.written[suffix] = struct{}{}
		}
	}
}

func (s *Session) clear() { clear(s.written) }
