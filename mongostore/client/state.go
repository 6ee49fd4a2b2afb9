package client

import (
	"slices"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/event"

	"github.com/annals-es/annals/mongostore/internal/refusal"
)

// A State is what a client knows of the servers and its connections to them,
// from the driver's monitors.
type State struct {
	// Type is ReplicaSet, Sharded, Single, LoadBalanced or Unknown.
	Type string `json:"type"`
	// Primary is the address of the primary, "" when there is none.
	Primary string `json:"primary"`
	// Secondaries are the addresses of the secondaries, sorted.
	Secondaries []string `json:"secondaries"`
	// Members are all servers known, by address.
	Members []Member `json:"members"`
	// Pool sums up the pools of all servers.
	Pool Pool `json:"pool"`
	// Changed is when type, primary or secondaries changed last.
	Changed time.Time `json:"changed"`
}

// A Member is a server.
type Member struct {
	Address string `json:"address"`
	// Kind is RSPrimary, RSSecondary, RSArbiter, Mongos, Standalone, Unknown or
	// another of the driver's.
	Kind string `json:"kind"`
	// RoundTrip is a moving average of the heartbeats' round trips, zero before
	// the first.
	RoundTrip time.Duration `json:"round_trip"`
}

// A Pool tells of connections.
type Pool struct {
	Idle  int `json:"idle"`
	InUse int `json:"in_use"`
	// Max is how many there may be to one server.
	Max int `json:"max"`
	// Waiting is the number of operations that wait for a connection now.
	Waiting int `json:"waiting"`
	// CheckOuts is how many connections were handed out, Failed how many were
	// asked for in vain. WaitTotal and WaitMax say how long that took.
	CheckOuts int64         `json:"check_outs"`
	Failed    int64         `json:"failed"`
	WaitTotal time.Duration `json:"wait_total"`
	WaitMax   time.Duration `json:"wait_max"`
}

// A watcher keeps a State current.
type watcher struct {
	onChange  func(State)
	onRefused func() // a server has refused the credentials
	now       func() time.Time

	mu    sync.Mutex
	state State
	rtt   map[string]time.Duration
	pools map[string]*poolCount
}

type poolCount struct{ open, inUse int }

func newWatcher(maxPool uint64, onChange func(State), now func() time.Time) *watcher {
	return &watcher{
		onChange: onChange,
		now:      now,
		state:    State{Type: "Unknown", Secondaries: []string{}, Pool: Pool{Max: int(min(maxPool, 1<<30))}},
		rtt:      map[string]time.Duration{},
		pools:    map[string]*poolCount{},
	}
}

func (w *watcher) snapshot() State {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.state
	s.Secondaries = slices.Clone(s.Secondaries)
	s.Members = slices.Clone(s.Members)
	for i := range s.Members {
		s.Members[i].RoundTrip = w.rtt[s.Members[i].Address]
	}
	for _, p := range w.pools {
		s.Pool.InUse += p.inUse
		s.Pool.Idle += max(0, p.open-p.inUse)
	}
	return s
}

func (w *watcher) serverMonitor() *event.ServerMonitor {
	return &event.ServerMonitor{
		TopologyDescriptionChanged: func(e *event.TopologyDescriptionChangedEvent) { w.topology(e.NewDescription) },
		ServerHeartbeatSucceeded: func(e *event.ServerHeartbeatSucceededEvent) {
			if !e.Awaited { // an awaited heartbeat takes as long as nothing changes
				w.heartbeat(e.Reply.Addr.String(), e.Duration)
			}
		},
	}
}

func (w *watcher) heartbeat(address string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if old, ok := w.rtt[address]; ok {
		d = old + (d-old)/5 // the weight that drivers give to a new measurement
	}
	w.rtt[address] = d
}

func (w *watcher) topology(d event.TopologyDescription) {
	w.mu.Lock()
	old := w.state
	w.state.Type = topologyType(d.Kind)
	w.state.Primary, w.state.Secondaries, w.state.Members = "", []string{}, nil
	for _, s := range d.Servers {
		w.state.Members = append(w.state.Members, Member{Address: s.Addr.String(), Kind: s.Kind})
		switch s.Kind {
		case "RSPrimary":
			w.state.Primary = s.Addr.String()
		case "RSSecondary":
			w.state.Secondaries = append(w.state.Secondaries, s.Addr.String())
		}
	}
	slices.Sort(w.state.Secondaries)
	slices.SortFunc(w.state.Members, func(a, b Member) int { return strings.Compare(a.Address, b.Address) })
	changed := old.Type != w.state.Type || old.Primary != w.state.Primary || !slices.Equal(old.Secondaries, w.state.Secondaries)
	if changed {
		w.state.Changed = w.now()
	}
	w.mu.Unlock()
	if changed {
		w.onChange(w.snapshot())
	}
}

func topologyType(kind string) string {
	if strings.HasPrefix(kind, "ReplicaSet") {
		return "ReplicaSet"
	}
	return kind
}

// poolMonitor counts, and hands events on to another monitor.
func (w *watcher) poolMonitor(next *event.PoolMonitor) *event.PoolMonitor {
	return &event.PoolMonitor{Event: func(e *event.PoolEvent) {
		w.pool(e)
		if next != nil && next.Event != nil {
			next.Event(e)
		}
	}}
}

func (w *watcher) pool(e *event.PoolEvent) {
	if e.Error != nil && w.onRefused != nil && refusal.Is(e.Error) {
		w.onRefused()
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.pools[e.Address]
	if p == nil {
		p = &poolCount{}
		w.pools[e.Address] = p
	}
	waited := func() {
		w.state.Pool.Waiting--
		w.state.Pool.WaitTotal += e.Duration
		w.state.Pool.WaitMax = max(w.state.Pool.WaitMax, e.Duration)
	}
	switch e.Type {
	case event.ConnectionReady:
		p.open++
	case event.ConnectionClosed:
		p.open = max(0, p.open-1)
	case event.ConnectionCheckOutStarted:
		w.state.Pool.Waiting++
	case event.ConnectionCheckedOut:
		waited()
		p.inUse++
		w.state.Pool.CheckOuts++
	case event.ConnectionCheckOutFailed:
		waited()
		w.state.Pool.Failed++
	case event.ConnectionCheckedIn:
		p.inUse = max(0, p.inUse-1) // a pool may be closed before
	case event.ConnectionPoolClosed:
		delete(w.pools, e.Address)
	}
}
