package main

import (
	"bytes"
	"flag"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

var update = flag.Bool("update", false, "write testdata/tour.txt anew")

func TestMain(m *testing.M) {
	flag.Parse()
	goleak.VerifyTestMain(m)
}

// TestTour runs what the README's first command runs, and the same in memory.
func TestTour(t *testing.T) {
	t.Parallel()
	const golden = "testdata/tour.txt"
	for _, store := range []string{"memory", "mongodb"} {
		t.Run(store, func(t *testing.T) {
			t.Parallel()
			var out bytes.Buffer
			if err := run(t.Context(), []string{"-store=" + store}, os.LookupEnv, &out); err != nil {
				t.Fatalf("%v\n%s", err, out.String())
			}
			if *update {
				if err := os.WriteFile(golden, out.Bytes(), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), out.String()); diff != "" {
				t.Errorf("the tour has changed; if that is right, run go test ./examples/orders -update (-want +got):\n%s", diff)
			}
		})
	}
}

func TestUnknownStore(t *testing.T) {
	t.Parallel()
	if err := run(t.Context(), []string{"-store=floppy"}, os.LookupEnv, io.Discard); err == nil || !strings.Contains(err.Error(), "mongodb or memory") {
		t.Errorf("got %v", err)
	}
}
