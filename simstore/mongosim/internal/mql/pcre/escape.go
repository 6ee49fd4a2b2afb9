package pcre

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

func (t *translation) reference(name string) error {
	if t.renumbers {
		return errors.New("references are not supported beside branch reset groups")
	}
	t.backtracks = true
	n, ok := t.names[name]
	if !ok {
		var err error
		n, err = strconv.Atoi(name)
		if err == nil && strings.HasPrefix(name, "-") {
			n += t.count + 1
		}
		if err != nil || n < 1 || n > t.total {
			return fmt.Errorf("reference to non-existent subpattern %q", name)
		}
	}
	t.atom()
	t.both(fmt.Sprintf(`(?:\%d)`, n))
	return nil
}

// The word boundary of the backtracking engine knows Unicode; Perl's, without
// being told, only ASCII.
const (
	boundary    = `(?:(?<=[0-9A-Za-z_])(?![0-9A-Za-z_])|(?<![0-9A-Za-z_])(?=[0-9A-Za-z_]))`
	notBoundary = `(?:(?<=[0-9A-Za-z_])(?=[0-9A-Za-z_])|(?<![0-9A-Za-z_])(?![0-9A-Za-z_]))`
)

// What escapes stand for, as the inside of a class.
const (
	classDigit      = `0-9`
	classWord       = `0-9A-Za-z_`
	classSpace      = "\t-\r "
	classHorizontal = "\t \u00a0\u1680\u180e\u2000-\u200a\u202f\u205f\u3000"
	classVertical   = "\n-\r\u0085\u2028\u2029"
)

// classEscape gives the inside of a class for \d and its like.
func classEscape(c byte) (inside string, negated, ok bool) {
	switch c {
	case 'd', 'D':
		return classDigit, c == 'D', true
	case 'w', 'W':
		return classWord, c == 'W', true
	case 's', 'S':
		return classSpace, c == 'S', true
	case 'h', 'H':
		return classHorizontal, c == 'H', true
	case 'v', 'V':
		return classVertical, c == 'V', true
	}
	return "", false, false
}

func (t *translation) escape() error {
	if t.at+1 >= len(t.src) {
		return errors.New(`\ at end of pattern`)
	}
	c := t.src[t.at+1]
	if inside, negated, ok := classEscape(c); ok {
		t.at += 2
		t.atom()
		if negated {
			t.both("[^" + inside + "]")
		} else {
			t.both("[" + inside + "]")
		}
		return nil
	}
	switch c {
	case 'b', 'B':
		t.at += 2
		t.noAtom() // an assertion can't be repeated
		t.linear.WriteString(`\` + string(c))
		if c == 'b' {
			t.back.WriteString(boundary)
		} else {
			t.back.WriteString(notBoundary)
		}
		return nil
	case 'A', 'z':
		t.at += 2
		t.noAtom() // an assertion can't be repeated
		t.both(`\` + string(c))
		return nil
	case 'Z':
		t.at += 2
		t.noAtom() // an assertion can't be repeated
		t.backtracks = true
		t.both(`(?=\n?\z)`)
		return nil
	case 'G':
		t.at += 2
		t.noAtom()   // an assertion can't be repeated
		t.both(`\A`) // the search always starts at the start
		return nil
	case 'N':
		t.at += 2
		if strings.HasPrefix(t.src[t.at:], "{") {
			if _, ok := t.quantifier(); !ok {
				return errors.New(`\N{name} is not supported`)
			}
		}
		t.atom()
		t.both(`[^\n]`)
		return nil
	case 'R':
		t.at += 2
		t.atom()
		t.both("(?:\r\n|[" + classVertical + "])")
		return nil
	case 'X':
		t.at += 2
		t.atom()
		t.backtracks = true
		t.both(`(?>\r\n|\P{M}\p{M}*|\p{M}+)`)
		return nil
	case 'K':
		t.at += 2 // it only moves where a match begins
		t.noAtom()
		return nil
	case 'E':
		t.at += 2
		return nil
	case 'Q':
		text, _, _ := strings.Cut(t.src[t.at+2:], `\E`)
		t.at += 2 + len(text)
		for _, r := range text {
			t.literal(r)
		}
		return nil
	case 'p', 'P':
		return t.property()
	case 'k', 'g':
		return t.namedReference(c)
	}
	if c >= '1' && c <= '9' {
		end := t.at + 1
		for end < len(t.src) && t.src[end] >= '0' && t.src[end] <= '9' {
			end++
		}
		n, _ := strconv.Atoi(t.src[t.at+1 : end])
		if n < 8 || n <= t.total {
			name := t.src[t.at+1 : end]
			t.at = end
			return t.reference(name)
		}
	}
	r, err := t.char()
	if err != nil {
		return err
	}
	t.literal(r)
	return nil
}

func (t *translation) property() error {
	rest := t.src[t.at+2:]
	size := 1
	if strings.HasPrefix(rest, "{") {
		size = strings.IndexByte(rest, '}') + 1
	}
	if size < 1 || size > len(rest) {
		return errors.New(`malformed \P or \p sequence`)
	}
	name := rest[:size]
	negate := t.src[t.at+1] == 'P'
	if strings.HasPrefix(name, "{^") {
		name, negate = "{"+name[2:], !negate
	}
	t.atom()
	t.at += 2 + size
	p := "p"
	if negate {
		p = "P"
	}
	switch name {
	case "{Any}":
		if negate {
			t.both(`[^\x00-\x{10FFFF}]`)
		} else {
			t.linear.WriteString(`(?s:.)`)
			t.back.WriteString(`[\s\S]`)
		}
	case "{L&}":
		t.both(map[bool]string{false: `[\p{Lu}\p{Ll}\p{Lt}]`, true: `[^\p{Lu}\p{Ll}\p{Lt}]`}[negate])
	default:
		if len(name) == 1 {
			name = "{" + name + "}"
		}
		if t.inClass {
			t.both(`\` + p + name)
		} else {
			t.both(`(?-i:\` + p + name + `)`) // no property of the other case
		}
	}
	return nil
}

// namedReference reads \k<name>, \k{name}, \k'name', \g{name}, \g1, \g{-1}.
func (t *translation) namedReference(c byte) error {
	rest := t.src[t.at+2:]
	if rest == "" {
		return errors.New("a reference needs a name or number")
	}
	closing := map[byte]string{'<': ">", '{': "}", '\'': "'"}[rest[0]]
	if closing != "" {
		name, _, ok := strings.Cut(rest[1:], closing)
		if !ok || name == "" {
			return errors.New("a reference needs a name or number")
		}
		if c == 'g' && rest[0] != '{' {
			return errors.New("subroutine calls are not supported")
		}
		t.at += 2 + len(name) + 2
		return t.reference(name)
	}
	end := 0
	for end < len(rest) && (rest[end] >= '0' && rest[end] <= '9' || end == 0 && rest[end] == '-') {
		end++
	}
	if c != 'g' || end == 0 {
		return errors.New("a reference needs a name or number")
	}
	t.at += 2 + end
	return t.reference(rest[:end])
}

// char reads an escape that stands for one character.
func (t *translation) char() (rune, error) {
	rest := t.src[t.at+1:]
	r, size := utf8.DecodeRuneInString(rest)
	t.at += 1 + size
	switch r {
	case 'a':
		return '\a', nil
	case 'e':
		return '\x1b', nil
	case 'f':
		return '\f', nil
	case 'n':
		return '\n', nil
	case 'r':
		return '\r', nil
	case 't':
		return '\t', nil
	case 'c':
		if len(rest) < 2 || rest[1] >= utf8.RuneSelf {
			return 0, errors.New(`\c at end of pattern`)
		}
		t.at++
		return rune(strings.ToUpper(rest[1:2])[0] ^ 64), nil
	case 'x':
		return t.hex(rest[1:])
	case 'o':
		if end := strings.IndexByte(rest, '}'); strings.HasPrefix(rest, "o{") && end > 2 {
			n, err := strconv.ParseUint(rest[2:end], 8, 32)
			t.at += end
			return rune(n), err
		}
		return 0, errors.New(`missing opening brace after \o`)
	case 'L', 'l', 'U', 'u', 'C':
		return 0, fmt.Errorf(`\%c is not supported`, r)
	}
	if r < '0' || r > '7' {
		return r, nil
	}
	n, digits := rune(0), 0
	for digits < 3 && digits < len(rest) && rest[digits] >= '0' && rest[digits] <= '7' {
		n = n*8 + rune(rest[digits]-'0')
		digits++
	}
	t.at += digits - 1
	return n, nil
}

func (t *translation) hex(rest string) (rune, error) {
	if strings.HasPrefix(rest, "{") {
		if end := strings.IndexByte(rest, '}'); end > 1 {
			n, err := strconv.ParseUint(rest[1:end], 16, 32)
			if err == nil {
				if n > utf8.MaxRune || n >= 0xd800 && n < 0xe000 {
					return 0, errors.New(`character value in \x{} is too large`)
				}
				t.at += end + 1
				return rune(n), nil
			}
		}
	}
	n, digits := rune(0), 0
	for digits < 2 && digits < len(rest) {
		d, err := strconv.ParseUint(rest[digits:digits+1], 16, 8)
		if err != nil {
			break
		}
		n = n*16 + rune(d)
		digits++
	}
	t.at += digits
	return n, nil
}
