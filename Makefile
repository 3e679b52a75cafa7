# Each target is one line over a tool. `make help` lists them.
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup run test lint format types unit mutants conformance system faults hostile bench figures tls docs fuzz programs clean

help:  ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

setup: $(VENV)/.ready-dev  ## make .venv with relevo and everything that tests need

# What an editable installation is made of: a change of the C sources builds them anew.
INSTALLED := pyproject.toml scripts/setup.sh hatch_build.py $(wildcard src/relevo/hooks/*.[ch])

$(VENV)/.ready-dev: $(INSTALLED)
	@sh scripts/setup.sh dev

$(VENV)/.ready-run: $(INSTALLED)
	@sh scripts/setup.sh run

run: $(VENV)/.ready-run  ## start the demo server (options: make run ARGS="--smtp-port 2526")
	@exec $(BIN)/relevo demo $(ARGS)

test: setup  ## lint, types and every test; ends with times and what was skipped
	@$(BIN)/python scripts/run_tests.py

lint: setup  ## ruff: rules and format
	@$(BIN)/python scripts/run_tests.py lint

format: setup  ## let ruff rewrite the sources
	@$(BIN)/ruff check --fix-only --quiet . && $(BIN)/ruff format .

types: setup  ## mypy --strict
	@$(BIN)/python scripts/run_tests.py types

unit: setup  ## unit, property and architecture tests
	@$(BIN)/python scripts/run_tests.py unit

mutants: setup  ## small faults in a copy of the sources, each of which its unit test must find
	@$(BIN)/python scripts/mutant_table.py $(ARGS)

conformance: setup  ## each row of the case table, on relevo and on an installed chasquid
	@$(BIN)/python scripts/debian_programs.py
	@$(BIN)/python scripts/conformance_table.py --all $(ARGS)

system: setup  ## real processes and real mail clients
	@$(BIN)/python scripts/run_tests.py system

faults: setup  ## the crash and power-cut suite in its long form
	@RELEVO_FAULTS=full $(BIN)/python scripts/run_tests.py faults

hostile: setup  ## floods, slow clients and false addresses in their long form
	@RELEVO_HOSTILE=full $(PYTEST) -q tests/hostile tests/system/test_outbound_fairness.py tests/system/test_alias_flood.py tests/system/test_hook_trials.py tests/unit/hooks/trials --timeout=3600

bench: setup  ## relevo and the installed peers, interleaved
	@cd bench && ../$(BIN)/python -m runner $(ARGS)

figures: setup  ## memory of relevo against its aims; ARGS="soak" and ARGS="scaling": more
	@cd bench && ../$(BIN)/python -m figures $(ARGS)

tls: setup  ## testssl.sh against each listener of a server started for it
	@$(BIN)/python scripts/check_tls.py $(ARGS)

docs: setup  ## rewrite the generated pages of docs/
	@$(BIN)/python scripts/make_docs.py

fuzz: setup  ## the property tests with many more examples
	@RELEVO_HYPOTHESIS=fuzz $(PYTEST) tests/property --timeout=0 -o faulthandler_timeout=0

programs: setup  ## fetch the Debian programs that system tests use
	@$(BIN)/python scripts/debian_programs.py

clean:  ## remove everything that was made here, but demo-data
	rm -rf $(VENV) .cache .hypothesis .pytest_cache .mypy_cache .ruff_cache build dist bench/results
	find src tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
