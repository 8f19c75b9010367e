# Every target works on a fresh clone: it makes .venv first (Python 3.10 or newer with venv and pip is all it needs).
.DEFAULT_GOAL := help
SHELL := bash
# Tests run in this many processes; each has an embedded workspace of its own.
WORKERS ?= 3
# What pytest gets besides: make test ARGS="-k monitor"
ARGS ?=
# What `make bench` measures: startup, validate, stages, idle, growth, rates, peer,
# dxr_ingest, dxr_collect, dxr_snapshot; all when empty.
SECTIONS ?=

BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: help install demo test lint check bench generate docs requirements wheel format clean

help: ## show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):[^#]*## (.*)/\1|\2/' | while IFS='|' read -r name text; do printf '  make %-13s %s\n' "$$name" "$$text"; done

install: $(STAMP) ## make .venv with everything that is needed

$(STAMP): requirements-dev.txt pyproject.toml
	@tools/environment.sh

demo: $(STAMP) ## the main job on this machine, step by step, in a folder .demo
	@$(BIN)/lakeflow-job-meta demo --dir .demo

test: $(STAMP) ## run every test (no network but loopback)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(STAMP) ## what can be judged without running: style, types, rooms, generated files
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m tools.generate --check

check: lint test ## all that CI checks

bench: $(STAMP) ## measure, beside the peer too, and write bench/RESULTS.md (an hour; make bench SECTIONS="startup idle")
	$(BIN)/python -m bench $(SECTIONS)

generate: $(STAMP) ## rewrite the generated files: the JSON Schema and the reference pages of docs/
	$(BIN)/python -m tools.generate

docs: $(STAMP) ## build the site of docs/ in build/site (Python 3.11 or newer)
	$(BIN)/properdocs build --strict --quiet
	@echo 'build/site/index.html'

format: $(STAMP) ## let ruff format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

wheel: $(STAMP) ## build dist/*.whl
	$(BIN)/python -m build --wheel --no-isolation --outdir dist .

requirements: $(STAMP) ## pin requirements-dev.txt anew from pyproject.toml (needs uv)
	{ sed -n '1,2p' requirements-dev.txt; uv pip compile pyproject.toml --extra dev --universal --python-version 3.10 --no-header --no-annotate --no-emit-index-url --upgrade; } > requirements-dev.new
	mv requirements-dev.new requirements-dev.txt

clean: ## stop the demo's workspace, remove what was built, measured or cached (.venv stays)
	-@test ! -d .demo || $(BIN)/lakeflow-job-meta local stop --dir .demo/workspace 2>/dev/null
	rm -rf .demo .bench build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache htmlcov .coverage*
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
