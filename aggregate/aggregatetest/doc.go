// Package aggregatetest tests aggregates as given, when, then: given these
// events, when this command comes, then these events follow.
//
//	aggregatetest.For(t, orders.Decider()).
//		Given(orders.Placed{Customer: "c1"}).
//		When(orders.Pay{Amount: 100}).
//		Then(orders.Paid{Amount: 100})
//
// Beyond comparing, each scenario checks what a repository relies on: deciding
// does not change the state, and folding the same events twice gives the same
// state.
package aggregatetest
