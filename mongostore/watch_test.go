package mongostore

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

type item struct {
	ID     int    `bson:"_id"`
	Status string `bson:"status"`
}

// watched prepares a collection and a store of places.
func watched(t *testing.T, srv server) (*mongo.Collection, *Tokens) {
	t.Helper()
	db := srv.client.Database(srv.database)
	ctx := testContext(t)
	require.NoError(t, db.CreateCollection(ctx, "items"))
	require.NoError(t, db.CreateCollection(ctx, "places"))
	return db.Collection("items"), NewTokens(db.Collection("places"))
}

func TestWatchYieldsEveryKindOfChange(t *testing.T) {
	t.Parallel()
	srv := serverFor(t)
	items, places := watched(t, srv)
	ctx := testContext(t)
	// The place is that of the first change; all others come from there.
	cfg := WatchConfig{Tokens: places, Name: "all", SaveEvery: time.Nanosecond, FullDocument: true}
	first(t, items, cfg)
	_, err := items.InsertOne(ctx, item{1, "new"})
	require.NoError(t, err)
	_, err = items.UpdateByID(ctx, 1, bson.D{{Key: "$set", Value: bson.D{{Key: "status", Value: "set"}}}, {Key: "$unset", Value: bson.D{{Key: "none", Value: ""}}}})
	require.NoError(t, err)
	_, err = items.ReplaceOne(ctx, bson.D{{Key: "_id", Value: 1}}, item{1, "replaced"})
	require.NoError(t, err)
	_, err = items.DeleteOne(ctx, bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)
	require.NoError(t, items.Drop(ctx))
	_, err = items.InsertOne(ctx, item{2, "after"}) // behind the invalidation
	require.NoError(t, err)
	var got []Operation
	for change, err := range Watch[item](ctx, items, cfg) {
		require.NoError(t, err)
		if change.Key != nil && change.Key.Lookup("_id").AsInt64() == -1 {
			continue // the last one before comes again
		}
		got = append(got, change.Operation)
		if change.Operation == Insert || change.Operation == Replace {
			require.NotNil(t, change.Document)
		}
		if change.Operation == Update {
			require.Equal(t, "set", change.Updated.Lookup("status").StringValue())
		}
		if change.Operation == Insert && change.Document.ID == 2 {
			break
		}
	}
	require.Equal(t, []Operation{Insert, Update, Replace, Delete, Drop, Invalidate, Insert}, got)
}

// first makes a change and watches until its place is saved.
func first(t *testing.T, items *mongo.Collection, cfg WatchConfig) {
	t.Helper()
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	go func() {
		for i := 1000; ctx.Err() == nil; i++ {
			_, _ = items.InsertOne(ctx, item{i, "first"})
			time.Sleep(5 * time.Millisecond)
		}
	}()
	for _, err := range Watch[item](ctx, items, cfg) {
		require.NoError(t, err)
		break
	}
	cancel()
	require.Eventually(t, func() bool { // nothing of it is still under way
		n, err := items.CountDocuments(testContext(t), bson.D{})
		require.NoError(t, err)
		_, err = items.DeleteMany(testContext(t), bson.D{})
		require.NoError(t, err)
		return n == 0
	}, time.Minute, 10*time.Millisecond)
	// Go on behind all of it.
	marker := fmt.Sprint(time.Now().UnixNano())
	_, err := items.InsertOne(testContext(t), item{-1, marker})
	require.NoError(t, err)
	for change, err := range Watch[item](testContext(t), items, cfg) {
		require.NoError(t, err)
		if change.Document != nil && change.Document.Status == marker {
			break
		}
	}
	_, err = items.DeleteOne(testContext(t), bson.D{{Key: "_id", Value: -1}})
	require.NoError(t, err)
	for change, err := range Watch[item](testContext(t), items, cfg) {
		require.NoError(t, err)
		if change.Operation == Delete && change.Key.Lookup("_id").AsInt64() == -1 {
			break
		}
	}
}

func TestWatchResumesOverFailures(t *testing.T) {
	t.Parallel()
	srv := simFor(t)
	items, places := watched(t, srv)
	cfg := WatchConfig{Tokens: places, Name: "failing", SaveEvery: time.Nanosecond, Buffer: 2}
	first(t, items, cfg)
	ctx := testContext(t)
	const n = 60
	go func() {
		for i := range n {
			for {
				if _, err := items.InsertOne(ctx, item{i, "x"}); err == nil || mongo.IsDuplicateKeyError(err) || ctx.Err() != nil {
					break
				}
			}
			if i%10 == 5 {
				srv.sim.DropConnections()
			}
		}
	}()
	next := 0
	for next < n {
		for change, err := range Watch[item](ctx, items, cfg) {
			require.NoError(t, err)
			if change.Document == nil || change.Document.ID == next-1 {
				continue // the last one comes again after each break
			}
			require.Equal(t, next, change.Document.ID)
			next++
			if next%13 == 0 || next == n {
				break // left, and resumed from the saved place
			}
		}
	}
}

func TestWatchTellsOfALostPlace(t *testing.T) {
	t.Parallel()
	srv := simFor(t)
	items, places := watched(t, srv)
	cfg := WatchConfig{Tokens: places, Name: "lost", SaveEvery: time.Nanosecond}
	first(t, items, cfg)
	_, err := items.InsertOne(testContext(t), item{1, "x"})
	require.NoError(t, err)
	srv.sim.TruncateOplog()
	for _, err := range Watch[item](testContext(t), items, cfg) {
		require.ErrorIs(t, err, ErrHistoryLost)
		break
	}
}

func TestTriggers(t *testing.T) {
	t.Parallel()
	srv := serverFor(t)
	items, places := watched(t, srv)
	ctx, cancel := context.WithCancel(testContext(t))
	defer cancel()
	var pending, failures atomic.Int64
	refused := make(chan int, 1)
	errAlways := errors.New("always")
	m := &TriggerManager{
		Database: srv.client.Database(srv.database),
		Tokens:   places,
		Triggers: []Trigger{
			{
				Name: "process", Collection: "items", Operations: []Operation{Insert, Update},
				Filter: bson.D{{Key: "$or", Value: bson.A{bson.D{{Key: "status", Value: "pending"}}, bson.D{{Key: "_id", Value: 7}}}}},
				Run: func(_ context.Context, c Change[bson.Raw]) error {
					if failures.Add(1) <= 2 {
						return errors.New("not yet")
					}
					pending.Add(c.Document.Lookup("_id").AsInt64())
					return nil
				},
			},
			{
				Name: "refuse", Collection: "items", Filter: bson.D{{Key: "_id", Value: bson.D{{Key: "$lt", Value: 2}}}}, Attempts: 3,
				Run: func(context.Context, Change[bson.Raw]) error { return errAlways },
			},
		},
		Failed: func(_ context.Context, name string, c Change[bson.Raw], err error) error {
			if name == "refuse" && errors.Is(err, errAlways) {
				select {
				case refused <- int(c.Document.Lookup("_id").AsInt64()):
				default:
				}
			}
			return nil
		},
	}
	done := make(chan error, 1)
	go func() {
		err := m.Run(ctx)
		if ctx.Err() == nil {
			t.Errorf("triggers ended: %v", err)
		}
		done <- err
	}()
	// Triggers without a place start from now, which takes a moment.
	require.Eventually(t, func() bool {
		_, _ = items.DeleteOne(ctx, bson.D{{Key: "_id", Value: 1}})
		_, _ = items.InsertOne(ctx, item{1, "probe"})
		select {
		case id := <-refused:
			return id == 1
		default:
			return false
		}
	}, time.Minute, 20*time.Millisecond)
	require.Eventually(t, func() bool {
		_, _ = items.DeleteOne(ctx, bson.D{{Key: "_id", Value: 100}})
		_, err := items.InsertOne(ctx, item{100, "pending"})
		require.NoError(t, err)
		return pending.Load() >= 100
	}, time.Minute, 50*time.Millisecond)
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.ErrorContains(t, (&TriggerManager{Database: m.Database, Triggers: []Trigger{{}}}).Run(ctx), "Name")
}

// A trigger's filter may be written in any Go types that the driver knows.
func TestFiltersOfTriggers(t *testing.T) {
	t.Parallel()
	pipeline := func(filter bson.D) any {
		tr := Trigger{Name: "t", Collection: "items", Filter: filter}
		p, err := tr.pipeline()
		require.NoError(t, err)
		return p
	}
	want := pipeline(bson.D{{Key: "$or", Value: bson.A{
		bson.D{{Key: "status", Value: "pending"}},
		bson.D{{Key: "$nor", Value: bson.A{bson.D{{Key: "n", Value: int32(1)}}}}},
	}}})
	require.Contains(t, fmt.Sprint(want), "fullDocument.status")
	require.Contains(t, fmt.Sprint(want), "fullDocument.n")
	require.Equal(t, want, pipeline(bson.D{{Key: "$or", Value: []any{
		bson.M{"status": "pending"},
		map[string]any{"$nor": []bson.M{{"n": int32(1)}}},
	}}}))
	m := &TriggerManager{Database: &mongo.Database{}, Triggers: []Trigger{{
		Name: "t", Collection: "items", Filter: bson.D{{Key: "n", Value: make(chan int)}}, Run: func(context.Context, Change[bson.Raw]) error { return nil },
	}}}
	require.ErrorIs(t, m.Run(t.Context()), eventstore.ErrInvalid)
}

// What a trigger panics with goes where its errors go.
func TestTriggersThatPanic(t *testing.T) {
	t.Parallel()
	var failed error
	m := &TriggerManager{Failed: func(_ context.Context, _ string, _ Change[bson.Raw], err error) error {
		failed = err
		return nil
	}}
	broken := Trigger{Name: "t", Attempts: 1, Run: func(context.Context, Change[bson.Raw]) error { panic("boom") }}
	require.NoError(t, m.handle(t.Context(), broken, Change[bson.Raw]{}))
	var p *projection.PanicError
	require.ErrorAs(t, failed, &p)
	require.Equal(t, "boom", p.Value)
	require.NotEmpty(t, p.Stack)
}
