package main

import (
	"encoding/json"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/annals-es/annals/examples/orders/api"
)

// start serves a shop with the orders of the tour and returns its address.
func start(t *testing.T) string {
	t.Helper()
	database := databaseName(t, os.LookupEnv)
	return begin(t, os.LookupEnv, "serve", "-demo=true", "-database", database).url
}

type answer struct {
	status int
	header http.Header
	body   map[string]any
	text   string
}

func request(t *testing.T, method, url, body string, headers ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	require.NoError(t, err)
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	a := answer{status: resp.StatusCode, header: resp.Header, text: string(text)}
	if strings.Contains(resp.Header.Get("Content-Type"), "json") {
		require.NoError(t, json.Unmarshal(text, &a.body), "%s", text)
	}
	return a
}

// readOwn reads what was written under a token. An answer that is not there in time is
// asked for again, as it says.
func readOwn(t *testing.T, url, token string) answer {
	t.Helper()
	var a answer
	require.Eventually(t, func() bool {
		a = request(t, "GET", url, "", api.TokenHeader, token)
		return a.status != http.StatusGatewayTimeout
	}, time.Minute, time.Millisecond)
	return a
}

func TestServe(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	base := start(t)

	t.Run("commands and reading one's own writes", func(t *testing.T) {
		const key = "0197c2c4-7a77-7c5e-a5a1-0d3f1c2b4a01"
		placed := request(t, "POST", base+"/orders", `{"id": "2001", "customer": "dora", "region": "us"}`, api.IdempotencyHeader, key)
		require.Equal(t, http.StatusCreated, placed.status, placed.text)
		again := request(t, "POST", base+"/orders", `{"id": "2001", "customer": "dora", "region": "us"}`, api.IdempotencyHeader, key)
		require.Equal(t, true, again.body["duplicate"], again.text)
		added := request(t, "POST", base+"/orders/2001/add-item", `{"sku": "pen", "quantity": 3, "price": 150}`)
		require.Equal(t, http.StatusOK, added.status, added.text)
		read := readOwn(t, base+"/orders/2001", added.header.Get(api.TokenHeader))
		require.Equal(t, http.StatusOK, read.status, read.text)
		require.EqualValues(t, 450, read.body["total"])
		paid := request(t, "POST", base+"/orders/2001/pay", `{"amount": 450}`)
		require.Equal(t, http.StatusOK, paid.status, paid.text)
		require.Eventually(t, func() bool {
			return request(t, "GET", base+"/orders/2001", "").body["status"] == "ready to ship"
		}, time.Minute, 5*time.Millisecond, "the fulfilment process has reserved the pens")
		shipped := request(t, "POST", base+"/orders/2001/ship", `{"tracking": "T-1"}`)
		require.Equal(t, "shipped", shipped.body["status"], shipped.text)
	})

	t.Run("lists in pages", func(t *testing.T) {
		var ids []string
		url := base + "/orders?region=eu&sort=customer,-total&limit=1"
		for cursor := ""; ; {
			p := request(t, "GET", url+"&cursor="+cursor, "")
			require.Equal(t, http.StatusOK, p.status, p.text)
			for _, item := range p.body["items"].([]any) {
				ids = append(ids, item.(map[string]any)["id"].(string))
			}
			if p.body["has_next"] != true {
				break
			}
			cursor = p.body["next"].(string)
		}
		require.Equal(t, []string{"1003", "1001", "1004"}, ids)
	})

	t.Run("facets, revenue, stock, page", func(t *testing.T) {
		f := request(t, "GET", base+"/orders/facets?region=eu", "")
		require.EqualValues(t, 3, f.body["total"], f.text)
		require.Len(t, f.body["facets"].(map[string]any)["status"], 3)
		require.Contains(t, request(t, "GET", base+"/revenue", "").text, `{"day":"2026-03-16","region":"eu","orders":1,"amount":9650}`)
		require.Contains(t, request(t, "GET", base+"/stock", "").text, `"sku":"lamp","free":1,"reserved":1`)
		p := request(t, "GET", base+"/", "")
		require.Contains(t, p.header.Get("Content-Type"), "text/html")
		require.Contains(t, p.text, "<h1>Orders</h1>")
	})

	t.Run("problems", func(t *testing.T) {
		for _, c := range []struct {
			method, path, body string
			headers            []string
			status             int
			want               string
		}{
			{"GET", "/orders?total[gte]=x&bogus=1", "", nil, 400, "total[gte]"},
			{"GET", "/orders?cursor=forged", "", nil, 400, "cursor"},
			{"GET", "/orders/9999", "", nil, 404, "no such order"},
			{"GET", "/nowhere", "", nil, 404, "/nowhere"},
			{"GET", "/orders", "", []string{api.TokenHeader, "forged"}, 400, "token"},
			{"POST", "/orders", `{"customer": "x"}`, nil, 422, "region"},
			{"POST", "/orders", `{"customer": `, nil, 400, "body"},
			{"POST", "/orders", `{"who": "x"}`, nil, 400, "who"},
			{"POST", "/orders", `{"customer": "` + strings.Repeat("x", 70_000) + `"}`, nil, 413, "65536"},
			{"POST", "/orders", `{"id": "1001", "customer": "x", "region": "eu"}`, nil, 409, "placed already"},
			{"POST", "/orders/1001/dance", `{}`, nil, 404, "add-item"},
			{"POST", "/orders/9999/pay", `{"amount": 1}`, nil, 404, "not placed"},
			{"POST", "/orders/1004/pay", `{"amount": 1}`, nil, 409, "no items"},
			{"POST", "/orders/1004/cancel", `{"reason": "late"}`, []string{api.IdempotencyHeader, "x"}, 400, "UUID"},
		} {
			a := request(t, c.method, base+c.path, c.body, c.headers...)
			require.Equal(t, c.status, a.status, "%s %s: %s", c.method, c.path, a.text)
			require.Equal(t, "application/problem+json", a.header.Get("Content-Type"), "%s %s", c.method, c.path)
			require.EqualValues(t, c.status, a.body["status"])
			require.Contains(t, a.text, c.want, "%s %s", c.method, c.path)
		}
	})

	t.Run("operation", func(t *testing.T) {
		require.Equal(t, "healthy", request(t, "GET", base+"/health/mongodb", "").body["status"])
		require.Equal(t, "live", request(t, "GET", base+"/live", "").body["status"])
		require.Equal(t, "ready", request(t, "GET", base+"/ready", "").body["status"])
		metrics := request(t, "GET", base+"/metrics", "").text
		require.Contains(t, metrics, "annals_events_appended_total")
		require.Contains(t, metrics, `mongodb_operations_total{coll="events",op="insert_one"}`)
	})
}
