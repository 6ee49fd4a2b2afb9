package main

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/stretchr/testify/require"
)

// TestBench runs a short measurement on the simulated server and reads its JSON.
func TestBench(t *testing.T) {
	t.Parallel()
	var out, errOut bytes.Buffer
	args := []string{"bench", "-writers", "4", "-events", "1,3", "--seconds", "0.1", "-rounds", "1", "-workloads", "append,append_txn", "-json"}
	require.NoError(t, run(t.Context(), args, &out, &errOut), errOut.String())
	var r struct {
		Server  string
		Results []struct {
			Workload        string
			Events, Writers int
			Annals, Raw     map[string]float64
			Ratio           float64
		}
	}
	require.NoError(t, json.Unmarshal(out.Bytes(), &r), out.String())
	require.NotEmpty(t, r.Server)
	require.NotEmpty(t, r.Results)
	for _, result := range r.Results {
		require.Equal(t, 4, result.Writers)
		require.Positive(t, result.Annals["appends_per_s"], "%+v", result)
		require.Positive(t, result.Raw["appends_per_s"], "%+v", result)
		require.Contains(t, result.Annals, "p99_ms")
		require.Positive(t, result.Ratio)
	}
}

// Turns become longer until something is done in them.
func TestBenchInNoTime(t *testing.T) {
	t.Parallel()
	var out, errOut bytes.Buffer
	args := []string{"bench", "-writers", "2", "-events", "1", "-seconds", "0.000001", "-rounds", "1", "-workloads", "append", "-json"}
	require.NoError(t, run(t.Context(), args, &out, &errOut), errOut.String())
	var r struct{ Results []struct{ Ratio float64 } }
	require.NoError(t, json.Unmarshal(out.Bytes(), &r), out.String())
	require.Positive(t, r.Results[0].Ratio)
}

func TestTorture(t *testing.T) {
	t.Parallel()
	var out, errOut bytes.Buffer
	require.NoError(t, run(t.Context(), []string{"torture", "-seconds", "1", "-round", "1", "-seed", "7"}, &out, &errOut), "%s%s", &out, &errOut)
	require.Contains(t, out.String(), "seed 7")
}

func TestUsage(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		err  string
		out  string
	}{
		{nil, "", "bench"},
		{[]string{"help"}, "", "torture"},
		{[]string{"dance"}, `no command "dance"`, ""},
		{[]string{"bench", "-writers", "x"}, "invalid value", ""},
		{[]string{"bench", "-writers", "0"}, "from 1 to 10,000", ""},
		{[]string{"bench", "now"}, `not "now"`, ""},
		{[]string{"torture", "-writers", "0"}, "must be positive", ""},
		{[]string{"torture", "-h"}, "help", ""},
	} {
		var out, errOut bytes.Buffer
		err := run(t.Context(), c.args, &out, &errOut)
		if c.err == "" {
			require.NoError(t, err)
		} else {
			require.ErrorContains(t, err, c.err)
		}
		require.Contains(t, out.String(), c.out)
	}
}
