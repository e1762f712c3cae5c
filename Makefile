# `make help` lists the targets; start with `make demo` and `make test`.
# They need Go, git, Python 3 with pip, and make.

MAKEFLAGS += --no-print-directory
export CGO_ENABLED = 0
GO      ?= go
TOOL     = $(GO) tool -modfile=tools.mod
FUZZTIME ?= 20s
KEEP    ?=
DPOP    ?=
BENCH   ?= .
FAULTS_FOR ?= 2m

.DEFAULT_GOAL := help
.PHONY: help build generate verify-generate envoy demo test test-foreign test-keycloak test-root race faults upgrade lint fmt fuzz bench check clean

help: ## list the targets
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/scimward and the examples
	$(GO) build -trimpath -o bin/ ./cmd/scimward ./examples/quickstart ./examples/protected-app ./examples/identity-service

generate: ## write the generated pages
	$(GO) run ./policies/gendocs
	$(GO) run ./docs/gendocs

verify-generate: generate ## fail if a generated page was not up to date
	@git diff --exit-code -- docs || { echo "generated pages were out of date: commit what make generate wrote" >&2; exit 1; }

envoy: ## find Envoy (ENVOY, PATH) or fetch it into .cache; print its path
	@$(GO) run ./envoy/envoybin/getenvoy

demo: ## play one account from creation to deletion; KEEP=1 keeps it running, DPOP=1 uses DPoP, REPLICAS=3 many machines
	@echo "building scimward and the demo (minutes the first time)"
	@$(GO) build -trimpath -o bin/ ./cmd/scimward ./examples/quickstart ./examples/replicas
	@$(if $(REPLICAS),bin/replicas -replicas $(REPLICAS),bin/quickstart $(if $(KEEP),-keep) $(if $(DPOP),-dpop)) -scimward bin/scimward

test: envoy ## run all tests: unit, Rego, Wasm guests, real Envoy, the README's commands
	$(GO) test -shuffle=on -timeout 20m ./...

test-foreign: envoy ## ask Express, oidc-provider and fosite (needs Node.js 20.12 and npm)
	$(GO) test -tags foreign -timeout 20m -run '^TestForeign' -v ./sidecar/internal/authz ./sidecar/internal/oauth ./envoy/envoytest

test-keycloak: envoy ## take the tokens of a Keycloak (170 MB; needs Java 17 and Maven)
	$(GO) test -tags keycloak -timeout 20m -run '^TestKeycloak$$' -v ./envoy/envoytest

ROOT ?= ./sidecar ./store ./store/storetest ./store/log/jetstream/faults
test-root: ## power failures, partitions, another user at the admin socket (needs root on Linux; see CONTRIBUTING.md)
	$(GO) test -tags root -count=1 -timeout 15m -run '^TestRoot' -v $(ROOT)

# Without OPA and the end-to-end tests: their code runs in processes that are built
# without the race detector.
RACE = $$($(GO) list ./... | grep -v -e /policies -e /envoy -e /examples -e /docs -e /cmd/)
race: ## run the tests of the concurrent packages with the race detector (needs a C compiler)
	CGO_ENABLED=1 $(GO) test -race -short -timeout 20m $(RACE)

# The installations have three cores, five edges and five Envoys: 2 processors, 3 GB, and Linux.
upgrade: envoy ## replace cores of a former version one after another, under load (Linux; builds that version from the history)
	$(GO) test -tags upgrade -count=1 -timeout 10m -run '^TestRollingUpgrade$$' -v ./examples/replicas/fleet

faults: envoy ## kill, stop and cut off servers, cores and edges, each test for FAULTS_FOR (Linux); ROUNDS=50 deactivations, PAUSES=1 stops servers too
	$(GO) test -count=1 -timeout 0 -v ./store/log/jetstream/faults -faults.for $(FAULTS_FOR) -faults.disk $(if $(PAUSES),-faults.pause)
	$(GO) test -tags faults -count=1 -timeout 0 -v ./examples/replicas/faults -faults.for $(FAULTS_FOR) $(if $(ROUNDS),-faults.rounds $(ROUNDS))

lint: ## go vet and golangci-lint
	$(GO) vet ./...
	$(GO) vet -tags faults,foreign,keycloak,root,upgrade ./envoy/... ./examples/replicas/... ./sidecar/... ./store/...
	$(TOOL) golangci-lint run ./...

fmt: ## format Go
	$(TOOL) golangci-lint fmt ./...

fuzz: ## fuzz every target for FUZZTIME
	@GO="$(GO)" FUZZTIME="$(FUZZTIME)" sh .ci/fuzz

bench: ## run the benchmarks of docs/bench (BENCH=regexp selects some)
	@GO="$(GO)" BENCH="$(BENCH)" sh docs/bench/run.sh

check: ## what CI runs: generated pages, lint, race, fuzz, faults, demo, test
	$(MAKE) verify-generate
	$(MAKE) lint
	$(MAKE) race
	$(MAKE) fuzz FUZZTIME=5s
	$(MAKE) faults FAULTS_FOR=20s
	$(MAKE) demo
	$(MAKE) demo DPOP=1
	$(MAKE) demo REPLICAS=3
	$(MAKE) test

clean: ## remove build output; keep the fetched Envoy
	rm -rf bin
