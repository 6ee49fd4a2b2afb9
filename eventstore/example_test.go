package eventstore_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore"
)

type itemAdded struct {
	SKU      string `json:"sku"`
	Quantity int    `json:"quantity"`
}

type itemAddedV1 struct {
	SKU string `json:"sku"`
}

func ExampleAppend() {
	ctx := context.Background()
	registry := eventstore.MustRegistry(eventstore.Type[itemAdded]("cart.item-added"))
	store := simstore.New(simstore.Config{})
	defer store.Close()

	events, err := registry.Encode(itemAdded{SKU: "A-100", Quantity: 2}, itemAdded{SKU: "B-7", Quantity: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	result, err := eventstore.Append(ctx, store, "cart-1", eventstore.NoStream, events...)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("appended versions", result.Streams[0].First, "to", result.Streams[0].Last)

	more, err := registry.Encode(itemAdded{SKU: "C-3", Quantity: 1})
	if err != nil {
		fmt.Println(err)
		return
	}
	_, err = eventstore.Append(ctx, store, "cart-1", eventstore.Exact(1), more...)
	if conflict, ok := errors.AsType[*eventstore.ConflictError](err); ok {
		fmt.Println("conflict: the stream is at version", conflict.Actual)
	}
	// Output:
	// appended versions 1 to 2
	// conflict: the stream is at version 2
}

func ExampleSubscribe() {
	ctx := context.Background()
	registry := eventstore.MustRegistry(eventstore.Type[itemAdded]("cart.item-added"))
	store := simstore.New(simstore.Config{})
	defer store.Close()
	for _, stream := range []eventstore.StreamID{"cart-1", "wishlist-1", "cart-2"} {
		events, err := registry.Encode(itemAdded{SKU: "A-100", Quantity: 1})
		if err != nil {
			fmt.Println(err)
			return
		}
		if _, err := eventstore.Append(ctx, store, stream, eventstore.Any, events...); err != nil {
			fmt.Println(err)
			return
		}
	}
	carts := eventstore.LogQuery{Filter: eventstore.Filter{Categories: []string{"cart"}}, Limit: 2}
	for e, err := range eventstore.Subscribe(ctx, store, carts) {
		if err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(e.Position, e.Stream, e.Type)
	}
	// Output:
	// 1 cart-1 cart.item-added
	// 3 cart-2 cart.item-added
}

func ExampleUpcast() {
	registry := eventstore.MustRegistry(eventstore.Type[itemAdded]("cart.item-added",
		eventstore.Schema(2),
		eventstore.Upcast(1, func(old itemAddedV1) (itemAdded, error) {
			return itemAdded{SKU: old.SKU, Quantity: 1}, nil
		}),
		eventstore.Alias("basket.item-added"),
	))
	old := eventstore.Event{Type: "basket.item-added", Schema: 1, Format: eventstore.JSON, Data: []byte(`{"sku":"A-100"}`)}
	payload, err := registry.Decode(old)
	fmt.Printf("%+v %v\n", payload, err)
	// Output: {SKU:A-100 Quantity:1} <nil>
}

func ExampleCausedBy() {
	placed := eventstore.Event{
		ID:       eventstore.EventID{15: 1},
		Metadata: eventstore.Metadata{CorrelationID: "request-7", Tenant: "tenant-3"},
	}
	ctx := eventstore.CausedBy(context.Background(), placed)
	m := eventstore.MetadataFrom(ctx) // what every append with ctx carries
	fmt.Println(m.CorrelationID, m.CausationID, m.Tenant)
	// Output: request-7 00000000-0000-0000-0000-000000000001 tenant-3
}
