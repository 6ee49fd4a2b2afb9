package query

import (
	"errors"
	"fmt"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/query/internal/name"
)

// A SortKey is one field of an order. Make one with Asc, Desc or ByTextScore.
type SortKey struct {
	path       string
	descending bool
	uniform    bool
	meta       string
	err        error
}

// Asc sorts by the field, least first.
func Asc(field string) SortKey { return SortKey{path: field, err: name.Path(field)} }

// Desc sorts by the field, greatest first.
func Desc(field string) SortKey {
	return SortKey{path: field, descending: true, err: name.Path(field)}
}

// ByTextScore sorts by how well documents match a Text filter, best first.
func ByTextScore() SortKey { return SortKey{path: "score", meta: "textScore"} }

// Uniform promises that in every document the field is there, is not null and
// is of one and the same type (all numeric types count as one). Keyset pages can
// then ask for less. Documents that break the promise may be left out of the
// pages after the first.
func (k SortKey) Uniform() SortKey {
	k.uniform = true
	return k
}

// Path returns the field's path.
func (k SortKey) Path() string { return k.path }

// Descending reports whether the greatest comes first.
func (k SortKey) Descending() bool { return k.descending }

// SortField returns the key as an element of a sort document.
func (k SortKey) SortField() (path string, direction any, err error) {
	switch {
	case k.err != nil:
		return "", nil, fmt.Errorf("sort: %w", k.err)
	case k.path == "":
		return "", nil, errors.New("sort: the key is empty")
	case k.meta != "":
		return k.path, bson.D{{Key: "$meta", Value: k.meta}}, nil
	case k.descending:
		return k.path, -1, nil
	}
	return k.path, 1, nil
}

func (k SortKey) reversed() SortKey {
	k.descending = !k.descending
	return k
}

// NotAValue keeps a SortKey from being taken for a value.
func (k SortKey) NotAValue() string { return "a query.SortKey" }

// maxSortKeys is the server's limit on the fields of an index and of an order.
const maxSortKeys = 32

// buildSort makes a sort document and refuses a field that comes twice.
func buildSort(keys []SortKey) (bson.D, error) {
	if len(keys) == 0 {
		return nil, nil
	}
	if len(keys) > maxSortKeys {
		return nil, invalidf("sort: %d keys, the limit is %d", len(keys), maxSortKeys)
	}
	d := make(bson.D, 0, len(keys))
	for i, k := range keys {
		path, direction, err := k.SortField()
		if err != nil {
			return nil, invalidf("%v", err)
		}
		for _, earlier := range keys[:i] {
			if earlier.path == path {
				return nil, invalidf("sort: %q is given twice", path)
			}
		}
		d = append(d, bson.E{Key: path, Value: direction})
	}
	return d, nil
}

// ParseSort reads an order such as "-placed_at,total": names separated by
// commas, a minus sign meaning descending. The names become field paths, so take
// it from outside only through package urlfilter, which knows which are allowed.
func ParseSort(s string) ([]SortKey, error) {
	var keys []SortKey
	for part := range strings.SplitSeq(s, ",") {
		part = strings.TrimSpace(part)
		key := Asc(strings.TrimPrefix(part, "+"))
		if rest, desc := strings.CutPrefix(part, "-"); desc {
			key = Desc(rest)
		}
		if key.err != nil {
			return nil, invalidf("sort %q: %v", s, key.err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}
