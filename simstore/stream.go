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

// A shard holds the streams whose names hash to it.
type shard struct {
	mu      sync.RWMutex
	streams map[eventstore.StreamID]*stream
}

// A stream is where the events of one name stand in the log. Its shard's lock
// guards it, but for the name.
type stream struct {
	name      eventstore.StreamID
	index     uint32                // in the log's streams, once there are events
	positions []eventstore.Position // of version i+1
	first     eventstore.Version    // that ReadStream gives, zero standing for 1
	deleted   []eventstore.Version  // heads at which it was deleted
	state     eventstore.StreamState
}

func (st *stream) head() eventstore.Version { return eventstore.Version(len(st.positions)) }

func (st *stream) info() eventstore.StreamInfo {
	info := eventstore.StreamInfo{Stream: st.name, Head: st.head(), First: max(st.first, 1), State: st.state}
	if st.state != eventstore.Live {
		info.First = info.Head + 1
	}
	return info
}

// revive ends the deletion of a stream that was continued.
func (st *stream) revive() {
	if st.state == eventstore.Deleted {
		st.state = eventstore.Live
		st.first = st.deleted[len(st.deleted)-1] + 1
	}
}

func (s *Store) shardOf(name eventstore.StreamID) *shard {
	return &s.shards[s.shardIndex(name)]
}

func (s *Store) shardIndex(name eventstore.StreamID) int {
	return int(maphash.String(s.seed, string(name)) % shardCount)
}

// stream returns the stream of a name, made if need be. The lock is held for
// writing.
func (sh *shard) stream(name eventstore.StreamID) *stream {
	st, ok := sh.streams[name]
	if !ok {
		name = eventstore.StreamID(strings.Clone(string(name))) // may be part of something big
		st = &stream{name: name}
		if sh.streams == nil {
			sh.streams = map[eventstore.StreamID]*stream{}
		}
		sh.streams[name] = st
	}
	return st
}

// info returns what is known of a name. The lock is held.
func (sh *shard) info(name eventstore.StreamID) eventstore.StreamInfo {
	if st, ok := sh.streams[name]; ok {
		return st.info()
	}
	return eventstore.StreamInfo{Stream: name, First: 1}
}

// StreamInfo implements [eventstore.Streams].
func (s *Store) StreamInfo(ctx context.Context, name eventstore.StreamID) (eventstore.StreamInfo, error) {
	if err := s.beginStream(ctx, OpStreamInfo, name); err != nil {
		return eventstore.StreamInfo{}, err
	}
	sh := s.shardOf(name)
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	return sh.info(name), nil
}

// Delete implements [eventstore.Streams].
func (s *Store) Delete(ctx context.Context, name eventstore.StreamID, expected eventstore.ExpectedVersion) error {
	if err := s.beginStream(ctx, OpDelete, name); err != nil {
		return err
	}
	if err := expected.Validate(); err != nil {
		return err
	}
	sh := s.shardOf(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	info := sh.info(name)
	switch {
	case info.State == eventstore.Tombstoned:
		return &eventstore.TombstonedError{Stream: name}
	case info.Head == 0 || info.State == eventstore.Deleted:
		return nil
	}
	if err := expect(info, expected); err != nil {
		return err
	}
	st := sh.stream(name)
	st.state = eventstore.Deleted
	st.deleted = append(st.deleted, st.head())
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
	sh := s.shardOf(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	info := sh.info(name)
	if info.State == eventstore.Tombstoned {
		return nil
	}
	if err := expect(info, expected); err != nil {
		return err
	}
	sh.stream(name).state = eventstore.Tombstoned
	return nil
}

// Truncate implements [eventstore.Streams].
func (s *Store) Truncate(ctx context.Context, name eventstore.StreamID, before eventstore.Version) error {
	if err := s.beginStream(ctx, OpTruncate, name); err != nil {
		return err
	}
	sh := s.shardOf(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	info := sh.info(name)
	switch {
	case info.State == eventstore.Tombstoned:
		return &eventstore.TombstonedError{Stream: name}
	case before < 0 || before > info.Head+1:
		return invalidf("before", "is %d; stream %q can be truncated before 1 to %d", before, name, info.Head+1)
	case before <= info.First:
		return nil
	}
	sh.stream(name).first = before
	return nil
}

// Erase implements [eventstore.Streams].
func (s *Store) Erase(ctx context.Context, name eventstore.StreamID) error {
	if err := s.beginStream(ctx, OpErase, name); err != nil {
		return err
	}
	sh := s.shardOf(name)
	sh.mu.Lock()
	defer sh.mu.Unlock()
	st := sh.stream(name)
	st.state = eventstore.Tombstoned
	s.log.content.Lock()
	defer s.log.content.Unlock()
	for _, p := range st.positions {
		s.log.erase(s.log.at(p))
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

// lockShards locks the shards of a request's streams, always in the same order.
func (s *Store) lockShards(parts []eventstore.StreamAppend) (unlock func()) {
	var used [shardCount]bool
	for _, p := range parts {
		used[s.shardIndex(p.Stream)] = true
	}
	locked := make([]*shard, 0, min(len(parts), shardCount))
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
