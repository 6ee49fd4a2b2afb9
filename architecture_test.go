package annals

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/annals-es/annals"

// layers says which packages of the module and which others a package may
// import, besides the standard library. A package not named here takes the rule
// of the nearest folder above it. "..." stands for anything.
var layers = map[string]rule{
	"":                                    {},
	"eventstore":                          {external: []string{"github.com/google/uuid", "go.mongodb.org/mongo-driver/v2/bson"}},
	"eventstore/eventstoretest":           {internal: []string{"eventstore"}, external: []string{"..."}},
	"snapshot":                            {internal: []string{"eventstore"}},
	"snapshot/snapshottest":               {internal: []string{"eventstore", "snapshot"}, external: []string{"..."}},
	"aggregate":                           {internal: []string{"eventstore", "snapshot"}, external: []string{"github.com/hashicorp/golang-lru/v2"}},
	"aggregate/aggregatetest":             {internal: []string{"aggregate", "eventstore"}, external: []string{"..."}},
	"projection":                          {internal: []string{"eventstore"}},
	"projection/projectiontest":           {internal: []string{"eventstore", "projection"}, external: []string{"..."}},
	"projection/projectionprom":           {internal: []string{"eventstore", "projection"}, external: []string{"github.com/prometheus/client_golang"}},
	"process":                             {internal: []string{"eventstore", "projection"}},
	"simstore":                            {internal: []string{"eventstore", "snapshot", "projection"}, external: []string{"github.com/google/uuid"}},
	"simstore/mongosim":                   {internal: []string{"simstore/mongosim"}, external: []string{"..."}},
	"simstore/mongosim/internal/mql":      {internal: []string{"simstore/mongosim/internal/mql", "simstore/mongosim/internal/mongoerr"}, external: []string{"go.mongodb.org/mongo-driver/v2/bson", "github.com/dlclark/regexp2", "github.com/cockroachdb/apd"}},
	"simstore/mongosim/internal/mongoerr": {external: []string{"go.mongodb.org/mongo-driver/v2/bson"}},
	"simstore/replay":                     {internal: []string{"simstore/mongosim"}, external: []string{"..."}},
	"query":                               {internal: []string{"query"}, external: []string{"go.mongodb.org/mongo-driver/v2"}},
	"mongostore":                          {internal: []string{"mongostore", "eventstore", "snapshot", "projection", "query"}, external: []string{"..."}},
	"cmd":                                 {internal: []string{"..."}, external: []string{"..."}},
	"deploy":                              {},
	"examples":                            {internal: []string{"..."}, external: []string{"..."}},
}

// A rule lists what may be imported, by prefix. What is kept for programs and
// tests, see testOnly, is refused besides.
type rule struct{ internal, external []string }

// testOnly may be imported by tests and by packages for tests alone.
var testOnly = []string{"github.com/stretchr/testify", "github.com/ory/dockertest", "pgregory.net/rapid", "go.uber.org/goleak", "testing"}

type pkg struct {
	ImportPath string
	Imports    []string
	Standard   bool
}

func TestImportArrows(t *testing.T) {
	t.Parallel()
	packages := listPackages(t)
	if len(packages) < 8 {
		t.Fatalf("go list found %d packages only", len(packages))
	}
	for _, p := range packages {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		r, ok := ruleOf(name)
		if !ok {
			t.Errorf("package %s stands in no layer; add it to layers", name)
			continue
		}
		for _, imported := range p.Imports {
			if why := r.refuses(name, imported); why != "" {
				t.Errorf("%s must not import %s: %s", name, imported, why)
			}
		}
	}
}

func listPackages(t *testing.T) []pkg {
	t.Helper()
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", "./...").Output()
	if err != nil {
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			t.Fatalf("go list: %v\n%s", err, exit.Stderr)
		}
		t.Fatal(err)
	}
	var packages []pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatal(err)
		}
		packages = append(packages, p)
	}
}

func ruleOf(name string) (rule, bool) {
	for dir := name; ; {
		if r, ok := layers[dir]; ok {
			return r, dir != "" || name == ""
		}
		cut := strings.LastIndex(dir, "/")
		if cut < 0 {
			return rule{}, false
		}
		dir = dir[:cut]
	}
}

func (r rule) refuses(name, imported string) string {
	if own, ok := strings.CutPrefix(imported, module+"/"); ok {
		if under(own, r.internal) || under(own, []string{name}) {
			return ""
		}
		return "the arrows of the architecture do not lead there"
	}
	if under(imported, testOnly) && !isForTests(name) {
		return "it is for tests alone"
	}
	if !strings.Contains(strings.Split(imported, "/")[0], ".") || under(imported, r.external) {
		return ""
	}
	return "it is not among the dependencies of this layer"
}

// isForTests reports whether a package is there for tests: mongosim starts with
// the test that uses it.
func isForTests(name string) bool {
	return strings.HasSuffix(name, "test") || name == "simstore/mongosim" || strings.HasPrefix(name, "simstore/replay")
}

func under(path string, prefixes []string) bool {
	return slices.ContainsFunc(prefixes, func(prefix string) bool {
		return prefix == "..." || path == prefix || strings.HasPrefix(path, prefix+"/")
	})
}
