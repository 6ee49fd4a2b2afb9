package metrics

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/event"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver"

	"github.com/annals-es/annals/mongostore"
)

// CommandMonitor returns a monitor for client.Config that measures operations,
// and hands everything on to next, which may be nil.
func (m *Metrics) CommandMonitor(next *event.CommandMonitor) *event.CommandMonitor {
	if next == nil {
		next = &event.CommandMonitor{}
	}
	return &event.CommandMonitor{
		Started: func(ctx context.Context, e *event.CommandStartedEvent) {
			m.started(e)
			if next.Started != nil {
				next.Started(ctx, e)
			}
		},
		Succeeded: func(ctx context.Context, e *event.CommandSucceededEvent) {
			m.succeeded(e)
			if next.Succeeded != nil {
				next.Succeeded(ctx, e)
			}
		},
		Failed: func(ctx context.Context, e *event.CommandFailedEvent) {
			m.failed(e)
			if next.Failed != nil {
				next.Failed(ctx, e)
			}
		},
	}
}

func (m *Metrics) started(e *event.CommandStartedEvent) {
	f := flight{series: m.seriesOf(operation(e.CommandName, e.Command), m.names.collection(target(e.CommandName, e.Command)))}
	switch e.CommandName {
	case "aggregate":
		_, err := e.Command.LookupErr("pipeline", "0", "$changeStream")
		f.stream = err == nil
	case "getMore":
		f.cursor, _ = e.Command.Lookup("getMore").Int64OK()
	}
	m.flying.put(key{e.ConnectionID, e.RequestID}, f)
}

func (m *Metrics) succeeded(e *event.CommandSucceededEvent) {
	f, ok := m.flying.take(key{e.ConnectionID, e.RequestID})
	if !ok {
		return
	}
	m.ended(f, e.Duration)
	if writeFailed(e.Reply) {
		m.failures.WithLabelValues(f.series.op, f.series.coll, writeKind(e.Reply)).Inc()
	}
	if f.stream || (f.cursor != 0 && m.streams.is(f.cursor)) {
		m.changes(f, e.Reply)
	}
}

func (m *Metrics) failed(e *event.CommandFailedEvent) {
	f, ok := m.flying.take(key{e.ConnectionID, e.RequestID})
	if !ok {
		return
	}
	m.ended(f, e.Duration)
	m.failures.WithLabelValues(f.series.op, f.series.coll, kindOf(e.Failure)).Inc()
	m.streams.remove(f.cursor)
}

func (m *Metrics) ended(f flight, d time.Duration) {
	f.series.operations.Inc()
	if f.cursor == 0 || !m.streams.is(f.cursor) { // which waits on purpose
		f.series.durations().Observe(d.Seconds())
	}
}

// A series holds the metrics of an operation on a collection, so that the vectors
// need not be asked for each command.
type series struct {
	seriesKey
	operations prometheus.Counter
	durations  func() prometheus.Observer // made when there is a duration
}

type seriesKey struct{ op, coll string }

// A seriesMap finds series without a lock. It is replaced when one is added: their
// number is bounded.
type seriesMap struct {
	known atomic.Pointer[map[seriesKey]*series]
	mu    sync.Mutex
}

func (m *Metrics) seriesOf(op, coll string) *series {
	k := seriesKey{op, coll}
	if known := m.series.known.Load(); known != nil {
		if s, ok := (*known)[k]; ok {
			return s
		}
	}
	return m.addSeries(k)
}

func (m *Metrics) addSeries(k seriesKey) *series {
	m.series.mu.Lock()
	defer m.series.mu.Unlock()
	known := map[seriesKey]*series{}
	if old := m.series.known.Load(); old != nil {
		if s, ok := (*old)[k]; ok {
			return s
		}
		maps.Copy(known, *old)
	}
	s := &series{
		seriesKey:  k,
		operations: m.operations.WithLabelValues(k.op, k.coll),
		durations:  sync.OnceValue(func() prometheus.Observer { return m.durations.WithLabelValues(k.op, k.coll) }),
	}
	known[k] = s
	m.series.known.Store(&known)
	return s
}

// changes counts the events in a change stream's reply.
func (m *Metrics) changes(f flight, reply bson.Raw) {
	cursor, _ := reply.Lookup("cursor").DocumentOK()
	id, _ := cursor.Lookup("id").Int64OK()
	batch := "nextBatch"
	if f.stream {
		batch = "firstBatch"
		m.streams.add(id)
	}
	if id == 0 {
		m.streams.remove(f.cursor)
	}
	if n := length(cursor.Lookup(batch)); n > 0 {
		m.changeEvents.WithLabelValues(f.series.coll).Add(float64(n))
	}
}

// length counts the elements of an array.
func length(v bson.RawValue) (n int) {
	array, ok := v.ArrayOK()
	if !ok {
		return 0
	}
	values, err := array.Values()
	if err != nil {
		return 0
	}
	return len(values)
}

// writeFailed reports whether a reply that counts as a success holds a failed
// write.
func writeFailed(reply bson.Raw) bool {
	failed := false
	eachField(reply, func(name []byte, _ bsoncore.Value) bool {
		failed = string(name) == "writeErrors" || string(name) == "writeConcernError"
		return !failed
	})
	return failed
}

// eachField calls fn for the fields of a document until it returns false. Every
// command passes here: looking fields up one by one would go through the document for
// each, and make an error for what is not there.
func eachField(doc []byte, fn func(name []byte, v bsoncore.Value) bool) {
	if len(doc) < 5 {
		return
	}
	for rest := doc[4 : len(doc)-1]; len(rest) > 0; {
		el, after, ok := bsoncore.ReadElement(rest)
		if !ok {
			return
		}
		name, err := el.KeyBytesErr()
		if err != nil {
			return
		}
		v, err := el.ValueErr()
		if err != nil || !fn(name, v) {
			return
		}
		rest = after
	}
}

// writeKind names why a write in a reply failed.
func writeKind(reply bson.Raw) string {
	code, _ := reply.Lookup("writeErrors", "0", "code").AsInt64OK()
	switch code {
	case 11000:
		return mongostore.ErrDuplicateKey.Label()
	case 0:
		return mongostore.ErrWriteConcern.Label()
	}
	return mongostore.ErrWrite.Label()
}

// kindOf names the kind of an error. Monitors are handed the driver's inner errors,
// not yet those of package mongo that are classified.
func kindOf(err error) string {
	if inner, ok := errors.AsType[driver.Error](err); ok {
		err = mongo.CommandError{Code: inner.Code, Message: inner.Message, Labels: inner.Labels, Name: inner.Name, Wrapped: inner.Wrapped}
	}
	if e, ok := mongostore.Classify("", err).(*mongostore.Error); ok { //nolint:errorlint // Classify returns it bare
		return e.Kind.Label()
	}
	return "other"
}

// A key tells commands under way apart.
type key struct {
	connection string
	request    int64
}

// A flight is a command under way.
type flight struct {
	series *series
	stream bool  // it opens a change stream
	cursor int64 // it reads on from this cursor
}

// flying holds the commands under way, in parts so that many connections do not
// wait for each other.
type flying struct {
	parts [16]struct {
		mu sync.Mutex
		m  map[key]flight
	}
}

func (f *flying) put(k key, v flight) {
	p := &f.parts[k.request&15]
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.m == nil {
		p.m = map[key]flight{}
	}
	p.m[k] = v
}

func (f *flying) take(k key) (flight, bool) {
	p := &f.parts[k.request&15]
	p.mu.Lock()
	defer p.mu.Unlock()
	v, ok := p.m[k]
	delete(p.m, k)
	return v, ok
}

// streams holds the cursors of change streams. A stream whose cursor is not
// closed by the server leaves its id behind, so their number is bounded.
type streams struct {
	mu  sync.Mutex
	ids map[int64]struct{}
}

const maxStreams = 1_000

func (s *streams) add(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ids == nil || len(s.ids) >= maxStreams {
		s.ids = map[int64]struct{}{}
	}
	s.ids[id] = struct{}{}
}

func (s *streams) is(id int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.ids[id]
	return ok
}

func (s *streams) remove(id int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.ids, id)
}
