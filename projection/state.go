package projection

import (
	"sync"
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A State is what a runner or a partition is doing.
type State string

const (
	// Stopped is the state of what does not run: it was not started or was
	// stopped cleanly, or nobody has taken it up.
	Stopped State = "stopped"
	// CatchingUp is the state behind the log's head.
	CatchingUp State = "catching up"
	// Live is the state of having applied everything that the log has.
	Live State = "live"
	// Retrying is the state after a failure that is being tried again.
	Retrying State = "retrying"
	// Paused is the state of a partition that an operator has paused.
	Paused State = "paused"
	// Waiting is the state of a partition that must not go on yet: others have to
	// reach the same position before the number of partitions changes, or an
	// older version has to go first.
	Waiting State = "waiting"
	// Failed is the state after giving up; the last error says why.
	Failed State = "failed"
)

// PartitionStatus tells how one partition is doing, as its worker last reported.
type PartitionStatus struct {
	Key   CheckpointKey `json:"key"`
	State State         `json:"state"`
	// Owner is the worker that runs it, empty when none does.
	Owner string `json:"owner"`
	// Position is the position up to which the log was handled, Head the log's
	// head as the worker last saw it.
	Position eventstore.Position `json:"position"`
	Head     eventstore.Position `json:"head"`
	// Handled is the number of events handled since the worker took it up, Rate
	// their number in a second, Speed the number of positions in a second, those
	// of events that concern nobody here included.
	Handled int64   `json:"handled"`
	Rate    float64 `json:"rate"`
	Speed   float64 `json:"speed"`
	// Parked is the number of events in dead letters.
	Parked int `json:"parked"`
	// EventTime is the time of the last event handled, Updated when that was.
	EventTime time.Time `json:"event_time"`
	Updated   time.Time `json:"updated"`
	// LastError is the last failure, also when it was overcome, and LastErrorAt
	// when that was.
	LastError   string    `json:"last_error"`
	LastErrorAt time.Time `json:"last_error_at"`
	// Reported is when the worker has said so, by the backend's clock.
	Reported time.Time `json:"-"`
}

// A report is what a partition tells of itself. It is safe for concurrent use.
type report struct {
	now func() time.Time

	mu     sync.Mutex
	s      PartitionStatus
	before PartitionStatus // at the last measurement of rates
	at0    time.Time
}

func newReport(key CheckpointKey, owner string, now func() time.Time) *report {
	r := &report{now: now, at0: now()}
	r.s = PartitionStatus{Key: key, Owner: owner, State: CatchingUp}
	return r
}

func (r *report) update(fn func(s *PartitionStatus)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fn(&r.s)
}

func (r *report) retrying(err error) {
	r.update(func(s *PartitionStatus) {
		s.State, s.LastError, s.LastErrorAt = Retrying, err.Error(), r.now().UTC()
	})
}

func (r *report) failed(err error) {
	r.update(func(s *PartitionStatus) {
		s.State, s.LastError, s.LastErrorAt = Failed, err.Error(), r.now().UTC()
	})
}

// at notes progress.
func (r *report) at(position eventstore.Position, handled int, eventTime time.Time, parked int) {
	r.update(func(s *PartitionStatus) {
		if s.Position == 0 && s.Handled == 0 && r.before.Position == 0 {
			r.before.Position = position // where it has started is no progress
		}
		s.Position, s.Head, s.Parked = position, max(s.Head, position), parked
		s.Handled += int64(handled)
		if s.State == Retrying || s.State == Paused || s.State == Waiting {
			s.State = CatchingUp
		}
		if handled > 0 {
			s.EventTime, s.Updated = eventTime, r.now().UTC()
		}
	})
}

func (r *report) state(state State) { r.update(func(s *PartitionStatus) { s.State = state }) }

func (r *report) head(head eventstore.Position) {
	r.update(func(s *PartitionStatus) {
		s.Head = max(s.Head, head)
		if s.Head > s.Position {
			s.State = CatchingUp
		}
	})
}

func (r *report) live(head eventstore.Position) {
	r.update(func(s *PartitionStatus) { s.State, s.Head = Live, max(s.Head, head) })
}

func (r *report) knownHead() eventstore.Position {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.s.Head
}

func (r *report) eventTime() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.s.EventTime
}

// measure returns the status with rates that are a mean in which the last
// seconds count most.
func (r *report) measure() PartitionStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	now := r.now()
	if d := now.Sub(r.at0).Seconds(); d >= 0.2 {
		weight := min(1, d/5)
		if r.s.Rate == 0 && r.s.Speed == 0 {
			weight = 1
		}
		r.s.Rate += weight * (float64(r.s.Handled-r.before.Handled)/d - r.s.Rate)
		r.s.Speed += weight * (float64(r.s.Position-r.before.Position)/d - r.s.Speed)
		if r.s.Rate < 0.001 {
			r.s.Rate = 0
		}
		if r.s.Speed < 0.001 {
			r.s.Speed = 0
		}
		r.before, r.at0 = r.s, now
	}
	return r.s
}
