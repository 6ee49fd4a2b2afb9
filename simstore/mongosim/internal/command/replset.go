package command

import (
	"context"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

func replSetGetStatus(_ context.Context, r *request, out *reply) error {
	e := r.e
	state := e.topology.state()
	last := e.store.LastOp().BSON()
	wall := int64(last.T) * 1000
	number, name := int32(1), "PRIMARY"
	if !state.primary {
		number, name = 2, "SECONDARY"
	}
	out.string("set", e.cfg.SetName)
	out.date("date", r.now.UnixMilli())
	out.int32("myState", number)
	out.int64("term", term)
	out.string("syncSourceHost", "")
	out.int32("syncSourceId", -1)
	out.int64("heartbeatIntervalMillis", 2000)
	out.int32("majorityVoteCount", 1)
	out.int32("writeMajorityCount", 1)
	out.int32("votingMembersCount", 1)
	out.int32("writableVotingMembersCount", 1)
	at := out.begin("optimes")
	for _, f := range []string{"lastCommitted", "readConcernMajority", "applied", "durable"} {
		out.opTime(f+"OpTime", last)
	}
	for _, f := range []string{"lastCommitted", "readConcernMajority", "lastApplied", "lastDurable"} {
		out.date(f+"WallTime", wall)
	}
	out.end(at)
	out.timestamp("lastStableRecoveryTimestamp", last)
	members := out.beginArray("members")
	m := out.begin("0")
	out.int32("_id", 0)
	out.string("name", r.conn.Host)
	out.double("health", 1)
	out.int32("state", number)
	out.string("stateStr", name)
	out.int32("uptime", int32(r.now.Sub(e.started).Seconds()))
	out.opTime("optime", last)
	out.date("optimeDate", wall)
	out.string("syncSourceHost", "")
	out.int32("syncSourceId", -1)
	out.string("infoMessage", "")
	if state.primary {
		out.timestamp("electionTime", bson.Timestamp{T: uint32(state.electionAt.Unix()), I: 1})
		out.date("electionDate", state.electionAt.UnixMilli())
	}
	out.int32("configVersion", 1)
	out.int32("configTerm", term)
	out.bool("self", true)
	out.string("lastHeartbeatMessage", "")
	out.end(m)
	out.end(members)
	return nil
}

func replSetGetConfig(_ context.Context, r *request, out *reply) error {
	e := r.e
	at := out.begin("config")
	out.string("_id", e.cfg.SetName)
	out.int32("version", 1)
	out.int32("term", term)
	out.int64("protocolVersion", 1)
	out.bool("writeConcernMajorityJournalDefault", true)
	members := out.beginArray("members")
	m := out.begin("0")
	out.int32("_id", 0)
	out.string("host", r.conn.Host)
	out.bool("arbiterOnly", false)
	out.bool("buildIndexes", true)
	out.bool("hidden", false)
	out.double("priority", 1)
	tags := out.begin("tags")
	out.end(tags)
	out.int64("slaveDelay", 0)
	out.int32("votes", 1)
	out.end(m)
	out.end(members)
	settings := out.begin("settings")
	out.bool("chainingAllowed", true)
	out.int32("heartbeatIntervalMillis", 2000)
	out.int32("heartbeatTimeoutSecs", 10)
	out.int32("electionTimeoutMillis", 10000)
	out.end(settings)
	out.end(at)
	return nil
}

// replSetStepDown makes the node a secondary for so many seconds. As in a real set of
// one, it needs force: no other member could catch up.
func replSetStepDown(_ context.Context, r *request, _ *reply) error {
	secs, ok := toLong(r.first())
	switch {
	case !ok || secs == 0:
		secs = 60
	case secs < 0:
		return mongoerr.New(mongoerr.BadValue, "stepdown period must be a positive integer")
	}
	force := value.Truthy(r.field("force"))
	catchUp := int64(10)
	if force {
		catchUp = 0
	}
	if n, present, err := r.long("secondaryCatchUpPeriodSecs"); err != nil {
		return err
	} else if present {
		catchUp = n
	}
	switch {
	case catchUp < 0:
		return mongoerr.New(mongoerr.BadValue, "secondaryCatchUpPeriodSecs period must be a positive or absent")
	case secs < catchUp:
		return mongoerr.New(mongoerr.BadValue, "stepdown period must be longer than secondaryCatchUpPeriodSecs")
	case !r.e.topology.isPrimary():
		return mongoerr.New(mongoerr.NotWritablePrimary, "not primary so can't step down")
	case !force:
		return mongoerr.New(mongoerr.ExceededTimeLimit, "No electable secondaries caught up as of %s. Please use the replSetStepDown command with the argument {force: true} to force node to step down.",
			r.now.UTC().Format("2006-01-02T15:04:05.000+0000"))
	}
	r.e.StepDown(time.Duration(secs) * time.Second)
	return nil
}

func replSetStepUp(_ context.Context, r *request, _ *reply) error {
	r.e.Elect()
	return nil
}
