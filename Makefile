# Two commands: `make demo` tells the whole story, `make test` checks it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help demo test lint types bench clean

help:
	@echo "make demo   a few small audio tasks, learned one after another, offline"
	@echo "make test   lint, types and tests"
	@echo "make bench  measures beside transformers and peft, and writes benchmarks/RESULTS.md"

# Installed once; again only when pyproject.toml changes.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/cl-ast demo

# One torch thread a worker: two would wait for each other on two cores.
test: lint types
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

bench: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

clean:
	rm -rf $(VENV) cl-ast-demo build dist *.egg-info
