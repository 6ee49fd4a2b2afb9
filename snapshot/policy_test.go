package snapshot_test

import (
	"testing"
	"time"

	"github.com/annals-es/annals/snapshot"
)

func TestPolicies(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, c := range map[string]struct {
		policy snapshot.Policy
		facts  snapshot.Facts
		want   bool
	}{
		"never":                      {snapshot.Never(), snapshot.Facts{Version: 1_000_000}, false},
		"every 10, at 9":             {snapshot.Every(10), snapshot.Facts{Version: 9}, false},
		"every 10, at 10":            {snapshot.Every(10), snapshot.Facts{Version: 10}, true},
		"every 10, over by a batch":  {snapshot.Every(10), snapshot.Facts{Version: 13}, true},
		"every 10, 9 since the last": {snapshot.Every(10), snapshot.Facts{Version: 22, Last: 13}, false},
		"every 10, 10 since":         {snapshot.Every(10), snapshot.Facts{Version: 23, Last: 13}, true},
		"an hour, none yet":          {snapshot.OlderThan(time.Hour), snapshot.Facts{Version: 1, Now: now}, true},
		"an hour, younger":           {snapshot.OlderThan(time.Hour), snapshot.Facts{Version: 2, Last: 1, LastTime: now.Add(-time.Hour + 1), Now: now}, false},
		"an hour, as old":            {snapshot.OlderThan(time.Hour), snapshot.Facts{Version: 2, Last: 1, LastTime: now.Add(-time.Hour), Now: now}, true},
		"10ms, faster":               {snapshot.SlowerThan(10 * time.Millisecond), snapshot.Facts{LoadTime: 9 * time.Millisecond}, false},
		"10ms, as slow":              {snapshot.SlowerThan(10 * time.Millisecond), snapshot.Facts{LoadTime: 10 * time.Millisecond}, true},
		"any of none":                {snapshot.AnyOf(), snapshot.Facts{Version: 5}, false},
		"any of two, neither":        {snapshot.AnyOf(snapshot.Never(), snapshot.Every(10)), snapshot.Facts{Version: 5}, false},
		"any of two, one":            {snapshot.AnyOf(snapshot.Never(), snapshot.Every(5)), snapshot.Facts{Version: 5}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := c.policy(c.facts); got != c.want {
				t.Errorf("policy says %t, want %t, for %+v", got, c.want, c.facts)
			}
		})
	}
}

func TestEveryRefusesNonsense(t *testing.T) {
	t.Parallel()
	defer func() {
		if recover() == nil {
			t.Error("Every(0) did not panic")
		}
	}()
	snapshot.Every(0)
}
