// Package expr parses and evaluates the expressions of the aggregation
// language: $add and its like, field paths, variables, and the accumulators
// of $group.
//
// An operator is a line in one of the tables (see operators) and a function;
// nothing else knows it.
package expr

import (
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// A Version is a server's release, major times 100 plus minor: 404 is 4.4.
type Version int

// Releases that brought operators.
const (
	V44 Version = 404
	V50 Version = 500
	V52 Version = 502
	V60 Version = 600
	V70 Version = 700
	V80 Version = 800
)

// An Env is what a command's expressions see besides their document. It is
// read only once parsing has begun and may be shared by goroutines.
type Env struct {
	Version     Version        // what the server presents itself as; 0 means V44
	Now         time.Time      // $$NOW; zero means the time of parsing
	ClusterTime bson.RawValue  // $$CLUSTER_TIME, a timestamp; missing if the server has none
	Vars        bson.Raw       // the command's let, already evaluated
	Rand        func() float64 // for $rand and $sample; nil means a generator of its own
}
