package eventstoretest

import (
	"context"
	"fmt"
	"time"

	"github.com/annals-es/annals/eventstore"
)

func waitTests() []test {
	return []test{
		{"AwaitGivesTheLastPositionOfAnAppend", func(f *fixture) {
			first := f.append("order-1", eventstore.NoStream, f.events(2)...)
			second := f.append("order-2", eventstore.NoStream, f.events(3)...)
			f.same("position", f.await(second), eventstore.Position(5))
			f.same("position", f.await(first), eventstore.Position(2))
			f.same("position asked for again", f.await(second), eventstore.Position(5))
			log := f.log(second, eventstore.LogQuery{Through: 5})
			f.same("last event up to there", log[len(log)-1].Stream, eventstore.StreamID("order-2"))
		}},
		{"AwaitOfTheZeroToken", func(f *fixture) {
			p, err := f.Await(f.ctx(), "")
			f.ok("await", err)
			f.same("position", p, eventstore.Position(0))
		}},
		{"AwaitOfNoToken", func(f *fixture) {
			for _, token := range []eventstore.Token{"no token", "-1", "\x00", "999999999999999999999999999999"} {
				f.fails(fmt.Sprintf("await of %q", token), eventstore.ErrInvalid, func() error {
					_, err := f.Await(f.ctx(), token)
					return err
				})
			}
		}},
		{"WaitReturnsAtOnceBehindTheHead", func(f *fixture) {
			f.await(f.append("order-1", eventstore.NoStream, f.events(3)...))
			for after := range eventstore.Position(3) {
				head, err := f.Wait(f.ctx(), after)
				f.ok("wait", err)
				f.same("head", head, eventstore.Position(3))
			}
		}},
		{"WaitEndsWithAnAppend", func(f *fixture) {
			for i := range 5 {
				heads, errs := make(chan eventstore.Position, 3), make(chan error, 3)
				for range cap(heads) {
					go func() {
						head, err := f.Wait(f.ctx(), eventstore.Position(i))
						errs <- err
						heads <- head
					}()
				}
				f.append("order-1", eventstore.Any, f.event(i))
				for range cap(heads) {
					f.ok("wait", f.within("Wait after an append", func() error { return <-errs }))
					f.same("head", <-heads, eventstore.Position(i+1))
				}
			}
		}},
		{"WaitBeyondTheHeadGoesOnWaiting", func(f *fixture) {
			f.await(f.append("order-1", eventstore.NoStream, f.event(0)))
			var head eventstore.Position
			done := make(chan error, 1)
			go func() {
				var err error
				head, err = f.Wait(f.ctx(), 2)
				done <- err
			}()
			f.await(f.append("order-1", eventstore.Any, f.event(1)))
			f.append("order-1", eventstore.Any, f.event(2))
			f.ok("wait", f.within("Wait", func() error { return <-done }))
			f.same("head", head, eventstore.Position(3))
		}},
		{"CancellingEndsAWait", func(f *fixture) {
			f.await(f.append("order-1", eventstore.NoStream, f.event(0)))
			for what, wait := range map[string]func(context.Context) error{
				"Wait": func(ctx context.Context) error { _, err := f.Wait(ctx, 1); return err },
				"Subscribe": func(ctx context.Context) error {
					_, err := eventstore.Collect(eventstore.Subscribe(ctx, f, eventstore.LogQuery{}))
					return err
				},
			} {
				ctx, cancel := context.WithCancel(f.ctx())
				done := make(chan error, 1)
				go func() { done <- wait(ctx) }()
				cancel()
				err := f.within(what+" after its context was cancelled", func() error { return <-done })
				f.ok("cancelling", need(what, err, context.Canceled))
				ctx, cancel = context.WithTimeout(f.ctx(), 5*time.Millisecond)
				err = f.within(what+" after its deadline", func() error { return wait(ctx) })
				cancel()
				f.ok("a deadline", need(what, err, context.DeadlineExceeded))
			}
		}},
		{"SubscribeCatchesUpAndGoesOn", testSubscribe},
		{"SubscribeEndsAtItsLimits", func(f *fixture) {
			f.await(f.append("order-1", eventstore.NoStream, f.events(5)...))
			for _, c := range []struct {
				q    eventstore.LogQuery
				want []eventstore.Position
			}{
				{eventstore.LogQuery{Through: 3}, []eventstore.Position{1, 2, 3}},
				{eventstore.LogQuery{After: 2, Limit: 2}, []eventstore.Position{3, 4}},
				{eventstore.LogQuery{After: 3, Through: 3}, nil},
				{eventstore.LogQuery{Through: 4, Filter: eventstore.Filter{Types: []eventstore.EventType{"unknown"}}}, nil},
			} {
				var got []eventstore.Position
				f.ok("subscribe", f.within("Subscribe with an end", func() error {
					events, err := eventstore.Collect(eventstore.Subscribe(f.ctx(), f, c.q))
					for _, e := range events {
						got = append(got, e.Position)
					}
					return err
				}))
				f.same(fmt.Sprintf("positions for %+v", c.q), got, c.want)
			}
		}},
		{"FollowTellsHowFarItRead", testFollow},
	}
}

func testSubscribe(f *fixture) {
	const before, after = 7, 20
	f.appendN("order-1", before)
	got := make(chan eventstore.Event)
	ctx, cancel := context.WithCancel(f.ctx())
	defer cancel()
	go func() {
		defer close(got)
		for e, err := range eventstore.Subscribe(ctx, f, eventstore.LogQuery{After: 2, Filter: eventstore.Filter{Types: []eventstore.EventType{"test.happened"}}}) {
			if err != nil {
				return
			}
			got <- e
		}
	}()
	next := func(want eventstore.Position) {
		f.Helper()
		f.ok("subscription", f.within("the next event of a subscription", func() error {
			if e, ok := <-got; !ok || e.Position != want {
				return fmt.Errorf("it gave position %d (open: %t) instead of %d", e.Position, ok, want)
			}
			return nil
		}))
	}
	for p := eventstore.Position(3); p <= before; p++ {
		next(p)
	}
	position := eventstore.Position(before)
	for i := range after {
		if i%3 == 0 {
			f.append("order-2", eventstore.Any, f.eventOf("test.other", i)) // does not pass
			position++
		}
		f.append("order-1", eventstore.Any, f.event(i))
		position++
		next(position)
	}
	cancel()
	f.ok("subscription", f.within("the end of a cancelled subscription", func() error {
		if e, ok := <-got; ok {
			return fmt.Errorf("it gave position %d, which nobody had appended", e.Position)
		}
		return nil
	}))
}

func testFollow(f *fixture) {
	for i := range 10 {
		typ := eventstore.EventType("test.happened")
		if i%5 != 0 {
			typ = "test.other"
		}
		f.append("order-1", eventstore.Any, f.eventOf(typ, i))
	}
	f.await(f.append("order-1", eventstore.Any, f.eventOf("test.other", 0)))
	q := eventstore.LogQuery{Through: 11, Filter: eventstore.Filter{Types: []eventstore.EventType{"test.happened"}}}
	for size := range 4 {
		through, count := eventstore.Position(0), 0
		for batch, err := range eventstore.Follow(f.ctx(), f, q, size) {
			f.ok("follow", err)
			if size > 0 && len(batch.Events) > size {
				f.Fatalf("a batch has %d events; at most %d were asked for", len(batch.Events), size)
			}
			for _, e := range batch.Events {
				if e.Position <= through || e.Position > batch.Through {
					f.Fatalf("a batch from %d to %d has position %d", through, batch.Through, e.Position)
				}
			}
			count += len(batch.Events)
			if batch.Through <= through {
				f.Fatalf("a batch reaches to %d after one that reached to %d", batch.Through, through)
			}
			through = batch.Through
		}
		f.same("position followed to", through, eventstore.Position(11))
		f.same("events", count, 2)
	}
}
