// Package expr parses and evaluates the expressions of the aggregation
// language: field paths, variables, $add and its like, and the accumulators
// of $group.
//
// An operator is an entry in one of the tables (arithmeticOperators,
// stringOperators, ...) and the function it names, both in one file; nothing
// else knows it. An entry says which release brought the operator, so that a
// server which presents itself as older refuses it.
package expr
