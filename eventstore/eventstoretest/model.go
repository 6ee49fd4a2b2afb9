package eventstoretest

import (
	"slices"

	"github.com/annals-es/annals/eventstore"
)

// A model is what the contract says of a store, for one caller at a time.
type model struct {
	streams map[eventstore.StreamID]*modelStream
	appends map[eventstore.AppendID]eventstore.AppendResult
	log     []eventstore.EventID
}

type modelStream struct {
	ids       []eventstore.EventID
	first     eventstore.Version
	deletions []eventstore.Version // the heads at which the stream was deleted
	state     eventstore.StreamState
	erased    bool
}

func newModel() *model {
	return &model{streams: map[eventstore.StreamID]*modelStream{}, appends: map[eventstore.AppendID]eventstore.AppendResult{}}
}

func (m *model) stream(name eventstore.StreamID) *modelStream {
	s, ok := m.streams[name]
	if !ok {
		s = &modelStream{first: 1}
		m.streams[name] = s
	}
	return s
}

func (m *model) info(name eventstore.StreamID) eventstore.StreamInfo {
	s := m.stream(name)
	info := eventstore.StreamInfo{Stream: name, Head: eventstore.Version(len(s.ids)), First: s.first, State: s.state}
	if s.state != eventstore.Live {
		info.First = info.Head + 1
	}
	return info
}

func (m *model) append(req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	if first, ok := m.appends[req.ID]; ok {
		first.Duplicate = true
		return first, nil // the runs never use an id for another append
	}
	for _, p := range req.Streams {
		if m.stream(p.Stream).state == eventstore.Tombstoned {
			return eventstore.AppendResult{}, &eventstore.TombstonedError{Stream: p.Stream}
		}
	}
	if first, ok := m.made(req); ok {
		return first, nil
	}
	for _, p := range req.Streams {
		if info := m.info(p.Stream); !p.Expected.Matches(info) {
			return eventstore.AppendResult{}, &eventstore.ConflictError{Stream: p.Stream, Expected: p.Expected, Actual: info.Head}
		}
	}
	var res eventstore.AppendResult
	for _, p := range req.Streams {
		s := m.stream(p.Stream)
		r := eventstore.StreamResult{Stream: p.Stream}
		if len(p.Events) > 0 {
			r.First = eventstore.Version(len(s.ids) + 1)
			if s.state == eventstore.Deleted {
				s.state, s.first = eventstore.Live, r.First
			}
		}
		for _, e := range p.Events {
			s.ids = append(s.ids, e.ID)
			m.log = append(m.log, e.ID)
		}
		r.Last = eventstore.Version(len(s.ids))
		res.Streams = append(res.Streams, r)
	}
	if req.ID != (eventstore.AppendID{}) && slices.ContainsFunc(req.Streams, func(p eventstore.StreamAppend) bool { return len(p.Events) > 0 }) {
		m.appends[req.ID] = res
	}
	return res, nil
}

// made returns the result of an append that is recognised by its event ids.
func (m *model) made(req eventstore.AppendRequest) (eventstore.AppendResult, bool) {
	res := eventstore.AppendResult{Duplicate: true}
	written := false
	for _, p := range req.Streams {
		s := m.stream(p.Stream)
		r := eventstore.StreamResult{Stream: p.Stream, Last: eventstore.Version(len(s.ids))}
		if len(p.Events) > 0 {
			after, ok := s.placeOf(p)
			if !ok {
				return eventstore.AppendResult{}, false
			}
			written = true
			r.First, r.Last = after+1, after+eventstore.Version(len(p.Events))
		}
		res.Streams = append(res.Streams, r)
	}
	return res, written
}

func (s *modelStream) placeOf(p eventstore.StreamAppend) (eventstore.Version, bool) {
	expected, exact := p.Expected.Version()
	if !exact {
		return 0, false
	}
	places := []eventstore.Version{expected}
	if p.Expected == eventstore.NoStream {
		places = append(places, s.deletions...)
	}
	for _, after := range places {
		end := int(after) + len(p.Events)
		if end <= len(s.ids) && slices.EqualFunc(s.ids[after:end], p.Events, func(id eventstore.EventID, e eventstore.EventData) bool { return id == e.ID }) {
			return after, true
		}
	}
	return 0, false
}

// isConflict reports whether a conflict tells the truth about a request.
func (m *model) isConflict(req eventstore.AppendRequest, c eventstore.ConflictError) bool {
	i := slices.IndexFunc(req.Streams, func(p eventstore.StreamAppend) bool { return p.Stream == c.Stream })
	if i < 0 {
		return false
	}
	info := m.info(c.Stream)
	return c.Expected == req.Streams[i].Expected && c.Actual == info.Head && !c.Expected.Matches(info)
}

func (m *model) expect(name eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	if info := m.info(name); !expected.Matches(info) {
		return &eventstore.ConflictError{Stream: name, Expected: expected, Actual: info.Head}
	}
	return nil
}

func (m *model) delete(name eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	s := m.stream(name)
	if s.state == eventstore.Tombstoned {
		return &eventstore.TombstonedError{Stream: name}
	}
	if s.state == eventstore.Deleted || len(s.ids) == 0 {
		return nil
	}
	if err := m.expect(name, expected); err != nil {
		return err
	}
	s.state = eventstore.Deleted
	s.deletions = append(s.deletions, eventstore.Version(len(s.ids)))
	return nil
}

func (m *model) tombstone(name eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	s := m.stream(name)
	if s.state == eventstore.Tombstoned {
		return nil
	}
	if err := m.expect(name, expected); err != nil {
		return err
	}
	s.state = eventstore.Tombstoned
	return nil
}

func (m *model) truncate(name eventstore.StreamID, before eventstore.Version) error {
	s := m.stream(name)
	switch {
	case s.state == eventstore.Tombstoned:
		return &eventstore.TombstonedError{Stream: name}
	case before > eventstore.Version(len(s.ids))+1:
		return &eventstore.InvalidError{What: "before", Reason: "is beyond the head"}
	}
	if s.state == eventstore.Live {
		s.first = max(s.first, before)
	}
	return nil
}

func (m *model) erase(name eventstore.StreamID) {
	s := m.stream(name)
	s.state, s.erased = eventstore.Tombstoned, true
}
