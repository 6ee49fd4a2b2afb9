package readmodel

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/projection"
)

type rowRecord struct {
	Name     string    `bson:"_id"`
	Revision int64     `bson:"revision"`
	Data     bson.Raw  `bson:"data"`
	At       time.Time `bson:"at"`
}

func (r rowRecord) row() projection.Row {
	return projection.Row{Name: r.Name, Revision: r.Revision, Data: r.Data, At: r.At.UTC()}
}

// LoadRow implements [projection.RowStore].
func (b *Backend) LoadRow(ctx context.Context, name string) (projection.Row, error) {
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return projection.Row{}, err
	}
	defer done()
	var r rowRecord
	err = on.rows.FindOne(run, bson.D{{Key: "_id", Value: name}}).Decode(&r)
	if errors.Is(err, mongo.ErrNoDocuments) {
		return projection.Row{Name: name}, nil
	}
	if err != nil {
		return projection.Row{}, b.failed(ctx, fmt.Sprintf("load row %q", name), err)
	}
	return r.row(), nil
}

// SaveRow implements [projection.RowStore].
func (b *Backend) SaveRow(ctx context.Context, r projection.Row) (projection.Row, error) {
	if r.Name == "" {
		return projection.Row{}, invalid("row's name", "is empty")
	}
	if err := bson.Raw(r.Data).Validate(); err != nil {
		return projection.Row{}, invalid("row's data", "is not a BSON document: %v", err)
	}
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return projection.Row{}, err
	}
	defer done()
	op := fmt.Sprintf("save row %q", r.Name)
	filter := bson.D{{Key: "_id", Value: r.Name}}
	if r.Revision != projection.AnyRevision {
		filter = append(filter, bson.E{Key: "revision", Value: r.Revision})
	}
	update := mongo.Pipeline{{{Key: "$set", Value: bson.D{
		{Key: "revision", Value: bson.D{{Key: "$add", Value: bson.A{bson.D{{Key: "$ifNull", Value: bson.A{"$revision", int64(0)}}}, int64(1)}}}},
		{Key: "data", Value: bson.D{{Key: "$literal", Value: bson.Raw(r.Data)}}},
		{Key: "at", Value: "$$NOW"},
	}}}}
	opts := options.FindOneAndUpdate().SetReturnDocument(options.After).SetUpsert(r.Revision == 0 || r.Revision == projection.AnyRevision)
	for {
		var saved rowRecord
		err := on.rows.FindOneAndUpdate(run, filter, update, opts).Decode(&saved)
		switch {
		case err == nil:
			return saved.row(), nil
		case hasCode(err, codeDuplicateKey) && r.Revision == projection.AnyRevision && run.Err() == nil:
			continue // somebody else has inserted it first
		case hasCode(err, codeDuplicateKey), errors.Is(err, mongo.ErrNoDocuments):
			return projection.Row{}, fmt.Errorf("%s at revision %d: %w", op, r.Revision, projection.ErrMoved)
		}
		return projection.Row{}, b.failed(ctx, op, err)
	}
}

// DeleteRow implements [projection.RowStore].
func (b *Backend) DeleteRow(ctx context.Context, name string) error {
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return err
	}
	defer done()
	_, err = on.rows.DeleteOne(run, bson.D{{Key: "_id", Value: name}})
	return b.failed(ctx, fmt.Sprintf("delete row %q", name), err)
}

// Rows implements [projection.RowStore].
func (b *Backend) Rows(ctx context.Context, prefix string) ([]projection.Row, error) {
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer done()
	filter := bson.D{}
	if prefix != "" {
		filter = bson.D{{Key: "_id", Value: bson.D{{Key: "$regex", Value: "^" + regexp.QuoteMeta(prefix)}}}}
	}
	cur, err := on.rows.Find(run, filter, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}))
	if err != nil {
		return nil, b.failed(ctx, "list rows", err)
	}
	var records []rowRecord
	if err := cur.All(run, &records); err != nil {
		return nil, b.failed(ctx, "list rows", err)
	}
	rows := make([]projection.Row, len(records))
	for i, r := range records {
		rows[i] = r.row()
	}
	return rows, nil
}

// Now implements [projection.RowStore]: the time that $$NOW is in updates.
func (b *Backend) Now(ctx context.Context) (time.Time, error) {
	run, on, done, err := b.begin(ctx)
	if err != nil {
		return time.Time{}, err
	}
	defer done()
	var hello struct {
		Time time.Time `bson:"localTime"`
	}
	admin := on.client.Database("admin")
	err = admin.RunCommand(run, bson.D{{Key: "hello", Value: 1}}).Decode(&hello)
	if hasCode(err, 59) { // CommandNotFound: before 4.4.2
		err = admin.RunCommand(run, bson.D{{Key: "isMaster", Value: 1}}).Decode(&hello)
	}
	return hello.Time.UTC(), b.failed(ctx, "ask for the time", err)
}
