# Two commands do everything on a fresh Debian machine with Python, make and root:
#   make demo    the example application on http://127.0.0.1:8000, and nginx before it on port 8001
#   make test    all tests, against the real gunicorn, nginx, Redis and Chromium
# Each makes its own virtual environment first. PYTHON=python3.8 chooses another interpreter.

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
# setuptools warns of every editable installation
INSTALL = PYTHONWARNINGS=ignore $(RUN) -m pip install --quiet

# Servers' tests wait more than they work; a file's tests stay together.
PARALLEL = -n 2 --dist loadfile

.PHONY: demo test matrix check bench clean help

help:
	@sed -n '2,3p' Makefile | sed 's/^# *//'

demo: $(VENV)/demo
	@exec $(RUN) -m legacy_app $(ARGS)

test: $(VENV)/test tests/node_modules/.package-lock.json
	@echo "==> tests"
	@$(RUN) -m pytest $(or $(ARGS),$(PARALLEL))

# The server tests on old and new stacks; tests/matrix.py says which. ARGS="-s oldest" runs one of them.
matrix: $(VENV)/matrix/bin/nox tests/node_modules/.package-lock.json
	@tests/debian_packages.sh
	@$(VENV)/matrix/bin/nox -f tests/matrix.py --envdir $(abspath $(VENV))/matrix/stacks \
	    --no-error-on-missing-interpreters $(ARGS)

check: $(VENV)/dev
	@echo "==> style and types"
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) -m mypy

bench: $(VENV)/bench
	@$(RUN) -m benchmarks $(or $(ARGS),compare --write docs)

clean:
	rm -rf $(VENV) build tests/node_modules *.egg-info

$(VENV)/bin/python:
	@echo "==> virtual environment in $(VENV)"
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { \
	    tests/debian_packages.sh python3-venv:/nonexistent && $(PYTHON) -m venv --clear $(VENV); }
	@$(INSTALL) --upgrade pip

$(VENV)/demo: $(VENV)/bin/python setup.cfg
	@tests/debian_packages.sh nginx-light:/usr/sbin/nginx || echo "==> nginx cannot be had: the demo does without"
	@echo "==> flask_ssemux and what it needs"
	@$(INSTALL) --editable .
	@touch $@

$(VENV)/test: $(VENV)/bin/python setup.cfg tests/debian_packages.sh
	@tests/debian_packages.sh
	@echo "==> flask_ssemux and what its tests need"
	@$(INSTALL) --editable ".[test]"
	@touch $@

$(VENV)/matrix/bin/nox: setup.cfg
	@$(PYTHON) -m venv $(VENV)/matrix
	@$(VENV)/matrix/bin/python -m pip install --quiet "nox>=2024.4"
	@touch $@

$(VENV)/bench: $(VENV)/bin/python setup.cfg
	@echo "==> flask_ssemux and what its benchmarks need"
	@$(INSTALL) --editable ".[bench]"
	@touch $@

$(VENV)/dev: $(VENV)/bin/python setup.cfg
	@$(INSTALL) --editable ".[test,dev]"
	@touch $@

tests/node_modules/.package-lock.json: tests/package.json tests/package-lock.json
	@echo "==> browsers' clients from npm"
	@cd tests && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
