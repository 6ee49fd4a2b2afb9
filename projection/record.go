package projection

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A record is what all workers and operators of a projection share: one row,
// changed by compare and swap alone.
type record struct {
	Name string `json:"name"`
	// Current is the version that readers use; zero while none was ever built.
	Current int `json:"current"`
	// Previous is kept until KeepUntil, by the backend's clock.
	Previous  int             `json:"previous"`
	KeepUntil time.Time       `json:"keep_until"`
	Versions  []versionRecord `json:"versions"`
}

// A Phase is where a version of a projection is in its life.
type Phase string

const (
	// Building is the phase of a version that has not been promoted yet.
	Building Phase = "building"
	// Serving is the phase of the current version, and of the previous one while
	// it is kept.
	Serving Phase = "serving"
	// Retired is the phase of a version that is being removed.
	Retired Phase = "retired"
)

type versionRecord struct {
	Version int   `json:"version"`
	Phase   Phase `json:"phase"`
	// Desired is Live, Paused or Stopped.
	Desired State    `json:"desired"`
	Effects bool     `json:"effects"`
	Direct  bool     `json:"direct"`  // handlers of its own kind: it can start anywhere
	Models  []string `json:"models"`  // suffixes of further models
	Carried []string `json:"carried"` // those of Models that are handed on
	// Manual says that an operator promotes the version.
	Manual bool `json:"manual"`
	// Keep is how long the version before is kept after this one's promotion.
	Keep time.Duration `json:"keep"`
	// Lag is how many events a version may be behind to be promoted.
	Lag        int64     `json:"lag"`
	Generation int       `json:"generation"` // of the models, one more with each reset
	Layout     layout    `json:"layout"`
	Next       *next     `json:"next"`
	Reset      *reset    `json:"reset"`
	EffectsAt  int64     `json:"effects_at"` // the position up to which effects are the former version's
	Resumes    int64     `json:"resumes"`    // has what failed start again
	Requests   []request `json:"requests"`
}

// A layout says which partitions there are. No number is ever used again, so
// that a worker with an old layout cannot touch a new one's checkpoints.
type layout struct {
	First int                 `json:"first"`
	Count int                 `json:"count"`
	Start eventstore.Position `json:"start"`
}

// next is a layout to come. First all partitions halt; then the barrier is set to
// the foremost one's position, and each runs up to it; then the layout changes.
type next struct {
	Count   int                 `json:"count"`
	Ready   bool                `json:"ready"`
	Barrier eventstore.Position `json:"barrier"`
}

type reset struct {
	Position eventstore.Position `json:"position"`
}

type requestKind string

const (
	retryLetters   requestKind = "retry"
	skipLetter     requestKind = "skip"
	discardLetters requestKind = "discard"
)

// A request is what an operator asks of the partition of a key.
type request struct {
	ID       string              `json:"id"`
	Kind     requestKind         `json:"kind"`
	Key      string              `json:"key"`
	Position eventstore.Position `json:"position"`
}

// ids returns the numbers of all partitions.
func (l layout) ids() []int {
	ids := make([]int, l.Count)
	for i := range ids {
		ids[i] = l.First + i
	}
	return ids
}

// version returns a version's part of the record, nil when there is none.
func (r *record) version(v int) *versionRecord {
	i := slices.IndexFunc(r.Versions, func(o versionRecord) bool { return o.Version == v })
	if i < 0 {
		return nil
	}
	return &r.Versions[i]
}

// halted says that no partition of the version may run.
func (v *versionRecord) halted() bool {
	return v.Desired == Stopped || v.Phase == Retired || v.Reset != nil || (v.Next != nil && !v.Next.Ready)
}

// limit is the position beyond which no partition must go.
func (v *versionRecord) limit() eventstore.Position {
	if v.Next != nil && v.Next.Ready {
		return v.Next.Barrier
	}
	return noLimit
}

// records reads and changes records.
type records struct {
	rows  RowStore
	codec eventstore.Codec
}

func newRecords(rows RowStore) records { return records{rows: rows, codec: eventstore.NewBSONCodec()} }

func recordName(projection string) string { return "control/" + projection }

func (r records) load(ctx context.Context, name string) (record, error) {
	rec, _, err := r.loadRow(ctx, name)
	return rec, err
}

func (r records) loadRow(ctx context.Context, name string) (record, Row, error) {
	row, err := r.rows.LoadRow(ctx, recordName(name))
	if err != nil {
		return record{}, row, fmt.Errorf("load control record of projection %s: %w", name, err)
	}
	rec := record{Name: name}
	if row.Revision > 0 {
		if err := r.codec.Unmarshal(row.Data, &rec); err != nil {
			return record{}, row, fmt.Errorf("decode control record of projection %s: %w", name, err)
		}
	}
	return rec, row, nil
}

// errUnchanged says that a record need not be changed.
var errUnchanged = errors.New("unchanged")

// change applies fn to the record until nobody else has changed it at the same
// time. Fn may return errUnchanged; its other errors are returned.
func (r records) change(ctx context.Context, name string, fn func(rec *record) error) (record, error) {
	for {
		rec, row, err := r.loadRow(ctx, name)
		if err != nil {
			return rec, err
		}
		if err := fn(&rec); errors.Is(err, errUnchanged) {
			return rec, nil
		} else if err != nil {
			return rec, err
		}
		if row.Data, err = r.codec.Marshal(&rec); err != nil {
			return rec, err
		}
		if _, err = r.rows.SaveRow(ctx, row); !errors.Is(err, ErrMoved) {
			if err != nil {
				err = fmt.Errorf("save control record of projection %s: %w", name, err)
			}
			return rec, err
		}
	}
}

// changeVersion is change for one version, which must be there.
func (r records) changeVersion(ctx context.Context, name string, version int, fn func(rec *record, v *versionRecord) error) (record, error) {
	return r.change(ctx, name, func(rec *record) error {
		v := rec.version(version)
		if v == nil {
			return fmt.Errorf("projection %s version %d: %w", name, version, ErrNoVersion)
		}
		return fn(rec, v)
	})
}

// all lists all records, by name.
func (r records) all(ctx context.Context) ([]record, error) {
	rows, err := r.rows.Rows(ctx, recordName(""))
	if err != nil {
		return nil, fmt.Errorf("list control records: %w", err)
	}
	recs := make([]record, len(rows))
	for i, row := range rows {
		if err := r.codec.Unmarshal(row.Data, &recs[i]); err != nil {
			return nil, fmt.Errorf("decode %s: %w", row.Name, err)
		}
	}
	return recs, nil
}

func versionName(projection string, version int) string {
	return projection + "@" + strconv.Itoa(version)
}

// Names of leases and rows. Names of projections hold no slash.
func statusPrefix(projection string, version int) string {
	return "status/" + versionName(projection, version) + "/"
}

func memberPrefix(projection string, version int) string {
	return "worker/" + versionName(projection, version) + "/"
}

func partitionPrefix(projection string, version int) string {
	return "partition/" + versionName(projection, version) + "/"
}

func partitionLease(key CheckpointKey) string {
	return partitionPrefix(key.Projection, key.Version) + strconv.Itoa(key.Partition)
}

func statusRow(key CheckpointKey) string {
	return statusPrefix(key.Projection, key.Version) + strconv.Itoa(key.Partition)
}

func coordinatorLease(projection string, version int) string {
	return "coordinator/" + versionName(projection, version)
}
