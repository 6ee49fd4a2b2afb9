package aggregate_test

import (
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore"
	"github.com/annals-es/annals/snapshot"
)

type (
	secretive struct {
		Cents int64
		limit int64 //nolint:unused // it is there to be refused
	}
	holder struct {
		At    time.Time
		Parts map[string][]*secretive
	}
	excused struct {
		Cents  int64
		Parent *excused
		Cache  secretive `json:"-"`
	}
	selfWritten struct{ cents int64 } //nolint:unused // it is there not to be refused
	quietPurse  struct {
		aggregate.Root[event]
		balance int64
	}
)

func (selfWritten) MarshalBSON() ([]byte, error)  { return nil, nil }
func (*selfWritten) UnmarshalBSON(_ []byte) error { return nil }
func (p *quietPurse) Apply(event)                 { p.balance++ }

func build[S any](cfg aggregate.Config[S]) error {
	cfg.Category = "a"
	_, err := aggregate.NewRepository(simstore.New(simstore.Config{}), registry(), aggregate.Decider[S, int, event]{
		Decide: func(S, int) ([]event, error) { return nil, nil },
		Evolve: func(s S, _ event) S { return s },
	}, cfg)
	return err
}

// A state that a snapshot would not keep whole would decide by other rules after
// it, without a word.
func TestSnapshotsOfStatesThatCodecsDoNotKeep(t *testing.T) {
	t.Parallel()
	snapshots := simstore.New(simstore.Config{}).Snapshots()
	bson := eventstore.NewBSONCodec()
	for name, c := range map[string]struct {
		err  error
		want string // "" if it is taken
	}{
		"kept":                    {build(aggregate.Config[account]{Snapshots: snapshots}), ""},
		"a time":                  {build(aggregate.Config[struct{ At time.Time }]{Snapshots: snapshots}), ""},
		"tagged, recursive":       {build(aggregate.Config[excused]{Snapshots: snapshots}), ""},
		"writes itself":           {build(aggregate.Config[selfWritten]{Snapshots: snapshots}), ""},
		"no snapshots":            {build(aggregate.Config[secretive]{}), ""},
		"a codec of its own":      {build(aggregate.Config[secretive]{Snapshots: snapshots, StateCodec: bson}), ""},
		"a root":                  {build(aggregate.Config[*purse]{Snapshots: snapshots}), ""},
		"unexported":              {build(aggregate.Config[secretive]{Snapshots: snapshots}), "unexported field aggregate_test.secretive.limit"},
		"unexported further down": {build(aggregate.Config[holder]{Snapshots: snapshots}), "unexported field aggregate_test.holder.Parts.limit"},
		"unexported of a root":    {build(aggregate.Config[*quietPurse]{Snapshots: snapshots}), "quietPurse.balance"},
		"a number":                {build(aggregate.Config[int64]{Snapshots: snapshots}), "int64, which does not encode as a document"},
	} {
		if c.want == "" {
			require.NoError(t, c.err, name)
			continue
		}
		require.ErrorContains(t, c.err, c.want, name)
		require.ErrorContains(t, c.err, "aggregate.Config.StateCodec", name)
		require.ErrorIs(t, c.err, eventstore.ErrInvalid, name)
	}
}

// A root that comes from the cache is on its own: what is recorded on it goes
// into no other.
func TestRootsFromTheCacheAreNotShared(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	r, err := aggregate.NewRootRepository[*purse, event](store, registry(), newPurse, aggregate.Config[*purse]{
		Category: "purse", CacheSize: 1, Clone: func(p *purse) *purse { c := *p; return &c },
		Snapshots: store.Snapshots(), SnapshotPolicy: snapshot.Every(1),
	})
	require.NoError(t, err)
	result, err := r.Run(t.Context(), "a", func(p *purse) error { return p.change(5) })
	require.NoError(t, err)
	require.Empty(t, result.State.Recorded(), "what was appended is not to be appended any more")
	first, err := r.Load(t.Context(), "a")
	require.NoError(t, err)
	require.NoError(t, first.State.change(100))
	require.EqualValues(t, 105, first.State.Balance)
	require.Len(t, first.State.Recorded(), 1)
	require.EqualValues(t, 5, result.State.Balance)
	second, err := r.Load(t.Context(), "a")
	require.NoError(t, err)
	require.EqualValues(t, 5, second.State.Balance)
	require.Empty(t, second.State.Recorded())
}

func TestHugeBackoff(t *testing.T) {
	t.Parallel()
	store := newStore(t)
	store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpAppend}, Kind: simstore.Conflict, Times: 3})
	r := newRepository(t, store, aggregate.Config[account]{Backoff: math.MaxInt64 / 2, MaxBackoff: 1})
	result, err := r.Run(t.Context(), "a", 5)
	require.NoError(t, err)
	require.Equal(t, 4, result.Attempts)
}
