package annals

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// A page is the code of a Markdown file: fenced Go blocks whose first line is
// "// file: name". They make up a module of their own, as a reader's would. What
// its main program prints is the page's block of kind "output".
type page struct {
	files  map[string]string
	output string
}

var fence = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")

func readPage(t *testing.T, path string) page {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	p := page{files: map[string]string{}}
	for _, m := range fence.FindAllStringSubmatch(string(text), -1) {
		kind, body := m[1], m[2]
		switch kind {
		case "output":
			p.output = body
		case "go":
			header, code, _ := strings.Cut(body, "\n")
			name, ok := strings.CutPrefix(header, "// file: ")
			if !ok {
				t.Errorf("%s: a Go block does not start with \"// file: name\", so nothing compiles it:\n%s", path, body)
				continue
			}
			p.files[name] += code // a file may be shown in parts
		}
	}
	return p
}

// TestPages compiles, tests and runs the code of the documentation.
func TestPages(t *testing.T) {
	t.Parallel()
	paths, err := filepath.Glob("docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range append(paths, "README.md") {
		if path == "docs/queries.md" {
			continue // its snippets are held to query/cookbook_test.go by a test there
		}
		t.Run(path, func(t *testing.T) {
			t.Parallel()
			p := readPage(t, path)
			if len(p.files) == 0 {
				return
			}
			dir := t.TempDir()
			writeModule(t, dir, p.files)
			run(t, dir, "go", "vet", "./...")
			run(t, dir, "go", "test", "./...")
			if p.output != "" {
				if diff := cmp.Diff(p.output, run(t, dir, "go", "run", ".")); diff != "" {
					t.Errorf("the page says that its program prints something else (-page +program):\n%s", diff)
				}
			}
		})
	}
}

// writeModule writes files and a go.mod that takes Annals from here and
// everything else in the versions used here.
func writeModule(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	mod, err := os.ReadFile("go.mod")
	if err != nil {
		t.Fatal(err)
	}
	sum, err := os.ReadFile("go.sum")
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Replace(string(mod), "module "+module, "module example.com/page", 1)
	files["go.mod"] = text + "\nrequire " + module + " v0.0.0\n\nreplace " + module + " => " + here + "\n"
	files["go.sum"] = string(sum)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

func run(t *testing.T, dir string, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GOFLAGS=-mod=mod")
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, out, stderr.String())
	}
	return string(out)
}
