package readmodel

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/query"
	"github.com/annals-es/annals/query/acc"
	"github.com/annals-es/annals/query/expr"
	"github.com/annals-es/annals/query/urlfilter"
)

// orderFields are the fields of an order that are asked for. Renaming one in
// Order breaks the build here and not a query at night.
type orderFields struct {
	id, customer, region query.StringField[string]
	status               query.StringField[order.Status]
	total                query.Field[order.Money]
	placedAt, paidAt     query.Field[time.Time]
}

func fieldsOfOrder() orderFields {
	return orderFields{
		id:       query.StringFieldOf(func(o *Order) *string { return &o.ID }),
		customer: query.StringFieldOf(func(o *Order) *string { return &o.Customer }),
		region:   query.StringFieldOf(func(o *Order) *string { return &o.Region }),
		status:   query.StringFieldOf(func(o *Order) *order.Status { return &o.Status }),
		total:    query.FieldOf(func(o *Order) *order.Money { return &o.Total }),
		placedAt: query.FieldOf(func(o *Order) *time.Time { return &o.PlacedAt }),
		paidAt:   query.OptionalFieldOf(func(o *Order) **time.Time { return &o.PaidAt }),
	}
}

// MongoDB keeps the read models in two collections and answers questions about
// them.
type MongoDB struct {
	fields   orderFields
	orders   *mongo.Collection
	articles *mongo.Collection
	spec     *urlfilter.Spec
	cursors  *query.Cursors
}

var _ Models = (*MongoDB)(nil)

// InMongoDB returns read models in a database, whose indexes it makes. The key
// signs the cursors of pages, see [query.CursorsConfig].
func InMongoDB(ctx context.Context, db *mongo.Database, key []byte) (*MongoDB, error) {
	f := fieldsOfOrder()
	m := &MongoDB{fields: f, orders: db.Collection("view_orders"), articles: db.Collection("view_articles")}
	var err error
	if m.cursors, err = query.NewCursors(query.CursorsConfig{Key: key}); err != nil {
		return nil, err
	}
	m.spec, err = urlfilter.New(urlfilter.Config{
		Fields: []urlfilter.Field{
			urlfilter.ForString("customer", f.customer).AsSortable(),
			urlfilter.ForString("region", f.region).AsSortable(),
			urlfilter.ForString("status", f.status).WithEnum(
				string(order.Open), string(order.PaidFor), string(order.Ready), string(order.OnItsWay), string(order.CalledOff)),
			urlfilter.For("total", f.total).AsSortable(),
			urlfilter.For("placed_at", f.placedAt).AsSortable(),
		},
		DefaultSort: []query.SortKey{f.placedAt.Desc()},
	})
	if err != nil {
		return nil, err
	}
	_, err = m.orders.Indexes().CreateMany(ctx, []mongo.IndexModel{
		{Keys: bson.D{{Key: f.placedAt.Path(), Value: -1}, {Key: "_id", Value: -1}}},
		{Keys: bson.D{{Key: f.customer.Path(), Value: 1}, {Key: "_id", Value: 1}}},
		{Keys: bson.D{{Key: f.paidAt.Path(), Value: 1}}, Options: options.Index().SetSparse(true)},
	})
	if err != nil {
		return nil, fmt.Errorf("make indexes of read models: %w", err)
	}
	return m, nil
}

func (m *MongoDB) find() query.Find[Order] { return query.From[Order](m.orders).Find() }

// Orders implements [Models].
func (m *MongoDB) Orders(ctx context.Context) ([]Order, error) {
	return m.find().Sort(m.fields.customer.Asc(), m.fields.id.Asc()).All(ctx)
}

// Order returns an order, or an error that matches [query.ErrNotFound].
func (m *MongoDB) Order(ctx context.Context, key string) (Order, error) {
	return m.find().Filter(m.fields.id.Eq(key)).One(ctx)
}

// Page returns the page of orders that a query string asks for. An error for the
// asker is a [*urlfilter.Error] or matches [query.ErrCursor].
func (m *MongoDB) Page(ctx context.Context, values url.Values) (query.KeysetPage[Order], error) {
	r, err := m.spec.Parse(values)
	if err != nil {
		return query.KeysetPage[Order]{}, err
	}
	return m.find().Filter(r.Filter).Sort(r.Sort...).Keyset(ctx, query.Keyset{Cursors: m.cursors, Cursor: r.Cursor, Size: r.Limit})
}

// Facets returns the first orders that a query string asks for, with their total
// and how many there are of each status and region.
func (m *MongoDB) Facets(ctx context.Context, values url.Values) (query.SearchPage[Order], error) {
	r, err := m.spec.Parse(values)
	if err != nil {
		return query.SearchPage[Order]{}, err
	}
	return m.find().Filter(r.Filter).Sort(append(r.Sort, m.fields.id.Asc())...).Search(ctx, query.SearchRequest{
		Page:     r.Page,
		PageSize: r.Limit,
		Facets: []query.Facet{
			{Name: "status", Field: m.fields.status.Path()},
			{Name: "region", Field: m.fields.region.Path()},
		},
	})
}

// Articles implements [Models].
func (m *MongoDB) Articles(ctx context.Context) ([]Article, error) {
	return query.From[Article](m.articles).Find().Sort(query.Asc("_id")).All(ctx)
}

// Revenue implements [Models], by aggregation on the server.
func (m *MongoDB) Revenue(ctx context.Context) ([]Revenue, error) {
	f := m.fields
	p := query.Match(f.paidAt.Exists(), f.status.Ne(order.CalledOff)).
		Group(
			expr.Object(expr.As("day", expr.DateToString(f.paidAt.Ref(), "%Y-%m-%d", nil, nil)), expr.As("region", f.region.Ref())),
			query.Acc("orders", acc.Sum(1)),
			query.Acc("amount", acc.Sum(f.total.Ref())),
		).
		Set(expr.As("day", expr.Field("_id.day")), expr.As("region", expr.Field("_id.region"))).
		Sort(query.Asc("day"), query.Asc("region"))
	return query.Aggregate[Revenue](query.From[Order](m.orders), p).All(ctx)
}

func (m *MongoDB) updateOrder(ctx context.Context, key string, apply func(Order) Order) error {
	return replace(ctx, m.orders, key, apply, func(o Order) eventstore.Version { return o.Version })
}

func (m *MongoDB) updateArticle(ctx context.Context, key string, apply func(Article) Article) error {
	return replace(ctx, m.articles, key, apply, func(a Article) eventstore.Version { return a.Version })
}

// replace loads a document, applies a change and writes it back if nobody else
// has changed it in between; otherwise the projection handles the event again.
func replace[D any](ctx context.Context, coll *mongo.Collection, key string, apply func(D) D, version func(D) eventstore.Version) error {
	doc, err := query.From[D](coll).Find().Filter(query.Eq("_id", key)).One(ctx)
	if err != nil && !errors.Is(err, query.ErrNotFound) {
		return err
	}
	before := version(doc)
	if doc = apply(doc); version(doc) == before {
		return nil // seen before
	}
	result, err := coll.ReplaceOne(ctx, bson.D{{Key: "_id", Value: key}, {Key: "version", Value: before}}, doc,
		options.Replace().SetUpsert(before == 0))
	if err == nil && result.MatchedCount+result.UpsertedCount == 0 {
		err = fmt.Errorf("document %q was changed by somebody else", key)
	}
	return err
}
