package aggregate

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/snapshot"
)

// A CommandID identifies a command.
type CommandID = eventstore.AppendID

type commandIDKey struct{}

// WithCommandID returns a context whose next [Repository.Run] is the command of
// this id. Running it again, after a crash or a lost reply, returns the first
// result, marked as a duplicate, for as long as the store keeps append ids. The
// events are caused by the command, and belong to its correlation unless ctx has
// one. The same id may be used for commands to several aggregates.
func WithCommandID(ctx context.Context, id CommandID) context.Context {
	return context.WithValue(ctx, commandIDKey{}, id)
}

func commandID(ctx context.Context) CommandID {
	id, _ := ctx.Value(commandIDKey{}).(CommandID)
	return id
}

// A Result tells what a command did.
type Result[S, E any] struct {
	// State is the state after the command, at Version.
	State   S
	Version eventstore.Version
	// Events are the events appended; none when the command had nothing to do
	// or was a duplicate.
	Events []E
	// Token is for [eventstore.Log.Await]; zero when nothing was appended.
	Token eventstore.Token
	// Duplicate is set when the command had been run before.
	Duplicate bool
	// Attempts is how often the command was decided: more than 1 after
	// conflicts.
	Attempts int
}

// Run loads the aggregate with a key, decides the command and appends the
// events. On a conflict it starts again, up to Config.MaxAttempts times. An
// append whose outcome is unknown, or that was not possible for the moment, is
// repeated as it is.
//
// The error of Decide is returned as it is. Others are those of
// [eventstore.Appender] and of loading, wrapped with the stream's name; a
// conflict that remains matches [eventstore.ErrConflict]. Whatever fails before the
// append, loading above all, matches [eventstore.ErrNotWritten]. Where an append of
// unknown outcome was repeated and that failed too, the outcome remains unknown
// unless the repetition met a conflict.
func (r *Repository[S, C, E]) Run(ctx context.Context, key string, command C) (Result[S, E], error) {
	run := run[S, C, E]{Repository: r, stream: r.Stream(key)}
	if id := commandID(ctx); id != (CommandID{}) {
		run.appendID = appendID(id, run.stream)
		m := eventstore.Metadata{CausationID: id.String()}
		if eventstore.MetadataFrom(ctx).CorrelationID == "" {
			m.CorrelationID = id.String()
		}
		ctx = eventstore.WithMetadata(ctx, m)
	}
	for attempt := 1; ; attempt++ {
		result, err := run.once(ctx, command)
		result.Attempts = attempt
		if !errors.Is(err, eventstore.ErrConflict) {
			return result, err
		}
		if attempt >= r.cfg.MaxAttempts {
			return Result[S, E]{Attempts: attempt}, fmt.Errorf("run command on %q: gave up after %d attempts: %w", run.stream, attempt, err)
		}
		if err := r.pause(ctx, attempt); err != nil {
			return Result[S, E]{Attempts: attempt}, fmt.Errorf("run command on %q: %w", run.stream, eventstore.NotWritten(err))
		}
	}
}

// appendID gives each stream its own id for a command, so that a command may go
// to several.
func appendID(id CommandID, stream eventstore.StreamID) eventstore.AppendID {
	sum := sha256.Sum256(append(id[:], stream...))
	return eventstore.AppendID(sum[:len(eventstore.AppendID{})])
}

// pause waits a random time that grows with the number of attempts.
func (r *Repository[S, C, E]) pause(ctx context.Context, attempt int) error {
	limit := r.cfg.Backoff
	for range attempt - 1 {
		if limit >= r.cfg.MaxBackoff {
			break // before it overflows
		}
		limit *= 2
	}
	limit = min(limit, r.cfg.MaxBackoff)
	timer := time.NewTimer(rand.N(limit + 1))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A run is one command on its way.
type run[S, C, E any] struct {
	*Repository[S, C, E]
	stream   eventstore.StreamID
	appendID eventstore.AppendID
}

func (r *run[S, C, E]) once(ctx context.Context, command C) (Result[S, E], error) {
	l, err := r.load(ctx, r.stream)
	if err != nil {
		return Result[S, E]{}, eventstore.NotWritten(err)
	}
	events, err := r.decider.Decide(l.state, command)
	if err != nil || len(events) == 0 {
		return r.nothingDecided(ctx, l, err)
	}
	data, err := r.encode(events)
	if err != nil {
		return Result[S, E]{}, fmt.Errorf("run command on %q: %w", r.stream, eventstore.NotWritten(err))
	}
	appended, err := r.append(ctx, eventstore.AppendRequest{
		ID: r.appendID,
		Streams: []eventstore.StreamAppend{
			{Stream: r.stream, Expected: eventstore.Exact(l.version), Events: data},
		},
	})
	if err != nil {
		return Result[S, E]{}, err
	}
	if appended.Duplicate && r.appendID != (eventstore.AppendID{}) {
		if mine, err := r.holds(ctx, appended, data[0].ID); err != nil || !mine {
			return r.duplicate(ctx, appended, err)
		}
	}
	if !r.decider.decideApplies {
		l.state = r.decider.Fold(l.state, events...)
	}
	if r.decider.renew != nil {
		r.decider.renew(l.state) // what it recorded is appended
	}
	l.version = appended.Streams[0].Last
	r.saveSnapshot(ctx, r.stream, &l)
	r.keep(r.stream, l)
	return Result[S, E]{State: l.state, Version: l.version, Events: events, Token: appended.Token}, nil
}

func (r *run[S, C, E]) encode(events []E) ([]eventstore.EventData, error) {
	values := make([]any, len(events))
	for i, e := range events {
		values[i] = e
	}
	data, err := r.registry.Encode(values...)
	for i := range data {
		// Given here and not by the store, so that an append of unknown outcome
		// can be repeated.
		data[i].ID = eventstore.NewEventID()
	}
	return data, err
}

// append appends and, while the outcome is unknown or the store unavailable,
// appends the same again.
func (r *run[S, C, E]) append(ctx context.Context, req eventstore.AppendRequest) (eventstore.AppendResult, error) {
	var unknown error // of the last attempt whose outcome was
	for attempt := 1; ; attempt++ {
		result, err := r.store.Append(ctx, req)
		if errors.Is(err, eventstore.ErrOutcomeUnknown) {
			unknown = err
		}
		if err == nil || !eventstore.Retryable(err) || attempt >= r.cfg.MaxAttempts || r.pause(ctx, attempt) != nil {
			return result, stillUnknown(err, unknown)
		}
	}
}

// stillUnknown returns the error of an append that was repeated: that this attempt
// wrote nothing says nothing of an earlier one. A conflict does, as the store would
// have recognised the events of that one.
func stillUnknown(err, unknown error) error {
	if err == nil || unknown == nil || errors.Is(err, eventstore.ErrConflict) || errors.Is(err, eventstore.ErrOutcomeUnknown) {
		return err
	}
	return fmt.Errorf("%w; repeated: %s", unknown, err.Error())
}

// nothingDecided handles a command that was rejected or had nothing to do. If it
// has an id, that may be because it was run before.
func (r *run[S, C, E]) nothingDecided(ctx context.Context, l loaded[S], rejection error) (Result[S, E], error) {
	if r.appendID != (eventstore.AppendID{}) {
		asked, err := r.append(ctx, eventstore.AppendRequest{
			ID:      r.appendID,
			Streams: []eventstore.StreamAppend{{Stream: r.stream, Expected: eventstore.Any}},
		})
		if err != nil {
			return Result[S, E]{}, errors.Join(rejection, err)
		}
		if asked.Duplicate {
			return r.duplicate(ctx, asked, nil)
		}
	}
	if rejection != nil {
		return Result[S, E]{}, rejection
	}
	return Result[S, E]{State: l.state, Version: l.version}, nil
}

// holds reports whether an append begins with an event of this id. It tells an
// append that this run repeated from one of an earlier run.
func (r *run[S, C, E]) holds(ctx context.Context, appended eventstore.AppendResult, id eventstore.EventID) (bool, error) {
	q := eventstore.StreamQuery{From: appended.Streams[0].First, Limit: 1}
	for e, err := range r.store.ReadStream(ctx, r.stream, q) {
		return e.ID == id, err
	}
	return false, nil
}

func (r *run[S, C, E]) duplicate(ctx context.Context, first eventstore.AppendResult, err error) (Result[S, E], error) {
	if err != nil {
		return Result[S, E]{}, err
	}
	// Loaded anew: the state in hand may have been changed by the decision.
	l, err := r.load(ctx, r.stream)
	if err != nil {
		return Result[S, E]{}, err
	}
	return Result[S, E]{State: l.state, Version: l.version, Token: first.Token, Duplicate: true}, nil
}

func isNotFound(err error) bool { return errors.Is(err, snapshot.ErrNotFound) }
