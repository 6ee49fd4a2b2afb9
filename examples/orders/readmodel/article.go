package readmodel

import (
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/stock"
)

// An Article is the stock of an article.
type Article struct {
	SKU      string             `json:"sku" bson:"_id"`
	Free     int                `json:"free" bson:"free"`
	Reserved int                `json:"reserved" bson:"reserved"`
	Sold     int                `json:"sold" bson:"sold"`
	Version  eventstore.Version `json:"version" bson:"version"`
}

// Apply returns the document after an event. Events that it has seen change
// nothing, so they may come again.
func (a Article) Apply(event stock.Event, e eventstore.Event) Article {
	if e.Version <= a.Version {
		return a
	}
	a.SKU, a.Version = e.Stream.Key(), e.Version
	switch p := event.(type) {
	case stock.Received:
		a.Free += p.Quantity
	case stock.Reserved:
		a.Free -= p.Quantity
		a.Reserved += p.Quantity
	case stock.Released:
		a.Free += p.Quantity
		a.Reserved -= p.Quantity
	case stock.Dispatched:
		a.Reserved -= p.Quantity
		a.Sold += p.Quantity
	}
	return a
}
