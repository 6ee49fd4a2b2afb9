package eventstoretest_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A flaw is a way in which a store is broken on purpose.
type flaw string

const (
	sound              flaw = ""
	lostUpdate         flaw = "lost update"
	racyUpdate         flaw = "check and write are two steps"
	gapAboveHead       flaw = "gap accepted above the head"
	landsBehindWinner  flaw = "retry lands behind the winner"
	partialBatch       flaw = "partial batch"
	partialAppend      flaw = "one stream of several is written"
	doubled            flaw = "duplicate"
	forgetsAppendIDs   flaw = "append ids are forgotten"
	wrongActual        flaw = "wrong conflict version"
	untypedConflict    flaw = "conflict of an untyped error"
	aliasesInput       flaw = "keeps the caller's memory"
	aliasesOutput      flaw = "hands out its own memory"
	reorderedLog       flaw = "reordered log"
	skippedPosition    flaw = "skipped position"
	lateCommit         flaw = "position given before the commit"
	blockedAfterCancel flaw = "stream blocked after a cancelled append"
	leaksGoroutines    flaw = "leaked goroutine"
	losesAcknowledged  flaw = "acknowledged append lost"
	deniesWrites       flaw = "says not written of what was written"
	unmarkedErrors     flaw = "errors without an outcome"
	checksBefore       flaw = "other streams are checked before the write"
	stopsAtPage        flaw = "read ends at a page"
	deletesByPrefix    flaw = "deletes streams whose names begin alike"
	reusesVersions     flaw = "versions start anew after a deletion"
	unrealConflict     flaw = "conflicts with nobody"
	servesClosed       flaw = "answers after it was closed"
	yieldsAfterError   flaw = "read of a cancelled context ends as if complete"
	erasesInStreamOnly flaw = "erased data stays in the log"
)

// A flawedStore is a small store of its own making, sound but for its flaw.
type flawedStore struct {
	flaw    flaw
	lock    chan struct{} // held while it has an element
	streams map[eventstore.StreamID]*flawedStream
	log     []eventstore.Event
	next    eventstore.Position
	appends map[eventstore.AppendID]eventstore.AppendResult
	refused map[eventstore.EventID]bool
	changed chan struct{}
	closed  bool
	count   int
}

type flawedStream struct {
	events    []eventstore.Event
	first     eventstore.Version
	deletions []eventstore.Version
	state     eventstore.StreamState
}

func newFlawedStore(f flaw) *flawedStore {
	return &flawedStore{
		flaw: f, lock: make(chan struct{}, 1), streams: map[eventstore.StreamID]*flawedStream{},
		appends: map[eventstore.AppendID]eventstore.AppendResult{}, refused: map[eventstore.EventID]bool{}, changed: make(chan struct{}),
	}
}

func (s *flawedStore) acquire(ctx context.Context) error {
	select {
	case s.lock <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := ctx.Err(); err != nil {
		s.release()
		return err
	}
	if s.closed && s.flaw != servesClosed {
		s.release()
		return eventstore.ErrClosed
	}
	return nil
}

func (s *flawedStore) release() { <-s.lock }

func (s *flawedStore) Close() error {
	s.lock <- struct{}{}
	defer s.release()
	s.closed = true
	s.notify()
	return nil
}

func (s *flawedStore) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *flawedStore) stream(name eventstore.StreamID) *flawedStream {
	st, ok := s.streams[name]
	if !ok {
		st = &flawedStream{first: 1}
		s.streams[name] = st
	}
	return st
}

func (s *flawedStore) info(name eventstore.StreamID) eventstore.StreamInfo {
	st := s.stream(name)
	info := eventstore.StreamInfo{Stream: name, Head: eventstore.Version(len(st.events)), First: st.first, State: st.state}
	if st.state != eventstore.Live {
		info.First = info.Head + 1
	}
	return info
}

func (s *flawedStore) Append(ctx context.Context, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	prepared, err := eventstore.Prepare(ctx, req, time.Now())
	if err != nil {
		return eventstore.AppendResult{}, s.mark(err)
	}
	if s.flaw == aliasesInput {
		for i, p := range req.Streams {
			for j := range p.Events {
				prepared.Streams[i].Events[j].Data = p.Events[j].Data
			}
		}
	}
	if err := s.acquire(ctx); err != nil {
		return eventstore.AppendResult{}, s.mark(err)
	}
	if s.flaw == blockedAfterCancel && s.gaveUp(ctx) {
		return eventstore.AppendResult{}, eventstore.NotWritten(context.DeadlineExceeded)
	}
	if s.flaw == racyUpdate || s.flaw == checksBefore {
		defer s.release()
		return s.appendInTwoSteps(ctx, prepared)
	}
	if s.flaw == lateCommit {
		return s.appendLate(prepared)
	}
	defer s.release()
	res, err := s.append(prepared)
	if s.flaw == deniesWrites && err == nil && s.gaveUp(ctx) {
		return eventstore.AppendResult{}, eventstore.NotWritten(context.DeadlineExceeded)
	}
	return res, err
}

// gaveUp reports whether the caller's patience ends about now.
func (s *flawedStore) gaveUp(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	if !ok || time.Until(deadline) > time.Millisecond {
		return false
	}
	<-ctx.Done()
	return true
}

func (s *flawedStore) mark(err error) error {
	if s.flaw == unmarkedErrors && !errors.Is(err, eventstore.ErrInvalid) {
		return errors.Unwrap(fmt.Errorf("%w", context.Cause(contextOf(err))))
	}
	return eventstore.NotWritten(err)
}

// contextOf returns a context that ended with the bare error in err.
func contextOf(err error) context.Context {
	for _, bare := range []error{context.Canceled, context.DeadlineExceeded, eventstore.ErrClosed} {
		if errors.Is(err, bare) {
			err = bare
		}
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	cancel(err)
	return ctx
}

// appendInTwoSteps lets go of the lock between check and write.
func (s *flawedStore) appendInTwoSteps(ctx context.Context, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	for i, p := range req.Streams {
		if s.flaw == checksBefore && len(p.Events) > 0 {
			continue
		}
		if !p.Expected.Matches(s.info(p.Stream)) {
			return s.append(req) // which conflicts or is a duplicate
		}
		if s.flaw == racyUpdate || len(p.Events) == 0 {
			req.Streams[i].Expected = eventstore.Any
		}
	}
	s.release()
	time.Sleep(time.Duration(rand.IntN(50)) * time.Microsecond)
	s.lock <- struct{}{}
	return s.append(req)
}

// appendLate gives positions first and commits later, in any order.
func (s *flawedStore) appendLate(req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	before := len(s.log)
	res, err := s.append(req)
	late := slices.Clone(s.log[before:])
	s.log = s.log[:before]
	s.release()
	time.Sleep(time.Duration(rand.IntN(300)) * time.Microsecond)
	s.lock <- struct{}{}
	defer s.release()
	s.log = append(s.log, late...)
	slices.SortFunc(s.log, func(a, b eventstore.Event) int { return int(a.Position - b.Position) })
	s.notify()
	return res, err
}

func (s *flawedStore) append(req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	if first, ok := s.appends[req.ID]; ok {
		if !slices.EqualFunc(first.Streams, req.Streams, func(r eventstore.StreamResult, p eventstore.StreamAppend) bool { return r.Stream == p.Stream }) {
			return eventstore.AppendResult{}, eventstore.NotWritten(eventstore.ErrAppendIDReused)
		}
		first.Streams, first.Duplicate = slices.Clone(first.Streams), true
		return first, nil
	}
	for _, p := range req.Streams {
		if s.stream(p.Stream).state == eventstore.Tombstoned {
			return eventstore.AppendResult{}, &eventstore.TombstonedError{Stream: p.Stream}
		}
	}
	if first, ok := s.repeated(req); ok && s.flaw != doubled {
		return first, nil
	}
	if err := s.check(req); err != nil {
		return eventstore.AppendResult{}, err
	}
	if s.count++; s.flaw == unrealConflict && s.count%7 == 0 && req.Streams[0].Expected != eventstore.Any {
		p := req.Streams[0]
		return eventstore.AppendResult{}, &eventstore.ConflictError{Stream: p.Stream, Expected: p.Expected, Actual: s.info(p.Stream).Head + 50}
	}
	var res eventstore.AppendResult
	for _, p := range req.Streams {
		res.Streams = append(res.Streams, s.write(p))
	}
	if s.next > 0 && slices.ContainsFunc(req.Streams, func(p eventstore.StreamAppend) bool { return len(p.Events) > 0 }) {
		res.Token = eventstore.Token(strconv.FormatInt(int64(s.next), 10))
		if req.ID != (eventstore.AppendID{}) && s.flaw != forgetsAppendIDs {
			s.appends[req.ID] = eventstore.AppendResult{Streams: slices.Clone(res.Streams), Token: res.Token}
		}
	}
	s.notify()
	return res, nil
}

func (s *flawedStore) check(req eventstore.AppendRequest) error {
	for i, p := range req.Streams {
		info := s.info(p.Stream)
		if p.Expected.Matches(info) {
			continue
		}
		expected, exact := p.Expected.Version()
		switch {
		case s.flaw == lostUpdate && exact && expected < info.Head,
			s.flaw == gapAboveHead && exact && expected > info.Head,
			s.flaw == doubled && len(p.Events) > 0 && exact && expected < info.Head && s.stream(p.Stream).events[expected].ID == p.Events[0].ID:
			continue
		case s.flaw == landsBehindWinner && len(p.Events) > 0 && s.refused[p.Events[0].ID]:
			continue
		case s.flaw == partialAppend:
			for _, done := range req.Streams[:i] {
				s.write(done)
			}
		case s.flaw == partialBatch && len(p.Events) > 2:
			p.Events = p.Events[:1]
			s.write(p)
		case s.flaw == wrongActual:
			info.Head = max(expected, 0)
		case s.flaw == untypedConflict:
			return eventstore.NotWritten(fmt.Errorf("%w: %s", eventstore.ErrConflict, p.Stream))
		}
		if len(p.Events) > 0 {
			s.refused[p.Events[0].ID] = true
		}
		return &eventstore.ConflictError{Stream: p.Stream, Expected: p.Expected, Actual: info.Head}
	}
	return nil
}

func (s *flawedStore) repeated(req eventstore.AppendRequest) (eventstore.AppendResult, bool) {
	res := eventstore.AppendResult{Duplicate: true}
	var last eventstore.Position
	for _, p := range req.Streams {
		st := s.stream(p.Stream)
		r := eventstore.StreamResult{Stream: p.Stream, Last: eventstore.Version(len(st.events))}
		if len(p.Events) > 0 {
			after, ok := st.placeOf(p)
			if !ok {
				return res, false
			}
			r.First, r.Last = after+1, after+eventstore.Version(len(p.Events))
			last = max(last, st.events[r.Last-1].Position)
		}
		res.Streams = append(res.Streams, r)
	}
	res.Token = eventstore.Token(strconv.FormatInt(int64(last), 10))
	return res, last > 0
}

func (st *flawedStream) placeOf(p eventstore.StreamAppend) (eventstore.Version, bool) {
	expected, exact := p.Expected.Version()
	if !exact {
		return 0, false
	}
	places := []eventstore.Version{expected}
	if expected == 0 {
		places = append(places, st.deletions...)
	}
	for _, after := range places {
		if end := int(after) + len(p.Events); end <= len(st.events) &&
			slices.EqualFunc(st.events[after:end], p.Events, func(e eventstore.Event, d eventstore.EventData) bool { return e.ID == d.ID }) {
			return after, true
		}
	}
	return 0, false
}

func (s *flawedStore) write(p eventstore.StreamAppend) eventstore.StreamResult {
	st := s.stream(p.Stream)
	res := eventstore.StreamResult{Stream: p.Stream, Last: eventstore.Version(len(st.events))}
	if len(p.Events) == 0 {
		return res
	}
	if st.state == eventstore.Deleted {
		st.state, st.first = eventstore.Live, res.Last+1
		if s.flaw == reusesVersions {
			st.events, st.first, res.Last = nil, 1, 0
		}
	}
	res.First = res.Last + 1
	if expected, exact := p.Expected.Version(); s.flaw == gapAboveHead && exact && expected > res.Last {
		res.First = expected + 1
	}
	start := len(s.log)
	for i, d := range p.Events {
		if s.next++; s.flaw == skippedPosition && s.next%10 == 0 {
			s.next++
		}
		e := eventstore.Event{
			ID: d.ID, Stream: p.Stream, Version: res.First + eventstore.Version(i), Position: s.next, Type: d.Type, Schema: d.Schema,
			Format: d.Format, Data: d.Data, Metadata: d.Metadata, Time: d.Time,
		}
		res.Last = e.Version
		if s.count%25 == 24 && s.flaw == losesAcknowledged {
			s.next--
			continue
		}
		st.events = append(st.events, e)
		s.log = append(s.log, e)
	}
	if s.flaw == reorderedLog {
		slices.Reverse(s.log[start:])
		for i := range s.log[start:] {
			s.log[start+i].Position = s.next - eventstore.Position(len(s.log)-start-1-i)
		}
	}
	return res
}

func (s *flawedStore) ReadStream(ctx context.Context, name eventstore.StreamID, q eventstore.StreamQuery) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		events, err := s.selectStream(ctx, name, q)
		if err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		if s.flaw == leaksGoroutines {
			s.yieldFromGoroutine(events, yield)
			return
		}
		if s.flaw == stopsAtPage {
			events = events[:min(len(events), 101)]
		}
		s.yield(ctx, events, yield)
	}
}

func (s *flawedStore) selectStream(ctx context.Context, name eventstore.StreamID, q eventstore.StreamQuery) ([]eventstore.Event, error) {
	if err := name.Validate(); err != nil {
		return nil, err
	}
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	defer s.release()
	info := s.info(name)
	if info.State == eventstore.Tombstoned {
		return nil, &eventstore.TombstonedError{Stream: name}
	}
	all := slices.Clone(s.stream(name).events)
	if q.Direction == eventstore.Backward {
		slices.Reverse(all)
	}
	var events []eventstore.Event
	for _, e := range all {
		e.Position = 0
		beyond := q.From > 0 && (q.Direction == eventstore.Forward && e.Version < q.From || q.Direction == eventstore.Backward && e.Version > q.From)
		if e.Version >= info.First && !beyond && (q.Limit == 0 || len(events) < q.Limit) {
			events = append(events, e)
		}
	}
	return events, nil
}

func (s *flawedStore) yield(ctx context.Context, events []eventstore.Event, yield func(eventstore.Event, error) bool) {
	for _, e := range events {
		if err := ctx.Err(); err != nil {
			if s.flaw != yieldsAfterError {
				yield(eventstore.Event{}, err)
			}
			return
		}
		if s.flaw != aliasesOutput {
			e = e.Clone()
		}
		if !yield(e, nil) {
			return
		}
	}
}

func (s *flawedStore) yieldFromGoroutine(events []eventstore.Event, yield func(eventstore.Event, error) bool) {
	c := make(chan eventstore.Event)
	go func() {
		defer close(c)
		for _, e := range events {
			c <- e.Clone()
		}
	}()
	for e := range c {
		if !yield(e, nil) {
			return
		}
	}
}

func (s *flawedStore) ReadLog(ctx context.Context, q eventstore.LogQuery) iter.Seq2[eventstore.Event, error] {
	return func(yield func(eventstore.Event, error) bool) {
		err := q.Validate()
		if err == nil {
			err = s.acquire(ctx)
		}
		if err != nil {
			yield(eventstore.Event{}, err)
			return
		}
		matches := q.Filter.Matcher()
		var events []eventstore.Event
		for _, e := range s.log {
			if e.Position > q.After && (q.Through == 0 || e.Position <= q.Through) && matches(e.Stream, e.Type) && (q.Limit == 0 || len(events) < q.Limit) {
				events = append(events, e)
			}
		}
		s.release()
		s.yield(ctx, events, yield)
	}
}

func (s *flawedStore) Head(ctx context.Context) (eventstore.Position, error) {
	if err := s.acquire(ctx); err != nil {
		return 0, err
	}
	defer s.release()
	return s.head(), nil
}

func (s *flawedStore) head() eventstore.Position {
	if len(s.log) == 0 {
		return 0
	}
	return s.log[len(s.log)-1].Position
}

func (s *flawedStore) Wait(ctx context.Context, after eventstore.Position) (eventstore.Position, error) {
	for {
		if err := s.acquire(ctx); err != nil {
			return 0, err
		}
		head, changed := s.head(), s.changed
		s.release()
		if head > after {
			return head, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
}

func (s *flawedStore) Await(ctx context.Context, token eventstore.Token) (eventstore.Position, error) {
	if token == "" {
		return 0, nil
	}
	p, err := strconv.ParseInt(string(token), 10, 64)
	if err != nil || p < 1 {
		return 0, &eventstore.InvalidError{What: "token", Reason: "is none"}
	}
	_, err = s.Wait(ctx, eventstore.Position(p-1))
	return eventstore.Position(p), err
}

func (s *flawedStore) StreamInfo(ctx context.Context, name eventstore.StreamID) (eventstore.StreamInfo, error) {
	var info eventstore.StreamInfo
	err := s.change(ctx, name, eventstore.Any, func(*flawedStream) error { info = s.info(name); return nil })
	return info, err
}

// change runs fn on a stream under the lock.
func (s *flawedStore) change(ctx context.Context, name eventstore.StreamID, expected eventstore.ExpectedVersion, fn func(*flawedStream) error) error {
	if err := name.Validate(); err != nil {
		return err
	}
	if err := expected.Validate(); err != nil {
		return err
	}
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	return fn(s.stream(name))
}

func (s *flawedStore) expect(name eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	if info := s.info(name); !expected.Matches(info) {
		return &eventstore.ConflictError{Stream: name, Expected: expected, Actual: info.Head}
	}
	return nil
}

func (s *flawedStore) Delete(ctx context.Context, name eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	return s.change(ctx, name, expected, func(st *flawedStream) error {
		switch {
		case st.state == eventstore.Tombstoned:
			return &eventstore.TombstonedError{Stream: name}
		case len(st.events) == 0 || st.state == eventstore.Deleted:
			return nil
		}
		if err := s.expect(name, expected); err != nil {
			return err
		}
		for other, st := range s.streams {
			if other == name || s.flaw == deletesByPrefix && strings.HasPrefix(string(other), string(name)) {
				st.state = eventstore.Deleted
				st.deletions = append(st.deletions, eventstore.Version(len(st.events)))
			}
		}
		return nil
	})
}

func (s *flawedStore) Tombstone(ctx context.Context, name eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	return s.change(ctx, name, expected, func(st *flawedStream) error {
		if st.state == eventstore.Tombstoned {
			return nil
		}
		if err := s.expect(name, expected); err != nil {
			return err
		}
		st.state = eventstore.Tombstoned
		return nil
	})
}

func (s *flawedStore) Truncate(ctx context.Context, name eventstore.StreamID, before eventstore.Version) error {
	return s.change(ctx, name, eventstore.Any, func(st *flawedStream) error {
		switch {
		case st.state == eventstore.Tombstoned:
			return &eventstore.TombstonedError{Stream: name}
		case before < 0 || before > eventstore.Version(len(st.events))+1:
			return &eventstore.InvalidError{What: "before", Reason: "is not in the stream"}
		case st.state == eventstore.Live:
			st.first = max(st.first, before)
		}
		return nil
	})
}

func (s *flawedStore) Erase(ctx context.Context, name eventstore.StreamID) error {
	return s.change(ctx, name, eventstore.Any, func(st *flawedStream) error {
		st.state = eventstore.Tombstoned
		for i, e := range s.log {
			if e.Stream == name && s.flaw != erasesInStreamOnly {
				s.log[i] = eventstore.Event{Stream: name, Version: e.Version, Position: e.Position, Type: eventstore.ErasedType}
			}
		}
		return nil
	})
}

var (
	_ eventstore.EventStore = (*flawedStore)(nil)
	_ eventstore.Streams    = (*flawedStore)(nil)
)
