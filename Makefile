# Targets with a ## comment are listed by `make`.
GO            ?= go
GOLANGCI_LINT ?= $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULNCHECK   ?= $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0
PKG           ?= ./...
BENCH         ?= .
FUZZTIME      ?= 30s
CRASH         ?= 1m
CRASH_PKG     ?= ./projection/... ./process ./mongostore/readmodel
MONGO_VERSION ?= 8

.DEFAULT_GOAL := help

.PHONY: help
help: ## print this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

.PHONY: run
run: ## walk through the orders example
	$(GO) run ./examples/orders

.PHONY: test
test: ## run all tests (against MONGODB_URI where it is set)
	$(GO) test $(PKG)

.PHONY: race
race: ## run all tests under the race detector
	$(GO) test -race $(PKG)

.PHONY: crash
crash: ## let projection workers die and be deceived for CRASH (1m), judge what is left
	ANNALS_CRASH=$(CRASH) $(GO) test -count=1 -run Crash $(CRASH_PKG)

.PHONY: test-docker
test-docker: ## run the MongoDB suites on a replica set in Docker (MONGO_VERSION=8)
	ANNALS_TEST_DOCKER=$(MONGO_VERSION) REQUIRE_MONGO=1 $(GO) test -count=1 ./mongostore/... ./query/... ./projection/...

.PHONY: lint
lint: ## check formatting, vet, and run golangci-lint
	@test -z "$$(gofmt -l .)" || { gofmt -l . ; echo 'not gofmt-ed: run gofmt -w on these'; exit 1; }
	$(GO) vet ./...
	$(GOLANGCI_LINT) run ./...

.PHONY: vuln
vuln: ## look for known vulnerabilities in what the code calls
	$(GOVULNCHECK) ./...

.PHONY: fuzz
fuzz: ## run each fuzz target for FUZZTIME (30s)
	@$(GO) list $(PKG) | while read -r pkg; do \
		$(GO) test -list '^Fuzz' "$$pkg" 2>/dev/null | grep '^Fuzz' | while read -r name; do \
			echo "$$pkg $$name"; \
			$(GO) test -run '^$$' -fuzz "^$$name$$" -fuzztime $(FUZZTIME) "$$pkg" || exit 1; \
		done || exit 1; \
	done

.PHONY: bench
bench: ## run all benchmarks (BENCH=regexp, PKG=./dir/...)
	$(GO) test -run '^$$' -bench '$(BENCH)' -benchmem $(PKG)

.PHONY: cover
cover: ## coverage of statements, package by package
	$(GO) test -coverprofile=coverage.out $(PKG)
	$(GO) tool cover -func=coverage.out | tail -n 1
