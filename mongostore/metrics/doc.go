// Package metrics measures MongoDB clients and event stores for Prometheus.
//
// [New] registers everything with a Registerer that it is handed; nothing is
// global. Hand [Metrics.CommandMonitor] to client.Config and [Metrics.Hooks] to
// mongostore.Config, and [Metrics.Watch] a client for its pools.
//
// The number of time series is bounded: operations are those of a fixed list,
// collections those that are configured and a limited number besides, errors are
// counted by their kind. Docs/operations.md lists all metrics.
package metrics
