package client

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

// A Check is a condition of readiness.
type Check struct {
	Name string
	// Ready returns why the condition is not met, nil if it is. It should return
	// when its context ends: nobody waits for it any longer.
	Ready func(context.Context) error
}

// Reachable is the condition that MongoDB is not unhealthy.
func Reachable(h *HealthHandler) Check {
	return Check{Name: "mongodb", Ready: func(ctx context.Context) error {
		if health := h.Check(ctx); health.Status == Unhealthy {
			return fmt.Errorf("unhealthy: %v", health.Reasons)
		}
		return nil
	}}
}

// LagBelow is the condition that something does not lag more than limit behind:
// the sequencer behind the events, a projection behind the log.
func LagBelow(name string, limit int64, lag func(context.Context) (int64, error)) Check {
	return Check{Name: name, Ready: func(ctx context.Context) error {
		n, err := lag(ctx)
		if err != nil {
			return err
		}
		if n > limit {
			return fmt.Errorf("lags %d events behind, more than %d", n, limit)
		}
		return nil
	}}
}

// Live answers Kubernetes' liveness probe: 200 as long as the process serves. It
// asks nothing of MongoDB: a restart does not cure a database.
func Live() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]string{"status": "live"})
	})
}

// Ready answers Kubernetes' readiness probe: 200 when all conditions are met, 503
// with the reasons otherwise. The conditions are asked side by side, each for at
// most two seconds. One that panics is not met.
func Ready(checks ...Check) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		errs := ask(ctx, checks)
		answer := struct {
			Status string            `json:"status"`
			Checks map[string]string `json:"checks"`
		}{Status: "ready", Checks: map[string]string{}}
		for i, c := range checks {
			if errs[i] != nil {
				answer.Checks[c.Name] = errs[i].Error()
			} else if answer.Checks[c.Name] == "" {
				answer.Checks[c.Name] = "ok"
			}
		}
		if errors.Join(errs...) != nil {
			answer.Status = "not ready"
			writeJSON(w, http.StatusServiceUnavailable, answer)
			return
		}
		writeJSON(w, http.StatusOK, answer)
	})
}

// ask asks all checks, and takes those that have not answered when ctx ends for
// failed.
func ask(ctx context.Context, checks []Check) []error {
	answers := make([]chan error, len(checks))
	for i, c := range checks {
		answers[i] = make(chan error, 1)
		go func() { answers[i] <- c.ask(ctx) }()
	}
	errs := make([]error, len(checks))
	for i := range checks {
		select {
		case errs[i] = <-answers[i]:
		case <-ctx.Done():
			select {
			case errs[i] = <-answers[i]:
			default:
				errs[i] = errors.New("has not answered in time")
			}
		}
	}
	return errs
}

// ask returns the check's answer. A panic is one as well: it is on a goroutine of
// ours, where net/http does not keep it from ending the process.
func (c Check) ask(ctx context.Context) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panicked: %v", v)
		}
	}()
	return c.Ready(ctx)
}
