package projection

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A Backend is what workers keep everything in: one database, since a commit
// spans documents, dead letters and checkpoints. The parts are small so that each
// can be implemented and tested by itself; package projectiontest has a suite for
// each.
type Backend interface {
	CheckpointStore
	LeaseStore
	DocumentStore
	DeadLetterStore
	Committer
	RowStore
}

// ErrMoved says that a write was refused because what it builds on is no longer
// what is stored: somebody else has written, or the same write was made before
// and its answer was lost. Reading again tells which.
var ErrMoved = errors.New("it was changed in the meantime")

// MaxDocumentSize is the greatest size in bytes of a read model's document,
// MongoDB's 16 MiB less 1 KiB for its key.
const MaxDocumentSize = 16<<20 - 1<<10

// A Document is a document of a read model: a key and the encoded value. How it
// is encoded is the business of the codec that the projection was given
// ([eventstore.NewBSONCodec] by default); a backend may refuse all but BSON.
//
// On MongoDB the value's fields are at the document's root and the key is _id.
// A value has no field of that name, then: it is an error of the document.
type Document struct {
	Key  string
	Data []byte
}

// A DocumentStore reads the documents of read models. A model is a named set of
// documents, on MongoDB a collection; the names of models are those that
// [ModelName] makes. Implementations are safe for concurrent use.
type DocumentStore interface {
	// LoadDocuments returns those documents that there are for keys, in any
	// order. It sees everything that was committed before it is called. No keys
	// give no documents.
	LoadDocuments(ctx context.Context, model string, keys []string) ([]Document, error)
	// ScanDocuments returns documents in the order of their keys' bytes: those
	// with from <= key < to, or from <= key when to is empty, at most limit of
	// them (all when zero).
	ScanDocuments(ctx context.Context, model, from, to string, limit int) ([]Document, error)
	// DropModel removes a model with all its documents. There need not be one.
	DropModel(ctx context.Context, model string) error
}

// A Change is what becomes of one document.
type Change struct {
	Model, Key string
	// Data is the new document, put in place of the old one if there is one.
	Data []byte
	// New says that there was no document when the writer looked, so that a backend
	// may try the cheaper insert. If there is one after all, Data replaces it.
	New bool
	// Updates change the document that is there, or an empty one, one after the
	// other, instead of Data. What an update is the backend says: on MongoDB an
	// update document or pipeline, on simstore a
	// func([]byte) ([]byte, error) from the old document (nil when there is none)
	// to the new one. All take a [Patch].
	Updates []any
}

// IsDelete reports whether the change removes the document, which need not be
// there.
func (c Change) IsDelete() bool { return c.Data == nil && len(c.Updates) == 0 }

// A Commit is one step of one partition of a projection.
type Commit struct {
	Key CheckpointKey
	// From is the checkpoint that the step builds on, as it was loaded or as the
	// commit before returned it.
	From Checkpoint
	// To is the position up to which everything is applied after it; it may be
	// From's own and may lie before it.
	To eventstore.Position
	// Fence is the fencing token of the writer's lease.
	Fence int64

	// Changes holds at most one change of each document.
	Changes []Change
	// Parked are written over what is stored for their [LetterID], Unparked
	// removed. No id is in both.
	Parked   []DeadLetter
	Unparked []LetterID
}

// A Committer applies commits.
type Committer interface {
	// Commit makes all changes, parks, unparks and saves the checkpoint
	// {c.To, c.Fence, c.From.Revision+1}, which it returns, or does nothing at
	// all.
	//
	// It is [ErrFenced] when the stored checkpoint has a higher fencing token,
	// and else [ErrMoved] when its position or revision is not that of c.From (a
	// missing checkpoint is the zero one). So no commit is applied twice, in
	// whatever order retries of it arrive.
	//
	// A document that cannot be written is a [*DocumentError]. A commit that is
	// too large as a whole is an [*eventstore.TooLargeError]; the caller makes
	// smaller ones. [eventstore.ErrUnavailable] says that nothing was written,
	// [eventstore.ErrOutcomeUnknown] that it is not known.
	Commit(ctx context.Context, c Commit) (Checkpoint, error)
}

// A DocumentError says which document could not be written, for a reason that
// trying again does not cure: it is too large, malformed, or hurts a unique index
// or a validation rule.
type DocumentError struct {
	Model, Key string
	Err        error
}

func (e *DocumentError) Error() string {
	return fmt.Sprintf("document %q of %s: %v", e.Key, e.Model, e.Err)
}

// Unwrap returns what is wrong with the document.
func (e *DocumentError) Unwrap() error { return e.Err }

// A LetterID identifies a dead letter: an event, for one key of one version of a
// projection.
type LetterID struct {
	Projection string
	Version    int
	Key        string
	Position   eventstore.Position
}

// A DeadLetter is an event that could not be applied for a key, or that follows
// one on the same key and waits behind it.
type DeadLetter struct {
	LetterID
	// Event is the event as it was read from the log.
	Event eventstore.Event
	// Error is what the last attempt failed with; empty for an event that waits
	// behind another one and was not tried.
	Error string
	// Attempts is how often it was tried.
	Attempts int
	// First and Last are when it was parked and when it was last tried, by the
	// worker's clock, in UTC with milliseconds.
	First, Last time.Time
}

// A LetterQuery says which dead letters to list.
type LetterQuery struct {
	Projection string
	Version    int
	// Key restricts it to one key; all when empty.
	Key string
	// After is the position to start behind.
	After eventstore.Position
	// Limit is the greatest number of letters; no limit when zero.
	Limit int
}

// A DeadLetterStore reads what is parked; [Committer] writes it. Implementations
// are safe for concurrent use.
type DeadLetterStore interface {
	// DeadLetters lists letters in the order of their positions, those of one
	// position by key.
	DeadLetters(ctx context.Context, q LetterQuery) ([]DeadLetter, error)
	// ParkedKeys returns the number of letters of each key that has any.
	ParkedKeys(ctx context.Context, projection string, version int) (map[string]int, error)
	// DropDeadLetters removes all letters of a version.
	DropDeadLetters(ctx context.Context, projection string, version int) error
}

// AnyRevision in a [Row] has it saved whatever is stored.
const AnyRevision int64 = -1

// A Row is a small named record: what workers and operators tell each other.
type Row struct {
	// Name has parts separated by "/", as in "control/orders".
	Name string
	// Revision is zero before the row is first saved and grows by one with every
	// save.
	Revision int64
	// Data is a BSON document.
	Data []byte
	// At is when the row was saved, by the store's clock, in UTC.
	At time.Time
}

// A RowStore keeps rows, and has the clock that all workers go by.
// Implementations are safe for concurrent use.
type RowStore interface {
	// LoadRow returns a row, one with nothing but the name when there is none.
	LoadRow(ctx context.Context, name string) (Row, error)
	// SaveRow keeps r.Data if the stored row's revision is r.Revision (zero when
	// there is none) or r.Revision is [AnyRevision], and returns the new row. It
	// is [ErrMoved], and changes nothing, otherwise. r.At is not looked at.
	SaveRow(ctx context.Context, r Row) (Row, error)
	// DeleteRow removes a row. There need not be one. A row that is made again
	// starts at revision zero.
	DeleteRow(ctx context.Context, name string) error
	// Rows lists the rows whose names start with prefix, by name.
	Rows(ctx context.Context, prefix string) ([]Row, error)
	// Now is the time by the store's clock, in UTC: the one that judges leases.
	Now(ctx context.Context) (time.Time, error)
}

// A Patch is a partial update that every backend takes. Paths have dots between
// their parts, as in "customer.name"; what is missing on the way is made. The
// fields of a patch touch paths that do not lie within each other.
type Patch struct {
	// Set puts a value at each path.
	Set map[string]any
	// Unset removes what is at each path.
	Unset []string
	// Add adds to the number at each path; a missing one is 0. Values are
	// int, int32, int64 or float64.
	Add map[string]any
	// Push puts an element behind the array at each path; a missing one is
	// empty.
	Push map[string]any
}

// ModelName returns the name of the model that holds the documents of a version
// of a projection. Generation counts its resets.
func ModelName(projection string, version, generation int) string {
	if generation == 0 {
		return fmt.Sprintf("%s_v%d", projection, version)
	}
	return fmt.Sprintf("%s_v%d_%d", projection, version, generation)
}
