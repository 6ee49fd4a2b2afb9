package mongosim_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/simstore/mongosim"
)

// What the driver does by itself when a server fails, on top of the simulation.

func setup(t *testing.T, opts ...mongosim.Option) (*mongosim.Server, *mongo.Collection) {
	t.Helper()
	s := mongosim.Start(t, opts...)
	coll := s.Client(t).Database("test").Collection("things")
	require.NoError(t, coll.Database().CreateCollection(t.Context(), coll.Name()))
	return s, coll
}

func id(v any) bson.D { return bson.D{{Key: "_id", Value: v}} }

func set(key string, v any) bson.D {
	return bson.D{{Key: "$set", Value: bson.D{{Key: key, Value: v}}}}
}

func inc(key string) bson.D { return bson.D{{Key: "$inc", Value: bson.D{{Key: key, Value: 1}}}} }

func countAll(t *testing.T, coll *mongo.Collection) int64 {
	t.Helper()
	n, err := coll.CountDocuments(t.Context(), bson.D{})
	require.NoError(t, err)
	return n
}

func serverError(t *testing.T, err error) mongo.ServerError {
	t.Helper()
	var se mongo.ServerError
	require.ErrorAs(t, err, &se)
	return se
}

func TestWithTransactionRunsAgainAfterAConflict(t *testing.T) {
	t.Parallel()
	_, coll := setup(t)
	ctx := t.Context()
	_, err := coll.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}, {Key: "n", Value: 0}})
	require.NoError(t, err)

	runs := 0
	s, err := coll.Database().Client().StartSession()
	require.NoError(t, err)
	defer s.EndSession(ctx)
	_, err = s.WithTransaction(ctx, func(txn context.Context) (any, error) {
		runs++
		if err := coll.FindOne(txn, id(1)).Err(); err != nil { // pins the snapshot
			return nil, err
		}
		if runs == 1 {
			if _, err := coll.UpdateOne(ctx, id(1), inc("n")); err != nil { // outside, and first
				return nil, err
			}
		}
		return coll.UpdateOne(txn, id(1), inc("n"))
	})
	require.NoError(t, err)
	assert.Equal(t, 2, runs)
	var doc struct{ N int }
	require.NoError(t, coll.FindOne(ctx, id(1)).Decode(&doc))
	assert.Equal(t, 2, doc.N)
}

func TestWithTransactionCommitsAgainWhenTheResultIsUnknown(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]mongosim.FailPoint{
		"error before":      {ErrorCode: 91},
		"connection closed": {CloseConnection: true},
		"reply lost":        {LoseReply: true},
		"not confirmed":     {WriteConcernError: &mongosim.WriteConcernError{Code: 64, Message: "waiting for replication timed out"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, coll := setup(t)
			ctx := t.Context()
			f.Commands, f.Times = []string{"commitTransaction"}, 1
			require.NoError(t, s.FailCommand(f))
			sess, err := coll.Database().Client().StartSession()
			require.NoError(t, err)
			defer sess.EndSession(ctx)
			runs := 0
			_, err = sess.WithTransaction(ctx, func(txn context.Context) (any, error) {
				runs++
				return coll.InsertOne(txn, bson.D{{Key: "run", Value: runs}})
			})
			require.NoError(t, err)
			assert.Equal(t, int64(1), s.FailPointFired())
			assert.Equal(t, 1, runs, "only the commit is repeated")
			assert.Equal(t, int64(1), countAll(t, coll))
		})
	}
}

func TestRetryableWritesAreAppliedOnce(t *testing.T) {
	t.Parallel()
	writes := map[string]func(ctx context.Context, coll *mongo.Collection) error{
		"insert": func(ctx context.Context, coll *mongo.Collection) error {
			_, err := coll.InsertMany(ctx, []any{bson.D{{Key: "n", Value: 1}}, bson.D{{Key: "n", Value: 1}}})
			return err
		},
		"update": func(ctx context.Context, coll *mongo.Collection) error {
			r, err := coll.UpdateOne(ctx, id("x"), inc("n"))
			if err == nil && r.ModifiedCount != 1 {
				return errors.New("not counted as modified")
			}
			return err
		},
		"upsert": func(ctx context.Context, coll *mongo.Collection) error {
			r, err := coll.UpdateOne(ctx, id("new"), inc("n"), options.UpdateOne().SetUpsert(true))
			if err == nil && r.UpsertedID != "new" {
				return errors.New("not reported as upserted")
			}
			return err
		},
		"delete": func(ctx context.Context, coll *mongo.Collection) error {
			r, err := coll.DeleteOne(ctx, bson.D{{Key: "kind", Value: "victim"}})
			if err == nil && r.DeletedCount != 1 {
				return errors.New("not counted as deleted")
			}
			return err
		},
		"findAndModify": func(ctx context.Context, coll *mongo.Collection) error {
			var doc struct{ N int }
			err := coll.FindOneAndUpdate(ctx, id("x"), inc("n"), options.FindOneAndUpdate().SetReturnDocument(options.After)).Decode(&doc)
			if err == nil && doc.N != 1 {
				return errors.New("did not give the document as it was the first time")
			}
			return err
		},
	}
	sums := map[string]int{"insert": 2, "update": 1, "upsert": 1, "delete": 0, "findAndModify": 1}
	counts := map[string]int64{"insert": 5, "update": 3, "upsert": 4, "delete": 2, "findAndModify": 3}
	failures := map[string]mongosim.FailPoint{
		"error before":      {ErrorCode: 91},
		"connection closed": {CloseConnection: true},
		"reply lost":        {LoseReply: true},
	}
	for command, write := range writes {
		for failure, f := range failures {
			t.Run(command+"/"+failure, func(t *testing.T) {
				t.Parallel()
				s, coll := setup(t)
				ctx := t.Context()
				_, err := coll.InsertMany(ctx, []any{
					bson.D{{Key: "_id", Value: "x"}, {Key: "n", Value: 0}},
					bson.D{{Key: "kind", Value: "victim"}},
					bson.D{{Key: "kind", Value: "victim"}},
				})
				require.NoError(t, err)
				f.Commands, f.Times = []string{command, map[string]string{"upsert": "update"}[command]}, 1
				require.NoError(t, s.FailCommand(f))
				require.NoError(t, write(ctx, coll))
				assert.Equal(t, int64(1), s.FailPointFired())
				assert.Equal(t, counts[command], countAll(t, coll))
				assert.Equal(t, sums[command], sum(t, coll, "n"))
			})
		}
	}
}

func sum(t *testing.T, coll *mongo.Collection, field string) int {
	t.Helper()
	cur, err := coll.Aggregate(t.Context(), bson.A{bson.D{{Key: "$group", Value: bson.D{
		{Key: "_id", Value: nil}, {Key: "n", Value: bson.D{{Key: "$sum", Value: "$" + field}}},
	}}}})
	require.NoError(t, err)
	var docs []struct{ N int }
	require.NoError(t, cur.All(t.Context(), &docs))
	require.Len(t, docs, 1)
	return docs[0].N
}

func TestAWriteThatIsNotRetriedLeavesItsOutcomeUnknown(t *testing.T) {
	t.Parallel()
	s, coll := setup(t)
	_, err := coll.InsertMany(t.Context(), []any{id(1), id(2)})
	require.NoError(t, err)
	require.NoError(t, s.FailCommand(mongosim.FailPoint{Commands: []string{"update"}, Times: 1, LoseReply: true}))
	_, err = coll.UpdateMany(t.Context(), bson.D{}, set("seen", true))
	require.Error(t, err)
	assert.True(t, mongo.IsNetworkError(err), "%v", err)
	n, err := coll.CountDocuments(t.Context(), bson.D{{Key: "seen", Value: true}})
	require.NoError(t, err)
	assert.Equal(t, int64(2), n, "it was applied all the same")
}

// watch opens a stream and returns a function that waits for the next event's document key.
func watch(t *testing.T, coll *mongo.Collection, opts ...options.Lister[options.ChangeStreamOptions]) (*mongo.ChangeStream, func() any) {
	t.Helper()
	cs, err := coll.Watch(t.Context(), mongo.Pipeline{}, opts...)
	require.NoError(t, err)
	t.Cleanup(func() { _ = cs.Close(context.Background()) })
	return cs, func() any {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		require.True(t, cs.Next(ctx), "%v", cs.Err())
		var e struct {
			DocumentKey struct {
				ID any `bson:"_id"`
			} `bson:"documentKey"`
		}
		require.NoError(t, cs.Decode(&e))
		return e.DocumentKey.ID
	}
}

func TestChangeStreamResumes(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func(t *testing.T, s *mongosim.Server){
		"connections dropped": func(_ *testing.T, s *mongosim.Server) { s.DropConnections() },
		"getMore fails": func(t *testing.T, s *mongosim.Server) {
			require.NoError(t, s.FailCommand(mongosim.FailPoint{Commands: []string{"getMore"}, Times: 1, ErrorCode: 91, ErrorLabels: []string{"ResumableChangeStreamError"}}))
		},
		"getMore's reply lost": func(t *testing.T, s *mongosim.Server) {
			require.NoError(t, s.FailCommand(mongosim.FailPoint{Commands: []string{"getMore"}, Times: 1, LoseReply: true}))
		},
		"stepdown": func(_ *testing.T, s *mongosim.Server) { s.StepDown(50 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, coll := setup(t)
			_, next := watch(t, coll)
			for i := range int32(3) {
				_, err := coll.InsertOne(t.Context(), id(i))
				require.NoError(t, err)
			}
			assert.Equal(t, int32(0), next())
			fail(t, s)
			for i := int32(3); i < 6; i++ {
				_, err := coll.InsertOne(t.Context(), id(i))
				require.NoError(t, err)
			}
			for want := int32(1); want < 6; want++ {
				assert.Equal(t, want, next())
			}
		})
	}
}

func TestChangeStreamLosesItsHistory(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, s *mongosim.Server, coll *mongo.Collection){
		"truncated": func(t *testing.T, s *mongosim.Server, coll *mongo.Collection) { s.TruncateOplog() },
		"overrun": func(t *testing.T, _ *mongosim.Server, coll *mongo.Collection) {
			docs := make([]any, 200)
			for i := range docs {
				docs[i] = bson.D{}
			}
			_, err := coll.InsertMany(t.Context(), docs)
			require.NoError(t, err)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, coll := setup(t, func(c *mongosim.Config) { c.OplogEntries = 50 })
			cs, next := watch(t, coll)
			_, err := coll.InsertOne(t.Context(), id(int32(1)))
			require.NoError(t, err)
			assert.Equal(t, int32(1), next())
			token := cs.ResumeToken()
			_, err = coll.InsertMany(t.Context(), []any{id(2), id(3)})
			require.NoError(t, err)
			lose(t, s, coll)
			_, err = coll.InsertOne(t.Context(), id(4))
			require.NoError(t, err)
			cs, err = coll.Watch(t.Context(), mongo.Pipeline{}, options.ChangeStream().SetResumeAfter(token))
			if err == nil {
				assert.False(t, cs.Next(t.Context()))
				err = cs.Err()
				_ = cs.Close(context.Background())
			}
			se := serverError(t, err)
			assert.True(t, se.HasErrorCode(286), "%v", err)
			assert.True(t, se.HasErrorLabel("NonResumableChangeStreamError"))
		})
	}
}

func TestStepDown(t *testing.T) {
	t.Parallel()
	s, coll := setup(t)
	ctx := t.Context()
	_, err := coll.InsertOne(ctx, id(1))
	require.NoError(t, err)

	sess, err := coll.Database().Client().StartSession()
	require.NoError(t, err)
	defer sess.EndSession(ctx)
	require.NoError(t, sess.StartTransaction())
	txn := mongo.NewSessionContext(ctx, sess)
	_, err = coll.UpdateOne(txn, id(1), set("by", "txn"))
	require.NoError(t, err)

	// a plain write waits for the transaction, and is interrupted
	raw := dialRaw(t, s)
	require.NoError(t, raw.send(bson.D{
		{Key: "update", Value: "things"},
		{Key: "$db", Value: "test"},
		{Key: "updates", Value: bson.A{bson.D{{Key: "q", Value: id(1)}, {Key: "u", Value: set("by", "raw")}}}},
	}))
	await(t, s, "opcounters", "update", 2)

	require.True(t, s.StepDown(-1))
	require.False(t, s.StepDown(-1), "it is a secondary already")
	reply, err := raw.receive()
	require.NoError(t, err)
	assert.Equal(t, int32(11602), reply.Lookup("code").Int32(), "%v", reply)

	reply = raw.run(bson.D{{Key: "insert", Value: "things"}, {Key: "documents", Value: bson.A{id(5)}}, {Key: "$db", Value: "test"}})
	assert.Equal(t, int32(10107), reply.Lookup("code").Int32(), "%v", reply)
	before := reply.Lookup("topologyVersion", "counter").Int64()

	s.Elect()
	hello := raw.run(bson.D{{Key: "hello", Value: 1}, {Key: "$db", Value: "admin"}})
	assert.True(t, hello.Lookup("isWritablePrimary").Boolean())
	assert.Greater(t, hello.Lookup("topologyVersion", "counter").Int64(), before)

	_, err = coll.InsertOne(txn, id(2))
	se := serverError(t, err)
	assert.True(t, se.HasErrorCode(251), "the transaction is gone: %v", err)
	assert.True(t, se.HasErrorLabel("TransientTransactionError"))
	_, err = coll.InsertOne(ctx, id(3))
	require.NoError(t, err, "the driver finds the primary again")
}

// await waits until serverStatus shows a figure.
func await(t *testing.T, s *mongosim.Server, section, name string, want int64) {
	t.Helper()
	c := dialRaw(t, s)
	require.Eventually(t, func() bool {
		status := c.run(bson.D{{Key: "serverStatus", Value: 1}, {Key: "$db", Value: "admin"}})
		return status.Lookup(section, name).AsInt64() == want
	}, time.Minute, time.Millisecond)
}

func TestPlainWriteWaitsForATransaction(t *testing.T) {
	t.Parallel()
	_, coll := setup(t)
	ctx := t.Context()
	_, err := coll.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}, {Key: "n", Value: 0}})
	require.NoError(t, err)
	sess, err := coll.Database().Client().StartSession()
	require.NoError(t, err)
	defer sess.EndSession(ctx)
	require.NoError(t, sess.StartTransaction())
	txn := mongo.NewSessionContext(ctx, sess)
	_, err = coll.UpdateOne(txn, id(1), inc("n"))
	require.NoError(t, err)

	short, cancel := context.WithTimeout(ctx, 100*time.Millisecond)
	defer cancel()
	_, err = coll.UpdateOne(short, id(1), inc("n"))
	require.Error(t, err)
	assert.True(t, mongo.IsTimeout(err), "%v", err)

	done := make(chan error, 1)
	go func() {
		_, err := coll.UpdateOne(ctx, id(1), inc("n"))
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	require.NoError(t, sess.CommitTransaction(ctx))
	require.NoError(t, <-done)
	var doc struct{ N int }
	require.NoError(t, coll.FindOne(ctx, id(1)).Decode(&doc))
	assert.Equal(t, 2, doc.N)
}

func TestTransactionLifetimeLimit(t *testing.T) {
	t.Parallel()
	_, coll := setup(t, func(c *mongosim.Config) { c.TransactionLifetimeLimit = 500 * time.Millisecond })
	ctx := t.Context()
	sess, err := coll.Database().Client().StartSession()
	require.NoError(t, err)
	defer sess.EndSession(ctx)
	for {
		require.NoError(t, sess.StartTransaction())
		_, err = coll.InsertOne(mongo.NewSessionContext(ctx, sess), id(1))
		if err == nil {
			break
		}
		// on a busy machine its lifetime is over before it has begun
		require.True(t, serverError(t, err).HasErrorCode(251), "%v", err)
		require.NoError(t, sess.AbortTransaction(ctx))
	}
	// a write on the same key waits until the server has aborted the transaction
	_, err = coll.InsertOne(ctx, id(1))
	require.NoError(t, err)
	err = sess.CommitTransaction(ctx)
	assert.True(t, serverError(t, err).HasErrorCode(251), "%v", err)
	assert.Equal(t, int64(1), countAll(t, coll))
}

func TestConcurrentUpsertsMakeOneDocument(t *testing.T) {
	t.Parallel()
	_, coll := setup(t)
	var wg sync.WaitGroup
	var inserted atomic.Int32
	for range 16 {
		wg.Go(func() {
			for i := range 20 {
				r, err := coll.UpdateOne(t.Context(), id(i), inc("n"), options.UpdateOne().SetUpsert(true))
				if assert.NoError(t, err) && r.UpsertedCount == 1 {
					inserted.Add(1)
				}
			}
		})
	}
	wg.Wait()
	assert.Equal(t, int32(20), inserted.Load())
	assert.Equal(t, 16*20, sum(t, coll, "n"))
}

func TestConcurrentTransactionsAreIsolated(t *testing.T) {
	t.Parallel()
	_, coll := setup(t)
	ctx := t.Context()
	const accounts, total = 5, 500
	for i := range accounts {
		_, err := coll.InsertOne(ctx, bson.D{{Key: "_id", Value: i}, {Key: "balance", Value: total / accounts}})
		require.NoError(t, err)
	}
	move := func(txn context.Context, from, to int) (any, error) {
		if _, err := coll.UpdateOne(txn, id(from), bson.D{{Key: "$inc", Value: bson.D{{Key: "balance", Value: -1}}}}); err != nil {
			return nil, err
		}
		return coll.UpdateOne(txn, id(to), bson.D{{Key: "$inc", Value: bson.D{{Key: "balance", Value: 1}}}})
	}
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 25 {
				s, err := coll.Database().Client().StartSession()
				if err != nil {
					t.Error(err)
					return
				}
				_, err = s.WithTransaction(ctx, func(txn context.Context) (any, error) {
					return move(txn, (w+i)%accounts, (w+2*i+1)%accounts)
				})
				if err != nil {
					t.Error(err)
				}
				s.EndSession(ctx)
			}
		})
	}
	stop := make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			if !assert.Equal(t, total, sum(t, coll, "balance"), "a reader saw half of a transaction") {
				return
			}
		}
	})
	wg.Wait()
	close(stop)
	readers.Wait()
	assert.Equal(t, total, sum(t, coll, "balance"))
}

func TestManyBatches(t *testing.T) {
	t.Parallel()
	_, coll := setup(t)
	const n = 5000
	docs := make([]any, n)
	for i := range docs {
		docs[i] = bson.D{{Key: "_id", Value: i}, {Key: "pad", Value: make([]byte, 5000)}}
	}
	_, err := coll.InsertMany(t.Context(), docs)
	require.NoError(t, err)
	for name, read := range map[string]func() (*mongo.Cursor, error){
		"find": func() (*mongo.Cursor, error) { return coll.Find(t.Context(), bson.D{}) },
		"aggregate": func() (*mongo.Cursor, error) {
			return coll.Aggregate(t.Context(), bson.A{bson.D{{Key: "$match", Value: bson.D{{Key: "_id", Value: bson.D{{Key: "$gte", Value: 0}}}}}}, bson.D{{Key: "$unset", Value: "x"}}})
		},
	} {
		cur, err := read()
		require.NoError(t, err)
		got := 0
		for cur.Next(t.Context()) {
			require.Equal(t, int32(got), cur.Current.Lookup("_id").Int32(), name)
			got++
		}
		require.NoError(t, cur.Err())
		assert.Equal(t, n, got, name)
	}
}

func TestTailableCursor(t *testing.T) {
	t.Parallel()
	s := mongosim.Start(t)
	db := s.Client(t).Database("test")
	ctx := t.Context()
	require.NoError(t, db.CreateCollection(ctx, "log", options.CreateCollection().SetCapped(true).SetSizeInBytes(1<<20)))
	coll := db.Collection("log")
	_, err := coll.InsertOne(ctx, id(1))
	require.NoError(t, err)
	cur, err := coll.Find(ctx, bson.D{}, options.Find().SetCursorType(options.TailableAwait))
	require.NoError(t, err)
	defer cur.Close(ctx)
	require.True(t, cur.Next(ctx))
	got := make(chan int32, 1)
	go func() {
		if cur.Next(ctx) {
			got <- cur.Current.Lookup("_id").Int32()
		}
		close(got)
	}()
	_, err = coll.InsertOne(ctx, id(2))
	require.NoError(t, err)
	assert.Equal(t, int32(2), <-got)
}

func TestKilledSessionsCloseTheirCursors(t *testing.T) {
	t.Parallel()
	s, coll := setup(t)
	docs := make([]any, 50)
	for i := range docs {
		docs[i] = id(i)
	}
	_, err := coll.InsertMany(t.Context(), docs)
	require.NoError(t, err)
	raw := dialRaw(t, s)
	lsid := raw.run(bson.D{{Key: "startSession", Value: 1}, {Key: "$db", Value: "test"}}).Lookup("id").Document()
	find := raw.run(bson.D{{Key: "find", Value: "things"}, {Key: "batchSize", Value: 5}, {Key: "lsid", Value: lsid}, {Key: "$db", Value: "test"}})
	cursor := find.Lookup("cursor", "id").Int64()
	more := func() bson.Raw {
		return raw.run(bson.D{{Key: "getMore", Value: cursor}, {Key: "collection", Value: "things"}, {Key: "batchSize", Value: 5}, {Key: "lsid", Value: lsid}, {Key: "$db", Value: "test"}})
	}
	assert.True(t, succeeded(more()))
	raw.run(bson.D{{Key: "endSessions", Value: bson.A{lsid}}, {Key: "$db", Value: "admin"}})
	assert.True(t, succeeded(more()), "an ended session lives until it is reaped")
	raw.run(bson.D{{Key: "killSessions", Value: bson.A{lsid}}, {Key: "$db", Value: "admin"}})
	assert.Equal(t, int32(43), more().Lookup("code").Int32())
}
