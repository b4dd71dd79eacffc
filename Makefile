# Commands for developers. `make help` lists them.

CARGO ?= cargo
COMPOSE ?= $(shell docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose)
# cargo-nextest runs each test with a time limit, see .config/nextest.toml; `make` works without it.
# Tests mostly wait: three times as many at a time as there are cores.
TEST_THREADS ?= $(shell echo $$((3 * $$(getconf _NPROCESSORS_ONLN))))
TEST = NEXTEST_TEST_THREADS=$(TEST_THREADS) RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) $(shell $(CARGO) nextest --version >/dev/null 2>&1 && echo nextest run || echo test)
# Which tests were skipped, and why.
SKIPPED := $(abspath $(or $(CARGO_TARGET_DIR),target))/skipped-tests
GUEST_TARGET := wasm32-wasip2
# All guests in Rust. Those under plugins/ share a target folder, so shared dependencies are compiled once.
GUESTS := $(patsubst %/Cargo.toml,%,$(wildcard plugins/*/Cargo.toml sdk/*/Cargo.toml tests/guests/*/Cargo.toml))
# Crates that only `make bench-peers` builds.
PEERS_IN_RUST := $(patsubst %/Cargo.toml,%,$(wildcard tests/bench/peers/rust/*/Cargo.toml))
PLUGINS_TARGET_DIR := $(or $(CARGO_TARGET_DIR),target)/release/guests

.DEFAULT_GOAL := help
.PHONY: help setup run build test test-browser screenshots test-postgres bench bench-growth bench-peers chaos soak attack api-fuzz docs lint fmt plugins plugins-all programs up down logs rebuild clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Check the toolchain and add the plugin target (other commands call it)
	@command -v $(CARGO) >/dev/null 2>&1 || { \
	  echo "make: cargo is not installed. Get Rust from https://rustup.rs, open a new shell, and try again." >&2; exit 1; }
	@command -v cc >/dev/null 2>&1 || { \
	  echo "make: no C compiler (cc) found, SQLite needs one: apt-get install gcc libc6-dev" >&2; exit 1; }
	@test -d "$$(rustc --print sysroot)/lib/rustlib/$(GUEST_TARGET)" || { \
	  command -v rustup >/dev/null 2>&1 || { \
	    echo "make: this Rust cannot build plugins: install its standard library for $(GUEST_TARGET)." >&2; exit 1; }; \
	  rustup target add $(GUEST_TARGET); }

run: setup ## Build and serve on 127.0.0.1:8080 (options: make run ARGS="--slots 50")
	$(CARGO) run --release --locked -p wasmill -- serve $(ARGS)

build: setup ## Build the binary, target/release/wasmill
	$(CARGO) build --release --locked -p wasmill

# Tests use the profile of `make run`, so everything is compiled once. The scheduler's run separately: they need
# tokio's test-util feature, which Cargo would otherwise enable for the whole workspace.
test: build ## Run every test
	@rm -f $(SKIPPED)
	$(TEST) --release --locked -p wasmill-scheduler
	WASMILL_TEST_SKIPPED=$(SKIPPED) $(TEST) --release --locked --workspace --exclude wasmill-scheduler
	@if [ -f $(SKIPPED) ]; then sort -u $(SKIPPED); fi

# The tests of the dashboard are in JavaScript; playwright and axe come from npm and are nowhere else.
test-browser: build ## Test the access policy, the API viewer and the dashboard in Chromium
	WASMILL_TEST_REQUIRE=all $(CARGO) test --release --locked --workspace --exclude wasmill-scheduler --test product -- browser
	@command -v npm >/dev/null 2>&1 || { echo "make: no npm found: apt-get install nodejs npm" >&2; exit 1; }
	cd tests/browser && npm ci --ignore-scripts --no-audit --no-fund
	cd tests/browser && CARGO_TARGET_DIR=$(abspath $(or $(CARGO_TARGET_DIR),target)) node --test

screenshots: build ## Take the pictures of the dashboard in docs/images
	cd tests/browser && npm ci --ignore-scripts --no-audit --no-fund
	cd tests/browser && CARGO_TARGET_DIR=$(abspath $(or $(CARGO_TARGET_DIR),target)) node shoot.mjs ../../docs/images

# In one process, since each starts a server of PostgreSQL of its own. Left out are tests without a server, those of the
# command line and of the book, and those of the browser.
test-postgres: build ## Run the product tests with the tasks in PostgreSQL
	WASMILL_TEST_DATABASE=own RUST_TEST_THREADS=$(TEST_THREADS) $(CARGO) test --release --locked --workspace \
	  --exclude wasmill-scheduler --test product -- --skip cli:: --skip docs:: --skip http::browser:: $(ARGS)

bench: build ## Run the benchmarks: floors, throughput, latency, plugins (one part: ARGS=large, ARGS=access, ARGS=cluster)
	$(CARGO) bench --locked --workspace --exclude wasmill-scheduler --bench bench -- $(ARGS)

bench-growth: build ## Measure the cost of a task beside many others, and write docs/explanation/growth.md (GROWTH_SLOTS, GROWTH_STORED)
	$(CARGO) bench --locked --workspace --exclude wasmill-scheduler --bench bench -- growth

bench-peers: setup ## Benchmark Wasmill against its peers, and write docs/explanation/peers.md (PEERS="bullmq celery" prints some only)
	python3 tests/bench/peers/run.py $(PEERS)

chaos: build ## Kill, freeze and starve a busy server, then check every guarantee (CHAOS_SECONDS, CHAOS_SEED, CLUSTER=3)
	$(if $(CLUSTER),CHAOS_CLUSTER=$(CLUSTER)) $(CARGO) bench --locked --workspace --exclude wasmill-scheduler --bench chaos

soak: build ## Load all features of a server for ten minutes, and check that no resource grows (SOAK_SECONDS)
	$(CARGO) bench --locked --workspace --exclude wasmill-scheduler --bench soak

attack: build ## Attack a server beside a good client, in turns, and check that it serves and nothing grows (ATTACK_SECONDS, ATTACK_ONLY)
	$(CARGO) bench --locked --workspace --exclude wasmill-scheduler --bench attack

api-fuzz: build ## Fuzz the REST API from its OpenAPI document (API_FUZZ_SECONDS)
	.ci/api-fuzz

docs: build ## Write the generated tables of docs/reference and the bindings of sdk, which the tests compare
	WRITE_DOCS=1 $(CARGO) test --release --locked --workspace --exclude wasmill-scheduler --test product -- docs::reference docs::bindings

lint: setup ## Check formatting, lints, doc comments and the licences of dependencies
	$(CARGO) fmt --all --check
	for guest in $(GUESTS) $(PEERS_IN_RUST); do $(CARGO) fmt --check --manifest-path $$guest/Cargo.toml || exit 1; done
	@if command -v python3 >/dev/null 2>&1; then .ci/import-circles -v host/*/src && .ci/unused-dependencies host/*/ tests; \
	  else echo "make: imports and unused dependencies not checked, python3 is missing"; fi
	$(CARGO) clippy --release --locked --workspace --all-targets -- -D warnings
	$(CARGO) clippy --release --locked -p wasmill --no-default-features -- -D warnings
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --workspace --no-deps --document-private-items
	@if command -v cargo-deny >/dev/null 2>&1; then $(CARGO) deny check licenses bans sources; \
	  else echo "make: licences not checked, cargo-deny is missing: cargo install --locked cargo-deny"; fi

fmt: ## Format all code
	$(CARGO) fmt --all
	for guest in $(GUESTS) $(PEERS_IN_RUST); do $(CARGO) fmt --manifest-path $$guest/Cargo.toml || exit 1; done

plugins: setup ## Build the Rust plugins under plugins/ to .wasm files beside their folders
	for plugin in plugins/*/Cargo.toml; do \
	  name=$$(basename $$(dirname $$plugin)); \
	  $(CARGO) build --release --locked --target $(GUEST_TARGET) --target-dir $(PLUGINS_TARGET_DIR) --manifest-path $$plugin || exit 1; \
	  cp $(PLUGINS_TARGET_DIR)/$(GUEST_TARGET)/release/$$(echo $$name | tr - _).wasm plugins/$$name.wasm || exit 1; \
	done

plugins-all: plugins ## Build these and the plugins in other languages whose tools are installed
	@plugins/build.sh

programs: setup ## Build the crates.io programs that tests run as plugins, into ~/.cache (takes minutes)
	@tests/programs/build.sh

up: ## Start the container in the background, building it if needed
	$(COMPOSE) up -d

rebuild: ## Rebuild the container and start it
	$(COMPOSE) up -d --build

down: ## Stop the container; its volume keeps the tasks
	$(COMPOSE) down

logs: ## Follow the container's log
	$(COMPOSE) logs -f

clean: ## Delete build outputs (keeps tasks in ./data)
	$(CARGO) clean
	rm -rf plugins/*/target sdk/*/target tests/guests/*/target
