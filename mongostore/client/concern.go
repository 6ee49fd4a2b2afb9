package client

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"go.mongodb.org/mongo-driver/v2/mongo/readconcern"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/mongo/writeconcern"
	"go.mongodb.org/mongo-driver/v2/tag"
)

// A ReadPreference says which members reads go to. The zero value is the
// primary, or what the URI says.
type ReadPreference struct {
	// Mode is primary, primaryPreferred, secondary, secondaryPreferred or
	// nearest.
	Mode string
	// TagSets are tried in order: the first set that some member has all tags of
	// decides. An empty set matches any member.
	TagSets []map[string]string
	// MaxStaleness is how far a secondary may lag behind; 0 for no limit, else at
	// least 90 s, as the server demands.
	MaxStaleness time.Duration
}

// ParseReadPreference reads a mode, and after a semicolon each a tag set:
// "secondary;region:us-east,dc:dc1;region:us-east;". An empty last set allows
// any member in the end.
func ParseReadPreference(s string) (ReadPreference, error) {
	mode, sets, hasSets := strings.Cut(s, ";")
	p := ReadPreference{Mode: strings.TrimSpace(mode)}
	if hasSets {
		for set := range strings.SplitSeq(sets, ";") {
			tags := map[string]string{}
			for pair := range strings.SplitSeq(set, ",") {
				if strings.TrimSpace(pair) == "" {
					continue
				}
				name, value, ok := strings.Cut(pair, ":")
				if !ok || strings.TrimSpace(name) == "" {
					return p, fmt.Errorf("tag %q is not of the form name:value", pair)
				}
				tags[strings.TrimSpace(name)] = strings.TrimSpace(value)
			}
			p.TagSets = append(p.TagSets, tags)
		}
	}
	_, err := p.driver()
	return p, err
}

// driver returns the preference as the driver takes it, nil when it is not set.
func (p ReadPreference) driver() (*readpref.ReadPref, error) {
	if p.Mode == "" {
		if len(p.TagSets) > 0 || p.MaxStaleness > 0 {
			return nil, fmt.Errorf("tag sets and staleness need a mode other than primary")
		}
		return nil, nil
	}
	mode, err := readpref.ModeFromString(p.Mode)
	if err != nil {
		return nil, fmt.Errorf("mode %q is none of primary, primaryPreferred, secondary, secondaryPreferred, nearest", p.Mode)
	}
	if mode == readpref.PrimaryMode && (len(p.TagSets) > 0 || p.MaxStaleness > 0) {
		return nil, fmt.Errorf("tag sets and staleness need a mode other than primary")
	}
	if p.MaxStaleness != 0 && p.MaxStaleness < 90*time.Second {
		return nil, fmt.Errorf("staleness of %s is below 90s, the least that servers accept", p.MaxStaleness)
	}
	var opts []readpref.Option
	if len(p.TagSets) > 0 {
		sets := make([]tag.Set, len(p.TagSets))
		for i, m := range p.TagSets {
			sets[i] = tag.NewTagSetFromMap(m)
		}
		opts = append(opts, readpref.WithTagSets(sets...))
	}
	if p.MaxStaleness > 0 {
		opts = append(opts, readpref.WithMaxStaleness(p.MaxStaleness))
	}
	return readpref.New(mode, opts...)
}

// A ReadConcern is local, available, majority, linearizable or snapshot. The
// empty one is the server's default, or what the URI says.
type ReadConcern string

func (r ReadConcern) driver() (*readconcern.ReadConcern, error) {
	switch r {
	case "":
		return nil, nil
	case "local", "available", "majority", "linearizable", "snapshot":
		return &readconcern.ReadConcern{Level: string(r)}, nil
	}
	return nil, fmt.Errorf("%q is none of local, available, majority, linearizable, snapshot", string(r))
}

// A WriteConcern says how many members must have a write before it is
// acknowledged. The zero value is the server's default, or what the URI says.
type WriteConcern struct {
	// W is "majority", a number of members, or the name of a rule of the replica
	// set.
	W string
	// Journal asks that the write be in the journal; nil leaves it to the server.
	Journal *bool
	// Timeout is how long a write may take before its caller is told that its
	// outcome is unknown. The driver has no such field: pass it on where writes
	// are made, as mongostore.Config.WriteTimeout for the event store.
	Timeout time.Duration
}

// ParseWriteConcern reads w, and after commas "journal" or "journal=false", and
// "timeout=5s" or milliseconds: "majority,journal,timeout=5s".
func ParseWriteConcern(s string) (WriteConcern, error) {
	parts := strings.Split(s, ",")
	c := WriteConcern{W: strings.TrimSpace(parts[0])}
	for _, part := range parts[1:] {
		name, value, hasValue := strings.Cut(strings.TrimSpace(part), "=")
		switch name {
		case "journal", "j":
			journal := true
			if hasValue {
				var err error
				if journal, err = strconv.ParseBool(value); err != nil {
					return c, fmt.Errorf("journal is %q; it takes true or false", value)
				}
			}
			c.Journal = &journal
		case "timeout", "wtimeout":
			d, err := parseDuration(value)
			if err != nil {
				return c, fmt.Errorf("timeout is %q: %w", value, err)
			}
			c.Timeout = d
		default:
			return c, fmt.Errorf("%q is unknown; after w come journal and timeout", part)
		}
	}
	_, err := c.driver()
	return c, err
}

func (c WriteConcern) driver() (*writeconcern.WriteConcern, error) {
	if c.Timeout < 0 {
		return nil, fmt.Errorf("timeout is negative")
	}
	if c.W == "" {
		if c.Journal != nil {
			return nil, fmt.Errorf("journal needs a w, as in majority,journal")
		}
		return nil, nil
	}
	w := &writeconcern.WriteConcern{Journal: c.Journal}
	n, err := strconv.Atoi(c.W)
	switch {
	case err != nil && !isRule(c.W):
		return nil, fmt.Errorf("w is %q; it takes majority, 0 to 50, or the name of a rule, and after commas journal and timeout", c.W)
	case err != nil:
		w.W = c.W
	case n < 0 || n > 50:
		return nil, fmt.Errorf("w is %d; it takes majority, 0 to 50, or the name of a rule", n)
	case n == 0 && c.Journal != nil && *c.Journal:
		return nil, fmt.Errorf("w:0 with journal contradicts itself: nothing is acknowledged")
	default:
		w.W = n
	}
	return w, nil
}

// isRule reports whether a rule of a replica set may have this name. The server
// would take any for one and refuse the first write, so what is most likely a slip
// is refused before: "w=2", "majority;journal", "journal" alone, "Majority".
func isRule(name string) bool {
	if name == "majority" {
		return true
	}
	for _, word := range []string{"majority", "journal", "j", "timeout", "wtimeout"} {
		if strings.EqualFold(name, word) {
			return false
		}
	}
	return !strings.ContainsAny(name, "=;:, \t")
}

// acknowledged reports whether writes are acknowledged.
func (c WriteConcern) acknowledged() bool { return c.W != "0" }
