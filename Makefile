# Everything a fresh machine needs is set up by the targets themselves; the second time they are quick.
PORT ?= 8501
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Also pins what builds the package; an unpinned torch would pull gigabytes of CUDA packages.
export PIP_CONSTRAINT := constraints.txt
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Byte code is kept, whatever the environment says: a command would spend a third of its start on compiling this house anew.
unexport PYTHONDONTWRITEBYTECODE
AXE := $(VENV)/axe/axe.min.js
PYTEST := OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $(BIN)/pytest

help: ## Show the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: $(VENV)/.base ## The whole house on real data: http://localhost:8501 (PORT=…)
	exec $(BIN)/dashboards up --demo --port $(PORT)

test: $(VENV)/.dev check ## Every test but the slow ones (no GPU, network or keys)
	$(PYTEST) -m "not slow and not alone" -n 2 --dist loadfile --no-loadscope-reorder -q
	$(PYTEST) -m "alone and not slow" -q

test-slow: $(VENV)/.dev $(AXE) ## The tests that take minutes each
	$(PYTEST) -m slow -q

check: $(VENV)/.dev ## Lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

train: $(VENV)/.train ## Install what trainers need (torch, trl, peft)

clean: ## Remove the environment and the caches; results stay
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

# axe-core judges whether the pages can be used by everybody (tests/e2e/test_lived_in.py); without npm or a network that is left out.
$(AXE):
	@mkdir -p $(@D)
	@npm pack --silent --pack-destination $(@D) axe-core@4.14.1 >/dev/null && tar -xzf $(@D)/axe-core-4.14.1.tgz -C $(@D) \
	    --strip-components 1 package/axe.min.js package/LICENSE || echo "axe-core could not be fetched: its test is skipped"

$(VENV)/bin/pip:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.base: pyproject.toml constraints.txt | $(VENV)/bin/pip
	$(BIN)/pip install -q -e .
	@touch $@

$(VENV)/.train: $(VENV)/.base
	$(BIN)/pip install -q -e '.[train]'
	@touch $@

$(VENV)/.dev: $(VENV)/.base
	$(BIN)/pip install -q -e '.[train,dev]'
	@touch $@ $(VENV)/.train

.PHONY: help demo test test-slow check train clean
