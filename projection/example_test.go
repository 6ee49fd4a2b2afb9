package projection_test

import (
	"context"
	"fmt"
	"log"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
	"github.com/annals-es/annals/simstore"
)

type orderPlaced struct {
	Customer string `json:"customer"`
	Cents    int64  `json:"cents"`
}

// A projection has a handler for each type of event. A runner hands it every event
// once it is in the log, and tells when it has got as far as an append.
func ExampleRunner() {
	ctx, cancel := context.WithCancel(context.Background())
	store := simstore.New(simstore.Config{})
	defer store.Close()
	registry := eventstore.MustRegistry(eventstore.Type[orderPlaced]("order.placed"))

	spent := map[string]int64{} // the read model
	runner, err := projection.NewRunner(store, registry, store, projection.Projection{
		Name: "spent-by-customer",
		Handlers: []projection.Handler{
			projection.On(func(_ context.Context, placed orderPlaced, _ eventstore.Event) error {
				spent[placed.Customer] += placed.Cents
				return nil
			}),
		},
	}, projection.Config{})
	if err != nil {
		log.Fatal(err)
	}
	stopped := make(chan error)
	go func() { stopped <- runner.Run(ctx) }()

	events, err := registry.Encode(
		orderPlaced{Customer: "anna", Cents: 1_200}, orderPlaced{Customer: "ben", Cents: 500}, orderPlaced{Customer: "anna", Cents: 300},
	)
	if err != nil {
		log.Fatal(err)
	}
	appended, err := eventstore.Append(ctx, store, "order-1", eventstore.NoStream, events...)
	if err != nil {
		log.Fatal(err)
	}
	if err := runner.WaitFor(ctx, appended.Token); err != nil {
		log.Fatal(err)
	}
	fmt.Println(spent)

	cancel() // a clean stop: the checkpoint is saved
	fmt.Println(<-stopped)
	checkpoint, err := store.LoadCheckpoint(context.Background(), projection.CheckpointKey{Projection: "spent-by-customer", Version: 1})
	fmt.Println(checkpoint.Position, err)
	// Output:
	// map[anna:1500 ben:500]
	// <nil>
	// 3 <nil>
}

// OnEvent handles events as they are stored. The context makes the event the cause
// of what is appended with it.
func ExampleOnEvent() {
	handler := projection.OnEvent("order.placed", func(ctx context.Context, e eventstore.Event) error {
		fmt.Println(e.Stream, e.Version, eventstore.MetadataFrom(ctx).CausationID == e.ID.String())
		return nil
	})
	store := simstore.New(simstore.Config{})
	defer store.Close()
	runner, err := projection.NewRunner(store, eventstore.MustRegistry(), store,
		projection.Projection{Name: "printed", Handlers: []projection.Handler{handler}}, projection.Config{})
	if err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error)
	go func() { stopped <- runner.Run(ctx) }()

	appended, err := eventstore.Append(ctx, store, "order-1", eventstore.NoStream,
		eventstore.EventData{Type: "order.placed", Format: eventstore.JSON, Data: []byte(`{"cents": 500}`)})
	if err != nil {
		log.Fatal(err)
	}
	if err := runner.WaitFor(ctx, appended.Token); err != nil {
		log.Fatal(err)
	}
	cancel()
	fmt.Println(<-stopped)
	// Output:
	// order-1 1 true
	// <nil>
}
