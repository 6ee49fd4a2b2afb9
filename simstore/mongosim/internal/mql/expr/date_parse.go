package expr

import (
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A dateText collects what a date string has said so far; unset says nothing.
type dateText struct {
	year, month, day     int64
	hour, minute, second int64
	micro                int64
	hasDate, hasTime     bool
	hasZone              bool
	offset               int64
	weekday              int64 // Sunday is 0, unset: none
}

const unset = -99999

func newDateText() *dateText {
	return &dateText{year: unset, month: unset, day: unset, hour: unset, minute: unset, second: unset, weekday: unset}
}

// finish checks the date and turns it into milliseconds since 1970.
func (d *dateText) finish(text string, z zone) (int64, error) {
	if d.hour == unset && d.minute == unset && d.second == unset {
		d.hour, d.minute, d.second = 0, 0, 0
	}
	for _, part := range [...]int64{d.year, d.month, d.day, d.hour, d.minute, d.second} {
		if part == unset {
			return 0, conversion("an incomplete date/time string has been found, with elements missing: \"%s\"", text)
		}
	}
	if d.hasZone && !z.isUTC() || d.hasZone && z.named {
		if !z.isUTC() {
			return 0, conversion("you cannot pass in a date/time string with time zone information together with a timezone argument")
		}
	}
	days := civil(d.year, d.month, d.day)
	if d.weekday != unset {
		days += floorMod(d.weekday-(days+4), 7)
	}
	local := days*86400 + d.hour*3600 + d.minute*60 + d.second
	if d.hasZone {
		return (local-d.offset)*1000 + d.micro/1000, nil
	}
	return z.instant(local, d.micro/1000), nil
}

func (d *dateText) valid() bool {
	if d.hour != unset && (d.hour < 0 || d.hour > 23 || d.minute > 59 || d.second > 59) {
		return false
	}
	if d.year != unset && d.month != unset && d.day != unset {
		if d.month < 1 || d.month > 12 || d.day < 1 || d.day > civil(d.year, d.month+1, 1)-civil(d.year, d.month, 1) {
			return false
		}
	}
	return true
}

// A dateRule is a way to write a date, a time or a zone. The rule that matches
// the longest text wins, the first of those that match equally long.
type dateRule struct {
	pattern    *regexp.Regexp
	date, time bool
}

// dateRules are the notations that can make up a whole date. Those relative to
// the present, which the server never accepts by themselves, are left out.
var dateRules = sync.OnceValue(func() []dateRule {
	const (
		month   = `(?P<m>1[0-2]|0?[0-9])`
		monthlz = `(?P<m>0[0-9]|1[0-2])`
		day     = `(?P<d>3[01]|[0-2]?[0-9])(?:st|nd|rd|th)?`
		daylz   = `(?P<d>0[0-9]|[1-2][0-9]|3[01])`
		year    = `(?P<y>[0-9]{1,4})`
		year4   = `(?P<y>[0-9]{4})`
		hour    = `(?P<h>2[0-4]|[01]?[0-9])`
		hourlz  = `(?P<h>[01][0-9]|2[0-4])`
		minute  = `(?P<i>[0-5]?[0-9])`
		minlz   = `(?P<i>[0-5][0-9])`
		second  = `(?P<s>60|[0-5]?[0-9])`
		seclz   = `(?P<s>60|[0-5][0-9])`
		frac    = `\.(?P<f>[0-9]+)`
		gap     = `[ \t.-]*`
		zone    = `[ \t]*(?P<z>\(?[A-Za-z]{1,6}\)?|[A-Z][a-z]+(?:[_/-][A-Za-z]+)+|(?:GMT)?[+-](?:2[0-4]|[01]?[0-9]):?[0-5]?[0-9]?)`
		text    = `(?P<n>(?i:january|february|march|april|may|june|july|august|september|october|november|december|jan|feb|mar|apr|jun|jul|aug|sept|sep|oct|nov|dec)|VIII|VII|III|XII|VI|IV|IX|XI|II|I|V|X)`
		abbr    = `(?P<n>(?i:jan|feb|mar|apr|may|jun|jul|aug|sept|sep|oct|nov|dec))`
		half    = `[ \t]*(?P<a>[AaPp])\.?[Mm]\.?`
		hour12  = `(?P<h>1[0-2]|0?[1-9])`
	)
	rule := func(date, time bool, pattern string) dateRule {
		re := regexp.MustCompile(`^(?:` + pattern + `)`)
		re.Longest()
		return dateRule{re, date, time}
	}
	return []dateRule{
		rule(false, true, hour12+half),
		rule(false, true, hour12+`[:.]`+minlz+half),
		rule(false, true, hour12+`[:.]`+minute+`[:.]`+seclz+half),
		rule(false, true, `[tT]?`+hour+`[:.]`+minute+`(?:`+zone+`)?`),
		rule(false, true, `[tT]?`+hour+`[:.]`+minute+`[:.]`+second+`(?:`+zone+`)?`),
		rule(false, true, `[tT]?`+hour+`[:.]`+minute+`[:.]`+second+frac+`(?:`+zone+`)?`),
		rule(false, true, `[tT]`+hourlz+minlz),
		rule(false, true, `[tT]?`+hourlz+minlz+seclz+`(?:`+zone+`)?`),
		rule(true, false, month+`/`+day),
		rule(true, false, month+`/`+day+`/`+year),
		rule(true, false, `(?P<y>[+-]?[0-9]{4})-`+monthlz+`-`+daylz),
		rule(true, false, year4+`/`+month+`/`+day+`/?`),
		rule(true, false, `(?P<y>[0-9]{2})-`+monthlz+`-`+daylz),
		rule(true, false, year4+`-`+month),
		rule(true, false, year+`-`+month+`-`+day),
		rule(true, false, day+gap+text+gap+year),
		rule(true, false, day+`[.\t-]`+month+`[.-]`+year4),
		rule(true, false, day+`[.\t]`+month+`\.(?P<y>[0-9]{2})`),
		rule(true, false, text+gap+year4),
		rule(true, false, year4+gap+text),
		rule(true, false, text+gap+day+`[,.stndrh\t ]+`+year),
		rule(true, false, text+gap+day+`[,.stndrh\t ]+`),
		rule(true, false, day+gap+text),
		rule(true, false, year4+monthlz+daylz),
		rule(true, true, year4+`-`+monthlz+`-`+daylz+`T`+hourlz+`:`+minlz+`:`+seclz+frac+`(?:`+zone+`)?`),
		rule(true, true, year4+monthlz+daylz+`T`+hour+`:`+minlz+`:`+seclz),
		rule(true, true, year4+monthlz+daylz+`[tT]`+hour+minlz+seclz),
		rule(true, true, year4+`-`+month+`-`+day+`T`+hour+`:`+minute+`:`+second),
		rule(true, true, year4+`:`+monthlz+`:`+daylz+` `+hourlz+`:`+minlz+`:`+seclz),
		rule(true, false, year4+`\.?(?P<yd>00[1-9]|0[1-9][0-9]|[12][0-9][0-9]|3[0-5][0-9]|36[0-6])`),
		rule(true, false, abbr+`-`+daylz+`-`+year),
		rule(true, false, year+`-`+abbr+`-`+daylz),
		rule(true, false, year4+`-?W(?P<w>0[1-9]|[1-4][0-9]|5[0-3])(?:-?(?P<wd>[0-7]))?`),
		rule(true, true, day+`/`+abbr+`/`+year4+`:`+hourlz+`:`+minlz+`:`+seclz+zone),
		rule(true, true, `@(?P<unix>-?[0-9]+)`),
		rule(false, false, zone),
		rule(false, false, `(?P<day>(?i:sunday|monday|tuesday|wednesday|thursday|friday|saturday|sun|mon|tue|wed|thu|fri|sat))`),
	}
})

// parseDate reads a date in any of the usual notations.
func parseDate(text string, z zone) (int64, error) {
	d := newDateText()
	failed := func() (int64, error) { return 0, conversion("Error parsing date string '%s'", text) }
	rest := strings.Trim(text, " \t\n")
	if rest == "" {
		return failed()
	}
	for rest != "" {
		if strings.ContainsAny(rest[:1], " .,\t") {
			rest = rest[1:]
			continue
		}
		rule, match := longestRule(rest)
		if match == nil || !d.apply(rule, rest, match) {
			return failed()
		}
		rest = rest[match[1]:]
	}
	if !d.valid() {
		return failed()
	}
	return d.finish(text, z)
}

func longestRule(text string) (best dateRule, match []int) {
	for _, r := range dateRules() {
		if m := r.pattern.FindStringSubmatchIndex(text); m != nil && (match == nil || m[1] > match[1]) {
			best, match = r, m
		}
	}
	return best, match
}

// apply takes over what a rule has found; it refuses a second date, time or
// zone.
func (d *dateText) apply(r dateRule, text string, match []int) bool {
	if r.date && d.hasDate || r.time && d.hasTime {
		return false
	}
	d.hasDate, d.hasTime = d.hasDate || r.date, d.hasTime || r.time
	if r.time {
		d.hour, d.minute, d.second = 0, 0, 0
	}
	week, weekday := int64(unset), int64(1)
	for i, name := range r.pattern.SubexpNames() {
		if name == "" || match[2*i] < 0 {
			continue
		}
		s := text[match[2*i]:match[2*i+1]]
		n, _ := strconv.ParseInt(s, 10, 64)
		switch name {
		case "y":
			if d.year = n; len(s) <= 2 {
				d.year += 2000 - 100*int64(b2i(n >= 70))
			}
			if d.month == unset {
				d.day = 1
			}
		case "m":
			d.month = n
		case "d":
			d.day = n
		case "n":
			d.month = monthByName(s)
		case "h":
			d.hour = n
		case "i":
			d.minute = n
		case "s":
			d.second = n
		case "f":
			d.micro, _ = strconv.ParseInt((s + "000000")[:6], 10, 64)
		case "a":
			d.hour %= 12
			if s == "p" || s == "P" {
				d.hour += 12
			}
		case "yd":
			t := time.Unix(civil(d.year, 1, n)*86400, 0).UTC()
			d.month, d.day = int64(t.Month()), int64(t.Day())
		case "w":
			week = n
		case "wd":
			weekday = n
		case "unix":
			t := time.Unix(n, 0).UTC()
			d.year, d.month, d.day = int64(t.Year()), int64(t.Month()), int64(t.Day())
			d.hour, d.minute, d.second = int64(t.Hour()), int64(t.Minute()), int64(t.Second())
			d.hasZone = true
		case "day":
			d.weekday = int64(strings.Index("sunmontuewedthufrisat", strings.ToLower(s[:3])) / 3)
		case "z":
			offset, ok := zoneInText(s)
			if !ok || d.hasZone {
				return false
			}
			d.hasZone, d.offset = true, offset
		}
	}
	if week != unset {
		t := time.Unix(isoDays(d.year, week, weekday)*86400, 0).UTC()
		d.year, d.month, d.day = int64(t.Year()), int64(t.Month()), int64(t.Day())
	}
	return true
}

func monthByName(s string) int64 {
	for i, roman := range [...]string{"I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX", "X", "XI", "XII"} {
		if s == roman {
			return int64(i + 1)
		}
	}
	return int64(strings.Index("janfebmaraprmayjunjulaugsepoctnovdec", strings.ToLower(s[:3]))/3 + 1)
}

// zoneInText reads an offset or one of the abbreviations that name one;
// Olson names are not allowed in a date.
func zoneInText(s string) (offset int64, ok bool) {
	s = strings.Trim(s, "()")
	if rest, gmt := strings.CutPrefix(s, "GMT"); gmt && rest != "" {
		s = rest
	}
	if s[0] == '+' || s[0] == '-' {
		return offsetInText(s)
	}
	s = strings.ToUpper(s)
	if len(s) == 1 {
		return militaryOffset(s[0])
	}
	hours, ok := map[string]float64{
		"UTC": 0, "GMT": 0, "UT": 0, "WET": 0, "WEST": 1, "BST": 1, "CET": 1, "CEST": 2, "EET": 2, "EEST": 3, "MSK": 3, "IST": 5.5,
		"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7, "AKST": -9, "AKDT": -8, "HST": -10,
		"JST": 9, "KST": 9, "AEST": 10, "AEDT": 11, "ACST": 9.5, "AWST": 8, "NZST": 12, "NZDT": 13, "AST": -4, "ADT": -3, "SAST": 2,
	}[s]
	return int64(hours * 3600), ok
}

// offsetInText reads hours, or hours and minutes, with or without a colon.
func offsetInText(s string) (int64, bool) {
	sign := int64(1)
	if s[0] == '-' {
		sign = -1
	}
	h, m, colon := strings.Cut(s[1:], ":")
	if !colon && len(h) > 2 {
		h, m = h[:len(h)-2], h[len(h)-2:]
	}
	hours, err := strconv.ParseInt(h, 10, 64)
	if err != nil {
		return 0, false
	}
	minutes, _ := strconv.ParseInt(m, 10, 64)
	return sign * (hours*3600 + minutes*60), true
}

func militaryOffset(c byte) (int64, bool) {
	switch {
	case c == 'Z':
		return 0, true
	case 'A' <= c && c <= 'I':
		return int64(c-'A'+1) * 3600, true
	case 'K' <= c && c <= 'M':
		return int64(c-'K'+10) * 3600, true
	case 'N' <= c && c <= 'Y':
		return -int64(c-'N'+1) * 3600, true
	default:
		return 0, false
	}
}

// parseDateFormat reads a date by a format; every character must match.
func parseDateFormat(text, format string, z zone) (int64, error) {
	d := newDateText()
	isoYear, isoWeek, isoDay := int64(unset), int64(unset), int64(unset)
	p := formatParser{text: text, rest: text}
	for i := 0; i < len(format) && !p.failed; i++ {
		c := format[i]
		if c == '%' && i+1 < len(format) {
			i++
			c = format[i]
		} else {
			p.literal(c)
			continue
		}
		switch c {
		case 'Y':
			d.year = p.number(1, 4)
		case 'm':
			d.month = p.number(1, 2)
		case 'd':
			d.day = p.number(1, 2)
		case 'H':
			d.hour = p.number(1, 2)
		case 'M':
			d.minute = p.number(2, 2)
		case 'S':
			d.second = p.number(2, 2)
		case 'L':
			before := len(p.rest)
			d.micro = p.number(1, 3) * 1000
			for n := before - len(p.rest); n < 3; n++ {
				d.micro *= 10
			}
			if d.hour == unset {
				d.hour, d.minute, d.second = 0, 0, 0
			}
		case 'G':
			isoYear = p.number(1, 4)
		case 'V':
			if isoWeek = p.number(1, 2); isoWeek < 1 || isoWeek > 53 {
				p.failed = true
			}
		case 'u':
			if isoDay = p.number(1, 1); isoDay < 1 || isoDay > 7 {
				p.failed = true
			}
		case 'b', 'B':
			d.month = p.monthName(c == 'B')
		case 'z':
			d.offset, d.hasZone = p.zone(), true
		case 'Z':
			d.offset, d.hasZone = p.minutes()*60, true
		default:
			p.literal(c)
		}
	}
	natural := d.year != unset || d.month != unset || d.day != unset
	iso := isoYear != unset || isoWeek != unset || isoDay != unset
	if p.failed || p.rest != "" || natural && iso || iso && isoYear == unset {
		return 0, conversion("Error parsing date string '%s'", text)
	}
	if iso {
		if isoWeek == unset {
			isoWeek = 1
		}
		if isoDay == unset {
			isoDay = 1
		}
		t := time.Unix(isoDays(isoYear, isoWeek, isoDay)*86400, 0).UTC()
		d.year, d.month, d.day = int64(t.Year()), int64(t.Month()), int64(t.Day())
	}
	if d.hour != unset || d.minute != unset || d.second != unset {
		d.hour, d.minute, d.second = max(d.hour, 0), max(d.minute, 0), max(d.second, 0)
	}
	if !d.valid() {
		return 0, conversion("Error parsing date string '%s'", text)
	}
	return d.finish(text, z)
}

type formatParser struct {
	text, rest string
	failed     bool
}

func (p *formatParser) literal(c byte) {
	if p.rest == "" || p.rest[0] != c {
		p.failed = true
		return
	}
	p.rest = p.rest[1:]
}

func (p *formatParser) number(least, most int) int64 {
	n, i := int64(0), 0
	for ; i < most && i < len(p.rest) && '0' <= p.rest[i] && p.rest[i] <= '9'; i++ {
		n = n*10 + int64(p.rest[i]-'0')
	}
	if i < least {
		p.failed = true
	}
	p.rest = p.rest[i:]
	return n
}

func (p *formatParser) monthName(full bool) int64 {
	for m := time.January; m <= time.December; m++ {
		name := m.String()
		if !full {
			name = name[:3]
		}
		if len(p.rest) >= len(name) && strings.EqualFold(p.rest[:len(name)], name) {
			p.rest = p.rest[len(name):]
			return int64(m)
		}
	}
	p.failed = true
	return unset
}

var zonePattern = regexp.MustCompile(`^[ \t]*(\(?[A-Za-z]+\)?|(?:GMT)?[+-][0-9]{1,2}:?[0-9]{0,2})`)

func (p *formatParser) zone() int64 {
	m := zonePattern.FindStringSubmatchIndex(p.rest)
	if m == nil {
		p.failed = true
		return 0
	}
	offset, ok := zoneInText(p.rest[m[2]:m[3]])
	p.failed = p.failed || !ok
	p.rest = p.rest[m[1]:]
	return offset
}

func (p *formatParser) minutes() int64 {
	if p.rest == "" || p.rest[0] != '+' && p.rest[0] != '-' {
		p.failed = true
		return 0
	}
	sign := int64(1)
	if p.rest[0] == '-' {
		sign = -1
	}
	p.rest = p.rest[1:]
	return sign * p.number(1, 4)
}
