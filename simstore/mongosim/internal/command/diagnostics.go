package command

import (
	"context"
	"os"
	"runtime"
	"sync/atomic"

	"go.mongodb.org/mongo-driver/v2/bson"
)

// counters are what serverStatus counts.
type counters struct{ insert, query, update, delete, getMore, command atomic.Int64 }

func (c *counters) count(cmd *command) {
	switch cmd.name {
	case "insert":
		c.insert.Add(1)
	case "find":
		c.query.Add(1)
	case "update":
		c.update.Add(1)
	case "delete":
		c.delete.Add(1)
	case "getMore":
		c.getMore.Add(1)
	default:
		c.command.Add(1)
	}
}

func ping(context.Context, *request, *reply) error { return nil }

func buildInfo(_ context.Context, r *request, out *reply) error {
	v := r.e.version
	out.string("version", v.String())
	out.string("gitVersion", "mongosim")
	out.strings("modules", nil)
	out.string("allocator", "system")
	out.string("javascriptEngine", "none")
	out.string("sysInfo", "deprecated")
	at := out.beginArray("versionArray")
	for i, n := range []int{v.major, v.minor, v.patch, 0} {
		out.int32(string(rune('0'+i)), int32(n))
	}
	out.end(at)
	at = out.begin("openssl")
	out.string("running", "disabled")
	out.string("compiled", "disabled")
	out.end(at)
	at = out.begin("buildEnvironment")
	out.string("distmod", "")
	out.string("distarch", architecture())
	out.string("target_arch", architecture())
	out.string("target_os", runtime.GOOS)
	out.end(at)
	out.int32("bits", 64)
	out.bool("debug", false)
	out.int32("maxBsonObjectSize", maxDocumentSize)
	out.strings("storageEngines", []string{"mongosim"})
	return nil
}

func architecture() string {
	if runtime.GOARCH == "amd64" {
		return "x86_64"
	}
	return runtime.GOARCH
}

// serverStatus reports what clients and exporters read.
func serverStatus(_ context.Context, r *request, out *reply) error {
	e := r.e
	up := r.now.Sub(e.started)
	out.string("host", r.conn.Host)
	out.string("version", e.version.String())
	out.string("process", "mongod")
	out.int64("pid", int64(os.Getpid()))
	out.double("uptime", up.Seconds())
	out.int64("uptimeMillis", up.Milliseconds())
	out.int64("uptimeEstimate", int64(up.Seconds()))
	out.date("localTime", r.now.UnixMilli())
	at := out.begin("connections")
	open := int32(e.connOpen.Load())
	out.int32("current", open)
	out.int32("available", 1<<20-open)
	out.int32("totalCreated", int32(e.connIDs.Load()))
	out.int32("active", open)
	out.end(at)
	at = out.begin("logicalSessionRecordCache")
	out.int32("activeSessionsCount", int32(e.sessions.Len()))
	out.end(at)
	at = out.begin("opcounters")
	out.int64("insert", e.counters.insert.Load())
	out.int64("query", e.counters.query.Load())
	out.int64("update", e.counters.update.Load())
	out.int64("delete", e.counters.delete.Load())
	out.int64("getmore", e.counters.getMore.Load())
	out.int64("command", e.counters.command.Load())
	out.end(at)
	at = out.begin("repl")
	state := e.topology.state()
	e.describeMember(out, state, true, r.conn.Host)
	out.end(at)
	at = out.begin("storageEngine")
	out.string("name", "mongosim")
	out.bool("supportsCommittedReads", true)
	out.bool("supportsSnapshotReadConcern", true)
	out.bool("readOnly", false)
	out.bool("persistent", false)
	out.end(at)
	at = out.begin("transactions")
	out.int64("currentOpen", int64(e.sessions.Open()))
	out.end(at)
	at = out.begin("metrics")
	cursor := out.begin("cursor")
	openCursors := out.begin("open")
	out.int64("total", int64(e.cursors.len()))
	out.end(openCursors)
	out.end(cursor)
	out.end(at)
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	at = out.begin("mem")
	out.int32("bits", 64)
	out.int32("resident", int32(mem.Sys>>20))
	out.int32("virtual", int32(mem.Sys>>20))
	out.bool("supported", true)
	out.end(at)
	return nil
}

func hostInfo(_ context.Context, r *request, out *reply) error {
	at := out.begin("system")
	out.date("currentTime", r.now.UnixMilli())
	out.string("hostname", r.conn.Host)
	out.int32("cpuAddrSize", 64)
	out.int32("numCores", int32(runtime.NumCPU()))
	out.string("cpuArch", architecture())
	out.bool("numaEnabled", false)
	out.end(at)
	at = out.begin("os")
	out.string("type", runtime.GOOS)
	out.string("name", "mongosim")
	out.string("version", "")
	out.end(at)
	at = out.begin("extra")
	out.end(at)
	return nil
}

func whatsMyURI(_ context.Context, r *request, out *reply) error {
	out.string("you", r.conn.Remote)
	return nil
}

func connectionStatus(_ context.Context, r *request, out *reply) error {
	at := out.begin("authInfo")
	user, ok := r.conn.auth.user()
	var users, roles []bson.Raw
	if ok {
		u := newReply()
		u.string("user", user.Name)
		u.string("db", user.database())
		users = append(users, u.doc())
		role := newReply()
		role.string("role", "root")
		role.string("db", "admin")
		roles = append(roles, role.doc())
	}
	out.documents("authenticatedUsers", users)
	out.documents("authenticatedUserRoles", roles)
	out.end(at)
	return nil
}

func getCmdLineOpts(_ context.Context, _ *request, out *reply) error {
	out.strings("argv", []string{"mongosim"})
	at := out.begin("parsed")
	out.end(at)
	return nil
}
