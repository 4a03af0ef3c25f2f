# Verbs of the workshop. `make help` lists them. Everything lands in $(VENV) and build/, both in this folder.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# The first interpreter that is there, runs, and is new enough.
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)
VENV ?= .venv
BIN := $(VENV)/bin
JOBS ?= auto
ARGS ?=
PROJECTS := pyproject.toml clients/python/pyproject.toml
# Installing is quiet and silent about newer versions of pip.
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install
PROTOS = $(shell cd proto && find gridloom -name '*.proto' | sort)
STUBS := clients/python/gridloom/api

.PHONY: help
help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Gridloom needs Python 3.11, 3.12 or 3.13: none was found" >&2; exit 1; }
	$(PYTHON) -m venv --upgrade-deps $(VENV)

# What users get, and what the demo needs.
$(VENV)/.installed: $(PROJECTS) | $(BIN)/python
	$(PIP) --editable clients/python --editable '.[demo]'
	@touch $@

# What developers and tests need besides.
$(VENV)/.installed-dev: $(PROJECTS) | $(BIN)/python
	$(PIP) --editable clients/python --editable '.[dev]'
	@touch $(VENV)/.installed $@

.PHONY: setup
setup: $(VENV)/.installed-dev ## Make the virtual environment with all tools
	@if [ -d .git ] && [ -z "$${CI:-}" ]; then $(BIN)/pre-commit install >/dev/null; fi

.PHONY: demo
demo: $(VENV)/.installed ## Run the main job: a model-selection study on real data (under 3 minutes)
	@trap '$(BIN)/gridloom down --cancel --home build/platform >/dev/null 2>&1' EXIT; \
	  $(BIN)/gridloom demo --home build/platform --out build/demo $(ARGS)

.PHONY: test
test: $(VENV)/.installed-dev ## Run the tests (under 5 minutes on 2 cores)
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m 'not slow' $(ARGS)

.PHONY: test-slow
test-slow: $(VENV)/.installed-dev ## Run the tests that take tens of seconds each
	$(BIN)/python -m pytest -n $(JOBS) --dist worksteal -m slow $(ARGS)

.PHONY: crash
crash: $(VENV)/.installed-dev ## Break a platform at random, 200 times (under 20 minutes; ARGS="--seeds 10 --first 7")
	$(BIN)/python -m tests.crash.harness $(ARGS)

.PHONY: lint
lint: $(VENV)/.installed-dev ## Style, import contracts, protos; prints the shape of the tree
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/buf lint proto
	@$(BIN)/python tests/support/shape.py

.PHONY: types
types: $(VENV)/.installed-dev ## mypy --strict
	$(BIN)/mypy

.PHONY: proto
proto: $(VENV)/.installed-dev ## Generate the stubs from proto/
	$(BIN)/buf lint proto
	@find $(STUBS) -name '*_pb2*' -delete
	PATH=$(abspath $(BIN)):$$PATH $(BIN)/python -m grpc_tools.protoc -Iproto --python_out=clients/python \
	  --grpc_python_out=clients/python --mypy_out=quiet:clients/python --mypy_grpc_out=quiet:clients/python $(PROTOS)

.PHONY: proto-check
proto-check: proto ## Fail when the checked-in stubs are not those of proto/
	@git diff --exit-code --stat -- $(STUBS) || { echo "stubs differ from proto/: run make proto and commit" >&2; exit 1; }

.PHONY: schemas
schemas: $(VENV)/.installed-dev ## Write what a fresh SQLite store is made from, after tables have changed
	$(BIN)/python -m tests.support.schemas

# The peers have an environment of their own. Celery and Dramatiq take part where redis-server is.
$(VENV)-bench/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m venv --upgrade-deps $(VENV)-bench
	$(VENV)-bench/bin/python -m pip --quiet --disable-pip-version-check install \
	  --editable clients/python --editable '.[bench]'
	@touch $@

.PHONY: bench
bench: $(VENV)/.installed-dev $(VENV)-bench/.installed ## Measure Gridloom beside its peers (ARGS="contest --peers ray", --fresh, see --help)
	$(BIN)/python -m tests.bench --python $(VENV)-bench/bin/python $(ARGS)

.PHONY: bench-quick
bench-quick: $(VENV)/.installed-dev ## Measure Gridloom alone, in less than 3 minutes
	$(BIN)/python -m tests.bench --quick --out build/bench-quick $(ARGS)

.PHONY: helm-test
helm-test: $(VENV)/.installed-dev ## Lint, render and check the chart (builds helm where there is none; E2E_KUBECONFIG adds a dry run)
	$(BIN)/python -m tests.helm $(ARGS)

.PHONY: images
images: $(VENV)/.installed-dev ## Build the container images (BASE=a Debian, PYTHONS="3.11 3.13" of the workers)
	$(BIN)/python -m tests.e2e.images

.PHONY: e2e-node-image
e2e-node-image: $(VENV)/.installed-dev ## Make the node image of the tests' cluster, where no image registry is reached
	$(BIN)/python -m tests.e2e.node_image $(ARGS)

.PHONY: e2e-prepare
e2e-prepare: $(VENV)/.installed-dev ## Make ahead what e2e needs: the node image and Gridloom's (E2E_IMAGES=present then takes them)
	$(BIN)/python -m tests.e2e.cluster prepare

# The cluster goes however the tests end. What it costs to make is kept in ~/.cache/gridloom/e2e.
.PHONY: e2e
e2e: $(VENV)/.installed-dev ## Test on a real cluster (KEEP=1 keeps it, ARGS="-k gang" runs a part)
	@trap 'test -n "$${KEEP:-}" || $(BIN)/python -m tests.e2e.cluster down' EXIT; \
	  $(BIN)/python -m pytest -n 0 -v -s tests/e2e $(ARGS)

.PHONY: e2e-scale
e2e-scale: $(VENV)/.installed-dev ## Measure on that cluster, with a thousand jobs on nodes simulated by kwok
	@trap 'test -n "$${KEEP:-}" || $(BIN)/python -m tests.e2e.cluster down' EXIT; \
	  E2E_FIGURES=1 $(BIN)/python -m pytest -n 0 -v -s tests/e2e/figures $(ARGS)

.PHONY: clean
clean: ## Remove what the other verbs made
	rm -rf .venv .venv-* build .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
