# Needs Python >= 3.11, git and make; uv makes it faster when it is there.
# PYTHON=python3.13 chooses another interpreter.

PYTHON ?= python3
JOBS ?= 2
PYTEST_ARGS ?=
ORACLE_ARGS ?=
CHECK ?=
DEMO ?= inventories/homelab

BIN := .venv/bin
STAMP := .venv/.complete

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env demo test oracle e2e hosts lint format accuracy tables lock clean

help: ## show this list
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/  make \1\t\2/p' Makefile

env: $(STAMP) ## make the environment in .venv

demo: $(STAMP) ## compile an example fleet into .demo/ and show the plan
	rm -rf .demo
	mkdir .demo
	cp -R $(DEMO) .demo/
	rm -rf .demo/$(notdir $(DEMO))/compiled
	$(BIN)/modelc compile .demo/$(notdir $(DEMO)) --ledger

test: $(STAMP) ## run the tests; PYTEST_ARGS="-k place" for some of them
	$(BIN)/pytest -n $(JOBS) --dist loadgroup $(PYTEST_ARGS)

oracle: $(STAMP) ## compare the memory law of llama.cpp with libllama; ORACLE_ARGS=--quick for 2 minutes
	$(BIN)/python benchmarks/oracle.py $(ORACLE_ARGS)

e2e: $(STAMP) ## start real engines from emitted files; builds them on the first run
	MODELC_REQUIRE_TOOLS=1 $(BIN)/pytest tests/e2e $(PYTEST_ARGS)

hosts: $(STAMP) ## start emitted files on hosts of their own, as root; makes a Debian root on the first run
	MODELC_REQUIRE_TOOLS=1 $(BIN)/pytest tests/hosts $(PYTEST_ARGS)

lint: $(STAMP) ## check format, rules, types and shell scripts; changes nothing
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/shellcheck .ci/run .ci/newer-tools

format: $(STAMP) ## format the code and repair what ruff can repair
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format

accuracy: $(STAMP) ## print how right the memory laws are over the measured rows
	$(BIN)/python -m tests.truth.llamacpp_accuracy
	$(BIN)/python -m tests.truth.vllm_accuracy

tables: $(STAMP) ## write the generated files; CHECK=1 compares instead
	$(BIN)/python -m tables.schemas $(if $(CHECK),--check)
	$(BIN)/python -m tables.keys $(if $(CHECK),--check)
	$(BIN)/python -m tables.errors $(if $(CHECK),--check)
	$(BIN)/python -m tables.ggml_types $(if $(CHECK),--check)
	$(BIN)/python -m tables.architectures $(if $(CHECK),--check)
	$(BIN)/python -m tables.vllm_band $(if $(CHECK),--check)

# Universal: one lock for every platform and Python >= 3.11. No header and no annotations, so that
# the lock depends only on what it locks, and not on where it was made.
lock: ## pin everything anew in requirements.lock
	@command -v uv >/dev/null || { $(PYTHON) -m venv .lock-env && .lock-env/bin/pip install --quiet uv; }
	PATH="$$PATH:$(CURDIR)/.lock-env/bin" uv pip compile --quiet --upgrade --universal \
		--python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate \
		--output-file requirements.lock pyproject.toml requirements.in

clean: ## remove everything that make has made
	rm -rf .venv .lock-env .tools .demo dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find compiler tests -name __pycache__ -prune -exec rm -rf {} +

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("modelc needs Python 3.11 or newer, and $(PYTHON) is %d.%d. Choose another one: make PYTHON=python3.12 ..." % sys.version_info[:2])'
	rm -rf .venv
	if command -v uv >/dev/null; then \
		uv venv --quiet --python "$(PYTHON)" .venv && \
		uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock && \
		uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation -e .; \
	else \
		$(PYTHON) -m venv .venv && \
		$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock && \
		$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .; \
	fi
	touch $@
