package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A Definition is what a [Worker] runs: a [Fold], a [Projection], a [Publisher],
// or a process manager of package process.
type Definition interface {
	// Plan checks the definition and makes it ready to run.
	Plan(r *eventstore.Registry) (*Plan, error)
}

// A Plan is a definition made ready to run. Programs do not deal with plans;
// packages that bring kinds of definitions of their own make them. Its functions
// are called by one goroutine for each partition, but for Route, which is called
// for later events while those before are being applied.
type Plan struct {
	Name    string
	Version int
	// Filter says which events are read. Its share is the worker's to set.
	Filter eventstore.Filter
	// ByStream says that every key of an event hashes as its stream does
	// ([eventstore.StreamID.ShareHash]), so that a partition need not read the
	// streams of others.
	ByStream bool
	// Hash is the hash of a key that its partition follows from; [KeyHash] when
	// nil.
	Hash func(key string) uint32
	// Effects says that handling an event has effects besides documents, which a
	// version that is built beside another one must hold back.
	Effects bool
	// Direct says that Apply takes effect at once and must not be repeated
	// needlessly.
	Direct bool
	// Codec encodes documents; BSON when nil.
	Codec eventstore.Codec
	// Models are suffixes of the names of further models, which are dropped with
	// the main one.
	Models []string

	// Carried are those of Models whose documents a version with effects takes over
	// from the one that it replaces: what that one had still to do.
	Carried []string

	// Route says which keys an event concerns. It must be pure.
	Route func(e eventstore.Event) (Routed, error)
	// Apply applies an event to one of its keys. Unless Direct, it has no
	// effects but those on w, and after an error it is called again for
	// everything since the last commit.
	Apply func(ctx context.Context, w *Work, r Routed, key string) error
	// Batch, when set, is called instead of Apply, with all events of a batch at
	// once.
	Batch func(ctx context.Context, events []eventstore.Event) error
	// Dispatcher, when set, is called when a partition starts and returns what
	// looks after its outbox and timers.
	Dispatcher func(s *Session) Dispatcher
}

// Routed is an event and the keys that it concerns.
type Routed struct {
	Event   eventstore.Event
	Payload any
	// Keys are the keys of documents, none of them empty; repeated ones count
	// once.
	Keys []string
	// Load says that the documents must be loaded to apply the event.
	Load bool
	// Held says that the effects of the event are to be held back.
	Held bool
}

// A Dispatcher looks after what a partition has to do besides events.
type Dispatcher interface {
	// Dispatch is called when the partition starts, after commits and when the
	// time that it returned has come, always by the partition's goroutine. Zero
	// stands for no such time. An error is reported, and has it called again after
	// a pause unless it comes with a time.
	Dispatch(ctx context.Context) (next time.Time, err error)
}

// KeyHash is the 32-bit FNV-1a hash of a key. The key's partition is the rest of
// its division by the number of partitions.
func KeyHash(key string) uint32 {
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return h
}

// Check reports what is wrong with a plan, and fills in its defaults.
func (p *Plan) Check() error {
	var errs []error
	invalid := func(format string, args ...any) {
		errs = append(errs, &eventstore.InvalidError{What: "projection " + p.Name, Reason: fmt.Sprintf(format, args...)})
	}
	if p.Name == "" || strings.ContainsAny(p.Name, "@/\x00") {
		invalid("has the name %q; it must not be empty or hold @, / or NUL", p.Name)
	}
	if p.Version < 0 {
		invalid("has version %d; versions start at 1", p.Version)
	}
	p.Version = max(p.Version, 1)
	if p.Hash == nil {
		p.Hash = KeyHash
	}
	if p.Codec == nil {
		p.Codec = eventstore.NewBSONCodec()
	}
	return errors.Join(errs...)
}

// modelNames returns the names of all models of a generation of the plan's version.
func modelNames(name string, version, generation int, suffixes []string) []string {
	base := ModelName(name, version, generation)
	names := []string{base}
	for _, s := range suffixes {
		names = append(names, base+s)
	}
	return names
}

// standInPrefix starts the keys under which events are parked whose own keys
// cannot be found out.
const standInPrefix = "$stream:"

// route calls Route and checks the keys; a panic is an error.
func (p *Plan) route(e eventstore.Event) (Routed, error) {
	var r Routed
	err := safely(func() (err error) {
		r, err = p.Route(e)
		return err
	})
	if err != nil {
		return r, err
	}
	r.Event = e
	keys := r.Keys[:0:0]
	for _, key := range r.Keys {
		switch {
		case key == "" || slices.Contains(keys, key):
			continue
		case strings.HasPrefix(key, standInPrefix):
			return r, Permanent(&eventstore.InvalidError{What: "key", Reason: fmt.Sprintf("%q starts with %q, which is kept for streams", key, standInPrefix)})
		}
		keys = append(keys, key)
	}
	r.Keys = keys
	return r, nil
}

// apply calls Apply; a panic is an error.
func (p *Plan) apply(ctx context.Context, w *Work, r Routed, key string) error {
	return safely(func() error { return p.Apply(ctx, w, r, key) })
}

// batch calls Batch; a panic is an error.
func (p *Plan) batch(ctx context.Context, events []eventstore.Event) error {
	return safely(func() error { return p.Batch(ctx, events) })
}
