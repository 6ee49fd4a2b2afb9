package storage

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/match"
)

// A Timestamp is a cluster time: seconds since 1970 in the upper 32 bits, an
// increment within the second in the lower. Zero means none.
type Timestamp uint64

// MakeTimestamp builds a Timestamp from its parts.
func MakeTimestamp(seconds, increment uint32) Timestamp {
	return Timestamp(uint64(seconds)<<32 | uint64(increment))
}

// FromBSON converts a BSON timestamp.
func FromBSON(t bson.Timestamp) Timestamp { return MakeTimestamp(t.T, t.I) }

// T is the seconds part.
func (t Timestamp) T() uint32 { return uint32(t >> 32) }

// I is the increment part.
func (t Timestamp) I() uint32 { return uint32(t) }

// BSON gives the timestamp as a BSON value's content.
func (t Timestamp) BSON() bson.Timestamp { return bson.Timestamp{T: t.T(), I: t.I()} }

// String is the server's notation, Timestamp(1795404910, 58).
func (t Timestamp) String() string { return fmt.Sprintf("Timestamp(%d, %d)", t.T(), t.I()) }

// A RecordID addresses a document within its collection; ids grow in insertion
// order and are never used twice.
type RecordID uint64

// A UUID identifies a collection across renames.
type UUID [16]byte

// String gives the usual 8-4-4-4-12 notation.
func (u UUID) String() string {
	h := hex.EncodeToString(u[:])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}

// A Namespace names a collection.
type Namespace struct{ DB, Coll string }

// ParseNamespace splits "db.coll" at the first dot.
func ParseNamespace(s string) Namespace {
	db, coll, _ := strings.Cut(s, ".")
	return Namespace{db, coll}
}

// String is "db.coll".
func (n Namespace) String() string { return n.DB + "." + n.Coll }

// Validation levels and actions, as create and collMod name them.
const (
	LevelStrict   = "strict"
	LevelModerate = "moderate"
	LevelOff      = "off"

	ActionError = "error"
	ActionWarn  = "warn"
)

// CollectionOptions are the options of a collection. The zero value is a plain
// collection.
type CollectionOptions struct {
	Capped    bool
	Size      int64 // bytes; required if Capped
	MaxCount  int64 // documents; 0 means no limit
	Validator bson.Raw
	// ValidationLevel and ValidationAction are empty, and not listed, where the user
	// gave none; the server then acts as with LevelStrict and ActionError.
	ValidationLevel  string
	ValidationAction string
	// PreImages makes the oplog keep the document from before each update,
	// replacement and deletion, for fullDocumentBeforeChange. PreImagesField is
	// the option's name in listCollections: recordPreImages up to 5.0,
	// changeStreamPreAndPostImages later.
	PreImages      bool
	PreImagesField string
	// Extra are options that are only listed, such as storageEngine.
	Extra bson.D
}

// SetValidationDefaults spells out what is in force, as collMod does when it changes any part of a validation.
func (o *CollectionOptions) SetValidationDefaults() {
	o.ValidationLevel = cmp.Or(o.ValidationLevel, LevelStrict)
	o.ValidationAction = cmp.Or(o.ValidationAction, ActionError)
}

// Document renders the options as listCollections shows them.
func (o CollectionOptions) Document() bson.D {
	d := bson.D{}
	if o.Capped {
		d = append(d, bson.E{Key: "capped", Value: true}, bson.E{Key: "size", Value: listedSize(o.Size)})
		if o.MaxCount > 0 {
			d = append(d, bson.E{Key: "max", Value: listedSize(o.MaxCount)})
		}
	}
	if o.Validator != nil {
		d = append(d, bson.E{Key: "validator", Value: o.Validator})
	}
	if o.ValidationLevel != "" {
		d = append(d, bson.E{Key: "validationLevel", Value: o.ValidationLevel})
	}
	if o.ValidationAction != "" {
		d = append(d, bson.E{Key: "validationAction", Value: o.ValidationAction})
	}
	switch {
	case o.PreImages && o.PreImagesField == "changeStreamPreAndPostImages":
		d = append(d, bson.E{Key: o.PreImagesField, Value: bson.D{{Key: "enabled", Value: true}}})
	case o.PreImages:
		d = append(d, bson.E{Key: "recordPreImages", Value: true})
	}
	return append(d, o.Extra...)
}

func listedSize(n int64) any {
	if int64(int32(n)) == n {
		return int32(n)
	}
	return n
}

// A View says through whose eyes to read: inside a transaction, at a pinned
// snapshot, or (the zero value) the latest committed state at each batch.
type View struct {
	Txn      *Txn
	Snapshot *Snapshot
}

// A Write says on whose behalf to write.
type Write struct {
	// Txn is the transaction the write belongs to; nil for a plain write.
	Txn *Txn
	// BypassValidation skips the collection's validator.
	BypassValidation bool
}

// A Hint forces the planner's choice. The zero value leaves it free.
type Hint struct {
	Name    string   // an index's name
	Key     bson.Raw // or its key pattern
	Natural int      // or natural order: 1 forward, -1 backward
}

// IsZero tells whether there is no hint.
func (h Hint) IsZero() bool { return h.Name == "" && h.Key == nil && h.Natural == 0 }

// A Query is what Find looks for.
type Query struct {
	Filter *match.Filter // nil matches everything
	// FilterSpec is the document that Filter was parsed from, for explain.
	FilterSpec bson.Raw
	// SortSpec is the sort document, checked by order.Parse; {$natural: ±1} is
	// understood as well. nil or empty leaves the order to the plan.
	SortSpec bson.Raw
	Hint     Hint
	Skip     int64
	Limit    int64 // 0 means all
	// Min (inclusive) and Max (exclusive) bound the hinted index's keys.
	Min, Max bson.Raw
	// AllowDiskUse lifts the limit of 100 MiB on sorting in memory.
	AllowDiskUse bool
	// Tailable makes a cursor on a capped collection stay open at its end.
	Tailable bool
	// Expect hints at how many documents the caller will take at first, so that
	// no more are read ahead; 0 means no idea.
	Expect int
}

// DatabaseInfo describes a database for listDatabases.
type DatabaseInfo struct {
	Name  string
	Size  int64 // bytes, documents and index keys
	Empty bool
}

// Stats are a collection's figures for collStats, dbStats and $collStats.
type Stats struct {
	Count     int64 // documents
	Size      int64 // bytes of documents
	Capped    bool
	Max       int64 // a capped collection's limits
	MaxSize   int64
	Indexes   []IndexStats
	IndexSize int64 // bytes of index keys
}

// IndexStats are an index's figures.
type IndexStats struct {
	Name    string
	Spec    bson.Raw
	Size    int64
	Entries int64
	Uses    int64 // queries that used it
	Since   Timestamp
}
