package client

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
)

// Health statuses.
const (
	Healthy   = "healthy"
	Degraded  = "degraded"
	Unhealthy = "unhealthy"
)

// A Health is what the health endpoint answers.
type Health struct {
	// Status is healthy; degraded when the server answers but something is
	// amiss; unhealthy when it does not answer or there is no primary.
	Status string `json:"status"`
	// LatencyMS is how long a ping of the primary took.
	LatencyMS int64          `json:"latency_ms"`
	Topology  HealthTopology `json:"topology"`
	Pool      HealthPool     `json:"pool"`
	// Reasons says what is amiss.
	Reasons []string `json:"reasons,omitempty"`
}

// HealthTopology is the part of a [Health] on the servers.
type HealthTopology struct {
	Type        string   `json:"type"`
	Primary     string   `json:"primary"`
	Secondaries []string `json:"secondaries"`
}

// HealthPool is the part of a [Health] on the connections.
type HealthPool struct {
	Idle  int `json:"idle"`
	InUse int `json:"in_use"`
	Max   int `json:"max"`
}

// HealthConfig says how health is judged. The zero value works.
type HealthConfig struct {
	// Timeout bounds the ping; 2 s when zero.
	Timeout time.Duration
	// CacheFor is how long an answer is given again; 1 s when zero. However many
	// ask, the server is pinged once in this time.
	CacheFor time.Duration
	// SlowPing is the latency from which a client is degraded; 500 ms when zero.
	SlowPing time.Duration
}

// A HealthHandler answers GET /health/mongodb with a [Health]: 200 when healthy or
// degraded, 503 when unhealthy. It is safe for concurrent use.
type HealthHandler struct {
	client *Client
	cfg    HealthConfig

	mu     sync.Mutex // held while pinging: others wait for that answer
	answer Health
	asked  time.Time
}

// NewHealthHandler returns a handler on a client.
func NewHealthHandler(c *Client, cfg HealthConfig) *HealthHandler {
	for _, d := range []struct {
		value *time.Duration
		def   time.Duration
	}{{&cfg.Timeout, 2 * time.Second}, {&cfg.CacheFor, time.Second}, {&cfg.SlowPing, 500 * time.Millisecond}} {
		if *d.value <= 0 {
			*d.value = d.def
		}
	}
	return &HealthHandler{client: c, cfg: cfg}
}

// ServeHTTP answers GET and HEAD.
func (h *HealthHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "use GET", http.StatusMethodNotAllowed)
		return
	}
	health := h.Check(r.Context())
	code := http.StatusOK
	if health.Status == Unhealthy {
		code = http.StatusServiceUnavailable
	}
	writeJSON(w, code, health)
}

func writeJSON(w http.ResponseWriter, code int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody to tell
}

// Check returns the present health, or the last one while that is fresh.
func (h *HealthHandler) Check(ctx context.Context) Health {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.asked.IsZero() && time.Since(h.asked) < h.cfg.CacheFor {
		return h.answer
	}
	// A caller that gives up must not make the answer for the others.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), h.cfg.Timeout)
	defer cancel()
	start := time.Now()
	err := h.client.Mongo().Ping(ctx, readpref.Primary())
	h.answer, h.asked = h.judge(time.Since(start), err), time.Now()
	return h.answer
}

func (h *HealthHandler) judge(latency time.Duration, ping error) Health {
	s := h.client.State()
	health := Health{
		Status:    Healthy,
		LatencyMS: latency.Milliseconds(),
		Topology:  HealthTopology{Type: s.Type, Primary: s.Primary, Secondaries: s.Secondaries},
		Pool:      HealthPool{Idle: s.Pool.Idle, InUse: s.Pool.InUse, Max: s.Pool.Max},
	}
	worse := func(status, reason string) {
		if health.Status != Unhealthy {
			health.Status = status
		}
		health.Reasons = append(health.Reasons, reason)
	}
	if ping != nil {
		worse(Unhealthy, "the primary does not answer")
	} else if latency >= h.cfg.SlowPing {
		worse(Degraded, "the primary answers slowly")
	}
	for _, m := range s.Members {
		if m.Kind == "Unknown" {
			worse(Degraded, m.Address+" cannot be reached")
		}
	}
	if s.Pool.InUse >= s.Pool.Max && s.Pool.Waiting > 0 {
		worse(Degraded, "all connections are in use")
	}
	return health
}
