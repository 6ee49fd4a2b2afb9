package simstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sort"
	"sync"
	"unicode/utf8"

	"github.com/annals-es/annals/eventstore"
	"github.com/annals-es/annals/projection"
)

// readModels holds all documents. Data in it does not change: a write replaces
// it.
type readModels struct {
	codec  eventstore.Codec
	mu     sync.RWMutex
	models map[string]*model
}

// A model is a set of documents. Its sorted keys are made when they are first
// scanned, and thrown away when a key comes or goes.
type model struct {
	docs   map[string][]byte
	sorted []string
}

func (m *model) set(key string, data []byte) {
	if _, ok := m.docs[key]; !ok {
		m.sorted = nil
	}
	m.docs[key] = data
}

func (m *model) remove(key string) {
	if _, ok := m.docs[key]; ok {
		m.sorted = nil
		delete(m.docs, key)
	}
}

// LoadDocuments implements [projection.DocumentStore].
func (s *Store) LoadDocuments(ctx context.Context, name string, keys []string) ([]projection.Document, error) {
	if err := s.begin(ctx, OpLoadDocuments, ""); err != nil {
		return nil, err
	}
	s.models.mu.RLock()
	defer s.models.mu.RUnlock()
	m := s.models.models[name]
	if m == nil {
		return nil, nil
	}
	docs := make([]projection.Document, 0, len(keys))
	for _, key := range keys {
		if data, ok := m.docs[key]; ok {
			docs = append(docs, projection.Document{Key: key, Data: slices.Clone(data)})
		}
	}
	return docs, nil
}

// ScanDocuments implements [projection.DocumentStore].
func (s *Store) ScanDocuments(ctx context.Context, name, from, to string, limit int) ([]projection.Document, error) {
	if err := s.begin(ctx, OpScanDocuments, ""); err != nil {
		return nil, err
	}
	if limit < 0 {
		return nil, invalidf("limit", "is negative; 0 stands for no limit")
	}
	s.models.mu.Lock()
	defer s.models.mu.Unlock()
	m := s.models.models[name]
	if m == nil {
		return nil, nil
	}
	if m.sorted == nil {
		for key := range m.docs {
			m.sorted = append(m.sorted, key)
		}
		slices.Sort(m.sorted)
	}
	var docs []projection.Document
	for _, key := range m.sorted[sort.SearchStrings(m.sorted, from):] {
		if (to != "" && key >= to) || (limit > 0 && len(docs) == limit) {
			break
		}
		docs = append(docs, projection.Document{Key: key, Data: slices.Clone(m.docs[key])})
	}
	return docs, nil
}

// DropModel implements [projection.DocumentStore].
func (s *Store) DropModel(ctx context.Context, name string) error {
	if err := s.begin(ctx, OpDropModel, ""); err != nil {
		return err
	}
	s.models.mu.Lock()
	defer s.models.mu.Unlock()
	delete(s.models.models, name)
	return nil
}

// Commit implements [projection.Committer].
func (s *Store) Commit(ctx context.Context, c projection.Commit) (projection.Checkpoint, error) {
	if err := s.ready(ctx); err != nil {
		return projection.Checkpoint{}, err
	}
	if err := checkCommit(c); err != nil {
		return projection.Checkpoint{}, err
	}
	if !s.faults.active() {
		return s.commitStep(c)
	}
	f, err := s.faults.meetCommit(ctx)
	if err == nil {
		err = s.ready(ctx) // a delay may have passed
	}
	switch {
	case err != nil:
		return projection.Checkpoint{}, err
	case f == nil:
		return s.commitStep(c)
	case f.fault.Kind == Unavailable:
		return projection.Checkpoint{}, f.unavailable(OpCommit)
	case f.fault.Kind == UnknownWritten:
		if _, err := s.commitStep(c); err != nil {
			return projection.Checkpoint{}, err
		}
	}
	return projection.Checkpoint{}, f.unknown(OpCommit)
}

// checkCommit finds what can be seen to be wrong with a commit from itself.
func checkCommit(c projection.Commit) error {
	if c.To < 0 {
		return invalidf("commit's position", "is negative; 0 stands before the first event")
	}
	size := 0
	seen := make(map[[2]string]struct{}, len(c.Changes))
	for _, change := range c.Changes {
		id := [2]string{change.Model, change.Key}
		if _, ok := seen[id]; ok {
			return invalidf("commit", "has two changes of document %q of %s", change.Key, change.Model)
		}
		seen[id] = struct{}{}
		if change.Data != nil && len(change.Updates) > 0 {
			return invalidf("commit", "has both data and updates for document %q of %s", change.Key, change.Model)
		}
		size += len(change.Data)
	}
	for _, l := range c.Parked {
		size += len(l.Event.Data)
	}
	if size > eventstore.MaxAppendSize {
		return &eventstore.TooLargeError{What: "commit", Size: size, Limit: eventstore.MaxAppendSize}
	}
	return nil
}

// commitStep is the atomic step.
func (s *Store) commitStep(c projection.Commit) (projection.Checkpoint, error) {
	s.checkpoints.mu.Lock()
	defer s.checkpoints.mu.Unlock()
	stored := s.checkpoints.rows[c.Key]
	switch {
	case stored.Fence > c.Fence:
		return projection.Checkpoint{}, fmt.Errorf("commit to %s with fencing token %d: %w (token %d)", c.Key, c.Fence, projection.ErrFenced, stored.Fence)
	case stored.Position != c.From.Position || stored.Revision != c.From.Revision:
		return projection.Checkpoint{}, fmt.Errorf("commit to %s from position %d, revision %d: %w: it is at %d, revision %d",
			c.Key, c.From.Position, c.From.Revision, projection.ErrMoved, stored.Position, stored.Revision)
	}
	if err := s.change(c.Changes); err != nil {
		return projection.Checkpoint{}, err
	}
	s.park(c.Parked, c.Unparked)
	next := projection.Checkpoint{Position: c.To, Fence: c.Fence, Revision: c.From.Revision + 1}
	if s.checkpoints.rows == nil {
		s.checkpoints.rows = map[projection.CheckpointKey]projection.Checkpoint{}
	}
	s.checkpoints.rows[c.Key] = next
	return next, nil
}

// change makes all changes or none.
func (s *Store) change(changes []projection.Change) error {
	s.models.mu.Lock()
	defer s.models.mu.Unlock()
	after := make([][]byte, len(changes))
	for i, c := range changes {
		if c.IsDelete() {
			continue
		}
		var old []byte
		if m := s.models.models[c.Model]; m != nil {
			old = m.docs[c.Key]
		}
		data, err := s.models.after(c, old)
		if err != nil {
			return &projection.DocumentError{Model: c.Model, Key: c.Key, Err: err}
		}
		after[i] = data
	}
	if s.models.models == nil && len(changes) > 0 {
		s.models.models = map[string]*model{}
	}
	for i, c := range changes {
		m := s.models.models[c.Model]
		if m == nil {
			m = &model{docs: map[string][]byte{}}
			s.models.models[c.Model] = m
		}
		if after[i] == nil {
			m.remove(c.Key)
		} else {
			m.set(c.Key, after[i])
		}
	}
	return nil
}

// after returns what a document is after a change.
func (r *readModels) after(c projection.Change, old []byte) ([]byte, error) {
	data := slices.Clone(c.Data)
	if data == nil {
		data = old
	}
	for _, u := range c.Updates {
		var err error
		if data, err = r.update(data, u); err != nil {
			return nil, err
		}
	}
	switch {
	case !utf8.ValidString(c.Key):
		return nil, errors.New("its key is not valid UTF-8")
	case len(data) > projection.MaxDocumentSize:
		return nil, &eventstore.TooLargeError{What: "document", Size: len(data), Limit: projection.MaxDocumentSize}
	}
	return data, r.check(data)
}

// check refuses what MongoDB would.
func (r *readModels) check(data []byte) error {
	if !bytes.Contains(data, []byte("_id\x00")) {
		return r.codec.Unmarshal(data, &struct{}{}) // is it well-formed at all
	}
	var probe struct {
		ID any `json:"_id"`
	}
	if err := r.codec.Unmarshal(data, &probe); err != nil {
		return err
	}
	if probe.ID != nil {
		return errors.New("it has a field _id, which is kept for the key")
	}
	return nil
}

// update applies one partial update to a document.
func (r *readModels) update(data []byte, u any) ([]byte, error) {
	switch u := u.(type) {
	case func([]byte) ([]byte, error):
		return u(slices.Clone(data))
	case projection.Patch:
		return patch(r.codec, data, u)
	}
	return nil, fmt.Errorf("an update of type %T is none; simstore takes a projection.Patch or a func([]byte) ([]byte, error)", u)
}
