# make demo   install, then run kernels on real matrices and compare them with scipy
# make test   install, then every check: style, types, imports between packages, tests
# make docs, examples, fuzz, distributed or wheel   one part of the tests
# make nightly  CASES random cases against the dense oracle (20000; SEED chooses them)
# make clean  remove what the two made
#
# PYTHON=python3.12 make demo   chooses the interpreter (3.11 or later).

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
CASES ?= 20000
SEED ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help demo test nightly style imports types tests docs examples fuzz distributed wheel clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

demo: $(VENV)/demo.stamp
	$(BIN)/sparsedsl demo

# the types take one core for a minute: they are checked beside the tests, whose summary comes last
test: $(VENV)/test.stamp
	$(MAKE) --no-print-directory style
	$(MAKE) --no-print-directory imports
	$(MAKE) --no-print-directory -j 2 types tests

style: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

imports: $(VENV)/test.stamp
	$(BIN)/lint-imports --no-cache

types: $(VENV)/test.stamp
	$(BIN)/pyright --pythonpath $(BIN)/python

tests: $(VENV)/test.stamp
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

docs: SUITE = tests/examples/test_docs.py tests/examples/test_readme.py tests/pictures
examples: SUITE = tests/examples/test_examples.py
fuzz: SUITE = tests/test_fuzz.py tests/test_fuzz_found.py
distributed: SUITE = tests/distributed
wheel: SUITE = tests/architecture/test_wheel.py

docs examples fuzz distributed wheel: $(VENV)/test.stamp
	$(BIN)/python -m pytest $(SUITE)

nightly: $(VENV)/test.stamp
	$(BIN)/python tests/nightly.py --cases $(CASES) --seed $(SEED) --workers $(WORKERS)

$(VENV)/made.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "expected Python 3.11 or later, found $$($(PYTHON) --version); set PYTHON=python3.11" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/demo.stamp: pyproject.toml $(VENV)/made.stamp
	$(BIN)/python -m pip install --quiet --editable '.[data,plot]'
	touch $@

$(VENV)/test.stamp: pyproject.toml $(VENV)/made.stamp
	$(BIN)/python -m pip install --quiet --editable '.[data,plot,test]'
	touch $@ $(VENV)/demo.stamp

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache .benchmarks
