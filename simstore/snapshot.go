package simstore

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/snapshot"
)

// Snapshots are the snapshots of a [Store], and closed with it. They are safe for
// concurrent use.
type Snapshots struct {
	store *Store
	mu    sync.Mutex
	kept  map[eventstore.StreamID]map[int]snapshot.Snapshot // by schema version
}

var _ snapshot.Store = (*Snapshots)(nil)

// Load implements [snapshot.Store].
func (s *Snapshots) Load(ctx context.Context, key snapshot.Key) (snapshot.Snapshot, error) {
	if err := s.store.beginStream(ctx, OpLoadSnapshot, key.Stream); err != nil {
		return snapshot.Snapshot{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	snap, ok := s.kept[key.Stream][key.Schema]
	if !ok {
		return snapshot.Snapshot{}, fmt.Errorf("snapshot of %q, schema %d: %w", key.Stream, key.Schema, snapshot.ErrNotFound)
	}
	snap.State = bytes.Clone(snap.State)
	return snap, nil
}

// Save implements [snapshot.Store].
func (s *Snapshots) Save(ctx context.Context, snap snapshot.Snapshot) error {
	if err := s.store.ready(ctx); err != nil {
		return err
	}
	if snap.Version < 1 {
		return invalidf("snapshot's version", "is %d; a snapshot is taken after an event, whose versions start at 1", snap.Version)
	}
	if n := len(snap.State); n > eventstore.MaxEventSize {
		return &eventstore.TooLargeError{What: "snapshot", Size: n, Limit: eventstore.MaxEventSize}
	}
	if err := s.store.beginStream(ctx, OpSaveSnapshot, snap.Stream); err != nil {
		return err
	}
	snap.State = bytes.Clone(snap.State)
	snap.Time = time.UnixMilli(snap.Time.UnixMilli()).UTC()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept == nil {
		s.kept = map[eventstore.StreamID]map[int]snapshot.Snapshot{}
	}
	bySchema := s.kept[snap.Stream]
	if bySchema == nil {
		bySchema = map[int]snapshot.Snapshot{}
		s.kept[snap.Stream] = bySchema
	}
	if bySchema[snap.Schema].Version <= snap.Version {
		bySchema[snap.Schema] = snap
	}
	return nil
}

// Delete implements [snapshot.Store].
func (s *Snapshots) Delete(ctx context.Context, stream eventstore.StreamID) error {
	if err := s.store.beginStream(ctx, OpDeleteSnapshot, stream); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.kept, stream)
	return nil
}
