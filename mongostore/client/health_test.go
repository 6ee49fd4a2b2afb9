package client_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/mongostore/client"
	"github.com/annals-es/annals/simstore/mongosim"
)

func get(t *testing.T, h http.Handler) (int, string) {
	t.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/health/mongodb", nil))
	require.Equal(t, "application/json", w.Header().Get("Content-Type"))
	return w.Code, w.Body.String()
}

func TestHealth(t *testing.T) {
	t.Parallel()
	server := mongosim.Start(t)
	c, err := connect(t, server, client.Config{MaxPool: 7})
	require.NoError(t, err)
	// One that waits long, one to which everything is slow, and one that gives up
	// at once: so that a busy machine changes nothing.
	patient := client.NewHealthHandler(c, client.HealthConfig{Timeout: time.Minute, CacheFor: time.Nanosecond, SlowPing: time.Minute})
	strict := client.NewHealthHandler(c, client.HealthConfig{Timeout: time.Minute, CacheFor: time.Nanosecond, SlowPing: 50 * time.Millisecond})
	hasty := client.NewHealthHandler(c, client.HealthConfig{Timeout: 100 * time.Millisecond, CacheFor: time.Nanosecond})

	code, body := get(t, patient)
	require.Equal(t, http.StatusOK, code)
	var health client.Health
	require.NoError(t, json.Unmarshal([]byte(body), &health))
	require.Equal(t, client.Healthy, health.Status, body)
	require.Equal(t, "ReplicaSet", health.Topology.Type)
	require.NotEmpty(t, health.Topology.Primary)
	require.Equal(t, 7, health.Pool.Max)
	require.Contains(t, body, `"secondaries":[]`)
	require.Contains(t, body, `"latency_ms":`)
	require.Contains(t, body, `"in_use":`)

	require.NoError(t, server.FailCommand(mongosim.FailPoint{Commands: []string{"ping"}, Block: 80 * time.Millisecond}))
	code, body = get(t, strict)
	require.Equal(t, http.StatusOK, code)
	require.Contains(t, body, `"status":"degraded"`)
	require.Contains(t, body, "answers slowly")

	require.NoError(t, server.FailCommand(mongosim.FailPoint{Commands: []string{"ping"}, Block: 30 * time.Second}))
	code, body = get(t, hasty)
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, `"status":"unhealthy"`)
	server.ClearFailPoint()

	require.True(t, server.StepDown(-1))
	require.Eventually(t, func() bool { code, _ := get(t, hasty); return code == http.StatusServiceUnavailable }, time.Minute, time.Millisecond)
	server.Elect()
	require.Eventually(t, func() bool { code, _ := get(t, patient); return code == http.StatusOK }, time.Minute, time.Millisecond)

	w := httptest.NewRecorder()
	patient.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", nil))
	require.Equal(t, http.StatusMethodNotAllowed, w.Code)
}

// TestHealthIsCached lets many ask at once; the server is pinged once.
func TestHealthIsCached(t *testing.T) {
	t.Parallel()
	server := mongosim.Start(t)
	c, err := connect(t, server, client.Config{})
	require.NoError(t, err)
	h := client.NewHealthHandler(c, client.HealthConfig{CacheFor: time.Hour, Timeout: time.Minute, SlowPing: time.Minute})
	require.NoError(t, server.FailCommand(mongosim.FailPoint{Commands: []string{"ping"}, Block: time.Millisecond}))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() { require.Equal(t, client.Healthy, h.Check(t.Context()).Status) })
	}
	wg.Wait()
	require.EqualValues(t, 1, server.FailPointFired())
}

func TestChangesAreReported(t *testing.T) {
	t.Parallel()
	server := mongosim.Start(t)
	states := make(chan client.State, 100)
	c, err := connect(t, server, client.Config{OnChange: func(s client.State) { states <- s }})
	require.NoError(t, err)
	require.NotEmpty(t, (<-states).Primary)
	s := c.State()
	require.NotZero(t, s.Changed)
	require.Len(t, s.Members, 1)
	require.Equal(t, "RSPrimary", s.Members[0].Kind)
	require.NoError(t, c.Mongo().Ping(t.Context(), nil))
	s = c.State()
	require.Positive(t, s.Pool.CheckOuts)
	require.Zero(t, s.Pool.Waiting)
	require.Positive(t, s.Pool.Idle)

	server.StepDown(-1)
	for s = range states {
		if s.Primary == "" {
			break
		}
	}
	server.Elect()
	for s = range states {
		if s.Primary != "" {
			break
		}
	}
}

func TestReadyAndLive(t *testing.T) {
	t.Parallel()
	c, err := connect(t, mongosim.Start(t), client.Config{})
	require.NoError(t, err)
	reachable := client.Reachable(client.NewHealthHandler(c, client.HealthConfig{Timeout: time.Minute, CacheFor: time.Nanosecond, SlowPing: time.Minute}))
	lag := func(n int64, err error) client.Check {
		return client.LagBelow("orders", 100, func(context.Context) (int64, error) { return n, err })
	}
	// answered asks until the server has answered in time.
	answered := func(h http.Handler) (code int, body string) {
		require.Eventually(t, func() bool {
			code, body = get(t, h)
			return strings.Contains(body, `"mongodb":"ok"`)
		}, time.Minute, time.Millisecond)
		return code, body
	}
	code, body := answered(client.Ready(reachable, lag(100, nil)))
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"status":"ready","checks":{"mongodb":"ok","orders":"ok"}}`, body)
	code, body = answered(client.Ready(reachable, lag(101, nil)))
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.JSONEq(t, `{"status":"not ready","checks":{"mongodb":"ok","orders":"lags 101 events behind, more than 100"}}`, body)
	code, _ = get(t, client.Ready(lag(0, errors.New("boom"))))
	require.Equal(t, http.StatusServiceUnavailable, code)
	release := make(chan struct{})
	defer close(release)
	code, body = get(t, client.Ready(client.Check{Name: "stuck", Ready: func(context.Context) error { <-release; return nil }}))
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.Contains(t, body, "has not answered in time")
	code, body = get(t, client.Ready(
		client.Check{Name: "broken", Ready: func(context.Context) error { panic("boom") }},
		lag(101, nil), lag(0, nil), // one of two of the same name
	))
	require.Equal(t, http.StatusServiceUnavailable, code)
	require.JSONEq(t, `{"status":"not ready","checks":{"broken":"panicked: boom","orders":"lags 101 events behind, more than 100"}}`, body)
	code, body = get(t, client.Live())
	require.Equal(t, http.StatusOK, code)
	require.JSONEq(t, `{"status":"live"}`, body)
}
