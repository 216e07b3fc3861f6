# `make demo` tells the whole story, `make test` checks it.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# What tests write is in memory where there is room, since a disk takes milliseconds for each of ten thousands of fsyncs.
MEMORY := $(shell test -w /dev/shm && test "$$(df --output=avail -k /dev/shm | tail -n 1)" -gt 3000000 && \
	echo PYTEST_DEBUG_TEMPROOT=/dev/shm)
# One torch thread a worker: two would wait for each other on two cores. In the order of their names the files that take
# longest are not the last ones.
PYTEST := $(MEMORY) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

# What Python compiles is kept, whatever the surroundings say: the tests start many processes that import torch, and each
# would compile it again, for seven seconds.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help install demo test test-fast lint types tests quick-tests coverage docs bench clean

help:
	@echo "make demo       a few small audio tasks, learned one after another, offline"
	@echo "make test       lint, types and tests"
	@echo "make test-fast  lint, types and the tests that are not slow"
	@echo "make docs       the documentation as a site, in site/"
	@echo "make coverage   which lines the tests run that are not slow"
	@echo "make bench      measures beside transformers and peft, and writes benchmarks/RESULTS.md"

# Installed once; again only when pyproject.toml changes. The pip that comes with Python 3.11 takes minutes to find which
# releases fit together; what is not imported need not be compiled.
$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --no-compile --editable '.[dev]'
	touch $(STAMP)

install: $(STAMP)

demo: $(STAMP)
	$(BIN)/cl-ast demo

# The types are checked while the tests run: pytest's workers wait for disks and processes now and then.
test: $(STAMP)
	$(MAKE) --jobs 2 lint types tests

test-fast: $(STAMP)
	$(MAKE) --jobs 2 lint types quick-tests

tests: $(STAMP)
	$(PYTEST)

quick-tests: $(STAMP)
	$(PYTEST) -m "not slow"

coverage: $(STAMP)
	$(PYTEST) -m "not slow" --cov --cov-report term

# A page that is missing, and a link that leads nowhere, are errors. Nothing is fetched.
docs: $(STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/mypy

clean:
	rm -rf $(VENV) cl-ast-demo build dist site .coverage *.egg-info
