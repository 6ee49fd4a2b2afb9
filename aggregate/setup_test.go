package aggregate_test

import (
	"errors"
	"maps"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The tests' aggregate is an account, once as a decider and once as a root.

type (
	event     interface{ accountEvent() }
	deposited struct {
		Cents int64 `json:"cents"`
	}
	withdrawn struct {
		Cents int64 `json:"cents"`
	}
)

func (deposited) accountEvent() {}
func (withdrawn) accountEvent() {}

type foreign struct{ X int }

var errOverdrawn = errors.New("overdrawn")

type account struct {
	Balance int64            `json:"balance"`
	Changes int              `json:"changes"`
	Seen    map[string]int64 `json:"seen"` // changed in place, so that sharing it shows
}

func (a account) clone() account {
	seen := make(map[string]int64, len(a.Seen))
	maps.Copy(seen, a.Seen)
	a.Seen = seen
	return a
}

// change is the tests' command: what to put in, or to take out.
type change int64

func decider() aggregate.Decider[account, change, event] {
	return aggregate.Decider[account, change, event]{
		Initial: func() account { return account{Seen: map[string]int64{}} },
		Decide: func(a account, c change) ([]event, error) {
			switch {
			case c == 0:
				return nil, nil
			case c > 0:
				return []event{deposited{Cents: int64(c)}}, nil
			case a.Balance+int64(c) < 0:
				return nil, errOverdrawn
			}
			return []event{withdrawn{Cents: -int64(c)}}, nil
		},
		Evolve: func(a account, e event) account {
			a.Changes++
			switch e := e.(type) {
			case deposited:
				a.Balance += e.Cents
				a.Seen["in"] += e.Cents
			case withdrawn:
				a.Balance -= e.Cents
				a.Seen["out"] += e.Cents
			}
			return a
		},
	}
}

func registry() *eventstore.Registry {
	return eventstore.MustRegistry(
		eventstore.Type[deposited]("account.deposited"),
		eventstore.Type[withdrawn]("account.withdrawn"),
		eventstore.Type[foreign]("foreign.event"),
	)
}

type repository = *aggregate.Repository[account, change, event]

func newStore(t testing.TB) *simstore.Store {
	t.Helper()
	store := simstore.New(simstore.Config{})
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

func newRepository(t testing.TB, store aggregate.Store, cfg aggregate.Config[account]) repository {
	t.Helper()
	cfg.Category = "account"
	if cfg.CacheSize > 0 && cfg.Clone == nil {
		cfg.Clone = account.clone
	}
	r, err := aggregate.NewRepository(store, registry(), decider(), cfg)
	require.NoError(t, err)
	return r
}

// purse is the account as a root.
type purse struct {
	aggregate.Root[event]
	Balance int64 `json:"balance"`
}

func newPurse() *purse { return &purse{} }

func (p *purse) Apply(e event) {
	switch e := e.(type) {
	case deposited:
		p.Balance += e.Cents
	case withdrawn:
		p.Balance -= e.Cents
	}
}

func (p *purse) change(cents int64) error {
	switch {
	case p.Balance+cents < 0:
		return errOverdrawn
	case cents > 0:
		p.Record(deposited{Cents: cents})
	case cents < 0:
		p.Record(withdrawn{Cents: -cents})
	}
	return nil
}
