package command

import (
	"context"
	"strconv"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
	"github.com/annals-es/annals/simstore/mongosim/internal/storage"
)

// Read concern levels.
const (
	levelLocal        = "local"
	levelMajority     = "majority"
	levelLinearizable = "linearizable"
	levelAvailable    = "available"
	levelSnapshot     = "snapshot"
)

// A readConcern as the client sent it. With one node that holds everything in memory,
// what is applied is committed by a majority, so that the levels local, majority, available and
// linearizable read alike.
type readConcern struct {
	empty            bool // nothing that matters was given
	level            string
	afterClusterTime storage.Timestamp
	atClusterTime    storage.Timestamp
}

func (rc readConcern) is(level string) bool { return rc.level == level }

func parseReadConcern(v bson.RawValue) (readConcern, error) {
	rc := readConcern{empty: true}
	if value.IsMissing(v) {
		return rc, nil
	}
	if v.Type != bson.TypeEmbeddedDocument {
		return rc, mongoerr.New(mongoerr.FailedToParse, "readConcern field should be an object")
	}
	var afterOpTime, after, at bool
	for key, e := range value.Fields(v.Document()) {
		var err error
		switch key {
		case "level":
			rc.level, err = parseLevel(e)
		case "afterClusterTime":
			after = true
			rc.afterClusterTime, err = timestampField(key, e)
		case "atClusterTime":
			at = true
			rc.atClusterTime, err = timestampField(key, e)
		case "afterOpTime":
			afterOpTime = true
		case "provenance":
			continue
		default:
			return rc, invalidOptions("Unrecognized option in readConcern: %s", key)
		}
		if err != nil {
			return rc, err
		}
		rc.empty = false
	}
	level := rc.level
	if level == "" {
		level = levelLocal
	}
	switch {
	case after && afterOpTime:
		return rc, invalidOptions("Can not specify both afterClusterTime and afterOpTime")
	case after && at:
		return rc, invalidOptions("Can not specify both afterClusterTime and atClusterTime")
	case after && level != levelMajority && level != levelLocal && level != levelSnapshot:
		return rc, invalidOptions("afterClusterTime field can be set only if level is equal to majority, local, or snapshot")
	case afterOpTime && level == levelSnapshot:
		return rc, invalidOptions("afterOpTime field cannot be set if level is equal to snapshot")
	case at && level != levelSnapshot:
		return rc, invalidOptions("atClusterTime field can be set only if level is equal to snapshot")
	case at && rc.atClusterTime == 0:
		return rc, invalidOptions("atClusterTime cannot be a null timestamp")
	case after && rc.afterClusterTime == 0:
		return rc, invalidOptions("afterClusterTime cannot be a null timestamp")
	}
	return rc, nil
}

func parseLevel(v bson.RawValue) (string, error) {
	level, ok := v.StringValueOK()
	if !ok {
		return "", mongoerr.New(mongoerr.TypeMismatch, "\"level\" had the wrong type. Expected string, found %s", value.TypeName(v.Type))
	}
	switch level {
	case levelLocal, levelMajority, levelLinearizable, levelAvailable, levelSnapshot:
		return level, nil
	}
	return "", mongoerr.New(mongoerr.FailedToParse, "readConcern.level must be either 'local', 'majority', 'linearizable', 'available', or 'snapshot'")
}

func timestampField(name string, v bson.RawValue) (storage.Timestamp, error) {
	t, i, ok := v.TimestampOK()
	if !ok {
		return 0, mongoerr.New(mongoerr.TypeMismatch, "\"%s\" had the wrong type. Expected timestamp, found %s", name, value.TypeName(v.Type))
	}
	return storage.MakeTimestamp(t, i), nil
}

// checkReadConcern reads the request's read concern and refuses what the command or the
// transaction does not allow.
func (r *request) checkReadConcern() error {
	rc, err := parseReadConcern(r.generic.readConcern)
	if err != nil {
		return err
	}
	inTxn, start := r.session.autocommit, r.session.start
	if start && (rc.level == levelLinearizable || rc.level == levelAvailable) {
		return invalidOptions("The readConcern level must be either 'local' (default), 'majority' or 'snapshot' in order to run in a transaction")
	}
	if !inTxn && rc.level != "" && rc.level != levelLocal && !r.cmd.allowsLevel(rc.level) {
		text := "read concern not supported"
		if rc.level == levelSnapshot && r.cmd.readConcern != noReadConcern && !r.e.version.atLeast(5, 0) {
			return invalidOptions("read concern level snapshot is only valid in a transaction")
		}
		return invalidOptions("Command %s does not support { readConcern: { level: \"%s\", provenance: \"clientSupplied\" } } :: caused by :: %s", r.cmd.name, rc.level, text)
	}
	if inTxn && !start && !rc.empty {
		return invalidOptions("Only the first command in a transaction may specify a readConcern")
	}
	if rc.is(levelSnapshot) && !inTxn && !r.e.version.atLeast(5, 0) {
		return invalidOptions("read concern level snapshot is only valid in a transaction")
	}
	r.rc = rc
	return nil
}

// awaitReadConcern waits until the node has reached the time that the client wants to
// read after, by writing something when nothing else does.
func (r *request) awaitReadConcern() error {
	for name, t := range map[string]storage.Timestamp{"afterClusterTime": r.rc.afterClusterTime, "atClusterTime": r.rc.atClusterTime} {
		if t == 0 {
			continue
		}
		if current := r.e.store.ClusterTime(); t > current {
			return invalidOptions("readConcern %s value must not be greater than the current clusterTime. Requested clusterTime: { ts: %s }; current clusterTime: { ts: %s }", name, t, current)
		}
		if t > r.e.store.LastOp() {
			r.e.store.Noop("noop write for readConcern")
		}
	}
	return nil
}

// openReadSnapshot pins what a plain read with read concern snapshot sees; release lets go of it.
func (r *request) openReadSnapshot() (release func(), err error) {
	if r.session.autocommit || !r.rc.is(levelSnapshot) {
		return func() {}, nil
	}
	r.readAt, err = r.e.store.SnapshotAt(r.rc.atClusterTime)
	if err != nil {
		return nil, err
	}
	return func() {
		if r.readAt != nil {
			r.readAt.Release()
		}
	}, nil
}

// A writeConcern as the client sent it.
type writeConcern struct {
	given     bool
	w         int64
	mode      string
	journaled bool
	doc       bson.Raw // {w, j?, wtimeout, provenance}, for errInfo
}

const maxMembers = 50

// unacknowledged tells whether the client does not want to know what became of its write.
func (wc writeConcern) unacknowledged() bool {
	return wc.given && wc.w == 0 && wc.mode == "" && !wc.journaled
}

func parseWriteConcern(v bson.RawValue) (writeConcern, error) {
	wc := writeConcern{w: 1}
	if value.IsMissing(v) {
		return wc, nil
	}
	if v.Type != bson.TypeEmbeddedDocument {
		return wc, mongoerr.New(mongoerr.TypeMismatch, "\"writeConcern\" had the wrong type. Expected object, found %s", value.TypeName(v.Type))
	}
	if value.IsEmpty(v.Document()) {
		return wc, nil
	}
	failed := func(text string) (writeConcern, error) {
		return wc, mongoerr.New(mongoerr.FailedToParse, "%s", text)
	}
	wc.given = true
	var j, fsync, jGiven bool
	var timeout int64
	info := newReply()
	for key, e := range value.Fields(v.Document()) {
		switch key {
		case "w":
			switch {
			case e.IsNumber():
				wc.w, _ = e.AsInt64OK()
				if wc.w < 0 || wc.w > maxMembers {
					return failed("w has to be a non-negative number and not greater than " + strconv.Itoa(maxMembers))
				}
			case e.Type == bson.TypeString:
				wc.mode = value.AsString(e)
			case e.Type == bson.TypeNull, e.Type == bson.TypeUndefined:
			default:
				return failed("w has to be a number or a string")
			}
		case "j", "fsync":
			if !e.IsNumber() && e.Type != bson.TypeBoolean {
				return failed(key + " must be numeric or a boolean value")
			}
			if key == "j" {
				j, jGiven = value.Truthy(e), true
			} else {
				fsync = value.Truthy(e)
			}
		case "wtimeout":
			timeout, _ = e.AsInt64OK()
		case "wElectionId", "wOpTime", "getLastError", "provenance":
		default:
			return failed("unrecognized write concern field: " + key)
		}
	}
	if j && fsync {
		return failed("fsync and j options cannot be used together")
	}
	if wc.mode != "" {
		info.string("w", wc.mode)
	} else {
		info.int32("w", int32(wc.w))
	}
	switch {
	case fsync:
		info.bool("fsync", true)
	case jGiven:
		info.bool("j", j)
	}
	wc.journaled = j || fsync
	info.int32("wtimeout", int32(timeout))
	info.string("provenance", "clientSupplied")
	wc.doc = info.doc()
	return wc, nil
}

// checkWriteConcern reads the request's write concern and refuses it where it has no
// place.
func (r *request) checkWriteConcern() error {
	if !r.cmd.writeConcern {
		if !value.IsMissing(r.generic.writeConcern) {
			return invalidOptions("Command does not support writeConcern")
		}
		return nil
	}
	wc, err := parseWriteConcern(r.generic.writeConcern)
	if err != nil {
		return err
	}
	if wc.given && r.session.autocommit && !r.cmd.endsTransaction {
		return invalidOptions("writeConcern is not allowed within a multi-statement transaction")
	}
	r.wc = wc
	return nil
}

// writeConcernError is what a set of one node cannot satisfy, nil if it can.
func (wc writeConcern) error() (bson.Raw, mongoerr.Code) {
	var code mongoerr.Code
	var text string
	switch {
	case wc.mode != "" && wc.mode != levelMajority:
		code, text = mongoerr.UnknownReplWriteConcern, "No write concern mode named '"+wc.mode+"' found in replica set configuration"
	case wc.w > 1:
		code, text = mongoerr.UnsatisfiableWriteConcern, "Not enough data-bearing nodes"
	default:
		return nil, 0
	}
	doc := newReply()
	doc.int32("code", int32(code))
	doc.string("codeName", code.Name())
	doc.string("errmsg", text)
	info := doc.begin("errInfo")
	doc.document("writeConcern", wc.doc)
	doc.end(info)
	return doc.doc(), code
}

// contextError is the refusal for a context that has ended.
func contextError(ctx context.Context) error {
	return asError(context.Cause(ctx))
}
