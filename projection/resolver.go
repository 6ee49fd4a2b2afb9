package projection

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// ErrNotBuilt says that no version of a projection has been built completely yet,
// so that there is nothing to read.
var ErrNotBuilt = errors.New("it has not been built yet")

// A Resolver tells readers which model holds the documents of a projection's
// current version. It is safe for concurrent use.
type Resolver struct {
	records  records
	maxStale time.Duration
	now      func() time.Time

	mu    sync.Mutex
	known map[string]resolved
}

// resolved is an answer: asked for at one time, there at another one.
type resolved struct {
	model    string
	version  int
	revision int64 // of the record
	asked    time.Time
	there    time.Time
}

// NewResolver returns a resolver whose answers are at most maxStale old, a second
// when zero. The version before is kept much longer than that
// ([WorkerConfig].Keep), so an answer is good for as long as a query takes.
func NewResolver(backend RowStore, maxStale time.Duration) *Resolver {
	if maxStale <= 0 {
		maxStale = time.Second
	}
	return &Resolver{records: newRecords(backend), maxStale: maxStale, now: time.Now, known: map[string]resolved{}}
}

// Model returns the name of the model that holds the documents of a projection's
// current version, and the version. It is [ErrNotBuilt] while the first version
// is being built. Once a caller has been told of a promotion, nobody is told of
// what was before it.
func (r *Resolver) Model(ctx context.Context, projection string) (model string, version int, err error) {
	r.mu.Lock()
	known, ok := r.known[projection]
	r.mu.Unlock()
	asked := r.now()
	if ok && asked.Sub(known.asked) < r.maxStale {
		return known.model, known.version, nil
	}
	rec, row, err := r.records.loadRow(ctx, projection)
	if err != nil {
		return "", 0, err
	}
	v := rec.version(rec.Current)
	if rec.Current == 0 || v == nil {
		return "", 0, fmt.Errorf("projection %s: %w", projection, ErrNotBuilt)
	}
	known = r.learn(projection, resolved{
		model: ModelName(projection, v.Version, v.Generation), version: v.Version, revision: row.Revision, asked: asked, there: r.now(),
	})
	return known.model, known.version, nil
}

// learn keeps an answer and returns it, or the one that it comes too late for. Of
// two that were under way at the same time, the one that was asked for later may
// have been given earlier; the record's revision tells.
func (r *Resolver) learn(projection string, answer resolved) resolved {
	r.mu.Lock()
	defer r.mu.Unlock()
	known, ok := r.known[projection]
	if ok && !known.there.Before(answer.asked) && known.revision > answer.revision {
		return known
	}
	r.known[projection] = answer
	return answer
}

// A View reads the documents of a projection's current version as values of type
// D. It is safe for concurrent use.
type View[D any] struct {
	name     string
	docs     DocumentStore
	resolver *Resolver
	codec    eventstore.Codec
}

// NewView returns a view of the projection that a fold defines. What it does not
// offer, queries by other fields, is the backend's business: ask the resolver for
// the name of the model.
func NewView[D any](f Fold[D], docs DocumentStore, resolver *Resolver) *View[D] {
	codec := f.Codec
	if codec == nil {
		codec = resolver.records.codec
	}
	return &View[D]{name: f.Name, docs: docs, resolver: resolver, codec: codec}
}

// Get returns the document of a key and whether there is one.
func (v *View[D]) Get(ctx context.Context, key string) (D, bool, error) {
	all, err := v.GetAll(ctx, key)
	d, ok := all[key]
	return d, ok, err
}

// GetAll returns those documents that there are for keys.
func (v *View[D]) GetAll(ctx context.Context, keys ...string) (map[string]D, error) {
	model, _, err := v.resolver.Model(ctx, v.name)
	if err != nil {
		return nil, err
	}
	docs, err := v.docs.LoadDocuments(ctx, model, keys)
	if err != nil {
		return nil, fmt.Errorf("load documents of projection %s: %w", v.name, err)
	}
	all := make(map[string]D, len(docs))
	for _, doc := range docs {
		var d D
		if err := v.codec.Unmarshal(doc.Data, &d); err != nil {
			return nil, fmt.Errorf("decode document %q of projection %s: %w", doc.Key, v.name, err)
		}
		all[doc.Key] = d
	}
	return all, nil
}
