package projection

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/annals-es/annals/eventstore"
)

var (
	// ErrNoProjection says that no worker has ever run a projection of the name.
	ErrNoProjection = errors.New("there is no such projection")
	// ErrNoVersion says that there is no such version of a projection.
	ErrNoVersion = errors.New("there is no such version")
	// ErrBusy says that a projection is in the middle of a change that has to be
	// finished first.
	ErrBusy = errors.New("another change is under way")
)

// A Control steers projections that workers run in whatever processes. What it is
// told is written down, and workers heed it with their next heartbeat, also those
// that start later. It is safe for concurrent use.
//
// Where a method takes a version, zero stands for the current one, or for the
// newest while none is.
type Control struct {
	log     eventstore.Log
	backend Backend
	records records
}

// NewControl returns a control of the projections that workers run on a backend.
func NewControl(log eventstore.Log, backend Backend) *Control {
	return &Control{log: log, backend: backend, records: newRecords(backend)}
}

// Pause has all partitions of a version stop after the batch in hand. Workers
// keep them, so that they go on at once when resumed.
func (c *Control) Pause(ctx context.Context, name string, version int) error {
	return c.desire(ctx, name, version, Paused)
}

// Stop has all partitions of a version stop after the batch in hand, and given
// up.
func (c *Control) Stop(ctx context.Context, name string, version int) error {
	return c.desire(ctx, name, version, Stopped)
}

// Resume undoes [Control.Pause] and [Control.Stop], and has partitions that have
// failed start again.
func (c *Control) Resume(ctx context.Context, name string, version int) error {
	return c.desire(ctx, name, version, Live)
}

func (c *Control) desire(ctx context.Context, name string, version int, state State) error {
	return c.change(ctx, name, version, func(_ *record, v *versionRecord) error {
		v.Desired = state
		if state == Live {
			v.Resumes++
		}
		return nil
	})
}

// Reset has a version start over behind a position: with empty documents and
// without dead letters. Only a [Projection] or [Publisher] can start elsewhere
// than at zero, and nothing behind the log's head, where it would pass over what is
// to come. Readers of the current version see it being filled; to spare them that,
// raise the projection's version instead.
func (c *Control) Reset(ctx context.Context, name string, version int, position eventstore.Position) error {
	if err := checkStart(ctx, c.log, position); err != nil {
		return fmt.Errorf("reset projection %s: %w", name, err)
	}
	return c.change(ctx, name, version, func(_ *record, v *versionRecord) error {
		if v.Reset != nil {
			return fmt.Errorf("reset: %w", ErrBusy)
		}
		if position > 0 && !v.Direct {
			return &eventstore.InvalidError{What: "position", Reason: "is not 0: documents are the fold of all events"}
		}
		v.Reset = &reset{Position: position}
		return nil
	})
}

// checkStart refuses a position that a projection cannot start behind.
func checkStart(ctx context.Context, log eventstore.Log, position eventstore.Position) error {
	if position < 0 {
		return &eventstore.InvalidError{What: "position", Reason: "is negative; 0 stands before the first event"}
	}
	if position == 0 {
		return nil
	}
	head, err := log.Head(ctx)
	if err != nil {
		return err
	}
	if position > head {
		return &eventstore.InvalidError{What: "position", Reason: fmt.Sprintf("is %d, behind the log's head at %d: events that are to come would be passed over", position, head)}
	}
	return nil
}

// Repartition changes the number of partitions of a version. All of them are
// brought to the same position first; nothing is lost or done twice. It is done
// when [Control.Status] tells the new number. [ErrBusy] while another change is
// under way.
func (c *Control) Repartition(ctx context.Context, name string, version, partitions int) error {
	if partitions < 1 || partitions > maxPartitions {
		return &eventstore.InvalidError{What: "number of partitions", Reason: fmt.Sprintf("is %d; it must be from 1 to %d", partitions, maxPartitions)}
	}
	return c.change(ctx, name, version, func(_ *record, v *versionRecord) error {
		if v.Next != nil || v.Reset != nil {
			return fmt.Errorf("repartition: %w", ErrBusy)
		}
		if v.Layout.Count == partitions {
			return errUnchanged
		}
		v.Next = &next{Count: partitions}
		return nil
	})
}

// Promote has a version that was left to the operator
// ([WorkerConfig].PromoteByHand) become the current one as soon as it has caught
// up.
func (c *Control) Promote(ctx context.Context, name string, version int) error {
	return c.change(ctx, name, version, func(rec *record, v *versionRecord) error {
		if v.Phase != Building || v.Version < rec.Current {
			return &eventstore.InvalidError{What: "version " + versionName(name, v.Version), Reason: "is not being built"}
		}
		v.Manual = false
		return nil
	})
}

// Rollback makes the version before the current one again, which must still be
// kept. It is as up to date as the workers that still run it have made it. The
// version that was left stays, for another Rollback.
func (c *Control) Rollback(ctx context.Context, name string) error {
	_, err := c.records.change(ctx, name, func(rec *record) error {
		if _, err := rec.choose(0); err != nil {
			return err
		}
		old := rec.version(rec.Previous)
		if rec.Previous == 0 || old == nil || old.Phase != Serving {
			return fmt.Errorf("roll back projection %s: no version is kept: %w", name, ErrNoVersion)
		}
		rec.Current, rec.Previous = rec.Previous, rec.Current
		return nil
	})
	return err
}

// change changes a version's part of the record.
func (c *Control) change(ctx context.Context, name string, version int, fn func(*record, *versionRecord) error) error {
	_, err := c.records.change(ctx, name, func(rec *record) error {
		v, err := rec.choose(version)
		if err != nil {
			return err
		}
		return fn(rec, v)
	})
	return err
}

// choose returns a version, the current or newest one for zero.
func (r *record) choose(version int) (*versionRecord, error) {
	if len(r.Versions) == 0 {
		return nil, fmt.Errorf("projection %s: %w", r.Name, ErrNoProjection)
	}
	if version == 0 {
		version = r.Current
	}
	if version == 0 {
		version = r.Versions[len(r.Versions)-1].Version
	}
	v := r.version(version)
	if v == nil {
		return nil, fmt.Errorf("projection %s version %d: %w", r.Name, version, ErrNoVersion)
	}
	return v, nil
}

// DeadLetters lists what is parked. A query's version of zero is as elsewhere.
func (c *Control) DeadLetters(ctx context.Context, q LetterQuery) ([]DeadLetter, error) {
	rec, err := c.records.load(ctx, q.Projection)
	if err != nil {
		return nil, err
	}
	v, err := rec.choose(q.Version)
	if err != nil {
		return nil, err
	}
	q.Version = v.Version
	return c.backend.DeadLetters(ctx, q)
}

// Retry has what is parked for a key tried again, in order; for all keys when it
// is empty. What fails again stays parked, with everything behind it.
func (c *Control) Retry(ctx context.Context, name string, version int, key string) error {
	return c.ask(ctx, name, version, retryLetters, key, 0)
}

// Skip has one parked event given up, and what follows it on its key tried again.
func (c *Control) Skip(ctx context.Context, name string, version int, key string, position eventstore.Position) error {
	if key == "" || position <= 0 {
		return &eventstore.InvalidError{What: "skip", Reason: "needs the key and the position of a dead letter"}
	}
	return c.ask(ctx, name, version, skipLetter, key, position)
}

// Drain has everything given up that is parked for a key now, for all keys when
// it is empty. The keys go on with what comes next, without it.
func (c *Control) Drain(ctx context.Context, name string, version int, key string) error {
	head, err := c.log.Head(ctx)
	if err != nil {
		return fmt.Errorf("head of the log: %w", err)
	}
	return c.ask(ctx, name, version, discardLetters, key, head)
}

func (c *Control) ask(ctx context.Context, name string, version int, kind requestKind, key string, position eventstore.Position) error {
	rec, err := c.records.load(ctx, name)
	if err != nil {
		return err
	}
	v, err := rec.choose(version)
	if err != nil {
		return err
	}
	keys := []string{key}
	if key == "" {
		parked, err := c.backend.ParkedKeys(ctx, name, v.Version)
		if err != nil {
			return fmt.Errorf("load parked keys: %w", err)
		}
		keys = keys[:0]
		for key := range parked {
			keys = append(keys, key)
		}
		slices.Sort(keys)
	}
	return c.change(ctx, name, v.Version, func(_ *record, v *versionRecord) error {
		for _, key := range keys {
			v.Requests = append(v.Requests, request{ID: rand.Text(), Kind: kind, Key: key, Position: position})
		}
		if len(keys) == 0 {
			return errUnchanged
		}
		return nil
	})
}

// ProjectionStatus tells how a projection is doing.
type ProjectionStatus struct {
	Name string
	// Current is the version that readers use, zero while none is. Previous is
	// kept for [Control.Rollback] until KeepUntil.
	Current, Previous int
	KeepUntil         time.Time
	// Versions are in ascending order.
	Versions []VersionStatus
}

// Version returns the status of a version, the zero one if there is none.
func (s ProjectionStatus) Version(version int) VersionStatus {
	for _, v := range s.Versions {
		if v.Version == version {
			return v
		}
	}
	return VersionStatus{}
}

// VersionStatus tells how one version of a projection is doing.
type VersionStatus struct {
	Version int
	Phase   Phase
	// State is that of the partition which needs attention most.
	State State
	// Model is the name of the model that holds the documents.
	Model string
	// Position is that of the partition furthest behind, Head the log's, Lag the
	// number of positions between the two.
	Position, Head eventstore.Position
	Lag            int64
	// LagTime is the age of the first event of the log that is not handled yet,
	// zero when all are.
	LagTime time.Duration
	// Rate is the number of events handled in a second, by all partitions.
	Rate float64
	// Remaining is the estimated time to catch up, zero when nothing is left and
	// negative when it cannot be told.
	Remaining time.Duration
	// Parked is the number of events in dead letters, ParkedKeys that of their
	// keys.
	Parked, ParkedKeys int
	// LastError is the last failure of a partition, at LastErrorAt.
	LastError   string
	LastErrorAt time.Time
	// NextPartitions is the number of partitions to come, zero when no change is
	// under way.
	NextPartitions int
	Partitions     []PartitionStatus
}

// Status tells how a projection is doing.
func (c *Control) Status(ctx context.Context, name string) (ProjectionStatus, error) {
	rec, err := c.records.load(ctx, name)
	if err != nil {
		return ProjectionStatus{}, err
	}
	if len(rec.Versions) == 0 {
		return ProjectionStatus{}, fmt.Errorf("projection %s: %w", name, ErrNoProjection)
	}
	return c.status(ctx, &rec)
}

// Statuses tells how all projections are doing, by name.
func (c *Control) Statuses(ctx context.Context) ([]ProjectionStatus, error) {
	recs, err := c.records.all(ctx)
	if err != nil {
		return nil, err
	}
	all := make([]ProjectionStatus, len(recs))
	for i := range recs {
		if all[i], err = c.status(ctx, &recs[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

func (c *Control) status(ctx context.Context, rec *record) (ProjectionStatus, error) {
	s := ProjectionStatus{Name: rec.Name, Current: rec.Current, Previous: rec.Previous, KeepUntil: rec.KeepUntil}
	for i := range rec.Versions {
		v, err := c.versionStatus(ctx, rec.Name, &rec.Versions[i])
		if err != nil {
			return s, fmt.Errorf("status of projection %s: %w", versionName(rec.Name, rec.Versions[i].Version), err)
		}
		s.Versions = append(s.Versions, v)
	}
	return s, nil
}

func (c *Control) versionStatus(ctx context.Context, name string, v *versionRecord) (VersionStatus, error) {
	s := VersionStatus{Version: v.Version, Phase: v.Phase, Model: ModelName(name, v.Version, v.Generation), State: Live}
	if v.Next != nil {
		s.NextPartitions = v.Next.Count
	}
	owners, err := c.owners(ctx, name, v.Version)
	if err != nil {
		return s, err
	}
	for _, number := range v.Layout.ids() {
		p, err := c.partitionStatus(ctx, CheckpointKey{Projection: name, Version: v.Version, Partition: number}, v, owners)
		if err != nil {
			return s, err
		}
		s.Partitions = append(s.Partitions, p)
	}
	parked, err := c.backend.ParkedKeys(ctx, name, v.Version)
	if err != nil {
		return s, err
	}
	for _, n := range parked {
		s.Parked += n
	}
	s.ParkedKeys = len(parked)
	// The head is asked for last, so that no position is beyond it.
	if s.Head, err = c.log.Head(ctx); err != nil {
		return s, err
	}
	s.sum()
	if s.Lag > 0 {
		s.LagTime, err = c.age(ctx, s.Position)
	}
	return s, err
}

// owners returns who holds the lease of each partition.
func (c *Control) owners(ctx context.Context, name string, version int) (map[string]string, error) {
	leases, err := c.backend.Leases(ctx, partitionPrefix(name, version))
	if err != nil {
		return nil, err
	}
	owners := map[string]string{}
	for _, l := range leases {
		owners[l.Name] = l.Owner
	}
	return owners, nil
}

func (c *Control) partitionStatus(ctx context.Context, key CheckpointKey, v *versionRecord, owners map[string]string) (PartitionStatus, error) {
	p := PartitionStatus{State: Stopped}
	row, err := c.backend.LoadRow(ctx, statusRow(key))
	if err != nil {
		return p, err
	}
	if row.Revision > 0 {
		if err := c.records.codec.Unmarshal(row.Data, &p); err != nil {
			return p, err
		}
		p.Reported = row.At
	}
	cp, err := c.backend.LoadCheckpoint(ctx, key)
	if err != nil {
		return p, err
	}
	p.Key, p.Position = key, max(p.Position, effective(cp, v.Layout.Start))
	if owner := owners[partitionLease(key)]; owner == "" || owner != p.Owner {
		// Its last worker has stopped or died, and the next has not reported yet.
		p.Owner, p.Rate, p.Speed = owner, 0, 0
		if owner == "" {
			p.State = Stopped
		}
	}
	return p, nil
}

// sum makes the figures of the version from those of its partitions.
func (s *VersionStatus) sum() {
	// By how much attention they need.
	severity := []State{Failed, Retrying, Stopped, Waiting, Paused, CatchingUp, Live}
	s.Position = s.Head
	for _, p := range s.Partitions {
		s.Rate += p.Rate
		if slices.Index(severity, p.State) < slices.Index(severity, s.State) {
			s.State = p.State
		}
		if p.LastErrorAt.After(s.LastErrorAt) {
			s.LastError, s.LastErrorAt = p.LastError, p.LastErrorAt
		}
		s.Position = min(s.Position, p.Position)
		switch left := float64(s.Head - p.Position); {
		case left <= 0 || s.Remaining < 0:
		case p.Speed <= 0:
			s.Remaining = -1
		default:
			s.Remaining = max(s.Remaining, time.Duration(left/p.Speed*float64(time.Second)))
		}
	}
	s.Lag = int64(s.Head - s.Position)
	if s.State == Live && s.Lag > 0 {
		s.State = CatchingUp
	}
}

// age returns how long ago the first event behind a position happened.
func (c *Control) age(ctx context.Context, after eventstore.Position) (time.Duration, error) {
	now, err := c.backend.Now(ctx)
	if err != nil {
		return 0, err
	}
	for e, err := range c.log.ReadLog(ctx, eventstore.LogQuery{After: after, Limit: 1}) {
		if err != nil {
			return 0, err
		}
		if e.Time.IsZero() {
			return 0, nil
		}
		return max(0, now.Sub(e.Time)), nil
	}
	return 0, nil
}

// WaitFor waits until the current version of a projection has applied an append,
// in whatever processes its partitions run, so that a caller reads its own
// writes. An event that is parked counts as applied. It returns the context's
// error when that ends first; set a deadline.
func (c *Control) WaitFor(ctx context.Context, name string, token eventstore.Token) error {
	position, err := c.log.Await(ctx, token)
	if err != nil {
		return fmt.Errorf("wait for projection %s: %w", name, err)
	}
	return c.WaitUntil(ctx, name, 0, position)
}

// WaitUntil waits until a version has applied everything up to a position.
func (c *Control) WaitUntil(ctx context.Context, name string, version int, position eventstore.Position) error {
	for delay := 2 * time.Millisecond; ; delay = min(delay*3/2, 50*time.Millisecond) {
		rec, err := c.records.load(ctx, name)
		if err != nil {
			return err
		}
		at := []eventstore.Position{0}
		unknown := false
		if v, err := rec.choose(version); err == nil && v.Reset == nil {
			if at, err = positions(ctx, c.backend, name, v); err != nil {
				return fmt.Errorf("wait for projection %s: %w", name, err)
			}
			if slices.Min(at) >= position {
				return nil
			}
		} else if unknown = errors.Is(err, ErrNoProjection); !unknown && err != nil {
			return err
		}
		timer := time.NewTimer(delay)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			if unknown {
				return fmt.Errorf("wait for projection %s: no worker has run it: %w", name, ctx.Err())
			}
			return fmt.Errorf("wait for projection %s to reach %d: it is at %d: %w", name, position, slices.Min(at), ctx.Err())
		}
	}
}
