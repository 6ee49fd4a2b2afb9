package readmodel

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// A turn is one of several ways to do the same.
type turn struct {
	name string
	once func(i int) error
}

// takeTurns measures ways that take turns, so that whatever else the machine does
// befalls all of them alike. It reports the median of each, in microseconds or, of
// what handles many events at once, in events a second, and how many times as long
// as the last the first takes.
func takeTurns(b *testing.B, events int, turns ...turn) {
	b.Helper()
	took := make([][]float64, len(turns))
	for i := 0; b.Loop(); i++ {
		for j := range turns {
			j = (i + j) % len(turns)
			start := time.Now()
			require.NoError(b, turns[j].once(i), turns[j].name)
			took[j] = append(took[j], time.Since(start).Seconds())
		}
	}
	for j := range turns {
		if events > 1 {
			b.ReportMetric(float64(events)/median(took[j]), turns[j].name+"-events/s")
		} else {
			b.ReportMetric(1e6*median(took[j]), turns[j].name+"-µs")
		}
	}
	b.ReportMetric(median(took[0])/median(took[len(took)-1]), turns[0].name+"/"+turns[len(turns)-1].name)
	b.ReportMetric(0, "ns/op") // it would be that of all together
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

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
// a partition does for each batch. The raw work is the same with the driver alone,
// and as durable.
func BenchmarkStep(b *testing.B) {
	for _, n := range []int{1, 50, 500} {
		b.Run(fmt.Sprintf("documents=%d", n), func(b *testing.B) {
			e, codec := setup(b), eventstore.NewBSONCodec()
			keys := make([]string, n)
			for i := range keys {
				keys[i] = fmt.Sprintf("order-%06d", i)
			}
			r := newRaw(b, e, "raw")
			from := projection.Checkpoint{}
			takeTurns(b, 1,
				turn{"annals", func(i int) error {
					_, err := e.LoadDocuments(b.Context(), "orders_v1", keys)
					if err != nil {
						return err
					}
					changes := make([]projection.Change, n)
					for j, key := range keys {
						data, err := codec.Marshal(newSummary(i + j))
						if err != nil {
							return err
						}
						changes[j] = projection.Change{Model: "orders_v1", Key: key, Data: data}
					}
					from, err = e.Commit(b.Context(), next(from, changes...))
					return err
				}},
				turn{"raw", func(i int) error {
					if err := r.load(b.Context(), keys, nil); err != nil {
						return err
					}
					models := make([]mongo.WriteModel, n)
					for j, key := range keys {
						models[j] = replacement(key, newSummary(i+j))
					}
					return r.write(b.Context(), models, int64(i))
				}})
		})
	}
}

// A raw is what one writes who has nothing but the driver: a find, a bulk write and
// an update of the checkpoint, the latter two in a transaction. All of it is as
// durable as what the backend does.
type raw struct {
	client      *mongo.Client
	coll        *mongo.Collection
	checkpoints *mongo.Collection
}

func newRaw(b testing.TB, e *env, name string) *raw {
	b.Helper()
	db := e.client.Database(e.database, options.Database().SetReadConcern(readconcern.Majority()).SetWriteConcern(writeconcern.Majority()))
	require.NoError(b, db.CreateCollection(b.Context(), name))
	return &raw{client: e.client, coll: db.Collection(name), checkpoints: db.Collection("checkpoints")}
}

// load finds documents; they are loaded and only decoded when there is something to
// decode them into.
func (r *raw) load(ctx context.Context, keys []string, into func(key string, d bson.Raw) error) error {
	cur, err := r.coll.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: keys}}}})
	if err != nil {
		return err
	}
	for cur.Next(ctx) {
		if into == nil {
			continue
		}
		if err := into(cur.Current.Lookup("_id").StringValue(), cur.Current); err != nil {
			return err
		}
	}
	return cur.Err()
}

func replacement(key string, s summary) mongo.WriteModel {
	return mongo.NewReplaceOneModel().SetFilter(bson.D{{Key: "_id", Value: key}}).SetReplacement(s).SetUpsert(true)
}

func (r *raw) write(ctx context.Context, models []mongo.WriteModel, position int64) error {
	sess, err := r.client.StartSession()
	if err != nil {
		return err
	}
	defer sess.EndSession(ctx)
	_, err = sess.WithTransaction(ctx, func(ctx context.Context) (any, error) {
		if _, err := r.coll.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false)); err != nil {
			return nil, err
		}
		return r.checkpoints.UpdateOne(ctx, bson.D{{Key: "_id", Value: r.coll.Name()}},
			bson.D{{Key: "$set", Value: bson.D{{Key: "position", Value: position}}}}, options.UpdateOne().SetUpsert(true))
	}, options.Transaction().SetReadConcern(readconcern.Snapshot()).SetWriteConcern(writeconcern.Majority()))
	return err
}
