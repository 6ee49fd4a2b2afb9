// Package urlfilter reads filters, orders and page limits from the query string
// of a URL, against a list of what is allowed:
//
//	?status=paid&total[gte]=100&placed_at[lt]=2024-05-01&sort=-placed_at,total&limit=20
//
// A Spec names the fields that may be asked for, their types, their operators
// and whether they may be sorted by. Everything else is refused, and all
// mistakes of a request are reported at once, in a form that can be sent back as
// application/problem+json. Values are parsed into the field's type and are data
// from then on: nothing in a query string can become an operator or a field name.
//
// Syntax. A parameter is a field's name, or a name with an operator in brackets:
// eq, ne, gt, gte, lt, lte, in, nin (values separated by commas; a backslash
// makes the next character mean itself), exists (true or false), prefix, suffix and contains. A field
// given several times without an operator, or with eq, matches any of the values; with other
// operators all conditions must hold. Times are RFC 3339 or a date, which means its midnight
// in UTC.
package urlfilter

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/annals-es/annals/query"
)

// Limits on what a request may hold, so that a URL can't make a server work for long.
const (
	// MaxConditions is the greatest number of conditions.
	MaxConditions = 50
	// MaxValues is the greatest number of values of one in or nin.
	MaxValues = 100
	// MaxValueLength is the greatest length of one value, in bytes.
	MaxValueLength = 1024
)

// An Op is an operator of the query string.
type Op string

// The operators.
const (
	Eq       Op = "eq"
	Ne       Op = "ne"
	Gt       Op = "gt"
	Gte      Op = "gte"
	Lt       Op = "lt"
	Lte      Op = "lte"
	In       Op = "in"
	Nin      Op = "nin"
	Exists   Op = "exists"
	Prefix   Op = "prefix"
	Suffix   Op = "suffix"
	Contains Op = "contains"
)

// Config describes what may be asked for.
type Config struct {
	// Fields are the allowed fields; at least one.
	Fields []Field
	// DefaultSort is the order when the request names none. Its fields need not be sortable by request.
	DefaultSort []query.SortKey
	// MaxSortKeys is how many fields a request may sort by; 0 means 3.
	MaxSortKeys int
	// DefaultLimit is the page size when the request names none; 0 means query.DefaultPageSize.
	DefaultLimit int
	// MaxLimit is the greatest page size; 0 means 100. A request for more is refused.
	MaxLimit int
	// Params renames the parameters that are not fields. A field can't have the same name.
	Params Params
	// Ignore are further parameters that are none of this package's business.
	Ignore []string
}

// Params are the names of parameters; an empty one means the default, "-" that there is none.
type Params struct {
	// Sort is "sort", Limit is "limit", Cursor is "cursor", Page is "page".
	Sort, Limit, Cursor, Page string
}

// none is the name of a parameter that there isn't.
const none = "-"

func (p Params) withDefaults() Params {
	for _, d := range []struct {
		name *string
		def  string
	}{{&p.Sort, "sort"}, {&p.Limit, "limit"}, {&p.Cursor, "cursor"}, {&p.Page, "page"}} {
		if *d.name == "" {
			*d.name = d.def
		}
	}
	return p
}

// check refuses one name with two meanings.
func (p Params) check(ignore []string) error {
	seen := slices.Clone(ignore)
	for _, name := range []string{p.Sort, p.Limit, p.Cursor, p.Page} {
		if name == none {
			continue
		}
		if slices.Contains(seen, name) {
			return fmt.Errorf("urlfilter: Config.Params: the name %q is taken", name)
		}
		seen = append(seen, name)
	}
	return nil
}

// A Spec is a checked Config. It is immutable and safe for concurrent use.
type Spec struct {
	config Config
	fields map[string]Field
}

// New checks a Config. Its error names what is wrong.
func New(config Config) (*Spec, error) {
	config.Params = config.Params.withDefaults()
	config.Fields = slices.Clone(config.Fields)
	config.DefaultSort = slices.Clone(config.DefaultSort)
	config.Ignore = slices.Clone(config.Ignore)
	if config.MaxSortKeys == 0 {
		config.MaxSortKeys = 3
	}
	if config.DefaultLimit == 0 {
		config.DefaultLimit = query.DefaultPageSize
	}
	if config.MaxLimit == 0 {
		config.MaxLimit = max(100, config.DefaultLimit)
	}
	if err := config.Params.check(config.Ignore); err != nil {
		return nil, err
	}
	switch {
	case len(config.Fields) == 0:
		return nil, fmt.Errorf("urlfilter: Config.Fields is empty")
	case config.MaxSortKeys < 0:
		return nil, fmt.Errorf("urlfilter: Config.MaxSortKeys is %d, it can't be negative", config.MaxSortKeys)
	case config.DefaultLimit < 0 || config.DefaultLimit > config.MaxLimit || config.MaxLimit > query.MaxPageSize:
		return nil, fmt.Errorf("urlfilter: want 0 < Config.DefaultLimit (%d) <= Config.MaxLimit (%d) <= %d",
			config.DefaultLimit, config.MaxLimit, query.MaxPageSize)
	}
	s := &Spec{config: config, fields: make(map[string]Field, len(config.Fields))}
	for _, f := range config.Fields {
		if err := f.check(); err != nil { // fills in the path
			return nil, fmt.Errorf("urlfilter: field %q: %w", f.Name, err)
		}
		if _, twice := s.fields[f.Name]; twice || s.special(f.Name) {
			return nil, fmt.Errorf("urlfilter: field %q: the name is taken", f.Name)
		}
		s.fields[f.Name] = f
	}
	for i, k := range config.DefaultSort {
		path, _, err := k.SortField()
		if err != nil {
			return nil, fmt.Errorf("urlfilter: Config.DefaultSort: %w", err)
		}
		if slices.ContainsFunc(config.DefaultSort[:i], func(earlier query.SortKey) bool { return earlier.Path() == path }) {
			return nil, fmt.Errorf("urlfilter: Config.DefaultSort: %q is given twice", path)
		}
	}
	return s, nil
}

// MustNew is New for package variables: it panics if the Config is wrong.
func MustNew(config Config) *Spec {
	s, err := New(config)
	if err != nil {
		panic(err)
	}
	return s
}

func (s *Spec) special(name string) bool {
	p := s.config.Params
	return name == p.Sort || name == p.Limit || name == p.Cursor || name == p.Page || slices.Contains(s.config.Ignore, name)
}

// A Request is what a query string asks for.
type Request struct {
	// Filter is the conditions; Everything if there are none.
	Filter query.Filter
	// Sort is the order asked for, or the default.
	Sort []query.SortKey
	// Limit is the page size asked for, or the default.
	Limit int
	// Cursor is the position of a keyset page, as it came; query checks it.
	Cursor string
	// Page is the number of an offset page, 1 if none was asked for.
	Page int
}

// ParseString is Parse for the part of a URL behind the question mark.
func (s *Spec) ParseString(rawQuery string) (Request, error) {
	values, err := url.ParseQuery(rawQuery)
	if err != nil {
		return Request{}, &Error{Problems: []Problem{{Code: CodeSyntax, Detail: "the query string is not well-formed"}}}
	}
	return s.Parse(values)
}

// Parse reads the parameters of a request. The error is an *Error that lists
// every mistake, in the order of the parameters' names.
func (s *Spec) Parse(values url.Values) (Request, error) {
	p := parser{spec: s, request: Request{Limit: s.config.DefaultLimit, Page: 1, Sort: slices.Clone(s.config.DefaultSort)}}
	names := make([]string, 0, len(values))
	for name := range values {
		names = append(names, name)
	}
	slices.Sort(names)
	for _, name := range names {
		p.parameter(name, values[name])
	}
	if p.request.Cursor != "" && slices.Contains(names, s.config.Params.Page) {
		p.wrong(s.config.Params.Page, CodeConflict, "a page is asked for by %s or by %s, not both", s.config.Params.Page, s.config.Params.Cursor)
	}
	if len(p.problems) > 0 {
		return Request{}, &Error{Problems: p.problems}
	}
	p.request.Filter = query.And(p.conditions...)
	if err := p.request.Filter.Err(); err != nil {
		return Request{}, &Error{Problems: []Problem{{Code: CodeValue, Detail: err.Error()}}}
	}
	return p.request, nil
}

type parser struct {
	spec       *Spec
	request    Request
	conditions []query.Filter
	count      int
	problems   []Problem
}

// maxProblems bounds the answer to a request that is all wrong.
const maxProblems = 20

func (p *parser) wrong(parameter, code, format string, args ...any) {
	if len(p.problems) < maxProblems {
		p.problems = append(p.problems, Problem{Parameter: shortened(parameter), Code: code, Detail: fmt.Sprintf(format, args...)})
	}
}

func (p *parser) parameter(name string, values []string) {
	params := p.spec.config.Params
	switch {
	case slices.Contains(p.spec.config.Ignore, name):
	case name == none:
		p.unknown(name)
	case name == params.Sort:
		p.once(name, values, p.sort)
	case name == params.Limit:
		p.once(name, values, func(v string) { p.number(name, v, p.spec.config.MaxLimit, &p.request.Limit) })
	case name == params.Page:
		p.once(name, values, func(v string) { p.number(name, v, maxPage, &p.request.Page) })
	case name == params.Cursor:
		p.once(name, values, func(v string) { p.cursor(name, v) })
	default:
		p.field(name, values)
	}
}

// maxPage keeps page times limit within reason.
const maxPage = 1_000_000

func (p *parser) once(name string, values []string, read func(string)) {
	if len(values) != 1 {
		p.wrong(name, CodeRepeated, "it is given %d times, once is enough", len(values))
		return
	}
	read(values[0])
}

func (p *parser) number(name, v string, limit int, into *int) {
	n, err := strconv.Atoi(v)
	if err != nil || n < 1 || n > limit {
		p.wrong(name, CodeValue, "want a whole number from 1 to %d", limit)
		return
	}
	*into = n
}

func (p *parser) cursor(name, v string) {
	if len(v) > query.MaxCursorLength {
		p.wrong(name, CodeValue, "the cursor is too long")
		return
	}
	p.request.Cursor = v
}

func (p *parser) sort(v string) {
	name := p.spec.config.Params.Sort
	parts := strings.Split(v, ",")
	if len(parts) > p.spec.config.MaxSortKeys {
		p.wrong(name, CodeLimit, "it has %d fields, at most %d are allowed", len(parts), p.spec.config.MaxSortKeys)
		return
	}
	var keys []query.SortKey
	seen := map[string]bool{}
	for _, part := range parts {
		field, descending := strings.CutPrefix(part, "-")
		f, ok := p.spec.fields[field]
		switch {
		case !ok || !f.Sortable:
			p.wrong(name, CodeField, "can't sort by %q; sortable: %s", shortened(field), p.spec.sortable())
		case seen[f.Path]:
			p.wrong(name, CodeRepeated, "%q is given twice", field)
		case descending:
			keys = append(keys, f.sortKey(query.Desc(f.Path)))
		default:
			keys = append(keys, f.sortKey(query.Asc(f.Path)))
		}
		seen[f.Path] = true
	}
	p.request.Sort = keys
}

func (s *Spec) sortable() string {
	var names []string
	for _, f := range s.config.Fields {
		if f.Sortable {
			names = append(names, f.Name)
		}
	}
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}

// field reads a parameter "name" or "name[op]".
func (p *parser) field(parameter string, values []string) {
	name, op, ok := splitOp(parameter)
	f, known := p.spec.fields[name]
	if !ok || !known {
		p.unknown(parameter)
		return
	}
	if !slices.Contains(f.ops(), op) {
		p.wrong(parameter, CodeOperator, "operator %q is not allowed here; allowed: %s", shortened(string(op)), joinOps(f.ops()))
		return
	}
	p.count += len(values)
	if p.count > MaxConditions {
		p.wrong(parameter, CodeLimit, "more than %d conditions", MaxConditions)
		return
	}
	if op == Eq && len(values) > 1 {
		if parsed, ok := p.values(parameter, f, values); ok {
			p.conditions = append(p.conditions, query.In(f.Path, parsed...))
		}
		return
	}
	for _, v := range values {
		p.condition(parameter, f, op, v)
	}
}

func (p *parser) unknown(parameter string) {
	p.wrong(parameter, CodeField, "there is no such filter; fields: %s", p.spec.names())
}

func (s *Spec) names() string {
	names := make([]string, len(s.config.Fields))
	for i, f := range s.config.Fields {
		names[i] = f.Name
	}
	return strings.Join(names, ", ")
}

// splitOp takes "name[op]" apart; no brackets mean eq.
func splitOp(parameter string) (name string, op Op, ok bool) {
	before, after, ok := strings.Cut(parameter, "[")
	if !ok {
		return parameter, Eq, true
	}
	inner, closed := strings.CutSuffix(after, "]")
	if !closed || strings.ContainsAny(inner, "[]") {
		return "", "", false
	}
	return before, Op(inner), true
}

func (p *parser) condition(parameter string, f Field, op Op, v string) {
	add := func(c query.Filter) { p.conditions = append(p.conditions, c) }
	switch op {
	case In, Nin:
		parsed, ok := p.values(parameter, f, splitList(v))
		switch {
		case !ok:
		case op == In:
			add(query.In(f.Path, parsed...))
		default:
			add(query.Nin(f.Path, parsed...))
		}
		return
	case Exists:
		there, err := strconv.ParseBool(v)
		switch {
		case err != nil || v != "true" && v != "false":
			p.wrong(parameter, CodeValue, "want true or false")
		case there:
			add(query.Exists(f.Path))
		default:
			add(query.Missing(f.Path))
		}
		return
	}
	parsed, ok := p.values(parameter, f, []string{v})
	if !ok {
		return
	}
	switch op {
	case Eq:
		add(query.Eq(f.Path, parsed[0]))
	case Ne:
		add(query.Ne(f.Path, parsed[0]))
	case Gt:
		add(query.Gt(f.Path, parsed[0]))
	case Gte:
		add(query.Gte(f.Path, parsed[0]))
	case Lt:
		add(query.Lt(f.Path, parsed[0]))
	case Lte:
		add(query.Lte(f.Path, parsed[0]))
	case Prefix:
		add(query.HasPrefix(f.Path, v))
	case Suffix:
		add(query.HasSuffix(f.Path, v))
	case Contains:
		add(query.Contains(f.Path, v))
	}
}

func (p *parser) values(parameter string, f Field, texts []string) ([]any, bool) {
	if len(texts) > MaxValues {
		p.wrong(parameter, CodeLimit, "more than %d values", MaxValues)
		return nil, false
	}
	out, good := make([]any, 0, len(texts)), true
	for _, text := range texts {
		v, err := f.parse(text)
		if err != nil {
			p.wrong(parameter, CodeValue, "%v", err)
			good = false
			continue
		}
		out = append(out, v)
	}
	return out, good
}

// splitList splits at commas; a backslash takes the meaning from the character behind it.
func splitList(s string) []string {
	parts := []string{}
	var part strings.Builder
	escaped := false
	for i := range len(s) {
		switch c := s[i]; {
		case escaped:
			part.WriteByte(c)
			escaped = false
		case c == '\\':
			escaped = true
		case c == ',':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteByte(c)
		}
	}
	if escaped {
		part.WriteByte('\\')
	}
	return append(parts, part.String())
}

func joinOps(ops []Op) string {
	names := make([]string, len(ops))
	for i, op := range ops {
		names[i] = string(op)
	}
	return strings.Join(names, ", ")
}
