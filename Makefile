# What people and CI run. `make` alone lists the targets.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
MAKEFLAGS += --warn-undefined-variables --no-builtin-rules --no-print-directory

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
# -s -w leave out what only debuggers read: a third of the size.
LDFLAGS := -s -w -X main.version=$(VERSION)

# The linter and buf are tools of modules apart from our own go.mod.
LINT := go tool -modfile=scripts/lint/go.mod golangci-lint
BUF := go tool -modfile=scripts/tools/go.mod buf

# What `make run` passes to `signalbox up`; e.g. make run UP='--data-dir /tmp/d'.
UP := --data-dir data/up --log-level warn

# How many nodes `make lab` starts; without, as many as it did before, or 3.
NODES ?=

.PHONY: help
help: ## list the targets (the default)
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/\1|\2/p' Makefile | while IFS='|' read -r t d; do printf '  make %-10s %s\n' "$$t" "$$d"; done

.PHONY: build
build: ## leave the static binary bin/signalbox
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)' -o bin/signalbox ./cmd/signalbox

.PHONY: run
run: build ## build, then run everything in one process; it says what to try
	exec bin/signalbox up $(UP)

.PHONY: test
test: ## run the tests; needs Go and make, nothing else
	scripts/test

.PHONY: e2e
e2e: build ## run the suites with real processes; says what this machine cannot do
	scripts/e2e

# The authorities that https upstreams are verified by: those of this machine.
AUTHORITIES := /etc/ssl/certs/ca-certificates.crt

# The builder that needs no plugin, and a folder with nothing but the image's.
# Without Go, it is built from source in Go's own image, if Docker can get that.
.PHONY: image
ifneq ($(shell command -v go),)
image: build ## build the image signalbox:latest from bin/signalbox, with Docker
	rm -rf bin/image && mkdir -p bin/image/writable/var/lib && mkdir -m 1777 bin/image/writable/var/lib/signalbox
	install -D bin/signalbox bin/image/fixed/signalbox
	if [ -e $(AUTHORITIES) ]; then install -Dm644 $(AUTHORITIES) bin/image/fixed$(AUTHORITIES); fi
	DOCKER_BUILDKIT=0 docker build --target binary -t signalbox:latest -f deploy/Dockerfile bin/image
else
image:
	docker build --build-arg VERSION='$(VERSION)' -t signalbox:latest -f deploy/Dockerfile .
endif

.PHONY: lab
lab: image ## bring up a cluster in containers, and ask it; NODES=6 for more nodes
	NODES=$(NODES) deploy/lab/lab up

.PHONY: lab-status
lab-status: ## show the lab's containers, nodes and addresses
	deploy/lab/lab status

.PHONY: lab-down
lab-down: ## remove the lab, with everything it kept
	deploy/lab/lab down

.PHONY: gen
gen: ## write proto/gen from the .proto files
	scripts/gen

.PHONY: lint
lint: ## read the code, the .proto files and the scripts
	go vet ./...
	$(LINT) run ./...
	scripts/protos
	$(BUF) lint proto
	for f in .ci/run $(wildcard deploy/lab/lab deploy/lab/test) $(filter-out %/tools %/lint,$(wildcard scripts/*)); do bash -n "$$f"; done

.PHONY: check
check: ## what to run before you push: fresh generated code, lint, tests
	scripts/gen-check
	@$(MAKE) lint test

.PHONY: bench
bench: build ## measure, and write bench/results
	scripts/bench

.PHONY: fuzz
fuzz: ## run every fuzz target for a moment; longer with FUZZTIME=5m
	scripts/fuzz

.PHONY: clean
clean: ## remove what was built and fetched; make run's data stays in data
	rm -rf bin .cache
