package readmodel

import (
	"time"

	"github.com/annals-es/annals/eventstore"
)

// A Config says how a [Backend] works. The zero value works but for Database.
type Config struct {
	// Database is the name of the database. Required. It may be the event
	// store's, and must be for inline projections.
	Database string
	// Prefix precedes the names of all collections; none by default. It may be
	// the event store's.
	Prefix string
	// Codec encodes the values of a [projection.Patch]; the default is
	// [eventstore.NewBSONCodec]. Its format is BSON.
	Codec eventstore.Codec
	// Timeout bounds each operation, with all its attempts, whatever time its
	// caller has; 30 s by default. After it a commit's outcome is reported as
	// unknown, or as not written where that is certain.
	Timeout time.Duration
}

func (c Config) withDefaults() (Config, error) {
	invalid := func(field, reason string) (Config, error) {
		return c, &eventstore.InvalidError{What: "readmodel.Config." + field, Reason: reason}
	}
	if c.Codec == nil {
		c.Codec = eventstore.NewBSONCodec()
	}
	if c.Timeout == 0 {
		c.Timeout = 30 * time.Second
	}
	switch {
	case c.Database == "":
		return invalid("Database", "is empty; name the database to keep the read models in")
	case c.Codec.Format() != eventstore.BSON:
		return invalid("Codec", "does not encode to BSON")
	case c.Timeout < 0:
		return invalid("Timeout", "is negative; 0 stands for 30 s")
	}
	return c, nil
}
