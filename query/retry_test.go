package query_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/simstore/mongosim"
)

// failing returns orders of a client of its own, whose commands can be made to fail.
func failing(t *testing.T, config query.Config, more ...*options.ClientOptions) (*query.Collection[Order], *commands, func(times int, data bson.D, names ...string)) {
	t.Helper()
	takeFailPoint(t)
	app, sent := "retry-"+bson.NewObjectID().Hex(), &commands{}
	db := dbForTest(t, append([]*options.ClientOptions{options.Client().SetAppName(app).SetMonitor(sent.monitor())}, more...)...)
	ordersInDB(t, db, 12)
	if config.Retry == (query.Retry{}) {
		config.Retry = query.Retry{Attempts: 1}
	}
	config.Retry.MinBackoff, config.Retry.MaxBackoff = time.Millisecond, time.Millisecond
	orders, err := query.NewCollection[Order](db.Collection("orders"), config)
	require.NoError(t, err)
	return orders, sent, func(times int, data bson.D, names ...string) {
		failPoint(t, db, app, bson.D{{Key: "times", Value: times}}, append(bson.D{{Key: "failCommands", Value: names}}, data...))
		sent.named("")
	}
}

var (
	networkError = bson.D{{Key: "closeConnection", Value: true}}
	notPrimary   = bson.D{{Key: "errorCode", Value: 10107}, {Key: "errorLabels", Value: bson.A{"RetryableWriteError"}}}
	stepDown     = bson.D{{Key: "errorCode", Value: 189}}
	badValue     = bson.D{{Key: "errorCode", Value: 2}}
)

// reads are all operations that only read, with the command they send.
func reads(o *query.Collection[Order]) map[string]struct {
	command string
	run     func(context.Context) error
} {
	type read = struct {
		command string
		run     func(context.Context) error
	}
	return map[string]read{
		"all":       {"find", func(ctx context.Context) error { _, err := o.Find().All(ctx); return err }},
		"first":     {"find", func(ctx context.Context) error { _, err := o.Find().First(ctx); return err }},
		"count":     {"aggregate", func(ctx context.Context) error { _, err := o.Find().Count(ctx); return err }},
		"estimated": {"count", func(ctx context.Context) error { _, err := o.Find().EstimatedCount(ctx); return err }},
		"distinct": {"distinct", func(ctx context.Context) error {
			_, err := query.Distinct[string](ctx, o.Find(), orderRegion)
			return err
		}},
		"page": {"aggregate", func(ctx context.Context) error { _, err := o.Find().Page(ctx, query.PageRequest{}); return err }},
		"aggregate": {"aggregate", func(ctx context.Context) error {
			_, err := query.Aggregate[bson.Raw](o, query.Pipe().Limit(1)).All(ctx)
			return err
		}},
		"stream": {"find", func(ctx context.Context) error {
			for _, err := range o.Find().Stream(ctx) {
				if err != nil {
					return err
				}
			}
			return nil
		}},
	}
}

// TestDriverRepeatsReadsOnce: the driver's own rule, which ours builds on.
func TestDriverRepeatsReadsOnce(t *testing.T) {
	t.Parallel()
	orders, sent, fail := failing(t, query.Config{})
	for name, r := range reads(orders) {
		for _, failure := range []bson.D{networkError, stepDown} {
			fail(1, failure, r.command)
			require.NoError(t, r.run(t.Context()), name)
			assert.Len(t, sent.named(r.command), 2, name)

			fail(2, failure, r.command)
			require.Error(t, r.run(t.Context()), name)
			assert.Len(t, sent.named(r.command), 2, name)
		}
		fail(1, badValue, r.command)
		require.Error(t, r.run(t.Context()), name)
		assert.Len(t, sent.named(r.command), 1, "%s: an error of the command is final", name)
	}
}

// TestReadsAreRepeatedBeyondTheDriver: each of our attempts is two of the driver's.
func TestReadsAreRepeatedBeyondTheDriver(t *testing.T) {
	t.Parallel()
	orders, sent, fail := failing(t, query.Config{Retry: query.Retry{Attempts: 3}})
	for name, r := range reads(orders) {
		fail(5, stepDown, r.command)
		require.NoError(t, r.run(t.Context()), name)
		assert.Len(t, sent.named(r.command), 6, name)

		fail(6, networkError, r.command)
		err := r.run(t.Context())
		var e *query.Error
		require.ErrorAs(t, err, &e, name)
		assert.True(t, e.SafeToRetry(), name)
		assert.Len(t, sent.named(r.command), 6, name)
	}
	// The driver never repeats explain, it is a command like any other; we do.
	fail(2, stepDown, "explain")
	_, err := orders.Find().Explain(t.Context())
	require.NoError(t, err)
	assert.Len(t, sent.named("explain"), 3)
}

// TestFurtherBatchesAreNotRepeated: nobody can, the cursor's place is unknown.
func TestFurtherBatchesAreNotRepeated(t *testing.T) {
	t.Parallel()
	orders, sent, fail := failing(t, query.Config{Retry: query.Retry{Attempts: 3}})
	fail(1, networkError, "getMore")
	n := 0
	var last error
	for _, err := range orders.Find().BatchSize(5).Stream(t.Context()) {
		if last = err; err == nil {
			n++
		}
	}
	require.Error(t, last)
	assert.Equal(t, 5, n)
	assert.Len(t, sent.named("getMore"), 1)
}

// TestNothingIsRepeatedInATransaction: its owner must repeat it as a whole.
func TestNothingIsRepeatedInATransaction(t *testing.T) {
	t.Parallel()
	orders, sent, fail := failing(t, query.Config{Retry: query.Retry{Attempts: 3}})
	session, err := orders.Mongo().Database().Client().StartSession()
	require.NoError(t, err)
	defer session.EndSession(t.Context())
	require.NoError(t, session.StartTransaction())
	ctx := mongo.NewSessionContext(t.Context(), session)
	fail(1, stepDown, "find")
	_, err = orders.Find().All(ctx)
	require.Error(t, err)
	var labeled mongo.LabeledError
	require.ErrorAs(t, err, &labeled)
	assert.True(t, labeled.HasErrorLabel("TransientTransactionError"))
	assert.Len(t, sent.named("find"), 1)
	_ = session.AbortTransaction(t.Context())
}

// TestTheDriverRepeatsTransactionsAsAWhole: our errors keep the labels it goes by, also those of a Bulk.
func TestTheDriverRepeatsTransactionsAsAWhole(t *testing.T) {
	t.Parallel()
	orders, _, fail := failing(t, query.Config{})
	for name, insert := range map[string]func(context.Context) error{
		"insert": func(ctx context.Context) error { _, err := orders.InsertOne(ctx, Order{ID: "one"}); return err },
		"bulk": func(ctx context.Context) error {
			_, err := orders.Bulk().Insert(Order{ID: "two"}, Order{ID: "three"}).Run(ctx)
			return err
		},
	} {
		session, err := orders.Mongo().Database().Client().StartSession()
		require.NoError(t, err)
		fail(1, bson.D{{Key: "errorCode", Value: 112}, {Key: "errorLabels", Value: bson.A{"TransientTransactionError"}}}, "insert")
		failures := 0
		_, err = session.WithTransaction(t.Context(), func(ctx context.Context) (any, error) {
			err := insert(ctx)
			if err != nil {
				failures++
			}
			return nil, err
		})
		require.NoError(t, err, name)
		assert.Positive(t, failures, name)
		session.EndSession(t.Context())
	}
	n, err := orders.Find(orderID.In("one", "two", "three")).Count(t.Context())
	require.NoError(t, err)
	assert.EqualValues(t, 3, n)
}

// TestDriverRepeatsWritesOfSingleDocumentsOnce: with a transaction number, so
// that the server does the work once even if only the answer was lost.
func TestDriverRepeatsWritesOfSingleDocumentsOnce(t *testing.T) {
	t.Parallel()
	orders, sent, fail := failing(t, query.Config{})
	n := 0
	for name, w := range map[string]struct {
		command string
		run     func(context.Context) error
	}{
		"insert": {"insert", func(ctx context.Context) error { n++; _, err := orders.InsertOne(ctx, Order{ID: name(n)}); return err }},
		"insert many": {"insert", func(ctx context.Context) error {
			n += 2
			_, err := orders.Bulk().Insert(Order{ID: name(n)}, Order{ID: name(n - 1)}).Run(ctx)
			return err
		}},
		"update one": {"update", func(ctx context.Context) error {
			_, err := orders.UpdateOne(ctx, orderID.Eq("o001"), orderTotal.Inc(1))
			return err
		}},
		"replace": {"update", func(ctx context.Context) error {
			_, err := orders.ReplaceOne(ctx, orderID.Eq("o001"), Order{ID: "o001"})
			return err
		}},
		"delete one": {"delete", func(ctx context.Context) error { _, err := orders.DeleteOne(ctx, orderID.Eq("o002")); return err }},
		"find and update": {"findAndModify", func(ctx context.Context) error {
			_, err := orders.Find(orderID.Eq("o003")).FindAndUpdate(ctx, orderTotal.Inc(1), query.After)
			return err
		}},
	} {
		for what, failure := range map[string]bson.D{"network": networkError, "not primary": notPrimary} {
			fail(1, failure, w.command)
			require.NoError(t, w.run(t.Context()), "%s, %s", name, what)
			cmds := sent.named(w.command)
			require.Len(t, cmds, 2, "%s, %s", name, what)
			assert.Equal(t, cmds[0].Lookup("txnNumber"), cmds[1].Lookup("txnNumber"), name)

			fail(2, failure, w.command)
			err := w.run(t.Context())
			require.Error(t, err, "%s, %s", name, what)
			assert.Len(t, sent.named(w.command), 2, "%s, %s: once and no more", name, what)
			if what == "network" {
				require.ErrorIs(t, err, query.ErrOutcomeUnknown, "%s, %s", name, what)
			}
		}
	}
}

func name(n int) string { return "new" + string(rune('A'+n/26)) + string(rune('a'+n%26)) }

// TestNobodyRepeatsWritesOfManyDocuments: neither the driver nor this package.
func TestNobodyRepeatsWritesOfManyDocuments(t *testing.T) {
	t.Parallel()
	orders, sent, fail := failing(t, query.Config{Retry: query.Retry{Attempts: 3}})
	for what, w := range map[string]struct {
		command string
		run     func(context.Context) error
	}{
		"update many": {"update", func(ctx context.Context) error {
			_, err := orders.UpdateMany(ctx, query.Everything(), orderTotal.Inc(1))
			return err
		}},
		"delete many": {"delete", func(ctx context.Context) error { _, err := orders.DeleteMany(ctx, orderID.Eq("o001")); return err }},
		"bulk update many": {"update", func(ctx context.Context) error {
			_, err := orders.Bulk().UpdateMany(query.Everything(), orderTotal.Inc(1)).Run(ctx)
			return err
		}},
		"bulk delete many": {"delete", func(ctx context.Context) error {
			_, err := orders.Bulk().Unordered().DeleteMany(orderID.Eq("x")).Run(ctx)
			return err
		}},
		"out": {"aggregate", func(ctx context.Context) error {
			return query.Aggregate[bson.Raw](orders, query.Pipe().Out("", "x")).Run(ctx)
		}},
		"merge": {"aggregate", func(ctx context.Context) error {
			return query.Aggregate[bson.Raw](orders, query.Pipe().Merge(query.MergeOf{Into: "y"})).Run(ctx)
		}},
	} {
		fail(1, networkError, w.command)
		err := w.run(t.Context())
		require.ErrorIs(t, err, query.ErrOutcomeUnknown, what)
		var e *query.Error
		require.ErrorAs(t, err, &e)
		assert.False(t, e.SafeToRetry(), what)
		assert.Len(t, sent.named(w.command), 1, what)
	}
}

// TestBulkUnknownOutcome names the writes that may have been done.
func TestBulkUnknownOutcome(t *testing.T) {
	t.Parallel()
	orders, _, fail := failing(t, query.Config{}, options.Client().SetRetryWrites(false))
	fail(1, networkError, "delete")
	_, err := orders.Bulk().Insert(Order{ID: "x"}).DeleteMany(orderID.Eq("o001")).DeleteMany(orderID.Eq("o002")).Insert(Order{ID: "y"}).Run(t.Context())
	var e *query.BulkError
	require.ErrorAs(t, err, &e)
	assert.Equal(t, []int{1, 2}, e.Unknown)
	assert.Equal(t, []int{3}, e.NotAttempted)
	assert.EqualValues(t, 1, e.Result.Inserted)
	require.ErrorIs(t, err, query.ErrOutcomeUnknown)
}

// TestUpsertIsRepeatedAfterARace: the document appears between the server's look and its
// insert. Here it is there all along, and changes so as to match while the first answer is on its way.
func TestUpsertIsRepeatedAfterARace(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	var orders *query.Collection[Order]
	var updates atomic.Int32
	var change atomic.Bool
	monitor := &event.CommandMonitor{
		Started: func(_ context.Context, e *event.CommandStartedEvent) {
			if e.CommandName == "update" {
				updates.Add(1)
			}
		},
		Succeeded: func(_ context.Context, e *event.CommandSucceededEvent) {
			if _, err := e.Reply.LookupErr("writeErrors"); err != nil || !change.CompareAndSwap(true, false) {
				return
			}
			_, err := orders.Find(orderID.Eq("o001")).FindAndUpdate(ctx, orderTotal.Set(1), query.After)
			assert.NoError(t, err)
		},
	}
	orders = ordersInDB(t, dbForTest(t, options.Client().SetMonitor(monitor)), 3)
	upsert := func(o query.UpdateOptions) (query.UpdateResult, error) {
		updates.Store(0)
		return orders.UpdateOne(ctx, query.And(orderID.Eq("o001"), orderTotal.Lt(5)), orderTotal.Inc(1), o)
	}
	change.Store(true)
	r, err := upsert(query.UpdateOptions{Upsert: true})
	require.NoError(t, err)
	assert.Equal(t, query.UpdateResult{Matched: 1, Modified: 1}, r)
	assert.EqualValues(t, 2, updates.Load())

	// What is no race is a duplicate the second time as well, and final.
	_, err = orders.UpdateOne(ctx, orderID.Eq("o001"), orderTotal.Set(100))
	require.NoError(t, err)
	_, err = upsert(query.UpdateOptions{Upsert: true})
	require.ErrorIs(t, err, query.ErrDuplicate)
	assert.EqualValues(t, 2, updates.Load())
}

// TestWorkIsDoneOnceWhenTheAnswerIsLost: the write was done, the driver asks
// again with the same transaction number, and the server answers without doing it again.
func TestWorkIsDoneOnceWhenTheAnswerIsLost(t *testing.T) {
	t.Parallel()
	server := mongosim.Start(t)
	orders := ordersInDB(t, server.Client(t).Database("shop"), 3)
	ctx := t.Context()
	lose := func(times int, command string) {
		require.NoError(t, server.FailCommand(mongosim.FailPoint{Commands: []string{command}, Times: times, LoseReply: true}))
	}
	lose(1, "update")
	r, err := orders.UpdateOne(ctx, orderID.Eq("o001"), orderTotal.Inc(1))
	require.NoError(t, err)
	assert.EqualValues(t, 1, r.Modified)
	o, err := orders.Find(orderID.Eq("o001")).One(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 11, o.Total)

	// Of many documents nobody asks again, and the error doesn't say "not written": they were.
	lose(1, "update")
	_, err = orders.UpdateMany(ctx, query.Everything(), orderTotal.Inc(1))
	require.ErrorIs(t, err, query.ErrOutcomeUnknown)
	o, err = orders.Find(orderID.Eq("o001")).One(ctx)
	require.NoError(t, err)
	assert.EqualValues(t, 12, o.Total)
}
