.DEFAULT_GOAL := help
.PHONY: help check test bless bench fuzz run

# nextest is faster and says more about a failure; plain cargo runs the same tests.
NEXTEST := $(shell cargo nextest --version >/dev/null 2>&1 && echo yes)

help: ## say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / — /'

check: ## format, lints and documentation, warnings denied
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps
ifneq ($(shell cargo deny --version 2>/dev/null),)
	cargo deny check
endif

test: ## every test
ifeq ($(NEXTEST),yes)
	cargo nextest run --workspace --no-fail-fast
	cargo test --workspace --doc
else
	cargo test --workspace --no-fail-fast
endif

bless: ## rewrite what tests expect (.expected files); read the diff
	UPDATE_EXPECT=1 cargo test --workspace

bench: ## measure; benches/README.md says what
	cargo bench --workspace

fuzz: ## interpreter against machine code, ten times as many cases as in the tests
	LICTOR_FUZZ=10 cargo test --release -p lictor-engine --test differential

run: ## a server on port 8000, everything in ./lictor.db
	cargo run --release -- serve
