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
	inClass    bool
	renumbers  bool // a group numbers those of its alternatives alike
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
	if err := t.findGroups(); err != nil {
		return nil, err
	}
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
func (t *translation) findGroups() error {
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
				if t.names[name] > 0 {
					return errors.New("two named subpatterns have the same name")
				}
				t.total++
				t.names[name] = t.total
			}
		}
	}
	return nil
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
	t.noAtom()
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
	t.noAtom()
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
	for t.flags.extended && t.at < len(t.src) && strings.IndexByte(" \t\n\v\f\r", t.src[t.at]) >= 0 {
		t.at++ // blanks may stand before the suffix too
	}
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
		t.renumbers = true // which only references would notice
		push(3, "(?:")
		return nil
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
