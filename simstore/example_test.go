package simstore_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore"
)

type depositMade struct {
	Amount int `json:"amount"`
}

func Example() {
	ctx := context.Background()
	registry := eventstore.MustRegistry(eventstore.Type[depositMade]("account.deposit-made"))
	store := simstore.New(simstore.Config{})
	defer store.Close()

	events, err := registry.Encode(depositMade{Amount: 50}, depositMade{Amount: 25})
	if err != nil {
		fmt.Println(err)
		return
	}
	if _, err := eventstore.Append(ctx, store, "account-1", eventstore.NoStream, events...); err != nil {
		fmt.Println(err)
		return
	}
	for e, err := range store.ReadStream(ctx, "account-1", eventstore.StreamQuery{}) {
		if err != nil {
			fmt.Println(err)
			return
		}
		payload, err := registry.Decode(e)
		fmt.Println(e.Version, e.Type, payload, err)
	}
	// Output:
	// 1 account.deposit-made {50} <nil>
	// 2 account.deposit-made {25} <nil>
}

// An append whose outcome is unknown is made again with the same event ids. Had
// it been written, the result says so.
func ExampleStore_Inject() {
	ctx := context.Background()
	registry := eventstore.MustRegistry(eventstore.Type[depositMade]("account.deposit-made"))
	store := simstore.New(simstore.Config{})
	defer store.Close()
	store.Inject(simstore.Fault{Ops: []simstore.Op{simstore.OpAppend}, Kind: simstore.UnknownWritten, Times: 1})

	events, err := registry.Encode(depositMade{Amount: 50})
	if err != nil {
		fmt.Println(err)
		return
	}
	events[0].ID = eventstore.NewEventID()
	_, err = eventstore.Append(ctx, store, "account-1", eventstore.NoStream, events...)
	fmt.Println("unknown:", errors.Is(err, eventstore.ErrOutcomeUnknown))
	result, err := eventstore.Append(ctx, store, "account-1", eventstore.NoStream, events...)
	fmt.Println("duplicate:", result.Duplicate, err)
	// Output:
	// unknown: true
	// duplicate: true <nil>
}
