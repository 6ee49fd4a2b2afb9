package eventstoretest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/annals-es/annals/eventstore"
)

// A History records what concurrent writers and readers did to a store and what
// they were told, and then judges whether a store that keeps its contract could
// have answered so: no acknowledged event lost, none doubled, none reordered, no
// gap, every conflict real, several streams written and checked in one step, and
// all of it in an order that nobody's clock contradicts. What an append of
// unknown outcome did is free, as long as it did all or nothing.
//
// It is for streams that nobody else writes, and that are not deleted or
// truncated meanwhile. It is safe for concurrent use; the zero value is ready.
type History struct {
	// Failover says that servers were replaced meanwhile. Then a read, or the
	// version that a refusal names, may lag behind what other handles of the store
	// have committed; it is held to what its own handle has seen before. Set it
	// before Check.
	Failover bool

	clock atomic.Int64
	mu    sync.Mutex
	// attempts and reads are in the order of their ends.
	attempts []Attempt
	reads    []read
}

// An Attempt is one call of Append. Attempts with the same event ids are one
// append, made again.
type Attempt struct {
	// Request has the ids of its events set.
	Request eventstore.AppendRequest
	Result  eventstore.AppendResult
	Err     error
	// Begin and End are readings of one clock that never goes back, taken
	// before and after the call. End is zero for a call that never returned.
	Begin, End int64

	store any // the handle that made it; nil if unknown
}

// A read is what a ReadStream from the first event yielded.
type read struct {
	stream     eventstore.StreamID
	versions   []eventstore.EventID
	begin, end int64
	store      any // the handle that made it
}

// Append makes an append and records it. Events without an id get one.
func (h *History) Append(ctx context.Context, store eventstore.Appender, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	a := Attempt{Request: withIDs(req), Begin: h.clock.Add(1), store: handle(store)}
	a.Result, a.Err = store.Append(ctx, a.Request)
	a.End = h.clock.Add(1)
	h.Add(a)
	return a.Result, a.Err
}

// withIDs returns a copy of a request whose events have ids.
func withIDs(req eventstore.AppendRequest) eventstore.AppendRequest {
	req.Streams = slices.Clone(req.Streams)
	for i := range req.Streams {
		events := slices.Clone(req.Streams[i].Events)
		for j := range events {
			if events[j].ID == (eventstore.EventID{}) {
				events[j].ID = eventstore.NewEventID()
			}
		}
		req.Streams[i].Events = events
	}
	return req
}

// Add records an attempt that was made elsewhere, such as in another process. Its
// clock must be that of all attempts: do not mix it with [History.Append].
func (h *History) Add(a Attempt) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.attempts = append(h.attempts, a)
}

// ReadStream reads a whole stream and records what it saw.
func (h *History) ReadStream(ctx context.Context, store eventstore.StreamReader, stream eventstore.StreamID) ([]eventstore.Event, error) {
	r := read{stream: stream, begin: h.clock.Add(1), store: handle(store)}
	events, err := eventstore.Collect(store.ReadStream(ctx, stream, eventstore.StreamQuery{}))
	if err != nil {
		return events, err
	}
	r.end = h.clock.Add(1)
	for _, e := range events {
		r.versions = append(r.versions, e.ID)
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.reads = append(h.reads, r)
	return events, nil
}

// Check reads all streams of the history and the log, and returns what a store
// that keeps its contract could not have done, as one error for all that was
// found. It waits until the log has what the streams have. Call it when all
// writers have ended.
func (h *History) Check(ctx context.Context, store eventstore.EventStore) error {
	h.mu.Lock()
	c := newChecker(h.attempts, h.reads)
	c.failover = h.Failover
	h.mu.Unlock()
	if err := c.collect(ctx, store); err != nil {
		return err
	}
	c.checkStreams()
	c.checkLog()
	c.checkOperations()
	c.checkConflicts()
	c.checkReads()
	c.checkOwnReads()
	if len(c.violations) == 0 { // an order is sought only for what makes sense by itself
		c.checkOrder()
	}
	return c.err()
}

// maxViolations is how many violations are told; one fault often has many.
const maxViolations = 12

// A checker holds a history against what a store has in the end.
type checker struct {
	attempts   []Attempt
	reads      []read
	failover   bool
	operations []*operation
	byEvent    map[eventstore.EventID]*operation
	streams    map[eventstore.StreamID][]eventstore.Event
	versions   map[eventstore.EventID]eventstore.Version // in the streams
	log        []eventstore.Event
	violations []error
	omitted    int
}

// An operation is all attempts to append the same events. A check of streams
// without events is an operation for each attempt.
type operation struct {
	attempts []*Attempt
	// committed is set when its events are in the store. writer is the attempt
	// that must have written them, nil when it may have been one of several.
	committed bool
	writer    *Attempt
}

func newChecker(attempts []Attempt, reads []read) *checker {
	c := &checker{
		attempts: slices.Clone(attempts), reads: slices.Clone(reads),
		byEvent: map[eventstore.EventID]*operation{}, streams: map[eventstore.StreamID][]eventstore.Event{},
		versions: map[eventstore.EventID]eventstore.Version{},
	}
	for i := range c.attempts {
		c.attribute(&c.attempts[i])
	}
	return c
}

// attribute adds an attempt to the operation that its events belong to.
func (c *checker) attribute(a *Attempt) {
	var op *operation
	for _, s := range a.Request.Streams {
		c.streams[s.Stream] = nil
		for _, e := range s.Events {
			if found, ok := c.byEvent[e.ID]; ok {
				op = found
			}
		}
	}
	if op == nil {
		op = &operation{}
		c.operations = append(c.operations, op)
	}
	op.attempts = append(op.attempts, a)
	for _, s := range a.Request.Streams {
		for _, e := range s.Events {
			c.byEvent[e.ID] = op
		}
	}
}

func (c *checker) violate(format string, args ...any) {
	if len(c.violations) == maxViolations {
		c.omitted++
		return
	}
	c.violations = append(c.violations, fmt.Errorf(format, args...))
}

func (c *checker) err() error {
	if c.omitted > 0 {
		c.violations = append(c.violations, fmt.Errorf("and %d more", c.omitted))
	}
	return errors.Join(c.violations...)
}

// collect reads the streams, then the log until it has all of that, then the
// streams again: an append of unknown outcome may still have been on its way.
func (c *checker) collect(ctx context.Context, store eventstore.EventStore) error {
	due := map[eventstore.EventID]eventstore.StreamID{}
	for stream := range c.streams {
		events, err := eventstore.Collect(store.ReadStream(ctx, stream, eventstore.StreamQuery{}))
		if err != nil {
			return fmt.Errorf("read %q: %w", stream, err)
		}
		for _, e := range events {
			due[e.ID] = stream
		}
	}
	if err := awaitLog(ctx, store, due); err != nil {
		return err
	}
	var err error
	if c.log, err = eventstore.Collect(store.ReadLog(ctx, eventstore.LogQuery{})); err != nil {
		return fmt.Errorf("read the log: %w", err)
	}
	for stream := range c.streams {
		if c.streams[stream], err = eventstore.Collect(store.ReadStream(ctx, stream, eventstore.StreamQuery{})); err != nil {
			return fmt.Errorf("read %q: %w", stream, err)
		}
	}
	return nil
}

// awaitLog waits until the log has had the events that are due.
func awaitLog(ctx context.Context, log eventstore.Log, due map[eventstore.EventID]eventstore.StreamID) error {
	if len(due) == 0 {
		return nil
	}
	for e, err := range eventstore.Subscribe(ctx, log, eventstore.LogQuery{}) {
		if err != nil {
			for id, stream := range due {
				return fmt.Errorf("%d events of streams did not come into the log, such as %s of %q: %w", len(due), id, stream, err)
			}
		}
		if delete(due, e.ID); len(due) == 0 {
			return nil
		}
	}
	return nil
}

// checkStreams checks that versions are dense, that events are what was asked
// for, and that none is there twice.
func (c *checker) checkStreams() {
	seen := map[eventstore.EventID]string{}
	for stream, events := range c.streams {
		for i, e := range events {
			place := fmt.Sprintf("%q version %d", stream, i+1)
			if e.Version != eventstore.Version(i+1) {
				c.violate("gap: the event after version %d of %q has version %d", i, stream, e.Version)
				break
			}
			if other, ok := seen[e.ID]; ok {
				c.violate("doubled: event %s is at %s and at %s", e.ID, other, place)
			}
			seen[e.ID] = place
			c.versions[e.ID] = e.Version
			op, ok := c.byEvent[e.ID]
			if !ok {
				c.violate("invented: nobody appended event %s at %s", e.ID, place)
				continue
			}
			op.committed = true
			if want, ok := op.attempts[0].find(stream, e.ID); !ok {
				c.violate("misplaced: event %s at %s was appended to another stream", e.ID, place)
			} else if string(want.Data) != string(e.Data) || want.Type != e.Type {
				c.violate("changed: event %s at %s is not what was appended", e.ID, place)
			}
		}
	}
}

// find returns the event of an id that an attempt appends to a stream.
func (a *Attempt) find(stream eventstore.StreamID, id eventstore.EventID) (eventstore.EventData, bool) {
	for _, s := range a.Request.Streams {
		for _, e := range s.Events {
			if s.Stream == stream && e.ID == id {
				return e, true
			}
		}
	}
	return eventstore.EventData{}, false
}

// checkLog checks that positions are dense and that each stream's events stand in
// the log in the order of their versions, being what the stream has.
func (c *checker) checkLog() {
	next := map[eventstore.StreamID]int{}
	for i, e := range c.log {
		if e.Position != eventstore.Position(i+1) {
			c.violate("skipped position: the log's event after position %d has position %d", i, e.Position)
			return
		}
		events, ours := c.streams[e.Stream]
		if !ours {
			continue
		}
		n := next[e.Stream]
		next[e.Stream] = n + 1
		switch {
		case n >= len(events):
			c.violate("the log has more events of %q than the stream, such as version %d at position %d", e.Stream, e.Version, e.Position)
		case !e.Equal(events[n]):
			c.violate("reordered log: position %d has version %d of %q (event %s) where version %d (event %s) is due", e.Position, e.Version, e.Stream, e.ID, n+1, events[n].ID)
		}
	}
}

// checkOperations checks each append against what its attempts were told.
func (c *checker) checkOperations() {
	for _, op := range c.operations {
		op.attributeCommit()
		for _, a := range op.attempts {
			c.checkOutcome(a)
		}
		if !op.committed {
			continue
		}
		c.checkWhole(op)
		if op.writer != nil {
			c.checkExpectations(op.writer)
		}
		acknowledged := 0
		for _, a := range op.attempts {
			if a.Err == nil && !a.Result.Duplicate {
				acknowledged++
			}
		}
		if acknowledged > 1 {
			c.violate("%s was acknowledged %d times as new", op.attempts[0], acknowledged)
		}
		if op.writer == nil && acknowledged == 0 && !slices.ContainsFunc(op.attempts, (*Attempt).unknown) {
			c.violate("written against its word: all attempts at %s ended as not written, and its events are there", op.attempts[0])
		}
	}
}

// attributeCommit finds the attempt that wrote the operation's events.
func (op *operation) attributeCommit() {
	var candidates []*Attempt
	for _, a := range op.attempts {
		if a.Err == nil && !a.Result.Duplicate {
			op.writer = a
			return
		}
		if a.unknown() {
			candidates = append(candidates, a)
		}
	}
	if len(candidates) == 1 {
		op.writer = candidates[0]
	}
}

func (a *Attempt) unknown() bool {
	return a.End == 0 || errors.Is(a.Err, eventstore.ErrOutcomeUnknown)
}

// checkOutcome checks what an attempt was told.
func (c *checker) checkOutcome(a *Attempt) {
	if a.End == 0 {
		return
	}
	if a.Err != nil {
		if errors.Is(a.Err, eventstore.ErrNotWritten) == errors.Is(a.Err, eventstore.ErrOutcomeUnknown) {
			c.violate("%s failed with an error that does not say whether it was written: %w", a, a.Err)
		}
		return
	}
	if len(a.Result.Streams) != len(a.Request.Streams) {
		c.violate("%s has a result of %d streams", a, len(a.Result.Streams))
		return
	}
	for i, s := range a.Request.Streams {
		r := a.Result.Streams[i]
		if len(s.Events) == 0 {
			continue
		}
		if r.Last-r.First+1 != eventstore.Version(len(s.Events)) {
			c.violate("%s was acknowledged with versions %d to %d of %q for %d events", a, r.First, r.Last, s.Stream, len(s.Events))
			continue
		}
		for j, e := range s.Events {
			v := r.First + eventstore.Version(j)
			switch at := c.versionOf(s.Stream, e.ID); at {
			case v:
			case 0:
				c.violate("lost: %s was acknowledged, and its event %d of %d is not in %q", a, j+1, len(s.Events), s.Stream)
			default:
				c.violate("misplaced: %s was acknowledged with event %d of %d as version %d of %q, where it is version %d", a, j+1, len(s.Events), v, s.Stream, at)
			}
		}
	}
}

func (c *checker) at(stream eventstore.StreamID, v eventstore.Version) (eventstore.Event, bool) {
	events := c.streams[stream]
	if v < 1 || int(v) > len(events) {
		return eventstore.Event{}, false
	}
	return events[v-1], true
}

// checkWhole checks that all events of an operation are there, side by side.
func (c *checker) checkWhole(op *operation) {
	for _, s := range op.attempts[0].Request.Streams {
		if len(s.Events) == 0 {
			continue
		}
		first := c.versionOf(s.Stream, s.Events[0].ID)
		for j, e := range s.Events {
			stored, ok := c.at(s.Stream, first+eventstore.Version(j))
			if first == 0 || !ok || stored.ID != e.ID {
				c.violate("partial batch: of %s, event %d of %d is not in its place in %q", op.attempts[0], j+1, len(s.Events), s.Stream)
				break
			}
		}
	}
}

// versionOf returns the version of an event in a stream, zero if it is not there.
func (c *checker) versionOf(stream eventstore.StreamID, id eventstore.EventID) eventstore.Version {
	v := c.versions[id]
	if e, ok := c.at(stream, v); !ok || e.ID != id {
		return 0
	}
	return v
}

// checkExpectations checks that the events of an attempt stand where it expected
// them to.
func (c *checker) checkExpectations(a *Attempt) {
	for _, s := range a.Request.Streams {
		if len(s.Events) == 0 {
			continue
		}
		first := c.versionOf(s.Stream, s.Events[0].ID)
		expected, exact := s.Expected.Version()
		switch {
		case exact && first != expected+1:
			c.violate("lost update: %s expected %q at %s and was written at version %d", a, s.Stream, s.Expected, first)
		case s.Expected == eventstore.Exists && first == 1:
			c.violate("%s expected %q to exist and was written at version 1", a, s.Stream)
		}
	}
}

// checkConflicts checks that conflicts name a stream of the request whose version
// does not meet the expectation.
func (c *checker) checkConflicts() {
	for i := range c.attempts {
		a := &c.attempts[i]
		if !errors.Is(a.Err, eventstore.ErrConflict) {
			continue
		}
		conflict, ok := errors.AsType[*eventstore.ConflictError](a.Err)
		if !ok {
			c.violate("%s conflicts with an error that is no *ConflictError: %w", a, a.Err)
			continue
		}
		j := slices.IndexFunc(a.Request.Streams, func(s eventstore.StreamAppend) bool { return s.Stream == conflict.Stream })
		if j < 0 {
			c.violate("%s conflicts on %q, which it does not name", a, conflict.Stream)
			continue
		}
		info := eventstore.StreamInfo{Stream: conflict.Stream, Head: conflict.Actual, First: 1}
		if expected := a.Request.Streams[j].Expected; conflict.Expected != expected || expected.Matches(info) {
			c.violate("unreal conflict: %s expected %q at %s and was told: %w", a, conflict.Stream, expected, a.Err)
		}
		if _, ok := c.at(conflict.Stream, conflict.Actual); !ok && conflict.Actual != 0 {
			c.violate("unreal conflict: %q never had version %d, as %s was told", conflict.Stream, conflict.Actual, a)
		}
	}
}

// checkReads checks that what was read is a beginning of what is there.
func (c *checker) checkReads() {
	for _, r := range c.reads {
		for i, id := range r.versions {
			if stored, ok := c.at(r.stream, eventstore.Version(i+1)); !ok || stored.ID != id {
				c.violate("changed history: a read of %q saw event %s as version %d, which it is not in the end", r.stream, id, i+1)
				break
			}
		}
	}
}

// String names an attempt by its streams, expectations and first event.
func (a *Attempt) String() string {
	var s strings.Builder
	s.WriteString("append")
	for _, p := range a.Request.Streams {
		if len(p.Events) == 0 {
			fmt.Fprintf(&s, " [check %q at %s]", p.Stream, p.Expected)
			continue
		}
		fmt.Fprintf(&s, " [%d events to %q at %s, first %s]", len(p.Events), p.Stream, p.Expected, p.Events[0].ID)
	}
	return s.String()
}
