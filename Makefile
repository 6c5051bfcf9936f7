# Everything here works on a machine with Python 3.10–3.13, git and make; .ci/run calls the same targets.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUNS   ?= runs
READY  := $(VENV)/.ready
# A worker a core, each with one thread: tiny models gain nothing by more, and two workers with two threads each wait.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: help demo test slow browser check format clean
.DEFAULT_GOAL := help

help:            ## Say what there is
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info[:2] <= (3, 13) else "fairtune needs Python 3.10 to 3.13, this is " + sys.version.split()[0] + "; choose one with: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@

demo: $(READY)   ## Train, score and compare real fine-tunes of a 135M model (five to twelve minutes on two cores)
	$(BIN)/fairtune run studies/demo.yaml --runs $(RUNS)

test: $(READY)   ## The ordinary tests (minutes)
	$(PYTEST) -m 'not slow and not browser'

slow: $(READY)   ## The tests with real weights
	$(PYTEST) -m slow

browser: $(READY) ## The report's page in a headless Chromium that is installed
	$(BIN)/python -m pytest -m browser

check: $(READY)  ## Lint, format, strict types, import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY) ## Let ruff put the code in order
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:           ## Remove the environment and caches; runs stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
