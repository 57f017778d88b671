# make demo           install and work through the whole loop before your eyes, then keep serving (ONCE=1: exit after the table)
# make up             install and start the studio without the demo
# make test           install what the tests need and run them
# make label-studio   install a Label Studio server, which tests and the benchmark use (make test does it too)
# make lint           style, import rules and templates

PYTHON ?= $(shell command -v python3.11 || command -v python3)
HOST ?= 127.0.0.1
PORT ?= 8000
BIN := .venv/bin
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu

.DEFAULT_GOAL := help
.PHONY: help demo up test lint migrate chromium label-studio clean

help:
	@sed -n 's/^# //p' Makefile | head -5

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info[:2] == (3, 11) else "Studio needs Python 3.11 (its lock is for that version); found " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11.")'
	$(PYTHON) -m venv .venv

# The first try uses pip's own sources; where these have no CPU build of torch, the second adds PyTorch's wheel index.
.venv/installed: requirements.txt | $(BIN)/python
	@date +%s > .venv/install-started
	$(BIN)/pip install --quiet --no-deps --disable-pip-version-check -r requirements.txt \
	|| $(BIN)/pip install --quiet --no-deps --disable-pip-version-check --extra-index-url $(TORCH_INDEX) -r requirements.txt
	@echo $$(( $$(date +%s) - $$(cat .venv/install-started) )) > .venv/installed

.venv/installed-dev: requirements-dev.txt .venv/installed
	$(BIN)/pip install --quiet --no-deps --disable-pip-version-check -r requirements-dev.txt
	@touch $@

demo: .venv/installed
	$(BIN)/python manage.py demo --host $(HOST) --port $(PORT) $(if $(ONCE),--once)

up: .venv/installed
	$(BIN)/python manage.py up --host $(HOST) --port $(PORT)

# The browser tests drive Debian's chromium.
chromium:
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	  else echo "No Chromium found: install the package 'chromium' to run the browser tests (they are skipped now)."; fi; }

# A real Label Studio, which the tests of that exchange and the benchmark start for themselves. Its packages clash with
# the studio's, so it has an environment of its own.
label-studio: .venv-label-studio/installed

.venv-label-studio/installed: requirements-label-studio.txt .venv/installed
	test -x .venv-label-studio/bin/python || $(PYTHON) -m venv .venv-label-studio
	.venv-label-studio/bin/pip install --quiet --no-deps --disable-pip-version-check -r requirements-label-studio.txt
	$(BIN)/python -m benchmarks.label_studio_server --prepare
	@touch $@

test: .venv/installed-dev chromium
	@$(MAKE) --no-print-directory label-studio || echo "Label Studio could not be installed: the tests against it are skipped."
	$(BIN)/python -m pytest -n 2 --dist loadfile $(ARGS)

lint: .venv/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/djlint --lint --quiet studio annotation evaluation
	$(BIN)/python manage.py makemigrations --check --dry-run

clean:
	rm -rf .venv .venv-label-studio var
