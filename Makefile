# `make` lists the targets. GNU make 4 and any POSIX shell.

PYTHON ?= python3
PORT ?= 8001
EXAMPLE ?= library
BIN := $(CURDIR)/.venv/bin
SYNCED := .venv/.synced

export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup up down demo test test-unit test-contract test-e2e test-chart test-cluster testbed check imports format bench bench-kubernetes clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(SYNCED) ## Install everything into .venv (the other targets do this by themselves)

$(SYNCED): uv.lock pyproject.toml images/runtime/pyproject.toml registry/pyproject.toml generator/pyproject.toml fleet/pyproject.toml .ci/workspace.py
	@command -v $(PYTHON) >/dev/null || { echo "setup: no $(PYTHON) here; name one: make setup PYTHON=..." >&2; exit 1; }
	@$(PYTHON) .ci/workspace.py sync
	@touch $@

# The shell's process id is the server's: `exec` replaces the one by the other.
up: setup ## Serve the example scenario at http://127.0.0.1:8001/mcp until Ctrl-C (PORT=, EXAMPLE=)
	@mkdir -p .awm
	@echo $$$$ > .awm/up.pid; exec $(BIN)/awm env start $(EXAMPLE) --port $(PORT)

down: ## Stop what `make up` started in this checkout
	@$(PYTHON) .ci/workspace.py down

demo: setup ## Play a task of the example call by call, and judge it
	@$(BIN)/awm demo $(EXAMPLE)

test: setup ## Run every test that this machine can run
	@$(BIN)/pytest --ignore=tests/bench

test-unit: setup ## Run the unit tests
	@$(BIN)/pytest tests/unit

test-contract: setup ## Run the contract tests
	@$(BIN)/pytest tests/contract

test-e2e: setup ## Run the tests that start real processes
	@$(BIN)/pytest tests/e2e

test-chart: setup ## Run the tests of the Helm chart (after `make testbed`)
	@$(BIN)/pytest tests/chart

test-cluster: setup ## Run the tests on a Kubernetes control plane with simulated nodes (root; after `make testbed`)
	@$(BIN)/pytest tests/cluster

testbed: setup ## Build Kubernetes, Helm and what else these tests need into the user's cache (10 minutes the first time)
	@PYTHONPATH=tests $(BIN)/python -m cluster.testbed build

check: setup imports ## Check format, lint, types, imports and the lock file
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/ruff check --quiet
	@$(BIN)/mypy
	@.tools/bin/uv lock --check --quiet --python $(BIN)/python

imports: setup ## Check the arrows between the packages
	@$(BIN)/lint-imports --no-logo

format: setup ## Format the code and mend what lint can mend
	@$(BIN)/ruff check --fix --quiet
	@$(BIN)/ruff format --quiet

bench: setup ## Run the benchmarks: table on standard error, JSON on standard output (BENCH_ARGS="--write --only calls")
	@PYTHONPATH=tests $(BIN)/python -m bench $(BENCH_ARGS)

bench-kubernetes: setup ## Install 1,000 scenarios on simulated nodes and print what it takes (root; after `make testbed`)
	@PYTHONPATH=tests $(BIN)/python -m cluster.bench $(BENCH_ARGS)

clean: ## Remove what the other targets made
	rm -rf .venv .tools .awm .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
