package projection

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A station is a worker's part in one version of one projection: it holds leases
// and runs the partitions that go with them. All but the partitions is done by
// one goroutine.
type station struct {
	w       *Worker
	cfg     *WorkerConfig
	plan    *Plan
	backend Backend
	records records
	logger  *slog.Logger

	held  map[int]*holding
	wake  chan struct{} // a partition has ended or has carried out a request
	short bool          // fewer partitions are held than should be

	mu   sync.Mutex
	done []string // requests carried out

	retired  bool // the version is gone; said once
	inTheWay int  // parked keys that a promotion waits for; said when they change
}

// A holding is a partition with its lease.
type holding struct {
	lease   Lease
	part    *partition
	model   string
	resumes int64
	stop    context.CancelFunc // lets it finish the batch in hand
	kill    context.CancelFunc
	expiry  *time.Timer // kills it when the lease was not renewed in time
	ended   chan struct{}
	err     error // why it has ended, nil when it was told to; set before ended is closed
	stopped time.Time
	lost    bool // the lease is somebody else's, or was
	expired atomic.Bool
	saved   PartitionStatus
	savedAt time.Time
}

func newStation(w *Worker, p *Plan) *station {
	return &station{
		w:       w,
		cfg:     &w.cfg,
		plan:    p,
		backend: w.backend,
		records: newRecords(w.backend),
		logger:  w.cfg.Logger.With("projection", p.Name, "version", p.Version, "worker", w.cfg.Name),
		held:    map[int]*holding{},
		wake:    make(chan struct{}, 1),
	}
}

// run keeps the station going until ctx ends, and then gives everything up.
func (s *station) run(ctx context.Context) {
	s.logger.InfoContext(ctx, "worker started")
	failures := 0
	for ctx.Err() == nil {
		err := s.beat(ctx)
		switch {
		case err == nil:
			failures = 0
		case ctx.Err() == nil:
			failures++
			s.logger.WarnContext(ctx, "heartbeat failed, trying again", "attempt", failures, "error", err)
		}
		pause := s.cfg.Heartbeat
		if s.short && err == nil {
			pause /= 5 // somebody is about to hand over
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-s.wake:
		}
		timer.Stop()
	}
	s.leave(context.WithoutCancel(ctx))
	s.logger.InfoContext(ctx, "worker stopped")
}

// leave stops all partitions and gives up their leases.
func (s *station) leave(ctx context.Context) {
	for _, h := range s.held {
		s.stop(h)
	}
	deadline := time.NewTimer(s.cfg.StopTimeout)
	defer deadline.Stop()
	for s.collect(ctx); len(s.held) > 0; s.collect(ctx) {
		select {
		case <-s.wake:
		case <-deadline.C:
			for _, h := range s.held {
				h.kill()
				<-h.ended
			}
		}
	}
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LeaseTTL/2)
	defer cancel()
	name := memberPrefix(s.plan.Name, s.plan.Version) + s.cfg.Name
	for _, name := range []string{name, coordinatorLease(s.plan.Name, s.plan.Version)} {
		leases, err := s.backend.Leases(ctx, name)
		for _, l := range leases {
			if l.Owner == s.cfg.Name && l.Name == name {
				err = s.backend.ReleaseLease(ctx, l)
			}
		}
		if err != nil {
			s.logger.WarnContext(ctx, "lease not given up; it expires by itself", "lease", name, "error", err)
		}
	}
}

// beat is one heartbeat.
func (s *station) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LeaseTTL/2)
	defer cancel()
	s.collect(ctx)
	err := s.renew(ctx)
	rec, err2 := s.register(ctx)
	if err := errors.Join(err, err2); err != nil {
		return err
	}
	v := rec.version(s.plan.Version)
	if v == nil {
		s.giveUpAll(ctx)
		return nil
	}
	if err := s.settleRequests(ctx, v); err != nil {
		return err
	}
	s.stopStrangers(v)
	o, err := s.ordersFor(ctx, &rec, v)
	if err != nil {
		return err
	}
	for _, h := range s.held {
		h.part.tell(o)
	}
	if err := s.balance(ctx, v); err != nil {
		return err
	}
	s.collect(ctx)
	s.saveStatuses(ctx)
	return s.coordinate(ctx)
}

// register loads the control record, entering this version if it is new.
func (s *station) register(ctx context.Context) (record, error) {
	return s.records.change(ctx, s.plan.Name, func(rec *record) error {
		if rec.version(s.plan.Version) != nil || s.plan.Version < rec.Current {
			return errUnchanged
		}
		count := s.cfg.Partitions
		if before := rec.version(rec.Current); count == 0 && before != nil {
			count = before.Layout.Count
		}
		if count == 0 {
			count = 4
		}
		rec.Versions = append(rec.Versions, versionRecord{
			Version: s.plan.Version,
			Phase:   Building,
			Desired: Live,
			Effects: s.plan.Effects,
			Direct:  s.plan.Direct,
			Models:  s.plan.Models,
			Carried: s.plan.Carried,
			Manual:  s.cfg.PromoteByHand,
			Keep:    s.cfg.Keep,
			Lag:     s.cfg.PromoteLag,
			Layout:  layout{Count: count},
		})
		slices.SortFunc(rec.Versions, func(a, b versionRecord) int { return a.Version - b.Version })
		s.logger.InfoContext(ctx, "new version registered", "partitions", count, "current", rec.Current)
		return nil
	})
}

// giveUpAll stops what belongs to a version that is no more.
func (s *station) giveUpAll(ctx context.Context) {
	if !s.retired {
		s.retired = true
		s.logger.WarnContext(ctx, "this version was replaced and removed; nothing is run for it")
	}
	s.short = false
	for _, h := range s.held {
		s.stop(h)
	}
}

// ordersFor says what the partitions have to heed.
func (s *station) ordersFor(ctx context.Context, rec *record, v *versionRecord) (orders, error) {
	o := orders{paused: v.Desired == Paused, limit: v.limit(), hold: 0, requests: slices.Clone(v.Requests)}
	if !v.Effects {
		return o, nil
	}
	before := rec.version(rec.Current)
	if v.Phase != Building || before == nil || rec.Current == v.Version {
		o.hold = max(0, posOf(v.EffectsAt))
		return o, nil
	}
	// Effects are the older version's until it has gone; going beyond it would
	// lose some.
	behind, err := positions(ctx, s.backend, s.plan.Name, before)
	if err != nil {
		return o, err
	}
	o.hold, o.limit = noLimit, min(o.limit, slices.Min(behind))
	return o, nil
}

// collect deals with partitions that have ended.
func (s *station) collect(ctx context.Context) {
	for number, h := range s.held {
		select {
		case <-h.ended:
		default:
			continue
		}
		h.expiry.Stop()
		if errors.Is(h.err, ErrFenced) || h.expired.Load() {
			h.lost = true
		}
		if h.err != nil && h.stopped.IsZero() && !h.lost {
			continue // it has failed: the lease is kept, so that it does not go round
		}
		delete(s.held, number)
		s.release(ctx, h)
	}
}

// release gives a lease up, so that others need not wait until it expires.
func (s *station) release(ctx context.Context, h *holding) {
	h.kill()
	ctx, cancel := context.WithTimeout(ctx, s.cfg.LeaseTTL/2)
	defer cancel()
	status := h.part.report.measure()
	var err error
	if h.lost {
		s.logger.WarnContext(ctx, "partition lost", "partition", h.part.key.Partition, "position", status.Position)
	} else {
		status.State, status.Owner, status.Rate, status.Speed = Stopped, "", 0, 0
		err = s.saveStatus(ctx, h, status)
	}
	err = errors.Join(err, s.backend.ReleaseLease(ctx, h.lease)) // does nothing if it is somebody else's
	if err != nil {
		s.logger.WarnContext(ctx, "partition not given up properly; its lease expires by itself", "partition", h.part.key.Partition, "error", err)
		return
	}
	s.logger.InfoContext(ctx, "partition given up", "partition", h.part.key.Partition, "position", status.Position)
}

// stop lets a partition finish the batch in hand.
func (s *station) stop(h *holding) {
	if h.stopped.IsZero() {
		h.stopped = s.cfg.Now()
		h.stop()
	} else if s.cfg.Now().Sub(h.stopped) > s.cfg.StopTimeout {
		h.kill()
	}
}

// renew prolongs the leases held and the station's membership.
func (s *station) renew(ctx context.Context) error {
	var errs []error
	if _, err := s.backend.AcquireLease(ctx, memberPrefix(s.plan.Name, s.plan.Version)+s.cfg.Name, s.cfg.Name, s.cfg.LeaseTTL); err != nil {
		errs = append(errs, fmt.Errorf("renew membership: %w", err))
	}
	for _, h := range s.held {
		if h.lost || h.expired.Load() {
			continue
		}
		since := s.cfg.Now()
		l, err := s.backend.AcquireLease(ctx, h.lease.Name, s.cfg.Name, s.cfg.LeaseTTL)
		switch {
		case errors.Is(err, ErrLeaseHeld):
			s.lose(h)
		case err != nil:
			errs = append(errs, fmt.Errorf("renew lease %s: %w", h.lease.Name, err))
		case l.Fence != h.lease.Fence:
			// It had expired and is a new one: what runs under the old token is
			// of no use.
			s.lose(h)
			h.lease = l // so that it is released
		default:
			h.expiry.Reset(s.cfg.LeaseTTL - s.cfg.Now().Sub(since))
		}
	}
	return errors.Join(errs...)
}

// lose ends a partition whose lease is gone.
func (s *station) lose(h *holding) {
	h.lost = true
	h.stopped = s.cfg.Now()
	h.kill()
}

// stopStrangers stops what does not fit the record any more.
func (s *station) stopStrangers(v *versionRecord) {
	model := ModelName(s.plan.Name, v.Version, v.Generation)
	for number, h := range s.held {
		i := number - v.Layout.First
		fits := i >= 0 && i < v.Layout.Count && h.part.count == v.Layout.Count && h.model == model
		if v.halted() || !fits || h.resumes != v.Resumes {
			s.stop(h)
		}
	}
}

// balance takes over and hands over partitions so that each member has its
// share.
func (s *station) balance(ctx context.Context, v *versionRecord) error {
	s.short = false
	if v.halted() {
		return nil
	}
	members, err := s.backend.Leases(ctx, memberPrefix(s.plan.Name, s.plan.Version))
	if err != nil {
		return fmt.Errorf("list workers: %w", err)
	}
	leases, err := s.backend.Leases(ctx, partitionPrefix(s.plan.Name, s.plan.Version))
	if err != nil {
		return fmt.Errorf("list leases: %w", err)
	}
	taken := map[string]struct{}{}
	for _, l := range leases {
		taken[l.Name] = struct{}{}
	}
	quota := s.quota(members, v.Layout.Count)
	working := 0
	for _, number := range v.Layout.ids() {
		h := s.held[number]
		if h == nil || !h.stopped.IsZero() {
			continue
		}
		if working++; working > quota {
			s.logger.InfoContext(ctx, "partition handed over", "partition", number, "workers", len(members))
			s.stop(h)
		}
	}
	for _, number := range s.rotated(v.Layout.ids()) {
		if working >= quota {
			break
		}
		key := CheckpointKey{Projection: s.plan.Name, Version: s.plan.Version, Partition: number}
		_, isTaken := taken[partitionLease(key)]
		if isTaken || s.held[number] != nil {
			continue
		}
		started, err := s.take(ctx, key)
		if err != nil {
			return err
		}
		if started {
			working++
		}
	}
	s.short = working < quota
	return nil
}

// quota is how many partitions this worker should run. The quotas of all members
// add up to the number of partitions; who gets one more differs from projection
// to projection.
func (s *station) quota(members []Lease, count int) int {
	names := make([]string, 0, len(members)+1)
	for _, m := range members {
		names = append(names, strings.TrimPrefix(m.Name, memberPrefix(s.plan.Name, s.plan.Version)))
	}
	if !slices.Contains(names, s.cfg.Name) {
		names = append(names, s.cfg.Name)
	}
	slices.Sort(names)
	n := len(names)
	rank := (slices.Index(names, s.cfg.Name) + int(KeyHash(s.plan.Name)%uint32(n))) % n
	quota := count / n
	if rank < count%n {
		quota++
	}
	return quota
}

// rotated starts at a place of each worker's own, so that workers that start
// together do not all try the same partitions.
func (s *station) rotated(ids []int) []int {
	if len(ids) == 0 {
		return ids
	}
	at := int(KeyHash(s.cfg.Name) % uint32(len(ids)))
	return append(slices.Clone(ids[at:]), ids[:at]...)
}

// take takes a partition up, unless somebody else is faster.
func (s *station) take(ctx context.Context, key CheckpointKey) (bool, error) {
	since := s.cfg.Now()
	l, err := s.backend.AcquireLease(ctx, partitionLease(key), s.cfg.Name, s.cfg.LeaseTTL)
	if errors.Is(err, ErrLeaseHeld) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("take partition %s: %w", key, err)
	}
	// The record is read with the lease in hand: whoever halts a projection takes
	// the leases first.
	rec, err := s.records.load(ctx, s.plan.Name)
	var o orders
	v := rec.version(s.plan.Version)
	fits := err == nil && v != nil && !v.halted() && key.Partition >= v.Layout.First && key.Partition < v.Layout.First+v.Layout.Count
	if fits {
		o, err = s.ordersFor(ctx, &rec, v)
	}
	if err != nil || !fits {
		return false, errors.Join(err, s.backend.ReleaseLease(ctx, l))
	}
	s.start(ctx, key, l, v, o, since)
	return true, nil
}

// start runs a partition.
func (s *station) start(ctx context.Context, key CheckpointKey, l Lease, v *versionRecord, o orders, since time.Time) {
	model := ModelName(s.plan.Name, v.Version, v.Generation)
	base := context.WithoutCancel(ctx)
	hard, kill := context.WithCancel(base)
	soft, stop := context.WithCancel(hard)
	h := &holding{
		lease:   l,
		model:   model,
		resumes: v.Resumes,
		stop:    stop,
		kill:    kill,
		ended:   make(chan struct{}),
		part: &partition{
			plan:    s.plan,
			cfg:     s.cfg,
			log:     s.w.log,
			backend: s.backend,
			logger:  s.logger.With("partition", key.Partition),
			key:     key,
			index:   key.Partition - v.Layout.First,
			count:   v.Layout.Count,
			start:   v.Layout.Start,
			fence:   l.Fence,
			report:  newReport(key, s.cfg.Name, s.cfg.Now),
			done:    s.carriedOut,
			work:    newWork(model, s.plan.Codec),
			orders:  o,
		},
	}
	h.expiry = time.AfterFunc(s.cfg.LeaseTTL-s.cfg.Now().Sub(since), func() {
		h.expired.Store(true)
		kill()
	})
	s.held[key.Partition] = h
	s.logger.InfoContext(ctx, "partition taken up", "partition", key.Partition, "fence", l.Fence)
	go func() {
		defer s.signal()
		defer close(h.ended)
		defer stop()
		h.err = h.part.run(hard, soft)
		if h.err != nil && !errors.Is(h.err, ErrFenced) {
			h.part.report.failed(h.err)
			s.logger.ErrorContext(hard, "partition failed", "partition", key.Partition, "error", h.err)
		}
	}()
}

func (s *station) signal() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// carriedOut notes that a partition has carried out a request.
func (s *station) carriedOut(id string) {
	s.mu.Lock()
	s.done = append(s.done, id)
	s.mu.Unlock()
	s.signal()
}

// settleRequests takes what was carried out off the record.
func (s *station) settleRequests(ctx context.Context, v *versionRecord) error {
	s.mu.Lock()
	done := slices.Clone(s.done)
	s.mu.Unlock()
	if len(done) == 0 {
		return nil
	}
	rec, err := s.records.changeVersion(ctx, s.plan.Name, s.plan.Version, func(_ *record, v *versionRecord) error {
		n := len(v.Requests)
		v.Requests = slices.DeleteFunc(v.Requests, func(r request) bool { return slices.Contains(done, r.ID) })
		if len(v.Requests) == n {
			return errUnchanged
		}
		return nil
	})
	if err != nil {
		return err
	}
	if now := rec.version(s.plan.Version); now != nil {
		v.Requests = now.Requests
	}
	s.mu.Lock()
	s.done = slices.Delete(s.done, 0, len(done))
	s.mu.Unlock()
	return nil
}

// saveStatuses reports what has changed, and that the worker is alive.
func (s *station) saveStatuses(ctx context.Context) {
	for _, h := range s.held {
		status := h.part.report.measure()
		if status == h.saved && s.cfg.Now().Sub(h.savedAt) < 5*s.cfg.Heartbeat {
			continue
		}
		if err := s.saveStatus(ctx, h, status); err != nil {
			s.logger.WarnContext(ctx, "status not reported", "partition", h.part.key.Partition, "error", err)
			return
		}
	}
}

func (s *station) saveStatus(ctx context.Context, h *holding, status PartitionStatus) error {
	data, err := s.records.codec.Marshal(&status)
	if err != nil {
		return err
	}
	if _, err := s.backend.SaveRow(ctx, Row{Name: statusRow(h.part.key), Revision: AnyRevision, Data: data}); err != nil {
		return err
	}
	h.saved, h.savedAt = status, s.cfg.Now()
	return nil
}
