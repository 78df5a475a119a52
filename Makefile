# `make` lists the targets. GNU make 4 and any POSIX shell.

PYTHON ?= python3
PORT ?= 8080
EXAMPLE ?= library
GENERATED ?= 20
EXAMPLES := fleet/src/awm_fleet/examples
# Scenarios of another state of the generator are made anew.
BUILTIN := $(shell find generator/src/awm_generator/builtin -name '*.py' -o -name '*.yaml' 2>/dev/null | LC_ALL=C sort | xargs cat /dev/null | cksum | cut -d' ' -f1)
SCENARIOS := .awm/generated/$(GENERATED)-$(BUILTIN)
RUNTIME := .awm/images/awm-runtime/index.json
BIN := $(CURDIR)/.venv/bin
SYNCED := .venv/.synced

export UV_PYTHON_DOWNLOADS := never

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup up down demo test test-unit test-contract test-e2e test-docker test-chart test-cluster testbed chart images
.PHONY: check imports format bench bench-builtin bench-generator bench-images bench-kubernetes bench-router clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(SYNCED) ## Install everything into .venv (the other targets do this by themselves)

$(SYNCED): uv.lock pyproject.toml images/runtime/pyproject.toml registry/pyproject.toml generator/pyproject.toml fleet/pyproject.toml .ci/workspace.py
	@command -v $(PYTHON) >/dev/null || { echo "setup: no $(PYTHON) here; name one: make setup PYTHON=..." >&2; exit 1; }
	@$(PYTHON) .ci/workspace.py sync
	@touch $@

up: setup $(SCENARIOS)/gen_envs.jsonl ## Serve the examples and 20 generated scenarios at http://127.0.0.1:8080 until Ctrl-C (PORT=, GENERATED=)
	@set -- --bundles $(EXAMPLES); [ ! -d $(SCENARIOS)/bundles ] || set -- "$$@" --bundles $(SCENARIOS)/bundles; \
	exec $(BIN)/awm up --port $(PORT) "$$@"

$(SCENARIOS)/gen_envs.jsonl: | setup
	@rm -rf $(filter-out $(SCENARIOS),$(wildcard .awm/generated/*))
	@[ $(GENERATED) -eq 0 ] || { echo "up: generating $(GENERATED) scenarios into $(SCENARIOS), this once"; \
	$(BIN)/awm gen all --provider builtin --target_count $(GENERATED) --seed 7 --output_dir $(SCENARIOS) \
	|| echo "up: not all scenarios could be generated, see above; what is there is served" >&2; }

down: ## Stop what `make up` started in this checkout
	@if [ -x $(BIN)/awm ]; then $(BIN)/awm down; else echo "nothing runs here: nothing is installed"; fi

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

test-docker: setup ## Run the tests that need a Docker engine (with AWM_REQUIRE=docker a missing one fails them)
	@$(BIN)/pytest tests/docker
	@$(BIN)/pytest tests/contract/backends -k docker

images: setup ## Build the base images of containers and print their sizes (IMAGES_ARGS="--base debian")
	@$(BIN)/python images/build.py $(IMAGES_ARGS)

HELM ?= helm
chart: setup ## Package the Helm chart into dist/ (HELM=, by default the one on the PATH)
	@$(BIN)/python helm/generate.py
	@$(HELM) package helm/awm-fleet --destination dist

test-chart: setup ## Run the tests of the Helm chart (after `make testbed`)
	@$(BIN)/pytest tests/chart

test-cluster: setup ## Run the tests on Kubernetes, with simulated nodes and a real one (root, Docker; after `make testbed`)
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

$(RUNTIME): $(shell find images -name '*.py' -o -name Dockerfile -o -name pyproject.toml) uv.lock | setup
	@$(BIN)/python images/build.py --only awm-runtime $(IMAGES_ARGS)

bench-images: setup $(RUNTIME) ## Measure the assembly, pushing and starting of 1,000 images (BENCH_ARGS="--quick")
	@PYTHONPATH=tests $(BIN)/python -m bench.images $(BENCH_ARGS)

bench-router: setup ## Measure what the router costs: table on standard error, JSON on standard output (BENCH_ARGS="--soak 600")
	@PYTHONPATH=tests $(BIN)/python -m bench.router $(BENCH_ARGS)

bench-builtin: setup ## Benchmark the built-in generator on 1,000 scenarios (BENCH_ARGS="--count 100")
	@PYTHONPATH=tests $(BIN)/python -m bench.builtin $(BENCH_ARGS)

bench-generator: setup ## Measure the pace and the memory of `awm gen` (BENCH_ARGS="--quick", "--grown 100")
	@PYTHONPATH=tests $(BIN)/python -m bench.generator $(BENCH_ARGS)

bench-kubernetes: setup ## Measure 1,000 scenarios on simulated nodes and a few on a real one (root; after `make testbed images`)
	@PYTHONPATH=tests $(BIN)/python -m cluster.bench $(BENCH_ARGS)

clean: ## Remove what the other targets made
	rm -rf .venv .tools .awm dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis
