package mongostore

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
)

const (
	// fetchFirst and fetchMost bound how many events are fetched at a time. A
	// reader starts small, so that the first event comes soon.
	fetchFirst = 256
	fetchMost  = 2_048
	// fetchBytes is how much a fetch may bring before it is cut short: with one
	// being consumed, one ready and one under way it bounds a reader's memory to
	// about three times that.
	fetchBytes = 8 << 20
)

// ErrMissingEvent says that the log names an event that is not in the events
// collection: somebody has removed documents, or restored one collection from a
// backup without the other.
var ErrMissingEvent = errors.New("the log names an event that is missing")

// ReadLog implements [eventstore.Log]. What the filter rejects is not fetched. When
// the server is lost meanwhile, it goes on with the next primary if there is one soon.
func (s *Store) ReadLog(ctx context.Context, q eventstore.LogQuery) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		if err := s.ready(ctx); err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		if err := q.Validate(); err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		s.follow.start()
		start := time.Now()
		r := &logReading{store: s, query: q, yield: yield, passes: entryFilter(q.Filter), matches: q.Filter.Matcher()}
		err := r.run(ctx)
		if r.left {
			return
		}
		err = s.failed(ctx, "read the log", err)
		if hook := s.cfg.Hooks.Read; hook != nil {
			hook(ReadStats{Log: true, Events: r.count, Duration: time.Since(start), Err: err})
		}
		if err != nil {
			yield(eventstore.Event{}, err)
		}
	}
}

// entryFilter is the filter as far as it can be applied to entries of the log. An
// entry keeps the type that the event had before it was erased: where erased
// events are asked for, the type is seen only after the fetch.
func entryFilter(f eventstore.Filter) func(eventstore.StreamID, eventstore.EventType) bool {
	if slices.Contains(f.Types, eventstore.ErasedType) {
		f.Types = nil
	}
	return f.Matcher()
}

// A logReading is one iteration over the log.
type logReading struct {
	store   *Store
	query   eventstore.LogQuery
	yield   func(eventstore.Event, error) bool
	passes  func(eventstore.StreamID, eventstore.EventType) bool // entries
	matches func(eventstore.StreamID, eventstore.EventType) bool // events
	count   int
	left    bool // the consumer has left the loop
}

// A chunk is a run of events fetched together.
type chunk struct {
	events []eventstore.Event
	err    error
}

func (r *logReading) run(ctx context.Context) error {
	ctx, stop := r.store.bounded(mongo.NewSessionContext(ctx, nil))
	defer stop()
	through := r.query.Through
	if head, known, _, _ := r.store.tail.state(); through == 0 || !known || head < through {
		head, err := persevere(ctx, r.store.answer, r.store.readHead)
		if err != nil {
			return err
		}
		if through == 0 || through > head {
			through = head
		}
	}
	if r.query.After >= through {
		return nil
	}
	src := &logSource{reading: r, next: r.query.After, through: through, size: fetchFirst}
	defer src.close(ctx)
	if through-r.query.After <= fetchFirst {
		// A few events: not worth a goroutine.
		for {
			events, err := src.fetch(ctx)
			if err != nil || events == nil {
				return err
			}
			if !r.hand(ctx, events) {
				return ctx.Err()
			}
		}
	}
	chunks := make(chan chunk, 1)
	produced := make(chan struct{})
	go func() {
		defer close(produced)
		src.produce(ctx, chunks)
	}()
	defer func() { stop(); <-produced }()
	for c := range chunks {
		if c.err != nil {
			return c.err
		}
		if !r.hand(ctx, c.events) {
			return ctx.Err()
		}
	}
	return ctx.Err()
}

// hand gives events to the consumer. It reports false when that is over.
func (r *logReading) hand(ctx context.Context, events []eventstore.Event) bool {
	for i := range events {
		if !r.matches(events[i].Stream, events[i].Type) {
			continue // erased since
		}
		if ctx.Err() != nil {
			return false
		}
		r.count++
		if !r.yield(events[i], nil) {
			r.left = true
			return false
		}
		if r.count == r.query.Limit {
			r.left = true // the rest is not wanted
			return false
		}
	}
	return true
}

// A logSource reads entries of the log and fetches their events.
type logSource struct {
	reading *logReading
	store   *Store              // on the client that the cursor belongs to
	next    eventstore.Position // entries up to here were taken
	through eventstore.Position
	size    int // of the next fetch

	wanted  []wantedEvent // entries that passed and are not fetched yet
	cursor  *mongo.Cursor
	session *mongo.Session // the cursor's
	done    func()         // ends it
	decoder logDecoder
	events  eventDecoder
}

type wantedEvent struct {
	position eventstore.Position
	entry    logEntry
}

func (src *logSource) produce(ctx context.Context, chunks chan<- chunk) {
	defer close(chunks)
	for {
		events, err := src.fetch(ctx)
		if err == nil && events == nil {
			return
		}
		select {
		case chunks <- chunk{events, err}:
		case <-ctx.Done():
			return
		}
		if err != nil {
			return
		}
	}
}

func (src *logSource) close(ctx context.Context) {
	if src.cursor != nil {
		closeCursor(ctx, src.cursor)
		src.cursor = nil
	}
	if src.done != nil {
		src.done()
		src.done = nil
	}
}

// fetch returns the next events, none at the end. When the server is lost meanwhile,
// it goes on with the one that is primary then.
func (src *logSource) fetch(ctx context.Context) ([]eventstore.Event, error) {
	return persevere(ctx, src.reading.store.answer, func(ctx context.Context) ([]eventstore.Event, error) {
		events, err := src.fetchOnPresentClient(ctx)
		if err != nil {
			src.close(ctx)
		}
		return events, err
	})
}

// fetchOnPresentClient works on the client of the moment: a long reading does not
// keep an old one in use.
func (src *logSource) fetchOnPresentClient(ctx context.Context) ([]eventstore.Event, error) {
	s := src.reading.store.enter(ctx)
	defer s.leave()
	if s != src.store {
		src.close(ctx)
		src.store = s
	}
	events, err := src.fetchOn(ctx)
	if src.reading.store.reauthenticated(ctx, err) {
		src.close(ctx)
		s := src.reading.store.enter(ctx)
		defer s.leave()
		src.store = s
		return src.fetchOn(ctx)
	}
	return events, err
}

func (src *logSource) fetchOn(ctx context.Context) ([]eventstore.Event, error) {
	size := src.size
	if limit := src.reading.query.Limit; limit > 0 {
		size = min(size, limit)
	}
	for attempt := 0; len(src.wanted) < size && src.next < src.through; {
		before := src.next
		if err := src.take(ctx, size); err != nil {
			return nil, err
		}
		if src.next > before {
			attempt = 0
			continue
		}
		// Another server has become primary, which does not know yet that the
		// rest of the log is there to stay.
		if !pause(ctx, attempt, 500*time.Millisecond) {
			return nil, ctx.Err()
		}
		attempt++
	}
	if len(src.wanted) == 0 {
		return nil, nil
	}
	return src.load(ctx, src.wanted[:min(size, len(src.wanted))])
}

// take takes entries from memory or from the log until size are wanted.
func (src *logSource) take(ctx context.Context, size int) error {
	if src.cursor == nil {
		if entries := src.reading.store.tail.after(src.next); entries != nil {
			src.pick(entries)
			return nil
		}
		if err := src.open(ctx); err != nil {
			return err
		}
	}
	for len(src.wanted) < size && src.next < src.through {
		if !src.cursor.Next(ctx) {
			err := src.cursor.Err()
			src.close(ctx)
			return err
		}
		src.store.observe(src.session) // the events are read as of then, or later
		d, err := src.decoder.decode(src.cursor.Current)
		if err != nil {
			return err
		}
		if d.first > src.next+1 {
			return malformed("the log has no document for position %d", src.next+1)
		}
		src.pick(d.entries[min(src.next+1-d.first, eventstore.Position(len(d.entries))):])
	}
	return nil
}

// pick takes the entries that follow, as far as they are asked for.
func (src *logSource) pick(entries []logEntry) {
	for i := range entries {
		if src.next == src.through {
			return
		}
		src.next++
		if src.reading.passes(entries[i].stream, entries[i].typ) {
			src.wanted = append(src.wanted, wantedEvent{src.next, entries[i]})
		}
	}
}

// open opens a cursor at the document that holds the next position.
func (src *logSource) open(ctx context.Context) error {
	s := src.store
	ctx, done, err := s.reading(ctx)
	if err != nil {
		return err
	}
	src.session, src.done = mongo.SessionFromContext(ctx), done
	first, _, err := s.markAt(ctx, src.next+1)
	if err != nil && !errors.Is(err, mongo.ErrNoDocuments) {
		return err
	}
	src.cursor, err = s.log.Find(ctx,
		bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: int64(first)}, {Key: "$lte", Value: int64(src.through)}}}},
		options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetBatchSize(16))
	return err
}

// load fetches wanted events and removes them from the list. When they turn
// out to be large it returns the first of them only.
func (src *logSource) load(ctx context.Context, wanted []wantedEvent) ([]eventstore.Event, error) {
	s := src.store
	ids := make(bson.A, len(wanted))
	at := make(map[bson.ObjectID]int, len(wanted))
	for i := range wanted {
		ids[i] = wanted[i].entry.id
		at[wanted[i].entry.id] = i
	}
	read, done, err := s.reading(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	cur, err := s.events.Find(read, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}},
		options.Find().SetBatchSize(int32(len(wanted)+1)))
	if err != nil {
		return nil, err
	}
	defer closeCursor(read, cur)
	events := make([]eventstore.Event, len(wanted))
	bytes, whole := 0, true
	for cur.Next(read) {
		id, ok := cur.Current.Lookup("_id").ObjectIDOK()
		i, asked := at[id]
		if !ok || !asked {
			continue
		}
		src.events.stream = wanted[i].entry.stream
		if events[i], _, err = src.events.decode(cur.Current); err != nil {
			return nil, err
		}
		events[i].Position = wanted[i].position
		if bytes += len(cur.Current); bytes > fetchBytes {
			whole = false
			break
		}
	}
	if err := cur.Err(); err != nil {
		return nil, err
	}
	n := 0
	for n < len(events) && events[n].Position != 0 {
		n++
	}
	if whole && n < len(events) {
		e := wanted[n]
		return nil, fmt.Errorf("position %d, version %d of stream %q: %w", e.position, e.entry.version, e.entry.stream, ErrMissingEvent)
	}
	src.resize(len(wanted), bytes, whole)
	if n == 0 { // the large ones come first in the order of ids, not of the log
		return src.load(ctx, wanted[:max(1, len(wanted)/8)])
	}
	src.wanted = src.wanted[n:]
	return events[:n], nil
}

// resize chooses the size of the next fetch by how large the last one was.
func (src *logSource) resize(n, bytes int, whole bool) {
	switch {
	case !whole:
		src.size = max(1, n/8)
	case bytes < fetchBytes/4:
		src.size = min(max(2*src.size, 1), fetchMost)
	case bytes > fetchBytes/2:
		src.size = max(1, src.size/2)
	}
}
