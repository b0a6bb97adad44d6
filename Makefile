# Each target sets up .venv in the checkout by itself; PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
NATIVE := CMakeLists.txt $(wildcard mlc_dask/native/*.?pp)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test lint bench bench-run notebooks real-sites deploy-test hub clean

demo: .venv/demo
	$(BIN)/mlc-dask demo

test: .venv/dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: .venv/bench
	$(BIN)/python benchmarks/engines.py

bench-run: .venv/demo
	$(BIN)/python benchmarks/whole_run.py

notebooks: .venv/dev
	$(BIN)/jupytext --to notebook --execute notebooks/quickstart.py

real-sites: .venv/dev
	$(BIN)/python docs/real_sites.py

# As root; the script's head says what it needs.
deploy-test:
	deploy/kube-play-test.sh

# The password is in ~/.mlc-dask-hub; docs/jupyterhub.md says more.
hub: .venv/hub deploy/jupyterhub/node_modules
	$(BIN)/jupyterhub --config deploy/jupyterhub/jupyterhub_config.py

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/demo: pyproject.toml constraints.txt $(NATIVE) | .venv/bin/python
	$(PIP) --editable ".[cli]"
	touch $@

.venv/dev: pyproject.toml constraints.txt $(NATIVE) | .venv/bin/python
	$(PIP) --editable ".[dev]"
	touch $@ .venv/demo

.venv/hub: pyproject.toml constraints.txt $(NATIVE) | .venv/bin/python
	$(PIP) --editable ".[hub]"
	touch $@ .venv/demo

deploy/jupyterhub/node_modules: deploy/jupyterhub/package-lock.json
	npm ci --prefix deploy/jupyterhub --ignore-scripts --no-audit --no-fund
	touch $@

.venv/bench: pyproject.toml constraints.txt $(NATIVE) | .venv/bin/python
	$(PIP) --editable ".[bench]"
	touch $@ .venv/demo

clean:
	rm -rf .venv deploy/jupyterhub/node_modules mlc-demo build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
