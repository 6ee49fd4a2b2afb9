package match

import (
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pcre"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A regex is the operator $regex, and a regular expression as a value.
type regex struct {
	pattern, options string
	compiled         *pcre.Regex
}

func newRegex(pattern, options string) (*regex, error) {
	if strings.IndexByte(pattern, 0) >= 0 {
		return nil, mongoerr.New(mongoerr.BadValue, "Regular expression cannot contain an embedded null byte")
	}
	if strings.IndexByte(options, 0) >= 0 {
		return nil, mongoerr.New(mongoerr.BadValue, "Regular expression options string cannot contain an embedded null byte")
	}
	compiled, err := pcre.Compile(pattern, options)
	if err != nil {
		return nil, mongoerr.New(51091, "Regular expression is invalid: %s", err)
	}
	return &regex{pattern: pattern, options: options, compiled: compiled}, nil
}

func (re *regex) matches(text string) bool { return re.compiled.MatchString(text) }

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
