# Two commands do everything: `make demo` and `make test`. The rest is for daily work.
# Paths stay relative so that the project may live in a folder with spaces in its name.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-builtin-rules

PY := .venv/bin/python
# The demo, `up` and the like replace make's shell, so that Ctrl-C and SIGTERM reach them and nothing else.
FOOTFALL := exec .venv/bin/python -m orchestration.cli

.PHONY: help
help: ## show what there is
	@grep -hE '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: demo
demo: .venv/.runtime ## set up, run the main job on a sample day, show where to look (Ctrl-C ends it)
	@$(FOOTFALL) demo

.PHONY: up
up: .venv/.runtime ## start PostgreSQL and Dagster, watch the landing folder
	@$(FOOTFALL) up

.PHONY: down
down: .venv/.runtime ## stop what `make up` started elsewhere
	@$(FOOTFALL) down

# Four processes for the two cores of a small machine: tests wait for servers and clocks much of the time.
.PHONY: test
test: .venv/.dev ## all tests
	@$(PY) -m pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(TESTARGS)

.PHONY: coverage
coverage: .venv/.dev ## all tests, and which lines of our packages they reach
	@$(PY) -m pytest --numprocesses 3 --dist loadfile --cov --cov-report term-missing:skip-covered $(TESTARGS)

.PHONY: soak
soak: .venv/.dev ## hours of it: faults at every boundary of every model, thousands of random histories
	@$(PY) -m pytest --numprocesses 2 --timeout 0 -m soak
	@$(PY) -m pytest --timeout 0 --hypothesis-profile soak tests/integration/test_increments_against_reference.py

.PHONY: bench
bench: .venv/.dev ## measure the load of a large file, and late events on long histories
	@$(PY) -m tests.benchmarks.bulk_load
	@$(PY) -m tests.benchmarks.increment_cost 1000000 10000000

.PHONY: bench-latency
bench-latency: .venv/.dev ## measure drop to fresh marts, idleness and start, beside Dagster's own ways (half an hour)
	@$(PY) -m tests.benchmarks.latency --picture docs/latency.svg --write docs/performance.md

.PHONY: lint
lint: .venv/.dev ## format and lint checks, types, SQL style
	@$(PY) -m ruff format --check .
	@$(PY) -m ruff check .
	@$(PY) -m mypy
	@$(PY) -m sqlfluff lint --disable-progress-bar dbt_project

.PHONY: format
format: .venv/.dev ## put the code into shape
	@$(PY) -m ruff format .
	@$(PY) -m ruff check --fix .

# setuptools is locked with the rest because the project itself is installed without build isolation, hence offline.
LOCK = $(PY) -m uv pip compile --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --quiet pyproject.toml -
.PHONY: lock
lock: .venv/.dev ## resolve the dependencies anew (needs the package index)
	@echo 'setuptools>=80' | $(LOCK) --output-file requirements.lock
	@echo 'setuptools>=80' | $(LOCK) --extra dev --constraints requirements.lock --output-file requirements-dev.lock

.PHONY: clean
clean: ## remove the virtual environment and caches; data stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info

# --- the virtual environment ------------------------------------------------------------------------------------

.venv/.created:
	@for python in python3 python3.14 python3.13 python3.12 python3.11 none; do \
	  if [ $$python = none ]; then \
	    echo "Footfall needs Python 3.11 or newer, and found none. On Debian or Ubuntu: apt install python3 python3-venv" >&2; exit 1; \
	  fi; \
	  if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	done; \
	if ! $$python -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "$$python comes without the venv module. On Debian or Ubuntu: apt install python3-venv" >&2; exit 1; \
	fi; \
	$$python -m venv .venv && touch $@

.venv/.runtime: .venv/.created requirements.lock pyproject.toml
	@echo "Installing Footfall's locked dependencies (a minute or two, once) …"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

.venv/.dev: .venv/.runtime requirements-dev.lock
	@echo "Installing the locked tools that tests and checks need …"
	@$(PY) -m pip install -qq --disable-pip-version-check --no-deps --require-hashes --requirement requirements-dev.lock
	@touch $@
