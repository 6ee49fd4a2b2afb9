package command

import (
	"context"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/wire"
)

// A command is what the node knows of a command before it runs it.
type command struct {
	name    string
	aliases []string
	run     func(ctx context.Context, r *request, out *reply) error

	// parse, if set, checks the command's form before its session is taken: a command that it refuses does
	// not begin or abort a transaction.
	parse func(r *request) error

	// fields are the fields the command takes besides the generic ones and its own
	// name; nil leaves them unchecked. unknown words the refusal of others.
	fields  []string
	unknown func(r *request, field string) error
	// lateFields looks for other fields only once a transaction has been entered.
	lateFields bool

	admin           bool      // only on the admin database
	noAuth          bool      // allowed before authentication, and outside sessions
	secondary       secondary // whether a secondary runs it
	inTransaction   bool      // may be part of a transaction
	endsTransaction bool      // commit or abort
	batch           bool      // takes a batch of writes
	retryable       bool      // may have a transaction number of its own
	skipCheckout    bool      // runs without its session
	writeConcern    bool
	readConcern     readLevels
	ownTimeLimit    bool // maxTimeMS is the command's own business
	since           [2]int

	// exhaust tells how to go on when the client allows replies without requests;
	// it returns nil at the end.
	exhaust func(r *request, reply bson.Raw) *wire.Request
}

type secondary int

const (
	never  secondary = iota // only a primary runs it
	optIn                   // a secondary does when the read preference allows it
	always                  // every member does
)

type readLevels int

const (
	noReadConcern readLevels = iota
	allReadConcerns
)

// allowsLevel tells whether the command takes a read concern level other than local.
func (c *command) allowsLevel(level string) bool {
	return c.readConcern == allReadConcerns && (level != levelSnapshot || c.inTransaction)
}

// called tells whether name is the command's or an alias.
func (c *command) called(name string) bool {
	return c.name == name || slices.Contains(c.aliases, name)
}

// index maps the names of the commands that the presented version has.
func (e *Engine) index(table []command) map[string]*command {
	m := make(map[string]*command, 2*len(table))
	for i := range table {
		c := &table[i]
		if !e.version.atLeast(c.since[0], c.since[1]) {
			continue
		}
		m[c.name] = c
		for _, a := range c.aliases {
			m[a] = c
		}
	}
	return m
}

// table lists every command. To add one, add an entry here and its function to the
// file of its family.
func table() []command {
	return []command{
		// the connection and the set
		{name: "hello", run: hello, noAuth: true, secondary: always, ownTimeLimit: true, exhaust: nextHello},
		{name: "isMaster", aliases: []string{"ismaster"}, run: isMaster, noAuth: true, secondary: always, ownTimeLimit: true, exhaust: nextHello},
		{name: "replSetGetStatus", run: replSetGetStatus, admin: true, secondary: always},
		{name: "replSetGetConfig", run: replSetGetConfig, admin: true, secondary: always},
		{name: "replSetStepDown", run: replSetStepDown, admin: true, secondary: always, skipCheckout: true},
		{name: "replSetStepUp", run: replSetStepUp, admin: true, secondary: always, skipCheckout: true},
		{name: "saslStart", run: saslStart, noAuth: true, secondary: always},
		{name: "saslContinue", run: saslContinue, noAuth: true, secondary: always},
		{name: "logout", run: logout, noAuth: true, secondary: always},

		// what clients and tools ask about the node
		{name: "ping", run: ping, noAuth: true, secondary: always},
		{name: "buildInfo", aliases: []string{"buildinfo"}, run: buildInfo, noAuth: true, secondary: always},
		{name: "serverStatus", run: serverStatus, secondary: always},
		{name: "hostInfo", run: hostInfo, secondary: always},
		{name: "whatsmyuri", run: whatsMyURI, noAuth: true, secondary: always},
		{name: "connectionStatus", run: connectionStatus, noAuth: true, secondary: always},
		{name: "getParameter", run: getParameter, admin: true, secondary: always},
		{name: "setParameter", run: setParameter, admin: true, secondary: always},
		{name: "getCmdLineOpts", run: getCmdLineOpts, admin: true, secondary: always},
		{name: "configureFailPoint", run: configureFailPoint, admin: true, noAuth: true, secondary: always},

		// databases and collections
		{name: "listDatabases", run: listDatabases, admin: true, secondary: optIn, fields: listDatabasesFields, unknown: unknownField},
		{name: "dropDatabase", run: dropDatabase, writeConcern: true},
		{name: "listCollections", run: listCollections, secondary: optIn},
		{name: "create", run: create, inTransaction: true, writeConcern: true, fields: createFields, unknown: unknownField},
		{name: "drop", run: drop, writeConcern: true},
		{name: "renameCollection", run: renameCollection, admin: true, writeConcern: true},
		{name: "collMod", run: collMod, writeConcern: true},
		{name: "collStats", aliases: []string{"collstats"}, run: collStats, secondary: optIn},
		{name: "dataSize", aliases: []string{"datasize"}, run: dataSize, secondary: optIn},
		{name: "dbStats", aliases: []string{"dbstats"}, run: dbStats, secondary: optIn},
		{name: "validate", run: validate, secondary: optIn},
		{name: "createIndexes", run: createIndexes, inTransaction: true, writeConcern: true},
		{name: "listIndexes", run: listIndexes, secondary: optIn},
		{name: "dropIndexes", aliases: []string{"deleteIndexes"}, run: dropIndexes, writeConcern: true},

		// reading
		{name: "find", run: find, lateFields: true, inTransaction: true, secondary: optIn, readConcern: allReadConcerns, fields: findFields, unknown: unrecognizedField},
		{name: "getMore", run: getMore, inTransaction: true, secondary: always, ownTimeLimit: true, fields: getMoreFields, unknown: unrecognizedField, exhaust: nextGetMore},
		{name: "killCursors", run: killCursors, inTransaction: true, secondary: always},
		{name: "aggregate", run: aggregate, parse: parseStages, inTransaction: true, secondary: optIn, writeConcern: true, readConcern: allReadConcerns, fields: aggregateFields, unknown: unrecognizedOption},
		{name: "count", run: count, secondary: optIn, readConcern: allReadConcerns, fields: countFields, unknown: unknownField},
		{name: "distinct", run: distinct, inTransaction: true, secondary: optIn, readConcern: allReadConcerns, fields: distinctFields, unknown: unknownField},
		{name: "explain", run: explain, secondary: optIn},

		// writing
		{name: "insert", run: insert, parse: parseInsert, batch: true, inTransaction: true, retryable: true, writeConcern: true, fields: insertFields, unknown: unknownField},
		{name: "update", run: update, parse: parseUpdates, batch: true, inTransaction: true, retryable: true, writeConcern: true, fields: updateFields, unknown: unknownField},
		{name: "delete", run: deleteCommand, parse: parseDeletes, batch: true, inTransaction: true, retryable: true, writeConcern: true, fields: deleteFields, unknown: unknownField},
		{name: "findAndModify", aliases: []string{"findandmodify"}, run: findAndModify, lateFields: true, inTransaction: true, retryable: true, writeConcern: true, fields: findAndModifyFields, unknown: unknownPlain},
		{name: "bulkWrite", run: bulkWrite, batch: true, admin: true, inTransaction: true, retryable: true, writeConcern: true, fields: bulkWriteFields, unknown: unknownField, since: [2]int{8, 0}},

		// sessions
		{name: "startSession", run: startSession, secondary: always},
		{name: "endSessions", run: endSessions, secondary: always},
		{name: "killSessions", run: killSessions, secondary: always, skipCheckout: true},
		{name: "killAllSessions", run: killAllSessions, secondary: always, skipCheckout: true},
		{name: "refreshSessions", run: refreshSessions, secondary: always},
		{name: "commitTransaction", run: commitTransaction, admin: true, inTransaction: true, endsTransaction: true, writeConcern: true},
		{name: "abortTransaction", run: abortTransaction, admin: true, inTransaction: true, endsTransaction: true, writeConcern: true},
	}
}
