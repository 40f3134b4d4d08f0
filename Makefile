# The commands of this project: `make demo`, `make test`. Each first installs what it needs.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=
# Tests run in as many processes as there are cores. For a debugger: make test WORKERS=0 ARGS="--pdb tests/test_demo.py"
WORKERS ?= auto

PIP = $(VENV)/bin/python -m pip install --disable-pip-version-check
NODE_MODULES = tests/javascript/node_modules

.PHONY: demo test lint types check reference bench instructions clean

demo: $(VENV)/.demo
	$(VENV)/bin/python demo.py $(ARGS)

# These start hundreds of Python processes: compiled modules are kept, also where the environment says otherwise, as images of
# containers do.
test instructions: export PYTHONDONTWRITEBYTECODE =

test: $(VENV)/.test $(NODE_MODULES)/.installed
	$(VENV)/bin/python -m pytest --numprocesses $(WORKERS) --dist worksteal $(ARGS)

lint: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.test
	$(VENV)/bin/mypy

check: lint types test

reference: $(VENV)/.test
	$(VENV)/bin/python docs/reference.py

instructions: $(VENV)/.test
	$(VENV)/bin/python benchmarks/instructions.py

bench: $(VENV)/.bench
	$(VENV)/bin/python benchmarks/compare.py $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info $(NODE_MODULES) .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	@echo "== Creating a virtual environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "== Installing what the demo needs into $(VENV): the extras fast, metrics and redis of setup.cfg"
	$(PIP) --editable '.[fast,metrics,redis]'
	@touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "== Installing what tests and checks need into $(VENV): the extras fast, test and dev of setup.cfg"
	$(PIP) --editable '.[fast,test,dev]'
	@touch $@

$(VENV)/.bench: setup.cfg pyproject.toml | $(VENV)/bin/python
	@echo "== Installing what the benchmarks need into $(VENV): the extras fast and bench of setup.cfg"
	$(PIP) --editable '.[fast,bench]'
	@touch $@

# Without npm, tests with JavaScript clients are skipped; each says so.
$(NODE_MODULES)/.installed: tests/javascript/package.json
	@if command -v npm >/dev/null; then \
		echo "== Installing the JavaScript clients for the tests: tests/javascript/package.json"; \
		cd tests/javascript && npm install --no-audit --no-fund --no-package-lock && touch node_modules/.installed; \
	else \
		echo "== npm is not installed: tests with JavaScript clients are skipped"; \
	fi
