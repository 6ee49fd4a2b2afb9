package mongosim_test

import (
	"context"
	"os"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/annals-es/annals/simstore/mongosim"
)

// benchTargets runs a benchmark against the simulation, in memory and over TCP, and against
// the server at MONGODB_URI where that is set.
func benchTargets(b *testing.B, run func(b *testing.B, db *mongo.Database)) {
	name := "bench_" + bson.NewObjectID().Hex()
	b.Run("sim", func(b *testing.B) { run(b, mongosim.Start(b).Client(b).Database(name)) })
	b.Run("sim-tcp", func(b *testing.B) {
		s := mongosim.Start(b)
		if _, err := s.Listen("127.0.0.1:0"); err != nil {
			b.Fatal(err)
		}
		run(b, connect(b, s.URI()).Database(name))
	})
	if uri := os.Getenv("MONGODB_URI"); uri != "" {
		b.Run("real", func(b *testing.B) {
			db := connect(b, uri).Database(name, options.Database().SetWriteConcern(writeconcern.Majority()))
			b.Cleanup(func() { _ = db.Drop(context.Background()) })
			run(b, db)
		})
	}
}

func connect(b *testing.B, uri string) *mongo.Client {
	b.Helper()
	c, err := mongo.Connect(options.Client().ApplyURI(uri))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Disconnect(context.Background()) })
	return c
}

// event is about what an event store inserts.
func event(i int) bson.D {
	return bson.D{
		{Key: "stream_id", Value: "order-7f3c"},
		{Key: "version", Value: int64(i)},
		{Key: "event_type", Value: "OrderPlaced"},
		{Key: "data", Value: bson.D{{Key: "customer", Value: "c-42"}, {Key: "total", Value: int64(1999)}, {Key: "lines", Value: bson.A{"a", "b", "c"}}}},
		{Key: "timestamp", Value: bson.DateTime(1_700_000_000_000)},
	}
}

// parallel runs b.N calls of f on so many goroutines and reports calls per second.
func parallel(b *testing.B, workers int, f func(ctx context.Context, i int) error) {
	b.Helper()
	var wg sync.WaitGroup
	next := make(chan int, 1024)
	errs := make(chan error, workers)
	b.ResetTimer()
	for range workers {
		wg.Go(func() {
			for i := range next {
				if err := f(context.Background(), i); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	for i := range b.N {
		select {
		case next <- i:
		case err := <-errs:
			b.Fatal(err)
		}
	}
	close(next)
	wg.Wait()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "op/s")
}

func BenchmarkInsertOne16(b *testing.B) {
	benchTargets(b, func(b *testing.B, db *mongo.Database) {
		coll := db.Collection("events")
		mustIndex(b, coll)
		parallel(b, 16, func(ctx context.Context, i int) error {
			_, err := coll.InsertOne(ctx, event(i))
			return err
		})
	})
}

func mustIndex(b *testing.B, coll *mongo.Collection) {
	b.Helper()
	_, err := coll.Indexes().CreateOne(b.Context(), mongo.IndexModel{
		Keys: bson.D{{Key: "stream_id", Value: 1}, {Key: "version", Value: 1}}, Options: options.Index().SetUnique(true),
	})
	if err != nil {
		b.Fatal(err)
	}
}

func fill(b *testing.B, coll *mongo.Collection, n int) {
	b.Helper()
	for at := 0; at < n; at += 1000 {
		var docs []any
		for i := at; i < min(at+1000, n); i++ {
			docs = append(docs, event(i))
		}
		if _, err := coll.InsertMany(b.Context(), docs); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkFind10k(b *testing.B) {
	const n = 10_000
	benchTargets(b, func(b *testing.B, db *mongo.Database) {
		coll := db.Collection("events")
		fill(b, coll, n)
		docs := 0
		for b.Loop() {
			cur, err := coll.Find(b.Context(), bson.D{})
			if err != nil {
				b.Fatal(err)
			}
			for cur.Next(b.Context()) {
				docs++
			}
			if cur.Err() != nil {
				b.Fatal(cur.Err())
			}
		}
		b.ReportMetric(float64(docs)/b.Elapsed().Seconds(), "docs/s")
	})
}

func BenchmarkFindByUniqueKeyIn100k(b *testing.B) {
	const n = 100_000
	benchTargets(b, func(b *testing.B, db *mongo.Database) {
		coll := db.Collection("events")
		mustIndex(b, coll)
		fill(b, coll, n)
		i := 0
		for b.Loop() {
			i = (i + 7919) % n
			if err := coll.FindOne(b.Context(), bson.D{{Key: "stream_id", Value: "order-7f3c"}, {Key: "version", Value: int64(i)}}).Err(); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkTransaction16(b *testing.B) {
	benchTargets(b, func(b *testing.B, db *mongo.Database) {
		coll := db.Collection("events")
		mustIndex(b, coll)
		parallel(b, 16, func(ctx context.Context, i int) error {
			s, err := db.Client().StartSession()
			if err != nil {
				return err
			}
			defer s.EndSession(ctx)
			_, err = s.WithTransaction(ctx, func(ctx context.Context) (any, error) {
				return coll.InsertMany(ctx, []any{event(3 * i), event(3*i + 1), event(3*i + 2)})
			})
			return err
		})
	})
}

// BenchmarkChangeStream reads events that are there already: the rate at which a stream catches up.
func BenchmarkChangeStream(b *testing.B) {
	const n = 20_000
	benchTargets(b, func(b *testing.B, db *mongo.Database) {
		coll := db.Collection("events")
		fill(b, coll, 1)
		cs, err := coll.Watch(b.Context(), mongo.Pipeline{})
		if err != nil {
			b.Fatal(err)
		}
		token := cs.ResumeToken()
		_ = cs.Close(b.Context())
		for at := 1; at <= n; at += 1000 {
			var docs []any
			for i := range 1000 {
				docs = append(docs, event(at+i))
			}
			if _, err := coll.InsertMany(b.Context(), docs); err != nil {
				b.Fatal(err)
			}
		}
		events := 0
		for b.Loop() {
			cs, err := coll.Watch(b.Context(), mongo.Pipeline{}, options.ChangeStream().SetResumeAfter(token).SetBatchSize(5000))
			if err != nil {
				b.Fatal(err)
			}
			for range n {
				if !cs.Next(b.Context()) {
					b.Fatal(cs.Err())
				}
				events++
			}
			_ = cs.Close(b.Context())
		}
		b.ReportMetric(float64(events)/b.Elapsed().Seconds(), "events/s")
	})
}

// BenchmarkChangeStreamWakeUp measures from the start of an insert until a waiting change stream has its
// event.
func BenchmarkChangeStreamWakeUp(b *testing.B) {
	benchTargets(b, func(b *testing.B, db *mongo.Database) {
		coll := db.Collection("events")
		fill(b, coll, 1)
		cs, err := coll.Watch(b.Context(), mongo.Pipeline{})
		if err != nil {
			b.Fatal(err)
		}
		ctx, stop := context.WithCancel(b.Context())
		got := make(chan time.Time, 1)
		go func() {
			defer close(got)
			for cs.Next(ctx) {
				got <- time.Now()
			}
		}()
		defer func() {
			stop()
			for range got {
			}
			_ = cs.Close(context.Background())
		}()
		var total time.Duration
		for i := range b.N {
			time.Sleep(time.Millisecond) // lets the getMore wait
			start := time.Now()
			if _, err := coll.InsertOne(b.Context(), event(i+1)); err != nil {
				b.Fatal(err)
			}
			total += (<-got).Sub(start)
		}
		b.ReportMetric(float64(total.Microseconds())/float64(b.N), "µs/event")
	})
}
