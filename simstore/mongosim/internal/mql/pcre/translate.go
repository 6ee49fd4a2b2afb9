package pcre

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// A translation writes a Perl-compatible pattern for two engines at once: Go's
// linear one and a backtracking one. Where they read the same text
// differently (what a class contains, where $ matches), it writes what means
// the Perl thing to each.
type translation struct {
	src        string
	at         int
	linear     strings.Builder
	back       strings.Builder
	backtracks bool // the linear engine can't run it
	endsLine   bool // the linear form of $ takes a closing newline into the match

	flags  patternFlags
	groups []openGroup
	count  int            // capturing groups opened so far
	total  int            // capturing groups in the whole pattern
	names  map[string]int // named groups

	// Where the last item that a quantifier can apply to begins; -1 if there
	// is none.
	atomLinear, atomBack int
	quantified           bool
}

type patternFlags struct{ multiline, dotAll, extended bool }

type openGroup struct {
	flags                patternFlags
	startLinear, startBk int
	lookaround           bool
}

// translate reads pattern with the options i, m, s and x; others are ignored.
func translate(pattern, options string) (*translation, error) {
	if !utf8.ValidString(pattern) {
		return nil, errors.New("invalid UTF-8 string")
	}
	t := &translation{src: pattern, atomLinear: -1, atomBack: -1}
	t.flags = patternFlags{
		multiline: strings.Contains(options, "m"),
		dotAll:    strings.Contains(options, "s"),
		extended:  strings.Contains(options, "x"),
	}
	t.findGroups()
	if strings.Contains(options, "i") {
		t.both("(?i)")
	}
	for t.at < len(t.src) {
		if err := t.item(); err != nil {
			return nil, err
		}
	}
	if len(t.groups) > 0 {
		return nil, errors.New("missing )")
	}
	return t, nil
}

// findGroups counts and names the capturing groups ahead, for references that
// come before them.
func (t *translation) findGroups() {
	t.names = map[string]int{}
	inClass := false
	for i := 0; i < len(t.src); i++ {
		switch c := t.src[i]; {
		case c == '\\':
			i++
		case inClass:
			inClass = c != ']'
		case c == '[':
			inClass = true
			if strings.HasPrefix(t.src[i+1:], "]") || strings.HasPrefix(t.src[i+1:], "^]") {
				i += 1 + strings.IndexByte(t.src[i+1:], ']')
			}
		case c == '(':
			rest := t.src[i+1:]
			if !strings.HasPrefix(rest, "?") {
				if !strings.HasPrefix(rest, "*") {
					t.total++
				}
				continue
			}
			if name, _, ok := groupName(rest[1:]); ok {
				t.total++
				t.names[name] = t.total
			}
		}
	}
}

// groupName reads <name>, 'name' or P<name> after "(?".
func groupName(s string) (name string, size int, ok bool) {
	skip := 0
	if strings.HasPrefix(s, "P<") {
		skip = 1
	}
	if len(s) < skip+2 {
		return "", 0, false
	}
	var closing byte
	switch s[skip] {
	case '<':
		closing = '>'
	case '\'':
		closing = '\''
	default:
		return "", 0, false
	}
	end := strings.IndexByte(s[skip+1:], closing)
	if end <= 0 || !isName(s[skip+1:skip+1+end]) {
		return "", 0, false
	}
	return s[skip+1 : skip+1+end], skip + end + 2, true
}

func isName(s string) bool {
	for i := range len(s) {
		c := s[i]
		if c != '_' && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (i == 0 || c < '0' || c > '9') {
			return false
		}
	}
	return s != ""
}

func (t *translation) both(s string) {
	t.linear.WriteString(s)
	t.back.WriteString(s)
}

// atom marks that what is written next is one item for a quantifier.
func (t *translation) atom() {
	t.atomLinear, t.atomBack = t.linear.Len(), t.back.Len()
	t.quantified = false
}

func (t *translation) noAtom() { t.atomLinear, t.atomBack, t.quantified = -1, -1, false }

func (t *translation) item() error {
	c := t.src[t.at]
	if t.flags.extended {
		switch {
		case strings.IndexByte(" \t\n\v\f\r", c) >= 0:
			t.at++
			return nil
		case c == '#':
			if end := strings.IndexByte(t.src[t.at:], '\n'); end >= 0 {
				t.at += end + 1
			} else {
				t.at = len(t.src)
			}
			return nil
		}
	}
	switch c {
	case '\\':
		return t.escape()
	case '[':
		return t.class()
	case '(':
		return t.open()
	case ')':
		return t.close()
	case '|':
		t.at++
		t.both("|")
		t.noAtom()
		return nil
	case '*', '+', '?', '{':
		if n, ok := t.quantifier(); ok {
			return t.repeat(n)
		}
	case '^':
		t.at++
		t.caret()
		return nil
	case '$':
		t.at++
		t.dollar()
		return nil
	case '.':
		t.at++
		t.atom()
		if t.flags.dotAll {
			t.linear.WriteString("(?s:.)")
			t.back.WriteString(`[\s\S]`)
		} else {
			t.both(`[^\n]`)
		}
		return nil
	}
	r, n := utf8.DecodeRuneInString(t.src[t.at:])
	t.at += n
	t.literal(r)
	return nil
}

func (t *translation) literal(r rune) {
	t.atom()
	if r < utf8.RuneSelf && strings.ContainsRune(`\.+*?()|[]{}^$#`, r) {
		t.both(`\`)
	}
	t.both(string(r))
}

func (t *translation) caret() {
	t.atom()
	if !t.flags.multiline {
		t.both(`\A`)
		return
	}
	// Perl finds no line after the last newline of a text.
	t.back.WriteString(`(?:\A|(?<=\n)(?!\z))`)
	t.linear.WriteString(`(?m:^)`)
	if t.at >= len(t.src) || !isWord(t.src[t.at]) {
		t.backtracks = true
	}
}

func (t *translation) dollar() {
	t.atom()
	if t.flags.multiline {
		t.linear.WriteString(`(?m:$)`)
		t.back.WriteString(`(?=\n|\z)`)
		return
	}
	t.back.WriteString(`(?=\n?\z)`)
	t.linear.WriteString(`\n?\z`)
	t.endsLine = true
	rest := t.src[t.at:]
	if strings.Trim(rest, ")") != "" && (rest[0] != '|' || len(t.groups) > 0) {
		t.backtracks = true
	}
}

func isWord(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}

// quantifier reads the extent of a quantifier without its suffix.
func (t *translation) quantifier() (size int, ok bool) {
	rest := t.src[t.at:]
	if rest[0] != '{' {
		return 1, true
	}
	end := strings.IndexByte(rest, '}')
	if end < 2 {
		return 0, false
	}
	low, high, ranged := strings.Cut(rest[1:end], ",")
	if low == "" || !allDigits(low) || ranged && !allDigits(high) {
		return 0, false
	}
	return end + 1, true
}

func (t *translation) repeat(size int) error {
	q := t.src[t.at : t.at+size]
	if t.atomLinear < 0 || t.quantified {
		return fmt.Errorf("nothing to repeat at offset %d", t.at)
	}
	if q[0] == '{' {
		low, high, ranged := strings.Cut(q[1:len(q)-1], ",")
		lo, errLo := strconv.Atoi(low)
		hi := lo
		var errHi error
		if ranged && high != "" {
			hi, errHi = strconv.Atoi(high)
		}
		switch {
		case errLo != nil || errHi != nil || lo > 65535 || hi > 65535:
			return errors.New("number too big in {} quantifier")
		case hi < lo:
			return errors.New("numbers out of order in {} quantifier")
		}
	}
	t.at += size
	t.both(q)
	t.quantified = true
	switch {
	case strings.HasPrefix(t.src[t.at:], "?"):
		t.at++
		t.both("?")
	case strings.HasPrefix(t.src[t.at:], "+"):
		t.at++
		t.backtracks = true
		t.wrap("(?>", ")")
	}
	return nil
}

// wrap puts the last atom, with its quantifier, between two texts.
func (t *translation) wrap(before, after string) {
	linear, back := t.linear.String(), t.back.String()
	t.linear.Reset()
	t.back.Reset()
	t.linear.WriteString(linear[:t.atomLinear] + before + linear[t.atomLinear:] + after)
	t.back.WriteString(back[:t.atomBack] + before + back[t.atomBack:] + after)
}

func (t *translation) open() error {
	rest := t.src[t.at+1:]
	g := openGroup{flags: t.flags, startLinear: t.linear.Len(), startBk: t.back.Len()}
	push := func(size int, text string) {
		t.at += size
		t.both(text)
		t.groups = append(t.groups, g)
		t.noAtom()
	}
	switch {
	case strings.HasPrefix(rest, "*"):
		return errors.New("backtracking control verbs are not supported")
	case !strings.HasPrefix(rest, "?"):
		t.count++
		push(1, "(")
		return nil
	}
	rest = rest[1:]
	if name, size, ok := groupName(rest); ok {
		t.count++
		t.names[name] = t.count
		push(size+2, "(") // numbered, so that both engines number alike
		return nil
	}
	switch {
	case rest == "":
		return errors.New("unrecognized character after (?")
	case rest[0] == '#':
		end := strings.IndexByte(rest, ')')
		if end < 0 {
			return errors.New("missing ) after comment")
		}
		t.at += end + 3
		return nil
	case rest[0] == ':':
		push(3, "(?:")
		return nil
	case rest[0] == '|':
		return errors.New("branch reset groups are not supported")
	case rest[0] == '>', rest[0] == '=', rest[0] == '!':
		t.backtracks = true
		g.lookaround = rest[0] != '>'
		push(3, "(?"+rest[:1])
		return nil
	case strings.HasPrefix(rest, "<=") || strings.HasPrefix(rest, "<!"):
		t.backtracks = true
		g.lookaround = true
		push(4, "(?"+rest[:2])
		return nil
	case strings.HasPrefix(rest, "P="):
		end := strings.IndexByte(rest, ')')
		if end < 0 {
			return errors.New("missing )")
		}
		t.at += end + 3
		return t.reference(rest[2:end])
	case rest[0] == '(':
		return t.conditional(rest, push)
	}
	return t.inlineFlags(rest, push)
}

// conditional reads (?(1)yes|no) and (?(<name>)yes|no).
func (t *translation) conditional(rest string, push func(int, string)) error {
	t.backtracks = true
	if strings.HasPrefix(rest, "(?") {
		push(2, "(?") // the condition is the lookaround that follows
		return nil
	}
	end := strings.IndexByte(rest, ')')
	if end < 0 {
		return errors.New("missing )")
	}
	name := strings.Trim(rest[1:end], "<>'")
	n, ok := t.names[name]
	if !ok {
		var err error
		if n, err = strconv.Atoi(name); err != nil || n > t.total {
			return errors.New("reference to non-existent subpattern")
		}
	}
	push(2+end+1, fmt.Sprintf("(?(%d)", n))
	return nil
}

// inlineFlags reads (?i), (?i-m:...) and their like.
func (t *translation) inlineFlags(rest string, push func(int, string)) error {
	on := true
	caseless := ""
	flags := t.flags
	for i := range len(rest) {
		switch rest[i] {
		case '-':
			on = false
		case 'i':
			caseless = "i"
			if !on {
				caseless = "-i"
			}
		case 'm':
			flags.multiline = on
		case 's':
			flags.dotAll = on
		case 'x':
			flags.extended = on
		case 'J':
		case ')':
			t.at += i + 3
			t.flags = flags
			if caseless != "" {
				t.both("(?" + caseless + ")")
			}
			t.noAtom()
			return nil
		case ':':
			push(i+3, "(?"+caseless+":")
			t.flags = flags
			return nil
		default:
			return fmt.Errorf("unrecognized character after (?: %q", rest[i])
		}
	}
	return errors.New("missing )")
}

func (t *translation) close() error {
	if len(t.groups) == 0 {
		return errors.New("unmatched parentheses")
	}
	g := t.groups[len(t.groups)-1]
	t.groups = t.groups[:len(t.groups)-1]
	t.at++
	t.both(")")
	t.flags = g.flags
	t.atomLinear, t.atomBack, t.quantified = g.startLinear, g.startBk, false
	return nil
}

func (t *translation) reference(name string) error {
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
		t.atom()
		t.linear.WriteString(`\` + string(c))
		if c == 'b' {
			t.back.WriteString(boundary)
		} else {
			t.back.WriteString(notBoundary)
		}
		return nil
	case 'A', 'z':
		t.at += 2
		t.atom()
		t.both(`\` + string(c))
		return nil
	case 'Z':
		t.at += 2
		t.atom()
		t.backtracks = true
		t.both(`(?=\n?\z)`)
		return nil
	case 'G':
		t.at += 2
		t.atom()
		t.both(`\A`) // the search always starts at the start
		return nil
	case 'N':
		t.at += 2
		t.atom()
		t.both(`[^\n]`)
		return nil
	case 'R':
		t.at += 2
		t.atom()
		t.both("(?:\r\n|[" + classVertical + "])")
		return nil
	case 'K', 'E':
		t.at += 2 // \K only moves where a match begins
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
		if n < 10 || n <= t.total {
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
		t.both(`\` + p + name)
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
	case 'L', 'l', 'U', 'u', 'C', 'X':
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
