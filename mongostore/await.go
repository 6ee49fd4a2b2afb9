package mongostore

import (
	"context"
	"errors"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
)

// Head implements [eventstore.Log].
func (s *Store) Head(ctx context.Context) (eventstore.Position, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	s.follow.start()
	reading := mongo.NewSessionContext(ctx, nil)
	head, err := persevere(reading, s.answer, s.readHead)
	if s.reauthenticated(ctx, err) {
		head, err = persevere(reading, s.answer, s.readHead)
	}
	return head, s.failed(ctx, "read the log's head", err)
}

// readHead asks for the head. It never returns less than this store has seen.
func (s *Store) readHead(ctx context.Context) (eventstore.Position, error) {
	s = s.enter(mongo.NewSessionContext(ctx, nil))
	defer s.leave()
	ctx, done, err := s.reading(mongo.NewSessionContext(ctx, nil))
	if err != nil {
		return 0, err
	}
	defer done()
	var doc struct {
		First eventstore.Position `bson:"_id"`
		N     eventstore.Position `bson:"n"`
	}
	err = s.log.FindOne(ctx, bson.D{}, options.FindOne().
		SetSort(bson.D{{Key: "_id", Value: -1}}).SetProjection(bson.D{{Key: "n", Value: 1}})).Decode(&doc)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return 0, err
	}
	seen, _, _, _ := s.tail.state()
	return max(seen, doc.First+doc.N-min(doc.First, 1)), nil
}

// Wait implements [eventstore.Log]. It rides out lost connections and elections;
// it returns an error when the log cannot be followed for a reason that does not
// pass by itself.
func (s *Store) Wait(ctx context.Context, after eventstore.Position) (eventstore.Position, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if after < 0 {
		return 0, &eventstore.InvalidError{What: "after", Reason: "is negative; 0 stands before the first event"}
	}
	s.follow.start()
	for {
		head, known, changed, err := s.tail.state()
		switch {
		case known && head > after:
			return head, nil
		case err != nil:
			return 0, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-s.life.Done():
			return 0, eventstore.ErrClosed
		}
	}
}

// searchAgain is how long Await waits for an event to come in before it looks for
// it in all of the log, the first time.
const searchAgain = 3 * time.Second

// searchUnlogged is how long Await has waited since it last looked when it searches
// all of the log also for what was committed after the log's last event. It is only
// late as a rule, as after an election, when many wait.
const searchUnlogged = 4 * searchAgain

// Await implements [eventstore.Log]. Appends that were made long ago are found by
// the time in their token, with a handful of queries.
func (s *Store) Await(ctx context.Context, tok eventstore.Token) (eventstore.Position, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if tok == "" {
		return 0, nil
	}
	t, err := decodeToken(tok)
	if err != nil {
		return 0, err
	}
	s.follow.start()
	p, err := s.await(ctx, t)
	return p, s.failed(ctx, "await an append in the log", err)
}

func (s *Store) await(ctx context.Context, t token) (eventstore.Position, error) {
	searched := false
	patience := searchAgain
	timer := time.NewTimer(patience)
	defer timer.Stop()
	for {
		if p, ok := s.tail.find(t.ids); ok {
			return p, nil
		}
		head, known, changed, err := s.tail.state()
		if err != nil {
			return 0, err
		}
		if known && !searched {
			// From here on the tail tells of everything new. What came before
			// is looked for once.
			searched = true
			p, ok, err := s.search(ctx, t, head, false)
			if ok || err != nil && !isRetryable(err) { // or it is found by a search of all
				return p, err
			}
			continue
		}
		select {
		case <-changed:
			if now, _, _, _ := s.tail.state(); now > head+eventstore.Position(s.cfg.RecentEntries)/2 {
				searched = false // some may have passed unseen
			}
		case <-timer.C:
			if patience >= searchUnlogged || s.tail.reaches(t.until) {
				if p, ok, err := s.search(ctx, t, head, true); err != nil || ok {
					return p, err
				}
			}
			if _, err := persevere(ctx, s.answer, func(ctx context.Context) (struct{}, error) {
				return struct{}{}, s.checkExists(ctx, t)
			}); err != nil {
				return 0, err
			}
			patience = min(2*patience, time.Minute)
			timer.Reset(patience)
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-s.life.Done():
			return 0, eventstore.ErrClosed
		}
	}
}

// checkExists refuses a token whose events are not in this database.
func (s *Store) checkExists(ctx context.Context, t token) error {
	if t.until.IsZero() {
		return nil // of a transaction that may not have been committed yet
	}
	s = s.enter(mongo.NewSessionContext(ctx, nil))
	defer s.leave()
	ctx, done, err := s.reading(mongo.NewSessionContext(ctx, nil))
	if err != nil {
		return err
	}
	defer done()
	// A new primary may not know yet that what its predecessor has acknowledged is
	// there to stay. Reads of a session do not go back behind the time of a reply, so
	// the second one sees everything of the token's time if the first one came to it.
	for range 2 {
		n, err := s.events.CountDocuments(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: t.ids}}}})
		if err != nil || n == int64(len(t.ids)) || packTime(timeOf(mongo.SessionFromContext(ctx))) < packTime(t.until) {
			return err
		}
	}
	return &eventstore.InvalidError{What: "token", Reason: "names an event that is not in database " + s.db.Name()}
}

// searchAnswers is how many times as long as for another question a search of all of
// the log may take.
const searchAnswers = 6

// search is searchLog, made again when the server was lost meanwhile.
func (s *Store) search(ctx context.Context, t token, head eventstore.Position, all bool) (p eventstore.Position, ok bool, err error) {
	limit := s.answer
	if all {
		limit *= searchAnswers
	}
	p, err = persevere(ctx, limit, func(ctx context.Context) (p eventstore.Position, err error) {
		p, ok, err = s.searchLog(ctx, t, head, all)
		return p, err
	})
	return p, ok, err
}

// searchWindow is how many documents of the log are searched at a time at first;
// each further window is larger.
const searchWindow = 16

// searchLog looks for events in the log up to head, from the end of the stretch
// where they should be backwards: to the begin of that stretch, or to that of the
// log when all is set.
func (s *Store) searchLog(ctx context.Context, t token, head eventstore.Position, all bool) (eventstore.Position, bool, error) {
	s = s.enter(mongo.NewSessionContext(ctx, nil))
	defer s.leave()
	ctx, done, err := s.reading(mongo.NewSessionContext(ctx, nil))
	if err != nil {
		return 0, false, err
	}
	defer done()
	high := head
	if !t.until.IsZero() && !all {
		if high, err = s.firstMarked(ctx, t.until, head); err != nil {
			return 0, false, err
		}
	}
	missing := make(map[bson.ObjectID]struct{}, len(t.ids))
	for _, id := range t.ids {
		missing[id] = struct{}{}
	}
	var last eventstore.Position
	for window := int64(searchWindow); high > 0; window = min(4*window, 4096) {
		low, past, err := s.windowBefore(ctx, high, window, t.since)
		if err != nil {
			return 0, false, err
		}
		p, err := s.searchBetween(ctx, low, high, missing)
		if err != nil {
			return 0, false, err
		}
		last = max(last, p)
		if len(missing) == 0 {
			return last, true, nil
		}
		if past && !all {
			break
		}
		high = low - 1
	}
	return 0, false, nil
}

// firstMarked returns the position of the first document whose mark is after t, or
// head. A commit may be spread over several documents of the same mark.
func (s *Store) firstMarked(ctx context.Context, t bson.Timestamp, head eventstore.Position) (eventstore.Position, error) {
	// low is in a document that is not after t; high's document is, or is the
	// last.
	low, high := eventstore.Position(0), head
	for step := eventstore.Position(1); low == 0 && step < head; step *= 4 {
		first, mark, err := s.markAt(ctx, head-step)
		if err != nil {
			return 0, err
		}
		if packTime(mark) <= packTime(t) {
			low = head - step
		} else {
			high = first
		}
	}
	for high-low > 1 {
		middle := low + (high-low)/2
		first, mark, err := s.markAt(ctx, middle)
		if err != nil {
			return 0, err
		}
		if packTime(mark) <= packTime(t) {
			low = middle
		} else {
			high = max(first, low+1)
		}
	}
	return high, nil
}

// markAt returns the begin and mark of the document that holds a position.
func (s *Store) markAt(ctx context.Context, p eventstore.Position) (eventstore.Position, bson.Timestamp, error) {
	var doc struct {
		First eventstore.Position `bson:"_id"`
		Mark  bson.Timestamp      `bson:"cluster_time"`
	}
	err := s.log.FindOne(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$lte", Value: int64(p)}}}},
		options.FindOne().SetSort(bson.D{{Key: "_id", Value: -1}}).SetProjection(bson.D{{Key: "cluster_time", Value: 1}})).Decode(&doc)
	return doc.First, doc.Mark, err
}

// windowBefore returns the begin of the n-th document back from the one that
// holds high, and whether that is past everything that may hold what was
// committed since t.
func (s *Store) windowBefore(ctx context.Context, high eventstore.Position, n int64, t bson.Timestamp) (low eventstore.Position, past bool, err error) {
	cur, err := s.log.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$lte", Value: int64(high)}}}},
		options.Find().SetSort(bson.D{{Key: "_id", Value: -1}}).SetLimit(n).
			SetProjection(bson.D{{Key: "cluster_time", Value: 1}, {Key: "recovered", Value: 1}}))
	if err != nil {
		return 0, false, err
	}
	var docs []struct {
		First     eventstore.Position `bson:"_id"`
		Mark      bson.Timestamp      `bson:"cluster_time"`
		Recovered bool                `bson:"recovered"`
	}
	if err := cur.All(ctx, &docs); err != nil {
		return 0, false, err
	}
	if len(docs) == 0 {
		return 1, true, nil
	}
	for _, d := range docs {
		low = d.First
		if !d.Recovered && !t.IsZero() && packTime(d.Mark) < packTime(t) {
			return low, true, nil
		}
	}
	return low, low <= 1, nil
}

// searchBetween looks for events in the documents from low to high and takes those
// that it finds from missing.
func (s *Store) searchBetween(ctx context.Context, low, high eventstore.Position, missing map[bson.ObjectID]struct{}) (last eventstore.Position, err error) {
	ids := make([]bson.ObjectID, 0, len(missing))
	for id := range missing {
		ids = append(ids, id)
	}
	cur, err := s.log.Find(ctx, bson.D{
		{Key: "_id", Value: bson.D{{Key: "$gte", Value: int64(low)}, {Key: "$lte", Value: int64(high)}}},
		{Key: "entries.id", Value: bson.D{{Key: "$in", Value: ids}}},
	})
	if err != nil {
		return 0, err
	}
	defer closeCursor(ctx, cur)
	var decoder logDecoder
	for cur.Next(ctx) {
		d, err := decoder.decode(cur.Current)
		if err != nil {
			return 0, err
		}
		for i := range d.entries {
			if _, ok := missing[d.entries[i].id]; ok {
				delete(missing, d.entries[i].id)
				last = max(last, d.first+eventstore.Position(i))
			}
		}
	}
	return last, cur.Err()
}
