# What one does with Studio. Every target makes first what it needs; nothing is installed outside .venv but Chromium.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# One test process a core; the browser tests wait for what a page shows, so they have the cores to themselves.
PARALLEL := -n auto --maxprocesses 4

.PHONY: help setup demo webui test fast check docs bench engines matrix clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 12

setup: $(READY)  ## virtual environment with the pinned packages

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Studio needs Python 3.11 or newer: make PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt torch
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[test]'
	@touch $(READY)

demo: $(READY)  ## fine-tune the shipped model on the demo data, here in the terminal
	$(BIN)/studio demo

webui: $(READY)  ## open the board
	$(BIN)/studio webui

fast: $(READY)  ## the tests that need no torch and no browser
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m 'not slow and not browser'

check: $(READY)  ## format, lint, types, layers, fresh docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports
	$(BIN)/studio settings | diff - docs/settings.md

test: $(READY) check  ## everything: house rules, then all tests, browser included
	bash tests/chromium.sh
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(PARALLEL) -m 'not browser'
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m browser

docs: $(READY)  ## write docs/settings.md from the schema
	$(BIN)/studio settings > docs/settings.md

matrix: $(READY)  ## train every allowed combination of stage, method and quantization for two steps
	STUDIO_TEST_MATRIX=1 $(BIN)/python -m pytest -q -n 2 tests/tasks/test_matrix.py

bench: $(READY)  ## measure, and write the results into bench/
	$(BIN)/python -m bench.board
	$(BIN)/python -m bench.charts
	$(BIN)/python -m bench.overhead
	$(BIN)/python -m bench.tokenizing
	$(BIN)/python -m bench.evaluate
	$(BIN)/python -m bench.export

engines: $(READY)  ## install llama.cpp and gptqmodel (minutes of compiling) and measure exports by them
	$(BIN)/studio engines install llama-cpp
	$(BIN)/studio engines install gptq
	$(BIN)/python -m bench.engines

clean:  ## remove the virtual environment; runs and models stay
	rm -rf $(VENV)
