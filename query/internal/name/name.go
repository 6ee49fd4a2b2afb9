// Package name checks the names of fields and variables before they become
// part of a command. A name is structure, not data: whoever may choose it
// freely chooses operators, so every name that reaches a filter, an update or a
// pipeline goes through here.
package name

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// MaxLength is the longest path accepted, in bytes. The server's own limit on
// an index key pattern is far below it.
const MaxLength = 1024

// maxParts is the server's limit on the nesting of a document: a longer path
// can't name anything.
const maxParts = 180

// Path checks a dotted path as filters, sorts and projections use it.
func Path(path string) error { return check(path, false) }

// UpdatePath checks a dotted path as updates use it: the positional parts $,
// $[] and $[identifier] are allowed after the first part.
func UpdatePath(path string) error { return check(path, true) }

// Key checks the name of one field of a document: a part of a path, without
// dots.
func Key(key string) error {
	if strings.IndexByte(key, '.') >= 0 {
		return fmt.Errorf("field name %q has a dot: nest documents instead", key)
	}
	return check(key, false)
}

// plain has the bytes that mean nothing to a path wherever they stand.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c != '.' && c != 0 && c != '$' && c < utf8.RuneSelf
	}
	return t
}()

// check stays free of allocation while the path is good: it runs for every
// condition of every filter.
func check(path string, positional bool) error {
	if path == "" {
		return errors.New("field name is empty")
	}
	if len(path) > MaxLength {
		return fmt.Errorf("field name is %d bytes long, the limit is %d", len(path), MaxLength)
	}
	start, parts, ascii := 0, 1, true
	for i := 0; i < len(path); i++ {
		if plain[path[i]] {
			continue
		}
		switch c := path[i]; {
		case c == '.':
			if i == start {
				return fmt.Errorf("field name %q has an empty part", path)
			}
			start = i + 1
			parts++
		case c == 0:
			return fmt.Errorf("field name %q has a NUL byte", path)
		case c == '$' && i == start:
			if start == 0 || !allowedDollar(part(path, start), positional) {
				return fmt.Errorf("field name %q has a part that starts with $", path)
			}
		case c >= utf8.RuneSelf:
			ascii = false
		}
	}
	if start == len(path) {
		return fmt.Errorf("field name %q has an empty part", path)
	}
	if parts > maxParts {
		return fmt.Errorf("field name has %d parts, the limit is %d", parts, maxParts)
	}
	if !ascii && !utf8.ValidString(path) {
		return fmt.Errorf("field name %q is not valid UTF-8", path)
	}
	return nil
}

func part(path string, start int) string {
	rest, _, _ := strings.Cut(path[start:], ".")
	return rest
}

// allowedDollar knows the only parts that may start with $: those of a DBRef,
// and the positional operators of an update.
func allowedDollar(p string, positional bool) bool {
	switch p {
	case "$id", "$ref", "$db":
		return true
	case "$", "$[]":
		return positional
	}
	if !positional || !strings.HasPrefix(p, "$[") || !strings.HasSuffix(p, "]") {
		return false
	}
	return Identifier(p[2:len(p)-1]) == nil
}

// Identifier checks the name of an array filter: a lower-case letter, then
// letters and digits, as the server demands.
func Identifier(id string) error {
	if id == "" || id[0] < 'a' || id[0] > 'z' {
		return fmt.Errorf("array filter name %q must start with a lower-case letter", id)
	}
	for i := 1; i < len(id); i++ {
		if !isAlnum(id[i]) {
			return fmt.Errorf("array filter name %q may hold letters and digits only", id)
		}
	}
	return nil
}

// Variable checks the name of a user variable of an expression ($let, $map,
// let of $lookup): it starts with a lower-case letter or a non-ASCII
// character, followed by letters, digits, underscores or non-ASCII characters.
func Variable(v string) error {
	if v == "" {
		return errors.New("variable name is empty")
	}
	if c := v[0]; (c < 'a' || c > 'z') && c < utf8.RuneSelf {
		return fmt.Errorf("variable name %q must start with a lower-case letter", v)
	}
	for i := 1; i < len(v); i++ {
		if c := v[i]; !isAlnum(c) && c != '_' && c < utf8.RuneSelf {
			return fmt.Errorf("variable name %q may hold letters, digits and underscores only", v)
		}
	}
	if !utf8.ValidString(v) {
		return fmt.Errorf("variable name %q is not valid UTF-8", v)
	}
	return nil
}

// Collection checks the name of a collection that a stage reads or writes.
func Collection(c string) error {
	switch {
	case c == "":
		return errors.New("collection name is empty")
	case strings.IndexByte(c, 0) >= 0:
		return fmt.Errorf("collection name %q has a NUL byte", c)
	case strings.IndexByte(c, '$') >= 0:
		return fmt.Errorf("collection name %q has a $", c)
	case strings.HasPrefix(c, ".") || strings.HasSuffix(c, ".") || strings.Contains(c, ".."):
		return fmt.Errorf("collection name %q has an empty part", c)
	}
	return nil
}

// Database checks the name of a database that a stage writes to.
func Database(d string) error {
	if d == "" {
		return errors.New("database name is empty")
	}
	if len(d) > 63 {
		return fmt.Errorf("database name %q is longer than 63 bytes", d)
	}
	if strings.ContainsAny(d, "\x00/\\. \"$*<>:|?") {
		return fmt.Errorf("database name %q has a character that is not allowed", d)
	}
	return nil
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

// Conflict reports whether two paths of one update or one projection overlap:
// they are equal, or one is a prefix of the other.
func Conflict(a, b string) bool {
	if len(a) > len(b) {
		a, b = b, a
	}
	return strings.HasPrefix(b, a) && (len(a) == len(b) || b[len(a)] == '.')
}
