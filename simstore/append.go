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
		return none, f.unknown(OpAppend)
	case UnknownNotWritten:
		return none, f.unknown(OpAppend)
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

// A slot is where a part of a request goes.
type slot struct {
	shard  *shard
	stream *stream // nil when there is none yet
}

func (sl slot) info(name eventstore.StreamID) eventstore.StreamInfo {
	if sl.stream == nil {
		return eventstore.StreamInfo{Stream: name, First: 1}
	}
	return sl.stream.info()
}

// commit is the atomic step: it checks all streams and writes, or writes
// nothing.
func (s *Store) commit(req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	slots := make([]slot, 0, 4) // stays on the stack unless there are more
	if len(req.Streams) == 1 {
		sh := s.shardOf(req.Streams[0].Stream)
		sh.mu.Lock()
		defer sh.mu.Unlock()
		slots = append(slots, slot{shard: sh})
	} else {
		defer s.lockShards(req.Streams)()
		for i := range req.Streams {
			slots = append(slots, slot{shard: s.shardOf(req.Streams[i].Stream)})
		}
	}
	for i := range slots {
		slots[i].stream = slots[i].shard.streams[req.Streams[i].Stream]
	}
	conflict, again, err := check(req, slots)
	if err != nil {
		return eventstore.AppendResult{}, err
	}
	if conflict != nil || again {
		if first, ok := s.findDuplicate(req, slots); ok {
			return first, nil
		}
	}
	if conflict != nil {
		return eventstore.AppendResult{}, conflict
	}
	return s.write(req, slots), nil
}

// check compares all streams with what the request expects. again is set when a
// deleted stream is to be started anew, which may have been done already.
func check(req eventstore.AppendRequest, slots []slot) (conflict *eventstore.ConflictError, again bool, err error) {
	for i := range req.Streams {
		p := &req.Streams[i]
		info := slots[i].info(p.Stream)
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
func (s *Store) findDuplicate(req eventstore.AppendRequest, slots []slot) (eventstore.AppendResult, bool) {
	res := eventstore.AppendResult{Streams: make([]eventstore.StreamResult, len(req.Streams)), Duplicate: true}
	var last eventstore.Position
	for i, p := range req.Streams {
		if len(p.Events) == 0 {
			res.Streams[i] = eventstore.StreamResult{Stream: p.Stream, Last: slots[i].info(p.Stream).Head}
			continue
		}
		st := slots[i].stream
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
	if expected == 0 {
		for _, head := range st.deleted { // NoStream also started the stream anew there
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
		if s.log.at(st.positions[int(after)+i]).id != events[i].ID {
			return false
		}
	}
	return true
}

// write writes a checked request. The locks of its streams are held.
func (s *Store) write(req eventstore.AppendRequest, slots []slot) eventstore.AppendResult {
	res := eventstore.AppendResult{Streams: make([]eventstore.StreamResult, len(req.Streams))}
	n := 0
	for i := range req.Streams {
		p := &req.Streams[i]
		n += len(p.Events)
		res.Streams[i].Stream = p.Stream
		if len(p.Events) > 0 && slots[i].stream == nil {
			slots[i].stream = slots[i].shard.stream(p.Stream)
		}
	}
	var last eventstore.Position
	if n > 0 {
		last = s.record(req, slots)
		res.Token = tokenOf(last)
	}
	for i := range req.Streams {
		st, r := slots[i].stream, &res.Streams[i]
		if st == nil {
			continue // was only checked, and is not there
		}
		r.Last = st.head()
		if appended := len(req.Streams[i].Events); appended > 0 {
			r.First = r.Last - eventstore.Version(appended) + 1
			st.revive()
		}
	}
	return res
}

// record puts a request's events into the log and returns the position of the
// last one.
func (s *Store) record(req eventstore.AppendRequest, slots []slot) eventstore.Position {
	s.log.mu.Lock()
	defer s.log.mu.Unlock()
	for i := range req.Streams {
		st, events := slots[i].stream, req.Streams[i].Events
		for j := range events {
			st.positions = append(st.positions, s.log.add(st, &events[j]))
		}
	}
	s.log.publish()
	return s.log.committed
}

// tokenOf returns the token of an append whose last event has a position.
func tokenOf(p eventstore.Position) eventstore.Token {
	return eventstore.Token(strconv.FormatInt(int64(p), 10))
}

func invalidf(what, format string, args ...any) error {
	return &eventstore.InvalidError{What: what, Reason: fmt.Sprintf(format, args...)}
}
