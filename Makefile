# Each target sets up .venv in the checkout; PYTHON chooses the interpreter (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
NATIVE := CMakeLists.txt $(wildcard mlc_dask/native/*.?pp)
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt

.PHONY: demo docs test lint bench bench-run notebooks real-sites deploy-test hub clean

demo: .venv/demo
	$(BIN)/mlc-dask demo

test: .venv/dev
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder

lint: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The site, in site/index.html.
docs: .venv/docs
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs site

# The thresholds of malloc keep large arrays between batches: without them PyTorch's rate depends on what ran before.
bench: .venv/bench
	MALLOC_MMAP_THRESHOLD_=1000000000 MALLOC_TRIM_THRESHOLD_=2000000000 $(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/gpu.py

bench-run: .venv/demo
	$(BIN)/python benchmarks/whole_run.py

notebooks: .venv/dev
	$(BIN)/python notebooks/render.py

real-sites: .venv/dev
	$(BIN)/python benchmarks/real_sites.py

# As root; the head of the script lists its requirements.
deploy-test:
	deploy/kube-play-test.sh

# The password is in ~/.mlc-dask-hub; see docs/jupyterhub.md.
hub: .venv/hub deploy/jupyterhub/node_modules
	$(BIN)/jupyterhub --config deploy/jupyterhub/jupyterhub_config.py

# pip installs PyTorch, because its settings name the machine's build; uv installs the rest, a few times as fast.
.venv/bin/uv:
	$(PYTHON) -m venv .venv
	$(PIP) torch uv

.venv/demo: pyproject.toml constraints.txt $(NATIVE) | .venv/bin/uv
	$(UV) --editable ".[cli]"
	touch $@

.venv/dev: pyproject.toml constraints.txt $(NATIVE) | .venv/bin/uv
	$(UV) --editable ".[dev]"
	touch $@ .venv/demo

.venv/docs: pyproject.toml constraints.txt $(NATIVE) | .venv/bin/uv
	$(UV) --editable ".[docs]"
	touch $@ .venv/demo

.venv/hub: pyproject.toml constraints.txt $(NATIVE) | .venv/bin/uv
	$(UV) --editable ".[hub]"
	touch $@ .venv/demo

deploy/jupyterhub/node_modules: deploy/jupyterhub/package-lock.json
	npm ci --prefix deploy/jupyterhub --ignore-scripts --no-audit --no-fund
	touch $@

.venv/bench: pyproject.toml constraints.txt $(NATIVE) | .venv/bin/uv
	$(UV) --editable ".[bench]"
	touch $@ .venv/demo

clean:
	rm -rf .venv deploy/jupyterhub/node_modules mlc-demo site build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis
