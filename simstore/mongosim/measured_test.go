package mongosim_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim"
)

// A measured is a command of the session that it names, as numbers in a transaction or of a retried write where
// txn is set, and what a MongoDB 4.4 server answered.
type measured struct {
	session string // empty: none
	txn     int64
	start   bool
	plain   bool // txn numbers a retryable write
	command string
	code    int32 // of the failure, or of the first write error
	label   string
}

const transient = "TransientTransactionError"

// TestMeasuredConversations holds what was found by asking a server and this one the same, one command after
// the other.
func TestMeasuredConversations(t *testing.T) {
	t.Parallel()
	const find, abort = `{"find":"c"}`, `{"abortTransaction":1,"$db":"admin"}`
	for name, steps := range map[string][]measured{
		"a transaction sees no younger collection": {
			{command: `{"insert":"c","documents":[{"_id":1}]}`},
			{session: "a", txn: 1, start: true, command: find},
			{command: `{"insert":"young","documents":[{"_id":1}]}`},
			{session: "a", txn: 1, command: find},
			{session: "a", txn: 1, command: `{"find":"young"}`, code: 246, label: transient},
			{session: "a", txn: 1, command: find, code: 251, label: transient},
			{session: "a", txn: 2, start: true, command: `{"insert":"young","documents":[{"_id":2}]}`},
		},
		"a transaction sees no collection whose indexes are younger": {
			{command: `{"insert":"c","documents":[{"_id":1}]}`},
			{command: `{"create":"other"}`},
			{session: "a", txn: 1, start: true, command: find},
			{command: `{"createIndexes":"other","indexes":[{"key":{"a":1},"name":"a_1"}]}`},
			{session: "a", txn: 1, command: `{"insert":"other","documents":[{"_id":2}]}`, code: 246, label: transient},
			{session: "a", txn: 2, start: true, command: find},
			{command: `{"collMod":"other","validator":{}}`},
			{session: "a", txn: 2, command: `{"find":"other"}`},
			{session: "a", txn: 3, start: true, command: find},
			{command: `{"dropIndexes":"other","index":"a_1"}`},
			{session: "a", txn: 3, command: `{"update":"other","updates":[{"q":{},"u":{"$set":{"a":1}}}]}`, code: 246, label: transient},
		},
		"a key that the writer sees is a duplicate": {
			{command: `{"createIndexes":"c","indexes":[{"key":{"k":1},"name":"k_1","unique":true}]}`},
			{command: `{"insert":"c","documents":[{"_id":1,"k":1},{"_id":2,"k":2}]}`},
			{session: "a", txn: 1, start: true, command: find},
			{session: "b", txn: 1, start: true, command: find},
			{command: `{"delete":"c","deletes":[{"q":{"_id":1},"limit":1}]}`},
			{command: `{"update":"c","updates":[{"q":{"_id":2},"u":{"$set":{"k":20}}}]}`},
			{session: "a", txn: 1, command: `{"insert":"c","documents":[{"_id":1,"k":5}]}`, code: 11000},
			{session: "b", txn: 1, command: `{"insert":"c","documents":[{"_id":9,"k":20}]}`, code: 112, label: transient},
			{session: "a", txn: 2, start: true, command: `{"delete":"c","deletes":[{"q":{"k":20},"limit":1}]}`},
			{command: `{"insert":"c","documents":[{"_id":9,"k":20}]}`, code: 11000},
			{session: "a", txn: 2, command: abort},
		},
		"a malformed command begins no transaction and ends none": {
			{session: "a", txn: 1, start: true, command: `{"insert":"c","documents":[]}`, code: 16},
			{session: "a", txn: 1, start: true, command: `{"insert":"c","documents":[{"_id":1}]}`},
			{session: "a", txn: 1, command: `{"update":"c","updates":[{"q":{},"u":5}]}`, code: 9},
			{session: "a", txn: 1, command: `{"aggregate":"c","pipeline":[{"$bogus":1}],"cursor":{}}`, code: 40324},
			{session: "a", txn: 1, command: `{"delete":"c","deletes":5}`, code: 10065},
			{session: "a", txn: 1, command: find},
			{session: "a", txn: 1, command: `{"find":"c","bogus":1}`, code: 9},
			{session: "a", txn: 1, command: find, code: 251, label: transient},
		},
		"what a transaction may not write": {
			{command: `{"create":"k","capped":true,"size":4096}`},
			{session: "a", txn: 1, start: true, command: `{"insert":"k","documents":[{"_id":1}]}`, code: 263},
			{session: "a", txn: 1, command: find, code: 251, label: transient},
			{session: "a", txn: 2, start: true, command: `{"insert":"system.js","documents":[{"_id":1}]}`, code: 50791},
			{session: "a", txn: 3, start: true, command: `{"findAndModify":"system.js","query":{},"remove":true}`, code: 50781},
			{session: "a", txn: 4, start: true, command: `{"create":"v","viewOn":"c","pipeline":[]}`, code: 263},
		},
		"ended and killed sessions": {
			{command: `{"create":"c"}`},
			{session: "a", txn: 1, start: true, command: `{"insert":"c","documents":[{"_id":1}]}`},
			{session: "a", command: `{"endSessions":[]}`},
			{session: "a", txn: 1, command: find},
			{session: "a", txn: 1, command: `{"killSessions":[]}`},
			{session: "a", txn: 1, command: find, code: 251, label: transient},
		},
		"a findAndModify sent again": {
			{command: `{"insert":"c","documents":[{"_id":1},{"_id":2}]}`},
			{session: "a", txn: 1, plain: true, command: `{"findAndModify":"c","query":{"_id":1},"update":{"$inc":{"n":1}}}`},
			{session: "a", txn: 1, plain: true, command: `{"findAndModify":"c","query":{"_id":1},"update":{"$inc":{"n":1}}}`},
			{session: "a", txn: 1, plain: true, command: `{"findAndModify":"c","query":{"_id":1},"update":{"$inc":{"n":1}},"new":true}`, code: 40611},
			{session: "a", txn: 2, plain: true, command: `{"update":"c","updates":[{"q":{"_id":1},"u":{"$inc":{"n":1}}}]}`},
			{session: "a", txn: 2, plain: true, command: `{"findAndModify":"c","query":{"_id":1},"update":{"$inc":{"n":1}}}`, code: 40612},
			{session: "a", txn: 3, plain: true, command: `{"findAndModify":"c","query":{"_id":2},"remove":true}`},
			{session: "a", txn: 3, plain: true, command: `{"findAndModify":"c","query":{"_id":2},"update":{"$inc":{"n":1}}}`, code: 40606},
			{session: "a", txn: 4, plain: true, command: `{"insert":"c","documents":[{"_id":4}]}`},
			{session: "a", txn: 4, plain: true, command: `{"findAndModify":"c","query":{"_id":4},"remove":true}`, code: 40608},
		},
		"generic arguments": {
			{command: `{"create":"c"}`},
			{command: `{"ping":1,"$readPreference":{"mode":"nobody"}}`, code: 2},
			{command: `{"ping":1,"$readPreference":5}`, code: 14},
			{command: `{"find":"c","$clusterTime":5}`, code: 10065},
			{command: `{"find":"c","apiVersion":"1"}`, code: 9},
			{command: `{"find":"c","collation":{"strength":1}}`, code: 4},
			{command: `{"find":"c","lsid":{"id":{"$binary":{"base64":"MDEyMzQ1Njc4OWFiY2RlYQ==","subType":"04"}},"x":1}}`, code: 40415},
			{session: "a", command: `{"insert":"c","documents":[{"_id":1}],"txnNumber":1}`, code: 14},
			{command: `{"getMore":{"$numberLong":"5"},"collection":"c","batchSize":0}`, code: 2},
			{command: `{"update":"c","updates":[{"q":{"$expr":true},"u":{"$set":{"a":1}},"upsert":true}]}`, code: 224},
			{command: `{"insert":"c","documents":[{"_id":{"a":{"$b":1}}}]}`, code: 52},
			{command: `{"create":"c","$db":"TEST"}`, code: 13297},
			{command: `{"insert":"c","documents":[{"_id":1}],"$db":"a$b"}`, code: 17320},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			raw := dialRaw(t, mongosim.Start(t))
			sessions := map[string]bson.Raw{}
			for i, s := range steps {
				reply := raw.run(s.request(t, raw, sessions))
				assert.Equal(t, s.code, failureOf(reply), "step %d: %s: %s", i+1, s.command, reply)
				if s.label != "" {
					assert.Contains(t, reply.Lookup("errorLabels").String(), s.label, "step %d: %s", i+1, s.command)
				}
			}
		})
	}
}

func (s measured) request(t *testing.T, raw *rawClient, sessions map[string]bson.Raw) bson.D {
	var cmd bson.D
	require.NoError(t, bson.UnmarshalExtJSON([]byte(s.command), true, &cmd))
	if s.session != "" {
		if sessions[s.session] == nil {
			sessions[s.session] = raw.run(bson.D{{Key: "startSession", Value: 1}, {Key: "$db", Value: "test"}}).Lookup("id").Document()
		}
		cmd = append(cmd, bson.E{Key: "lsid", Value: sessions[s.session]})
	}
	if s.txn != 0 {
		cmd = append(cmd, bson.E{Key: "txnNumber", Value: s.txn})
		if !s.plain {
			cmd = append(cmd, bson.E{Key: "autocommit", Value: false})
		}
	}
	if s.start {
		cmd = append(cmd, bson.E{Key: "startTransaction", Value: true})
	}
	for i := range cmd {
		if list, ok := cmd[i].Value.(bson.A); ok && cmd[i].Key == "endSessions" {
			cmd[i].Value = append(list, sessions[s.session])
		}
		if cmd[i].Key == "$db" {
			return cmd
		}
	}
	return append(cmd, bson.E{Key: "$db", Value: "test"})
}

// failureOf is the code with which a command, or its first operation that failed, was refused; 0 if none was.
func failureOf(reply bson.Raw) int32 {
	if !succeeded(reply) {
		return reply.Lookup("code").Int32()
	}
	if code, ok := reply.Lookup("writeErrors", "0", "code").Int32OK(); ok {
		return code
	}
	return 0
}

// TestUnacknowledgedWritesTellNothing: only that the command has arrived.
func TestUnacknowledgedWritesTellNothing(t *testing.T) {
	t.Parallel()
	raw := dialRaw(t, mongosim.Start(t))
	unacknowledged := bson.E{Key: "writeConcern", Value: bson.D{{Key: "w", Value: 0}}}
	for range 2 { // the second insert is refused
		reply := raw.run(bson.D{{Key: "insert", Value: "c"}, {Key: "documents", Value: bson.A{id(1)}}, unacknowledged, {Key: "$db", Value: "test"}})
		assert.True(t, succeeded(reply))
		for _, absent := range []string{"n", "writeErrors", "opTime"} {
			assert.True(t, reply.Lookup(absent).IsZero(), "%s: %s", absent, reply)
		}
	}
	assert.Equal(t, int32(1), raw.run(bson.D{{Key: "count", Value: "c"}, {Key: "$db", Value: "test"}}).Lookup("n").Int32())
}
