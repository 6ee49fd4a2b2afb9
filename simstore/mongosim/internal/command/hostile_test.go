package command

import (
	"context"
	"log/slog"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.uber.org/goleak"

	"github.com/annals-es/annals/simstore/mongosim/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// sensible are commands as clients send them, on a collection c of a database d.
var sensible = []string{
	`{"hello":1,"client":{"application":{"name":"x"}},"compression":["zstd"],"helloOk":true,"saslSupportedMechs":"admin.u"}`,
	`{"hello":1,"topologyVersion":{"processId":{"$oid":"6b03b2646397262be6ab2ba8"},"counter":{"$numberLong":"6"}},"maxAwaitTimeMS":{"$numberLong":"1"}}`,
	`{"saslStart":1,"mechanism":"SCRAM-SHA-256","payload":{"$binary":{"base64":"bixhPQ==","subType":"00"}},"options":{"skipEmptyExchange":true}}`,
	`{"saslContinue":1,"conversationId":1,"payload":{"$binary":{"base64":"bixhPQ==","subType":"00"}}}`,
	`{"ping":1,"lsid":{"id":{"$binary":{"base64":"MDEyMzQ1Njc4OWFiY2RlYQ==","subType":"04"}}},"$clusterTime":{"clusterTime":{"$timestamp":{"t":1,"i":1}}},"$readPreference":{"mode":"primary"}}`,
	`{"getParameter":1,"featureCompatibilityVersion":1}`,
	`{"setParameter":1,"logLevel":1}`,
	`{"configureFailPoint":"failCommand","mode":{"times":1},"data":{"failCommands":["nothing"],"errorCode":1,"errorLabels":["x"],"blockConnection":true,"blockTimeMS":1,"writeConcernError":{"code":1},"appName":"x","namespace":"d.c"}}`,
	`{"listDatabases":1,"filter":{"name":"d"},"nameOnly":true}`,
	`{"listCollections":1,"filter":{"name":"c"},"nameOnly":true,"cursor":{"batchSize":1}}`,
	`{"create":"n","capped":true,"size":4096,"max":5,"validator":{"a":{"$gt":1}},"validationLevel":"strict","validationAction":"error","recordPreImages":true,"storageEngine":{}}`,
	`{"drop":"n"}`,
	`{"renameCollection":"d.n","to":"d.m","dropTarget":true}`,
	`{"collMod":"c","validator":{"a":1},"validationLevel":"off","index":{"keyPattern":{"a":1},"expireAfterSeconds":5,"hidden":true}}`,
	`{"collStats":"c","scale":2}`,
	`{"dbStats":1,"scale":2}`,
	`{"dataSize":"d.c"}`,
	`{"validate":"c"}`,
	`{"createIndexes":"c","indexes":[{"key":{"z":1,"y":-1},"name":"z","unique":true,"sparse":true,"expireAfterSeconds":9,"partialFilterExpression":{"z":{"$gt":1}},"hidden":true,"background":true}]}`,
	`{"listIndexes":"c","cursor":{"batchSize":1}}`,
	`{"dropIndexes":"c","index":"z"}`,
	`{"find":"c","filter":{"a":{"$gt":1},"$or":[{"b":1},{"c":{"$in":[1,2]}}]},"sort":{"a":1,"b":-1},"projection":{"a":1,"b":{"$slice":1}},"hint":{"a":1},"skip":1,"limit":2,"batchSize":1,"singleBatch":false,"maxTimeMS":50,"collation":{"locale":"simple"},"allowDiskUse":true,"let":{"x":1},"readConcern":{"level":"majority","afterClusterTime":{"$timestamp":{"t":1,"i":1}}}}`,
	`{"find":"c","min":{"a":1},"max":{"a":5},"hint":{"a":1}}`,
	`{"find":"capped","tailable":true,"awaitData":true}`,
	`{"getMore":{"$numberLong":"7"},"collection":"c","batchSize":1,"maxTimeMS":1}`,
	`{"killCursors":"c","cursors":[{"$numberLong":"7"}]}`,
	`{"aggregate":"c","pipeline":[{"$match":{"a":1}},{"$group":{"_id":"$b","n":{"$sum":1}}},{"$sort":{"n":1}},{"$limit":5}],"cursor":{"batchSize":2},"hint":{"a":1},"explain":false,"let":{"x":1},"allowDiskUse":true,"bypassDocumentValidation":true}`,
	`{"aggregate":"c","pipeline":[{"$lookup":{"from":"c","localField":"a","foreignField":"b","as":"x"}},{"$merge":{"into":"out","on":"_id","whenMatched":"merge","whenNotMatched":"insert"}}],"cursor":{}}`,
	`{"aggregate":"c","pipeline":[{"$changeStream":{"fullDocument":"updateLookup","startAtOperationTime":{"$timestamp":{"t":1,"i":1}},"resumeAfter":{"_data":"82"}}},{"$match":{"operationType":"insert"}}],"cursor":{"batchSize":1}}`,
	`{"aggregate":1,"pipeline":[{"$changeStream":{}}],"cursor":{}}`,
	`{"count":"c","query":{"a":1},"limit":2,"skip":1,"hint":{"a":1}}`,
	`{"distinct":"c","key":"a.b","query":{"a":1}}`,
	`{"explain":{"find":"c","filter":{"a":1}},"verbosity":"executionStats"}`,
	`{"explain":{"update":"c","updates":[{"q":{"a":1},"u":{"$set":{"b":1}}}]},"verbosity":"queryPlanner"}`,
	`{"insert":"c","documents":[{"_id":1,"a":1}],"ordered":true,"bypassDocumentValidation":true,"writeConcern":{"w":"majority","j":true,"wtimeout":5},"lsid":{"id":{"$binary":{"base64":"MDEyMzQ1Njc4OWFiY2RlYQ==","subType":"04"}}},"txnNumber":{"$numberLong":"1"},"stmtId":1}`,
	`{"insert":"c","documents":[{"a":1}],"lsid":{"id":{"$binary":{"base64":"MDEyMzQ1Njc4OWFiY2RlYg==","subType":"04"}}},"txnNumber":{"$numberLong":"1"},"autocommit":false,"startTransaction":true,"readConcern":{"level":"snapshot"}}`,
	`{"update":"c","updates":[{"q":{"a":1},"u":{"$set":{"b.$[e].c":1}},"multi":true,"upsert":true,"arrayFilters":[{"e":1}],"hint":{"a":1},"collation":{"locale":"simple"}}],"let":{"x":1},"ordered":false}`,
	`{"update":"c","updates":[{"q":{"a":1},"u":[{"$set":{"b":"$$v"}}],"c":{"v":1},"upsert":true,"upsertSupplied":true}]}`,
	`{"delete":"c","deletes":[{"q":{"a":1},"limit":1,"hint":{"a":1}}],"let":{"x":1}}`,
	`{"findAndModify":"c","query":{"a":1},"sort":{"a":1},"update":{"$inc":{"a":1}},"new":true,"fields":{"a":1},"upsert":true,"arrayFilters":[{"e":1}],"hint":{"a":1}}`,
	`{"findAndModify":"c","query":{"a":1},"remove":true}`,
	`{"bulkWrite":1,"ops":[{"insert":0,"document":{"a":1}},{"update":0,"filter":{"a":1},"updateMods":{"$set":{"b":1}},"multi":false,"upsert":true,"constants":{"x":1}},{"delete":0,"filter":{"a":1},"multi":false}],"nsInfo":[{"ns":"d.c"}],"ordered":true,"errorsOnly":false,"cursor":{"batchSize":1},"let":{"x":1}}`,
	`{"startSession":1}`,
	`{"endSessions":[{"id":{"$binary":{"base64":"MDEyMzQ1Njc4OWFiY2RlYw==","subType":"04"}}}]}`,
	`{"killAllSessions":[]}`,
	`{"commitTransaction":1,"lsid":{"id":{"$binary":{"base64":"MDEyMzQ1Njc4OWFiY2RlYg==","subType":"04"}}},"txnNumber":{"$numberLong":"1"},"autocommit":false}`,
	`{"replSetGetStatus":1}`, `{"replSetGetConfig":1}`, `{"serverStatus":1}`, `{"hostInfo":1}`, `{"buildInfo":1}`, `{"connectionStatus":1}`,
	`{"replSetStepDown":1,"force":true,"secondaryCatchUpPeriodSecs":0}`,
}

// hostile are values to put where others belong.
func hostile() []any {
	return []any{
		nil, true, int32(-1), int32(0), int64(math.MinInt64), math.NaN(), math.Inf(1), 1e300, 0.5, "", "$", "a.b", "\x00", strings.Repeat("x", 300),
		bson.D{},
		bson.D{{Key: "$gt", Value: 1}},
		bson.D{{Key: "", Value: bson.D{}}},
		bson.D{{Key: "$natural", Value: 1}},
		bson.A{},
		bson.A{nil},
		bson.A{bson.A{}},
		bson.A{bson.D{}},
		bson.Timestamp{},
		bson.Timestamp{T: math.MaxUint32, I: 1},
		bson.Binary{},
		bson.Binary{Subtype: 4, Data: []byte{1}},
		bson.Regex{Pattern: "("},
		bson.MinKey{},
		bson.MaxKey{},
		bson.Undefined{},
		bson.NewObjectID(), bson.NewDecimal128(math.MaxUint64, math.MaxUint64), bson.DateTime(math.MaxInt64), bson.JavaScript("x"), bson.Symbol("x"),
	}
}

// variants calls f with d and with every d that has one value replaced or left out.
func variants(d bson.D, f func(bson.D)) {
	f(d)
	for i := range d {
		with := func(v any) bson.D {
			c := append(bson.D{}, d...)
			c[i].Value = v
			return c
		}
		for _, v := range hostile() {
			f(with(v))
		}
		if i > 0 {
			f(append(append(bson.D{}, d[:i]...), d[i+1:]...))
		}
		switch v := d[i].Value.(type) {
		case bson.D:
			variants(v, func(inner bson.D) { f(with(inner)) })
		case bson.A:
			for j := range v {
				element := func(x any) bson.D {
					a := append(bson.A{}, v...)
					a[j] = x
					return with(a)
				}
				if inner, ok := v[j].(bson.D); ok {
					variants(inner, func(inner bson.D) { f(element(inner)) })
				}
				for _, x := range hostile() {
					f(element(x))
				}
			}
		}
	}
}

// TestHostileValues puts wrong values into every place of every command: each is answered, and none
// makes the node panic.
func TestHostileValues(t *testing.T) {
	t.Parallel()
	for _, text := range sensible {
		var cmd bson.D
		require.NoError(t, bson.UnmarshalExtJSON([]byte(text), false, &cmd), text)
		t.Run(cmd[0].Key, func(t *testing.T) {
			t.Parallel()
			e, err := New(Config{Version: "8.0", Seed: 1, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
			require.NoError(t, err)
			defer e.Close()
			c := e.Connect("test", "test:1")
			send := func(cmd bson.D, patience time.Duration) bson.Raw {
				ctx, cancel := context.WithTimeout(context.Background(), patience)
				defer cancel()
				db := "d"
				if known := e.commands[cmd[0].Key]; known != nil && known.admin {
					db = "admin"
				}
				body, err := bson.Marshal(append(append(bson.D{}, cmd...), bson.E{Key: "$db", Value: db}))
				require.NoError(t, err)
				if wire.ValidateDocument(body) != nil {
					return nil
				}
				resp := e.Handle(ctx, c, &wire.Request{Op: wire.OpMsg, Body: body})
				require.NotNil(t, resp.Doc, "%v", cmd)
				return resp.Doc
			}
			for _, setup := range []string{
				`{"create":"capped","capped":true,"size":4096}`,
				`{"createIndexes":"c","indexes":[{"key":{"a":1},"name":"a"}]}`,
				`{"insert":"c","documents":[{"_id":0,"a":1,"b":[1,{"c":2}]},{"_id":"x","a":{"b":1}}]}`,
			} {
				var d bson.D
				require.NoError(t, bson.UnmarshalExtJSON([]byte(setup), false, &d))
				require.Greater(t, send(d, time.Minute).Lookup("ok").Double(), 0.0, setup)
			}
			variants(cmd, func(v bson.D) {
				reply := send(v, 200*time.Millisecond)
				if reply == nil {
					return
				}
				require.NoError(t, reply.Validate())
				if msg, ok := reply.Lookup("errmsg").StringValueOK(); ok && strings.Contains(msg, "panicked") {
					t.Errorf("%v\n%s", v, msg)
				}
			})
			// and it still works
			require.NotNil(t, send(bson.D{{Key: "ping", Value: 1}}, time.Minute))
		})
	}
}
