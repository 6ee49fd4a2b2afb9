package snapshot

import (
	"time"

	"github.com/annals-es/annals/eventstore"
)

// Facts are what a [Policy] decides by.
type Facts struct {
	// Version is the version that a snapshot taken now would have.
	Version eventstore.Version
	// Last is the version of the newest snapshot, zero when there is none, and
	// LastTime when it was taken.
	Last     eventstore.Version
	LastTime time.Time
	// Now is the present time.
	Now time.Time
	// LoadTime is how long it took to load the state before this append, and
	// Loaded how many events were read for it.
	LoadTime time.Duration
	Loaded   int
}

// A Policy says whether to take a snapshot now. It is asked after each append
// and must be safe for concurrent use. It is not asked when there is nothing new
// since the last snapshot.
type Policy func(Facts) bool

// Never takes no snapshot.
func Never() Policy { return func(Facts) bool { return false } }

// Every takes a snapshot when n or more events were appended since the last
// one. It panics unless n is positive.
func Every(n int) Policy {
	if n < 1 {
		panic("snapshot: Every needs a positive number of events")
	}
	return func(f Facts) bool { return f.Version-f.Last >= eventstore.Version(n) }
}

// OlderThan takes a snapshot when there is none, or when the last one was taken
// d or longer ago.
func OlderThan(d time.Duration) Policy {
	return func(f Facts) bool { return f.Last == 0 || f.Now.Sub(f.LastTime) >= d }
}

// SlowerThan takes a snapshot when loading the state took d or longer.
func SlowerThan(d time.Duration) Policy {
	return func(f Facts) bool { return f.LoadTime >= d }
}

// AnyOf takes a snapshot when one of the policies does.
func AnyOf(policies ...Policy) Policy {
	return func(f Facts) bool {
		for _, p := range policies {
			if p(f) {
				return true
			}
		}
		return false
	}
}
