package aggregatetest_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/aggregate/aggregatetest"
)

type seatTaken struct{ Guest string }

var errFull = errors.New("the table is full")

// tables have two seats; a command is the name of a guest.
var tables = aggregate.Decider[int, string, seatTaken]{
	Initial: func() int { return 2 },
	Decide: func(free int, guest string) ([]seatTaken, error) {
		if free == 0 {
			return nil, errFull
		}
		return []seatTaken{{Guest: guest}}, nil
	},
	Evolve: func(free int, _ seatTaken) int { return free - 1 },
}

// shown stands for the *testing.T of a test, and shows what a scenario reports.
type shown struct{ testing.TB }

func (shown) Helper() {}

func (shown) Errorf(format string, args ...any) { fmt.Printf(format+"\n", args...) }

// A scenario says what has happened, what is commanded, and what then happens. It
// reports through the test that it is given what is otherwise.
func ExampleFor() {
	t := shown{} // in a test, its *testing.T

	aggregatetest.For(t, tables).
		Given(seatTaken{Guest: "anna"}).
		When("ben").
		Then(seatTaken{Guest: "ben"}).
		ThenState(0)

	aggregatetest.For(t, tables).
		Given(seatTaken{Guest: "anna"}, seatTaken{Guest: "ben"}).
		When("cleo").
		ThenError(errFull)

	// This one fails.
	aggregatetest.For(t, tables).
		Given(seatTaken{Guest: "anna"}).
		When("ben").
		ThenError(errFull)
	// Output:
	// string("ben") was accepted, wanted the error "the table is full"; it decided:
	//   1. aggregatetest_test.seatTaken{Guest:ben}
}
