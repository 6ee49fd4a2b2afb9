package readmodel

import (
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/examples/orders/stock"
)

// An Article is the stock of an article.
type Article struct {
	// SKU is the document's key, which is kept beside the document.
	SKU      string `json:"sku" bson:"_id,omitempty"`
	Free     int    `json:"free" bson:"free"`
	Reserved int    `json:"reserved" bson:"reserved"`
	Sold     int    `json:"sold" bson:"sold"`
	// Version is that of the last event applied.
	Version eventstore.Version `json:"version" bson:"version"`
}

// Apply returns the document after an event.
func (a Article) Apply(event stock.Event, e eventstore.Event) Article {
	a.Version = e.Version
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
