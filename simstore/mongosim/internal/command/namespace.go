package command

import (
	"strings"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

const maxDatabaseName = 63

// checkDatabase refuses names that no database can have.
func checkDatabase(db string) error {
	switch {
	case strings.Contains(db, "."):
		return mongoerr.New(mongoerr.InvalidNamespace, "'.' is an invalid character in a database name")
	case db == "", len(db) > maxDatabaseName, strings.ContainsAny(db, "\x00/\\ \""):
		return mongoerr.New(mongoerr.InvalidNamespace, "Invalid database name: '%s'", db)
	}
	return nil
}

// checkNamespace refuses names that no collection can have.
func checkNamespace(ns storage.Namespace) error {
	if !validCollection(ns.Coll) {
		return mongoerr.New(mongoerr.InvalidNamespace, "Invalid namespace specified '%s'", ns)
	}
	return nil
}

func validCollection(name string) bool {
	return name != "" && name[0] != '.' && !strings.ContainsAny(name, "\x00$")
}

// checkCreatable refuses names under which clients may not make collections.
func checkCreatable(ns storage.Namespace) error {
	invalid := func(format string, args ...any) error {
		return mongoerr.New(mongoerr.InvalidNamespace, format, args...)
	}
	switch {
	case ns.Coll == "":
		return invalid("collection cannot be blank")
	case !validCollection(ns.Coll):
		return invalid("invalid collection name")
	case strings.Contains(ns.DB, "$"):
		return mongoerr.New(17320, "cannot do createCollection on namespace with a $ in it: %s", ns)
	case ns.DB == "system":
		return invalid("cannot use 'system' database")
	case strings.HasPrefix(ns.Coll, "system."):
		switch ns.Coll {
		case "system.js", "system.profile", "system.users", "system.views":
			return nil
		}
		return invalid("cannot write to '%s'", ns)
	}
	return nil
}
