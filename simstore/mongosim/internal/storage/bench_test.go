package storage

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// stored is an event as the event store writes it.
func stored(n int64) bson.Raw {
	o := value.NewObject(256)
	var oid bson.ObjectID
	for i := range 8 {
		oid[i+4] = byte(n >> (56 - 8*i))
	}
	o.Add("_id", value.ObjectID(oid))
	o.Add("stream_id", value.String(fmt.Sprintf("order-%08d", n/10)))
	o.Add("version", value.Int64(n%10+1))
	o.Add("event_type", value.String("order.placed"))
	data := value.NewObject(64)
	data.Add("customer", value.String("somebody"))
	data.Add("total", value.Int32(4711))
	o.Add("data", data.Value())
	return o.Doc()
}

func events(b *testing.B, n int) (*Engine, *Collection) {
	e := open(b)
	c := collection(b, e)
	index1(b, c, `{"key":{"stream_id":1,"version":1},"name":"stream_version","unique":true}`)
	batch := make([]bson.Raw, 0, 1000)
	for i := range n {
		batch = append(batch, stored(int64(i)))
		if len(batch) == cap(batch) || i == n-1 {
			res, err := e.InsertMany(context.Background(), Write{}, ns, batch, true)
			require.NoError(b, err)
			require.Equal(b, len(batch), res.N)
			batch = batch[:0]
		}
	}
	return e, c
}

func BenchmarkInsertOne(b *testing.B) {
	_, c := events(b, 0)
	var n atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, err := c.Insert(context.Background(), Write{}, stored(n.Add(1))); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkInsertMany100(b *testing.B) {
	e, _ := events(b, 0)
	batch := make([]bson.Raw, 100)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		if n%100 == 0 {
			b.StopTimer()
			for i := range batch {
				batch[i] = stored(int64(n + i))
			}
			b.StartTimer()
			if _, err := e.InsertMany(context.Background(), Write{}, ns, batch, true); err != nil {
				b.Fatal(err)
			}
		}
		n++
	}
}

func parse(b *testing.B, spec bson.Raw) *match.Filter {
	f, err := match.Parse(spec, &expr.Env{})
	require.NoError(b, err)
	return f
}

func BenchmarkFindOneOfAMillion(b *testing.B) {
	_, c := events(b, 1_000_000)
	b.Run("by unique key", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			n := rand.Int64N(1_000_000)
			spec := value.NewObject(64)
			spec.Add("stream_id", value.String(fmt.Sprintf("order-%08d", n/10)))
			spec.Add("version", value.Int64(n%10+1))
			cur, err := c.Find(context.Background(), View{}, Query{Filter: parse(b, spec.Doc()), Limit: 1})
			if err != nil {
				b.Fatal(err)
			}
			if _, ok, err := cur.Next(context.Background()); !ok || err != nil {
				b.Fatal(ok, err)
			}
		}
	})
	b.Run("by _id", func(b *testing.B) {
		for b.Loop() {
			doc, _ := c.FindByID(View{}, stored(rand.Int64N(1_000_000)).Lookup("_id"))
			if doc == nil {
				b.Fatal()
			}
		}
	})
	b.Run("range scan per document", func(b *testing.B) {
		spec := value.NewObject(64)
		op := value.NewObject(32)
		op.Add("$gte", value.String("order-0000"))
		spec.Add("stream_id", op.Value())
		f := parse(b, spec.Doc())
		var cur *Cursor
		for b.Loop() {
			if cur != nil {
				if _, ok, err := cur.Next(context.Background()); err != nil {
					b.Fatal(err)
				} else if ok {
					continue
				}
			}
			var err error
			if cur, err = c.Find(context.Background(), View{}, Query{Filter: f}); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("collection scan per document", func(b *testing.B) {
		var cur *Cursor
		for b.Loop() {
			if cur != nil {
				if _, ok, err := cur.Next(context.Background()); err != nil {
					b.Fatal(err)
				} else if ok {
					continue
				}
			}
			var err error
			if cur, err = c.Find(context.Background(), View{}, Query{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkModify(b *testing.B) {
	_, c := events(b, 10_000)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			id := RecordID(rand.Int64N(10_000) + 1)
			_, err := c.Modify(context.Background(), Write{}, id, func(cur bson.Raw) (Change, error) {
				return Change{Doc: value.With(cur, "n", value.Int64(1))}, nil
			})
			if err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func BenchmarkTransactionOf3Inserts(b *testing.B) {
	e, c := events(b, 0)
	var n atomic.Int64
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			tx, err := e.Begin(TxnOptions{})
			if err != nil {
				b.Error(err)
				return
			}
			for range 3 {
				if _, err := c.Insert(context.Background(), Write{Txn: tx}, stored(n.Add(1))); err != nil {
					b.Error(err)
				}
			}
			if _, err := tx.Commit(context.Background()); err != nil {
				b.Error(err)
			}
		}
	})
}
