# `make help` lists the commands. Each command makes what it needs first: a virtual environment in .venv, the npm
# packages in tests/node_modules, and, on Debian as root, the Debian packages that are missing.

PYTHON ?= python3
VENV ?= .venv
RUN = $(VENV)/bin/python
# setuptools warns of every editable installation
INSTALL = PYTHONWARNINGS=ignore $(RUN) -m pip install --quiet
JAVASCRIPT = tests/node_modules/.bin

# Servers' tests wait more than they work: three at once use two cores. A file's tests stay together.
PARALLEL = -n 3 --dist loadfile

# The pinned and hashed packages of requirements/dev.txt, on the Pythons that it is made for; the newest ones elsewhere.
LOCK_PYTHON = 3.11
IS_PINNED = $(RUN) -c "import sys; sys.exit(sys.version_info < tuple(map(int, '$(LOCK_PYTHON)'.split('.'))))"
PINNED = if $(IS_PINNED); then $(INSTALL) --require-hashes --requirement requirements/dev.txt; fi
TOOLS = $(VENV)/release/bin

.PHONY: help demo docs test unit matrix check check-python check-javascript format client bench lock dist dist-check clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-18s%s\n", $$1, $$2 }' Makefile
	@echo
	@echo 'ARGS="…" passes arguments on, as in: make test ARGS="tests/unit/test_stream.py -x"'
	@echo 'PYTHON=python3.8 chooses the interpreter of a new virtual environment.'

demo: $(VENV)/demo ## the example application on http://127.0.0.1:8000, and nginx in front of it on port 8001
	@exec $(RUN) -m legacy_app $(ARGS)

test: $(VENV)/test $(VENV)/docs/ready tests/node_modules/.package-lock.json ## all tests, with the real gunicorn, nginx, Redis and browsers
	@echo "==> tests"
	@$(RUN) -m pytest $(or $(ARGS),$(PARALLEL))

unit: $(VENV)/unit $(VENV)/docs/ready ## the tests that need neither Debian packages nor npm
	@$(RUN) -m pytest $(or $(ARGS),$(PARALLEL) tests/unit)

# tests/matrix.py has the versions of each stack.
matrix: $(VENV)/matrix/bin/nox tests/node_modules/.package-lock.json ## the tests on old and new stacks; ARGS="-s oldest" runs one
	@tests/debian_packages.sh
	@$(VENV)/matrix/bin/nox -f tests/matrix.py --envdir $(abspath $(VENV))/matrix/stacks \
	    --no-error-on-missing-interpreters $(ARGS)

check: check-python check-javascript ## style and types of Python and JavaScript

check-python: $(VENV)/dev
	@echo "==> Python's style and types"
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check . && $(RUN) -m mypy

check-javascript: tests/node_modules/.package-lock.json
	@echo "==> JavaScript's style"
	@$(JAVASCRIPT)/eslint --config tests/eslint.config.mjs . && $(JAVASCRIPT)/prettier --log-level warn --check .

format: $(VENV)/dev tests/node_modules/.package-lock.json ## write Python and JavaScript in the project's format
	@$(RUN) -m ruff check --quiet --fix . ; $(RUN) -m ruff format --quiet .
	@$(JAVASCRIPT)/prettier --log-level warn --write .

client: tests/node_modules/.package-lock.json ## the browser's client in flask_ssemux/static, built from client/src; and its version
	@client/build.sh flask_ssemux/static
	@$(PYTHON) tests/distributions.py npm

docs: $(VENV)/docs/ready ## the documentation as a site in build/site, which needs no network: open build/site/index.html
	@NO_MKDOCS_2_WARNING=1 $(VENV)/docs/bin/python -m mkdocs build --strict $(ARGS)

bench: $(VENV)/bench ## compare with the peers, and write docs/benchmarks.md; ARGS="--help" lists the other benchmarks
	@$(RUN) -m benchmarks $(or $(ARGS),compare --write docs)

lock: $(VENV)/release/ready ## renew requirements/*.txt: the newest versions that setup.cfg allows, with their hashes
	@$(TOOLS)/uv pip compile $(LOCK) --extra test --extra dev setup.cfg --output-file requirements/dev.txt
	@$(TOOLS)/uv pip compile $(LOCK) --extra redis --extra metrics setup.cfg --output-file requirements/example.txt
	@$(TOOLS)/uv pip compile $(LOCK) --extra metrics requirements/docs.in setup.cfg --output-file requirements/docs.txt
	@$(TOOLS)/uv pip compile $(LOCK) requirements/release.in --output-file requirements/release.txt

LOCK = --quiet --upgrade --universal --generate-hashes --python-version $(LOCK_PYTHON) \
    --custom-compile-command "make lock"

dist: $(VENV)/release/ready ## the source archive and the wheel in dist/, from the last commit; the SBOM in build/sbom
	@$(TOOLS)/python tests/distributions.py build

dist-check: dist ## install them into empty environments, on the oldest and the newest Python, with each extra
	@$(TOOLS)/python tests/distributions.py check

clean: ## remove what these commands made here
	rm -rf $(VENV) build dist tests/node_modules *.egg-info

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

$(VENV)/test: $(VENV)/bin/python setup.cfg requirements/dev.txt tests/debian_packages.sh
	@tests/debian_packages.sh
	@echo "==> flask_ssemux and what its tests need"
	@$(PINNED)
	@$(INSTALL) --editable ".[test]"
	@touch $@

$(VENV)/unit: $(VENV)/bin/python setup.cfg requirements/dev.txt
	@echo "==> flask_ssemux and what its tests need"
	@$(PINNED)
	@$(INSTALL) --editable ".[test]"
	@touch $@

$(VENV)/matrix/bin/nox: setup.cfg
	@$(PYTHON) -m venv $(VENV)/matrix
	@$(VENV)/matrix/bin/python -m pip install --quiet "nox>=2024.4"
	@touch $@

$(VENV)/release/ready: requirements/release.txt
	@$(PYTHON) -m venv $(VENV)/release
	@PYTHONWARNINGS=ignore $(TOOLS)/python -m pip install --quiet --require-hashes --requirement requirements/release.txt
	@touch $@

# The tests build the site, too; where it cannot be built, they are skipped.
$(VENV)/docs/ready: $(VENV)/bin/python requirements/docs.txt
	@if $(IS_PINNED); then \
	    echo "==> what builds the documentation's site"; \
	    $(RUN) -m venv $(VENV)/docs && PYTHONWARNINGS=ignore $(VENV)/docs/bin/python -m pip install --quiet \
	        --require-hashes --requirement requirements/docs.txt && touch $@; \
	else echo "==> the documentation's site needs Python $(LOCK_PYTHON) or newer"; fi

$(VENV)/bench: $(VENV)/bin/python setup.cfg
	@echo "==> flask_ssemux and what its benchmarks need"
	@$(INSTALL) --editable ".[bench]"
	@touch $@

$(VENV)/dev: $(VENV)/bin/python setup.cfg requirements/dev.txt
	@$(PINNED)
	@$(INSTALL) --editable ".[test,dev]"
	@touch $@

tests/node_modules/.package-lock.json: tests/package.json tests/package-lock.json
	@echo "==> browsers' clients from npm"
	@cd tests && npm ci --no-audit --no-fund --loglevel=error
	@touch $@
