.DEFAULT_GOAL := help
.PHONY: help check test test-beside-postgres bless bench bench-instructions bench-peers differential fuzz soak run

# nextest is faster and says more about a failure; plain cargo runs the same tests.
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

help: ## say what there is
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / — /'

check: ## format, lints and documentation, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
ifneq ($(shell cargo deny --version 2>/dev/null),)
	cargo deny check
endif

test: ## every test, on SQLite and on a PostgreSQL that it starts
	tests/postgres.sh $(MAKE) --no-print-directory test-beside-postgres

test-beside-postgres: # LICTOR_TEST_POSTGRES names the PostgreSQL
ifeq ($(NEXTEST),yes)
	cargo nextest run --workspace --no-fail-fast
	LICTOR_TEST_DATABASE=postgres cargo nextest run -p lictor-server --test api --no-fail-fast
	cargo test --workspace --doc
else
	cargo test --workspace --no-fail-fast
	LICTOR_TEST_DATABASE=postgres cargo test -p lictor-server --test api --no-fail-fast
endif

bless: ## rewrite what tests expect (.expected files); read the diff
	UPDATE_EXPECT=1 cargo test --workspace

bench: ## measure; benches/README.md says what
	cargo bench --workspace

bench-instructions: ## count instructions, and compare with what is recorded (needs valgrind)
	benches/instructions.sh

bench-peers: ## the same rules through other engines; a wrong answer fails; rewrites the tables in benches/README.md
	cd benches/peers && cargo run --release

differential: ## engines, index and memories against what defines them, on over two million events (LICTOR_FUZZ times as many as in CI)
	engine/tests/differential.sh

# How long each target is fuzzed. An input that fails is written to tests/fuzz/found/<target>, where `make test` finds it;
# FUZZ_INPUT=<file> cargo test -p lictor-engine --test fuzz <target> runs it alone.
FUZZ_SECONDS ?= 600

fuzz: ## engines against each other on ten times as many policies; each fuzz target for FUZZ_SECONDS (needs a C++ compiler)
	LICTOR_FUZZ=10 engine/tests/differential.sh
	cd tests/fuzz && RUSTC_WRAPPER=$$PWD/rustc.sh cargo build --release
	cd tests/fuzz && for target in parse check judge; do \
		mkdir -p corpus/$$target found/$$target; \
		(ulimit -s 2048; LICTOR_TARGET=$$target RUSTC_WRAPPER=$$PWD/rustc.sh cargo run --release -- corpus/$$target \
			-max_total_time=$(FUZZ_SECONDS) -max_len=32768 -len_control=0 -timeout=30 -rss_limit_mb=2048 \
			-print_final_stats=1 -artifact_prefix=found/$$target/) || exit 1; \
	done

# What tests do a little of, in full: entries of a ledger, kills, backups, rows of an old database, decisions judged again,
# rounds of secrets; cuts of the power, seconds of a lock.
SOAK := LICTOR_LEDGER_ENTRIES=1000000 LICTOR_LEDGER_RATE=1000 LICTOR_KILLS=300 LICTOR_BACKUPS=60 LICTOR_UPGRADE_ROWS=100000 \
	LICTOR_REPLAY_DECISIONS=100000 LICTOR_SECRET_ROUNDS=1000
SOAK_FAULTS := LICTOR_CUTS=20000 LICTOR_LOCKED_S=30

soak: ## what tests do a little of, in full and in release: hours; says how long each took
	tests/postgres.sh env $(SOAK) cargo test --release --test all -- --nocapture --test-threads=1 \
		ledger:: durability:: backup:: upgrade:: replay:: secrets:: bombs:: slow_connections::
	tests/postgres.sh env $(SOAK_FAULTS) cargo test --release -p lictor-server --test faults -- --nocapture --test-threads=1

run: ## a server on port 8000, everything in ./lictor.db
	cargo run --release -- serve
