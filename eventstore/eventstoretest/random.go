package eventstoretest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/annals-es/annals/eventstore"
)

func randomTests() []test {
	var tests []test
	for i := range 4 {
		tests = append(tests, test{fmt.Sprintf("AgainstAModel%d", i+1), testAgainstModel})
	}
	return tests
}

// testAgainstModel makes random operations on the store and on a model, and
// compares all that they say. The operations are a function of the seed.
func testAgainstModel(f *fixture) {
	run := modelRun{fixture: f, rand: f.random(), model: newModel()}
	f.Cleanup(func() {
		if f.Failed() {
			f.Logf("the operations, the last of which went wrong:\n\t%s", strings.Join(run.trace, "\n\t"))
		}
	})
	for range f.suite.size(400, 80) {
		run.step()
	}
	run.compareLog()
}

// A modelRun is a run of random operations.
type modelRun struct {
	fixture *fixture
	rand    *rand.Rand
	model   *model
	trace   []string
	made    []eventstore.AppendRequest // to be made again
	last    eventstore.AppendResult    // that wrote something
}

func (r *modelRun) note(format string, args ...any) {
	r.trace = append(r.trace, fmt.Sprintf("%d: ", len(r.trace)+1)+fmt.Sprintf(format, args...))
}

func (r *modelRun) step() {
	n := r.rand.IntN(100)
	switch {
	case n < 45:
		r.append(r.newRequest())
	case n < 58 && len(r.made) > 0:
		r.append(r.made[r.rand.IntN(len(r.made))])
	case n < 78:
		r.readStream()
	case n < 84:
		r.compareLog()
	case r.fixture.Streams == nil:
	case n < 94:
		r.changeStream()
	default:
		r.streamInfo()
	}
}

func (r *modelRun) stream() eventstore.StreamID {
	return eventstore.NewStreamID("order", fmt.Sprint(r.rand.IntN(5)))
}

func (r *modelRun) expected(stream eventstore.StreamID) eventstore.ExpectedVersion {
	head := r.model.info(stream).Head
	switch r.rand.IntN(8) {
	case 0:
		return eventstore.Any
	case 1:
		return eventstore.NoStream
	case 2:
		return eventstore.Exists
	case 3:
		return eventstore.Exact(max(0, head+eventstore.Version(r.rand.IntN(5)-2)))
	}
	return eventstore.Exact(head)
}

func (r *modelRun) newRequest() eventstore.AppendRequest {
	var req eventstore.AppendRequest
	if r.rand.IntN(4) == 0 {
		req.ID = eventstore.NewEventID()
	}
	for k := range 1 + r.rand.IntN(2) {
		stream := r.stream()
		if k > 0 && stream == req.Streams[0].Stream {
			continue
		}
		p := part(stream, r.expected(stream))
		if k == 0 || r.rand.IntN(3) > 0 {
			p.Events = r.fixture.events(1 + r.rand.IntN(3))
		}
		req.Streams = append(req.Streams, p)
	}
	return req
}

func (r *modelRun) append(req eventstore.AppendRequest) {
	f := r.fixture
	a := Attempt{Request: req}
	r.note("%s, append id %s", &a, req.ID)
	want, wantErr := r.model.append(req)
	got, err := f.Append(f.ctx(), req)
	if wantErr != nil {
		f.refused("append", err, kindOf(wantErr))
		var conflict *eventstore.ConflictError
		if errors.As(err, &conflict) && !r.model.isConflict(req, *conflict) {
			f.Fatalf("append: %v; the model says %v", err, wantErr)
		}
		return
	}
	f.ok("append", err)
	if repeatable(req) {
		r.made = append(r.made, req)
	}
	f.same("duplicate", got.Duplicate, want.Duplicate)
	f.same("number of streams", len(got.Streams), len(want.Streams))
	if !got.Duplicate || req.ID != (eventstore.AppendID{}) {
		f.same("result", got.Streams, want.Streams)
	}
	for i, p := range req.Streams {
		if len(p.Events) > 0 { // the heads of streams only checked may have moved since the first result
			f.same("result of a stream", got.Streams[i], want.Streams[i])
		}
	}
	if got.Token != "" && !got.Duplicate {
		r.last = got
	}
}

// repeatable reports whether an append can be recognised when it is made again.
func repeatable(req eventstore.AppendRequest) bool {
	return req.ID != (eventstore.AppendID{}) || !slices.ContainsFunc(req.Streams, func(p eventstore.StreamAppend) bool {
		_, exact := p.Expected.Version()
		return len(p.Events) > 0 && !exact
	})
}

// kindOf returns the sentinel that an error of the model matches.
func kindOf(err error) error {
	for _, kind := range []error{eventstore.ErrConflict, eventstore.ErrTombstoned, eventstore.ErrAppendIDReused} {
		if errors.Is(err, kind) {
			return kind
		}
	}
	return err
}

func (r *modelRun) readStream() {
	f := r.fixture
	stream := r.stream()
	q := eventstore.StreamQuery{
		Direction: eventstore.Direction(r.rand.IntN(2)), From: eventstore.Version(r.rand.IntN(12)), Limit: r.rand.IntN(6),
	}
	r.note("read %q %+v", stream, q)
	info := r.model.info(stream)
	got, err := eventstore.Collect(f.ReadStream(f.ctx(), stream, q))
	if info.State == eventstore.Tombstoned {
		f.fails("read", eventstore.ErrTombstoned, func() error { return err })
		return
	}
	f.ok("read", err)
	want := wantVersions(info.First, info.Head, q)
	f.same("number of events read", len(got), len(want))
	for i, v := range want {
		f.same("version", got[i].Version, v)
		f.same("event id", got[i].ID, r.model.streams[stream].ids[v-1])
	}
}

func (r *modelRun) changeStream() {
	f := r.fixture
	stream := r.stream()
	expected := r.expected(stream)
	info := r.model.info(stream)
	var err, want error
	switch n := r.rand.IntN(20); {
	case n < 9:
		r.note("delete %q at %s", stream, expected)
		err, want = f.Streams.Delete(f.ctx(), stream, expected), r.model.delete(stream, expected)
	case n < 17:
		before := eventstore.Version(r.rand.IntN(int(info.Head) + 3))
		r.note("truncate %q before %d", stream, before)
		err, want = f.Streams.Truncate(f.ctx(), stream, before), r.model.truncate(stream, before)
	case n < 19:
		r.note("tombstone %q at %s", stream, expected)
		err, want = f.Streams.Tombstone(f.ctx(), stream, expected), r.model.tombstone(stream, expected)
	default:
		r.note("erase %q", stream)
		err = f.Streams.Erase(f.ctx(), stream)
		r.model.erase(stream)
	}
	if (err == nil) != (want == nil) || (want != nil && !errors.Is(err, rootKind(want))) {
		f.Fatalf("got error %v; the model says %v", err, want)
	}
	r.compareInfo(stream)
}

func rootKind(err error) error {
	if errors.Is(err, eventstore.ErrInvalid) {
		return eventstore.ErrInvalid
	}
	return kindOf(err)
}

func (r *modelRun) streamInfo() {
	stream := r.stream()
	r.note("info of %q", stream)
	r.compareInfo(stream)
}

func (r *modelRun) compareInfo(stream eventstore.StreamID) {
	f := r.fixture
	got, err := f.Streams.StreamInfo(f.ctx(), stream)
	f.ok("stream info", err)
	f.same("stream info", got, r.model.info(stream))
}

func (r *modelRun) compareLog() {
	f := r.fixture
	r.note("read the log")
	got := f.log(r.last, eventstore.LogQuery{})
	f.same("events in the log", len(got), len(r.model.log))
	// The order of the streams of one append is the store's to choose.
	for i, e := range got {
		f.same("position", e.Position, eventstore.Position(i+1))
	}
	for stream, s := range r.model.streams {
		var ids []eventstore.EventID
		for _, e := range got {
			if e.Stream == stream {
				f.same("version in the log", e.Version, eventstore.Version(len(ids)+1))
				f.same("erased", e.Erased(), s.erased)
				ids = append(ids, e.ID)
			}
		}
		if !s.erased && !slices.Equal(ids, s.ids) {
			f.Fatalf("events of %q in the log: %v instead of %v", stream, ids, s.ids)
		}
	}
}
