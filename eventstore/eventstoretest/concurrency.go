package eventstoretest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/annals-es/annals/eventstore"
)

func concurrencyTests() []test {
	return []test{
		{"WritersOfOneStream", func(f *fixture) {
			f.contend(contention{writers: 6, streams: 1, appends: f.suite.size(80, 20), expect: expectHead})
		}},
		{"WritersOfAFewStreams", func(f *fixture) {
			f.contend(contention{writers: 8, streams: 3, appends: f.suite.size(80, 25), expect: expectHead})
		}},
		{"WritersThatExpectAnything", func(f *fixture) {
			f.contend(contention{writers: 6, streams: 3, appends: f.suite.size(80, 25), expect: expectAny})
		}},
		{"WritersOfSeveralStreamsAtOnce", func(f *fixture) {
			f.contend(contention{writers: 6, streams: 4, appends: f.suite.size(80, 15), several: true, expect: expectHead})
		}},
		{"WritersWhoRepeatAndCancel", func(f *fixture) {
			f.contend(contention{writers: 6, streams: 3, appends: f.suite.size(80, 15), several: true, expect: expectHead, impatient: true})
		}},
		{"StreamIsMadeOnce", testStreamIsMadeOnce},
	}
}

// A contention is how writers disturb each other.
type contention struct {
	writers, streams, appends int
	several                   bool // appends of several streams, some only checked
	impatient                 bool // cancels appends and makes them again
	expect                    func(*rand.Rand, eventstore.Version) eventstore.ExpectedVersion
}

func expectAny(*rand.Rand, eventstore.Version) eventstore.ExpectedVersion { return eventstore.Any }

// expectHead mostly expects the version that was read.
func expectHead(r *rand.Rand, head eventstore.Version) eventstore.ExpectedVersion {
	switch r.IntN(12) {
	case 0:
		return eventstore.Any
	case 1:
		return eventstore.Exact(head + 1)
	case 2:
		if head > 0 {
			return eventstore.Exists
		}
	}
	return eventstore.Exact(head)
}

// contend lets writers loose and has the history judged.
func (f *fixture) contend(c contention) {
	var history History
	seeds := f.random()
	writers := make([]writer, c.writers)
	for i := range writers {
		writers[i] = writer{contention: c, fixture: f, history: &history, rand: rand.New(rand.NewPCG(seeds.Uint64(), 0))}
	}
	f.together("writing", c.writers, func(i int) error {
		for range c.appends {
			if err := writers[i].step(f.ctx()); err != nil {
				return err
			}
		}
		return nil
	})
	f.ok("history", history.Check(f.ctx(), f))
}

// A writer reads streams and appends to them, as everybody does.
type writer struct {
	contention
	fixture *fixture
	history *History
	rand    *rand.Rand
}

// step makes one append. Its error is one that no store may give.
func (w *writer) step(ctx context.Context) error {
	req, err := w.request(ctx)
	if err != nil {
		return err
	}
	if w.impatient && w.rand.IntN(3) == 0 {
		req.ID = eventstore.NewEventID()
	}
	for range 4 {
		attempt, cancel := ctx, context.CancelFunc(func() {})
		if w.impatient && w.rand.IntN(2) == 0 {
			attempt, cancel = context.WithTimeout(ctx, time.Duration(w.rand.IntN(300))*time.Microsecond)
		}
		_, err := w.history.Append(attempt, w.fixture, req)
		again := w.impatient && w.rand.IntN(3) == 0 // also what was acknowledged
		ended := attempt.Err() != nil
		cancel()
		switch {
		case errors.Is(err, eventstore.ErrConflict), err == nil && !again:
			return nil
		case err != nil && !eventstore.Retryable(err) && !ended:
			return fmt.Errorf("append: %w", err)
		case !repeatable(req):
			return nil
		}
	}
	return nil
}

// request reads a stream, or a few, and asks for an append behind what is there.
func (w *writer) request(ctx context.Context) (eventstore.AppendRequest, error) {
	n := 1
	if w.several {
		n = 1 + w.rand.IntN(min(3, w.streams))
	}
	var req eventstore.AppendRequest
	for i, k := range w.rand.Perm(w.streams)[:n] {
		stream := eventstore.NewStreamID("order", fmt.Sprint(k))
		events, err := w.history.ReadStream(ctx, w.fixture, stream)
		if err != nil {
			return req, fmt.Errorf("read: %w", err)
		}
		p := part(stream, w.expect(w.rand, eventstore.Version(len(events))))
		if i == 0 || w.rand.IntN(3) > 0 { // the others are only checked
			p.Events = make([]eventstore.EventData, 1+w.rand.IntN(3))
			for j := range p.Events {
				p.Events[j] = w.fixture.events(1)[0]
			}
		}
		req.Streams = append(req.Streams, p)
	}
	return req, nil
}

// testStreamIsMadeOnce has many writers make the same streams.
func testStreamIsMadeOnce(f *fixture) {
	var history History
	rounds := f.suite.size(100, 10)
	for round := range rounds {
		stream := eventstore.NewStreamID("order", fmt.Sprint(round))
		var wg sync.WaitGroup
		errs := make([]error, 6)
		for i := range errs {
			wg.Go(func() {
				_, errs[i] = history.Append(f.ctx(), f, request(part(stream, eventstore.NoStream, f.event(i))))
			})
		}
		wg.Wait()
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else if !errors.Is(err, eventstore.ErrConflict) {
				f.Fatalf("append expecting no stream: %v", err)
			}
		}
		f.same("writers who made the same stream", made, 1)
	}
	f.ok("history", history.Check(f.ctx(), f))
	f.logCount(rounds)
}
