package storage

// Signatures that others compile against; the bodies follow file by file.

import (
	"context"
	"iter"
	"log/slog"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

type Config struct {
	Clock           func() time.Time // wall clock; time.Now by default
	OplogMaxEntries int              // default 1,000,000
	OplogMaxBytes   int64            // default 512 MiB
	TTLInterval     time.Duration    // default 60 s; negative: only RunTTL deletes
	LockTimeout     time.Duration    // a transaction's wait for a lock; default 5 ms
	HistoryWindow   time.Duration    // how long superseded versions stay for SnapshotAt; default 0
	Logger          *slog.Logger
}

type Engine struct{}

func Open(cfg Config) *Engine { panic("skeleton") }
func (e *Engine) Close()      { panic("skeleton") }

// LastOp is the timestamp of the newest committed operation: a reply's operationTime.
func (e *Engine) LastOp() Timestamp { panic("skeleton") }

// ClusterTime is the newest time known, gossiped ones included: $clusterTime.
func (e *Engine) ClusterTime() Timestamp { panic("skeleton") }

// AdvanceClusterTime takes note of a $clusterTime that a client sent.
func (e *Engine) AdvanceClusterTime(t Timestamp) { panic("skeleton") }

// Tick takes the next timestamp, without an operation.
func (e *Engine) Tick() Timestamp { panic("skeleton") }

// FillTimestamps fills the empty top-level timestamps of a document that is about to be inserted or to
// replace another (never _id's), as the server does; it returns doc itself when there is none.
func (e *Engine) FillTimestamps(doc bson.Raw) bson.Raw { panic("skeleton") }

// Noop appends an operation without effect to the oplog and so advances LastOp.
func (e *Engine) Noop(message string) Timestamp { panic("skeleton") }

// Oplog gives access to the log of committed operations.
func (e *Engine) Oplog() *Oplog { panic("skeleton") }

// RunTTL deletes what TTL indexes have let expire by the clock's time; it returns how many.
func (e *Engine) RunTTL(ctx context.Context) (int, error) { panic("skeleton") }

// ---- catalog

func (e *Engine) Databases() []DatabaseInfo { panic("skeleton") }

// Collections lists a database's collections by name, those created in tx included.
func (e *Engine) Collections(tx *Txn, db string) []*Collection { panic("skeleton") }

// Collection finds a collection; nil if there is none. In a transaction whose snapshot is older than the
// collection it is an error, SnapshotUnavailable.
func (e *Engine) Collection(tx *Txn, ns Namespace) (*Collection, error) { panic("skeleton") }

// CollectionByUUID finds a collection under whatever name it has now; nil if there is none.
func (e *Engine) CollectionByUUID(id UUID) *Collection { panic("skeleton") }

// Create makes a collection; NamespaceExists (48) if there is one.
func (e *Engine) Create(ctx context.Context, tx *Txn, ns Namespace, opts CollectionOptions) (*Collection, error) {
	panic("skeleton")
}

// Ensure finds a collection or makes one without options.
func (e *Engine) Ensure(ctx context.Context, tx *Txn, ns Namespace) (c *Collection, created bool, err error) {
	panic("skeleton")
}

// Drop waits for open transactions that use the collection; NamespaceNotFound (26) "ns not found". It gives the
// number of indexes there were.
func (e *Engine) Drop(ctx context.Context, ns Namespace) (indexes int, err error) { panic("skeleton") }

// DropDatabase drops all collections; dropping what does not exist is no error.
func (e *Engine) DropDatabase(ctx context.Context, db string) (existed bool, err error) {
	panic("skeleton")
}

func (e *Engine) Rename(ctx context.Context, from, to Namespace, dropTarget bool) error {
	panic("skeleton")
}

// ---- collections

type Collection struct{}

func (c *Collection) Namespace() Namespace       { panic("skeleton") }
func (c *Collection) UUID() UUID                 { panic("skeleton") }
func (c *Collection) Options() CollectionOptions { panic("skeleton") }

// SetOptions changes options (collMod): change edits a copy.
func (c *Collection) SetOptions(ctx context.Context, change func(*CollectionOptions) error) error {
	panic("skeleton")
}
func (c *Collection) Stats() Stats { panic("skeleton") }

// Count is the number of documents seen by v, exact, without reading them where there is no transaction.
func (c *Collection) Count(v View) (int64, error) { panic("skeleton") }

// InsertResult tells how an InsertMany went.
type InsertResult struct {
	N      int       // documents inserted
	Last   Timestamp // of the last one; zero in a transaction
	Errors []InsertError
}

// An InsertError is one document's refusal.
type InsertError struct {
	Index int
	Err   error
}

// InsertMany inserts documents, each of which has an _id. It creates the collection if need be. Ordered stops at
// the first error. Errors that end the whole command (write conflicts in a transaction, a cancelled context) are
// returned as err.
func (e *Engine) InsertMany(ctx context.Context, w Write, ns Namespace, docs []bson.Raw, ordered bool) (InsertResult, error) {
	panic("skeleton")
}

// Insert inserts one document.
func (c *Collection) Insert(ctx context.Context, w Write, doc bson.Raw) (Timestamp, error) {
	panic("skeleton")
}

// A Change is what an update function decides about a document.
type Change struct {
	Delete bool
	Doc    bson.Raw           // the new document; nil (and !Delete) leaves the old one
	Update *UpdateDescription // how Doc came about by update operators; nil for a replacement
}

// An UpdateDescription is what a change stream tells about an update.
type UpdateDescription struct {
	Updated bson.Raw
	Removed []string
}

// A ModifyResult tells what Modify did.
type ModifyResult struct {
	Found   bool     // fn was called with a document
	Changed bool     // a new version was written
	Before  bson.Raw // the document fn saw last
	After   bson.Raw // the document afterwards; nil after a deletion
	Time    Timestamp
}

// Modify changes one document. fn sees the current version and may be called again when a concurrent write
// intervenes, so it matches the filter anew; it must be free of effects. A plain Modify waits for an open
// transaction that has changed the document; one in a transaction gets WriteConflict.
func (c *Collection) Modify(ctx context.Context, w Write, id RecordID, fn func(cur bson.Raw) (Change, error)) (ModifyResult, error) {
	panic("skeleton")
}

// Get reads a document by record id; nil if v sees none.
func (c *Collection) Get(v View, id RecordID) bson.Raw { panic("skeleton") }

// FindByID reads a document by _id; nil if v sees none.
func (c *Collection) FindByID(v View, id bson.RawValue) (bson.Raw, RecordID) { panic("skeleton") }

// Find plans and opens a cursor; with a Sort that no index gives it sorts in memory, Skip and Limit are applied.
func (c *Collection) Find(ctx context.Context, v View, q Query) (*Cursor, error) { panic("skeleton") }

// Plan plans without reading, for explain.
func (c *Collection) Plan(v View, q Query) (*Plan, error) { panic("skeleton") }

type Cursor struct{}

// Next gives the next document; ok is false at the end.
func (c *Cursor) Next(ctx context.Context) (doc bson.Raw, ok bool, err error) { panic("skeleton") }

// RecordID is the id of the document that Next gave last.
func (c *Cursor) RecordID() RecordID { panic("skeleton") }

// Refresh is to be called when a getMore continues the cursor: documents read ahead are read anew, and a cursor
// whose collection or index has gone answers QueryPlanKilled (175).
func (c *Cursor) Refresh() error { panic("skeleton") }

// Exhausted tells whether Next will certainly give no more (never for an open tailable cursor).
func (c *Cursor) Exhausted(ctx context.Context) (bool, error) { panic("skeleton") }
func (c *Cursor) Plan() *Plan                                 { panic("skeleton") }
func (c *Cursor) Close()                                      { panic("skeleton") }

// All iterates over the rest and closes the cursor.
func (c *Cursor) All(ctx context.Context) iter.Seq2[bson.Raw, error] { panic("skeleton") }

// A Plan is what the planner decided, with execution counters when it was run.
type Plan struct {
	KeysExamined, DocsExamined, Returned int64
}

// Winning is the plan as explain's winningPlan shows it (without projection stages).
func (p *Plan) Winning() bson.D { panic("skeleton") }

// Execution is the same with counters, for executionStages.
func (p *Plan) Execution() bson.D { panic("skeleton") }

// IndexName is the index used; empty for a collection scan.
func (p *Plan) IndexName() string { panic("skeleton") }

// Summary is such as "IXSCAN { a: 1 }" or "COLLSCAN".
func (p *Plan) Summary() string { panic("skeleton") }

// EOFPlan is the plan for a collection that does not exist.
func EOFPlan() *Plan { panic("skeleton") }

// ---- indexes

// CreateIndexes validates and builds indexes, all or none; specs have key and usually name (else one is made).
// before and after count the collection's indexes. It creates nothing when all exist already (before == after).
func (c *Collection) CreateIndexes(ctx context.Context, tx *Txn, specs []bson.Raw) (before, after int, err error) {
	panic("skeleton")
}

// Indexes lists the specs as listIndexes shows them.
func (c *Collection) Indexes() []bson.Raw { panic("skeleton") }

// DropIndexes drops by name, by key pattern (document), by list of names, or all but _id ("*").
func (c *Collection) DropIndexes(ctx context.Context, which bson.RawValue) (before int, err error) {
	panic("skeleton")
}

// SetIndex changes an index (collMod's index.expireAfterSeconds and index.hidden); it gives the old values.
func (c *Collection) SetIndex(ctx context.Context, name string, key bson.Raw, expireAfterSeconds *int64, hidden *bool) (before, after bson.Raw, err error) {
	panic("skeleton")
}

// ---- transactions and snapshots

// TxnOptions describe a transaction.
type TxnOptions struct {
	LSID      bson.Raw // {id, uid}, as change streams show it
	TxnNumber int64
	// PointInTime is set for readConcern snapshot.
	PointInTime bool
	// At reads at an earlier time (atClusterTime); zero: now.
	At Timestamp
}

type Txn struct{}

func (e *Engine) Begin(opts TxnOptions) (*Txn, error) { panic("skeleton") }

// Commit makes everything visible at one timestamp (LastOp if nothing was written). It can be refused with
// WriteConflict when a collection the transaction created exists by now; the transaction is aborted then.
func (tx *Txn) Commit(ctx context.Context) (Timestamp, error) { panic("skeleton") }

// Abort undoes everything; it may be called at any time from any goroutine, more than once, and after Commit,
// when it does nothing.
func (tx *Txn) Abort() { panic("skeleton") }

// Done is closed when the transaction has ended.
func (tx *Txn) Done() <-chan struct{} { panic("skeleton") }

// SnapshotTime is the time the transaction reads at.
func (tx *Txn) SnapshotTime() Timestamp { panic("skeleton") }

// Wrote tells whether there is anything to commit.
func (tx *Txn) Wrote() bool { panic("skeleton") }

// A Snapshot pins a point in time for reading.
type Snapshot struct{}

// SnapshotAt pins a time; zero: now. SnapshotTooOld (239) if versions from then may be gone.
func (e *Engine) SnapshotAt(t Timestamp) (*Snapshot, error) { panic("skeleton") }
func (s *Snapshot) Time() Timestamp                         { panic("skeleton") }
func (s *Snapshot) Release()                                { panic("skeleton") }

// ---- oplog

type Oplog struct{}

// Truncate forgets entries up to and including t (all but the newest if t is zero), so that streams behind it
// get ChangeStreamHistoryLost.
func (o *Oplog) Truncate(t Timestamp) { panic("skeleton") }

// First is the oldest entry's time.
func (o *Oplog) First() Timestamp                  { panic("skeleton") }
func (o *Oplog) Stats() (entries int, bytes int64) { panic("skeleton") }
