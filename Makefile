# `make` lists what there is. Go fetches the toolchain that go.mod names, whichever Go is installed.
export GOTOOLCHAIN = auto

GOLANGCI_LINT = go run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
KAFKA         = go run ./internal/kafkatest/cmd/kafka
FUZZTIME     ?= 1m
MINUTES      ?= 3
SEEDS        ?= 1000
FIRST        ?= 0

# The packages with tests that need a real Kafka.
KAFKA_PACKAGES = $(shell grep -rlE --include='*_test.go' '^//go:build .*\bkafka\b' . | xargs -r -n1 dirname | sort -u)

# The modules beside the library that need nothing but Go either: what Kubernetes needs does not weigh on the library's users.
MODULES = $(patsubst %/go.mod,%,$(wildcard */go.mod))
each    = @for m in $(MODULES); do (set -x; cd $$m && $(1)) || exit 1; done

.DEFAULT_GOAL = help
.PHONY: help demo test test-race test-kafka test-k8s test-rocksdb lint oracle oracle-check chaos sim bench bench-parts fuzz

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## see it work, on a broker inside the program
	go run ./examples/flights/demo

# In the simulation only the client's mutexes that this tag chooses let virtual time pass while somebody waits for them.
SIM = -tags synctests ./internal/sim

test: ## run the unit tests, which need nothing but Go
	go test ./...
	go test $(SIM)
	$(call each,go test ./...)

test-race: ## run the unit tests under the race detector, which needs a C compiler
	go test -race -timeout 30m ./...
	go test -race $(SIM)
	cd operator && go test -race -timeout 30m ./...

test-kafka: ## run the integration tests on Apache Kafka, which needs a JDK of 17 and Maven
	$(KAFKA) run -- go test -tags kafka -count 1 -p 1 -timeout 20m $(KAFKA_PACKAGES)

test-k8s: ## run the end-to-end tests on the Kubernetes that KUBECONFIG names, which they say what they need of; needs Java 17 and Maven
	cd operator && go test -tags k8s -count 1 -timeout 30m -v ./e2e

test-rocksdb: ## run the tests of the module state/rocksdb, which needs a C compiler and librocksdb-dev
	cd state/rocksdb && CGO_ENABLED=1 go vet . && CGO_ENABLED=1 go test -count 1 .

lint: ## check the form: gofmt, go vet, golangci-lint
	@unformatted=$$("$$(go env GOROOT)/bin/gofmt" -l .); \
		if [ -n "$$unformatted" ]; then echo "not as gofmt wants it (go fmt ./... sets it right):" $$unformatted; exit 1; fi
	go vet ./...
	go vet -tags kafka,synctests ./...
	$(GOLANGCI_LINT) run ./...
	$(call each,go vet -tags k8s ./... && $(GOLANGCI_LINT) run ./...)

oracle: ## make the expected results again with Java Kafka Streams, which needs Java 17 and Maven
	test/oracle/generate

oracle-check: ## compare with Java's results: CASES=file EXPECTED=file
	go run ./test/oracle/cmd/check $(CASES) $(EXPECTED)

chaos: ## kill and freeze instances and brokers of a real cluster for MINUTES (3), and check every result; needs Java 17 and Maven
	go run ./test/chaos -minutes $(MINUTES)

bench: ## measure on a real broker, beside Java where BASELINE=DIR is given; needs Java 17 and Maven
	go run ./bench $(if $(BASELINE),-baseline $(BASELINE))

bench-parts: ## measure the parts in process
	go test -run '^$$' -bench . -benchmem ./...

fuzz: ## fuzz every decoder for FUZZTIME (1m)
	@grep -rEo --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' . | while IFS=: read -r file target; do \
		go test -run '^$$' -fuzz "^$${target#func }$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" || exit 1; done

sim: ## simulate SEEDS (1000) seeds after FIRST (0): whole instances, virtual time, faults by lot
	go test $(SIM) -run TestSeeds -timeout 0 -count 1 -sim.seeds=$(SEEDS) -sim.first=$(FIRST)
