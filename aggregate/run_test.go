package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore"
)

func TestRunAppendsWhatWasDecided(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	r := newRepository(t, store, aggregate.Config[account]{})
	result, err := r.Run(t.Context(), "a", 100)
	require.NoError(t, err)
	require.Equal(t, eventstore.Version(1), result.Version)
	require.Equal(t, []event{deposited{Cents: 100}}, result.Events)
	require.EqualValues(t, 100, result.State.Balance)
	require.Equal(t, 1, result.Attempts)
	require.False(t, result.Duplicate)

	result, err = r.Run(t.Context(), "a", -30)
	require.NoError(t, err)
	require.EqualValues(t, 70, result.State.Balance)
	position, err := store.Await(t.Context(), result.Token)
	require.NoError(t, err)
	require.Equal(t, eventstore.Position(2), position)

	loaded, err := r.Load(t.Context(), "a")
	require.NoError(t, err)
	require.EqualValues(t, 70, loaded.State.Balance)
	require.Equal(t, eventstore.Version(2), loaded.Version)

	empty, err := r.Load(t.Context(), "b")
	require.NoError(t, err)
	require.Zero(t, empty.Version)
	require.NotNil(t, empty.State.Seen, "the initial state")
}

func TestRunReturnsTheRejectionAsItIs(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	r := newRepository(t, store, aggregate.Config[account]{})
	_, err := r.Run(t.Context(), "a", -1)
	require.Equal(t, errOverdrawn, err)
	head, err := store.Head(t.Context())
	require.NoError(t, err)
	require.Zero(t, head)
}

func TestRunWithNothingToDo(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	r := newRepository(t, store, aggregate.Config[account]{})
	result, err := r.Run(t.Context(), "a", 0)
	require.NoError(t, err)
	require.Zero(t, result.Token)
	require.Empty(t, result.Events)
}

// TestConflictIsDecidedAnew has a rival append between load and append.
func TestConflictIsDecidedAnew(t *testing.T) {
	t.Parallel()
	for _, cache := range []int{0, 10} {
		t.Run(fmt.Sprint("cache ", cache), func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			rival := newRepository(t, store, aggregate.Config[account]{})
			r := newRepository(t, store, aggregate.Config[account]{CacheSize: cache})
			_, err := r.Run(t.Context(), "a", 100)
			require.NoError(t, err)
			store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpAppend}, Times: 1, Before: func(ctx context.Context) {
				_, err := rival.Run(ctx, "a", -80)
				require.NoError(t, err)
			}})
			_, err = r.Run(t.Context(), "a", -50)
			require.Equal(t, errOverdrawn, err, "decided against the state that the rival left")
			result, err := r.Run(t.Context(), "a", -20)
			require.NoError(t, err)
			require.Zero(t, result.State.Balance)
			require.Equal(t, eventstore.Version(3), result.Version)
		})
	}
}

func TestConflictsGiveUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		fault := store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpAppend}, Kind: simstore.Conflict})
		r := newRepository(t, store, aggregate.Config[account]{MaxAttempts: 4})
		result, err := r.Run(t.Context(), "a", 1)
		require.ErrorIs(t, err, eventstore.ErrConflict)
		require.ErrorIs(t, err, eventstore.ErrNotWritten)
		require.ErrorContains(t, err, "gave up after 4 attempts")
		require.Equal(t, 4, result.Attempts)
		require.Equal(t, 4, fault.Fired())
	})
}

func TestConflictPausesEndWithTheContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpAppend}, Kind: simstore.Conflict})
		r := newRepository(t, store, aggregate.Config[account]{MaxAttempts: 1_000, Backoff: time.Hour, MaxBackoff: time.Hour})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err := r.Run(ctx, "a", 1)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, eventstore.ErrNotWritten)
	})
}

// TestUnknownOutcomeIsNotDoubled loses the reply of an append that was written,
// and of one that was not.
func TestUnknownOutcomeIsNotDoubled(t *testing.T) {
	t.Parallel()
	for _, kind := range []simstore.FaultKind{simstore.UnknownWritten, simstore.UnknownNotWritten, simstore.Unavailable} {
		for _, withID := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, command id %t", kind, withID), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					store := newStore(t)
					store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpAppend}, Kind: kind, Times: 3})
					r := newRepository(t, store, aggregate.Config[account]{})
					ctx := t.Context()
					if withID {
						ctx = aggregate.WithCommandID(ctx, aggregate.CommandID{1})
					}
					result, err := r.Run(ctx, "a", 100)
					require.NoError(t, err)
					require.False(t, result.Duplicate, "it is this run's own append")
					require.EqualValues(t, 100, result.State.Balance)
					require.Len(t, result.Events, 1)
					events, err := eventstore.Collect(store.ReadStream(t.Context(), r.Stream("a"), eventstore.StreamQuery{}))
					require.NoError(t, err)
					require.Len(t, events, 1)
				})
			})
		}
	}
}

func TestUnknownOutcomeGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		store := newStore(t)
		store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpAppend}, Kind: simstore.UnknownNotWritten})
		r := newRepository(t, store, aggregate.Config[account]{MaxAttempts: 3})
		_, err := r.Run(t.Context(), "a", 100)
		require.ErrorIs(t, err, eventstore.ErrOutcomeUnknown)
	})
}

// TestUnknownOutcomeStaysUnknown repeats an append of unknown outcome that may not
// be repeated for other reasons: that is no proof that nothing was written.
func TestUnknownOutcomeStaysUnknown(t *testing.T) {
	t.Parallel()
	for name, second := range map[string]func(*testing.T, *simstore.Store, context.CancelFunc) simstore.Fault{
		"unavailable": func(*testing.T, *simstore.Store, context.CancelFunc) simstore.Fault {
			return simstore.Fault{Kind: simstore.Unavailable}
		},
		"cancelled": func(_ *testing.T, _ *simstore.Store, cancel context.CancelFunc) simstore.Fault {
			return simstore.Fault{Before: func(context.Context) { cancel() }}
		},
		"tombstoned": func(t *testing.T, store *simstore.Store, _ context.CancelFunc) simstore.Fault {
			return simstore.Fault{Before: func(ctx context.Context) {
				require.NoError(t, store.Tombstone(ctx, "account-a", eventstore.Any))
			}}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				store := newStore(t)
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpAppend}, Kind: simstore.UnknownWritten, Times: 1})
				f := second(t, store, cancel)
				f.Ops = []simstore.Op{simstore.OpAppend}
				store.Inject(f)
				_, err := newRepository(t, store, aggregate.Config[account]{MaxAttempts: 2}).Run(ctx, "a", 100)
				require.ErrorIs(t, err, eventstore.ErrOutcomeUnknown)
				require.NotErrorIs(t, err, eventstore.ErrNotWritten)
				require.ErrorContains(t, err, "repeated: ")
			})
		})
	}
}

// TestWhatFailsBeforeTheAppendIsNotWritten fails while loading and while encoding.
func TestWhatFailsBeforeTheAppendIsNotWritten(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	r := newRepository(t, store, aggregate.Config[account]{})
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := r.Run(cancelled, "a", 100)
	require.ErrorIs(t, err, context.Canceled)
	require.ErrorIs(t, err, eventstore.ErrNotWritten)

	fault := store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpReadStream}, Kind: simstore.Unavailable})
	_, err = r.Run(t.Context(), "a", 100)
	require.ErrorIs(t, err, eventstore.ErrUnavailable)
	require.ErrorIs(t, err, eventstore.ErrNotWritten)
	require.True(t, eventstore.Retryable(err))
	fault.Remove()

	unregistered, err := aggregate.NewRepository(store, eventstore.MustRegistry(), decider(), aggregate.Config[account]{Category: "account", Clone: account.clone})
	require.NoError(t, err)
	_, err = unregistered.Run(t.Context(), "a", 100)
	require.ErrorIs(t, err, eventstore.ErrUnregistered)
	require.ErrorIs(t, err, eventstore.ErrNotWritten)
}

func TestCommandIDRunsOnce(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	r := newRepository(t, store, aggregate.Config[account]{})
	ctx := aggregate.WithCommandID(t.Context(), aggregate.CommandID{7})
	first, err := r.Run(ctx, "a", 100)
	require.NoError(t, err)
	for _, command := range []change{100, -500, 0} { // decided otherwise, rejected, and nothing to do
		again, err := r.Run(ctx, "a", command)
		require.NoError(t, err, "command %d", command)
		require.True(t, again.Duplicate, "command %d", command)
		require.Equal(t, first.Token, again.Token)
		require.EqualValues(t, 100, again.State.Balance)
	}
	other, err := r.Run(ctx, "b", 5)
	require.NoError(t, err)
	require.False(t, other.Duplicate, "the id may go to another aggregate")
}

func TestCommandIDOfARejectedCommandStaysFree(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	r := newRepository(t, store, aggregate.Config[account]{})
	ctx := aggregate.WithCommandID(t.Context(), aggregate.CommandID{7})
	_, err := r.Run(ctx, "a", -100)
	require.Equal(t, errOverdrawn, err)
	_, err = r.Run(t.Context(), "a", 200)
	require.NoError(t, err)
	result, err := r.Run(ctx, "a", -100)
	require.NoError(t, err)
	require.False(t, result.Duplicate)
	require.EqualValues(t, 100, result.State.Balance)
}

func TestMetadataOfCommandsAndEvents(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	r := newRepository(t, store, aggregate.Config[account]{})
	id := aggregate.CommandID{9}
	metadata := func(ctx context.Context, key string) eventstore.Metadata {
		_, err := r.Run(ctx, key, 1)
		require.NoError(t, err)
		events, err := eventstore.Collect(store.ReadStream(t.Context(), r.Stream(key), eventstore.StreamQuery{}))
		require.NoError(t, err)
		return events[0].Metadata
	}
	require.Equal(t, eventstore.Metadata{CausationID: id.String(), CorrelationID: id.String()},
		metadata(aggregate.WithCommandID(t.Context(), id), "a"))

	cause := eventstore.Event{ID: eventstore.NewEventID(), Metadata: eventstore.Metadata{CorrelationID: "c", Tenant: "t", TraceParent: "p", TraceState: "s"}}
	handling := eventstore.CausedBy(t.Context(), cause)
	require.Equal(t, eventstore.Metadata{CausationID: cause.ID.String(), CorrelationID: "c", Tenant: "t", TraceParent: "p", TraceState: "s"},
		metadata(handling, "b"))
	require.Equal(t, eventstore.Metadata{CausationID: id.String(), CorrelationID: "c", Tenant: "t", TraceParent: "p", TraceState: "s"},
		metadata(aggregate.WithCommandID(handling, id), "c"))
}

// TestManyWritersOfOneAggregate adds up under contention, with and without a
// cache that several runs share.
func TestManyWritersOfOneAggregate(t *testing.T) {
	t.Parallel()
	for _, cache := range []int{0, 4} {
		t.Run(fmt.Sprint("cache ", cache), func(t *testing.T) {
			t.Parallel()
			store := newStore(t)
			r := newRepository(t, store, aggregate.Config[account]{
				CacheSize: cache, MaxAttempts: 10_000, Backoff: time.Microsecond, MaxBackoff: time.Millisecond,
				Snapshots: store.Snapshots(),
			})
			const writers, each = 8, 25
			var wg sync.WaitGroup
			for range writers {
				wg.Go(func() {
					for range each {
						_, err := r.Run(t.Context(), "a", 1)
						require.NoError(t, err)
					}
				})
			}
			wg.Wait()
			l, err := r.Load(t.Context(), "a")
			require.NoError(t, err)
			require.EqualValues(t, writers*each, l.State.Balance)
			require.EqualValues(t, writers*each, l.Version)
			require.EqualValues(t, writers*each, l.State.Seen["in"])
		})
	}
}

func TestRoot(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	r, err := aggregate.NewRootRepository(store, registry(), newPurse, aggregate.Config[*purse]{
		Category:  "purse",
		CacheSize: 10,
		Clone:     func(p *purse) *purse { return &purse{Balance: p.Balance} },
		Snapshots: store.Snapshots(),
	})
	require.NoError(t, err)
	result, err := r.Run(t.Context(), "a", func(p *purse) error { return errors.Join(p.change(10), p.change(-3)) })
	require.NoError(t, err)
	require.EqualValues(t, 7, result.State.Balance, "applied once, by Record")
	require.Len(t, result.Events, 2)
	_, err = r.Run(t.Context(), "a", func(p *purse) error { return errors.Join(p.change(10), p.change(-100)) })
	require.ErrorIs(t, err, errOverdrawn)
	l, err := r.Load(t.Context(), "a")
	require.NoError(t, err)
	require.EqualValues(t, 7, l.State.Balance, "a rejected command leaves no trace, in the cache neither")
	require.Empty(t, l.State.Recorded())
}

func TestRootNotSetUp(t *testing.T) {
	t.Parallel()
	require.PanicsWithValue(t, "aggregate: Record on a root that is not set up; make it with aggregate.NewRoot",
		func() { _ = newPurse().change(1) })
	p := aggregate.NewRoot(newPurse())
	require.NoError(t, p.change(5))
	require.Equal(t, []event{deposited{Cents: 5}}, p.Recorded())
	require.EqualValues(t, 5, p.Balance)
}

func TestDeciderFolds(t *testing.T) {
	t.Parallel()
	d := decider()
	s := d.Start(deposited{Cents: 5}, withdrawn{Cents: 2})
	require.EqualValues(t, 3, s.Balance)
	require.EqualValues(t, 4, d.Fold(s, deposited{Cents: 1}).Balance)
	d.Initial = nil
	d.Evolve = func(a account, _ event) account { a.Changes++; return a }
	require.Equal(t, 1, d.Start(deposited{}).Changes)
}
