package readmodel

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore/mongosim"
)

// moved is an event that concerns two accounts, whose stream is neither's.
type moved struct {
	From, To string
	Amount   int64
}

type renamed struct{ Account, Name string }

// balance shows every event that is missing, doubled or out of its stream's order.
type balance struct {
	Amount int64            `json:"amount"`
	Moves  int64            `json:"moves"`
	Chains map[string]int64 `json:"chains,omitempty"`
	Name   string           `json:"name,omitempty"`
}

func (b balance) with(v moved, e eventstore.Event) balance {
	b.Amount += v.Amount
	b.Moves++
	chains := map[string]int64{}
	maps.Copy(chains, b.Chains)
	chains[string(e.Stream)] = chains[string(e.Stream)]*31 + int64(binary.LittleEndian.Uint32(e.ID[10:]))
	b.Chains = chains
	return b
}

var errNegative = errors.New("a negative amount")

func inlineRegistry() *eventstore.Registry {
	return eventstore.MustRegistry(eventstore.Type[moved]("money.moved"), eventstore.Type[renamed]("account.renamed"))
}

func balances() projection.Fold[balance] {
	return projection.Fold[balance]{Name: "balances", Handlers: []projection.FoldHandler[balance]{
		projection.ReduceOn(
			func(v moved, _ eventstore.Event) []string { return []string{v.From, v.To} },
			func(b *balance, v moved, e eventstore.Event) (*balance, error) {
				if v.Amount < 0 {
					return nil, errNegative
				}
				if b == nil {
					b = &balance{}
				}
				*b = b.with(v, e)
				return b, nil
			}),
		projection.UpdateOn[balance](
			func(v renamed, _ eventstore.Event) []string { return []string{v.Account} },
			func(v renamed, _ eventstore.Event) (any, error) {
				return projection.Patch{Set: map[string]any{"name": v.Name}}, nil
			}),
	}}
}

func (e *env) inline(t testing.TB) *Inline {
	t.Helper()
	in, err := e.Inline(t.Context(), inlineRegistry(), balances())
	require.NoError(t, err)
	return in
}

func encoded(t testing.TB, payloads ...any) []eventstore.EventData {
	t.Helper()
	events, err := inlineRegistry().Encode(payloads...)
	require.NoError(t, err)
	return events
}

// stored returns the documents of the inline model.
func (in *Inline) stored(t testing.TB) map[string]balance {
	t.Helper()
	docs, err := in.backend.ScanDocuments(t.Context(), "balances_v1", "", "", 0)
	require.NoError(t, err)
	all := map[string]balance{}
	for _, d := range docs {
		var v balance
		require.NoError(t, eventstore.NewBSONCodec().Unmarshal(d.Data, &v))
		all[d.Key] = v
	}
	return all
}

// folded returns what the documents must be: the fold of the log.
func (in *Inline) folded(t testing.TB) map[string]balance {
	t.Helper()
	events, err := eventstore.Collect(in.ReadLog(t.Context(), eventstore.LogQuery{}))
	require.NoError(t, err)
	all := map[string]balance{}
	for _, e := range events {
		v, err := inlineRegistry().Decode(e)
		require.NoError(t, err)
		switch v := v.(type) {
		case moved:
			all[v.From] = all[v.From].with(v, e)
			if v.To != v.From {
				all[v.To] = all[v.To].with(v, e)
			}
		case renamed:
			b := all[v.Account]
			b.Name = v.Name
			all[v.Account] = b
		}
	}
	return all
}

func (in *Inline) inLog(t testing.TB, tokens ...eventstore.Token) {
	t.Helper()
	for _, token := range tokens {
		_, err := in.Await(t.Context(), token)
		require.NoError(t, err)
	}
}

func TestInlineIsThereWithTheEvents(t *testing.T) {
	t.Parallel()
	in := setup(t).inline(t)
	res, err := eventstore.Append(t.Context(), in, "transfer-1", eventstore.NoStream,
		encoded(t, moved{"a", "b", 5}, renamed{"a", "Ann"}, moved{"a", "c", 2}, renamed{"d", "Dan"})...)
	require.NoError(t, err)
	got := in.stored(t)
	require.Equal(t, int64(7), got["a"].Amount)
	require.Equal(t, "Ann", got["a"].Name)
	require.Equal(t, balance{Name: "Dan"}, got["d"])
	in.inLog(t, res.Token)
	require.Equal(t, in.folded(t), got)

	coll, err := in.Collection("balances")
	require.NoError(t, err)
	require.Equal(t, "balances_v1", coll.Name())
	_, err = in.Collection("other")
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}

func TestInlineRefusalsWriteNothing(t *testing.T) {
	t.Parallel()
	in := setup(t).inline(t)
	_, err := eventstore.Append(t.Context(), in, "transfer-1", eventstore.NoStream, encoded(t, moved{"a", "b", 5}, moved{"a", "b", -1})...)
	require.ErrorIs(t, err, errNegative)
	require.ErrorIs(t, err, eventstore.ErrNotWritten)
	require.ErrorAs(t, err, new(*projection.HandlerError))

	_, err = eventstore.Append(t.Context(), in, "transfer-1", eventstore.Exact(3), encoded(t, moved{"a", "b", 5})...)
	require.ErrorIs(t, err, eventstore.ErrConflict)

	_, err = eventstore.Append(t.Context(), in, "transfer-1", eventstore.NoStream, encoded(t, moved{"\xff", "b", 5})...)
	require.ErrorAs(t, err, new(*projection.DocumentError))
	require.ErrorIs(t, err, eventstore.ErrNotWritten)

	require.Empty(t, in.stored(t))
	events, err := eventstore.Collect(in.ReadStream(t.Context(), "transfer-1", eventstore.StreamQuery{}))
	require.NoError(t, err)
	require.Empty(t, events)
}

func TestInlineFoldsRepetitionsOnce(t *testing.T) {
	t.Parallel()
	in := setup(t).inline(t)
	for name, req := range map[string]eventstore.AppendRequest{
		"by event ids": {Streams: []eventstore.StreamAppend{{Stream: "transfer-1", Expected: eventstore.NoStream}}},
		"by append id": {ID: eventstore.NewEventID(), Streams: []eventstore.StreamAppend{{Stream: "transfer-2", Expected: eventstore.Any}}},
	} {
		req.Streams[0].Events = encoded(t, moved{name, name, 5})
		req.Streams[0].Events[0].ID = eventstore.NewEventID()
		for i := range 3 {
			res, err := in.Append(t.Context(), req)
			require.NoError(t, err)
			require.Equal(t, i > 0, res.Duplicate)
		}
		require.Equal(t, int64(1), in.stored(t)[name].Moves, name)
	}
}

func TestInlineTakesPartInATransaction(t *testing.T) {
	t.Parallel()
	e := setup(t)
	in := e.inline(t)
	mind := errors.New("changed my mind")
	for _, outcome := range []error{mind, nil} {
		err := mongostore.WithTransaction(t.Context(), e.client, func(ctx context.Context) error {
			if _, err := eventstore.Append(ctx, in, "transfer-1", eventstore.NoStream, encoded(t, moved{"a", "b", 5})...); err != nil {
				return err
			}
			docs, err := e.LoadDocuments(ctx, "balances_v1", []string{"a"})
			require.NoError(t, err)
			require.Len(t, docs, 1, "seen within the transaction")
			return outcome
		})
		require.ErrorIs(t, err, outcome)
		if outcome != nil {
			require.Empty(t, in.stored(t))
		}
	}
	require.Len(t, in.stored(t), 2)
}

func TestInlineRefusesWhatHasEffects(t *testing.T) {
	t.Parallel()
	e := setup(t)
	_, err := e.Inline(t.Context(), inlineRegistry(), projection.Projection{Name: "mails", Handlers: []projection.Handler{
		projection.On(func(context.Context, moved, eventstore.Event) error { return nil }),
	}})
	require.ErrorIs(t, err, eventstore.ErrInvalid)
}

// Writers in two processes append through inline projections to few accounts,
// while commands fail: the documents are the fold of the streams.
func TestInlineUnderContention(t *testing.T) {
	t.Parallel()
	t.Run("calm", func(t *testing.T) {
		t.Parallel()
		contend(t, setup(t), nil)
	})
	for _, command := range []string{"insert", "find", "update", "commitTransaction"} {
		for name, fault := range map[string]mongosim.FailPoint{
			"reply lost":   {LoseReply: true},
			"no primary":   {ErrorCode: 10107},
			"disconnected": {CloseConnection: true},
		} {
			t.Run(command+"/"+name, func(t *testing.T) {
				t.Parallel()
				fault.Commands, fault.Times = []string{command}, 1
				contend(t, simulated(t), &fault)
			})
		}
	}
}

func contend(t *testing.T, e *env, fault *mongosim.FailPoint) {
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	other, err := e.backend(t).Inline(ctx, inlineRegistry(), balances())
	require.NoError(t, err)
	stores := []*Inline{e.inline(t), other}
	var (
		writing sync.WaitGroup
		mu      sync.Mutex
		tokens  []eventstore.Token
	)
	for w := range 4 {
		writing.Go(func() {
			r := rand.New(rand.NewPCG(3, uint64(w)))
			for n := range 5 {
				if fault != nil && n%2 == 0 {
					if err := e.sim.FailCommand(*fault); err != nil {
						t.Error(err)
					}
				}
				account := func() string { return fmt.Sprintf("account-%d", r.IntN(3)) }
				req := eventstore.AppendRequest{ID: eventstore.NewEventID(), Streams: []eventstore.StreamAppend{{
					Stream: eventstore.StreamID(fmt.Sprintf("transfer-%d", r.IntN(3))), Expected: eventstore.Any,
					Events: encoded(t, moved{account(), account(), r.Int64N(100)}, moved{account(), account(), 1}),
				}}}
				if n == 3 {
					req.ID = eventstore.AppendID{} // the store names it itself
				}
				for {
					res, err := stores[w%2].Append(ctx, req)
					if err == nil {
						mu.Lock()
						tokens = append(tokens, res.Token)
						mu.Unlock()
						break
					}
					if ctx.Err() != nil || !eventstore.Retryable(err) || (n == 3 && !errors.Is(err, eventstore.ErrNotWritten)) {
						t.Errorf("append: %v", err)
						return
					}
				}
			}
		})
	}
	writing.Wait()
	if e.sim != nil {
		e.sim.ClearFailPoint()
		e.sim.Elect()
	}
	stores[0].inLog(t, tokens...)
	want := stores[0].folded(t)
	require.Equal(t, want, stores[0].stored(t))
	var moves int64
	for _, b := range want {
		moves += b.Moves
	}
	require.GreaterOrEqual(t, moves, int64(2*4*5), "nothing was lost")
}

func TestInlineRebuild(t *testing.T) {
	t.Parallel()
	e := setup(t)
	in := e.inline(t)
	for i := range 30 { // past the inline projections, and the log is not in use yet
		_, err := eventstore.Append(t.Context(), e.store, eventstore.StreamID(fmt.Sprintf("transfer-%d", i%7)), eventstore.Any,
			encoded(t, moved{"a", fmt.Sprint("b", i%5), int64(i)}, renamed{fmt.Sprint("b", i%3), fmt.Sprint("name ", i)})...)
		require.NoError(t, err)
	}
	require.Empty(t, in.stored(t))
	require.NoError(t, in.Rebuild(t.Context()))
	want := in.folded(t)
	require.Equal(t, want, in.stored(t))

	require.NoError(t, in.Rebuild(t.Context()), "again, from the start")
	require.Equal(t, want, in.stored(t))

	res, err := eventstore.Append(t.Context(), in, "transfer-1", eventstore.Any, encoded(t, moved{"a", "b1", 1})...)
	require.NoError(t, err)
	in.inLog(t, res.Token)
	require.Equal(t, in.folded(t), in.stored(t))
}
