package update

import (
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// changes collect what an update did to a document, as the oplog and with it
// change streams report it.
type changes struct {
	updated value.Object
	removed []string
}

func (c *changes) set(path string, v bson.RawValue) { c.updated.Add(path, v) }

func (c *changes) unset(path string) { c.removed = append(c.removed, path) }
