package mongostore

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	randv2 "math/rand/v2"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// objectIDs makes the ids of documents: the time, five random bytes of the store
// and a counter, in ascending order within a second.
type objectIDs struct {
	process [5]byte
	counter atomic.Uint32
}

func newObjectIDs() (*objectIDs, error) {
	var seed [8]byte
	if _, err := rand.Read(seed[:]); err != nil {
		return nil, fmt.Errorf("random bytes for object ids: %w", err)
	}
	ids := &objectIDs{process: [5]byte(seed[:5])}
	ids.counter.Store(uint32(seed[5])<<16 | uint32(seed[6])<<8 | uint32(seed[7]))
	return ids, nil
}

func (o *objectIDs) next() (id bson.ObjectID) {
	n := o.counter.Add(1)
	binary.BigEndian.PutUint32(id[:4], uint32(time.Now().Unix()))
	copy(id[4:9], o.process[:])
	id[9], id[10], id[11] = byte(n>>16), byte(n>>8), byte(n)
	return id
}

// jitter returns between a half and all of d.
func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(randv2.Int64N(int64(d/2)+1)) //nolint:gosec // spreads retries, no secret
}
