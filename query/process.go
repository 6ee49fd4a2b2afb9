package query

import (
	"context"
	"fmt"
	"iter"
	"sync"
)

// Process runs the function on every item of a stream, on up to workers at a
// time, in no particular order. It takes from the stream only what a worker is
// free for. The first error, of the stream or the function, ends the context of
// all calls under way; it is returned after they have come back.
func Process[T any](ctx context.Context, items iter.Seq2[T, error], workers int, do func(context.Context, T) error) error {
	for _, err := range MapUnordered(ctx, items, workers, func(ctx context.Context, item T) (struct{}, error) {
		return struct{}{}, do(ctx, item)
	}) {
		if err != nil {
			return err
		}
	}
	return nil
}

// MapOrdered runs the function on up to workers items of a stream at a time and
// yields the results in the order of the stream. At most workers items are
// under way or waiting for an earlier one. The first error comes last; breaking
// out ends the context of the calls under way and waits for them.
func MapOrdered[T, R any](
	ctx context.Context, items iter.Seq2[T, error], workers int, do func(context.Context, T) (R, error),
) iter.Seq2[R, error] {
	return concurrent(ctx, items, workers, do, true)
}

// MapUnordered is MapOrdered with the results as they come.
func MapUnordered[T, R any](
	ctx context.Context, items iter.Seq2[T, error], workers int, do func(context.Context, T) (R, error),
) iter.Seq2[R, error] {
	return concurrent(ctx, items, workers, do, false)
}

type outcome[R any] struct {
	value    R
	err      error
	panicked any
}

// concurrent runs a feeder, which starts a goroutine per item. Each outcome has
// a place of its own (ordered) or a common channel; places bound the number
// under way, because the feeder needs a free one before it takes the next item.
func concurrent[T, R any](
	ctx context.Context, items iter.Seq2[T, error], workers int, do func(context.Context, T) (R, error), ordered bool,
) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		if workers <= 0 {
			yield(*new(R), invalidf("process: %d workers", workers))
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()

		free := make(chan struct{}, workers)
		places := make(chan chan outcome[R], workers)
		running.Go(func() {
			defer close(places)
			feed(ctx, items, free, places, do, ordered)
		})
		var first error
		for place := range places {
			o := <-place
			<-free
			if o.panicked != nil {
				panic(o.panicked)
			}
			if o.err != nil {
				first = o.err
				break
			}
			if !yield(o.value, nil) {
				return
			}
		}
		if first == nil {
			first = ctx.Err()
		}
		if first != nil {
			cancel()
			running.Wait()
			yield(*new(R), first)
		}
	}
}

// feed takes items as places become free. Unordered, a place is handed over
// when its outcome is there, so the earliest comes first.
func feed[T, R any](
	ctx context.Context, items iter.Seq2[T, error], free chan struct{},
	places chan chan outcome[R], do func(context.Context, T) (R, error), ordered bool,
) {
	var calls sync.WaitGroup
	defer calls.Wait()
	hand := func(place chan outcome[R]) { places <- place }
	for item, err := range items {
		select {
		case free <- struct{}{}:
		case <-ctx.Done():
			return
		}
		place := make(chan outcome[R], 1)
		if err != nil {
			place <- outcome[R]{err: err}
			hand(place)
			return
		}
		if ordered {
			hand(place)
		}
		calls.Go(func() {
			place <- call(ctx, item, do)
			if !ordered {
				hand(place)
			}
		})
	}
}

func call[T, R any](ctx context.Context, item T, do func(context.Context, T) (R, error)) (o outcome[R]) {
	defer func() {
		if r := recover(); r != nil {
			o = outcome[R]{panicked: fmt.Sprintf("query: a function given to Process panicked: %v", r)}
		}
	}()
	o.value, o.err = do(ctx, item)
	return o
}
