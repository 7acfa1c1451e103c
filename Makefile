# The verbs of this project. Each does its own set-up; a second call installs nothing while nothing changed.
PYTHON ?= python3
# "required": a test whose tool is missing fails instead of being skipped
STACK ?= $(QUERYSCOPE_STACK)
# `make chaos`: how many kills, rounds of each kind that lasts, of which kinds, from which seed; it goes on where it was
# interrupted
KILLS ?= 100
ROUNDS ?= 2
SEED ?= 1
KINDS ?=

# Two processes share the files among them, in the order of the folders: those whose tests are quick come last, so that
# both end together.
PARALLEL ?= -n 3 --dist loadfile --no-loadscope-reorder

BIN := .venv/bin
PAGE := services/api/static/index.html
PAGE_SOURCES := $(shell find dashboard -name node_modules -prune -o -type f ! -name '*.tsbuildinfo' -print 2>/dev/null)
# A page that is gone (git clean) means installing again, though no source is newer.
INPUTS := pyproject.toml constraints.txt hatch_build.py $(PAGE_SOURCES) $(if $(wildcard $(PAGE)),,FORCE)
UV := uv==0.13.9
export PIP_DISABLE_PIP_VERSION_CHECK := 1
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif

.PHONY: help install demo lint check test benchmark chaos docs FORCE
.DEFAULT_GOAL := help

help:
	@echo 'make demo       install, then run the demo: two runs, one fault, one diagnosis'
	@echo 'make install    .venv with everything that developing needs'
	@echo 'make lint       ruff, mypy --strict, import-linter, sizes'
	@echo 'make check      lint and the quick tests (unit, contract)'
	@echo 'make test       lint and every test'
	@echo 'make benchmark  speed and truth, measured'
	@echo 'make chaos      $(KILLS) kills at random instants of runs on real servers (KILLS=n ROUNDS=n SEED=n KINDS=broker,clocks)'
	@echo 'make docs       write anew the pages and schemas that are made from the code'

install: .venv/.installed-test

demo: .venv/.installed
	$(BIN)/queryscope demo

lint: .venv/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy .
	$(BIN)/lint-imports --no-logo
	$(BIN)/python tools/check_sizes.py

check: lint
	$(BIN)/pytest tests/unit tests/contract

# Compiled first: they start hundreds of processes, where the environment may forbid writing what was compiled.
test: lint
	@$(BIN)/python -m compileall -q -j 0 schemas backbone services queryscope lab migrations
	QUERYSCOPE_STACK=$(STACK) $(BIN)/pytest $(PARALLEL)

benchmark: .venv/.installed-test
	$(BIN)/python -m benchmarks

chaos: .venv/.installed-test
	$(BIN)/python -m tests.chaos --kills $(KILLS) --rounds $(ROUNDS) --seed $(SEED) $(if $(KINDS),--kinds $(KINDS))

docs: .venv/.installed-test
	$(BIN)/python tools/write_metrics_page.py
	$(BIN)/python tools/write_catalogue.py

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'QueryScope needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 ...' >&2; exit 1; }
	$(PYTHON) -m venv .venv

# uv installs in a third of pip's time; where it cannot (an index that only pip is told of), pip does.
define install
$(BIN)/python -m pip install --quiet --no-compile $(UV)
$(BIN)/uv pip install --quiet --python $(BIN)/python -c constraints.txt -e '$(1)' || \
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '$(1)'
endef

# Not compiled: the demo shows its first result sooner; what it imports is compiled as it is imported.
.venv/.installed: $(INPUTS) | $(BIN)/python
	$(call install,.)
	@touch $@

# The tests start many processes, some where Python may not write what it compiled: all is compiled once, here.
.venv/.installed-test: $(INPUTS) | $(BIN)/python
	$(call install,.[test])
	@$(BIN)/python -m compileall -q -j 0 -x '/tests?/' .venv/lib
	@touch .venv/.installed $@
