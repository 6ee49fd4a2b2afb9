package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/mongostore"
)

// placed is the event of all workloads.
type placed struct {
	Order    string `bson:"order"`
	Customer string `bson:"customer"`
	SKU      string `bson:"sku"`
	Quantity int    `bson:"quantity"`
	Cents    int64  `bson:"cents"`
}

// rawEvent is what a program without Annals writes and reads.
type rawEvent struct {
	ID        bson.ObjectID `bson:"_id"`
	Stream    string        `bson:"stream_id"`
	Version   int64         `bson:"version"`
	Type      string        `bson:"event_type"`
	Data      placed        `bson:"data"`
	Metadata  rawMetadata   `bson:"metadata"`
	Timestamp time.Time     `bson:"timestamp"`
	EventID   bson.Binary   `bson:"event_id"`
}

type rawMetadata struct {
	Correlation string `bson:"correlation_id"`
	Causation   string `bson:"causation_id"`
}

// A bencher runs workloads.
type bencher struct {
	target   *target
	cfg      benchConfig
	store    *mongostore.Store
	client   *mongo.Client // of the raw side
	raw      *mongo.Collection
	events   *mongo.Collection
	registry *eventstore.Registry
	serial   atomic.Int64
}

func newBencher(ctx context.Context, t *target, cfg benchConfig) (*bencher, error) {
	registry, err := eventstore.NewRegistry(eventstore.NewBSONCodec(), eventstore.Type[placed]("order.placed"))
	if err != nil {
		return nil, err
	}
	b := &bencher{target: t, cfg: cfg, registry: registry}
	if b.store, _, err = t.store(ctx, mongostore.Config{Sequencing: mongostore.Never, Flights: cfg.flights}); err != nil {
		return nil, err
	}
	if b.client, err = t.client(); err != nil {
		return nil, err
	}
	db := b.client.Database(t.database, options.Database().SetWriteConcern(writeconcern.Majority()).SetReadConcern(readconcern.Majority()))
	b.raw, b.events = db.Collection("raw"), db.Collection("events")
	_, err = b.raw.Indexes().CreateOne(ctx, mongo.IndexModel{
		Keys:    bson.D{{Key: "stream_id", Value: 1}, {Key: "version", Value: 1}},
		Options: options.Index().SetUnique(true),
	})
	return b, err
}

func (b *bencher) close() { _ = b.store.Close(context.Background()) }

func (b *bencher) stream() string { return fmt.Sprintf("order-%012d", b.serial.Add(1)) }

func payload(n int) placed {
	return placed{Order: "order-7f3c", Customer: "customer-2291", SKU: "SKU-0042", Quantity: n%7 + 1, Cents: int64(1999 + n)}
}

var metadata = eventstore.Metadata{CorrelationID: "0190c0de-0000-7000-8000-000000000001", CausationID: "0190c0de-0000-7000-8000-000000000002"}

func (b *bencher) encode(n int) ([]eventstore.EventData, error) {
	values := make([]any, n)
	for i := range values {
		values[i] = payload(i)
	}
	events, err := b.registry.Encode(values...)
	for i := range events {
		events[i].Metadata = metadata
	}
	return events, err
}

func rawEvents(stream string, n int) []rawEvent {
	docs := make([]rawEvent, n)
	for i := range docs {
		id := eventstore.NewEventID()
		docs[i] = rawEvent{
			ID: bson.NewObjectID(), Stream: stream, Version: int64(i + 1), Type: "order.placed", Data: payload(i),
			Metadata:  rawMetadata{Correlation: metadata.CorrelationID, Causation: metadata.CausationID},
			Timestamp: time.Now(), EventID: bson.Binary{Subtype: 4, Data: id[:]},
		}
	}
	return docs
}

// shortestTurn is long enough for many appends and, in it, little else happens in
// the machine.
const shortestTurn = 50 * time.Millisecond

// compare lets the two sides take short turns, so that what else goes on in the
// machine meets both, now the one first and now the other.
func (b *bencher) compare(ctx context.Context, workers int, annals, raw func(context.Context, int) (int, error)) (a, r *meter, err error) {
	a, r = newMeter(), newMeter()
	whole := time.Duration(b.cfg.seconds * float64(time.Second))
	slice := max(whole/time.Duration(b.cfg.rounds), min(whole, shortestTurn))
	for _, op := range []func(context.Context, int) (int, error){annals, raw} {
		if err := newMeter().turn(ctx, workers, min(slice, 300*time.Millisecond), op); err != nil {
			return nil, nil, err
		}
	}
	done := func(m *meter) bool { return m.time >= whole && m.ops > 0 }
	for annalsFirst := true; !done(a) || !done(r); annalsFirst = !annalsFirst {
		for _, isAnnals := range []bool{annalsFirst, !annalsFirst} {
			m, op := r, raw
			if isAnnals {
				m, op = a, annals
			}
			if err := m.turn(ctx, workers, slice, op); err != nil {
				return nil, nil, err
			}
			if m.ops == 0 {
				slice *= 2 // nothing ends within a turn that is shorter than it takes
			}
		}
	}
	return a, r, nil
}

func appendFigures(m *meter) figures {
	f := m.figures()
	f.AppendsPerSec = float64(m.ops) / m.time.Seconds()
	return f
}

func (b *bencher) appendAnnals(n int) func(context.Context, int) (int, error) {
	return func(ctx context.Context, _ int) (int, error) {
		events, err := b.encode(n)
		if err != nil {
			return 0, err
		}
		_, err = eventstore.Append(ctx, b.store, eventstore.StreamID(b.stream()), eventstore.NoStream, events...)
		return n, err
	}
}

// appends compares single events with insertOne.
func (b *bencher) appends(ctx context.Context) ([]result, error) {
	var results []result
	for _, writers := range b.cfg.writers {
		a, r, err := b.compare(ctx, writers, b.appendAnnals(1), func(ctx context.Context, _ int) (int, error) {
			_, err := b.raw.InsertOne(ctx, rawEvents(b.stream(), 1)[0])
			return 1, err
		})
		if err != nil {
			return nil, err
		}
		results = append(results, appendResult("append", 1, writers, a, r))
	}
	return results, nil
}

// transactions compares appends with a transaction each.
func (b *bencher) transactions(ctx context.Context) ([]result, error) {
	var results []result
	for _, n := range b.cfg.events {
		for _, writers := range b.cfg.writers {
			a, r, err := b.compare(ctx, writers, b.appendAnnals(n), func(ctx context.Context, _ int) (int, error) {
				sess, err := b.client.StartSession()
				if err != nil {
					return 0, err
				}
				defer sess.EndSession(ctx)
				_, err = sess.WithTransaction(ctx, func(ctx context.Context) (any, error) {
					return b.raw.InsertMany(ctx, rawEvents(b.stream(), n))
				}, options.Transaction().SetWriteConcern(writeconcern.Majority()).SetReadConcern(readconcern.Snapshot()))
				return n, err
			})
			if err != nil {
				return nil, err
			}
			results = append(results, appendResult("append_txn", n, writers, a, r))
		}
	}
	return results, nil
}

func appendResult(workload string, events, writers int, a, r *meter) result {
	res := result{Workload: workload, Events: events, Writers: writers, Annals: appendFigures(a), Raw: appendFigures(r)}
	res.Ratio = res.Annals.AppendsPerSec / res.Raw.AppendsPerSec
	return res
}

func loadFigures(m *meter) figures {
	f := m.figures()
	f.LoadsPerSec = float64(m.ops) / m.time.Seconds()
	return f
}

// loads reads one stream over and over, by one reader, decoded into Go types.
func (b *bencher) loads(ctx context.Context) ([]result, error) {
	var results []result
	for _, n := range []int{100, 1_000} {
		stream := b.stream()
		for done := 0; done < n; done += 100 {
			events, err := b.encode(100)
			if err != nil {
				return nil, err
			}
			if _, err := eventstore.Append(ctx, b.store, eventstore.StreamID(stream), eventstore.Exact(eventstore.Version(done)), events...); err != nil {
				return nil, err
			}
		}
		find := func(ctx context.Context) (*mongo.Cursor, error) {
			return b.events.Find(ctx, bson.D{{Key: "stream_id", Value: stream}},
				options.Find().SetSort(bson.D{{Key: "version", Value: 1}}).SetBatchSize(int32(n+1)))
		}
		a, r, err := b.compare(ctx, 1,
			func(ctx context.Context, _ int) (int, error) {
				got := 0
				for e, err := range b.store.ReadStream(ctx, eventstore.StreamID(stream), eventstore.StreamQuery{}) {
					if err != nil {
						return 0, err
					}
					if _, err := b.registry.Decode(e); err != nil {
						return 0, err
					}
					got++
				}
				return got, wrong(got, n)
			},
			func(ctx context.Context, _ int) (int, error) {
				cur, err := find(ctx)
				if err != nil {
					return 0, err
				}
				var docs []rawEvent
				err = cur.All(ctx, &docs)
				if err == nil {
					err = wrong(len(docs), n)
				}
				return len(docs), err
			})
		if err != nil {
			return nil, err
		}
		c := newMeter()
		err = c.turn(ctx, 1, time.Duration(b.cfg.seconds*float64(time.Second)/float64(b.cfg.rounds)), func(ctx context.Context, _ int) (int, error) {
			return drain(ctx, find)
		})
		if err != nil {
			return nil, err
		}
		res := result{Workload: "load", Events: n, Writers: 1, Annals: loadFigures(a), Raw: loadFigures(r)}
		res.Ratio = res.Annals.EventsPerSec / res.Raw.EventsPerSec
		cursor := loadFigures(c)
		res.Cursor = &cursor
		results = append(results, res)
	}
	return results, nil
}

func wrong(got, want int) error {
	if got != want {
		return fmt.Errorf("read %d events of %d", got, want)
	}
	return nil
}

func drain(ctx context.Context, find func(context.Context) (*mongo.Cursor, error)) (int, error) {
	cur, err := find(ctx)
	if err != nil {
		return 0, err
	}
	n := 0
	for cur.Next(ctx) {
		n++
	}
	return n, cur.Err()
}

// deliveries measures the time from acknowledged append to delivery, against a
// change stream: to a subscriber in the process that writes the log, and to one in a
// third process, which sees the log by watching it. Both run at the same time.
func (b *bencher) deliveries(ctx context.Context) ([]result, error) {
	sequencer, _, err := b.target.store(ctx, mongostore.Config{Sequencing: mongostore.Always})
	if err != nil {
		return nil, err
	}
	defer func() { _ = sequencer.Close(context.Background()) }() //nolint:contextcheck // also after an interrupt
	watcher, _, err := b.target.store(ctx, mongostore.Config{Sequencing: mongostore.Never})
	if err != nil {
		return nil, err
	}
	defer func() { _ = watcher.Close(context.Background()) }() //nolint:contextcheck // also after an interrupt
	var results []result
	for _, writers := range b.cfg.writers {
		sides, err := b.deliverAnnals(ctx, writers, sequencer, watcher)
		if err != nil {
			return nil, err
		}
		raw, err := b.deliverRaw(ctx, writers)
		if err != nil {
			return nil, err
		}
		for i, workload := range []string{"deliver", "deliver_watch"} {
			res := result{Workload: workload, Events: 1, Writers: writers, Annals: appendFigures(sides[i]), Raw: appendFigures(raw)}
			res.Ratio = res.Raw.P50 / res.Annals.P50
			results = append(results, res)
		}
	}
	return results, nil
}

// followed compares single appends with insertOne while what is written is
// delivered at once: to a subscriber of the log in another process, which is written
// there, and to a change stream.
func (b *bencher) followed(ctx context.Context) ([]result, error) {
	sequencer, _, err := b.target.store(ctx, mongostore.Config{Sequencing: mongostore.Always})
	if err != nil {
		return nil, err
	}
	defer func() { _ = sequencer.Close(context.Background()) }() //nolint:contextcheck // also after an interrupt
	run, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer func() { cancel(); reading.Wait() }()
	head, err := b.caughtUp(ctx, sequencer)
	if err != nil {
		return nil, err
	}
	reading.Go(func() {
		for _, err := range eventstore.Subscribe(run, sequencer, eventstore.LogQuery{After: head}) {
			if err != nil {
				return
			}
		}
	})
	if err := b.watchRaw(run, &reading, func([16]byte) {}); err != nil {
		return nil, err
	}
	results, err := b.appends(ctx)
	for i := range results {
		results[i].Workload = "append_followed"
	}
	return results, err
}

// caughtUp appends an event and waits until the log has it.
func (b *bencher) caughtUp(ctx context.Context, s *mongostore.Store) (eventstore.Position, error) {
	events, err := b.encode(1)
	if err != nil {
		return 0, err
	}
	res, err := eventstore.Append(ctx, b.store, eventstore.StreamID(b.stream()), eventstore.NoStream, events...)
	if err != nil {
		return 0, err
	}
	return s.Await(ctx, res.Token)
}

// A courier matches acknowledgements with deliveries, whichever comes first.
type courier struct {
	mu    sync.Mutex
	acked map[[16]byte]time.Time
	early map[[16]byte]time.Time
	meter *meter
}

func newCourier() *courier {
	return &courier{acked: map[[16]byte]time.Time{}, early: map[[16]byte]time.Time{}, meter: newMeter()}
}

func (c *courier) acknowledge(id [16]byte) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := c.early[id]; ok {
		delete(c.early, id)
		_ = c.meter.hist.RecordValue(1)
		return
	}
	c.acked[id] = now
}

func (c *courier) deliver(id [16]byte) {
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	if at, ok := c.acked[id]; ok {
		delete(c.acked, id)
		_ = c.meter.hist.RecordValue(max(1, now.Sub(at).Microseconds()))
		return
	}
	c.early[id] = now
}

func (c *courier) open() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.acked)
}

// idlePause keeps a single writer from loading the system: its deliveries are
// those of an idle one.
const idlePause = 3 * time.Millisecond

// deliverAnnals measures delivery to a subscriber of each store.
func (b *bencher) deliverAnnals(ctx context.Context, writers int, stores ...*mongostore.Store) ([]*meter, error) {
	run, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer func() { cancel(); reading.Wait() }()
	couriers := make([]*courier, len(stores))
	for i, s := range stores {
		head, err := b.caughtUp(ctx, s)
		if err != nil {
			return nil, err
		}
		couriers[i] = newCourier()
		reading.Go(func() {
			for e, err := range eventstore.Subscribe(run, s, eventstore.LogQuery{After: head}) {
				if err != nil {
					return
				}
				couriers[i].deliver(e.ID)
			}
		})
	}
	return b.ship(ctx, couriers, writers, func(ctx context.Context) ([16]byte, error) {
		events, err := b.encode(1)
		if err != nil {
			return [16]byte{}, err
		}
		events[0].ID = eventstore.NewEventID()
		_, err = eventstore.Append(ctx, b.store, eventstore.StreamID(b.stream()), eventstore.NoStream, events...)
		return events[0].ID, err
	})
}

func (b *bencher) deliverRaw(ctx context.Context, writers int) (*meter, error) {
	run, cancel := context.WithCancel(ctx)
	var reading sync.WaitGroup
	defer func() { cancel(); reading.Wait() }()
	c := newCourier()
	if err := b.watchRaw(run, &reading, c.deliver); err != nil {
		return nil, err
	}
	meters, err := b.ship(ctx, []*courier{c}, writers, func(ctx context.Context) ([16]byte, error) {
		doc := rawEvents(b.stream(), 1)[0]
		_, err := b.raw.InsertOne(ctx, doc)
		return [16]byte(doc.EventID.Data), err
	})
	if err != nil {
		return nil, err
	}
	return meters[0], nil
}

// watchRaw reads a change stream of what the raw side writes, with a client of its
// own, until ctx ends.
func (b *bencher) watchRaw(ctx context.Context, reading *sync.WaitGroup, deliver func([16]byte)) error {
	client, err := b.target.client()
	if err != nil {
		return err
	}
	cs, err := client.Database(b.target.database).Collection("raw").Watch(ctx, mongo.Pipeline{})
	if err != nil {
		return err
	}
	reading.Go(func() {
		for cs.Next(ctx) {
			var change struct {
				Document rawEvent `bson:"fullDocument"`
			}
			if cs.Decode(&change) == nil && len(change.Document.EventID.Data) == 16 {
				deliver([16]byte(change.Document.EventID.Data))
			}
		}
	})
	return nil
}

// ship lets writers write until the time is over and waits for the last delivery
// by every courier. Each gets a meter with the latencies of its own.
func (b *bencher) ship(ctx context.Context, couriers []*courier, writers int, write func(context.Context) ([16]byte, error)) ([]*meter, error) {
	m := newMeter()
	err := m.turn(ctx, writers, time.Duration(b.cfg.seconds*float64(time.Second)), func(ctx context.Context, _ int) (int, error) {
		if writers == 1 {
			time.Sleep(idlePause)
		}
		id, err := write(ctx)
		if err != nil {
			return 0, err
		}
		for _, c := range couriers {
			c.acknowledge(id)
		}
		return 1, nil
	})
	meters := make([]*meter, len(couriers))
	for i, c := range couriers {
		for deadline := time.Now().Add(20 * time.Second); err == nil && c.open() > 0; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				err = fmt.Errorf("%d events were not delivered", c.open())
			}
		}
		own := *m
		own.hist = c.meter.hist
		meters[i] = &own
	}
	return meters, err
}

// readLog reads everything that was written so far.
func (b *bencher) readLog(ctx context.Context) ([]result, error) {
	s, _, err := b.target.store(ctx, mongostore.Config{})
	if err != nil {
		return nil, err
	}
	defer func() { _ = s.Close(context.Background()) }() //nolint:contextcheck // also after an interrupt
	for b.serial.Load() < 20_000 {                       // when it is run alone
		if _, err := b.appendAnnals(100)(ctx, 0); err != nil {
			return nil, err
		}
		b.serial.Add(99)
	}
	head, err := b.caughtUp(ctx, s)
	if err != nil {
		return nil, err
	}
	n := min(int(head), 200_000)
	find := func(ctx context.Context) (*mongo.Cursor, error) {
		return b.events.Find(ctx, bson.D{}, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetLimit(int64(n)))
	}
	a, r, err := b.compare(ctx, 1,
		func(ctx context.Context, _ int) (int, error) {
			got := 0
			for e, err := range s.ReadLog(ctx, eventstore.LogQuery{Limit: n}) {
				if err != nil {
					return 0, err
				}
				if _, err := b.registry.Decode(e); err != nil {
					return 0, err
				}
				got++
			}
			return got, wrong(got, n)
		},
		func(ctx context.Context, _ int) (int, error) {
			cur, err := find(ctx)
			if err != nil {
				return 0, err
			}
			got := 0
			for cur.Next(ctx) {
				var doc rawEvent
				if err := cur.Decode(&doc); err != nil {
					return 0, err
				}
				got++
			}
			return got, cur.Err()
		})
	if err != nil {
		return nil, err
	}
	c := newMeter()
	if err := c.turn(ctx, 1, time.Second, func(ctx context.Context, _ int) (int, error) { return drain(ctx, find) }); err != nil {
		return nil, err
	}
	res := result{Workload: "readlog", Events: n, Writers: 1, Annals: loadFigures(a), Raw: loadFigures(r)}
	res.Ratio = res.Annals.EventsPerSec / res.Raw.EventsPerSec
	cursor := loadFigures(c)
	res.Cursor = &cursor
	return []result{res}, nil
}
