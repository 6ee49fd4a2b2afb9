package simstore

import (
	"context"
	"hash/maphash"
	"slices"
	"strings"
	"sync"

	"github.com/annals-es/annals/eventstore"
)

const shardCount = 64

// A shard holds the streams whose names hash to it, and the data of their events.
type shard struct {
	mu      sync.Mutex
	streams streamTable
	types   map[eventstore.EventType]uint32 // indexes into the log's
	block   dataBlock

	// lastType is the type of the last event, and lastIndex its index: the next
	// one's is often the same.
	lastType  eventstore.EventType
	lastIndex uint32
}

// A stream is where the events of one name stand in the log. Its shard's lock
// guards it, but for the name.
type stream struct {
	name   eventstore.StreamID
	places []uint32 // in the log's records, of version i+1
	index  uint32   // in the log's streams, once there are events
	state  eventstore.StreamState
	cuts   *cuts // nil for most streams, which were never cut
}

// cuts are what was taken off the beginning of a stream.
type cuts struct {
	first   eventstore.Version   // that ReadStream gives, zero standing for 1
	deleted []eventstore.Version // heads at which the stream was deleted
}

// cut returns the stream's cuts, to be added to.
func (st *stream) cut() *cuts {
	if st.cuts == nil {
		st.cuts = &cuts{}
	}
	return st.cuts
}

func (st *stream) head() eventstore.Version { return eventstore.Version(len(st.places)) }

func (st *stream) info() eventstore.StreamInfo {
	info := eventstore.StreamInfo{Stream: st.name, Head: st.head(), First: 1, State: st.state}
	if st.cuts != nil {
		info.First = max(st.cuts.first, 1)
	}
	if st.state != eventstore.Live {
		info.First = info.Head + 1
	}
	return info
}

// revive ends the deletion of a stream that was continued.
func (st *stream) revive() {
	if st.state == eventstore.Deleted {
		st.state = eventstore.Live
		st.cuts.first = st.cuts.deleted[len(st.cuts.deleted)-1] + 1
	}
}

// A slot is where the stream of a name is, or would be. Its name is hashed once,
// for the shard and within it.
type slot struct {
	shard  *shard
	hash   uint64
	name   eventstore.StreamID
	stream *stream // nil when there is none, or it was not looked up
}

func (s *Store) slotOf(name eventstore.StreamID) slot {
	hash := maphash.String(s.seed, string(name))
	return slot{shard: &s.shards[hash%shardCount], hash: hash, name: name}
}

// find looks the stream up. The shard's lock is held, from here until the slot is
// done with.
func (sl *slot) find() *stream {
	sl.stream = sl.shard.streams.find(sl.hash, sl.name)
	return sl.stream
}

// make makes the stream if there is none. It was looked up before.
func (sl *slot) make() *stream {
	if sl.stream != nil {
		return sl.stream
	}
	sl.stream = &stream{name: eventstore.StreamID(strings.Clone(string(sl.name)))} // may be part of something big
	sl.shard.streams.add(sl.hash, sl.stream)
	return sl.stream
}

// info returns what is known of the stream. It was looked up before.
func (sl *slot) info() eventstore.StreamInfo {
	if sl.stream == nil {
		return eventstore.StreamInfo{Stream: sl.name, First: 1}
	}
	return sl.stream.info()
}

// lock looks a stream up and locks its shard.
func (s *Store) lock(name eventstore.StreamID) (sl slot, unlock func()) {
	sl = s.slotOf(name)
	sl.shard.mu.Lock()
	sl.find()
	return sl, sl.shard.mu.Unlock
}

// StreamInfo implements [eventstore.Streams].
func (s *Store) StreamInfo(ctx context.Context, name eventstore.StreamID) (eventstore.StreamInfo, error) {
	if err := s.beginStream(ctx, OpStreamInfo, name); err != nil {
		return eventstore.StreamInfo{}, err
	}
	sl, unlock := s.lock(name)
	defer unlock()
	return sl.info(), nil
}

// Delete implements [eventstore.Streams].
func (s *Store) Delete(ctx context.Context, name eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	if err := s.beginStream(ctx, OpDelete, name); err != nil {
		return err
	}
	if err := expected.Validate(); err != nil {
		return err
	}
	sl, unlock := s.lock(name)
	defer unlock()
	info := sl.info()
	switch {
	case info.State == eventstore.Tombstoned:
		return &eventstore.TombstonedError{Stream: name}
	case info.Head == 0 || info.State == eventstore.Deleted:
		return nil
	}
	if err := expect(info, expected); err != nil {
		return err
	}
	st := sl.make()
	st.state = eventstore.Deleted
	st.cut().deleted = append(st.cut().deleted, st.head())
	return nil
}

// Tombstone implements [eventstore.Streams].
func (s *Store) Tombstone(ctx context.Context, name eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	if err := s.beginStream(ctx, OpTombstone, name); err != nil {
		return err
	}
	if err := expected.Validate(); err != nil {
		return err
	}
	sl, unlock := s.lock(name)
	defer unlock()
	info := sl.info()
	if info.State == eventstore.Tombstoned {
		return nil
	}
	if err := expect(info, expected); err != nil {
		return err
	}
	sl.make().state = eventstore.Tombstoned
	return nil
}

// Truncate implements [eventstore.Streams].
func (s *Store) Truncate(ctx context.Context, name eventstore.StreamID, before eventstore.Version) error {
	if err := s.beginStream(ctx, OpTruncate, name); err != nil {
		return err
	}
	sl, unlock := s.lock(name)
	defer unlock()
	info := sl.info()
	switch {
	case info.State == eventstore.Tombstoned:
		return &eventstore.TombstonedError{Stream: name}
	case before < 0 || before > info.Head+1:
		return invalidf("before", "is %d; stream %q can be truncated before 1 to %d", before, name, info.Head+1)
	case before <= info.First:
		return nil
	}
	sl.make().cut().first = before
	return nil
}

// Erase implements [eventstore.Streams].
func (s *Store) Erase(ctx context.Context, name eventstore.StreamID) error {
	if err := s.beginStream(ctx, OpErase, name); err != nil {
		return err
	}
	sl, unlock := s.lock(name)
	defer unlock()
	st := sl.make()
	st.state = eventstore.Tombstoned
	s.log.content.Lock()
	defer s.log.content.Unlock()
	for _, place := range st.places {
		s.log.erase(s.log.records.at(place))
	}
	return nil
}

// beginStream is begin for operations that take a stream's name.
func (s *Store) beginStream(ctx context.Context, op Op, name eventstore.StreamID) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if err := name.Validate(); err != nil {
		return err
	}
	return s.begin(ctx, op, name)
}

// expect compares a stream with what is expected of it.
func expect(info eventstore.StreamInfo, expected eventstore.ExpectedVersion) error {
	if info.State == eventstore.Tombstoned {
		return &eventstore.TombstonedError{Stream: info.Stream}
	}
	if !expected.Matches(info) {
		return &eventstore.ConflictError{Stream: info.Stream, Expected: expected, Actual: info.Head}
	}
	return nil
}

// lockShards locks the shards of slots, always in the same order.
func (s *Store) lockShards(slots []slot) (unlock func()) {
	var used [shardCount]bool
	for i := range slots {
		used[slots[i].hash%shardCount] = true
	}
	locked := make([]*shard, 0, min(len(slots), shardCount))
	for i := range used {
		if used[i] {
			s.shards[i].mu.Lock()
			locked = append(locked, &s.shards[i])
		}
	}
	return func() {
		for _, sh := range slices.Backward(locked) {
			sh.mu.Unlock()
		}
	}
}
