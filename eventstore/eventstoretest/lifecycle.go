package eventstoretest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"time"

	"github.com/annals-es/annals/eventstore"
)

func isKind(err, kind error) bool { return errors.Is(err, kind) }

func lifecycleTests() []test {
	return []test{
		{"Leaks", testLeaks},
		{"CancelledContext", testCancelledContext},
		{"ContextCancelledInTheMiddleOfARead", testCancelledRead},
		{"CancelledAppendBlocksNobody", testCancelledAppends},
		{"ClosedStore", testClosed},
		{"CloseEndsWhatWaits", testCloseEndsWaits},
		{"CloseMayBeRepeated", func(f *fixture) {
			f.append("order-1", eventstore.NoStream, f.event(0))
			for range 3 {
				f.ok("close", f.Close())
			}
		}},
	}
}

// operations are all methods of a store that take a context.
func (f *fixture) operations() map[string]func(context.Context) error {
	ops := f.streamOperations("order-1")
	if ops == nil {
		ops = map[string]func(context.Context) error{}
	}
	ops["Append"] = func(ctx context.Context) error {
		_, err := eventstore.Append(ctx, f, "order-1", eventstore.Any, f.event(1))
		return err
	}
	ops["Append of several"] = func(ctx context.Context) error {
		_, err := f.Append(ctx, request(part("order-1", eventstore.Any, f.event(1)), part("order-2", eventstore.Any, f.event(2))))
		return err
	}
	ops["ReadStream"] = func(ctx context.Context) error {
		_, err := eventstore.Collect(f.ReadStream(ctx, "order-1", eventstore.StreamQuery{}))
		return err
	}
	ops["ReadStream of nothing"] = func(ctx context.Context) error {
		_, err := eventstore.Collect(f.ReadStream(ctx, "order-9", eventstore.StreamQuery{}))
		return err
	}
	ops["ReadLog"] = func(ctx context.Context) error {
		_, err := eventstore.Collect(f.ReadLog(ctx, eventstore.LogQuery{}))
		return err
	}
	ops["Head"] = func(ctx context.Context) error { _, err := f.Head(ctx); return err }
	ops["Wait"] = func(ctx context.Context) error { _, err := f.Wait(ctx, 1_000_000); return err }
	return ops
}

func testCancelledContext(f *fixture) {
	first := f.append("order-1", eventstore.NoStream, f.event(0))
	f.await(first)
	cancelled, cancel := context.WithCancel(f.ctx())
	cancel()
	late, cancel := context.WithDeadline(f.ctx(), time.Unix(1, 0))
	defer cancel()
	for _, c := range []struct {
		ctx  context.Context
		want error
	}{{cancelled, context.Canceled}, {late, context.DeadlineExceeded}} {
		for what, op := range f.operations() {
			what += " with a context that is done"
			f.ended(what, f.within(what, func() error { return op(c.ctx) }), c.want)
		}
	}
	if f.Failed() {
		return
	}
	if f.Streams != nil {
		f.info("order-1", 1, 1, eventstore.Live)
	}
	f.append("order-1", eventstore.Exact(1), f.event(1)) // nothing was changed
	f.logCount(2)
}

func testCancelledRead(f *fixture) {
	const n = 300
	f.await(f.appendN("order-1", n))
	for what, read := range map[string]func(context.Context) func(func(eventstore.Event, error) bool){
		"ReadStream": func(ctx context.Context) func(func(eventstore.Event, error) bool) {
			return f.ReadStream(ctx, "order-1", eventstore.StreamQuery{})
		},
		"ReadStream backward": func(ctx context.Context) func(func(eventstore.Event, error) bool) {
			return f.ReadStream(ctx, "order-1", eventstore.StreamQuery{Direction: eventstore.Backward})
		},
		"ReadLog": func(ctx context.Context) func(func(eventstore.Event, error) bool) {
			return f.ReadLog(ctx, eventstore.LogQuery{})
		},
	} {
		ctx, cancel := context.WithCancel(f.ctx())
		seen, failures := 0, 0
		var last error
		for _, err := range read(ctx) {
			if failures > 0 {
				f.Fatalf("%s yielded something after an error", what)
			}
			if last = err; err != nil {
				failures++
				continue
			}
			if seen++; seen == 3 {
				cancel()
			}
		}
		cancel()
		if seen == n || !errors.Is(last, context.Canceled) {
			f.Fatalf("%s whose context was cancelled after 3 events went on to %d of %d, with error %v", what, seen, n, last)
		}
	}
	f.append("order-1", eventstore.Exact(n), f.event(0))
}

// testCancelledAppends cancels appends at moments that move from before they
// begin to after they have ended. Each says what became of it, and whatever that
// was, the stream can be appended to.
func testCancelledAppends(f *fixture) {
	var history History
	rounds := f.suite.size(200, 60)
	took := 50 * time.Microsecond // an append, as far as known
	for i := range rounds {
		stream := eventstore.NewStreamID("order", fmt.Sprint(i%3))
		ctx, cancel := context.WithTimeout(f.ctx(), took*time.Duration(i%20)/10)
		head := eventstore.Version(len(f.read(stream, eventstore.StreamQuery{})))
		req := request(part(stream, eventstore.Exact(head), f.events(1+i%3)...))
		if i%4 == 0 {
			req.Streams = append(req.Streams, part("order-all", eventstore.Any, f.event(i)))
		}
		_, err := history.Append(ctx, f, req)
		cancel()
		if err != nil && !errors.Is(err, context.DeadlineExceeded) {
			f.Fatalf("append whose context ended: %v", err)
		}
		begin := time.Now()
		f.ok("append after one that was cancelled", f.within("an append after one that was cancelled", func() error {
			_, err := history.Append(f.ctx(), f, request(part(stream, eventstore.Any, f.event(i))))
			return err
		}))
		took = max(time.Since(begin), time.Microsecond)
	}
	f.ok("history", history.Check(f.ctx(), f))
}

func testClosed(f *fixture) {
	token := f.append("order-1", eventstore.NoStream, f.events(3)...).Token
	begun := f.ReadStream(f.ctx(), "order-1", eventstore.StreamQuery{})
	f.ok("close", f.Close())
	ops := f.operations()
	ops["Await"] = func(ctx context.Context) error { _, err := f.Await(ctx, token); return err }
	ops["ReadStream called before"] = func(context.Context) error { _, err := eventstore.Collect(begun); return err }
	ops["Subscribe"] = func(ctx context.Context) error {
		_, err := eventstore.Collect(eventstore.Subscribe(ctx, f, eventstore.LogQuery{}))
		return err
	}
	for what, op := range ops {
		what += " of a closed store"
		f.ended(what, f.within(what, func() error { return op(f.ctx()) }), eventstore.ErrClosed)
	}
}

// ended marks the test as failed unless an operation failed with an error of a
// kind, and, if it is an append, as not written.
func (f *fixture) ended(what string, err, kind error) {
	f.Helper()
	if !errors.Is(err, kind) {
		f.Errorf("%s: got error %v instead of %v", what, err, kind)
	}
	if strings.HasPrefix(what, "Append") && !errors.Is(err, eventstore.ErrNotWritten) {
		f.Errorf("%s: error %v does not match ErrNotWritten", what, err)
	}
}

func testCloseEndsWaits(f *fixture) {
	f.await(f.append("order-1", eventstore.NoStream, f.event(0)))
	const waiters = 3
	began, done := make(chan struct{}, waiters), make(chan error, waiters)
	for range waiters {
		go func() {
			began <- struct{}{}
			_, err := f.Wait(f.ctx(), 1)
			done <- err
		}()
	}
	for range waiters {
		<-began
	}
	f.ok("close", f.Close())
	for range waiters {
		const what = "Wait of a store that was closed"
		f.ended(what, f.within(what, func() error { return <-done }), eventstore.ErrClosed)
	}
}

// testLeaks counts the goroutines that a store has started. They are told from
// all others by a profiler label, which goroutines inherit.
func testLeaks(f *fixture) {
	label := fmt.Sprintf("%s %p", f.Name(), f)
	pprof.Do(f.ctx(), pprof.Labels("eventstoretest", label), func(labelledCtx context.Context) {
		const rounds, tolerated = 20, 8
		store := f.suite.start(f.T, f.suite.open)
		use := func() {
			ctx, cancel := context.WithCancel(labelledCtx)
			defer cancel()
			_, err := eventstore.Append(ctx, store, "order-1", eventstore.Any, f.events(5)...)
			f.ok("append", err)
			for _, q := range []eventstore.StreamQuery{{}, {Direction: eventstore.Backward}} {
				for _, err := range store.ReadStream(ctx, "order-1", q) {
					f.ok("read", err)
					break
				}
			}
			_, err = store.Wait(ctx, 0)
			f.ok("wait", err)
			for _, err := range store.ReadLog(ctx, eventstore.LogQuery{}) {
				f.ok("read the log", err)
				break
			}
			for _, err := range eventstore.Subscribe(ctx, store, eventstore.LogQuery{}) {
				f.ok("subscribe", err)
				break
			}
			cancel()
			_, _ = store.Wait(ctx, 1_000_000)
			_, _ = eventstore.Append(ctx, store, "order-1", eventstore.Any, f.event(0))
			short, cancelShort := context.WithTimeout(labelledCtx, time.Millisecond)
			defer cancelShort()
			_, _ = store.Wait(short, 1_000_000)
		}
		use()
		before := labelled(label)
		for range rounds {
			use()
		}
		f.settles("goroutines after reads left in the middle and waits cancelled", label, before+tolerated)
		f.ok("close", store.Close())
		for range f.suite.size(rounds, tolerated+4) {
			store := f.suite.open(f.T)
			_, err := eventstore.Append(labelledCtx, store, "order-1", eventstore.NoStream, f.event(0))
			f.ok("append", err)
			f.ok("close", store.Close())
		}
		f.settles("goroutines after stores were closed", label, tolerated)
	})
}

// settles ends the test unless the number of goroutines with a label goes down to
// a limit. What was told to stop takes a moment.
func (f *fixture) settles(what, label string, limit int) {
	f.Helper()
	n := 0
	for deadline := time.Now().Add(f.suite.patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if n = labelled(label); n <= limit {
			return
		}
	}
	f.Fatalf("leaked goroutines: %d %s, where at most %d would be fine", n, what, limit)
}

// labelled returns the number of goroutines with a label, but for the one that
// asks.
func labelled(label string) int {
	var profile bytes.Buffer
	_ = pprof.Lookup("goroutine").WriteTo(&profile, 1) // a buffer does not fail
	total := -1
	for entry := range strings.SplitSeq(profile.String(), "\n\n") {
		if !strings.Contains(entry, fmt.Sprintf("%q", label)) {
			continue
		}
		for line := range strings.SplitSeq(entry, "\n") {
			n := 0
			if _, err := fmt.Sscanf(line, "%d @ ", &n); err == nil {
				total += n
			}
		}
	}
	return total
}
