package mongostore

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
)

const (
	// lagMargin is how far the clocks of writers may differ for the lag to be
	// exact.
	lagMargin = 10 * time.Second
	// MostLag is the greatest number that [Store.SequencerLag] tells.
	MostLag = 10_000
)

// SequencerLag returns how many committed events the log does not have yet, for
// readiness probes and alerts; a store that is up to date has a few at most. It
// counts up to [MostLag]. Events whose writer's clock is far behind the others'
// are overlooked. The first call makes the store follow the log.
func (s *Store) SequencerLag(ctx context.Context) (int64, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	s.follow.start()
	if err := s.tailKnown(ctx); err != nil {
		return 0, s.failed(ctx, "ask for the sequencer's lag", err)
	}
	var lag int64
	err := s.onPresentClient(ctx, func(s *Store) (err error) {
		lag, err = s.unlogged(ctx)
		return err
	})
	return lag, s.failed(ctx, "ask for the sequencer's lag", err)
}

// AwaitAll waits until the log includes all events that were committed when it was
// called, and returns the log's head. That is what a reader needs who must not miss
// what was appended a moment ago, or before any store had its log in use, by
// whomever. It counts the events, which takes a scan of their collection, and is
// exact while nobody appends: events that are appended meanwhile may get into the
// log before older ones.
func (s *Store) AwaitAll(ctx context.Context) (eventstore.Position, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	s.follow.start()
	var n int64
	err := s.onPresentClient(ctx, func(s *Store) (err error) {
		n, err = s.countEvents(ctx)
		return err
	})
	if err != nil {
		return 0, s.failed(ctx, "count the events", err)
	}
	if n == 0 {
		return s.Head(ctx)
	}
	return s.Wait(ctx, eventstore.Position(n-1))
}

// countEvents counts the events. Those of deleted, truncated and erased streams are
// among them, as they are in the log.
func (s *Store) countEvents(ctx context.Context) (int64, error) {
	ctx, done, err := s.reading(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	return s.events.CountDocuments(ctx, isEvent())
}

// isEvent is the filter for those documents of the events collection that have a
// position in the log.
func isEvent() bson.D {
	return bson.D{{Key: "event_type", Value: bson.D{{Key: "$nin", Value: bson.A{guardType, tombstoneType, markType}}}}}
}

// tailKnown waits until the log's head is known.
func (s *Store) tailKnown(ctx context.Context) error {
	for {
		_, known, changed, err := s.tail.state()
		if known {
			return nil // whatever keeps the log from going on
		}
		if err != nil {
			return err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.life.Done():
			return eventstore.ErrClosed
		}
	}
}

// unlogged counts the events behind the log's end that the log does not hold.
func (s *Store) unlogged(ctx context.Context) (int64, error) {
	last, oldest := s.tail.end()
	filter := isEvent()
	if !last.IsZero() {
		from := last.Add(-lagMargin)
		if oldest.After(from) {
			from = oldest // what is older may be in the log and not in memory
		}
		filter = append(filter, bson.E{Key: "_id", Value: bson.D{{Key: "$gte", Value: bson.NewObjectIDFromTimestamp(from)}}})
	}
	ctx, done, err := s.reading(ctx)
	if err != nil {
		return 0, err
	}
	defer done()
	cur, err := s.events.Find(ctx, filter, options.Find().
		SetSort(bson.D{{Key: "_id", Value: -1}}).SetProjection(bson.D{{Key: "_id", Value: 1}}).SetLimit(MostLag))
	if err != nil {
		return 0, err
	}
	defer closeCursor(ctx, cur)
	var lag int64
	for cur.Next(ctx) {
		id, ok := cur.Current.Lookup("_id").ObjectIDOK()
		if _, logged := s.tail.find([]bson.ObjectID{id}); ok && !logged {
			lag++
		}
	}
	return lag, cur.Err()
}

// end returns when the log's last event was made, zero when there is none, and
// from when on the tail holds all entries: zero when it holds the whole log. Both
// are as exact as the clocks of writers.
func (t *tail) end() (last, complete time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.head == 0:
		return time.Time{}, time.Time{}
	case len(t.docs) == 0:
		at := time.Unix(int64(t.mark.T), 0)
		return at, at.Add(time.Second)
	}
	newest := t.docs[len(t.docs)-1].entries
	last = newest[len(newest)-1].id.Timestamp()
	if t.docs[0].first > 1 {
		complete = t.docs[0].entries[0].id.Timestamp().Add(time.Second)
	}
	return last, complete
}
