package pcre_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/dlclark/regexp2"
	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pcre"
)

func TestMain(m *testing.M) {
	regexp2.SetTimeoutCheckPeriod(time.Millisecond)
	code := m.Run()
	regexp2.StopTimeoutClock() // it would stop by itself once the last timeout has passed
	if err := goleak.Find(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// TestMatch holds answers of PCRE 8.42, the library in the server.
func TestMatch(t *testing.T) {
	t.Parallel()
	const yes, no = true, false
	for _, c := range []struct {
		pattern, options, text string
		want                   bool
	}{
		{"", "", "", yes},
		{"^a", "", "ba", no},
		{"^a", "i", "Abc", yes},
		{"b$", "", "ab\n", yes},
		{"b$", "", "ab\n\n", no},
		{"(b$)\n", "", "ab\n", yes},
		{"b$", "m", "ab\nc", yes},
		{"^", "m", "\n", yes},
		{"^c", "m", "ab\nc", yes},
		{"a^$", "m", "a\n", no}, // no line begins after the last newline
		{"\n^", "m", "a\n", no},
		{"a.b", "", "a\nb", no},
		{"a.b", "s", "a\nb", yes},
		{" a b # c", "x", "ab", yes},
		{"[ ]a", "x", " a", yes},
		{`\d`, "", "٣", no}, // digits are ASCII
		{`\w`, "", "é", no},
		{`\s`, "", "\v", yes},
		{`\bé`, "", "é", no},
		{`é\b`, "", "éa", yes},
		{"k", "i", "\u212a", yes}, // the Kelvin sign folds to k
		{"É", "i", "é", yes},
		{"a++a", "", "aa", no},
		{"(?>a+)b", "", "aab", yes},
		{"(a)(b)?\\1", "", "aa", yes},
		{"(?<x>a)\\k<x>", "", "aa", yes},
		{"(?P<x>a)(?P=x)", "", "ab", no},
		{"(?<=a)b", "", "ab", yes},
		{"a(?!b)", "", "ab", no},
		{"[[:alpha:]]+1", "", "ab1", yes},
		{"[^[:digit:]]", "", "12", no},
		{`[\p{Lu}x]+$`, "", "ÀxB", yes},
		{`[\]a]`, "", "]", yes},
		{"[]a]", "", "]", yes},
		{"a{,2}", "", "a{,2}", yes},
		{"a{2", "", "a{2", yes},
		{`\x{e9}\x41`, "", "éA", yes},
		{`\Qa.b\E+`, "", "a.bb", yes},
		{"(?i)a(?-i)b", "", "Ab", yes},
		{"(?i)a(?-i)b", "", "AB", no},
		{"(?i:a)b", "", "AB", no},
		{`a\Kb`, "", "ab", yes},
		{`\R`, "", "\r\n", yes},
		{`^\X$`, "", "e\u0301", yes},
		{`\p{Lu}`, "i", "a", no}, // a property has no other case
		{`[\p{Lu}]`, "", "A", yes},
		{`[\R]`, "", "R", yes},
		{"(?|(a)|(b))", "", "b", yes},
		{"a + b", "x", "aab", yes},
		{"(?(?=a)ab|c)", "", "xc", yes},
		{`\N`, "s", "\n", no},
		{"a", "", "\xff a", no}, // not UTF-8
		{"a", "qz", "a", yes},   // unknown options are ignored
	} {
		re, err := pcre.Compile(c.pattern, c.options)
		if err != nil {
			t.Errorf("/%s/%s: %v", c.pattern, c.options, err)
			continue
		}
		if got := re.MatchString(c.text); got != c.want {
			t.Errorf("/%s/%s found in %q: %v, want %v", c.pattern, c.options, c.text, got, c.want)
		}
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	for _, p := range []string{
		"(", ")", "[", "[a", `\`, "*a", "a**", "a{2,1}", "a{70000}", "(?<n", `\1`, `\k<x>`, "(?z)", "[b-a]", "[[:nope:]]", "\xff",
		"(?R)", "(*FAIL)", "^*", `\b+`, "$?", "a{2}{3}", `[a-\d]`, "[:alpha:]", `\u0041`, "(?<n>a)(?<n>b)",
	} {
		if _, err := pcre.Compile(p, ""); err == nil {
			t.Errorf("/%s/ compiled", p)
		}
	}
}

// TestBacktrackingIsBounded gives a pattern that would take ages.
func TestBacktrackingIsBounded(t *testing.T) {
	t.Parallel()
	re, err := pcre.Compile(`^(?=(a+)+$)b|(a+)+\1\1c$`, "")
	if err != nil {
		t.Fatal(err)
	}
	start := time.Now()
	if re.MatchString("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa!") {
		t.Error("matched")
	}
	if d := time.Since(start); d > 20*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestFind(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, text string
		from          int
		want          []int
	}{
		{"b", "abab", 0, []int{1, 2}},
		{"b", "abab", 2, []int{3, 4}},
		{"(a)|(b)", "éb", 0, []int{2, 3, -1, -1, 2, 3}},
		{"b$", "ab\n", 0, []int{1, 2}},
		{"(?<=é)b", "éb", 2, []int{2, 3}},
		{"x", "a", 0, nil},
	} {
		re, err := pcre.Compile(c.pattern, "")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c.want, re.Find(c.text, c.from)); diff != "" {
			t.Errorf("/%s/ in %q from %d: %s", c.pattern, c.text, c.from, diff)
		}
	}
}

func FuzzCompile(f *testing.F) {
	f.Add(`(?i)^a[\d]+\b(?<n>x)?\k<n>{2,3}$`, "imsx", "a1 x")
	f.Fuzz(func(t *testing.T, pattern, options, text string) {
		if len(pattern) > 200 || len(text) > 200 {
			t.Skip()
		}
		re, err := pcre.Compile(pattern, options)
		if err != nil {
			return
		}
		re.MatchString(text)
	})
}
