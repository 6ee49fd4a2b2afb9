package expr

import (
	"math"
	"strings"
	"time"
	_ "time/tzdata" // answers mustn't depend on what the machine has installed

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// A zone is a time zone: a named one or an offset from UTC.
type zone struct {
	loc   *time.Location
	named bool
}

func utc() zone { return zone{loc: time.UTC} }

func (z zone) isUTC() bool { return z.loc == time.UTC }

// findZone reads an Olson name or an offset: +03, +0300 or +03:00.
func findZone(name string) (zone, error) {
	if name == "UTC" || name == "GMT" {
		return zone{loc: time.UTC, named: true}, nil
	}
	if offset, ok := parseOffset(name); ok {
		return zone{loc: time.FixedZone(name, offset)}, nil
	}
	if name != "" && name != "Local" && !strings.ContainsAny(name[:1], "+-./") {
		if loc, err := time.LoadLocation(name); err == nil {
			return zone{loc, true}, nil
		}
	}
	return zone{}, fail(40485, "unrecognized time zone identifier: \"%s\"", name)
}

func parseOffset(s string) (seconds int, ok bool) {
	if s == "" || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	digits := s[1:]
	if len(digits) == 5 && digits[2] == ':' {
		digits = digits[:2] + digits[3:]
	}
	if len(digits) == 2 {
		digits += "00"
	}
	if len(digits) != 4 || strings.Trim(digits, "0123456789") != "" {
		return 0, false
	}
	two := func(s string) int { return int(s[0]-'0')*10 + int(s[1]-'0') }
	seconds = two(digits)*3600 + two(digits[2:])*60
	if s[0] == '-' {
		seconds = -seconds
	}
	return seconds, true
}

// A zoneConstant is a timezone argument whose zone is looked up once.
type zoneConstant struct {
	constant
	zone zone
	err  error
}

func (c *zoneConstant) fold() (node, error) { return c, nil }

func prepareZone(n node) node {
	c, ok := n.(*constant)
	if !ok || c.v.Type != bson.TypeString {
		return n
	}
	z := &zoneConstant{constant: *c}
	z.zone, z.err = findZone(value.AsString(c.v))
	return z
}

// evalZone evaluates a timezone argument; nil is UTC. null tells that it is
// nullish.
func evalZone(s *scope, n node, notString func(bson.RawValue) error) (z zone, null bool, err error) {
	switch c := n.(type) {
	case nil:
		return utc(), false, nil
	case *zoneConstant:
		return c.zone, false, c.err
	}
	v, err := n.eval(s)
	switch {
	case err != nil:
		return zone{}, false, err
	case value.Nullish(v):
		return zone{}, true, nil
	case v.Type != bson.TypeString:
		return zone{}, false, notString(v)
	}
	z, err = findZone(value.AsString(v))
	return z, false, err
}

// civil counts the days from 1970-01-01 to a date of the Gregorian calendar;
// months and days may lie outside their ranges.
func civil(year, month, day int64) int64 {
	month--
	year += floorDiv(month, 12)
	month = floorMod(month, 12) + 1
	if month <= 2 {
		year--
	}
	era := floorDiv(year, 400)
	yearOfEra := year - era*400
	shifted := month + 9
	if month > 2 {
		shifted = month - 3
	}
	dayOfYear := (153*shifted+2)/5 + day - 1
	return era*146097 + yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear - 719468
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }

// instant gives the milliseconds since 1970 of a local time, given as seconds
// since 1970 as if it were UTC. Of a time that a change of offset skips or
// repeats it takes what the server takes.
func (z zone) instant(local, ms int64) int64 {
	if !z.isUTC() && local > -1<<50 && local < 1<<50 {
		before := z.offsetAt(local)
		after, transition := z.offsetSince(local - before)
		inTransition := local-after >= transition+(before-after) && local-after < transition
		if before != after && !inTransition {
			local -= after
		} else {
			local -= before
		}
	}
	return local*1000 + ms
}

func (z zone) offsetAt(unix int64) int64 {
	_, offset := time.Unix(unix, 0).In(z.loc).Zone()
	return int64(offset)
}

func (z zone) offsetSince(unix int64) (offset, since int64) {
	t := time.Unix(unix, 0).In(z.loc)
	_, o := t.Zone()
	start, _ := t.ZoneBounds()
	since = math.MinInt64 / 2
	if !start.IsZero() {
		since = start.Unix()
	}
	return int64(o), since
}

// at gives the local time of milliseconds since 1970.
func (z zone) at(ms int64) time.Time {
	return time.Unix(floorDiv(ms, 1000), floorMod(ms, 1000)*1e6).In(z.loc)
}

const isoFormat = "%Y-%m-%dT%H:%M:%S.%LZ"

// checkFormat refuses a format with other than the given specifiers.
func checkFormat(format, allowed string) error {
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			continue
		}
		if i++; i == len(format) {
			return fail(18535, "Unmatched '%%' at end of format string")
		}
		if c := format[i]; c != '%' && strings.IndexByte(allowed, c) < 0 {
			return fail(18536, "Invalid format character '%%%c' in format string", c)
		}
	}
	return nil
}

// formatDate follows a format that checkFormat has passed.
func formatDate(format string, ms int64, z zone) (string, error) {
	t := z.at(ms)
	var b strings.Builder
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		if err := formatPart(&b, format[i], t); err != nil {
			return "", err
		}
	}
	return b.String(), nil
}

func formatPart(b *strings.Builder, specifier byte, t time.Time) error {
	_, offset := t.Zone()
	isoYear, isoWeek := t.ISOWeek()
	switch specifier {
	case 'Y':
		return padded(b, t.Year(), 4)
	case 'm':
		return padded(b, int(t.Month()), 2)
	case 'd':
		return padded(b, t.Day(), 2)
	case 'H':
		return padded(b, t.Hour(), 2)
	case 'M':
		return padded(b, t.Minute(), 2)
	case 'S':
		return padded(b, t.Second(), 2)
	case 'L':
		return padded(b, t.Nanosecond()/1e6, 3)
	case 'j':
		return padded(b, t.YearDay(), 3)
	case 'w':
		return padded(b, int(t.Weekday())+1, 1)
	case 'u':
		return padded(b, isoWeekday(t), 1)
	case 'U':
		return padded(b, sundayWeek(t), 2)
	case 'V':
		return padded(b, isoWeek, 2)
	case 'G':
		return padded(b, isoYear, 4)
	case 'b':
		b.WriteString(t.Month().String()[:3])
	case 'B':
		b.WriteString(t.Month().String())
	case 'z':
		b.WriteByte("+-"[b2i(offset < 0)])
		offset = max(offset, -offset)
		if err := padded(b, offset/3600, 2); err != nil {
			return err
		}
		return padded(b, offset/60%60, 2)
	case 'Z':
		b.WriteString(value.DecimalFromInt(int64(offset / 60)).String())
	default:
		b.WriteByte(specifier)
	}
	return nil
}

func padded(b *strings.Builder, n, width int) error {
	if n < 0 || n > 9999 {
		return fail(18537, "Could not convert date to string: date component was outside the supported range of 0-9999: %d", n)
	}
	s := value.DecimalFromInt(int64(n)).String()
	for i := len(s); i < width; i++ {
		b.WriteByte('0')
	}
	b.WriteString(s)
	return nil
}

func isoWeekday(t time.Time) int { return (int(t.Weekday())+6)%7 + 1 }

// sundayWeek counts weeks that begin on Sunday; days before the first are in
// week 0.
func sundayWeek(t time.Time) int { return (t.YearDay() - int(t.Weekday()) - 1 + 7) / 7 }

// formatTimestamp prints a timestamp's time the way C's ctime does.
func formatTimestamp(t, i uint32) string {
	return time.Unix(int64(t), 0).UTC().Format("Jan _2 15:04:05:") + strings.ToLower(hex8(i))
}

func hex8(n uint32) string {
	const digits = "0123456789abcdef"
	s := ""
	for ; n > 0 || s == ""; n >>= 4 {
		s = string(digits[n&15]) + s
	}
	return s
}

// conversion makes the error that $convert's onError catches.
func conversion(format string, args ...any) error {
	return fail(mongoerr.ConversionFailure, format, args...)
}
