package eventstore

import (
	"encoding/binary"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/google/uuid"
)

// An EventID identifies an event, by default a UUIDv7. It is what makes an
// append repeatable: see [AppendRequest].
type EventID = uuid.UUID

// NewEventID returns a new UUIDv7: milliseconds since 1970, twelve bits of
// fraction, 62 random bits. Ids made one after the other by one process are in
// ascending order, also when its clock is set back. They are unique and no
// secret. It is safe for concurrent use.
func NewEventID() EventID {
	return newEventID(&lastTick, time.Now())
}

// lastTick is the tick of the last id made by this process. It is what keeps ids
// ascending (RFC 9562, 6.2), which a lock would do at more cost.
var lastTick atomic.Uint64

// newEventID makes an id with a tick above last. A tick is 1/4096 ms, which is
// what the bits of a UUIDv7 before the random ones count.
func newEventID(last *atomic.Uint64, now time.Time) EventID {
	// Seconds and nanoseconds apart, so that nothing overflows.
	tick := uint64(now.UnixMilli())<<12 | uint64(now.Nanosecond()%1e6)<<12/1e6
	for {
		before := last.Load()
		if tick <= before {
			tick = before + 1
		}
		if last.CompareAndSwap(before, tick) {
			break
		}
	}
	var id EventID
	binary.BigEndian.PutUint64(id[:], tick>>12<<16|0x7000|tick&0xfff)
	binary.BigEndian.PutUint64(id[8:], 1<<63|rand.Uint64()>>2) // the runtime's ChaCha8, seeded by the system
	return id
}
