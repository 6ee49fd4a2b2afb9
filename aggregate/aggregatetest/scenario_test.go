package aggregatetest_test

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/annals-es/annals/aggregate"
	"github.com/annals-es/annals/aggregate/aggregatetest"
	"github.com/annals-es/annals/eventstore"
)

// The tests' aggregate is a counter that can be told to misbehave.

type event any

type (
	added   struct{ N int }
	removed struct{ N int }
	lossy   struct {
		hidden int //nolint:unused // what is lost when the event is stored
		N      int
	}
)

type state struct {
	Sum int
	Log []int
}

var errTooMuch = errors.New("too much")

func counter() aggregate.Decider[*state, int, event] {
	return aggregate.Decider[*state, int, event]{
		Initial: func() *state { return &state{} },
		Decide: func(s *state, n int) ([]event, error) {
			switch {
			case n > 100:
				return nil, fmt.Errorf("%d: %w", n, errTooMuch)
			case n == 13:
				s.Sum = -1 // not allowed
			case n == 99:
				return []event{lossy{hidden: 1, N: n}}, nil
			case n == 98:
				return []event{func() {}}, nil
			case n < 0:
				return []event{removed{N: -n}}, nil
			case n == 0:
				return nil, nil
			}
			return []event{added{N: n}}, nil
		},
		Evolve: func(s *state, e event) *state {
			switch e := e.(type) {
			case added:
				s.Sum += e.N
			case removed:
				s.Sum -= e.N
			}
			return s
		},
	}
}

func registry() *eventstore.Registry {
	return eventstore.MustRegistry(eventstore.Type[added]("added"), eventstore.Type[removed]("removed"), eventstore.Type[lossy]("lossy"))
}

type scenario = aggregatetest.Scenario[*state, int, event]

// TestScenarios says of each scenario what it must report: nothing for one that
// holds, and words for a reader for one that does not.
func TestScenarios(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		run  func(s *scenario)
		want []string
	}{
		"holds": {func(s *scenario) { s.Given(added{5}).When(3).Then(added{3}).ThenState(&state{Sum: 8}) }, nil},
		"other events": {
			func(s *scenario) { s.Given(added{5}).When(3).Then(added{4}) },
			[]string{"int(3) decided other events (-want +got)", "-", "N: 4", "+", "N: 3"},
		},
		"other type":               {func(s *scenario) { s.When(-3).Then(added{3}) }, []string{"removed", "added"}},
		"rejected, events wanted":  {func(s *scenario) { s.When(101).Then(added{101}) }, []string{"was rejected: 101: too much", "1. aggregatetest_test.added{N:101}"}},
		"nothing":                  {func(s *scenario) { s.When(0).ThenNothing().Then() }, nil},
		"events, nothing wanted":   {func(s *scenario) { s.When(1).ThenNothing() }, []string{"decided events where none were wanted", "added{N:1}"}},
		"rejected, nothing wanted": {func(s *scenario) { s.When(101).Then() }, []string{"wanted it accepted without events"}},
		"error":                    {func(s *scenario) { s.When(101).ThenError(errTooMuch) }, nil},
		"error checked":            {func(s *scenario) { s.When(101).ThenErrorIs(func(err error) bool { return errors.Is(err, errTooMuch) }) }, nil},
		"other error":              {func(s *scenario) { s.When(101).ThenError(errors.ErrUnsupported) }, []string{"another error", "unsupported", "too much"}},
		"other error by check":     {func(s *scenario) { s.When(101).ThenErrorIs(func(error) bool { return false }) }, []string{"another error: 101: too much"}},
		"accepted, error wanted":   {func(s *scenario) { s.When(0).ThenError(errTooMuch) }, []string{"was accepted, wanted the error", "(no events)"}},
		"accepted, error by check": {func(s *scenario) { s.When(1).ThenErrorIs(func(error) bool { return true }) }, []string{"was accepted, wanted an error"}},
		"other state":              {func(s *scenario) { s.When(1).ThenState(&state{Sum: 2}) }, []string{"the state after 1 events is another", "Sum"}},
		"state changed by Decide":  {func(s *scenario) { s.When(13) }, []string{"Decide(int) changes the state"}},
		"stored as it is":          {func(s *scenario) { s.Given(added{1}).Encoded(registry()).When(2).Then(added{2}) }, nil},
		"changes when stored":      {func(s *scenario) { s.Encoded(registry()).When(99) }, []string{"changes when it is stored", "hidden"}},
		"cannot be stored":         {func(s *scenario) { s.Encoded(registry()).When(98) }, []string{"cannot be stored"}},
		"given cannot be stored":   {func(s *scenario) { s.Given(42).Encoded(registry()) }, []string{"event int cannot be stored"}},
		"compared as told":         {func(s *scenario) { s.Compare(cmpopts.IgnoreFields(added{}, "N")).When(1).Then(added{2}) }, nil},
		"pointers compare as told": {func(s *scenario) { s.Given(&added{1}).Encoded(registry()).When(2).Then(added{2}) }, nil},
		"When twice":               {func(s *scenario) { s.When(1).When(2) }, []string{"When was called twice"}},
		"Given after When":         {func(s *scenario) { s.When(1).Given(added{1}) }, []string{"Given was called after When"}},
		"Then before When":         {func(s *scenario) { s.Then(added{1}) }, []string{"Then was called before When"}},
		"ThenNothing before When":  {func(s *scenario) { s.ThenNothing() }, []string{"ThenNothing was called before When"}},
		"ThenError before When":    {func(s *scenario) { s.ThenError(errTooMuch) }, []string{"ThenError was called before When"}},
		"ThenErrorIs before When":  {func(s *scenario) { s.ThenErrorIs(nil) }, []string{"ThenErrorIs was called before When"}},
		"folding that is not pure": {nil, []string{"folding the given events twice gives two states"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &recorder{TB: t}
			done := make(chan struct{})
			go func() { // Fatal ends the goroutine
				defer close(done)
				if c.run == nil {
					aggregatetest.For(r, impure()).Given(added{1}).When(1)
					return
				}
				c.run(aggregatetest.For(r, counter()))
			}()
			<-done
			if (len(r.reports) > 0) != (len(c.want) > 0) {
				t.Errorf("reported %q, want words %q", r.reports, c.want)
			}
			for _, word := range c.want {
				if !strings.Contains(strings.Join(r.reports, "\n"), word) {
					t.Errorf("report lacks %q:\n%s", word, strings.Join(r.reports, "\n"))
				}
			}
		})
	}
}

func impure() aggregate.Decider[*state, int, event] {
	d, calls := counter(), 0
	d.Evolve = func(s *state, _ event) *state {
		calls++
		s.Log = append(s.Log, calls)
		return s
	}
	return d
}

// recorder takes the place of a test that may fail.
type recorder struct {
	testing.TB
	reports []string
}

func (r *recorder) Helper() {}
func (r *recorder) Errorf(format string, args ...any) {
	r.reports = append(r.reports, fmt.Sprintf(format, args...))
}

func (r *recorder) Fatal(args ...any) {
	r.reports = append(r.reports, fmt.Sprint(args...))
	runtime.Goexit()
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

type tally struct {
	aggregate.Root[event]
	sum int
}

func (c *tally) Apply(e event) { c.sum += e.(added).N }

func (c *tally) add(n int) error {
	if n > 100 {
		return errTooMuch
	}
	c.Record(added{N: n})
	return nil
}

func TestRootScenario(t *testing.T) {
	t.Parallel()
	newTally := func() *tally { return &tally{} }
	aggregatetest.ForRoot(t, newTally).
		Given(added{5}).
		When(func(c *tally) error { return errors.Join(c.add(1), c.add(2)) }).
		Then(added{1}, added{2}).
		ThenState(&tally{sum: 8})
	aggregatetest.ForRoot(t, newTally).
		When(func(c *tally) error { return c.add(101) }).
		ThenError(errTooMuch)
}
