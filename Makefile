# What a person types. Every target first calls tools/toolchain.sh, which puts the pinned Deno into .tools and is silent when it is there.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

export PATH := $(CURDIR)/.tools/bin:$(PATH)
# Trust what the machine trusts as well as the public roots: a mirror behind a private CA works (SSL_CERT_FILE is respected).
export DENO_TLS_CA_STORE ?= system,mozilla
export DENO_NO_UPDATE_CHECK := 1
# A variable from outside that sets a stack trace on every error of the tools helps nobody.
export RUST_BACKTRACE := 0

# Suites that never start the built binary.
IN_PROCESS := unit vectors abi sim fuzz

.PHONY: help
help: ## Lists the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

.PHONY: tools
tools: ## Fetches the pinned tools into .tools (every other target does it by itself)
	@tools/toolchain.sh

.PHONY: build
build: tools ## Builds dist/postern, one file that runs anywhere
	@deno task --quiet build

.PHONY: native
native: tools ## Rebuilds the native library lib/ from ffi/native (needs Rust, cmake, git, libclang); ARM64=1 for that processor (needs root, Debian 12)
	@command -v git >/dev/null || { echo "postern: error: the native build needs git: apt-get install git" >&2; exit 1; }
	@sh tools/native/$(if $(ARM64),arm64,build).sh
	@deno run -A --no-check tools/native/components.ts

.PHONY: release
release: build ## Makes dist/release: an archive for each processor, bills of materials, checksums; the same bytes from every folder
	@tools/toolchain.sh --arm64
	@deno task --quiet build --target=linux-arm64
	@deno task --quiet release

.PHONY: image
image: build ## Makes the image localhost/postern, from nothing (needs buildah)
	@deno task --quiet image

.PHONY: test
test: tools $(if $(filter $(IN_PROCESS),$(SUITE)),,build) ## Runs the tests: make test [SUITE=unit] [FILTER=words] [VERBOSE=1]
	@deno task --quiet test $(if $(SUITE),--suite=$(SUITE)) $(if $(FILTER),--filter='$(FILTER)') $(if $(VERBOSE),--verbose)

.PHONY: count
count: tools build ## Runs the tests and raises tests/count.txt to their number
	@deno task --quiet test --raise-floor

.PHONY: check
check: tools ## Checks formatting, lint rules, types, architecture and documents
	@deno task --quiet check

.PHONY: fmt
fmt: tools ## Formats the sources
	@deno fmt

.PHONY: demo
demo: build ## Shows server, connector and agent working on this machine; KEEP=1 leaves them running
	@dist/postern demo $(if $(KEEP),--keep)

.PHONY: bench
bench: build ## Measures
	@deno task --quiet bench

.PHONY: soak
soak: build ## Runs long endurance tests: make soak NAME=scrapes (without a name it lists them)
	@deno task --quiet soak $(NAME)

.PHONY: clean
clean: ## Removes what was built; the fetched tools stay
	rm -rf dist coverage node_modules ffi/native/target
