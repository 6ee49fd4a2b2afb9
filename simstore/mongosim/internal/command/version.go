package command

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/expr"
)

// DefaultVersion is the release a node presents itself as: the one whose answers
// the simulation was compared with.
const DefaultVersion = "4.4.6"

// A version is a release of the server, which decides the wire version and which
// commands and operators there are.
type version struct{ major, minor, patch int }

// releases are the ones that can be presented, with the wire version of each.
func releases() map[[2]int]int32 {
	return map[[2]int]int32{
		{4, 4}: 9, {5, 0}: 13, {6, 0}: 17, {7, 0}: 21, {8, 0}: 25,
	}
}

func parseVersion(s string) (version, error) {
	if s == "" {
		s = DefaultVersion
	}
	var n [3]int
	parts := strings.Split(s, ".")
	if len(parts) < 2 || len(parts) > 3 {
		return version{}, fmt.Errorf("Config.Version %q is not of the form 8.0 or 4.4.6", s)
	}
	for i, p := range parts {
		v, err := strconv.Atoi(p)
		if err != nil || v < 0 {
			return version{}, fmt.Errorf("Config.Version %q is not of the form 8.0 or 4.4.6", s)
		}
		n[i] = v
	}
	if _, ok := releases()[[2]int{n[0], n[1]}]; !ok {
		return version{}, fmt.Errorf("Config.Version %q is not among 4.4, 5.0, 6.0, 7.0 and 8.0", s)
	}
	return version{n[0], n[1], n[2]}, nil
}

func (v version) atLeast(major, minor int) bool {
	return v.major > major || v.major == major && v.minor >= minor
}

func (v version) String() string { return fmt.Sprintf("%d.%d.%d", v.major, v.minor, v.patch) }

func (v version) wire() int32 { return releases()[[2]int{v.major, v.minor}] }

func (v version) compatibility() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

func (v version) language() expr.Version { return expr.Version(v.major*100 + v.minor) }
