package simstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/annals-es/annals/eventstore"
)

// Append implements [eventstore.Appender]. Ids of appends are kept as long as the
// store lives.
func (s *Store) Append(ctx context.Context, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	if s.closed.Load() {
		return eventstore.AppendResult{}, eventstore.NotWritten(eventstore.ErrClosed)
	}
	w := s.work()
	res, err := s.appendPrepared(ctx, w, req)
	s.release(w)
	return res, err
}

// A work is the memory that an append needs while it is made.
type work struct {
	eventstore.Preparer
	slots   []slot
	records []record

	// Results and tokens are the caller's, and are cut from pieces that hold a few.
	results []eventstore.StreamResult
	tokens  strings.Builder
}

// newResults returns room for the results of n streams.
func (w *work) newResults(n int) []eventstore.StreamResult {
	const piece = 16
	if n > piece {
		return make([]eventstore.StreamResult, n)
	}
	if n > len(w.results) {
		w.results = make([]eventstore.StreamResult, piece)
	}
	results := w.results[:n:n]
	w.results = w.results[n:]
	return results
}

// newToken returns the token of an append whose last event has a position.
func (w *work) newToken(p eventstore.Position) eventstore.Token {
	const piece = 256
	var digits [20]byte
	token := strconv.AppendInt(digits[:0], int64(p), 10)
	if w.tokens.Cap()-w.tokens.Len() < len(token) {
		w.tokens.Reset()
		w.tokens.Grow(piece)
	}
	start := w.tokens.Len()
	w.tokens.Write(token)
	return eventstore.Token(w.tokens.String()[start:])
}

func (s *Store) work() *work {
	if w, ok := s.works.Get().(*work); ok {
		return w
	}
	return &work{Preparer: eventstore.Preparer{Clock: s.cfgClock}}
}

// maxKept is the number of records above which the memory of an append is not
// kept for the next one.
const maxKept = 64

func (s *Store) release(w *work) {
	w.Reset()
	clear(w.slots)
	if cap(w.slots) > maxKept || cap(w.records) > maxKept {
		w.slots, w.records = nil, nil
	}
	s.works.Put(w)
}

// appendPrepared prepares a request and makes the append, unless a fault hits it.
func (s *Store) appendPrepared(ctx context.Context, w *work, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	req, err := w.Prepare(ctx, req)
	if err != nil {
		return eventstore.AppendResult{}, err
	}
	if !s.faults.active() {
		return s.append(w, req)
	}
	f, err := s.faults.meetAppend(ctx, req)
	if err == nil {
		err = s.ready(ctx) // a delay may have passed
	}
	if err != nil {
		return eventstore.AppendResult{}, eventstore.NotWritten(err)
	}
	if f == nil {
		return s.append(w, req)
	}
	return s.appendWith(f, w, req)
}

// appendWith makes an append that meets a fault.
func (s *Store) appendWith(f *Injection, w *work, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	var none eventstore.AppendResult
	switch f.fault.Kind {
	case Conflict:
		part := req.Streams[slices.IndexFunc(req.Streams, expectsVersion)]
		sl, unlock := s.lock(part.Stream)
		defer unlock()
		return none, &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: sl.info().Head}
	case UnknownWritten:
		if _, err := s.append(w, req); err != nil {
			return none, err
		}
		return none, f.unknown(OpAppend)
	case UnknownNotWritten:
		return none, f.unknown(OpAppend)
	default:
		return none, eventstore.NotWritten(f.unavailable(OpAppend))
	}
}

func expectsVersion(p eventstore.StreamAppend) bool { return p.Expected != eventstore.Any }

// append makes an append of a prepared request.
func (s *Store) append(w *work, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	if req.ID == (eventstore.AppendID{}) {
		return s.commit(w, req)
	}
	s.appendsMu.Lock()
	defer s.appendsMu.Unlock()
	if first, ok := s.appends[req.ID]; ok {
		return repeatAppend(first, req)
	}
	res, err := s.commit(w, req)
	if err == nil && res.Token != "" { // an append that wrote nothing keeps no id
		s.appends[req.ID] = cloneResult(res)
	}
	return res, err
}

// repeatAppend answers an append whose id was seen before.
func repeatAppend(first eventstore.AppendResult, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	same := slices.EqualFunc(first.Streams, req.Streams, func(r eventstore.StreamResult, p eventstore.StreamAppend) bool {
		return r.Stream == p.Stream
	})
	if !same {
		return eventstore.AppendResult{}, eventstore.NotWritten(fmt.Errorf("append %s to %q: %w", req.ID, req.Streams[0].Stream, eventstore.ErrAppendIDReused))
	}
	first = cloneResult(first)
	first.Duplicate = true
	return first, nil
}

func cloneResult(r eventstore.AppendResult) eventstore.AppendResult {
	r.Streams = slices.Clone(r.Streams)
	return r
}

// commit is the atomic step: it checks all streams and writes, or writes
// nothing.
func (s *Store) commit(w *work, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	w.slots = w.slots[:0]
	for i := range req.Streams {
		w.slots = append(w.slots, s.slotOf(req.Streams[i].Stream))
	}
	slots := w.slots
	if len(slots) == 1 {
		slots[0].shard.mu.Lock()
		defer slots[0].shard.mu.Unlock()
	} else {
		defer s.lockShards(slots)()
	}
	for i := range slots {
		slots[i].find()
	}
	conflict, again, err := check(req, slots)
	if err != nil {
		return eventstore.AppendResult{}, err
	}
	if conflict != nil || again {
		if first, ok := s.findDuplicate(w, req); ok {
			return first, nil
		}
	}
	if conflict != nil {
		return eventstore.AppendResult{}, conflict
	}
	return s.write(w, req), nil
}

// check compares all streams with what the request expects. again is set when a
// deleted stream is to be started anew, which may have been done already.
func check(req eventstore.AppendRequest, slots []slot) (conflict *eventstore.ConflictError, again bool, err error) {
	for i := range req.Streams {
		p := &req.Streams[i]
		if st := slots[i].stream; p.Expected == eventstore.Any && (st == nil || st.state == eventstore.Live) {
			continue // most often
		}
		info := slots[i].info()
		switch {
		case info.State == eventstore.Tombstoned:
			return nil, false, &eventstore.TombstonedError{Stream: p.Stream}
		case !p.Expected.Matches(info):
			if conflict == nil {
				conflict = &eventstore.ConflictError{Stream: p.Stream, Expected: p.Expected, Actual: info.Head}
			}
		case info.State == eventstore.Deleted && p.Expected == eventstore.NoStream:
			again = true
		}
	}
	return conflict, again, nil
}

// findDuplicate returns the result of an earlier append of the same events at the
// same places.
func (s *Store) findDuplicate(w *work, req eventstore.AppendRequest) (eventstore.AppendResult, bool) {
	slots := w.slots
	res := eventstore.AppendResult{Streams: make([]eventstore.StreamResult, len(req.Streams)), Duplicate: true}
	var last eventstore.Position
	for i, p := range req.Streams {
		if len(p.Events) == 0 {
			res.Streams[i] = eventstore.StreamResult{Stream: p.Stream, Last: slots[i].info().Head}
			continue
		}
		st := slots[i].stream
		after, ok := s.placeOf(st, p)
		if !ok {
			return eventstore.AppendResult{}, false
		}
		n := eventstore.Version(len(p.Events))
		res.Streams[i] = eventstore.StreamResult{Stream: p.Stream, First: after + 1, Last: after + n}
		last = max(last, positionAt(st.places[after+n-1]))
	}
	if last == 0 {
		return eventstore.AppendResult{}, false // nothing to be written, nothing to recognise
	}
	res.Token = w.newToken(last)
	return res, true
}

// placeOf returns the version behind which a stream holds exactly the events of
// a part, where the part's expectation says that they are.
func (s *Store) placeOf(st *stream, p eventstore.StreamAppend) (eventstore.Version, bool) {
	expected, ok := p.Expected.Version()
	if !ok || st == nil {
		return 0, false
	}
	if s.holds(st, expected, p.Events) {
		return expected, true
	}
	if expected == 0 && st.cuts != nil {
		for _, head := range st.cuts.deleted { // NoStream also started the stream anew there
			if s.holds(st, head, p.Events) {
				return head, true
			}
		}
	}
	return 0, false
}

func (s *Store) holds(st *stream, after eventstore.Version, events []eventstore.EventData) bool {
	if after+eventstore.Version(len(events)) > st.head() {
		return false
	}
	for i := range events {
		if s.log.records.at(st.places[int(after)+i]).id != events[i].ID {
			return false
		}
	}
	return true
}

// write writes a checked request. The locks of its streams are held.
func (s *Store) write(w *work, req eventstore.AppendRequest) eventstore.AppendResult {
	res := eventstore.AppendResult{Streams: w.newResults(len(req.Streams))}
	w.records = w.records[:0]
	for i := range req.Streams {
		sl, events := &w.slots[i], req.Streams[i].Events
		r := &res.Streams[i]
		r.Stream = sl.name
		if len(events) > 0 {
			sl.make()
		} else if sl.stream == nil {
			continue // is only checked, and is not there
		}
		r.Last = sl.stream.head()
		for j := range events {
			r.Last++
			w.records = append(w.records, record{})
			s.log.fill(&w.records[len(w.records)-1], sl.shard, sl.stream, r.Last, &events[j])
		}
	}
	if len(w.records) == 0 {
		return res
	}
	place := s.log.commit(w.records)
	for i := range req.Streams {
		n := len(req.Streams[i].Events)
		if n == 0 {
			continue
		}
		st := w.slots[i].stream
		res.Streams[i].First = st.head() + 1
		for range n {
			st.places = append(st.places, place)
			place++
		}
		st.revive()
	}
	res.Token = w.newToken(eventstore.Position(place))
	return res
}

func invalidf(what, format string, args ...any) error {
	return &eventstore.InvalidError{What: what, Reason: fmt.Sprintf(format, args...)}
}
