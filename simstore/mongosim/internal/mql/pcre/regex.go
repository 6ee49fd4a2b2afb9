// Package pcre runs Perl-compatible regular expressions, as the server's
// $regex and its like take them.
package pcre

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
)

// matchTimeout bounds the backtracking of one match. The server bounds it by
// steps; beyond the bound both say "no match".
const matchTimeout = 500 * time.Millisecond

// A Regex is a compiled regular expression. Most patterns mean the same to
// Go's linear engine, which runs them; those with lookaround, backreferences
// and the like go to an engine that backtracks. It is safe for concurrent use.
type Regex struct {
	linear       *regexp.Regexp
	backtracking *regexp2.Regexp
	captures     int
}

// Compile compiles a pattern with the options i, m, s and x; others are
// ignored. The error says what is wrong with the pattern.
func Compile(pattern, options string) (*Regex, error) {
	t, err := translate(pattern, options)
	if err != nil {
		return nil, err
	}
	re := &Regex{captures: t.total}
	if !t.backtracks {
		if re.linear, err = regexp.Compile(t.linear.String()); err == nil {
			re.captures = re.linear.NumSubexp()
			if !t.endsLine {
				return re, nil
			}
		}
	}
	re.backtracking, err = regexp2.Compile(t.back.String(), regexp2.RE2)
	if err != nil {
		return nil, err
	}
	re.backtracking.MatchTimeout = matchTimeout
	return re, nil
}

// Captures tells how many capturing groups there are.
func (re *Regex) Captures() int { return re.captures }

// MatchString tells whether the expression is found in text. Text that isn't
// UTF-8 is never matched.
func (re *Regex) MatchString(text string) bool {
	if re.linear != nil {
		return re.linear.MatchString(text) && utf8.ValidString(text)
	}
	if !utf8.ValidString(text) {
		return false
	}
	ok, err := re.backtracking.MatchString(text)
	return ok && err == nil
}

// Find looks for the expression from byte from on, which must be where a
// character begins; what lies before is seen by anchors and lookbehind. It
// gives the bytes at which the match and each capturing group begin and end,
// -1 for groups that took no part, or nil.
func (re *Regex) Find(text string, from int) []int {
	if !utf8.ValidString(text) || from > len(text) {
		return nil
	}
	// Where $ stands before a closing newline, only one engine keeps the
	// newline out of the match.
	if re.linear == nil || re.backtracking != nil && strings.HasSuffix(text, "\n") {
		return re.findBacktracking(text, from)
	}
	if from == 0 {
		return re.linear.FindStringSubmatchIndex(text)
	}
	// The linear engine can't start in the middle; it finds all matches from
	// the start, none of which overlap those before from.
	for _, m := range re.linear.FindAllStringSubmatchIndex(text, -1) {
		if m[0] >= from {
			return m
		}
	}
	return nil
}

func (re *Regex) findBacktracking(text string, from int) []int {
	m, err := re.backtracking.FindStringMatchStartingAt(text, from)
	if m == nil || err != nil {
		return nil
	}
	offsets := runeOffsets(text)
	out := make([]int, 2*(re.captures+1))
	for i := range re.captures + 1 {
		out[2*i], out[2*i+1] = -1, -1
		if g := m.GroupByNumber(i); g != nil && len(g.Captures) > 0 {
			out[2*i], out[2*i+1] = offsets[g.Index], offsets[g.Index+g.Length]
		}
	}
	return out
}

func runeOffsets(text string) []int {
	out := make([]int, 0, len(text)+1)
	for i := range text {
		out = append(out, i)
	}
	return append(out, len(text))
}

// String describes the expression for error messages.
func (re *Regex) String() string {
	if re.linear != nil {
		return re.linear.String()
	}
	return fmt.Sprint(re.backtracking)
}
