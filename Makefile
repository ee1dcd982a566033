# make start   set up, run the first lesson, build the book     make test   set up, then every test
# make lab     JupyterLab on the first lesson                    make help   the rest
SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup start test lab course book outputs lint bench clean

VENV   ?= .venv
BIN    := $(VENV)/bin
PY     := $(BIN)/python
STAMP  := $(VENV)/.ready
RUN    := $(PY) -m minidiff.course.runner
# Lessons, as in LESSONS=02,03; empty means all. ARGS goes to pytest or to the benchmarks.
LESSONS ?=
ARGS    ?=
# The first lesson is 00; until it exists, 03.
FIRST   = $(firstword $(wildcard notebooks/00_*.ipynb) $(wildcard notebooks/03_*.ipynb))
# The newest Python from 3.11 to 3.14 that can make a virtual environment; or say which: make start PYTHON=...
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3; do \
  "$$p" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null \
  && { command -v "$$p"; break; }; done)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
# An exported backend would take the pictures out of every notebook.
unexport MPLBACKEND

help:
	@echo "make start     set up .venv, run the first lesson on a copy, build the book"
	@echo "make test      set up .venv, then unit tests, parity tests, doctests and every notebook in the smoke profile"
	@echo "make lab       open JupyterLab on the first lesson"
	@echo "make course    run all lessons on copies (LESSONS=02,03 for some), then build the book"
	@echo "make book      build the book into book/_build/html; any warning is an error"
	@echo "make outputs   rewrite the stored outputs of the tracked notebooks (LESSONS=02,03 for some)"
	@echo "make lint      ruff over package, tests and notebooks"
	@echo "make bench     the benchmarks"
	@echo "make clean     remove what was built; .venv stays"

# The stamp is written last, so an interrupted install repeats; it is older than changed pins, so they re-install.
setup: $(STAMP)
$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.14 with venv was found. Install one" \
	  "(on Debian or Ubuntu: python3 and python3-venv), or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python" >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || { echo "Set-up 1/3: $(VENV) with $(PYTHON)"; \
	  "$(PYTHON)" -m venv --clear $(VENV); }
	@echo "Set-up 2/3: packages into $(VENV) (once; several GB on Linux, where PyTorch brings its CUDA libraries)"
	@set -o pipefail; $(PY) -m pip install --progress-bar off -c constraints.txt -e '.[course,test,book]' \
	  | awk '/Downloading [^ ]*(whl|gz) *\(/ {n++; printf "  download %d: %s %s %s\n", n, $$2, $$3, $$4; fflush()} \
	         /^Installing collected/ {print "  installing"; fflush()}'
	@$(PY) -c 'import torch, torchvision; print("Set-up 3/3: torch", torch.__version__, "imports; set-up is done")'
	@touch $@

start: setup
	@echo "Running $(notdir $(FIRST)) from top to bottom, on a copy"
	@$(RUN) --lessons "$(firstword $(subst _, ,$(notdir $(FIRST))))" --profile laptop
	@$(MAKE) --no-print-directory book
	@echo
	@echo "Pictures:          build/pictures"
	@echo "The lesson, run:   build/lessons/$(notdir $(FIRST))"
	@echo "The book:          book/_build/html/index.html (open it in a browser)"
	@echo "Go on:             make lab"

test: setup
	@failed=0; \
	echo "Tests 1/2: unit tests, parity tests, doctests"; \
	MINIDIFF_PROFILE=smoke $(PY) -m pytest -q $(ARGS) || failed=1; \
	echo "Tests 2/2: every notebook in the smoke profile"; \
	MINIDIFF_PROFILE=smoke $(PY) -m pytest -q -o timeout=300 --nbval-lax --nbval-current-env \
	  --nbval-cell-timeout=120 --nbval-sanitize-with=tests/sanitize.cfg notebooks/*.ipynb || failed=1; \
	exit $$failed

lab: setup
	@$(BIN)/jupyter lab --ip=127.0.0.1 $(if $(filter 0,$(shell id -u)),--allow-root) $(FIRST)

course: setup
	@$(RUN) --lessons "$(LESSONS)" --profile laptop
	@$(MAKE) --no-print-directory book

# From scratch, or not at all where the book that is there came from the same sources without a warning.
book: setup
	@$(PY) book/build.py

outputs: setup
	@$(RUN) --lessons "$(LESSONS)" --outputs

lint: setup
	@$(BIN)/ruff check .

bench: $(STAMP)-bench
	@$(PY) -m benchmarks.speed $(ARGS)
	@$(PY) -m benchmarks.metrics $(ARGS)
	@$(PY) -m benchmarks.latents
$(STAMP)-bench: $(STAMP)
	@$(PY) -m pip install -q -c constraints.txt -e '.[bench]'
	@touch $@

clean:
	@rm -rf build book/_build book/api .pytest_cache .ruff_cache
