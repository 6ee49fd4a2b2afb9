package query

import (
	"context"

	"go.mongodb.org/mongo-driver/v2/mongo"
)

// A batch is what one round trip brought, decoded. err ends the stream after
// the items; panicked is a panic of a T's own decoding, to be raised where the reader is.
type batch[T any] struct {
	items    []T
	err      error
	panicked any
	// last says that the stream is complete: without it, an end is an interruption.
	last bool
}

// stream opens a cursor and yields its documents. What fits into the first
// batch is yielded without a goroutine; for more, one goroutine fetches and
// decodes ahead and is gone when stream returns.
func stream[T any](
	ctx context.Context, open func(context.Context) (*mongo.Cursor, error), ahead int,
	wrap func(error) error, yield func(T, error) bool,
) {
	cursor, err := open(ctx)
	if err != nil {
		yield(*new(T), wrap(err))
		return
	}
	if ahead == 0 || cursor.ID() == 0 || mongo.SessionFromContext(ctx) != nil {
		defer closeCursor(ctx, cursor)
		streamInline(ctx, cursor, wrap, yield)
		return
	}
	streamAhead(ctx, cursor, ahead, wrap, yield)
}

func streamInline[T any](ctx context.Context, cursor *mongo.Cursor, wrap func(error) error, yield func(T, error) bool) {
	for cursor.Next(ctx) {
		var item T
		if err := decode(cursor, &item); err != nil {
			yield(*new(T), wrap(err))
			return
		}
		if !yield(item, nil) {
			return
		}
	}
	if err := cursor.Err(); err != nil {
		yield(*new(T), wrap(err))
	}
}

func streamAhead[T any](
	ctx context.Context, cursor *mongo.Cursor, ahead int, wrap func(error) error, yield func(T, error) bool,
) {
	ctx, cancel := context.WithCancel(ctx)
	batches := make(chan batch[T], ahead-1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer closeCursor(ctx, cursor)
		defer close(batches)
		fetch(ctx, cursor, batches)
	}()
	defer func() {
		cancel()
		<-done
	}()
	for b := range batches {
		for i := range b.items {
			if !yield(b.items[i], nil) {
				return
			}
		}
		if b.panicked != nil {
			panic(b.panicked)
		}
		if b.err != nil {
			yield(*new(T), wrap(b.err))
			return
		}
		if b.last {
			return
		}
	}
	yield(*new(T), wrap(ctx.Err()))
}

// fetch sends batch after batch until the end, an error, or the context's end.
func fetch[T any](ctx context.Context, cursor *mongo.Cursor, to chan<- batch[T]) {
	for {
		b, more := nextBatch[T](ctx, cursor)
		b.last = !more
		select {
		case to <- b:
		case <-ctx.Done():
			return
		}
		if !more {
			return
		}
	}
}

func nextBatch[T any](ctx context.Context, cursor *mongo.Cursor) (b batch[T], more bool) {
	defer func() {
		if r := recover(); r != nil {
			b.panicked, more = r, false
		}
	}()
	if !cursor.Next(ctx) {
		b.err = cursor.Err()
		return b, false
	}
	b.items = make([]T, 0, cursor.RemainingBatchLength()+1)
	for {
		b.items = append(b.items, *new(T))
		if err := decode(cursor, &b.items[len(b.items)-1]); err != nil {
			b.items, b.err = b.items[:len(b.items)-1], err
			return b, false
		}
		if cursor.RemainingBatchLength() == 0 {
			return b, true
		}
		if !cursor.Next(ctx) {
			b.err = cursor.Err()
			return b, false
		}
	}
}
