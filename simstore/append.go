package simstore

import (
	"context"
	"fmt"
	"slices"
	"strconv"

	"github.com/annals-es/annals/eventstore"
)

// Append implements [eventstore.Appender]. Ids of appends are kept as long as the
// store lives.
func (s *Store) Append(ctx context.Context, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	if s.closed.Load() {
		return eventstore.AppendResult{}, eventstore.NotWritten(eventstore.ErrClosed)
	}
	req, err := eventstore.Prepare(ctx, req, s.clock())
	if err != nil {
		return eventstore.AppendResult{}, err
	}
	if !s.faults.active() {
		return s.append(req)
	}
	f, err := s.faults.meetAppend(ctx, req)
	if err == nil {
		err = s.ready(ctx) // a delay may have passed
	}
	if err != nil {
		return eventstore.AppendResult{}, eventstore.NotWritten(err)
	}
	if f == nil {
		return s.append(req)
	}
	return s.appendWith(f, req)
}

// appendWith makes an append that meets a fault.
func (s *Store) appendWith(f *Injection, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	var none eventstore.AppendResult
	switch f.fault.Kind {
	case Conflict:
		part := req.Streams[slices.IndexFunc(req.Streams, expectsVersion)]
		sh := s.shardOf(part.Stream)
		sh.mu.RLock()
		defer sh.mu.RUnlock()
		return none, &eventstore.ConflictError{Stream: part.Stream, Expected: part.Expected, Actual: sh.info(part.Stream).Head}
	case UnknownWritten:
		if _, err := s.append(req); err != nil {
			return none, err
		}
		return none, f.unknown()
	case UnknownNotWritten:
		return none, f.unknown()
	default:
		return none, eventstore.NotWritten(f.unavailable(OpAppend))
	}
}

func expectsVersion(p eventstore.StreamAppend) bool { return p.Expected != eventstore.Any }

// append makes an append of a prepared request.
func (s *Store) append(req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	if req.ID == (eventstore.AppendID{}) {
		return s.commit(req)
	}
	s.appendsMu.Lock()
	defer s.appendsMu.Unlock()
	if first, ok := s.appends[req.ID]; ok {
		return repeatAppend(first, req)
	}
	res, err := s.commit(req)
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
func (s *Store) commit(req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	if len(req.Streams) == 1 {
		sh := s.shardOf(req.Streams[0].Stream)
		sh.mu.Lock()
		defer sh.mu.Unlock()
	} else {
		defer s.lockShards(req.Streams)()
	}
	if conflict, err := s.check(req); err != nil {
		return eventstore.AppendResult{}, err
	} else if conflict != nil {
		if first, ok := s.findDuplicate(req); ok {
			return first, nil
		}
		if conflict.refused {
			return eventstore.AppendResult{}, conflict.err
		}
	}
	return s.write(req), nil
}

// A doubt says why an append may have been made before: it conflicts, or it
// starts a deleted stream anew, which it may have held already.
type doubt struct {
	err     *eventstore.ConflictError
	refused bool
}

// check compares all streams with what the request expects. The locks are held.
func (s *Store) check(req eventstore.AppendRequest) (*doubt, error) {
	var d *doubt
	for i := range req.Streams {
		p := &req.Streams[i]
		info := s.shardOf(p.Stream).info(p.Stream)
		switch {
		case info.State == eventstore.Tombstoned:
			return nil, &eventstore.TombstonedError{Stream: p.Stream}
		case !p.Expected.Matches(info):
			if d == nil || !d.refused {
				d = &doubt{refused: true, err: &eventstore.ConflictError{Stream: p.Stream, Expected: p.Expected, Actual: info.Head}}
			}
		case info.State == eventstore.Deleted && p.Expected == eventstore.NoStream && d == nil:
			d = &doubt{}
		}
	}
	return d, nil
}

// findDuplicate returns the result of an earlier append of the same events at the
// same places. The locks are held.
func (s *Store) findDuplicate(req eventstore.AppendRequest) (eventstore.AppendResult, bool) {
	res := eventstore.AppendResult{Streams: make([]eventstore.StreamResult, len(req.Streams)), Duplicate: true}
	var last eventstore.Position
	for i, p := range req.Streams {
		st := s.shardOf(p.Stream).streams[p.Stream]
		if len(p.Events) == 0 {
			res.Streams[i] = eventstore.StreamResult{Stream: p.Stream}
			if st != nil {
				res.Streams[i].Last = st.head()
			}
			continue
		}
		after, ok := s.placeOf(st, p)
		if !ok {
			return eventstore.AppendResult{}, false
		}
		n := eventstore.Version(len(p.Events))
		res.Streams[i] = eventstore.StreamResult{Stream: p.Stream, First: after + 1, Last: after + n}
		last = max(last, st.positions[after+n-1])
	}
	if last == 0 {
		return eventstore.AppendResult{}, false // nothing to be written, nothing to recognise
	}
	res.Token = tokenOf(last)
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
	// NoStream is also what starts a stream anew after its deletion.
	if expected == 0 && st.restart > 0 && s.holds(st, st.restart, p.Events) {
		return st.restart, true
	}
	return 0, false
}

func (s *Store) holds(st *stream, after eventstore.Version, events []eventstore.EventData) bool {
	if after+eventstore.Version(len(events)) > st.head() {
		return false
	}
	for i := range events {
		if s.log.at(st.positions[int(after)+i]).id != events[i].ID {
			return false
		}
	}
	return true
}

// write writes a checked request. The locks are held.
func (s *Store) write(req eventstore.AppendRequest) eventstore.AppendResult {
	res := eventstore.AppendResult{Streams: make([]eventstore.StreamResult, len(req.Streams))}
	n := 0
	for i := range req.Streams {
		n += len(req.Streams[i].Events)
	}
	var streams [4]*stream // of the parts; more of them escape to the heap
	parts := append(streams[:0], make([]*stream, len(req.Streams))...)
	for i := range req.Streams {
		p := &req.Streams[i]
		res.Streams[i].Stream = p.Stream
		if len(p.Events) == 0 {
			res.Streams[i].Last = s.shardOf(p.Stream).info(p.Stream).Head
			continue
		}
		parts[i] = s.shardOf(p.Stream).stream(p.Stream)
	}
	if n == 0 {
		return res
	}

	s.log.mu.Lock()
	position := s.log.reserve(n)
	for i := range req.Streams {
		events := req.Streams[i].Events
		for j := range events {
			s.log.at(position).set(parts[i], eventstore.Version(len(parts[i].positions)+1), &events[j])
			parts[i].positions = append(parts[i].positions, position)
			position++
		}
	}
	s.log.publish()
	s.log.mu.Unlock()

	for i, st := range parts {
		if st == nil {
			continue
		}
		if st.state == eventstore.Deleted {
			st.state = eventstore.Live
			st.first = st.restart + 1
		}
		res.Streams[i].Last = st.head()
		res.Streams[i].First = st.head() - eventstore.Version(len(req.Streams[i].Events)) + 1
	}
	res.Token = tokenOf(position - 1)
	return res
}

// set fills a record from a prepared event, whose memory it takes over.
func (r *record) set(st *stream, v eventstore.Version, e *eventstore.EventData) {
	r.id, r.stream, r.version, r.typ = e.ID, st, v, e.Type
	r.data, r.millis, r.schema, r.format = e.Data, e.Time.UnixMilli(), int32(e.Schema), e.Format
	if !e.Metadata.IsZero() {
		meta := e.Metadata
		r.meta = &meta
	}
}

// tokenOf returns the token of an append whose last event has a position.
func tokenOf(p eventstore.Position) eventstore.Token {
	return eventstore.Token(strconv.FormatInt(int64(p), 10))
}

func invalidf(what, format string, args ...any) error {
	return &eventstore.InvalidError{What: what, Reason: fmt.Sprintf(format, args...)}
}
