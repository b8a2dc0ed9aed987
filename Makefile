# The front of everything: each target installs what it needs on a Debian or Ubuntu machine, says so, and can be run
# again.
SHELL := /bin/bash
TARGET := $(shell uname -m)-unknown-linux-gnu
BINARY := target/$(TARGET)/release/coracle
KILLS ?= 1000
FUZZ ?= 60
ARCHIVES ?= 20000
# Where scripts/needs lets rustup put the toolchain on a machine that has none.
CARGO_HOME ?= $(HOME)/.cargo
export PATH := $(PATH):$(CARGO_HOME)/bin

.PHONY: help attacks corpus fuzz test-api test-clients load-api demo demo-postgres test test-vm test-reference chaos load bench check build install

help:
	@echo 'make demo     build coracle and play the tutorial with it'
	@echo 'make demo-postgres    fill a PostgreSQL in a container from a pipeline in another, and check what it holds'
	@echo 'make test     run every test (needs root)'
	@echo 'make test-vm  run the life of containers on a stock Debian in a virtual machine (needs root)'
	@echo 'make test-reference   run the tests of what Docker does too against Docker (needs root)'
	@echo 'make test-api   run the same tests with the docker client against our own Engine API (needs root)'
	@echo 'make test-clients   docker, docker-py, Compose 1 and 2, testcontainers do a job each against it (needs root)'
	@echo 'make load-api  1000 waiting requests, slow readers and dawdlers against it (needs root)'
	@echo 'make chaos    kill 1000 commands and monitors at random moments (needs root)'
	@echo 'make load     500 containers at once, 2000 short ones at 32 in parallel, floods (needs root)'
	@echo 'make attacks  attack containers at length, also of an engine without its defences (needs root, takes long)'
	@echo 'make corpus   unpack 20000 archives that attack who unpacks them (ARCHIVES=NUMBER; needs root)'
	@echo 'make fuzz     the parser, the ignore rules and the expansion of variables, a minute each (FUZZ=SECONDS)'
	@echo 'make check    format, lints, licences, crate borders'
	@echo 'make bench    time coracle against docker, podman and runc (needs root)'
	@echo 'make build    build the release binary: $(BINARY)'
	@echo 'make install  install it as /usr/local/bin/coracle'

build: $(BINARY)

.PHONY: $(BINARY)
$(BINARY):
	@scripts/needs build
	cargo build --release --locked

demo: build
	@scripts/needs demo
	@scripts/as-root examples/pipeline/demo $(abspath $(BINARY))

demo-postgres: build
	@scripts/needs demo demo-postgres
	@scripts/as-root examples/taxi/demo $(abspath $(BINARY))

test:
	@scripts/needs build test vm
	scripts/as-root scripts/test

test-vm: build
	@scripts/needs build vm
	scripts/as-root scripts/test-vm --program $(abspath $(BINARY))

test-reference:
	@scripts/needs build test reference
	scripts/as-root scripts/test-reference

test-api:
	@scripts/needs build test api
	scripts/as-root scripts/test-api

test-clients:
	@scripts/needs build test api clients
	scripts/as-root scripts/test-clients

load-api: build
	@scripts/needs build api
	scripts/as-root benches/api_load.py $(abspath $(BINARY))

attacks:
	@scripts/needs build test
	scripts/as-root scripts/attacks

corpus:
	@scripts/needs build test
	scripts/as-root env CORACLE_CORPUS=$(ARCHIVES) cargo test -p store --locked --test corpus -- --nocapture

fuzz:
	@scripts/needs build
	cd fuzz && for target in parser ignore expansion; do \
		cargo run --release --locked --quiet --bin $$target -- $(FUZZ) ../tests/e2e/build/bad || exit 1; done

check:
	@scripts/needs build check
	cargo fmt --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo deny check bans licenses sources

chaos:
	@scripts/needs build test
	scripts/as-root env CORACLE_CHAOS_KILLS=$(KILLS) cargo test -p cli --locked --test chaos -- --test-threads 1 --nocapture \
	  points:: kills::

load: build
	@scripts/needs build test
	scripts/as-root env CORACLE_PROGRAM=$(abspath $(BINARY)) CORACLE_LOAD_IDLE=500 CORACLE_LOAD_RUNS=2000 \
	  CORACLE_LOAD_PARALLEL=32 CORACLE_LOAD_ROUNDS=20 cargo test -p cli --locked --test chaos -- --test-threads 1 --nocapture load:: floods::

bench: build
	@scripts/needs bench
	scripts/as-root benches/compare $(abspath $(BINARY))

install: build
	scripts/as-root install -m 0755 $(BINARY) /usr/local/bin/coracle
