package mongosim_test

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/simstore/mongosim"
)

func TestListen(t *testing.T) {
	t.Parallel()
	s := mongosim.Start(t)
	addr, err := s.Listen("127.0.0.1:0")
	require.NoError(t, err)
	assert.Equal(t, "mongodb://"+addr.String()+"/?replicaSet=rs0", s.URI())
	c, err := mongo.Connect(options.Client().ApplyURI(s.URI()))
	require.NoError(t, err)
	_, err = c.Database("d").Collection("c").InsertOne(t.Context(), id(1))
	require.NoError(t, err)
	// the same data through a pipe
	n, err := s.Client(t).Database("d").Collection("c").CountDocuments(t.Context(), bson.D{})
	require.NoError(t, err)
	assert.Equal(t, int64(1), n)
	require.NoError(t, c.Disconnect(context.Background()))
}

func TestServe(t *testing.T) {
	t.Parallel()
	s, err := mongosim.New(mongosim.Config{})
	require.NoError(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- s.Serve(l) }()
	nc, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer nc.Close()
	newRawClient(t, nc).run(bson.D{{Key: "ping", Value: 1}, {Key: "$db", Value: "admin"}})
	s.Close()
	require.ErrorIs(t, <-served, mongosim.ErrClosed)
	_, err = nc.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
}

func TestClose(t *testing.T) {
	t.Parallel()
	s, err := mongosim.New(mongosim.Config{})
	require.NoError(t, err)
	raw := dialRaw(t, s)
	// a command that waits does not hold Close up
	require.NoError(t, raw.send(bson.D{{Key: "hello", Value: 1}, {Key: "$db", Value: "admin"}}))
	hello, err := raw.receive()
	require.NoError(t, err)
	require.NoError(t, raw.send(bson.D{
		{Key: "hello", Value: 1},
		{Key: "maxAwaitTimeMS", Value: 600_000},
		{Key: "topologyVersion", Value: hello.Lookup("topologyVersion").Document()},
		{Key: "$db", Value: "admin"},
	}))
	s.Close()
	s.Close()
	_, err = raw.receive()
	require.Error(t, err)
	_, err = s.DialContext(t.Context(), "", "")
	require.ErrorIs(t, err, mongosim.ErrClosed)
	_, err = s.Listen("127.0.0.1:0")
	require.ErrorIs(t, err, mongosim.ErrClosed)
}

func TestConfigIsChecked(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]mongosim.Config{
		"Version":                  {Version: "3.6"},
		"Config.Version":           {Version: "new"},
		"TransactionLifetimeLimit": {TransactionLifetimeLimit: -1},
		"OplogEntries":             {OplogEntries: -1},
		"Users":                    {Users: []mongosim.User{{Password: "x"}}},
	} {
		s, err := mongosim.New(cfg)
		if assert.ErrorContains(t, err, name) {
			assert.Nil(t, s)
		}
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	for version, wire := range map[string]int32{"": 9, "4.4.6": 9, "5.0": 13, "6.0.1": 17, "7.0": 21, "8.0": 25} {
		s := mongosim.Start(t, func(c *mongosim.Config) { c.Version = version })
		raw := dialRaw(t, s)
		hello := raw.run(bson.D{{Key: "hello", Value: 1}, {Key: "$db", Value: "admin"}})
		assert.Equal(t, wire, hello.Lookup("maxWireVersion").Int32(), version)
		bulk := raw.run(bson.D{
			{Key: "bulkWrite", Value: 1},
			{Key: "ops", Value: bson.A{bson.D{{Key: "insert", Value: 0}, {Key: "document", Value: id(1)}}}},
			{Key: "nsInfo", Value: bson.A{bson.D{{Key: "ns", Value: "d.c"}}}},
			{Key: "$db", Value: "admin"},
		})
		if wire < 25 {
			assert.Equal(t, int32(59), bulk.Lookup("code").Int32(), version)
		} else {
			assert.Equal(t, int32(1), bulk.Lookup("nInserted").Int32(), version)
		}
	}
}

func TestBulkWriteCommand(t *testing.T) {
	t.Parallel()
	for _, failure := range []string{"none", "reply lost"} {
		s := mongosim.Start(t, func(c *mongosim.Config) { c.Version = "8.0" })
		client := s.Client(t)
		if failure == "reply lost" {
			require.NoError(t, s.FailCommand(mongosim.FailPoint{Commands: []string{"bulkWrite"}, Times: 1, LoseReply: true}))
		}
		res, err := client.BulkWrite(t.Context(), []mongo.ClientBulkWrite{
			{Database: "d", Collection: "a", Model: mongo.NewClientInsertOneModel().SetDocument(id(1))},
			{Database: "d", Collection: "b", Model: mongo.NewClientInsertOneModel().SetDocument(id(2))},
			{Database: "d", Collection: "a", Model: mongo.NewClientUpdateOneModel().SetFilter(id(1)).SetUpdate(inc("n"))},
			{Database: "d", Collection: "b", Model: mongo.NewClientUpdateOneModel().SetFilter(id(9)).SetUpdate(inc("n")).SetUpsert(true)},
			{Database: "d", Collection: "b", Model: mongo.NewClientReplaceOneModel().SetFilter(id(2)).SetReplacement(bson.D{{Key: "x", Value: 1}})},
			{Database: "d", Collection: "a", Model: mongo.NewClientDeleteOneModel().SetFilter(id(1))},
		}, options.ClientBulkWrite().SetVerboseResults(true))
		require.NoError(t, err, failure)
		assert.Equal(t, int64(2), res.InsertedCount)
		assert.Equal(t, int64(2), res.MatchedCount)
		assert.Equal(t, int64(2), res.ModifiedCount)
		assert.Equal(t, int64(1), res.UpsertedCount)
		assert.Equal(t, int64(1), res.DeletedCount)

		_, err = client.BulkWrite(t.Context(), []mongo.ClientBulkWrite{
			{Database: "d", Collection: "b", Model: mongo.NewClientInsertOneModel().SetDocument(id(2))},
			{Database: "d", Collection: "b", Model: mongo.NewClientInsertOneModel().SetDocument(id(3))},
		}, options.ClientBulkWrite().SetOrdered(false))
		var be mongo.ClientBulkWriteException
		require.ErrorAs(t, err, &be)
		assert.Equal(t, 11000, be.WriteErrors[0].Code)
		assert.Equal(t, int64(1), be.PartialResult.InsertedCount)
	}
}

func TestAuthentication(t *testing.T) {
	t.Parallel()
	s := mongosim.Start(t, func(c *mongosim.Config) {
		c.Users = []mongosim.User{{Name: "app", Password: "s3cret"}, {Name: "other", Password: "pw", Database: "theirs"}}
	})
	ping := func(t *testing.T, cred *options.Credential) error {
		opts := options.Client()
		if cred != nil {
			opts.SetAuth(*cred)
		}
		coll := s.Client(t, opts).Database("d").Collection("c")
		_, err := coll.InsertOne(t.Context(), bson.D{})
		return err
	}
	require.NoError(t, ping(t, &options.Credential{Username: "app", Password: "s3cret"}))
	require.NoError(t, ping(t, &options.Credential{Username: "app", Password: "s3cret", AuthMechanism: "SCRAM-SHA-256"}))
	require.NoError(t, ping(t, &options.Credential{Username: "other", Password: "pw", AuthSource: "theirs"}))
	require.ErrorContains(t, ping(t, &options.Credential{Username: "app", Password: "wrong"}), "Authentication failed")
	require.ErrorContains(t, ping(t, &options.Credential{Username: "nobody", Password: "s3cret"}), "Authentication failed")
	err := ping(t, nil)
	assert.True(t, serverError(t, err).HasErrorCode(13), "%v", err)
}

func TestCompression(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"snappy", "zlib", "zstd"} {
		s := mongosim.Start(t)
		coll := s.Client(t, options.Client().SetCompressors([]string{name})).Database("d").Collection("c")
		docs := make([]any, 500)
		for i := range docs {
			docs[i] = bson.D{{Key: "_id", Value: i}, {Key: "text", Value: "the same again and again and again"}}
		}
		_, err := coll.InsertMany(t.Context(), docs)
		require.NoError(t, err, name)
		cur, err := coll.Find(t.Context(), bson.D{})
		require.NoError(t, err, name)
		var got []bson.Raw
		require.NoError(t, cur.All(t.Context(), &got), name)
		assert.Len(t, got, 500, name)
	}
}

// TestVirtualTime runs a server and its client in a bubble: a transaction's lifetime and a TTL pass in no time.
func TestVirtualTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := mongosim.Start(t)
		coll := s.Client(t).Database("d").Collection("c")
		ctx := t.Context()
		_, err := coll.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "at", Value: 1}}, Options: options.Index().SetExpireAfterSeconds(600)})
		require.NoError(t, err)
		_, err = coll.InsertOne(ctx, bson.D{{Key: "at", Value: time.Now()}})
		require.NoError(t, err)
		sess, err := coll.Database().Client().StartSession()
		require.NoError(t, err)
		require.NoError(t, sess.StartTransaction())
		_, err = coll.InsertOne(mongo.NewSessionContext(ctx, sess), id("txn"))
		require.NoError(t, err)

		time.Sleep(2 * time.Minute)
		err = sess.CommitTransaction(ctx)
		assert.True(t, serverError(t, err).HasErrorCode(251), "%v", err)
		sess.EndSession(ctx)
		assert.Equal(t, int64(1), countAll(t, coll))

		time.Sleep(10 * time.Minute)
		assert.Equal(t, int64(0), countAll(t, coll))
	})
}

func TestThousandsOfConnections(t *testing.T) {
	t.Parallel()
	s := mongosim.Start(t)
	const n = 2000
	var wg sync.WaitGroup
	ready := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			raw := dialRaw(t, s)
			raw.run(bson.D{{Key: "insert", Value: "c"}, {Key: "documents", Value: bson.A{id(i)}}, {Key: "$db", Value: "d"}})
			<-ready
			assert.True(t, succeeded(raw.run(bson.D{{Key: "ping", Value: 1}, {Key: "$db", Value: "admin"}})))
		})
	}
	await(t, s, "opcounters", "insert", n)
	assert.GreaterOrEqual(t, s.Connections(), n)
	close(ready)
	wg.Wait()
}

func TestMalformedInputHarmsNobodyElse(t *testing.T) {
	t.Parallel()
	s := mongosim.Start(t)
	good := opMsg(1, 0, marshal(t, bson.D{{Key: "ping", Value: 1}, {Key: "$db", Value: "admin"}}), "", nil)
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	for range 2000 {
		nc, err := s.DialContext(t.Context(), "", "")
		require.NoError(t, err)
		msg := append([]byte{}, good...)
		for range 1 + random.IntN(4) {
			msg[random.IntN(len(msg))] = byte(random.Uint32())
		}
		_, _ = nc.Write(msg)
		require.NoError(t, nc.SetReadDeadline(time.Now().Add(time.Millisecond)))
		_, err = io.Copy(io.Discard, nc) // an answer, a closed connection, or nothing yet
		if err != nil {
			require.ErrorIs(t, err, os.ErrDeadlineExceeded)
		}
		require.NoError(t, nc.Close())
	}
	reply := dialRaw(t, s).run(bson.D{{Key: "ping", Value: 1}, {Key: "$db", Value: "admin"}})
	assert.True(t, succeeded(reply))
}

func TestMalformedRequestIsAnswered(t *testing.T) {
	t.Parallel()
	s := mongosim.Start(t)
	raw := dialRaw(t, s)
	msg := opMsg(9, 0, marshal(t, bson.D{{Key: "ping", Value: 1}, {Key: "$db", Value: "admin"}}), "", nil)
	msg[20] = 7 // no such kind of section
	_, err := raw.nc.Write(msg)
	require.NoError(t, err)
	reply, err := raw.receive()
	require.NoError(t, err)
	assert.Equal(t, int32(40432), reply.Lookup("code").Int32())
	assert.True(t, succeeded(raw.run(bson.D{{Key: "ping", Value: 1}, {Key: "$db", Value: "admin"}})), "and the connection goes on")
}

func TestMoreToComeIsNotAnswered(t *testing.T) {
	t.Parallel()
	s := mongosim.Start(t)
	raw := dialRaw(t, s)
	insert := marshal(t, bson.D{{Key: "insert", Value: "c"}, {Key: "documents", Value: bson.A{id(1)}}, {Key: "writeConcern", Value: bson.D{{Key: "w", Value: 0}}}, {Key: "$db", Value: "d"}})
	_, err := raw.nc.Write(opMsg(1, 2, insert, "", nil))
	require.NoError(t, err)
	reply := raw.run(bson.D{{Key: "count", Value: "c"}, {Key: "$db", Value: "d"}})
	assert.Equal(t, int32(1), reply.Lookup("n").Int32(), "the next reply is the next command's")
}

func TestExhaustHello(t *testing.T) {
	t.Parallel()
	s := mongosim.Start(t)
	raw := dialRaw(t, s)
	hello := raw.run(bson.D{{Key: "hello", Value: 1}, {Key: "$db", Value: "admin"}})
	await := marshal(t, bson.D{
		{Key: "hello", Value: 1},
		{Key: "maxAwaitTimeMS", Value: 60_000},
		{Key: "topologyVersion", Value: hello.Lookup("topologyVersion").Document()},
		{Key: "$db", Value: "admin"},
	})
	_, err := raw.nc.Write(opMsg(5, 1<<16, await, "", nil))
	require.NoError(t, err)
	for _, primary := range []bool{false, true, false} {
		if primary {
			s.Elect()
		} else {
			s.StepDown(-1)
		}
		reply, err := raw.r.Read()
		require.NoError(t, err)
		assert.NotZero(t, reply.Flags&2, "more is to come")
		assert.Equal(t, primary, reply.Body.Lookup("isWritablePrimary").Boolean())
	}
}

func TestLargeMessages(t *testing.T) {
	t.Parallel()
	s := mongosim.Start(t)
	coll := s.Client(t).Database("d").Collection("c")
	pad := make([]byte, 15<<20)
	_, err := coll.InsertMany(t.Context(), []any{
		bson.D{{Key: "_id", Value: 1}, {Key: "pad", Value: pad}},
		bson.D{{Key: "_id", Value: 2}, {Key: "pad", Value: pad}},
		bson.D{{Key: "_id", Value: 3}, {Key: "pad", Value: pad}},
	})
	require.NoError(t, err)
	cur, err := coll.Find(t.Context(), bson.D{})
	require.NoError(t, err)
	n := 0
	for cur.Next(t.Context()) {
		n++
	}
	require.NoError(t, cur.Err())
	assert.Equal(t, 3, n)

	_, err = coll.UpdateOne(t.Context(), id(1), set("more", make([]byte, 2<<20)))
	assert.True(t, serverError(t, err).HasErrorCode(17419), "%v", err)
	_, err = coll.InsertOne(t.Context(), bson.D{{Key: "pad", Value: make([]byte, 16<<20)}})
	require.Error(t, err)
}

func TestClientsThatHangUpAreNoticed(t *testing.T) {
	t.Parallel()
	s := mongosim.Start(t) // without a driver, which opens connections when it likes
	raw, other := dialRaw(t, s), dialRaw(t, s)
	require.True(t, succeeded(other.run(bson.D{{Key: "create", Value: "things"}, {Key: "$db", Value: "test"}})))
	watch := raw.run(bson.D{{Key: "aggregate", Value: "things"}, {Key: "pipeline", Value: bson.A{bson.D{{Key: "$changeStream", Value: bson.D{}}}}}, {Key: "cursor", Value: bson.D{}}, {Key: "$db", Value: "test"}})
	require.NoError(t, raw.send(bson.D{{Key: "getMore", Value: watch.Lookup("cursor", "id").Int64()}, {Key: "collection", Value: "things"}, {Key: "maxTimeMS", Value: int64(600_000)}, {Key: "$db", Value: "test"}}))
	require.NoError(t, raw.nc.Close())
	require.Eventually(t, func() bool { return s.Connections() == 1 }, time.Minute, time.Millisecond)
	require.True(t, succeeded(other.run(bson.D{{Key: "ping", Value: 1}, {Key: "$db", Value: "test"}})))
}

func TestUnsupportedThingsAreRefusedClearly(t *testing.T) {
	t.Parallel()
	_, coll := setup(t)
	ctx := t.Context()
	_, err := coll.Find(ctx, bson.D{}, options.Find().SetCollation(&options.Collation{Locale: "de"}))
	require.ErrorContains(t, err, "simple collation")
	require.ErrorContains(t, coll.Database().CreateView(ctx, "v", coll.Name(), mongo.Pipeline{}), "viewOn")
	require.ErrorContains(t, coll.Database().CreateCollection(ctx, "ts", options.CreateCollection().SetTimeSeriesOptions(options.TimeSeries().SetTimeField("t"))), "timeseries")
	err = coll.Database().RunCommand(ctx, bson.D{{Key: "mapReduce", Value: "things"}}).Err()
	assert.True(t, serverError(t, err).HasErrorCode(59), "%v", err)
}

func TestExplainNamesTheIndex(t *testing.T) {
	t.Parallel()
	_, coll := setup(t)
	ctx := t.Context()
	_, err := coll.Indexes().CreateOne(ctx, mongo.IndexModel{Keys: bson.D{{Key: "a", Value: 1}}})
	require.NoError(t, err)
	for i := range 100 {
		_, err := coll.InsertOne(ctx, bson.D{{Key: "_id", Value: i}, {Key: "a", Value: i % 10}})
		require.NoError(t, err)
	}
	explain := func(cmd bson.D) bson.Raw {
		raw, err := coll.Database().RunCommand(ctx, bson.D{{Key: "explain", Value: cmd}, {Key: "verbosity", Value: "executionStats"}}).Raw()
		require.NoError(t, err)
		return raw
	}
	filter := bson.D{{Key: "a", Value: 3}}
	find := explain(bson.D{{Key: "find", Value: "things"}, {Key: "filter", Value: filter}})
	assert.Equal(t, "a_1", find.Lookup("queryPlanner", "winningPlan", "inputStage", "indexName").StringValue())
	assert.Equal(t, int32(10), find.Lookup("executionStats", "totalDocsExamined").Int32())
	scan := explain(bson.D{{Key: "find", Value: "things"}, {Key: "filter", Value: bson.D{{Key: "b", Value: 1}}}})
	assert.Equal(t, "COLLSCAN", scan.Lookup("queryPlanner", "winningPlan", "stage").StringValue())
	agg := explain(bson.D{{Key: "aggregate", Value: "things"}, {Key: "pipeline", Value: bson.A{
		bson.D{{Key: "$match", Value: filter}}, bson.D{{Key: "$group", Value: bson.D{{Key: "_id", Value: nil}}}},
	}}, {Key: "cursor", Value: bson.D{}}})
	assert.Equal(t, "a_1", agg.Lookup("stages", "0", "$cursor", "queryPlanner", "winningPlan", "inputStage", "indexName").StringValue())
}

func TestOutReplacesAndMergeMerges(t *testing.T) {
	t.Parallel()
	_, coll := setup(t)
	ctx := t.Context()
	_, err := coll.InsertMany(ctx, []any{id(1), id(2), id(3)})
	require.NoError(t, err)
	target := coll.Database().Collection("target")
	_, err = target.InsertMany(ctx, []any{bson.D{{Key: "_id", Value: 1}, {Key: "old", Value: true}}, id(9)})
	require.NoError(t, err)
	run := func(last bson.D) {
		cur, err := coll.Aggregate(ctx, bson.A{bson.D{{Key: "$addFields", Value: bson.D{{Key: "x", Value: 1}}}}, last})
		require.NoError(t, err)
		require.False(t, cur.Next(ctx))
		require.NoError(t, cur.Err())
	}
	run(bson.D{{Key: "$merge", Value: "target"}})
	assert.Equal(t, int64(4), countAll(t, target))
	n, err := target.CountDocuments(ctx, bson.D{{Key: "old", Value: true}, {Key: "x", Value: 1}})
	require.NoError(t, err)
	assert.Equal(t, int64(1), n)
	run(bson.D{{Key: "$out", Value: "target"}})
	assert.Equal(t, int64(3), countAll(t, target))
	names, err := coll.Database().ListCollectionNames(ctx, bson.D{})
	require.NoError(t, err)
	assert.ElementsMatch(t, []string{"things", "target"}, names, "nothing temporary is left")
}

func TestDistinctValuesAreSorted(t *testing.T) {
	t.Parallel()
	_, coll := setup(t)
	_, err := coll.InsertMany(t.Context(), []any{
		bson.D{{Key: "_id", Value: 5}, {Key: "a", Value: "z"}},
		bson.D{{Key: "_id", Value: 3}, {Key: "a", Value: bson.A{9, 1.5, bson.A{1}}}},
		bson.D{{Key: "_id", Value: 4}, {Key: "a", Value: nil}},
		bson.D{{Key: "_id", Value: 1}, {Key: "a", Value: int64(9)}},
	})
	require.NoError(t, err)
	var ids []int
	require.NoError(t, coll.Distinct(t.Context(), "_id", bson.D{}).Decode(&ids))
	assert.Equal(t, []int{1, 3, 4, 5}, ids)
	var values bson.A
	require.NoError(t, coll.Distinct(t.Context(), "a", bson.D{}).Decode(&values))
	assert.Equal(t, bson.A{nil, 1.5, int32(9), "z", bson.A{int32(1)}}, values)
}

func TestListedValidation(t *testing.T) {
	t.Parallel()
	_, coll := setup(t)
	ctx, db := t.Context(), coll.Database()
	listed := func(name string) string {
		specs, err := db.ListCollectionSpecifications(ctx, bson.D{{Key: "name", Value: name}})
		require.NoError(t, err)
		require.Len(t, specs, 1)
		return specs[0].Options.String()
	}
	require.NoError(t, db.CreateCollection(ctx, "a", options.CreateCollection().SetValidator(bson.D{{Key: "x", Value: "y"}})))
	assert.JSONEq(t, `{"validator":{"x":"y"}}`, listed("a"), "what was given")
	require.NoError(t, db.RunCommand(ctx, bson.D{{Key: "collMod", Value: "a"}, {Key: "validationAction", Value: "warn"}}).Err())
	assert.JSONEq(t, `{"validator":{"x":"y"},"validationLevel":"strict","validationAction":"warn"}`, listed("a"), "what is in force")
	names, err := db.ListCollectionNames(ctx, bson.D{{Key: "options.validator", Value: bson.D{{Key: "$exists", Value: true}}}})
	require.NoError(t, err)
	assert.Empty(t, names, "a filter of names sees names")
	names, err = db.ListCollectionNames(ctx, bson.D{{Key: "type", Value: "collection"}, {Key: "name", Value: "a"}})
	require.NoError(t, err)
	assert.Equal(t, []string{"a"}, names)
}

// TestPartialIndexesFromSixOn checks that a partial index holds what its filter says and serves what it holds.
func TestPartialIndexesFromSixOn(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	active := bson.D{{Key: "status", Value: bson.D{{Key: "$in", Value: bson.A{"open", "paid"}}}}}
	either := bson.D{{Key: "$or", Value: bson.A{bson.D{{Key: "vip", Value: true}}, active}}, {Key: "n", Value: bson.D{{Key: "$gt", Value: 0}}}}
	unique := func(name string, filter bson.D) mongo.IndexModel {
		return mongo.IndexModel{Keys: bson.D{{Key: name, Value: 1}}, Options: options.Index().SetName(name).SetUnique(true).SetPartialFilterExpression(filter)}
	}
	before := mongosim.Start(t, func(c *mongosim.Config) { c.Version = "5.0" }).Client(t).Database("db").Collection("c")
	for _, filter := range []bson.D{active, either} {
		_, err := before.Indexes().CreateOne(ctx, unique("k", filter))
		require.ErrorContains(t, err, "unsupported expression in partial index")
	}
	coll := mongosim.Start(t, func(c *mongosim.Config) { c.Version = "6.0" }).Client(t).Database("db").Collection("c")
	_, err := coll.Indexes().CreateMany(ctx, []mongo.IndexModel{unique("k", active), unique("v", either)})
	require.NoError(t, err)
	order := func(id int, status string, more ...bson.E) bson.D {
		return append(bson.D{{Key: "_id", Value: id}, {Key: "status", Value: status}}, more...)
	}
	k, v, n := bson.E{Key: "k", Value: 1}, bson.E{Key: "v", Value: 1}, bson.E{Key: "n", Value: 1}
	_, err = coll.InsertMany(ctx, []any{order(1, "open", k), order(2, "gone", k), order(3, "gone", k, v, n), order(4, "gone", v, n, bson.E{Key: "vip", Value: true}), order(5, "paid", bson.E{Key: "k", Value: 2}, v)})
	require.NoError(t, err, "one of each key in each index")
	for name, doc := range map[string]bson.D{"index: k ": order(6, "paid", k), "index: v ": order(7, "open", bson.E{Key: "k", Value: 3}, v, n)} {
		_, err = coll.InsertOne(ctx, doc)
		require.ErrorContains(t, err, name)
	}
	stage := func(filter bson.D) string {
		plan, err := coll.Database().RunCommand(ctx, bson.D{{Key: "explain", Value: bson.D{{Key: "find", Value: "c"}, {Key: "filter", Value: filter}}}}).Raw()
		require.NoError(t, err)
		return plan.Lookup("queryPlanner", "winningPlan", "stage").StringValue()
	}
	assert.Equal(t, "FETCH", stage(bson.D{k, {Key: "status", Value: "open"}}), "all that it finds is in the index")
	for _, filter := range []bson.D{{k}, {k, {Key: "status", Value: "gone"}}, {v, n, {Key: "vip", Value: true}}} {
		assert.Equal(t, "COLLSCAN", stage(filter), filter)
		found, err := coll.CountDocuments(ctx, filter)
		require.NoError(t, err)
		assert.Positive(t, found)
	}
}

func TestMinAndMaxAreOfTheSameFields(t *testing.T) {
	t.Parallel()
	_, coll := setup(t)
	_, err := coll.InsertMany(t.Context(), []any{id(1), id(2), id(3)})
	require.NoError(t, err)
	find := options.Find().SetHint("_id_").SetMin(bson.D{{Key: "_id", Value: 2}})
	cur, err := coll.Find(t.Context(), bson.D{}, find.SetMax(bson.D{{Key: "_id", Value: 3}}))
	require.NoError(t, err)
	assert.Equal(t, 1, cur.RemainingBatchLength())
	require.NoError(t, cur.Close(t.Context()))
	_, err = coll.Find(t.Context(), bson.D{}, find.SetMax(bson.D{{Key: "a", Value: 3}}))
	var refused mongo.CommandError
	require.ErrorAs(t, err, &refused)
	assert.Equal(t, int32(51176), refused.Code)
}

func TestDialContextObeysItsContext(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := mongosim.Start(t).DialContext(ctx, "tcp", "anywhere")
	require.ErrorIs(t, err, context.Canceled)
}

func TestPipe(t *testing.T) {
	t.Parallel()
	s := mongosim.Start(t)
	nc, err := s.DialContext(t.Context(), "", "")
	require.NoError(t, err)
	require.NoError(t, nc.SetReadDeadline(time.Now().Add(5*time.Millisecond)))
	_, err = nc.Read(make([]byte, 1))
	var ne net.Error
	require.True(t, errors.As(err, &ne) && ne.Timeout(), "%v", err)
	require.NoError(t, nc.SetDeadline(time.Time{}))
	ping := opMsg(3, 0, marshal(t, bson.D{{Key: "ping", Value: 1}, {Key: "$db", Value: "admin"}}), "", nil)
	for _, b := range ping { // byte by byte
		_, err := nc.Write([]byte{b})
		require.NoError(t, err)
	}
	head := make([]byte, 16)
	_, err = io.ReadFull(nc, head)
	require.NoError(t, err)
	assert.Equal(t, uint32(3), binary.LittleEndian.Uint32(head[8:]), "the request it answers")
	require.NoError(t, nc.Close())
	_, err = nc.Write(ping)
	require.ErrorIs(t, err, io.ErrClosedPipe)
	_, err = nc.Read(head)
	require.ErrorIs(t, err, io.ErrClosedPipe)
}
