package main

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestCheck(t *testing.T) {
	t.Parallel()
	answer := func(code int) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }))
		t.Cleanup(s.Close)
		return s.URL
	}
	require.NoError(t, check(answer(http.StatusOK)))
	require.ErrorContains(t, check(answer(http.StatusServiceUnavailable)), "503")
	require.Error(t, check("http://127.0.0.1:1/"))
	require.Error(t, check("::"))
}
