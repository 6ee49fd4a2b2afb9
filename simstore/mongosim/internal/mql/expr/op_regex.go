package expr

import (
	"strings"
	"unicode/utf8"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/pcre"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func regexOperators() map[string]*operator {
	op := func() *operator {
		return &operator{parse: parseRegex, notObject: 51103, unknown: 31024, params: []param{{"input", 31022}, {"regex", 31023}, {"options", 0}}}
	}
	return map[string]*operator{"$regexFind": op(), "$regexFindAll": op(), "$regexMatch": op()}
}

// A search is one of the regex operators. A constant expression is compiled
// once; null tells that it is nullish.
type search struct {
	op       string
	parts    []node // input, regex, options
	prepared bool
	compiled *pcre.Regex
	null     bool
}

func parseRegex(p *parser, op *operator, arg bson.RawValue) (node, error) {
	args, err := p.namedArgs(op, arg)
	if err != nil {
		return nil, err
	}
	return &search{op: op.name, parts: args}, nil
}

func (f *search) fold() (node, error) {
	if _, err := foldParts(f.parts); err != nil {
		return nil, err
	}
	pattern, ok := f.parts[1].(*constant)
	if !ok {
		return f, nil
	}
	options := &constant{}
	if f.parts[2] != nil {
		if options, ok = f.parts[2].(*constant); !ok {
			return f, nil
		}
	}
	var err error
	f.compiled, f.null, err = f.compile(pattern.v, options.v)
	f.prepared = true
	return f, err
}

// compile reads pattern and options, which may stand in a regular expression
// or in a string each.
func (f *search) compile(pattern, options bson.RawValue) (re *pcre.Regex, null bool, err error) {
	if !value.Nullish(pattern) && pattern.Type != bson.TypeString && pattern.Type != bson.TypeRegex {
		return nil, false, fail(51105, "%s needs 'regex' to be of type string or regex", f.op)
	}
	if !value.Nullish(options) && options.Type != bson.TypeString {
		return nil, false, fail(51106, "%s needs 'options' to be of type string", f.op)
	}
	text, flags := value.AsString(pattern), ""
	if pattern.Type == bson.TypeRegex {
		text, flags = value.AsRegex(pattern)
		if flags != "" && !value.Nullish(options) {
			return nil, false, fail(51107, "%s: found regex option(s) specified in both 'regex' and 'option' fields", f.op)
		}
	}
	if !value.Nullish(options) {
		flags = value.AsString(options)
	}
	if strings.IndexByte(text, 0) >= 0 {
		return nil, false, fail(51109, "%s: regular expression cannot contain an embedded null byte", f.op)
	}
	if strings.IndexByte(flags, 0) >= 0 {
		return nil, false, fail(51110, "%s: regular expression options cannot contain an embedded null byte", f.op)
	}
	if i := strings.IndexFunc(flags, func(r rune) bool { return !strings.ContainsRune("imsux", r) }); i >= 0 {
		return nil, false, fail(51108, "%s invalid flag in regex options: %s", f.op, flags[i:])
	}
	if value.Nullish(pattern) {
		return nil, true, nil
	}
	re, err = pcre.Compile(text, flags)
	if err != nil {
		return nil, false, fail(51111, "Invalid Regex in %s: %s", f.op, err)
	}
	return re, false, nil
}

func (f *search) eval(s *scope) (bson.RawValue, error) {
	vs, err := evalAll(s, f.parts)
	if err != nil {
		return bson.RawValue{}, err
	}
	in := vs[0]
	if !value.Nullish(in) && in.Type != bson.TypeString {
		return bson.RawValue{}, fail(51104, "%s needs 'input' to be of type string", f.op)
	}
	re, null := f.compiled, f.null
	if !f.prepared {
		if re, null, err = f.compile(vs[1], vs[2]); err != nil {
			return bson.RawValue{}, err
		}
	}
	null = null || value.Nullish(in)
	text := value.AsString(in)
	if !null && !utf8.ValidString(text) {
		return bson.RawValue{}, fail(51156, "Error occurred while executing the regular expression in %s. Result code: -10", f.op)
	}
	switch {
	case f.op == "$regexMatch":
		return value.Bool(!null && re.MatchString(text)), nil
	case f.op == "$regexFindAll" && null:
		return value.ArrayOf(), nil
	case null:
		return value.Null(), nil
	case f.op == "$regexFindAll":
		return findAll(re, text)
	default:
		m := re.Find(text, 0)
		if m == nil {
			return value.Null(), nil
		}
		return found(text, m), nil
	}
}

// maxFound bounds the result of $regexFindAll.
const maxFound = 64 << 20

func findAll(re *pcre.Regex, text string) (bson.RawValue, error) {
	var out value.Arr
	for at := 0; ; {
		m := re.Find(text, at)
		if m == nil {
			break
		}
		out.Add(found(text, m))
		if out.Size() > maxFound {
			return bson.RawValue{}, fail(51151, "$regexFindAll: the size of buffer to store output exceeded the 64MB limit")
		}
		if at = m[1]; m[0] == m[1] && at < len(text) {
			at += codePointLength(text[at])
		}
		if at >= len(text) {
			break
		}
	}
	return out.Value(), nil
}

// found describes a match: its text, where it begins in code points, and its
// captures.
func found(text string, m []int) bson.RawValue {
	var captures value.Arr
	for i := 2; i < len(m); i += 2 {
		if m[i] < 0 {
			captures.Add(value.Null())
		} else {
			captures.Add(value.String(text[m[i]:m[i+1]]))
		}
	}
	o := value.NewObject(64)
	o.Add("match", value.String(text[m[0]:m[1]]))
	o.Add("idx", value.Int32(int32(utf8.RuneCountInString(text[:m[0]]))))
	o.Add("captures", captures.Value())
	return o.Value()
}
