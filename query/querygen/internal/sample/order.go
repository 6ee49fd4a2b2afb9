// Package sample has structs of every shape, to test querygen with: its
// generated file is compiled with it.
package sample

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

//go:generate go run github.com/annals-es/annals/query/querygen -type Order,Line

// Status of an order.
type Status string

// Base is inlined.
type Base struct {
	CreatedAt time.Time  `bson:"created_at"`
	DeletedAt *time.Time `bson:"deleted_at,omitempty"`
}

// Order has fields of every kind.
type Order struct {
	Base     `bson:",inline"`
	ID       bson.ObjectID `bson:"_id"`
	Status   Status        `bson:"status"`
	Note     string
	Total    int64    `bson:"total"`
	Rating   *float64 `bson:"rating"`
	Tags     []string `bson:"tags"`
	Lines    []Line   `bson:"lines"`
	Blob     []byte   `bson:"blob"`
	Customer Customer `bson:"customer"`
	Extra    map[string]any
	Parent   *Order `bson:"parent"`
	Secret   string `bson:"-"`
}

// Line is an element of an array.
type Line struct {
	SKU string `bson:"sku"`
	Qty int    `bson:"qty"`
}

// Customer is embedded.
type Customer struct {
	Name    string   `bson:"name"`
	Address *Address `bson:"address"`
}

// Address is embedded through a pointer.
type Address struct {
	City, Street string
}
