package query_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/query"
)

var sinkD bson.D

// The five conditions that a list of orders would have.
func BenchmarkFilter(b *testing.B) {
	total, since := int64(12345), time.Now()
	b.Run("built", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d, err := query.And(query.Eq("status", "paid"), query.Gte("total", total), query.Gte("placed_at", since), query.Ne("region", "north"), query.Lt("flags", 7)).Build()
			if err != nil {
				b.Fatal(err)
			}
			sinkD = d
		}
	})
	b.Run("typed", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d, err := query.And(orderStatus.Eq("paid"), orderTotal.Gte(total), orderPlacedAt.Gte(since), orderRegion.Ne("north"), orderTotal.Lt(99999)).Build()
			if err != nil {
				b.Fatal(err)
			}
			sinkD = d
		}
	})
	b.Run("chained", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			d, err := query.Eq("status", "paid").And(query.Gte("total", total), query.Gte("placed_at", since), query.Ne("region", "north"), query.Lt("flags", 7)).Build()
			if err != nil {
				b.Fatal(err)
			}
			sinkD = d
		}
	})
	b.Run("handwritten", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			sinkD = bson.D{
				{Key: "status", Value: "paid"},
				{Key: "total", Value: bson.D{{Key: "$gte", Value: total}}},
				{Key: "placed_at", Value: bson.D{{Key: "$gte", Value: since}}},
				{Key: "region", Value: bson.D{{Key: "$ne", Value: "north"}}},
				{Key: "flags", Value: bson.D{{Key: "$lt", Value: 7}}},
			}
		}
	})
}

func benchOrders(b *testing.B, n int) *query.Collection[Order] {
	b.Helper()
	db := dbForTest(b)
	orders := query.From[Order](db.Collection("orders"))
	docs := make([]Order, n)
	for i := range docs {
		docs[i] = Order{ID: bson.NewObjectID().Hex(), Status: []Status{"paid", "open"}[i%2], Total: int64(i), PlacedAt: start.Add(time.Duration(i) * time.Minute), Region: "north", Tags: []string{"a", "b"}, Customer: Customer{Name: "Ada"}}
	}
	_, err := orders.Bulk().Unordered().Insert(docs...).Run(b.Context())
	require.NoError(b, err)
	_, err = orders.Mongo().Indexes().CreateOne(b.Context(), mongo.IndexModel{Keys: bson.D{{Key: "status", Value: 1}, {Key: "placed_at", Value: -1}, {Key: "_id", Value: -1}}})
	require.NoError(b, err)
	return orders
}

// A page of 50 from the middle of the list, against the same find by hand.
func BenchmarkKeysetPage(b *testing.B) {
	orders := benchOrders(b, 4000)
	cursors := testCursors(b)
	ctx := context.Background()
	at := start.Add(2001 * time.Minute)
	middle := func(find query.Find[Order]) string {
		k := query.Keyset{Cursors: cursors, Size: 1000}
		p, err := find.Keyset(ctx, k)
		require.NoError(b, err)
		return p.Next
	}
	var last Order
	byHand := func(b *testing.B, filter bson.D) {
		for b.Loop() {
			cur, err := orders.Mongo().Find(ctx, filter, options.Find().SetSort(bson.D{{Key: "placed_at", Value: -1}, {Key: "_id", Value: -1}}).SetLimit(51).SetBatchSize(52))
			if err != nil {
				b.Fatal(err)
			}
			var got []Order
			if err := cur.All(ctx, &got); err != nil || len(got) != 51 {
				b.Fatal(err, len(got))
			}
			last = got[49]
		}
	}
	paged := func(b *testing.B, find query.Find[Order]) {
		k := query.Keyset{Cursors: cursors, Size: 50, Cursor: middle(find)}
		b.ResetTimer()
		for b.Loop() {
			p, err := find.Keyset(ctx, k)
			if err != nil || len(p.Items) != 50 {
				b.Fatal(err, len(p.Items))
			}
			last = p.Items[49]
		}
	}
	b.Run("uniform", func(b *testing.B) {
		paged(b, orders.Find(orderStatus.Eq("paid")).Sort(orderPlacedAt.Desc().Uniform(), orderID.Desc().Uniform()))
	})
	b.Run("handwritten", func(b *testing.B) {
		byHand(b, bson.D{{Key: "status", Value: "paid"}, {Key: "$or", Value: bson.A{
			bson.D{{Key: "placed_at", Value: bson.D{{Key: "$lt", Value: at}}}},
			bson.D{{Key: "placed_at", Value: at}, {Key: "_id", Value: bson.D{{Key: "$lt", Value: "zz"}}}},
		}}})
	})
	b.Run("any types", func(b *testing.B) { paged(b, orders.Find(orderStatus.Eq("paid")).Sort(orderPlacedAt.Desc())) })
	b.Run("any types handwritten", func(b *testing.B) {
		// The same predicate as the page's, written by hand.
		byHand(b, bson.D{{Key: "status", Value: "paid"}, {Key: "$or", Value: bson.A{
			bson.D{{Key: "placed_at", Value: bson.D{{Key: "$lt", Value: at}}}},
			bson.D{{Key: "placed_at", Value: nil}},
			bson.D{{Key: "placed_at", Value: bson.D{{Key: "$type", Value: bson.A{"minKey", "undefined", "number", "string", "symbol", "object", "binData", "objectId", "bool"}}}}},
			bson.D{{Key: "placed_at", Value: at}, {Key: "_id", Value: bson.D{{Key: "$lt", Value: "zz"}}}},
			bson.D{{Key: "placed_at", Value: at}, {Key: "_id", Value: nil}},
			bson.D{{Key: "placed_at", Value: at}, {Key: "_id", Value: bson.D{{Key: "$type", Value: bson.A{"minKey", "undefined", "number"}}}}},
		}}})
	})
	_ = last
}

// fastOrder decodes itself.
type fastOrder struct {
	ID    string
	Total int64
}

func (o *fastOrder) UnmarshalBSON(b []byte) error {
	raw := bson.Raw(b)
	o.ID, _ = raw.Lookup("_id").StringValueOK()
	o.Total, _ = raw.Lookup("total").Int64OK()
	return nil
}

// A stream of 4,000 documents, by what they are decoded into.
func BenchmarkStream(b *testing.B) {
	orders := benchOrders(b, 4000)
	coll := orders.Mongo()
	ctx := context.Background()
	b.Run("struct", func(b *testing.B) { benchStream(b, query.From[Order](coll).Find()) })
	b.Run("unmarshaler", func(b *testing.B) { benchStream(b, query.From[fastOrder](coll).Find()) })
	b.Run("raw", func(b *testing.B) { benchStream(b, query.From[bson.Raw](coll).Find()) })
	b.Run("driver struct", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			cur, err := coll.Find(ctx, bson.D{}, options.Find().SetBatchSize(1000))
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for cur.Next(ctx) {
				var o Order
				if err := cur.Decode(&o); err != nil {
					b.Fatal(err)
				}
				n++
			}
			if n != 4000 {
				b.Fatal(n)
			}
		}
	})
}

func benchStream[T any](b *testing.B, find query.Find[T]) {
	b.ReportAllocs()
	for b.Loop() {
		n := 0
		for _, err := range find.BatchSize(1000).Stream(context.Background()) {
			if err != nil {
				b.Fatal(err)
			}
			n++
		}
		if n != 4000 {
			b.Fatal(n)
		}
	}
}
