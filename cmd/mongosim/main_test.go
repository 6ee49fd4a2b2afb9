package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServesUntilInterrupted(t *testing.T) {
	t.Parallel()
	ctx, interrupt := context.WithCancel(t.Context())
	out, stdout := io.Pipe()
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"-listen", "127.0.0.1:0"}, stdout, &stderr) }()
	uri, err := bufio.NewReader(out).ReadString('\n')
	require.NoError(t, err)
	assert.True(t, strings.HasPrefix(uri, "mongodb://127.0.0.1:"), uri)
	client, err := mongo.Connect(options.Client().ApplyURI(strings.TrimSpace(uri)))
	require.NoError(t, err)
	require.NoError(t, client.Ping(t.Context(), nil))
	require.NoError(t, client.Disconnect(context.Background()))
	interrupt()
	assert.Equal(t, 0, <-code)
	assert.Contains(t, stderr.String(), "test double")
}

func TestWrongCommandLines(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"version":  {"-version", "2.6"},
		"flag":     {"-nonsense"},
		"argument": {"now"},
	} {
		var stderr bytes.Buffer
		assert.Equal(t, 2, run(t.Context(), args, io.Discard, &stderr), name)
		assert.NotEmpty(t, stderr.String(), name)
	}
	var stderr bytes.Buffer
	assert.Equal(t, 1, run(t.Context(), []string{"-listen", "nowhere.invalid:1"}, io.Discard, &stderr))
	assert.Equal(t, 0, run(t.Context(), []string{"-h"}, io.Discard, &stderr))
}
