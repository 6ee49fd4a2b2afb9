package metrics_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
	"github.com/annals-es/annals/mongostore/client"
	"github.com/annals-es/annals/mongostore/metrics"
	"github.com/annals-es/annals/simstore/mongosim"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// A program is a client and a store that are measured.
type program struct {
	registry *prometheus.Registry
	server   *mongosim.Server
	client   *client.Client
	store    *mongostore.Store
}

func start(t *testing.T, cfg metrics.Config) program {
	t.Helper()
	p := program{registry: prometheus.NewRegistry(), server: mongosim.Start(t)}
	m, err := metrics.New(p.registry, cfg)
	require.NoError(t, err)
	p.client, err = client.Connect(t.Context(), client.Config{
		URI: p.server.URI(), Dialer: p.server, SimulationMode: client.SimulationServer, MaxPool: 20,
		CommandMonitor: m.CommandMonitor(nil),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.client.Close(context.Background())) })
	t.Cleanup(m.Watch(p.client))
	sc := mongostore.Config{Database: "db", Hooks: m.Hooks(), WriteTimeout: 5 * time.Minute}
	require.NoError(t, mongostore.Migrate(t.Context(), p.client.Mongo(), sc))
	p.store, err = mongostore.Open(t.Context(), p.client.Mongo(), sc)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, p.store.Close(context.Background())) })
	return p
}

func (p program) collection() *mongo.Collection {
	return p.client.Mongo().Database("db").Collection("c")
}

// series finds a metric by its name and labels, as in `x_total{op="find"}`; nil
// when there is none.
func (p program) series(t *testing.T, name string, labels ...string) *dto.Metric {
	t.Helper()
	families, err := p.registry.Gather()
	require.NoError(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			if hasLabels(m, labels) {
				return m
			}
		}
	}
	return nil
}

func hasLabels(m *dto.Metric, pairs []string) bool {
	have := map[string]string{}
	for _, l := range m.GetLabel() {
		have[l.GetName()] = l.GetValue()
	}
	for i := 0; i < len(pairs); i += 2 {
		if have[pairs[i]] != pairs[i+1] {
			return false
		}
	}
	return true
}

// value is a counter's or gauge's value, or the number of a histogram's
// observations; zero for a series that is not there.
func (p program) value(t *testing.T, name string, labels ...string) int {
	t.Helper()
	m := p.series(t, name, labels...)
	switch {
	case m == nil:
		return 0
	case m.GetHistogram() != nil:
		return int(m.GetHistogram().GetSampleCount())
	case m.GetGauge() != nil:
		return int(m.GetGauge().GetValue())
	}
	return int(m.GetCounter().GetValue())
}

func happened() eventstore.EventData {
	data, err := eventstore.NewBSONCodec().Marshal(map[string]int{"n": 1})
	if err != nil {
		panic(err)
	}
	return eventstore.EventData{ID: eventstore.NewEventID(), Type: "happened", Data: data}
}

func request(stream string, expected eventstore.ExpectedVersion, n int) eventstore.AppendRequest {
	events := make([]eventstore.EventData, n)
	for i := range events {
		events[i] = happened()
	}
	return eventstore.AppendRequest{Streams: []eventstore.StreamAppend{{Stream: eventstore.StreamID(stream), Expected: expected, Events: events}}}
}

// TestOperations makes operations of every kind and compares.
func TestOperations(t *testing.T) {
	t.Parallel()
	p := start(t, metrics.Config{})
	ctx, c := t.Context(), p.collection()
	for i := range 3 {
		_, err := c.InsertOne(ctx, bson.D{{Key: "_id", Value: i}})
		require.NoError(t, err)
	}
	_, err := c.InsertMany(ctx, []bson.D{{{Key: "_id", Value: 10}}, {{Key: "_id", Value: 11}}})
	require.NoError(t, err)
	_, err = c.InsertOne(ctx, bson.D{{Key: "_id", Value: 1}})
	require.True(t, mongo.IsDuplicateKeyError(err))
	for range 4 {
		require.NoError(t, c.FindOne(ctx, bson.D{}).Err())
	}
	cur, err := c.Find(ctx, bson.D{})
	require.NoError(t, err)
	require.NoError(t, cur.Close(ctx))
	_, err = c.UpdateOne(ctx, bson.D{{Key: "_id", Value: 1}}, bson.D{{Key: "$set", Value: bson.D{{Key: "x", Value: 1}}}})
	require.NoError(t, err)
	_, err = c.UpdateMany(ctx, bson.D{}, bson.D{{Key: "$set", Value: bson.D{{Key: "x", Value: 1}}}})
	require.NoError(t, err)
	_, err = c.DeleteOne(ctx, bson.D{{Key: "_id", Value: 1}})
	require.NoError(t, err)
	_, err = c.DeleteMany(ctx, bson.D{})
	require.NoError(t, err)
	require.NoError(t, p.server.FailCommand(mongosim.FailPoint{Commands: []string{"find"}, Times: 1, ErrorCode: 13}))
	require.Error(t, c.FindOne(ctx, bson.D{}).Err())

	for op, n := range map[string]int{
		"insert_one": 4, "insert_many": 1, "find_one": 5, "find": 1,
		"update_one": 1, "update_many": 1, "delete_one": 1, "delete_many": 1,
	} {
		require.Equal(t, n, p.value(t, "mongodb_operations_total", "op", op, "coll", "c"), op)
		require.Equal(t, n, p.value(t, "mongodb_operation_duration_seconds", "op", op, "coll", "c"), op)
	}
	require.Equal(t, 1, p.value(t, "mongodb_operation_errors_total", "op", "insert_one", "coll", "c", "kind", "duplicate_key"))
	require.Equal(t, 1, p.value(t, "mongodb_operation_errors_total", "op", "find_one", "coll", "c", "kind", "unauthorized"))
	require.Positive(t, p.value(t, "mongodb_operations_total", "op", "create_indexes", "coll", "events"))
}

func TestPoolStates(t *testing.T) {
	t.Parallel()
	p := start(t, metrics.Config{})
	require.Equal(t, 20, p.value(t, "mongodb_pool_connections", "state", "max"))
	require.NoError(t, p.server.FailCommand(mongosim.FailPoint{Commands: []string{"ping"}, Block: 50 * time.Millisecond}))
	var pings sync.WaitGroup
	var seen atomic.Bool
	for range 3 {
		pings.Go(func() {
			for !seen.Load() {
				_ = p.client.Mongo().Ping(t.Context(), nil)
			}
		})
	}
	require.Eventually(t, func() bool { return p.value(t, "mongodb_pool_connections", "state", "in_use") >= 3 || t.Failed() }, time.Minute, time.Millisecond)
	seen.Store(true)
	pings.Wait()
	p.server.ClearFailPoint()
	require.Eventually(t, func() bool {
		return p.value(t, "mongodb_pool_connections", "state", "in_use") == 0 && p.value(t, "mongodb_pool_connections", "state", "idle") >= 3
	}, time.Minute, time.Millisecond)
	require.Zero(t, p.value(t, "mongodb_pool_connections", "state", "waiting"))
}

func TestChangeStreamEvents(t *testing.T) {
	t.Parallel()
	p := start(t, metrics.Config{})
	cs, err := p.collection().Watch(t.Context(), mongo.Pipeline{})
	require.NoError(t, err)
	for i := range 7 {
		_, err := p.collection().InsertOne(t.Context(), bson.D{{Key: "n", Value: i}})
		require.NoError(t, err)
	}
	for range 7 {
		require.True(t, cs.Next(t.Context()))
	}
	require.NoError(t, cs.Close(t.Context()))
	require.Equal(t, 7, p.value(t, "mongodb_change_stream_events_total", "coll", "c"))
	// Waiting for changes is no slow operation; opening the stream is one.
	require.Zero(t, p.value(t, "mongodb_operation_duration_seconds", "op", "get_more", "coll", "c"))
	require.Equal(t, 1, p.value(t, "mongodb_operation_duration_seconds", "op", "aggregate", "coll", "c"))
}

func TestStore(t *testing.T) {
	t.Parallel()
	p := start(t, metrics.Config{})
	ctx := t.Context()
	req := request("order-1", eventstore.NoStream, 1)
	res, err := p.store.Append(ctx, req)
	require.NoError(t, err)
	_, err = p.store.Append(ctx, req)
	require.NoError(t, err) // again: a duplicate
	res, err = p.store.Append(ctx, request("order-1", eventstore.Exact(res.Streams[0].Last), 2))
	require.NoError(t, err)
	_, err = p.store.Append(ctx, request("order-1", eventstore.NoStream, 1))
	require.ErrorIs(t, err, eventstore.ErrConflict)
	require.NoError(t, p.store.Tombstone(ctx, "order-2", eventstore.Any))
	_, err = p.store.Append(ctx, request("order-2", eventstore.Any, 1))
	require.ErrorIs(t, err, eventstore.ErrTombstoned)
	head, err := p.store.Await(ctx, res.Token)
	require.NoError(t, err)
	require.EqualValues(t, 3, head)
	for range 2 {
		for _, err := range p.store.ReadStream(ctx, "order-1", eventstore.StreamQuery{}) {
			require.NoError(t, err)
		}
	}
	for _, err := range p.store.ReadLog(ctx, eventstore.LogQuery{}) {
		require.NoError(t, err)
	}
	for name, want := range map[string]int{
		"annals_events_appended_total":      3,
		"annals_append_duration_seconds":    5,
		"annals_sequencer_position":         3,
		"annals_sequencer_events_total":     3,
		"annals_sequencer_lag_seconds":      0,
		"annals_sequencer_recoveries_total": 1,
	} {
		require.Equal(t, want, p.value(t, name), name)
	}
	for result, want := range map[string]int{"written": 2, "duplicate": 1, "conflict": 1, "refused": 1, "unknown": 0, "failed": 0} {
		require.Equal(t, want, p.value(t, "annals_appends_total", "result", result), result)
	}
	require.Equal(t, 2, p.value(t, "annals_reads_total", "source", "stream", "result", "ok"))
	require.Equal(t, 6, p.value(t, "annals_events_read_total", "source", "stream"))
	require.Equal(t, 1, p.value(t, "annals_reads_total", "source", "log", "result", "ok"))
	require.Equal(t, 3, p.value(t, "annals_events_read_total", "source", "log"))
	require.Equal(t, 1, p.value(t, "annals_append_group_size", "way", "transaction"))
	require.Positive(t, p.value(t, "annals_append_group_size", "way", "insert"))
	require.Positive(t, p.value(t, "annals_head_cache_requests_total", "result", "hit"))
	require.Positive(t, p.value(t, "annals_head_cache_requests_total", "result", "miss"))
}

// TestSequencerLag stops nobody from appending and somebody from sequencing.
func TestSequencerLag(t *testing.T) {
	t.Parallel()
	p := start(t, metrics.Config{})
	res, err := p.store.Append(t.Context(), request("order-1", eventstore.NoStream, 3))
	require.NoError(t, err)
	_, err = p.store.Await(t.Context(), res.Token)
	require.NoError(t, err)
	lag, err := p.store.SequencerLag(t.Context())
	require.NoError(t, err)
	require.Zero(t, lag)

	require.NoError(t, p.server.FailCommand(mongosim.FailPoint{Commands: []string{"insert"}, Namespace: "db.log", ErrorCode: 13}))
	res, err = p.store.Append(t.Context(), request("order-1", eventstore.Exact(res.Streams[0].Last), 4))
	require.NoError(t, err)
	lag, err = p.store.SequencerLag(t.Context())
	require.NoError(t, err)
	require.EqualValues(t, 4, lag)

	p.server.ClearFailPoint()
	require.Eventually(t, func() bool { _, err := p.store.Await(t.Context(), res.Token); return err == nil }, time.Minute, 10*time.Millisecond)
	require.Eventually(t, func() bool { lag, err := p.store.SequencerLag(t.Context()); return err == nil && lag == 0 }, time.Minute, 10*time.Millisecond)
}

func TestNamesFollowTheConventions(t *testing.T) {
	t.Parallel()
	p := start(t, metrics.Config{})
	p.exercise(t)
	problems, err := testutil.GatherAndLint(p.registry)
	require.NoError(t, err)
	require.Equal(t, []promlint.Problem(nil), problems)
}

// exercise makes every metric have a series.
func (p program) exercise(t *testing.T) {
	t.Helper()
	_, err := p.store.Append(t.Context(), request("order-1", eventstore.NoStream, 1))
	require.NoError(t, err)
	_ = p.collection().FindOne(t.Context(), bson.D{{Key: "$nonsense", Value: 1}})
	_, err = p.store.Head(t.Context())
	require.NoError(t, err)
}

// TestScrape asks as Prometheus does.
func TestScrape(t *testing.T) {
	t.Parallel()
	p := start(t, metrics.Config{})
	p.exercise(t)
	server := httptest.NewServer(promhttp.HandlerFor(p.registry, promhttp.HandlerOpts{}))
	t.Cleanup(server.Close)
	res, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	body, err := io.ReadAll(res.Body)
	require.NoError(t, err)
	require.NoError(t, res.Body.Close())
	for _, want := range []string{
		`mongodb_operations_total{coll="events",op="insert_one"}`, `mongodb_operation_duration_seconds_bucket{coll="events",op="insert_one",le="0.5"}`,
		`mongodb_operation_errors_total{coll="c",kind="`, `mongodb_pool_connections{state="idle"}`, "annals_appends_total{result=\"written\"} 1",
	} {
		require.Contains(t, string(body), want)
	}
	server.Client().CloseIdleConnections()
}

// TestCardinalityIsBounded uses more collections than are told apart.
func TestCardinalityIsBounded(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := metrics.New(registry, metrics.Config{Collections: []string{"orders", "users"}, MaxCollections: 5})
	require.NoError(t, err)
	monitor := m.CommandMonitor(nil)
	id := int64(0)
	command := func(name, coll string) {
		id++
		raw, err := bson.Marshal(bson.D{{Key: name, Value: coll}})
		require.NoError(t, err)
		monitor.Started(t.Context(), &event.CommandStartedEvent{CommandName: name, Command: raw, RequestID: id})
		monitor.Failed(t.Context(), &event.CommandFailedEvent{
			CommandFinishedEvent: event.CommandFinishedEvent{CommandName: name, RequestID: id}, Failure: fmt.Errorf("failure %d", id),
		})
	}
	for i := range 1_000 {
		command("find", fmt.Sprintf("tenant_%d", i))
		command(fmt.Sprintf("command_%d", i), "users")
	}
	command("find", "orders")
	families, err := registry.Gather()
	require.NoError(t, err)
	colls, ops := map[string]bool{}, map[string]bool{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			for _, l := range m.GetLabel() {
				switch l.GetName() {
				case "coll":
					colls[l.GetValue()] = true
				case "op":
					ops[l.GetValue()] = true
				}
			}
		}
	}
	require.Len(t, colls, 6, "five and the rest: %v", colls)
	require.Contains(t, colls, "orders")
	require.Contains(t, colls, "other")
	require.Equal(t, map[string]bool{"find": true, "other": true}, ops)
}

// TestEndsWithoutStart hands in ends of commands whose start was not seen.
func TestEndsWithoutStart(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	m, err := metrics.New(registry, metrics.Config{})
	require.NoError(t, err)
	monitor := m.CommandMonitor(nil)
	monitor.Succeeded(t.Context(), &event.CommandSucceededEvent{})
	monitor.Failed(t.Context(), &event.CommandFailedEvent{Failure: errors.New("x")})
	n, err := testutil.GatherAndCount(registry, "mongodb_operations_total")
	require.NoError(t, err)
	require.Zero(t, n)
}

func TestNativeHistograms(t *testing.T) {
	t.Parallel()
	p := start(t, metrics.Config{NativeHistograms: true})
	p.exercise(t)
	h := p.series(t, "mongodb_operation_duration_seconds", "op", "insert_one", "coll", "events").GetHistogram()
	require.NotEmpty(t, h.GetPositiveSpan(), "native buckets")
	require.NotEmpty(t, h.GetBucket(), "classic buckets")
}

func TestTwiceOnOneRegistryIsAnError(t *testing.T) {
	t.Parallel()
	registry := prometheus.NewRegistry()
	_, err := metrics.New(registry, metrics.Config{})
	require.NoError(t, err)
	_, err = metrics.New(registry, metrics.Config{})
	require.ErrorAs(t, err, new(prometheus.AlreadyRegisteredError))
	require.ErrorContains(t, err, "duplicate")
}
