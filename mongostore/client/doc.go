// Package client makes MongoDB clients from configuration and keeps an eye on
// them: TLS files and credentials that change while a program runs, the state of
// topology and connection pools, and health for load balancers and Kubernetes.
//
// [FromEnv] reads a [Config] from the environment, [Connect] makes a [Client] of
// it. Nothing in this package reads the environment by itself, and no secret
// reaches a log, an error or a metric: [Config.String] leaves them out.
package client
