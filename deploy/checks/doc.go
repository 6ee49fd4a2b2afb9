// Package checks tests the files of deploy/: manifests against the types of
// Kubernetes, alerts and dashboards with Prometheus' own parser against the metrics
// that there are.
package checks
