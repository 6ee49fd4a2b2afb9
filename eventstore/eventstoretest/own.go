package eventstoretest

import (
	"cmp"
	"errors"
	"reflect"
	"slices"
	"sort"

	"github.com/annals-es/annals/eventstore"
)

// A viewer is a handle of a store looking at a stream.
type viewer struct {
	store  any
	stream eventstore.StreamID
}

// handle returns what a handle is known by, nil if it cannot be told from others.
func handle(store any) any {
	if store == nil || !reflect.TypeOf(store).Comparable() {
		return nil
	}
	return store
}

// A sight is a version that a viewer has seen by a time.
type sight struct {
	at      int64
	version eventstore.Version
	told    bool // by a conflict, which may be the one that is wrong
}

// checkOwnReads checks that no handle reads less of a stream than it has read,
// written or been told of before. That holds through a failover too.
func (c *checker) checkOwnReads() {
	sights := c.sights()
	for _, r := range c.reads {
		seen := sights[viewer{r.store, r.stream}]
		before := sort.Search(len(seen), func(i int) bool { return seen[i].at >= r.begin })
		if before == 0 {
			continue
		}
		known := seen[before-1]
		switch {
		case eventstore.Version(len(r.versions)) >= known.version:
		case known.told:
			c.violate("unreal conflict or stale read: a read of %q saw %d events, though a conflict had told the same handle of the store of version %d before", r.stream, len(r.versions), known.version)
		default:
			c.violate("stale read: a read of %q saw %d events, though the same handle of the store had seen version %d before", r.stream, len(r.versions), known.version)
		}
	}
}

// sights returns the highest version that each viewer had seen by each time that
// it has seen something.
func (c *checker) sights() map[viewer][]sight {
	sights := map[viewer][]sight{}
	see := func(store any, stream eventstore.StreamID, s sight) {
		if store != nil && s.at != 0 {
			sights[viewer{store, stream}] = append(sights[viewer{store, stream}], s)
		}
	}
	for _, r := range c.reads {
		see(r.store, r.stream, sight{at: r.end, version: eventstore.Version(len(r.versions))})
	}
	for _, a := range c.attempts {
		if conflict, ok := errors.AsType[*eventstore.ConflictError](a.Err); ok {
			see(a.store, conflict.Stream, sight{at: a.End, version: conflict.Actual, told: true})
		}
		if a.Err == nil {
			for _, s := range a.Result.Streams {
				see(a.store, s.Stream, sight{at: a.End, version: s.Last})
			}
		}
	}
	for _, seen := range sights {
		slices.SortFunc(seen, func(a, b sight) int { return cmp.Compare(a.at, b.at) })
		for i := 1; i < len(seen); i++ {
			if highest := seen[i-1]; highest.version >= seen[i].version {
				seen[i].version, seen[i].told = highest.version, highest.told && (highest.version > seen[i].version || seen[i].told)
			}
		}
	}
	return sights
}
