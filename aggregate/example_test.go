package aggregate_test

import (
	"context"
	"errors"
	"fmt"
	"log"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/simstore"
)

type seatTaken struct {
	Guest string `json:"guest"`
}

var errFull = errors.New("the table is full")

// A decider is three functions; what a command is rejected with comes back as it
// is.
func ExampleRepository_Run() {
	ctx := context.Background()
	store := simstore.New(simstore.Config{})
	defer store.Close()
	registry := eventstore.MustRegistry(eventstore.Type[seatTaken]("table.seat_taken"))

	tables := aggregate.Decider[int, string, seatTaken]{
		Initial: func() int { return 2 }, // free seats
		Decide: func(free int, guest string) ([]seatTaken, error) {
			if free == 0 {
				return nil, errFull
			}
			return []seatTaken{{Guest: guest}}, nil
		},
		Evolve: func(free int, _ seatTaken) int { return free - 1 },
	}
	repository, err := aggregate.NewRepository(store, registry, tables, aggregate.Config[int]{Category: "table"})
	if err != nil {
		log.Fatal(err)
	}
	for _, guest := range []string{"anna", "ben", "cleo"} {
		result, err := repository.Run(ctx, "7", guest)
		fmt.Println(guest, result.Version, result.State, err)
	}
	// Output:
	// anna 1 1 <nil>
	// ben 2 0 <nil>
	// cleo 0 0 the table is full
}

// Table is the same as a root: a struct with methods.
type Table struct {
	aggregate.Root[seatTaken]
	Taken int `json:"taken"`
}

func (t *Table) Apply(seatTaken) { t.Taken++ }

func (t *Table) Seat(guest string) error {
	if t.Taken == 2 {
		return errFull
	}
	t.Record(seatTaken{Guest: guest})
	return nil
}

func ExampleNewRootRepository() {
	ctx := context.Background()
	store := simstore.New(simstore.Config{})
	defer store.Close()
	registry := eventstore.MustRegistry(eventstore.Type[seatTaken]("table.seat_taken"))

	tables, err := aggregate.NewRootRepository(store, registry, func() *Table { return &Table{} },
		aggregate.Config[*Table]{Category: "table", Snapshots: store.Snapshots()})
	if err != nil {
		log.Fatal(err)
	}
	for _, guest := range []string{"anna", "ben", "cleo"} {
		result, err := tables.Run(ctx, "7", func(t *Table) error { return t.Seat(guest) })
		fmt.Println(guest, result.Version, err)
	}
	// Output:
	// anna 1 <nil>
	// ben 2 <nil>
	// cleo 0 the table is full
}
