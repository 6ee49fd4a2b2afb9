package simstore

import (
	"context"
	"iter"
	"maps"
	"strconv"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// readBatch is how many events are copied under a lock at once.
const readBatch = 128

// ReadStream implements [eventstore.StreamReader].
func (s *Store) ReadStream(ctx context.Context, name eventstore.StreamID, q eventstore.StreamQuery) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		err := s.ready(ctx)
		if err == nil {
			err = name.Validate()
		}
		if err == nil {
			err = q.Validate()
		}
		var f *Injection
		if err == nil && s.faults.active() {
			f, err = s.faults.meet(ctx, OpReadStream, name)
		}
		var places []uint32
		if err == nil {
			places, err = s.selectPlaces(name, q)
		}
		if err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		r := reader{store: s, ctx: ctx, op: OpReadStream, fault: f, yield: yield}
		r.stream(places, q.Direction)
	}
}

// selectPlaces returns where the events are that a query asks for, forward. That
// never changes.
func (s *Store) selectPlaces(name eventstore.StreamID, q eventstore.StreamQuery) ([]uint32, error) {
	sl, unlock := s.lock(name)
	defer unlock()
	st := sl.stream
	if st == nil {
		return nil, nil
	}
	info := st.info()
	if info.State == eventstore.Tombstoned {
		return nil, &eventstore.TombstonedError{Stream: name}
	}
	first, last := info.First, info.Head
	if q.Direction == eventstore.Forward {
		first = max(first, q.From)
	} else if q.From > 0 {
		last = min(last, q.From)
	}
	if first > last {
		return nil, nil
	}
	selected := st.places[first-1 : last]
	if q.Limit > 0 && q.Limit < len(selected) {
		if q.Direction == eventstore.Forward {
			selected = selected[:q.Limit]
		} else {
			selected = selected[len(selected)-q.Limit:]
		}
	}
	return selected, nil
}

// A reader yields events to a consumer.
type reader struct {
	store  *Store
	ctx    context.Context // of the iteration, which the reader does not outlive
	op     Op
	fault  *Injection // nil for none
	yield  func(eventstore.Event, error) bool
	events []eventstore.Event
	count  int
}

// stream yields the events at places, the last one first when backward.
func (r *reader) stream(places []uint32, d eventstore.Direction) {
	r.events = make([]eventstore.Event, 0, min(len(places), readBatch))
	for len(places) > 0 {
		n := min(len(places), readBatch)
		var batch []uint32
		if d == eventstore.Forward {
			batch, places = places[:n], places[n:]
		} else {
			batch, places = places[len(places)-n:], places[:len(places)-n]
		}
		r.store.log.content.RLock()
		size := 0
		for _, place := range batch {
			size += r.store.log.records.at(place).size()
		}
		copies := make([]byte, 0, size)
		r.events = r.events[:0]
		erased := eventstore.StreamID("")
		for i := range batch {
			place := batch[i]
			if d == eventstore.Backward {
				place = batch[len(batch)-1-i]
			}
			rec := r.store.log.records.at(place)
			if rec.erased { // since the read began
				erased = r.name(rec)
				break
			}
			copies = r.take(rec, 0, copies)
		}
		r.store.log.content.RUnlock()
		if !r.flush() {
			return
		}
		if erased != "" {
			r.yield(eventstore.Event{}, &eventstore.TombstonedError{Stream: erased})
			return
		}
	}
	r.end()
}

// name returns the name of a record's stream.
func (r *reader) name(rec *record) eventstore.StreamID {
	return (*r.store.log.streams.at(rec.stream)).name
}

// take copies an event for the consumer.
func (r *reader) take(rec *record, p eventstore.Position, copies []byte) []byte {
	log := &r.store.log
	r.events = append(r.events, eventstore.Event{Stream: r.name(rec), Version: rec.version, Position: p, Type: log.typ(rec)})
	if rec.erased {
		return copies
	}
	e := &r.events[len(r.events)-1]
	start := len(copies)
	copies = append(copies, log.data(rec)...)
	e.ID, e.Schema, e.Format = rec.id, int(rec.schema), rec.format
	// Data ends where its capacity does: a consumer's append cannot reach into
	// the next event.
	e.Data = copies[start:len(copies):len(copies)]
	e.Time = time.UnixMilli(rec.millis).UTC()
	if rec.meta > 0 {
		e.Metadata = **log.metas.at(rec.meta - 1)
		e.Metadata.Custom = maps.Clone(e.Metadata.Custom)
	}
	return copies
}

// flush yields the events taken and reports whether to go on.
func (r *reader) flush() bool {
	for i := range r.events {
		if err := r.store.ready(r.ctx); err != nil {
			r.yield(eventstore.Event{}, err)
			return false
		}
		if r.breaksOff() {
			r.yield(eventstore.Event{}, r.fault.unavailable(r.op))
			return false
		}
		r.count++
		if !r.yield(r.events[i], nil) {
			return false
		}
	}
	return true
}

// breaksOff reports whether the fault that the read met is due.
func (r *reader) breaksOff() bool { return r.fault != nil && r.count >= r.fault.fault.Events }

// end ends a read that came to its end, which a fault may still turn into a
// failure.
func (r *reader) end() {
	if r.fault != nil {
		r.yield(eventstore.Event{}, r.fault.unavailable(r.op))
	}
}

// ReadLog implements [eventstore.Log].
func (s *Store) ReadLog(ctx context.Context, q eventstore.LogQuery) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		err := s.ready(ctx)
		if err == nil {
			err = q.Validate()
		}
		var f *Injection
		if err == nil && s.faults.active() {
			f, err = s.faults.meet(ctx, OpReadLog, "")
		}
		if err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		r := reader{store: s, ctx: ctx, op: OpReadLog, fault: f, yield: yield}
		r.log(q)
	}
}

// log yields the events of the log that a query asks for.
func (r *reader) log(q eventstore.LogQuery) {
	through := r.store.log.head()
	if q.Through > 0 {
		through = min(through, q.Through)
	}
	var matches func(eventstore.StreamID, eventstore.EventType) bool
	if !q.Filter.IsZero() {
		matches = q.Filter.Matcher()
	}
	for after := q.After; after < through; {
		// Without a limit on what is looked at, a filter that nothing passes
		// would neither let go of the lock nor notice a cancelled context.
		stop := min(through, after+readBatch*8)
		room := readBatch
		if q.Limit > 0 {
			room = min(room, q.Limit-r.count)
		}
		if err := r.store.ready(r.ctx); err != nil {
			r.yield(eventstore.Event{}, err)
			return
		}
		after = r.gather(after, stop, room, matches)
		if !r.flush() {
			return
		}
		if q.Limit > 0 && r.count >= q.Limit {
			break
		}
	}
	r.end()
}

// gather takes up to room matching events between two positions and returns how
// far it got.
func (r *reader) gather(after, through eventstore.Position, room int, matches func(eventstore.StreamID, eventstore.EventType) bool) eventstore.Position {
	r.store.log.content.RLock()
	defer r.store.log.content.RUnlock()
	r.events = r.events[:0]
	var copies []byte
	for p := after + 1; p <= through; p++ {
		rec := r.store.log.at(p)
		if matches != nil && !matches(r.name(rec), r.store.log.typ(rec)) {
			continue
		}
		if cap(copies)-len(copies) < rec.size() {
			copies = make([]byte, 0, max(rec.size(), 16<<10))
		}
		copies = r.take(rec, p, copies)
		if len(r.events) == room {
			return p
		}
	}
	return through
}

// Head implements [eventstore.Log].
func (s *Store) Head(ctx context.Context) (eventstore.Position, error) {
	if err := s.begin(ctx, OpHead, ""); err != nil {
		return 0, err
	}
	return s.log.head(), nil
}

// Wait implements [eventstore.Log].
func (s *Store) Wait(ctx context.Context, after eventstore.Position) (eventstore.Position, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if after < 0 {
		return 0, invalidf("after", "is negative; 0 stands before the first event")
	}
	if err := s.begin(ctx, OpWait, ""); err != nil {
		return 0, err
	}
	return s.waitUntil(ctx, after+1)
}

// waitUntil returns the head when it has reached a position.
func (s *Store) waitUntil(ctx context.Context, p eventstore.Position) (eventstore.Position, error) {
	for {
		head, changed := s.log.changed()
		if err := s.ready(ctx); err != nil {
			return 0, err
		}
		if head >= p {
			return head, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

// Await implements [eventstore.Log].
func (s *Store) Await(ctx context.Context, token eventstore.Token) (eventstore.Position, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	if token == "" {
		return 0, nil
	}
	p, err := strconv.ParseInt(string(token), 10, 64)
	if err != nil || p < 1 {
		return 0, invalidf("token", "%q is none that this store made", token)
	}
	if err := s.begin(ctx, OpAwait, ""); err != nil {
		return 0, err
	}
	position := eventstore.Position(p)
	if position > s.log.last() {
		return 0, invalidf("token", "%q is of another store: the log ends at %d", token, s.log.last())
	}
	if _, err := s.waitUntil(ctx, position); err != nil {
		return 0, err
	}
	return position, nil
}
