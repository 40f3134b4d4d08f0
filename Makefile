# Everything a person types: `make demo`, `make test`. Each makes what it needs.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

.PHONY: demo test lint types check reference bench instructions clean

demo: $(VENV)/.demo
	$(VENV)/bin/python demo.py $(ARGS)

test: $(VENV)/.test
	$(VENV)/bin/python -m pytest $(ARGS)

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
	rm -rf $(VENV) build dist *.egg-info tests/javascript/node_modules .pytest_cache .mypy_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable '.[fast,metrics]'
	touch $@

$(VENV)/.test: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable '.[fast,test,dev]'
	touch $@

$(VENV)/.bench: setup.cfg pyproject.toml | $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --editable '.[fast,bench]'
	touch $@
