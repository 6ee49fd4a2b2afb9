package match

import (
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// matchTimeout bounds the backtracking of one match. The server bounds it by
// steps; beyond the bound both say "no match".
const matchTimeout = 500 * time.Millisecond

// A regex is a regular expression of the Perl kind. Most patterns mean the
// same to Go's linear engine, which runs them; those with lookaround,
// backreferences and the like go to an engine that backtracks.
type regex struct {
	pattern, options string
	linear           *regexp.Regexp
	backtracking     *regexp2.Regexp
}

func newRegex(pattern, options string) (*regex, error) {
	if strings.IndexByte(pattern, 0) >= 0 {
		return nil, mongoerr.New(mongoerr.BadValue, "Regular expression cannot contain an embedded null byte")
	}
	if strings.IndexByte(options, 0) >= 0 {
		return nil, mongoerr.New(mongoerr.BadValue, "Regular expression options string cannot contain an embedded null byte")
	}
	re := &regex{pattern: pattern, options: options}
	if err := re.compile(); err != nil {
		return nil, mongoerr.New(51091, "Regular expression is invalid: %s", err)
	}
	return re, nil
}

func (re *regex) compile() error {
	t, err := translate(re.pattern, re.options)
	if err != nil {
		return err
	}
	if !t.backtracks {
		if re.linear, err = regexp.Compile(t.linear.String()); err == nil {
			return nil
		}
	}
	re.backtracking, err = regexp2.Compile(t.back.String(), regexp2.RE2)
	if err != nil {
		return err
	}
	re.backtracking.MatchTimeout = matchTimeout
	return nil
}

// matches tells whether the expression is found in text. Text that isn't
// UTF-8 is never matched.
func (re *regex) matches(text string) bool {
	if re.linear != nil {
		return re.linear.MatchString(text) && utf8.ValidString(text)
	}
	if !utf8.ValidString(text) {
		return false
	}
	ok, err := re.backtracking.MatchString(text)
	return ok && err == nil
}

func (re *regex) test(v bson.RawValue, _ *state) bool {
	switch v.Type {
	case bson.TypeString, bson.TypeSymbol:
		return re.matches(value.AsString(v))
	case bson.TypeRegex:
		pattern, options := value.AsRegex(v)
		return pattern == re.pattern && options == re.options
	}
	return false
}

func (re *regex) predicate() (string, bson.RawValue) {
	return "$regex", value.Regex(re.pattern, re.options)
}
