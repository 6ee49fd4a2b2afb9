package metrics

import (
	"maps"
	"sync"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/x/bsonx/bsoncore"
)

// names bounds the values of labels.
type names struct {
	limit int

	known atomic.Pointer[map[string]string] // replaced when a collection is added
	mu    sync.Mutex
}

func newNames(cfg Config) *names {
	n := &names{limit: cfg.MaxCollections}
	known := map[string]string{"": ""}
	for _, c := range cfg.Collections {
		known[c] = c
	}
	n.known.Store(&known)
	return n
}

// collection returns the label of a collection.
func (n *names) collection(name []byte) string {
	if label, ok := (*n.known.Load())[string(name)]; ok {
		return label
	}
	return n.add(string(name))
}

func (n *names) add(name string) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := *n.known.Load()
	if label, ok := old[name]; ok {
		return label
	}
	if len(old) > n.limit { // the empty name is one of them
		return "other"
	}
	known := make(map[string]string, len(old)+1)
	maps.Copy(known, old)
	known[name] = name
	n.known.Store(&known)
	return name
}

// operation names what a command does, in the words of the driver's methods where
// these tell more than the command.
func operation(name string, command bson.Raw) string {
	switch name {
	case "find":
		if v, ok := command.Lookup("singleBatch").BooleanOK(); ok && v {
			return "find_one"
		}
		return "find"
	case "insert":
		return oneOrMany("insert_one", "insert_many", command, "documents")
	case "update":
		if multi, _ := command.Lookup("updates", "0", "multi").BooleanOK(); multi {
			return "update_many"
		}
		return oneOrMany("update_one", "update_many", command, "updates")
	case "delete":
		if limit, _ := command.Lookup("deletes", "0", "limit").AsInt64OK(); limit == 0 {
			return "delete_many"
		}
		return oneOrMany("delete_one", "delete_many", command, "deletes")
	case "findAndModify":
		return "find_and_modify"
	case "getMore":
		return "get_more"
	case "commitTransaction":
		return "commit_transaction"
	case "abortTransaction":
		return "abort_transaction"
	case "createIndexes":
		return "create_indexes"
	case "bulkWrite":
		return "bulk_write"
	case "aggregate", "count", "distinct":
		return name
	case "hello", "isMaster", "ping", "endSessions", "killCursors", "saslStart", "saslContinue":
		return "internal"
	}
	return "other"
}

// oneOrMany returns the first of two names for a write of one document, the second
// for several.
func oneOrMany(one, many string, command bson.Raw, list string) string {
	op := one
	eachField(command, func(name []byte, v bsoncore.Value) bool {
		if string(name) != list {
			return true
		}
		if first, after, ok := bsoncore.ReadElement(arrayOf(v)); ok && len(first) > 0 && len(after) > 1 { // the array's end
			op = many
		}
		return false
	})
	return op
}

// arrayOf returns the elements of an array with the byte that ends it, none of
// another value.
func arrayOf(v bsoncore.Value) []byte {
	if v.Type != bsoncore.TypeArray || len(v.Data) < 5 {
		return nil
	}
	return v.Data[4:]
}

// target returns the name of the collection that a command is about.
func target(name string, command bson.Raw) []byte {
	field := name
	if name == "getMore" {
		field = "collection"
	}
	v := command.Lookup(field)
	if v.Type != bson.TypeString || len(v.Value) < 5 {
		return nil
	}
	return v.Value[4 : len(v.Value)-1]
}
