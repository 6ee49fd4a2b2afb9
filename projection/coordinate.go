package projection

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// closedFence is above every fencing token of a lease: a checkpoint that carries
// it is never written again.
const closedFence int64 = math.MaxInt64

func posOf(p int64) eventstore.Position { return eventstore.Position(p) }

// positions returns how far each partition of a version has got.
func positions(ctx context.Context, checkpoints CheckpointStore, name string, v *versionRecord) ([]eventstore.Position, error) {
	all := make([]eventstore.Position, 0, v.Layout.Count)
	for _, number := range v.Layout.ids() {
		key := CheckpointKey{Projection: name, Version: v.Version, Partition: number}
		cp, err := checkpoints.LoadCheckpoint(ctx, key)
		if err != nil {
			return nil, fmt.Errorf("load checkpoint %s: %w", key, err)
		}
		all = append(all, effective(cp, v.Layout.Start))
	}
	return all, nil
}

// coordinate does what one worker has to do for all: it changes layouts, resets,
// promotes and removes versions. The lease only saves the others the work: every
// step is a compare and swap of the control record, and can be made again.
//
// A station looks after its own version; that of the current one also after those
// that are to go.
func (s *station) coordinate(ctx context.Context) error {
	rec, err := s.records.load(ctx, s.plan.Name)
	if err != nil {
		return err
	}
	v := rec.version(s.plan.Version)
	duty := s.duty(&rec, v)
	if duty == nil {
		return nil
	}
	_, err = s.backend.AcquireLease(ctx, coordinatorLease(s.plan.Name, s.plan.Version), s.cfg.Name, s.cfg.LeaseTTL)
	if errors.Is(err, ErrLeaseHeld) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("become coordinator: %w", err)
	}
	return duty(ctx)
}

// duty returns what there is for a coordinator to do, nil for nothing.
func (s *station) duty(rec *record, v *versionRecord) func(context.Context) error {
	switch {
	case v == nil || v.Phase == Retired:
		return nil
	case v.Reset != nil:
		return func(ctx context.Context) error { return s.reset(ctx, v) }
	case v.Next != nil && !v.Next.Ready:
		return func(ctx context.Context) error { return s.raiseBarrier(ctx, v) }
	case v.Next != nil:
		return func(ctx context.Context) error { return s.switchLayout(ctx, v) }
	case v.Phase == Building && !v.Manual && v.Version > rec.Current && v.Desired == Live:
		return func(ctx context.Context) error { return s.promote(ctx, rec, v) }
	case rec.Current != v.Version:
		return nil
	}
	for i := range rec.Versions {
		if old := &rec.Versions[i]; old.Phase == Retired {
			return func(ctx context.Context) error { return s.removeVersion(ctx, old) }
		}
	}
	if rec.Previous != 0 && rec.Previous < rec.Current { // what was rolled back stays
		return func(ctx context.Context) error { return s.retire(ctx, rec) }
	}
	return nil
}

// raiseBarrier is the first half of a change of the layout: it takes the leases
// of all partitions, so that none runs, and fences what may still run without
// knowing. Where the foremost one stands is the barrier.
func (s *station) raiseBarrier(ctx context.Context, v *versionRecord) error {
	if len(s.held) > 0 {
		return nil // its own are still stopping
	}
	var leases []Lease
	defer func() {
		for _, l := range leases {
			if err := s.backend.ReleaseLease(context.WithoutCancel(ctx), l); err != nil {
				s.logger.WarnContext(ctx, "lease not given up; it expires by itself", "lease", l.Name, "error", err)
			}
		}
	}()
	barrier := v.Layout.Start
	for _, number := range v.Layout.ids() {
		key := CheckpointKey{Projection: s.plan.Name, Version: v.Version, Partition: number}
		l, err := s.backend.AcquireLease(ctx, partitionLease(key), s.cfg.Name, s.cfg.LeaseTTL)
		if errors.Is(err, ErrLeaseHeld) {
			return nil // it is finishing its batch
		}
		if err != nil {
			return fmt.Errorf("take partition %s: %w", key, err)
		}
		leases = append(leases, l)
		cp, err := s.raiseFence(ctx, key, v.Layout.Start, l.Fence)
		if err != nil {
			return err
		}
		barrier = max(barrier, effective(cp, v.Layout.Start))
	}
	_, err := s.records.changeVersion(ctx, s.plan.Name, v.Version, func(_ *record, now *versionRecord) error {
		if now.Next == nil || now.Next.Ready || now.Layout != v.Layout {
			return errUnchanged
		}
		now.Next.Ready, now.Next.Barrier = true, barrier
		return nil
	})
	if err == nil {
		s.logger.InfoContext(ctx, "repartitioning: all partitions run to the barrier", "barrier", barrier, "partitions", v.Layout.Count, "next", v.Next.Count)
	}
	return err
}

// raiseFence puts a fencing token into a checkpoint without moving it.
func (s *station) raiseFence(ctx context.Context, key CheckpointKey, start eventstore.Position, fence int64) (Checkpoint, error) {
	for {
		cp, err := s.backend.LoadCheckpoint(ctx, key)
		if err != nil {
			return cp, fmt.Errorf("load checkpoint %s: %w", key, err)
		}
		if cp.Fence >= fence {
			return cp, nil
		}
		next, err := s.backend.Commit(ctx, Commit{Key: key, From: cp, To: effective(cp, start), Fence: fence})
		if err == nil {
			return next, nil
		}
		if !errors.Is(err, ErrMoved) {
			return cp, fmt.Errorf("fence %s: %w", key, err)
		}
	}
}

// switchLayout is the second half of a change of the layout: when all partitions
// have reached the barrier, the new ones start there.
func (s *station) switchLayout(ctx context.Context, v *versionRecord) error {
	at, err := positions(ctx, s.backend, s.plan.Name, v)
	if err != nil {
		return err
	}
	if slices.Min(at) < v.Next.Barrier {
		return nil
	}
	if streams, err := s.parkedStreams(ctx, v); err != nil || streams > 0 {
		if err == nil {
			s.logger.WarnContext(ctx, "repartitioning waits: streams are parked whose events cannot be decoded; retry, skip or discard them", "streams", streams)
		}
		return err
	}
	_, err = s.records.changeVersion(ctx, s.plan.Name, v.Version, func(_ *record, now *versionRecord) error {
		if now.Next == nil || !now.Next.Ready || now.Layout != v.Layout || now.Next.Barrier != v.Next.Barrier {
			return errUnchanged
		}
		now.Layout = layout{First: v.Layout.First + v.Layout.Count, Count: v.Next.Count, Start: v.Next.Barrier}
		now.Next = nil
		return nil
	})
	if err != nil {
		return err
	}
	s.logger.InfoContext(ctx, "repartitioned", "partitions", v.Next.Count, "position", v.Next.Barrier)
	return s.forgetStatuses(ctx, v)
}

// parkedStreams counts the streams that are parked as a whole, by partition.
func (s *station) parkedStreams(ctx context.Context, v *versionRecord) (int, error) {
	keys, err := s.backend.ParkedKeys(ctx, s.plan.Name, v.Version)
	if err != nil {
		return 0, fmt.Errorf("load parked keys: %w", err)
	}
	n := 0
	for key := range keys {
		if strings.HasPrefix(key, standInPrefix) {
			n++
		}
	}
	return n, nil
}

// closeAll makes sure that no partition of a version's layout is written again,
// and returns where each ended.
func (s *station) closeAll(ctx context.Context, v *versionRecord) ([]eventstore.Position, error) {
	var at []eventstore.Position
	for _, number := range v.Layout.ids() {
		cp, err := s.raiseFence(ctx, CheckpointKey{Projection: s.plan.Name, Version: v.Version, Partition: number}, v.Layout.Start, closedFence)
		if err != nil {
			return nil, err
		}
		at = append(at, effective(cp, v.Layout.Start))
	}
	return at, nil
}

// dropAll removes what a version's generation has stored.
func (s *station) dropAll(ctx context.Context, v *versionRecord) error {
	if err := s.backend.DropDeadLetters(ctx, s.plan.Name, v.Version); err != nil {
		return fmt.Errorf("drop dead letters: %w", err)
	}
	for _, model := range modelNames(s.plan.Name, v.Version, v.Generation, v.Models) {
		if err := s.backend.DropModel(ctx, model); err != nil {
			return fmt.Errorf("drop model %s: %w", model, err)
		}
	}
	return s.forgetStatuses(ctx, v)
}

// forgetStatuses removes the reports of a layout's partitions.
func (s *station) forgetStatuses(ctx context.Context, v *versionRecord) error {
	for _, number := range v.Layout.ids() {
		if err := s.backend.DeleteRow(ctx, statusRow(CheckpointKey{Projection: s.plan.Name, Version: v.Version, Partition: number})); err != nil {
			return fmt.Errorf("delete status: %w", err)
		}
	}
	return nil
}

// reset starts a version over: with partitions and models of its own.
func (s *station) reset(ctx context.Context, v *versionRecord) error {
	if _, err := s.closeAll(ctx, v); err != nil {
		return err
	}
	if err := s.dropAll(ctx, v); err != nil {
		return err
	}
	_, err := s.records.changeVersion(ctx, s.plan.Name, v.Version, func(_ *record, now *versionRecord) error {
		if now.Reset == nil || now.Layout != v.Layout {
			return errUnchanged
		}
		now.Generation++
		now.Layout = layout{First: v.Layout.First + v.Layout.Count, Count: v.Layout.Count, Start: now.Reset.Position}
		now.Reset, now.Next, now.Requests = nil, nil, nil
		return nil
	})
	if err == nil {
		s.logger.InfoContext(ctx, "reset", "position", v.Reset.Position)
	}
	return err
}

// promote makes a version current when it has caught up.
func (s *station) promote(ctx context.Context, rec *record, v *versionRecord) error {
	head, err := s.w.log.Head(ctx)
	if err != nil {
		return fmt.Errorf("head of the log: %w", err)
	}
	at, err := positions(ctx, s.backend, s.plan.Name, v)
	if err != nil {
		return err
	}
	before := rec.version(rec.Current)
	handOver := v.Effects && before != nil
	if handOver {
		olds, err := positions(ctx, s.backend, s.plan.Name, before)
		if err != nil {
			return err
		}
		head = min(head, slices.Min(olds))
	}
	if slices.Min(at)+posOf(v.Lag) < head {
		return nil
	}
	effectsAt := int64(0)
	if handOver {
		if ready, err := s.readyToGo(ctx, before); !ready {
			return err
		}
		ended, err := s.closeAll(ctx, before)
		if err != nil {
			return err
		}
		effectsAt = int64(slices.Min(ended))
		err = s.carry(ctx, before, v)
		if v.Direct {
			err = errors.Join(err, s.carryLetters(ctx, before, v, slices.Min(ended)))
		}
		if err != nil {
			return err
		}
	}
	now, err := s.backend.Now(ctx)
	if err != nil {
		return fmt.Errorf("ask for the time: %w", err)
	}
	after, err := s.records.changeVersion(ctx, s.plan.Name, v.Version, func(r *record, mine *versionRecord) error {
		if r.Current != rec.Current || mine.Phase != Building || mine.Desired != Live || mine.Reset != nil || mine.Generation != v.Generation {
			return errUnchanged
		}
		if old := r.version(r.Previous); old != nil && r.Previous != r.Current {
			old.Phase = Retired // two are kept, not three
		}
		r.Previous, r.Current = r.Current, v.Version
		r.KeepUntil = now.Add(mine.Keep)
		for i := range r.Versions {
			if skipped := &r.Versions[i]; skipped.Phase == Building && skipped.Version < v.Version {
				skipped.Phase = Retired
			}
		}
		mine.Phase, mine.EffectsAt = Serving, effectsAt
		if handOver {
			r.version(r.Previous).Phase = Retired
			r.Previous = 0
			mine.Resumes++ // so that partitions learn what was parked for them
		}
		if r.Previous == 0 {
			r.KeepUntil = time.Time{}
		}
		return nil
	})
	if err == nil && after.Current == v.Version {
		s.logger.InfoContext(ctx, "version promoted", "promoted", v.Version, "before", rec.Current, "position", slices.Min(at), "head", head)
	}
	return err
}

// readyToGo reports whether a version with effects can be replaced. What a process
// manager has parked has had no effect yet, and its successor has folded it
// without one, so it has to be seen to first.
func (s *station) readyToGo(ctx context.Context, old *versionRecord) (bool, error) {
	if old.Direct {
		return true, nil
	}
	parked, err := s.backend.ParkedKeys(ctx, s.plan.Name, old.Version)
	if err != nil {
		return false, fmt.Errorf("load parked keys: %w", err)
	}
	if len(parked) > 0 && len(parked) != s.inTheWay {
		s.logger.WarnContext(ctx, "promotion waits: the version before has dead letters, whose effects would be lost; retry, skip or drain them", "before", old.Version, "keys", len(parked))
	}
	s.inTheWay = len(parked)
	return len(parked) == 0, nil
}

// carryLetters hands dead letters of a closed version on to the one that replaces
// it, which has passed over their events without handling them. Events behind the
// position it handles itself.
func (s *station) carryLetters(ctx context.Context, old, v *versionRecord, through eventstore.Position) error {
	letters, err := s.backend.DeadLetters(ctx, LetterQuery{Projection: s.plan.Name, Version: old.Version})
	if err != nil {
		return fmt.Errorf("load dead letters: %w", err)
	}
	key := CheckpointKey{Projection: s.plan.Name, Version: v.Version, Partition: carryPartition}
	letters = slices.DeleteFunc(letters, func(l DeadLetter) bool { return l.Position > through })
	for page := range slices.Chunk(letters, 100) {
		cp, err := s.backend.LoadCheckpoint(ctx, key)
		if err != nil {
			return fmt.Errorf("load checkpoint %s: %w", key, err)
		}
		for i := range page {
			page[i].Version = v.Version
		}
		if _, err := s.backend.Commit(ctx, Commit{Key: key, From: cp, To: cp.Position, Fence: cp.Fence, Parked: page}); err != nil {
			return fmt.Errorf("carry %d dead letters: %w", len(page), err)
		}
	}
	return nil
}

// carryPartition stands for the coordinator among the partitions of a version, so
// that what it writes is a compare and swap, too.
const carryPartition = -1

// carry copies what a closed version had still to do into the models of the one
// that replaces it. That one does nothing of it before it is promoted, so it can be
// repeated until then.
func (s *station) carry(ctx context.Context, old, v *versionRecord) error {
	key := CheckpointKey{Projection: s.plan.Name, Version: v.Version, Partition: carryPartition}
	cp, err := s.backend.LoadCheckpoint(ctx, key)
	if err != nil {
		return fmt.Errorf("load checkpoint %s: %w", key, err)
	}
	const page = 500
	for _, suffix := range v.Carried {
		from, to := ModelName(s.plan.Name, old.Version, old.Generation)+suffix, ModelName(s.plan.Name, v.Version, v.Generation)+suffix
		for after := ""; ; {
			docs, err := s.backend.ScanDocuments(ctx, from, after, "", page)
			if err != nil {
				return fmt.Errorf("read %s: %w", from, err)
			}
			if len(docs) == 0 {
				break
			}
			changes := make([]Change, len(docs))
			for i, d := range docs {
				changes[i] = Change{Model: to, Key: d.Key, Data: d.Data}
				after = d.Key + "\x00"
			}
			if cp, err = s.backend.Commit(ctx, Commit{Key: key, From: cp, To: cp.Position, Fence: cp.Fence, Changes: changes}); err != nil {
				return fmt.Errorf("carry %d documents from %s to %s: %w", len(docs), from, to, err)
			}
		}
	}
	return nil
}

// retire gives up the version before the current one when its time has come.
func (s *station) retire(ctx context.Context, rec *record) error {
	now, err := s.backend.Now(ctx)
	if err != nil {
		return fmt.Errorf("ask for the time: %w", err)
	}
	if now.Before(rec.KeepUntil) {
		return nil
	}
	_, err = s.records.change(ctx, s.plan.Name, func(r *record) error {
		if r.Previous != rec.Previous || r.Previous == 0 || now.Before(r.KeepUntil) {
			return errUnchanged
		}
		if old := r.version(r.Previous); old != nil {
			old.Phase = Retired
		}
		r.Previous, r.KeepUntil = 0, time.Time{}
		return nil
	})
	return err
}

// removeVersion removes everything that a retired version has stored, but for
// its closed checkpoints: they keep a worker that comes back late from writing.
func (s *station) removeVersion(ctx context.Context, v *versionRecord) error {
	if _, err := s.closeAll(ctx, v); err != nil {
		return err
	}
	if err := s.dropAll(ctx, v); err != nil {
		return err
	}
	_, err := s.records.change(ctx, s.plan.Name, func(r *record) error {
		n := len(r.Versions)
		r.Versions = slices.DeleteFunc(r.Versions, func(o versionRecord) bool { return o.Version == v.Version && o.Phase == Retired })
		if len(r.Versions) == n {
			return errUnchanged
		}
		return nil
	})
	if err == nil {
		s.logger.InfoContext(ctx, "old version removed", "removed", v.Version)
	}
	return err
}
