package eventstoretest

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A Store is a fresh and empty store to be tested.
type Store struct {
	eventstore.EventStore
	// Streams tells of streams and ends them. It is nil for a store that cannot;
	// the suite must be told so by [WithoutStreams].
	Streams eventstore.Streams
	// Close closes the store. The suite calls it, more than once. Required.
	Close func() error
	// Second opens a second store on the same data, as another process would;
	// nil for a store whose data is its own. The suite closes it.
	Second func(t testing.TB) Store
}

// An Option is an option of [Run].
type Option func(*suite)

// WithoutStreams declares that the store does not implement
// [eventstore.Streams]. The tests of it are then skipped, saying so.
func WithoutStreams() Option { return func(s *suite) { s.withoutStreams = true } }

// Remote makes the sizes and numbers of rounds those for a store behind a
// network, so that the suite takes seconds and not minutes. Nothing is left out.
func Remote() Option { return func(s *suite) { s.remote = true } }

// Patience is how long a store may take for what it has to do, such as bringing
// an append into the log, before it counts as hanging: a minute by default.
func Patience(d time.Duration) Option { return func(s *suite) { s.patience = d } }

// Seed sets the seed of the random tests. By default it is random, or that in the
// environment variable EVENTSTORETEST_SEED; a test that fails prints it.
func Seed(seed uint64) Option { return func(s *suite) { s.seed = seed } }

// Run runs the suite. Open is called for each sub-test and returns a fresh, empty
// store; it may register what has to be cleaned up after the store was closed.
func Run(t *testing.T, open func(t testing.TB) Store, options ...Option) {
	t.Helper()
	s := &suite{open: open, patience: time.Minute, seed: rand.Uint64()}
	if text, ok := os.LookupEnv("EVENTSTORETEST_SEED"); ok {
		seed, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("EVENTSTORETEST_SEED is no number: %v", err)
		}
		s.seed = seed
	}
	for _, option := range options {
		option(s)
	}
	// Leaks counts goroutines that it started, so it may run beside others; it is
	// the first to keep it from being slowed down by them.
	for _, a := range []area{
		{"Lifecycle", lifecycleTests},
		{"Append", appendTests},
		{"Idempotence", idempotenceTests},
		{"Atomicity", atomicityTests},
		{"Read", readTests},
		{"Log", logTests},
		{"Wait", waitTests},
		{"Event", eventTests},
		{"Names", nameTests},
		{"Limits", limitTests},
		{"Streams", streamsTests},
		{"Concurrency", concurrencyTests},
		{"Random", randomTests},
		{"Second", secondTests},
	} {
		t.Run(a.name, func(t *testing.T) {
			for _, c := range a.tests() {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					c.run(s.setup(t))
				})
			}
		})
	}
}

// A suite is what Run was told.
type suite struct {
	open           func(testing.TB) Store
	withoutStreams bool
	remote         bool
	patience       time.Duration
	seed           uint64
}

// An area is a part of the suite: tests of one side of the contract.
type area struct {
	name  string
	tests func() []test
}

// A test holds a store to one promise.
type test struct {
	name string
	run  func(f *fixture)
}

// size returns the size for a store in memory or for a remote one.
func (s *suite) size(local, remote int) int {
	if s.remote {
		return remote
	}
	return local
}

func (s *suite) setup(t *testing.T) *fixture {
	t.Helper()
	f := &fixture{T: t, suite: s, Store: s.start(t, s.open)}
	if f.Streams == nil && !s.withoutStreams {
		t.Fatal("eventstoretest: Store.Streams is nil; set it, or declare WithoutStreams")
	}
	if f.Streams != nil && s.withoutStreams {
		t.Fatal("eventstoretest: Store.Streams is set, and WithoutStreams declared")
	}
	return f
}

// start opens a store that is closed when the test ends.
func (s *suite) start(t testing.TB, open func(testing.TB) Store) Store {
	t.Helper()
	store := open(t)
	if store.EventStore == nil || store.Close == nil {
		t.Fatal("eventstoretest: Store.EventStore and Store.Close must be set")
	}
	t.Cleanup(func() {
		closed := make(chan error, 1)
		go func() { closed <- store.Close() }()
		select {
		case err := <-closed:
			if err != nil {
				t.Errorf("Close: %v", err)
			}
		case <-time.After(s.patience):
			t.Errorf("Close did not return within %s", s.patience)
		}
	})
	return store
}

// random returns the source of a test's random choices, and has the seed printed
// when the test fails.
func (f *fixture) random() *rand.Rand {
	f.Cleanup(func() {
		if f.Failed() {
			f.Logf("to repeat: EVENTSTORETEST_SEED=%d, or the option Seed(%d)", f.suite.seed, f.suite.seed)
		}
	})
	name := uint64(0)
	for _, c := range f.Name() {
		name = name*31 + uint64(c)
	}
	return rand.New(rand.NewPCG(f.suite.seed, name))
}
