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

soak: ## verify a ledger of a million entries; says how long it took and how much memory
	LICTOR_LEDGER_ENTRIES=1000000 cargo test --release --test all -- --nocapture ledger::a_long_ledger

run: ## a server on port 8000, everything in ./lictor.db
	cargo run --release -- serve
