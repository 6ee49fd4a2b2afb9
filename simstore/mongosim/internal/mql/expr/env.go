package expr

import (
	"math/rand/v2"
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
	Vars        bson.Raw       // the command's let, already evaluated: name and value
	Scope       []string       // variables whose values Eval is given as Vars
	Rand        func() float64 // for $rand and $sample, in [0, 1); nil means the process's generator
}

// With returns a copy of the environment that declares more variables, after
// those it has.
func (e *Env) With(names ...string) *Env {
	c := *e
	c.Scope = append(append([]string(nil), e.Scope...), names...)
	return &c
}

// Supports tells whether the server presents itself as v or newer.
func (e *Env) Supports(v Version) bool { return max(e.Version, V44) >= v }

// Random draws a number in [0, 1).
func (e *Env) Random() float64 {
	if e.Rand != nil {
		return e.Rand()
	}
	return rand.Float64()
}
