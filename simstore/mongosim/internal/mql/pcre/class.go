package pcre

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"
)

// class translates a bracket expression.
func (t *translation) class() error {
	if posixOutside(t.src[t.at:]) {
		return errors.New("POSIX named classes are supported only within a class")
	}
	t.atom()
	t.at++
	t.both("[")
	if strings.HasPrefix(t.src[t.at:], "^") {
		t.at++
		t.both("^")
	}
	for first := true; ; first = false {
		rest := t.src[t.at:]
		switch {
		case rest == "":
			return errors.New("missing terminating ] for character class")
		case rest[0] == ']' && !first:
			t.at++
			t.both("]")
			return nil
		}
		done, err := t.classSet(rest)
		if err != nil {
			return err
		}
		if done {
			continue
		}
		if err := t.classRange(); err != nil {
			return err
		}
	}
}

// classSet translates what stands for several characters: \d, \p{L},
// [:alpha:], \Q...\E.
func (t *translation) classSet(rest string) (done bool, err error) {
	if strings.HasPrefix(rest, "[:") {
		if end := strings.Index(rest, ":]"); end > 0 {
			name := rest[2:end]
			negated := strings.HasPrefix(name, "^")
			inside, ok := posixClass(strings.TrimPrefix(name, "^"))
			if ok {
				t.at += end + 2
				t.classInside(inside, negated)
				return true, nil
			}
			if isName(strings.TrimPrefix(name, "^")) {
				return false, fmt.Errorf("unknown POSIX class name %q", name)
			}
		}
	}
	if len(rest) < 2 || rest[0] != '\\' {
		return false, nil
	}
	if inside, negated, ok := classEscape(rest[1]); ok {
		t.at += 2
		t.classInside(inside, negated)
		return true, nil
	}
	switch rest[1] {
	case 'p', 'P':
		linear, back := t.atomLinear, t.atomBack
		t.inClass = true
		err := t.property()
		t.inClass = false
		t.atomLinear, t.atomBack = linear, back // the class is the atom
		return true, err
	case 'E':
		t.at += 2
		return true, nil
	case 'Q':
		text, _, _ := strings.Cut(rest[2:], `\E`)
		t.at += 2 + len(text)
		for _, r := range text {
			t.classChar(r)
		}
		return true, nil
	}
	return false, nil
}

// classInside writes a set, or everything but the set.
func (t *translation) classInside(inside string, negated bool) {
	ranges := rangesOf(inside)
	if negated {
		ranges = complement(ranges)
	}
	var out strings.Builder
	for _, r := range ranges {
		writeRange(&out, r[0], r[1])
	}
	t.both(out.String())
}

// rangesOf reads a set written as single characters and ranges.
func rangesOf(inside string) [][2]rune {
	var out [][2]rune
	rs := []rune(inside)
	for i := 0; i < len(rs); i++ {
		r := [2]rune{rs[i], rs[i]}
		if i+2 < len(rs) && rs[i+1] == '-' {
			r[1] = rs[i+2]
			i += 2
		}
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b [2]rune) int { return cmp.Compare(a[0], b[0]) })
	return out
}

// complement inverts ascending ranges.
func complement(ranges [][2]rune) [][2]rune {
	var out [][2]rune
	next := rune(0)
	for _, r := range ranges {
		if r[0] > next {
			out = append(out, [2]rune{next, r[0] - 1})
		}
		next = max(next, r[1]+1)
	}
	return append(out, [2]rune{next, utf8.MaxRune})
}

func writeRange(out *strings.Builder, lo, hi rune) {
	out.WriteString(classLiteral(lo))
	if hi > lo {
		out.WriteString("-")
		out.WriteString(classLiteral(hi))
	}
}

func classLiteral(r rune) string {
	if strings.ContainsRune(`\]^[-&~`, r) {
		return `\` + string(r)
	}
	return string(r)
}

func (t *translation) classChar(r rune) { t.both(classLiteral(r)) }

// classRange translates one character or a range of them.
func (t *translation) classRange() error {
	lo, err := t.classRune()
	if err != nil {
		return err
	}
	rest := t.src[t.at:]
	if len(rest) < 2 || rest[0] != '-' || rest[1] == ']' {
		t.classChar(lo)
		return nil
	}
	if len(rest) > 2 && rest[1] == '\\' {
		if _, _, isSet := classEscape(rest[2]); isSet || rest[2] == 'p' || rest[2] == 'P' {
			return errors.New("invalid range in character class")
		}
	}
	t.at++
	hi, err := t.classRune()
	if err != nil {
		return err
	}
	if hi < lo {
		return errors.New("range out of order in character class")
	}
	t.both(classLiteral(lo) + "-" + classLiteral(hi))
	return nil
}

func (t *translation) classRune() (rune, error) {
	if t.src[t.at] != '\\' {
		r, n := utf8.DecodeRuneInString(t.src[t.at:])
		t.at += n
		return r, nil
	}
	if t.at+1 >= len(t.src) {
		return 0, errors.New(`\ at end of pattern`)
	}
	switch t.src[t.at+1] {
	case 'b':
		t.at += 2
		return '\b', nil
	case 'B', 'R', 'X':
		t.at += 2
		return rune(t.src[t.at-1]), nil // nothing special in a class
	case 'N':
		return 0, errors.New(`\N is not supported in a class`)
	}
	return t.char()
}

func posixClass(name string) (inside string, ok bool) {
	switch name {
	case "alpha":
		return "A-Za-z", true
	case "lower":
		return "a-z", true
	case "upper":
		return "A-Z", true
	case "alnum":
		return "0-9A-Za-z", true
	case "ascii":
		return "\x00-\x7f", true
	case "blank":
		return "\t ", true
	case "cntrl":
		return "\x00-\x1f\x7f", true
	case "digit":
		return classDigit, true
	case "graph":
		return "!-~", true
	case "print":
		return " -~", true
	case "punct":
		return "!-/:-@[-`{-~", true
	case "space":
		return classSpace, true
	case "word":
		return classWord, true
	case "xdigit":
		return "0-9A-Fa-f", true
	}
	return "", false
}

func allDigits(s string) bool {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// posixOutside tells whether [:name:] stands where a class should.
func posixOutside(s string) bool {
	if len(s) < 2 || strings.IndexByte(":.=", s[1]) < 0 {
		return false
	}
	end := strings.IndexByte(s, ']')
	return end > 2 && s[end-1] == s[1] && isName(strings.TrimPrefix(s[2:end-1], "^"))
}
