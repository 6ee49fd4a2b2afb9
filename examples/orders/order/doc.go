// Package order is the order of a shop, from placed to shipped or cancelled,
// written as a decider: [Decider] holds the rules, and nothing in this package
// knows of stores or databases.
package order
