# longlag: set-up, demo, tests and checks. `make` alone lists the targets.
#
#   PYTHON       the interpreter that makes the virtual environment, 3.11 or newer
#   PIP_ARGS     more arguments for pip. On Linux the usual package index serves torch with its CUDA libraries,
#                gigabytes of them; PyTorch's own index of CPU builds, given as
#                PIP_ARGS="--extra-index-url URL", avoids that. PIP_ARGS=-vv shows what pip does.
#   PYTEST_ARGS  more arguments for pytest, such as PYTEST_ARGS="-k adding"

PYTHON ?= python3
PIP_ARGS ?=
PYTEST_ARGS ?=
KILLS ?= 50
CASES ?= 5000

VENV := .venv
BIN := $(VENV)/bin
# One stamp for each set of dependencies, written when its installation is complete; a larger set fulfils the smaller.
RUN := $(VENV)/.installed-run
TEST := $(VENV)/.installed-test
DEV := $(VENV)/.installed-dev
# Scripts in a virtual environment hold absolute paths: in a moved or copied checkout it has to be made anew.
PLACE := $(VENV)/.place

# The tests start hundreds of processes: each would compile every module of this repository again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test slow-test fault-test fuzz crash-test wheel-test check clean FORCE

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

demo: $(RUN) ## install, then run the quick-start study (at most five minutes)
	$(BIN)/longlag sweep quickstart --workers auto

# Three processes on two cores: tests that wait for workers and servers leave a core idle.
test: $(TEST) ## install with what the tests need, then run all but the slow ones
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder -m "not slow" $(PYTEST_ARGS)

slow-test: $(TEST) ## the slow ones but faults: several workers, servers, browsers, second compilers, the guides' packages
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "slow and not fault" $(PYTEST_ARGS)

fault-test: $(TEST) ## killed processes, damaged files, full disks, set clocks, lost servers; ends with one line for each
	$(BIN)/python -m pytest -n 2 --dist loadfile -m fault $(PYTEST_ARGS)

fuzz: $(TEST) ## thousands of odd specs, options and files; all are refused in one sentence (CASES=n for others)
	LONGLAG_FUZZ=$(CASES) $(BIN)/python -m pytest -s tests/fuzz $(PYTEST_ARGS)

crash-test: $(TEST) ## fifty random SIGKILLs over sweeps with two workers (about half an hour; KILLS=n for others)
	LONGLAG_KILLS=$(KILLS) $(BIN)/python -m pytest -s tests/crash $(PYTEST_ARGS)

wheel-test: $(TEST) ## the wheel with its base dependencies alone (FRESH=1 has pip install these from its index)
	LONGLAG_WHEEL=1 LONGLAG_FRESH=$(FRESH) $(BIN)/python -m pytest tests/wheel $(PYTEST_ARGS)

check: $(DEV) ## lint, formatting, types, import layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	@if clang-format --version 2>/dev/null | grep -q 'version 14\.'; then \
	  clang-format --dry-run -Werror $$(git ls-files '*.c' '*.h'); \
	  else echo "clang-format 14 is not installed: the formatting of C is not checked"; fi
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

clean: ## remove the virtual environment, builds and caches; results in longlag-home stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(RUN): EXTRA :=
$(TEST): EXTRA := [test]
$(DEV): EXTRA := [dev]
$(RUN): FULFILS := $(RUN)
$(TEST): FULFILS := $(RUN) $(TEST)
$(DEV): FULFILS := $(RUN) $(TEST) $(DEV)

ifneq ($(shell cat $(PLACE) 2>/dev/null),$(shell pwd -P))
$(RUN) $(TEST) $(DEV): FORCE
endif

# Everything in one pip call: installed piece by piece, packages get moved to versions that were not tested.
$(RUN) $(TEST) $(DEV): pyproject.toml constraints.txt
	@if [ -e $(PLACE) ] && [ "$$(cat $(PLACE))" != "$$(pwd -P)" ]; then rm -rf $(VENV); fi
	@if ! $(BIN)/python -c 'import pip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	  command -v "$(PYTHON)" >/dev/null || \
	    { echo "longlag needs Python 3.11 or newer, and there is no '$(PYTHON)' here: install it, or name one with make PYTHON=..." >&2; exit 1; }; \
	  "$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "longlag needs Python 3.11 or newer, but '$(PYTHON)' is $$("$(PYTHON)" -V 2>&1): name a newer one with make PYTHON=..." >&2; exit 1; }; \
	  "$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "'$(PYTHON)' cannot make virtual environments: install the package python3-venv (Debian, Ubuntu), then repeat." >&2; exit 1; }; \
	  echo "making the virtual environment $(VENV)"; \
	  "$(PYTHON)" -m venv --clear $(VENV); \
	fi
	@echo "installing, about two minutes"
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt $(PIP_ARGS) -e '.$(EXTRA)' || \
	  { echo "The installation stopped before its end; what pip said is above. The same command takes it up again." >&2; exit 1; }
	@pwd -P > $(PLACE)
	@touch $(FULFILS)
