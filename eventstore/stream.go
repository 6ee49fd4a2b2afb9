package eventstore

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// MaxNameLen is the greatest length in bytes of a stream's name and of an event
// type's name. It keeps a version-index entry well below the 1,024 bytes that
// older MongoDB servers allow for an index key.
const MaxNameLen = 512

// A StreamID names a stream: "category-key", as in "order-7f3c". The category
// is what precedes the first hyphen; the key may hold further ones. A name
// without a hyphen is a category of its own with an empty key.
//
// A name is 1 to [MaxNameLen] bytes of valid UTF-8 without NUL and does not
// start with "$", which is kept for stores. Names are compared byte by byte; two
// Unicode normal forms of the same text are two streams. Personal data does not
// belong in a name: names outlive [Streams.Erase].
type StreamID string

// NewStreamID returns the name of the stream of a category with a key. Choose a
// category without a hyphen: [StreamID.Category] ends at the first one.
func NewStreamID(category, key string) StreamID {
	return StreamID(category + "-" + key)
}

// Category returns what precedes the first hyphen, or the whole name when it
// has none.
func (s StreamID) Category() string {
	category, _, _ := strings.Cut(string(s), "-")
	return category
}

// Key returns what follows the first hyphen, or "" when the name has none.
func (s StreamID) Key() string {
	_, key, _ := strings.Cut(string(s), "-")
	return key
}

// ShareHash returns the 32-bit FNV-1a hash of the key, or of the whole name when
// the key is empty: what a [Share] goes by. Streams of several categories with
// the same key have the same.
func (s StreamID) ShareHash() uint32 {
	key := s.Key()
	if key == "" {
		key = string(s)
	}
	h := uint32(2166136261)
	for i := range len(key) {
		h = (h ^ uint32(key[i])) * 16777619
	}
	return h
}

// Validate reports why the name cannot name a stream, as an [*InvalidError].
func (s StreamID) Validate() error {
	return validateName("stream name", string(s))
}

func validateName(what, name string) error {
	if isPlain(name) {
		return nil
	}
	switch {
	case name == "":
		return &InvalidError{What: what, Reason: "is empty; give it 1 to " + strconv.Itoa(MaxNameLen) + " bytes"}
	case len(name) > MaxNameLen:
		return &InvalidError{What: what, Reason: fmt.Sprintf("has %d bytes; the limit is %d", len(name), MaxNameLen)}
	case name[0] == '$':
		return &InvalidError{What: what, Reason: fmt.Sprintf("%q starts with $, which is kept for stores", name)}
	case strings.IndexByte(name, 0) >= 0:
		return &InvalidError{What: what, Reason: fmt.Sprintf("%q holds a NUL byte", name)}
	case !utf8.ValidString(name):
		return &InvalidError{What: what, Reason: fmt.Sprintf("%q is not valid UTF-8", name)}
	}
	return nil
}

// isPlain reports whether a name is of ASCII and follows the rules. Nearly every
// name does, and this is the faster way to find out.
func isPlain(name string) bool {
	if name == "" || len(name) > MaxNameLen || name[0] == '$' {
		return false
	}
	for i := range len(name) {
		if c := name[i]; c == 0 || c >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// A Version is the place of an event in its stream, dense from 1. Zero means "no
// events".
type Version int64

// A Position is the place of an event in the log, dense from 1. Zero stands
// before the first event.
type Position int64

// An ExpectedVersion is what an append expects of a stream: [Any], [NoStream],
// [Exists] or [Exact]. The zero value is none of them and is refused, so that an
// append cannot do without optimistic concurrency by oversight.
type ExpectedVersion int64

const (
	// Any expects nothing: the events go behind whatever is there.
	Any ExpectedVersion = -1
	// NoStream expects a stream without events, or one that was deleted
	// ([Streams.Delete]).
	NoStream ExpectedVersion = -2
	// Exists expects a stream with at least one event that is not deleted.
	Exists ExpectedVersion = -3
)

// Exact expects the stream's last event to have version v. Exact(0) is
// [NoStream].
func Exact(v Version) ExpectedVersion {
	switch {
	case v == 0:
		return NoStream
	case v < 0:
		return 0 // refused by Validate
	}
	return ExpectedVersion(v)
}

// Version returns the version that an Exact expectation names, and whether it
// is one. NoStream gives 0, true.
func (e ExpectedVersion) Version() (Version, bool) {
	switch {
	case e > 0:
		return Version(e), true
	case e == NoStream:
		return 0, true
	}
	return 0, false
}

// Matches reports whether a stream in state s meets the expectation.
func (e ExpectedVersion) Matches(s StreamInfo) bool {
	switch e {
	case Any:
		return true
	case NoStream:
		return s.Head == 0 || s.State == Deleted
	case Exists:
		return s.Head > 0 && s.State == Live
	}
	return e > 0 && Version(e) == s.Head
}

// Validate refuses the zero value and what is no expectation at all.
func (e ExpectedVersion) Validate() error {
	if e == 0 || e < Exists {
		return &InvalidError{
			What:   "expected version",
			Reason: "is not set or negative; say Any, NoStream, Exists or Exact(n) with n of at least 0",
		}
	}
	return nil
}

// String returns "any", "no stream", "exists" or the version.
func (e ExpectedVersion) String() string {
	switch e {
	case Any:
		return "any"
	case NoStream:
		return "no stream"
	case Exists:
		return "exists"
	case 0:
		return "not set"
	}
	return strconv.FormatInt(int64(e), 10)
}

// A StreamState says whether a stream can be read and appended to.
type StreamState uint8

const (
	// Live is the state of a stream that was neither deleted nor tombstoned,
	// including one that never had an event.
	Live StreamState = iota
	// Deleted is the state after [Streams.Delete]: the stream reads as empty
	// and may be continued.
	Deleted
	// Tombstoned is the state after [Streams.Tombstone] and [Streams.Erase]: the
	// stream can never be read or appended to again.
	Tombstoned
)

// String returns "live", "deleted" or "tombstoned".
func (s StreamState) String() string {
	switch s {
	case Live:
		return "live"
	case Deleted:
		return "deleted"
	case Tombstoned:
		return "tombstoned"
	}
	return "StreamState(" + strconv.Itoa(int(s)) + ")"
}

// StreamInfo is what a store knows of a stream.
type StreamInfo struct {
	Stream StreamID
	// Head is the version of the last event ever appended, zero when there was
	// none. Deletion and truncation do not change it: versions are never used
	// twice.
	Head Version
	// First is the version of the first event that ReadStream gives: 1 unless
	// events before it were truncated or deleted. It is Head+1 when nothing is
	// left to read.
	First Version
	State StreamState
}
