package readmodel

import (
	"context"
	"fmt"
	"net/url"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"

	"github.com/annals-es/annals/examples/orders/order"
	"github.com/annals-es/annals/mongostore/readmodel"
	"github.com/annals-es/annals/projection"
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

// MongoDB answers questions about read models in MongoDB by queries.
type MongoDB struct {
	fields  orderFields
	models  *readmodel.Collections
	spec    *urlfilter.Spec
	cursors *query.Cursors
}

var _ Models = (*MongoDB)(nil)

// InMongoDB returns what asks the read models of a backend, whose indexes it
// makes. The key signs the cursors of pages, see [query.CursorsConfig].
func InMongoDB(ctx context.Context, control *projection.Control, backend *readmodel.Backend, key []byte) (*MongoDB, error) {
	f := fieldsOfOrder()
	m := &MongoDB{fields: f, models: backend.Collections(0)}
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
	return m, m.makeIndexes(ctx, control, backend)
}

// makeIndexes makes the indexes of this program's version of the read model of
// orders: before it is built, so that they are there when readers are.
func (m *MongoDB) makeIndexes(ctx context.Context, control *projection.Control, backend *readmodel.Backend) error {
	f, name, version := m.fields, Orders().Name, max(1, Orders().Version)
	model := projection.ModelName(name, version, 0)
	status, err := control.Status(ctx, name)
	if known := status.Version(version); err == nil && known.Model != "" {
		model = known.Model
	}
	orders, err := backend.Model(model)
	if err == nil {
		_, err = orders.Indexes().CreateMany(ctx, []mongo.IndexModel{
			{Keys: bson.D{{Key: f.placedAt.Path(), Value: -1}, {Key: "_id", Value: -1}}},
			{Keys: bson.D{{Key: f.customer.Path(), Value: 1}, {Key: "_id", Value: 1}}},
			{Keys: bson.D{{Key: f.paidAt.Path(), Value: 1}}, Options: options.Index().SetSparse(true)},
		})
	}
	if err != nil {
		return fmt.Errorf("make indexes of read models: %w", err)
	}
	return nil
}

// orders returns the collection of the current version of the read model.
func (m *MongoDB) orders(ctx context.Context) (*query.Collection[Order], error) {
	coll, err := m.models.Collection(ctx, Orders().Name)
	if err != nil {
		return nil, err
	}
	return query.From[Order](coll), nil
}

// Orders implements [Models].
func (m *MongoDB) Orders(ctx context.Context) ([]Order, error) {
	orders, err := m.orders(ctx)
	if err != nil {
		return nil, err
	}
	return orders.Find().Sort(m.fields.customer.Asc(), m.fields.id.Asc()).All(ctx)
}

// Order returns an order, or an error that matches [query.ErrNotFound].
func (m *MongoDB) Order(ctx context.Context, key string) (Order, error) {
	orders, err := m.orders(ctx)
	if err != nil {
		return Order{}, err
	}
	return orders.Find().Filter(m.fields.id.Eq(key)).One(ctx)
}

// Page returns the page of orders that a query string asks for. An error for the
// asker is a [*urlfilter.Error] or matches [query.ErrCursor].
func (m *MongoDB) Page(ctx context.Context, values url.Values) (page query.KeysetPage[Order], err error) {
	r, err := m.spec.Parse(values)
	if err != nil {
		return page, err
	}
	orders, err := m.orders(ctx)
	if err != nil {
		return page, err
	}
	return orders.Find().Filter(r.Filter).Sort(r.Sort...).Keyset(ctx, query.Keyset{Cursors: m.cursors, Cursor: r.Cursor, Size: r.Limit})
}

// Facets returns the first orders that a query string asks for, with their total
// and how many there are of each status and region.
func (m *MongoDB) Facets(ctx context.Context, values url.Values) (page query.SearchPage[Order], err error) {
	r, err := m.spec.Parse(values)
	if err != nil {
		return page, err
	}
	orders, err := m.orders(ctx)
	if err != nil {
		return page, err
	}
	return orders.Find().Filter(r.Filter).Sort(append(r.Sort, m.fields.id.Asc())...).Search(ctx, query.SearchRequest{
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
	articles, err := m.models.Collection(ctx, Stock().Name)
	if err != nil {
		return nil, err
	}
	return query.From[Article](articles).Find().Sort(query.Asc("_id")).All(ctx)
}

// Revenue implements [Models], by aggregation on the server.
func (m *MongoDB) Revenue(ctx context.Context) ([]Revenue, error) {
	orders, err := m.orders(ctx)
	if err != nil {
		return nil, err
	}
	f := m.fields
	p := query.Match(f.paidAt.Exists(), f.status.Ne(order.CalledOff)).
		Group(
			expr.Object(expr.As("day", expr.DateToString(f.paidAt.Ref(), "%Y-%m-%d", nil, nil)), expr.As("region", f.region.Ref())),
			query.Acc("orders", acc.Sum(1)),
			query.Acc("amount", acc.Sum(f.total.Ref())),
		).
		Set(expr.As("day", expr.Field("_id.day")), expr.As("region", expr.Field("_id.region"))).
		Sort(query.Asc("day"), query.Asc("region"))
	return query.Aggregate[Revenue](orders, p).All(ctx)
}
