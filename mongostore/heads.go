package mongostore

import (
	lru "github.com/hashicorp/golang-lru/v2"

	"github.com/annals-es/annals/eventstore"
)

// heads remembers of recently used streams a version that is known to exist.
// Versions never vanish, so what it says stays true; there may be later ones. It
// learns only what the majority of the servers has, which no election takes back.
type heads struct {
	known *lru.Cache[eventstore.StreamID, eventstore.Version]
}

func newHeads(size int) (*heads, error) {
	known, err := lru.New[eventstore.StreamID, eventstore.Version](size)
	return &heads{known: known}, err
}

// get returns zero for a stream of which nothing is known.
func (h *heads) get(s eventstore.StreamID) eventstore.Version {
	v, _ := h.known.Get(s)
	return v
}

func (h *heads) learn(s eventstore.StreamID, v eventstore.Version) {
	if v > h.get(s) {
		h.known.Add(s, v) // two at once may leave the lower one: still true
	}
}
