package query_test

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"

	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/expr"
)

// commands records what a client sends.
type commands struct {
	mu   sync.Mutex
	sent []bson.Raw
}

func (c *commands) monitor() *event.CommandMonitor {
	return &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.sent = append(c.sent, append(bson.Raw(nil), e.Command...))
	}}
}

// named returns the commands of that name, and forgets everything.
func (c *commands) named(name string) (list []bson.Raw) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, cmd := range c.sent {
		if first, err := cmd.IndexErr(0); err == nil && first.Key() == name {
			list = append(list, cmd)
		}
	}
	c.sent = nil
	return list
}

func watched(t testing.TB, n int) (*query.Collection[Order], *commands) {
	t.Helper()
	c := &commands{}
	orders := ordersInDB(t, dbForTest(t, options.Client().SetMonitor(c.monitor())), n)
	c.named("")
	return orders, c
}

func TestFindSendsItsOptions(t *testing.T) {
	t.Parallel()
	orders, sent := watched(t, 3)
	found, err := orders.Find(orderTotal.Gte(0)).
		Project(query.Include("total")).Sort(orderTotal.Desc()).Skip(1).Limit(5).HintKeys(query.Asc("_id")).
		Collation(options.Collation{Locale: "simple"}).ReadConcern(readconcern.Local()).ReadPreference(readpref.Primary()).
		MaxTime(time.Minute).BatchSize(7).Comment("why").AllowDiskUse().All(t.Context())
	require.NoError(t, err)
	assert.Equal(t, []string{"o001", "o000"}, idsOf(found))
	assert.Empty(t, found[0].Status)
	cmds := sent.named("find")
	require.Len(t, cmds, 1)
	for path, want := range map[string]string{
		"filter": `{"total": {"$gte": {"$numberLong":"0"}}}`, "projection": `{"total": {"$numberInt":"1"}}`, "sort": `{"total": {"$numberInt":"-1"}}`,
		"skip": `{"$numberLong":"1"}`, "limit": `{"$numberLong":"5"}`, "hint": `{"_id": {"$numberInt":"1"}}`, "readConcern": `{"level": "local"}`,
		"batchSize": `{"$numberInt":"7"}`, "comment": `"why"`, "allowDiskUse": "true", "collation": `{"locale": "simple"}`,
	} {
		assert.JSONEq(t, want, cmds[0].Lookup(path).String(), path)
	}
}

func TestFindOneFirstCountExistsDistinct(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders := ordersIn(t, 12)

	first, err := orders.Find(orderStatus.Eq("paid")).Sort(orderTotal.Desc()).First(ctx)
	require.NoError(t, err)
	assert.Equal(t, "o010", first.ID)

	one, err := orders.Find(orderID.Eq("o003")).One(ctx)
	require.NoError(t, err)
	assert.Equal(t, someOrders(4)[3], one)

	_, err = orders.Find(orderStatus.Eq("paid")).One(ctx)
	require.ErrorIs(t, err, query.ErrNotUnique)
	for _, get := range []func(context.Context) (Order, error){orders.Find(orderID.Eq("nope")).One, orders.Find(orderID.Eq("nope")).First} {
		_, err = get(ctx)
		require.ErrorIs(t, err, query.ErrNotFound)
		require.ErrorIs(t, err, mongo.ErrNoDocuments)
		var e *query.Error
		require.ErrorAs(t, err, &e)
		assert.Contains(t, e.Collection, ".orders")
		assert.Contains(t, e.Op, "find")
	}

	n, err := orders.Find(orderStatus.Eq("paid")).Count(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 4, n)
	n, err = orders.Find(orderStatus.Eq("paid")).Skip(1).Limit(2).Count(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 2, n)
	n, err = orders.Find().EstimatedCount(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 12, n)
	_, err = orders.Find(orderStatus.Eq("paid")).EstimatedCount(ctx)
	require.ErrorIs(t, err, query.ErrInvalid)

	for id, want := range map[string]bool{"o003": true, "nope": false} {
		got, err := orders.Find(orderID.Eq(id)).Sort(orderTotal.Asc()).Exists(ctx)
		require.NoError(t, err)
		assert.Equal(t, want, got, id)
	}

	regions, err := query.Distinct[string](ctx, orders.Find(orderTotal.Gte(20)), orderRegion)
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"north", "south"}, regions)
	tags, err := query.Distinct[string](ctx, orders.Find(), query.Name("tags"))
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"t0", "t1", "t2", "t3"}, tags)
	none, err := query.Distinct[string](ctx, orders.Find(query.Nothing()), orderRegion)
	require.NoError(t, err)
	assert.Equal(t, []string{}, none)

	all, err := orders.Find(query.Nothing()).All(ctx)
	require.NoError(t, err)
	assert.Equal(t, []Order{}, all)
}

// TestFindMistakes: they come from every operation, all at once, before anything is sent.
func TestFindMistakes(t *testing.T) {
	t.Parallel()
	orders, sent := watched(t, 0)
	ctx := t.Context()
	bad := orders.Find(query.Eq("$x", 1)).Sort(query.Asc("a"), query.Asc("a")).Project(query.Include("a").Exclude("b")).
		Skip(-1).Limit(-1).BatchSize(-1).MaxTime(-1).Hint("").Prefetch(-1).Let(expr.As("X", 1))
	_, err := bad.All(ctx)
	for _, part := range []string{"$x", "sort", "includes or excludes", "Skip", "Limit", "BatchSize", "MaxTime", "hint", "Prefetch", "variable name"} {
		require.ErrorContains(t, err, part)
	}
	for name, run := range map[string]func() error{
		"first": func() error { _, err := bad.First(ctx); return err }, "one": func() error { _, err := bad.One(ctx); return err },
		"count": func() error { _, err := bad.Count(ctx); return err }, "exists": func() error { _, err := bad.Exists(ctx); return err },
		"distinct": func() error { _, err := query.Distinct[string](ctx, bad, query.Name("a")); return err },
		"explain":  func() error { _, err := bad.Explain(ctx); return err },
		"page":     func() error { _, err := bad.Page(ctx, query.PageRequest{}); return err },
		"search":   func() error { _, err := bad.Search(ctx, query.SearchRequest{}); return err },
		"keyset":   func() error { _, err := bad.Keyset(ctx, query.Keyset{Cursors: testCursors(t)}); return err },
		"update":   func() error { _, err := bad.FindAndUpdate(ctx, query.Set("a", 1), query.After); return err },
		"delete":   func() error { _, err := bad.FindAndDelete(ctx); return err },
		"stream": func() error {
			for _, err := range bad.Stream(ctx) {
				return err
			}
			return nil
		},
	} {
		require.ErrorIs(t, run(), query.ErrInvalid, name)
	}
	_, err = query.Distinct[string](ctx, orders.Find(), query.Name("$a"))
	require.ErrorIs(t, err, query.ErrInvalid)
	assert.Empty(t, sent.named("find"))
}

func TestStream(t *testing.T) {
	t.Parallel()
	for _, prefetch := range []int{0, 1, 3} {
		t.Run(fmt.Sprintf("prefetch %d", prefetch), func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			orders, sent := watched(t, 50)
			find := orders.Find().Sort(orderID.Asc()).BatchSize(7).Prefetch(prefetch)
			var got []Order
			for o, err := range find.Stream(ctx) {
				require.NoError(t, err)
				got = append(got, o)
			}
			assert.Equal(t, someOrders(50), got)
			assert.Empty(t, sent.named("killCursors"))

			// Breaking out frees the cursor, wherever it happens.
			for _, at := range []int{1, 7, 8, 49} {
				n := 0
				for _, err := range find.Stream(ctx) {
					require.NoError(t, err)
					if n++; n == at {
						break
					}
				}
				assert.Equal(t, at, n)
			}

			// The end of the context ends the stream with an error.
			ctx, cancel := context.WithCancel(ctx)
			n := 0
			var last error
			for _, err := range find.Stream(ctx) {
				if last = err; err == nil {
					n++
					cancel()
				}
			}
			assert.Less(t, n, 50)
			require.ErrorIs(t, last, context.Canceled)
			cancel()
		})
	}
}

// A custom document that decodes itself.
type self struct {
	id    string
	calls int
}

var decoded atomic.Int64

func (s *self) UnmarshalBSON(b []byte) error {
	decoded.Add(1)
	s.id, s.calls = bson.Raw(b).Lookup("_id").StringValue(), s.calls+1
	if s.id == "o009" {
		return errSomething
	}
	if s.id == "o029" {
		panic("in decoding")
	}
	return nil
}

func TestStreamDecodesWithoutTheDriverWhereItCan(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	db := dbForTest(t)
	ordersInDB(t, db, 30)
	coll := db.Collection("orders")

	raws, err := query.From[bson.Raw](coll).Find().Sort(query.Asc("_id")).BatchSize(4).All(ctx)
	require.NoError(t, err)
	require.Len(t, raws, 30)
	for i, r := range raws {
		// Each is a document of its own, not overwritten by later batches.
		assert.Equal(t, fmt.Sprintf("o%03d", i), r.Lookup("_id").StringValue())
	}
	selves, err := query.From[self](coll).Find(query.Lt("_id", "o005")).Sort(query.Asc("_id")).All(ctx)
	require.NoError(t, err)
	assert.Equal(t, self{"o000", 1}, selves[0])

	// An error of decoding comes after the documents before it.
	n := 0
	for _, err := range query.From[self](coll).Find().Sort(query.Asc("_id")).BatchSize(4).Stream(ctx) {
		if err != nil {
			require.ErrorIs(t, err, errSomething)
			break
		}
		n++
	}
	assert.Equal(t, 9, n)
	// A panic comes out where the reader is.
	assert.PanicsWithValue(t, "in decoding", func() {
		for _, err := range query.From[self](coll).Find(query.Gt("_id", "o010")).Sort(query.Asc("_id")).BatchSize(4).Stream(ctx) {
			assert.NoError(t, err)
		}
	})
}

func TestProcess(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders := ordersIn(t, 40)
	find := orders.Find().Sort(orderID.Asc()).BatchSize(6)

	var running, most, total atomic.Int64
	require.NoError(t, query.Process(ctx, find.Stream(ctx), 4, func(_ context.Context, o Order) error {
		most.Store(max(most.Load(), running.Add(1)))
		total.Add(o.Total)
		running.Add(-1)
		return nil
	}))
	assert.EqualValues(t, 40*39/2*10, total.Load())
	assert.LessOrEqual(t, most.Load(), int64(4))

	// In order, though the first of each pair waits for the second.
	gates := make([]chan struct{}, 40)
	for i := range gates {
		gates[i] = make(chan struct{})
	}
	var ids []string
	i := atomic.Int64{}
	for id, err := range query.MapOrdered(ctx, find.Stream(ctx), 2, func(_ context.Context, o Order) (string, error) {
		n := int(o.Total / 10)
		if n%2 == 0 {
			<-gates[n+1]
		} else {
			close(gates[n])
		}
		i.Add(1)
		return o.ID, nil
	}) {
		require.NoError(t, err)
		ids = append(ids, id)
	}
	assert.Equal(t, idsOf(someOrders(40)), ids)

	// As they come: the first item is held until the second is out.
	release := make(chan struct{})
	ids = nil
	for id, err := range query.MapUnordered(ctx, find.Limit(2).Stream(ctx), 2, func(_ context.Context, o Order) (string, error) {
		if o.ID == "o000" {
			<-release
		}
		return o.ID, nil
	}) {
		require.NoError(t, err)
		if ids = append(ids, id); len(ids) == 1 {
			close(release)
		}
	}
	assert.Equal(t, []string{"o001", "o000"}, ids)
}

func TestProcessStopsAtTheFirstError(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders := ordersIn(t, 40)
	var calls, cancelled atomic.Int64
	err := query.Process(ctx, orders.Find().Sort(orderID.Asc()).Stream(ctx), 3, func(ctx context.Context, o Order) error {
		calls.Add(1)
		if o.ID == "o004" {
			return errSomething
		}
		if o.ID > "o004" {
			<-ctx.Done()
			cancelled.Add(1)
		}
		return nil
	})
	require.ErrorIs(t, err, errSomething)
	assert.Less(t, calls.Load(), int64(10))

	require.ErrorIs(t, query.Process(ctx, orders.Find(query.Eq("$x", 1)).Stream(ctx), 3, func(context.Context, Order) error { return nil }), query.ErrInvalid)
	require.ErrorIs(t, query.Process(ctx, orders.Find().Stream(ctx), 0, func(context.Context, Order) error { return nil }), query.ErrInvalid)
	assert.Panics(t, func() {
		_ = query.Process(ctx, orders.Find().Stream(ctx), 2, func(context.Context, Order) error { panic("no") })
	})
	// Breaking out waits for what is under way.
	var running atomic.Int64
	for _, err := range query.MapOrdered(ctx, orders.Find().Stream(ctx), 4, func(context.Context, Order) (int, error) {
		running.Add(1)
		defer running.Add(-1)
		return 1, nil
	}) {
		require.NoError(t, err)
		break
	}
	assert.Zero(t, running.Load())
	ended, cancel := context.WithCancel(ctx)
	cancel()
	require.ErrorIs(t, query.Process(ended, orders.Find().Stream(ctx), 2, func(context.Context, Order) error { return nil }), context.Canceled)
}

func TestExplain(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	orders := ordersIn(t, 60)
	_, err := orders.Mongo().Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "status", Value: 1}, {Key: "total", Value: 1}}})
	require.NoError(t, err)

	p, err := orders.Find(orderStatus.Eq("paid")).Sort(orderTotal.Asc()).Explain(ctx)
	require.NoError(t, err)
	assert.True(t, p.UsesIndex(), "%v", p.Raw)
	assert.Equal(t, []string{"status_1_total_1"}, p.Indexes)
	assert.False(t, p.CollectionScan)
	assert.False(t, p.MemorySort)
	assert.EqualValues(t, 20, p.KeysExamined)
	assert.EqualValues(t, 20, p.DocsExamined)
	assert.EqualValues(t, 20, p.Returned)

	p, err = orders.Find(orderRegion.Eq("north")).Sort(orderTotal.Asc()).Explain(ctx)
	require.NoError(t, err)
	assert.True(t, p.CollectionScan, "%v", p.Raw)
	assert.False(t, p.UsesIndex())
	assert.EqualValues(t, 60, p.DocsExamined)
	assert.EqualValues(t, 30, p.Returned)

	p, err = query.Aggregate[bson.Raw](orders, query.Match(orderStatus.Eq("paid")).Group(orderRegion.Ref())).Explain(ctx)
	require.NoError(t, err)
	assert.Equal(t, []string{"status_1_total_1"}, p.Indexes, "%v", p.Raw)
	_, err = query.Aggregate[bson.Raw](orders, query.Pipe().Out("", "x")).Explain(ctx)
	require.ErrorIs(t, err, query.ErrInvalid)
}

func TestErrorsNameOperationAndCollection(t *testing.T) {
	t.Parallel()
	orders := ordersIn(t, 1)
	_, err := orders.Find(query.Unchecked(bson.D{{Key: "$nonsense", Value: 1}})).All(t.Context())
	var e *query.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "find", e.Op)
	assert.Equal(t, orders.Mongo().Database().Name()+".orders", e.Collection)
	var cmd mongo.CommandError
	require.ErrorAs(t, err, &cmd)
	assert.EqualValues(t, 2, cmd.Code)
	assert.False(t, e.SafeToRetry())

	_, err = orders.InsertOne(t.Context(), Order{ID: "o000"})
	require.ErrorIs(t, err, query.ErrDuplicate)
	require.NotErrorIs(t, err, query.ErrOutcomeUnknown)

	ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
	defer cancel()
	<-ctx.Done()
	_, err = orders.InsertOne(ctx, Order{ID: "o001"})
	require.ErrorIs(t, err, query.ErrTimeout)
	require.ErrorIs(t, err, query.ErrOutcomeUnknown)
}

func TestNewCollectionRefuses(t *testing.T) {
	t.Parallel()
	_, err := query.NewCollection[Order](nil, query.Config{})
	require.ErrorIs(t, err, query.ErrInvalid)
	coll := dbForTest(t).Collection("x")
	for _, r := range []query.Retry{{Attempts: -1}, {MinBackoff: -1}, {MinBackoff: 2, MaxBackoff: 1}} {
		_, err = query.NewCollection[Order](coll, query.Config{Retry: r})
		require.ErrorIs(t, err, query.ErrInvalid)
	}
}

func jsonOf(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	require.NoError(t, err)
	return string(b)
}
