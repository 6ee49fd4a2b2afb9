package query_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo"

	"github.com/annals-es/annals/query"
)

// Order is a read model as a projector would keep it.
type Order struct {
	ID       string    `bson:"_id" json:"id"`
	Status   Status    `bson:"status" json:"status"`
	Total    int64     `bson:"total" json:"total"`
	Region   string    `bson:"region" json:"region"`
	Tags     []string  `bson:"tags,omitempty" json:"tags,omitempty"`
	Lines    []Line    `bson:"lines,omitempty" json:"lines,omitempty"`
	PlacedAt time.Time `bson:"placed_at" json:"placed_at"`
	Customer Customer  `bson:"customer" json:"customer"`
	Rating   *float64  `bson:"rating,omitempty" json:"rating,omitempty"`
}

type Status string

type Line struct {
	SKU string `bson:"sku" json:"sku"`
	Qty int    `bson:"qty" json:"qty"`
}

type Customer struct {
	Name    string `bson:"name" json:"name"`
	Address *struct {
		City string `bson:"city" json:"city"`
	} `bson:"address,omitempty" json:"address,omitempty"`
}

// The fields of Order, as a program would declare them.
var (
	orderID       = query.StringFieldOf(func(o *Order) *string { return &o.ID })
	orderStatus   = query.StringFieldOf(func(o *Order) *Status { return &o.Status })
	orderTotal    = query.FieldOf(func(o *Order) *int64 { return &o.Total })
	orderRegion   = query.StringFieldOf(func(o *Order) *string { return &o.Region })
	orderTags     = query.ArrayFieldOf(func(o *Order) *[]string { return &o.Tags })
	orderLines    = query.ArrayFieldOf(func(o *Order) *[]Line { return &o.Lines })
	orderPlacedAt = query.FieldOf(func(o *Order) *time.Time { return &o.PlacedAt })
	orderCity     = query.StringFieldOf(func(o *Order) *string { return &o.Customer.Address.City })
	orderRating   = query.OptionalFieldOf(func(o *Order) **float64 { return &o.Rating })
	lineSKU       = query.StringFieldOf(func(l *Line) *string { return &l.SKU })
	lineQty       = query.FieldOf(func(l *Line) *int { return &l.Qty })
)

var start = time.Date(2024, 5, 1, 0, 0, 0, 0, time.UTC)

// someOrders makes orders with ids o000, o001, …
func someOrders(n int) []Order {
	statuses := []Status{"open", "paid", "sent"}
	regions := []string{"north", "south"}
	orders := make([]Order, n)
	for i := range orders {
		orders[i] = Order{
			ID: fmt.Sprintf("o%03d", i), Status: statuses[i%3], Region: regions[i%2], Total: int64(i * 10),
			PlacedAt: start.Add(time.Duration(i) * time.Hour), Tags: []string{fmt.Sprintf("t%d", i%4)},
			Lines: []Line{{SKU: "a", Qty: i}, {SKU: "b", Qty: 1}}, Customer: Customer{Name: "Ada"},
		}
	}
	return orders
}

func ordersIn(t testing.TB, n int) *query.Collection[Order] {
	t.Helper()
	return ordersInDB(t, dbForTest(t), n)
}

func ordersInDB(t testing.TB, db *mongo.Database, n int) *query.Collection[Order] {
	t.Helper()
	c := query.From[Order](db.Collection("orders"))
	if n == 0 {
		return c
	}
	_, err := c.Bulk().Insert(someOrders(n)...).Run(t.Context())
	require.NoError(t, err)
	return c
}

func idsOf(orders []Order) []string {
	ids := make([]string, len(orders))
	for i, o := range orders {
		ids[i] = o.ID
	}
	return ids
}
