package command

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// FailCommand is the name of the only fail point with an effect.
const FailCommand = "failCommand"

// A FailMode says when a fail point fires.
type FailMode struct {
	Off         bool
	Times       int64   // fire so often, then turn off; 0: no limit
	Skip        int64   // let so many pass, then fire always
	Probability float64 // fire with this probability; 0: always
	never       bool    // times: 0
}

// FailData says what a fail point that fires does. Its zero value does nothing.
type FailData struct {
	Commands          []string // names of commands; any alias of one counts
	AppName           string   // only for connections of this application
	Namespace         string   // only on this "db.collection"
	ErrorCode         mongoerr.Code
	HasErrorCode      bool
	ErrorLabels       []string // replace the labels that the server would add; nil leaves those
	CloseConnection   bool
	Block             time.Duration
	WriteConcernError bson.Raw // added to the reply of a command that has run
	// LoseReply lets the command run and closes the connection instead of
	// answering. The real fail point has no such thing.
	LoseReply bool
}

// A failPoint is the failCommand fail point of one server.
type failPoint struct {
	mu      sync.Mutex
	mode    FailMode
	data    FailData
	entered int64 // times it has fired
	random  *rand.Rand
}

func newFailPoint(random *rand.Rand) *failPoint {
	return &failPoint{mode: FailMode{Off: true}, random: random}
}

// set replaces the fail point's setting and returns how often it has fired so far.
func (f *failPoint) set(mode FailMode, data FailData) int64 {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.mode, f.data = mode, data
	return f.entered
}

// fires decides whether the fail point acts on r, when what it is set to do is
// among what want accepts.
func (f *failPoint) fires(r *request, want func(FailData) bool) (FailData, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mode.Off || !f.data.concerns(r) || !want(f.data) {
		return FailData{}, false
	}
	switch m := &f.mode; {
	case m.never:
		return FailData{}, false
	case m.Skip > 0:
		m.Skip--
		return FailData{}, false
	case m.Probability > 0 && f.random.Float64() >= m.Probability:
		return FailData{}, false
	case m.Times > 0:
		if m.Times--; m.Times == 0 {
			m.Off = true
		}
	}
	f.entered++
	return f.data, true
}

func (d FailData) concerns(r *request) bool {
	if r.cmd.name == "configureFailPoint" {
		return false
	}
	if d.AppName != "" && d.AppName != r.conn.AppName() {
		return false
	}
	if d.Namespace != "" && d.Namespace != r.namespace() {
		return false
	}
	return slices.ContainsFunc(d.Commands, r.cmd.called)
}

// beforeCommand applies the fail point to a command that is about to run.
func (f *failPoint) beforeCommand(ctx context.Context, r *request) error {
	d, ok := f.fires(r, func(d FailData) bool { return d.CloseConnection || d.Block > 0 || d.HasErrorCode })
	if !ok {
		return nil
	}
	r.labels = d.ErrorLabels
	if d.CloseConnection {
		return errCloseConnection
	}
	if d.Block > 0 {
		if err := r.sleep(ctx, d.Block); err != nil {
			return err
		}
	}
	if d.HasErrorCode {
		return mongoerr.New(d.ErrorCode, "Failing command due to 'failCommand' failpoint")
	}
	r.labels = nil
	return nil
}

// afterCommand gives the write concern error that a command which has run is to report.
func (f *failPoint) afterCommand(r *request) (bson.Raw, bool) {
	d, ok := f.fires(r, func(d FailData) bool { return d.WriteConcernError != nil })
	if !ok {
		return nil, false
	}
	r.labels = d.ErrorLabels
	return d.WriteConcernError, true
}

// losesReply tells whether the answer of a command that has run is to be lost.
func (f *failPoint) losesReply(r *request) bool {
	_, ok := f.fires(r, func(d FailData) bool { return d.LoseReply })
	return ok
}

// parseFailMode reads configureFailPoint's mode.
func parseFailMode(v bson.RawValue) (FailMode, error) {
	bad := func(format string, args ...any) (FailMode, error) {
		return FailMode{}, mongoerr.New(mongoerr.BadValue, format, args...)
	}
	switch v.Type {
	case 0:
		return FailMode{}, mongoerr.New(mongoerr.IllegalOperation, "When setting a failpoint, you must supply a 'mode'")
	case bson.TypeString:
		switch s := value.AsString(v); s {
		case "off":
			return FailMode{Off: true}, nil
		case "alwaysOn":
			return FailMode{}, nil
		default:
			return bad("unknown mode: %s", s)
		}
	case bson.TypeEmbeddedDocument:
	default:
		return FailMode{}, mongoerr.New(mongoerr.TypeMismatch, "'mode' must be a string or JSON object")
	}
	doc := v.Document()
	for _, name := range []string{"times", "skip"} {
		e := value.Field(doc, name)
		if value.IsMissing(e) {
			continue
		}
		n, ok := e.AsInt64OK()
		switch {
		case !ok:
			return FailMode{}, mongoerr.New(mongoerr.TypeMismatch, "Expected field \"%s\" to have a numeric type, but found %s", name, value.TypeName(e.Type))
		case n < 0:
			return bad("'%s' option to 'mode' must be positive", name)
		case n > 1<<31-1:
			return bad("'%s' option to 'mode' is too large", name)
		case name == "skip":
			return FailMode{Skip: n}, nil
		}
		return FailMode{Times: n, never: n == 0}, nil
	}
	if e := value.Field(doc, "activationProbability"); !value.IsMissing(e) {
		p, ok := e.AsFloat64OK()
		if !ok {
			return FailMode{}, mongoerr.New(mongoerr.TypeMismatch, "the 'activationProbability' option to 'mode' must be a double between 0 and 1")
		}
		if p < 0 || p > 1 {
			return bad("activationProbability must be between 0.0 and 1.0; found %v", p)
		}
		return FailMode{Probability: p, never: p == 0}, nil
	}
	return bad("'mode' must be one of 'off', 'alwaysOn', '{times:n}', '{skip:n}' or '{activationProbability:p}'")
}

// parseFailData reads configureFailPoint's data. Fields that only concern threads and
// internal clients are ignored: there are none.
func parseFailData(v bson.RawValue) (FailData, error) {
	var d FailData
	if value.IsMissing(v) {
		return d, nil
	}
	if v.Type != bson.TypeEmbeddedDocument {
		return d, mongoerr.New(mongoerr.TypeMismatch, "the 'data' option must be a JSON object")
	}
	doc := v.Document()
	block, blockMS := false, value.Field(doc, "blockTimeMS")
	for key, e := range value.Fields(doc) {
		switch key {
		case "failCommands":
			d.Commands = stringsOf(e)
		case "errorLabels":
			if e.Type == bson.TypeArray {
				d.ErrorLabels = append([]string{}, stringsOf(e)...)
			}
		case "errorCode":
			code, ok := e.AsInt64OK()
			if !ok {
				return d, mongoerr.New(mongoerr.TypeMismatch, "Expected field \"errorCode\" to have a numeric type, but found %s", value.TypeName(e.Type))
			}
			d.ErrorCode, d.HasErrorCode = mongoerr.Code(code), true
		case "closeConnection":
			d.CloseConnection = value.Truthy(e)
		case "blockConnection":
			block = value.Truthy(e)
		case "writeConcernError":
			if e.Type == bson.TypeEmbeddedDocument {
				d.WriteConcernError = slices.Clone(e.Document())
			}
		case "appName":
			d.AppName, _ = e.StringValueOK()
		case "namespace":
			d.Namespace, _ = e.StringValueOK()
		}
	}
	if block {
		ms, ok := blockMS.AsInt64OK()
		if !ok {
			return d, mongoerr.New(mongoerr.InvalidOptions, "must specify 'blockTimeMS' when 'blockConnection' is true")
		}
		if ms < 0 {
			return d, mongoerr.New(mongoerr.InvalidOptions, "'blockTimeMS' must be non-negative")
		}
		d.Block = time.Duration(ms) * time.Millisecond
	}
	return d, nil
}

func stringsOf(v bson.RawValue) []string {
	var out []string
	if v.Type == bson.TypeArray {
		for _, e := range value.Elements(v) {
			if e.Type == bson.TypeString {
				out = append(out, value.AsString(e))
			}
		}
	}
	return out
}
