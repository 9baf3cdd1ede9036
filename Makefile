# `make help` lists the targets. Each one makes the virtual environment first, if it is missing or out of date.

PYTHON ?= python3
WORKERS ?= auto

MINOR := $(shell $(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)
VENV := .venv/$(MINOR)
BIN := $(VENV)/bin
LOCK := requirements/python$(MINOR).txt
TASKS_LOCK := requirements/tasks-python$(MINOR).txt
DOCS_LOCK := requirements/docs-python$(MINOR).txt
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check
CACHE := JAX_COMPILATION_CACHE_DIR=$(CURDIR)/.cache/jax
PYTEST := JAX_PLATFORMS=cpu $(CACHE) JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS=0 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

.PHONY: help train tasks notebooks docs tables test test-slow test-python312 verify study study-horizons lint format benchmark lock clean python
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "make %-15s %s\n", $$1, $$2}' Makefile
	@echo "Variables: PYTHON (python3), WORKERS (auto: one test process per core), ARGS (more arguments)"

train: $(STAMP) ## train GRPO, and beside it true credit of steps (an oracle), on deceptive chains; figure in runs/deceptive/
	$(CACHE) $(BIN)/python -m rl_jax.train grpo:deceptive --workdir=runs/deceptive/grpo $(ARGS)
	$(CACHE) $(BIN)/python -m rl_jax.train oracle:deceptive --workdir=runs/deceptive/oracle $(ARGS)
	$(BIN)/python -m rl_jax.report runs/deceptive/grpo runs/deceptive/oracle

tasks: $(STAMP) ## add reasoning-gym, which needs a C compiler for some of what it needs
	@if [ -f $(TASKS_LOCK) ]; then set -x; $(PIP) install --quiet --no-deps -r $(TASKS_LOCK); \
	else set -x; $(PIP) install --quiet -e '.[tasks]'; fi

notebooks: $(STAMP) ## run the notebooks on their full settings and keep their outputs in them
	$(PIP) install --quiet -e '.[notebooks]'
	$(CACHE) $(BIN)/jupyter execute --inplace notebooks/*.ipynb
	$(BIN)/jupyter nbconvert --to notebook --inplace --coalesce-streams notebooks/*.ipynb  # else a block a line

docs: $(STAMP) ## build the site of docs/, README and the API into build/site
	@if [ -f $(DOCS_LOCK) ]; then set -x; $(PIP) install --quiet --no-deps -r $(DOCS_LOCK); \
	else set -x; $(PIP) install --quiet -e '.[docs]'; fi
	$(BIN)/python docs/stage.py build/docs
	JAX_PLATFORMS=cpu $(BIN)/python -m sphinx -q -W --keep-going -c docs build/docs build/site
	@echo "open build/site/index.html"

tables: $(STAMP) ## make the generated tables of README, kernels/README and docs/ anew
	$(BIN)/python docs/tables.py

test: $(STAMP) ## the test suite on the CPU
	$(PYTEST) -m "not slow" $(ARGS)

test-slow: $(STAMP) ## the tests that take minutes
	$(PYTEST) -m slow $(ARGS)

# Looks on PATH first, then among pyenv's versions: its shims exist even where the version is not switched on.
test-python312: ## the test suite on Python 3.12
	@for python in python3.12 $$(ls -d "$$(pyenv root 2>/dev/null)"/versions/3.12*/bin/python3.12 2>/dev/null); do \
	  if "$$python" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 12))' 2>/dev/null; then \
	    exec $(MAKE) test PYTHON="$$python"; \
	  fi; \
	done; \
	echo "no Python 3.12 found on PATH or in pyenv: install one, or run: make test PYTHON=/path/to/python3.12" >&2; exit 1

verify: $(STAMP) ## make the first iterations of every committed result again and compare
	JAX_PLATFORMS=cpu $(CACHE) $(BIN)/python -m rl_jax.verify $(wildcard experiments/results/*.json) --iterations=20 $(ARGS)

study: $(STAMP) ## the study of dense rewards at eight operations, entry by entry
	JAX_PLATFORMS=cpu $(CACHE) $(BIN)/python -m rl_jax.study horizon --results=experiments/results $(ARGS)

study-horizons: $(STAMP) ## the same at four and at sixteen operations, which takes hours
	JAX_PLATFORMS=cpu $(CACHE) $(BIN)/python -m rl_jax.study horizon:4 --results=experiments/results $(ARGS)
	JAX_PLATFORMS=cpu $(CACHE) $(BIN)/python -m rl_jax.study horizon:16 --results=experiments/results $(ARGS)

lint: $(STAMP) ## ruff, and a type check of rl_jax and kernels
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP) ## sort imports and mend what ruff can mend
	$(BIN)/ruff check --fix .

benchmark: $(STAMP) ## time one GRPO iteration against the bound of this machine
	$(CACHE) $(BIN)/python -m rl_jax.benchmark iteration $(ARGS)

clean: ## remove the virtual environments and caches (runs/ stays)
	rm -rf .venv .cache build dist *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

python:
	@if [ -z "$(MINOR)" ]; then \
	  echo "'$(PYTHON)' does not run: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.12" >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "rl_jax needs Python 3.11 or newer, '$(PYTHON)' is $(MINOR): name another, as in make test PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "'$(PYTHON)' cannot make virtual environments: install them (Debian and Ubuntu: apt install python$(MINOR)-venv)" >&2; \
	  exit 1; }

# The stamp comes last, so that an interrupted installation starts again. A lock that does not exist is not a dependency.
# Modules are compiled when they are first imported: of 12,000 that are installed a run imports one in nine.
$(STAMP): $(wildcard $(LOCK)) setup.py | python
	@test -x $(BIN)/python -a -f $(VENV)/pyvenv.cfg || rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	@if [ -f $(LOCK) ]; then set -e -x; \
	  $(PIP) install --quiet --no-compile -r $(LOCK); \
	  $(PIP) install --quiet --no-deps --no-build-isolation -e .; \
	else \
	  echo "no $(LOCK): installing the newest versions inside the ranges of setup.py"; set -e -x; \
	  $(PIP) install --quiet 'setuptools>=77'; \
	  $(PIP) install --quiet --no-build-isolation -e '.[dev]'; \
	fi
	@touch $@

lock: python ## remake the lock of this Python from the ranges of setup.py
	rm -rf .venv/lock-$(MINOR)
	$(PYTHON) -m venv .venv/lock-$(MINOR)
	.venv/lock-$(MINOR)/bin/python -m pip --disable-pip-version-check install --quiet 'setuptools>=77'
	.venv/lock-$(MINOR)/bin/python -m pip --disable-pip-version-check install --quiet --no-build-isolation -e '.[dev]'
	@mkdir -p requirements
	@{ echo "# Python $(MINOR): base and dev. Made by 'make lock PYTHON=python$(MINOR)'; not edited by hand."; \
	  .venv/lock-$(MINOR)/bin/python -m pip list --format=freeze --exclude pip --exclude rl-jax; } > $(LOCK).new
	.venv/lock-$(MINOR)/bin/python -m pip --disable-pip-version-check install --quiet --no-build-isolation -e '.[dev,tasks]'
	@{ echo "# Python $(MINOR): what the extra 'tasks' adds. Made by 'make lock PYTHON=python$(MINOR)'; not edited by hand."; \
	  .venv/lock-$(MINOR)/bin/python -m pip list --format=freeze --exclude pip --exclude rl-jax \
	  | grep -vxF -f $(LOCK).new; } > $(TASKS_LOCK)
	$(PYTHON) -m venv --clear .venv/lock-$(MINOR)
	.venv/lock-$(MINOR)/bin/python -m pip --disable-pip-version-check install --quiet -r $(LOCK).new
	.venv/lock-$(MINOR)/bin/python -m pip --disable-pip-version-check install --quiet --no-build-isolation -e '.[dev,docs]'
	@{ echo "# Python $(MINOR): what the extra 'docs' adds. Made by 'make lock PYTHON=python$(MINOR)'; not edited by hand."; \
	  .venv/lock-$(MINOR)/bin/python -m pip list --format=freeze --exclude pip --exclude rl-jax \
	  | grep -vxF -f $(LOCK).new; } > $(DOCS_LOCK)
	@mv $(LOCK).new $(LOCK)
	rm -rf .venv/lock-$(MINOR)
	@echo "wrote $(LOCK)"
