# Everything a fresh clone needs: `make demo` and `make test` each install what is missing first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
OLDEST := 3, 11

APERTIUM := apertium apertium-eng-spa apertium-es-pt
INSTALL = apt-get install -y -q --no-install-recommends $(APERTIUM) > /dev/null

.PHONY: help setup apertium demo demo-translate test check clean
.DEFAULT_GOAL := help

help:  ## show these lines
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 24

setup: $(VENV)/.ready  ## install olhar and its pinned dependencies into .venv

demo: setup  ## train, measure, publish a small assistant that sees and answers in Portuguese
	OMP_NUM_THREADS=1 $(BIN)/olhar run recipes/world-pt.toml

demo-translate: setup apertium  ## translate real conversations into Portuguese, offline, and look at what came out
	$(BIN)/olhar run recipes/translate-pt.toml
	for data in multiturn wild; do $(BIN)/olhar review runs/translate-pt/translate/$$data.jsonl --html runs/translate-pt/$$data.html; done

# A Debian package set: installed where that is allowed, named where it is not.
apertium:
	@ls /usr/share/apertium/modes/*spa*.mode > /dev/null 2>&1 && command -v apertium > /dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && { $(INSTALL) || { apt-get update -q && $(INSTALL); }; }; } \
		|| { echo "this demo translates by Apertium: sudo apt-get install $(APERTIUM)"; exit 1; }

test: setup  ## run all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

check: setup  ## format, lint and types, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:  ## delete what tools leave behind; runs/ and .venv stay
	rm -rf build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find olhar tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# .ready is written last. An installation that was killed leaves .installing and is begun anew.
# setuptools is installed by its pin and used as it is, so that the build fetches no other one.
$(VENV)/.ready: pyproject.toml constraints.txt
	@if [ -e $(VENV)/.installing ]; then echo "an earlier installation did not finish: beginning anew"; rm -rf $(VENV); fi
	@if [ ! -x $(BIN)/python ]; then $(PYTHON) -c 'import sys; sys.exit(sys.version_info < ($(OLDEST)))' \
		|| { echo "olhar needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V 2>&1)"; \
		     echo "name a newer one: make setup PYTHON=python3.12"; exit 1; }; fi
	@echo "installing olhar and its dependencies into $(VENV)/: some minutes, once (PyTorch is most of it)"
	@mkdir -p $(VENV) && touch $(VENV)/.installing
	@if [ ! -x $(BIN)/python ]; then $(PYTHON) -m venv $(VENV); fi
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt torch==2.13.0 setuptools
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --no-build-isolation -e '.[bulk,energy,parquet,quantize,translate,video,dev]'
	@rm $(VENV)/.installing && touch $@
