package readmodel

import (
	"context"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// A summary is a document of a usual size: about 250 bytes.
type summary struct {
	Customer string  `json:"customer" bson:"customer"`
	Status   string  `json:"status" bson:"status"`
	Lines    []int64 `json:"lines" bson:"lines"`
	Total    int64   `json:"total" bson:"total"`
	Events   int64   `json:"events" bson:"events"`
	Note     string  `json:"note" bson:"note"`
}

func newSummary(n int) summary {
	return summary{
		Customer: fmt.Sprintf("customer-%06d", n), Status: "shipped", Lines: []int64{1, 2, 3, int64(n)}, Total: int64(n) * 100,
		Events: int64(n), Note: "leave it with the neighbours if nobody is at home",
	}
}

// BenchmarkStep loads documents and commits them changed, with the checkpoint: what
// a partition does for each batch. The raw work is the same with the driver alone.
func BenchmarkStep(b *testing.B) {
	for _, n := range []int{1, 50, 500} {
		keys := make([]string, n)
		for i := range keys {
			keys[i] = fmt.Sprintf("order-%06d", i)
		}
		b.Run(fmt.Sprintf("backend/documents=%d", n), func(b *testing.B) {
			e, codec := setup(b), eventstore.NewBSONCodec()
			from := projection.Checkpoint{}
			for i := 0; b.Loop(); i++ {
				_, err := e.LoadDocuments(b.Context(), "orders_v1", keys)
				require.NoError(b, err)
				changes := make([]projection.Change, n)
				for j, key := range keys {
					data, err := codec.Marshal(newSummary(i + j))
					require.NoError(b, err)
					changes[j] = projection.Change{Model: "orders_v1", Key: key, Data: data}
				}
				from, err = e.Commit(b.Context(), next(from, changes...))
				require.NoError(b, err)
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "docs/s")
		})
		b.Run(fmt.Sprintf("raw/documents=%d", n), func(b *testing.B) {
			e := setup(b)
			db := e.on.Load().db
			require.NoError(b, db.CreateCollection(b.Context(), "raw"))
			for i := 0; b.Loop(); i++ {
				require.NoError(b, rawStep(b.Context(), e.client, db, keys, i))
			}
			b.ReportMetric(float64(n*b.N)/b.Elapsed().Seconds(), "docs/s")
		})
	}
}

func rawStep(ctx context.Context, client *mongo.Client, db *mongo.Database, keys []string, i int) error {
	coll := db.Collection("raw")
	cur, err := coll.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: keys}}}})
	if err != nil {
		return err
	}
	for cur.Next(ctx) { // loaded, not decoded: nor does the backend
		_ = cur.Current
	}
	if err := cur.Err(); err != nil {
		return err
	}
	models := make([]mongo.WriteModel, len(keys))
	for j, key := range keys {
		models[j] = mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: key}}).SetReplacement(newSummary(i + j)).SetUpsert(true)
	}
	sess, err := client.StartSession()
	if err != nil {
		return err
	}
	defer sess.EndSession(ctx)
	_, err = sess.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		if _, err := coll.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false)); err != nil {
			return nil, err
		}
		return db.Collection("checkpoints").UpdateOne(ctx, bson.D{{Key: "_id", Value: "raw"}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "position", Value: int64(i)}}}}, options.UpdateOne().SetUpsert(true))
	})
	return err
}
