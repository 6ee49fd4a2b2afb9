package main

import (
	"context"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/examples/orders/api"
	"github.com/annals-es/annals/projection"
)

// owners returns how many partitions each worker has, and how many have none under
// "".
func owners(t *testing.T, control *projection.Control) map[string]int {
	t.Helper()
	statuses, err := control.Statuses(t.Context())
	require.NoError(t, err)
	found := map[string]int{}
	for _, s := range statuses {
		for _, p := range s.Version(max(1, s.Current)).Partitions {
			found[p.Owner]++
		}
	}
	return found
}

// TestWorkersShareTheWork runs a front that projects nothing, workers, and a
// server that works too: they share the partitions, a worker that comes gets some,
// one that is stopped hands its own over, and what is ordered at the front is
// reserved and shown all the time.
func TestWorkersShareTheWork(t *testing.T) {
	t.Parallel()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	env := sharedServer(t)
	database := databaseName(t, env)
	b, err := openMongoDB(t.Context(), env, options{database: database})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, b.close(context.Background())) })
	control := projection.NewControl(b.Events, b.Backend)
	// shared waits until a number of workers have all partitions and returns them.
	shared := func(n int) []string {
		t.Helper()
		var now map[string]int
		require.Eventually(t, func() bool {
			now = owners(t, control)
			return len(now) == n && now[""] == 0
		}, time.Minute, 10*time.Millisecond, "%d workers have everything", n)
		return slices.Sorted(maps.Keys(now))
	}

	front := begin(t, env, "serve", "-workers=false", "-demo=false", "-database", database)
	notReady := request(t, "GET", front.url+"/ready", "")
	require.Equal(t, http.StatusServiceUnavailable, notReady.status, "nobody builds what it shows")
	require.Equal(t, http.StatusServiceUnavailable, request(t, "GET", front.url+"/orders", "").status)

	begin(t, env, "serve", "-demo=false", "-database", database)
	shared(1)
	worker := begin(t, env, "worker", "-database", database)
	before := shared(2)
	third := begin(t, env, "worker", "-database", database)
	all := shared(3)
	require.Subset(t, all, before)

	order := func(id string) {
		t.Helper()
		token := ""
		for _, step := range []struct{ path, body string }{
			{"/orders", `{"id": "` + id + `", "customer": "dora", "region": "us"}`},
			{"/orders/" + id + "/add-item", `{"sku": "pen", "quantity": 2, "price": 150}`},
			{"/orders/" + id + "/pay", `{"amount": 300}`},
		} {
			a := request(t, "POST", front.url+step.path, step.body)
			require.Less(t, a.status, 300, a.text)
			token = a.header.Get(api.TokenHeader)
		}
		shown := readOwn(t, front.url+"/orders/"+id, token)
		require.Equal(t, http.StatusOK, shown.status, shown.text)
		require.EqualValues(t, 300, shown.body["total"])
		// There are no pens: the fulfilment process calls it off, wherever it runs.
		require.Eventually(t, func() bool {
			return request(t, "GET", front.url+"/orders/"+id, "").body["status"] == "cancelled"
		}, time.Minute, 5*time.Millisecond)
	}
	order("1")

	// What a worker does not have is the shop; what operators need it has.
	require.Equal(t, http.StatusNotFound, request(t, "GET", worker.url+"/orders", "").status)
	require.Equal(t, "live", request(t, "GET", worker.url+"/live", "").body["status"])
	require.Equal(t, "ready", request(t, "GET", worker.url+"/ready", "").body["status"])
	require.Eventually(t, func() bool { // partitions may be changing hands
		metrics := request(t, "GET", worker.url+"/metrics", "").text
		return strings.Contains(metrics, `annals_projection_owned{partition="0",projection="fulfilment",version="1"} 1`)
	}, time.Minute, 10*time.Millisecond, "a worker tells of all projections")
	require.Eventually(t, func() bool { return request(t, "GET", front.url+"/ready", "").status == http.StatusOK }, time.Minute, 10*time.Millisecond)

	// What a worker had that has stopped is the others'.
	require.NoError(t, third.stop())
	require.Equal(t, before, shared(2))
	order("2")
	require.NoError(t, worker.stop())
	shared(1)
	order("3")
}

// TestSharingNeedsAServer starts processes that would be alone with a simulated
// server of their own.
func TestSharingNeedsAServer(t *testing.T) {
	t.Parallel()
	nothing := func(string) (string, bool) { return "", false }
	for _, args := range [][]string{{"worker"}, {"serve", "-workers=false"}} {
		require.ErrorContains(t, run(t.Context(), args, nothing, nil), "MONGODB_URI is not set")
	}
	require.ErrorContains(t, run(t.Context(), []string{"dance"}, nothing, nil), `no command "dance"`)
	for _, command := range []string{"serve", "worker", "-store=memory"} {
		require.ErrorContains(t, run(t.Context(), []string{command, "listen"}, nothing, nil), `"listen" is no flag`)
	}
}
