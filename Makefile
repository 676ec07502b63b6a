# One-line targets; continuous integration runs `make check`, nothing else.
#
# The usual PyTorch for Linux carries CUDA. For the smaller CPU build, set
# PIP_EXTRA_INDEX_URL to PyTorch's own index of CPU builds.

SHELL := /bin/bash
PYTHON ?= python3

BIN := .venv/bin
STAMP := .venv/.installed
EXTRAS := compare,dask,fast,jax,sql,tensorflow,torch
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check \
	--constraint constraints.txt
AS_ROOT := $(if $(filter-out 0,$(shell id -u)),sudo)

.DEFAULT_GOAL := help
.PHONY: help setup demo browser test lint types docs check bench accuracy support lock clean

help:  ## Say what each target does
	@sed -n 's/^\([a-z]*\):.*##/\1\t/p' $(MAKEFILE_LIST) | expand -t 12

setup: $(STAMP)  ## Install the package and all its tools into .venv
demo:  ## The main job: compare losses on an embedded real data set
	$(PYTHON) -m venv .venv && $(BIN)/pip install -c constraints.txt -e ".[compare,fast]" && $(BIN)/lossary compare
test: $(STAMP) browser  ## Run every test, documentation examples included
	$(BIN)/pytest -n 2
lint: $(STAMP)  ## Style, format and the one-way imports
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports
types: $(STAMP)  ## Check types, strictly
	$(BIN)/mypy
docs: $(STAMP)  ## Run the documentation's examples alone
	$(BIN)/pytest -n 2 src README.md CONTRIBUTING.md docs
check: lint types test  ## Everything that must pass before a change lands
bench: $(STAMP)  ## Speed beside the peers, as ratios, all of it: within the hour
	$(BIN)/python benchmarks/kernels.py
accuracy: $(STAMP)  ## Worst error per loss, framework and dtype
	PYTHONPATH=tests $(BIN)/python -W ignore -m laws.accuracy
support: $(STAMP)  ## Write docs/support.md: what works where, by running it
	PYTHONPATH=tests $(BIN)/python -W ignore -m laws.support
clean:  ## Remove what the tools leave behind; keeps .venv and stored studies
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

# Who wants XGBoost with graphics cards gets the version of xgboost-cpu.
lock: $(STAMP)  ## Pin every installed version in constraints.txt
	sed -i '/^[^#]/d' constraints.txt
	$(BIN)/python -m pip freeze --all --exclude-editable | sed \
		-e 's/+cpu$$//' -e 's/^xgboost-cpu\(==.*\)/&\nxgboost\1/' >> constraints.txt

$(STAMP): pyproject.toml constraints.txt
	@echo "Installing into .venv (a few minutes the first time)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	echo "lossary needs Python 3.11 or newer: set PYTHON to one" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP_INSTALL) pip
	$(PIP_INSTALL) --editable ".[$(EXTRAS)]" --group dev
	touch $@

browser:  ## Make sure there is a Chromium for the report's test
	@for name in $(CHROMIUM) chromium chromium-browser google-chrome; do \
		command -v $$name && exit; \
	done; \
	echo "No Chromium found: installing it"; \
	{ $(AS_ROOT) apt-get update -qq && $(AS_ROOT) env DEBIAN_FRONTEND=noninteractive \
		apt-get install -qq -y --no-install-recommends chromium; } || { \
	echo "No Chromium could be installed here: install one, or set CHROMIUM to the" \
		"path of a Chromium or Chrome, and run this again." >&2; exit 1; }
