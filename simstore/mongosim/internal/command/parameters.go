package command

import (
	"context"
	"slices"
	"sync"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/annals-es/annals/simstore/mongosim/internal/mongoerr"
	"github.com/annals-es/annals/simstore/mongosim/internal/mql/value"
)

// parameters are the server parameters that clients ask for. Setting one is
// remembered but changes nothing: the simulation is configured by its Config.
type parameters struct {
	mu     *sync.Mutex
	names  []string
	values map[string]bson.RawValue
}

func defaultParameters(e *Engine) parameters {
	p := parameters{mu: &sync.Mutex{}, values: map[string]bson.RawValue{}}
	add := func(name string, v bson.RawValue) {
		p.names = append(p.names, name)
		p.values[name] = v
	}
	compat := newReply()
	compat.string("version", e.version.compatibility())
	add("featureCompatibilityVersion", value.Doc(compat.doc()))
	add("transactionLifetimeLimitSeconds", value.Int32(int32(e.cfg.TransactionLifetime.Seconds())))
	add("maxTransactionLockRequestTimeoutMillis", value.Int32(5))
	add("cursorTimeoutMillis", value.Int64(e.cfg.CursorTimeout.Milliseconds()))
	add("localLogicalSessionTimeoutMinutes", value.Int32(sessionTimeoutMinutes))
	add("ttlMonitorEnabled", value.Bool(true))
	add("ttlMonitorSleepSecs", value.Int32(60))
	add("enableTestCommands", value.Bool(true))
	add("authenticationMechanisms", value.ArrayOf(value.String("SCRAM-SHA-256")))
	add("internalQueryExecYieldIterations", value.Int32(1000))
	add("notablescan", value.Bool(false))
	add("quiet", value.Bool(false))
	add("logLevel", value.Int32(0))
	return p
}

func getParameter(_ context.Context, r *request, out *reply) error {
	p := r.e.params
	p.mu.Lock()
	defer p.mu.Unlock()
	if s, ok := r.first().StringValueOK(); ok && s == "*" || value.Truthy(r.field("allParameters")) {
		for _, name := range p.names {
			out.value(name, p.values[name])
		}
		return nil
	}
	found := false
	for _, f := range r.fields[1:] {
		if v, ok := p.values[f.key]; ok {
			out.value(f.key, v)
			found = true
		}
	}
	if !found {
		return mongoerr.New(mongoerr.InvalidOptions, "no option found to get")
	}
	return nil
}

func setParameter(_ context.Context, r *request, out *reply) error {
	p := r.e.params
	if len(r.fields) < 2 {
		return mongoerr.New(mongoerr.InvalidOptions, "no option found to set, use help:true to see options ")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, f := range r.fields[1:] {
		if !slices.Contains(p.names, f.key) || f.key == "featureCompatibilityVersion" {
			return mongoerr.New(mongoerr.InvalidOptions, "attempted to set unrecognized parameter [%s], use help:true to see options ", f.key)
		}
	}
	for i, f := range r.fields[1:] {
		if i == 0 {
			out.value("was", p.values[f.key])
		}
		p.values[f.key] = value.Clone(f.value)
	}
	return nil
}
