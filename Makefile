# Everything is installed into .venv at the first use, and again whenever pyproject.toml or constraints.txt changes.
# Needs Python 3.11 or later with its venv module, and git. Another Python: make clean, then make PYTHON=python3.12 ...
PYTHON ?= python3
OLDEST := 3.11
ARGS ?=
SECONDS ?= 600
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
INSTALLED := .venv/installed

.DEFAULT_GOAL := help
.PHONY: help demo lab test test-lab test-recipes faults soak fuzz bench bench-steps bench-explain diagnose-bench notebooks lint types lock clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(INSTALLED) ## start a Kafka, simulate an incident on it, and show where the totals differ
	$(BIN)/recovery-kit demo $(ARGS)

lab: $(INSTALLED) ## open JupyterLab on the notebooks
	$(BIN)/jupyter lab --LabApp.default_url=/lab/tree/notebooks --KernelManager.transport_encryption=auto $(ARGS)

test: $(INSTALLED) ## run every test; some of them: make test ARGS="-k dedup"
	$(BIN)/pytest -n 3 --dist loadfile $(ARGS)
ifeq ($(strip $(ARGS)),)
	$(BIN)/recovery-kit sandbox -- $(BIN)/pytest --nbval --nbval-cell-timeout 300 \
	    --nbval-sanitize-with tests/notebooks/sanitize.cfg notebooks
endif

test-lab: $(INSTALLED) ## run the notebooks in JupyterLab, in a headless Chromium; pictures in build/lab
	@command -v chromium >/dev/null || { echo "chromium is not here: apt install chromium, on Debian" >&2; exit 1; }
	@PYTHONWARNINGS=ignore $(PIP) -c constraints.txt --build-constraint constraints.txt -e .[lab]
	$(BIN)/pytest tests/lab $(ARGS)

test-recipes: $(INSTALLED) ## run the recipes, also in an Airflow and a Jupyter Scheduler of their own
	@test -x build/airflow-venv/bin/airflow || { $(PYTHON) -m venv build/airflow-venv && \
	    build/airflow-venv/bin/pip install --quiet apache-airflow apache-airflow-providers-papermill; }
	@test -d build/scheduler-venv/share/jupyter || { $(PYTHON) -m venv build/scheduler-venv && \
	    build/scheduler-venv/bin/pip install --quiet jupyter-scheduler; }
	$(BIN)/pytest tests/test_recipes.py $(ARGS)

faults: $(INSTALLED) ## run the tests of every known fault and print the table; some: make faults ARGS="8 9 12"
	$(BIN)/python -m tests.faults $(ARGS)

soak: $(INSTALLED) ## writers, faults and replays all at once: make soak SECONDS=600
	$(BIN)/python -m tests.soak $(SECONDS)

fuzz: $(INSTALLED) ## any bytes through the compiled scan and the exact reader: make fuzz SECONDS=3600
	$(BIN)/python -m tests.fuzz $(SECONDS)

bench: benchmarks/.venv/installed ## the kit beside other ways from a topic to totals: make bench ARGS="--events 10000000"
	benchmarks/.venv/bin/python benchmarks/bench.py $(ARGS)

bench-steps: benchmarks/.venv/installed ## dedup, totals and reconcile beside polars by hand
	benchmarks/.venv/bin/python benchmarks/steps.py $(ARGS)

bench-explain: benchmarks/.venv/installed ## a replay of 1 M events beside the explanation of what it shows
	benchmarks/.venv/bin/python benchmarks/explained.py $(ARGS)

diagnose-bench: $(INSTALLED) ## how often explain is right, over random incidents, fresh ones each time
	$(BIN)/python benchmarks/diagnose.py $(ARGS)

benchmarks/.venv/installed: benchmarks/requirements.txt pyproject.toml constraints.txt
	@$(PYTHON) -m venv benchmarks/.venv
	@benchmarks/.venv/bin/python -m pip install --quiet -c constraints.txt -e . -r benchmarks/requirements.txt
	@touch $@

notebooks: $(INSTALLED) ## run the notebooks on the demo and keep their outputs in them
	$(BIN)/recovery-kit sandbox -- $(BIN)/jupyter nbconvert --to notebook --execute --inplace \
	    --KernelManager.transport_encryption=auto --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

lint: $(INSTALLED) ## check style and format, also of the notebooks
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(INSTALLED) ## check the types
	$(BIN)/mypy

# Made with and for the oldest Python, down to its first patch: Debian's 3.11.2 refuses what asks for 3.11.5.
lock: ## renew constraints.txt with the newest versions that pyproject.toml allows
	@$(PYTHON) -c 'import sys; sys.exit("%d.%d" % sys.version_info[:2] != "$(OLDEST)")' || \
	    { echo "$(PYTHON) is not Python $(OLDEST): make lock PYTHON=python$(OLDEST)" >&2; exit 1; }
	@new=$$(mktemp -d) && trap 'rm -rf "$$new"' EXIT && \
	$(PYTHON) -m venv "$$new" && \
	"$$new/bin/pip" install --quiet --disable-pip-version-check --upgrade pip && \
	PYTHONWARNINGS=ignore "$$new/bin/pip" install --quiet --dry-run --report "$$new/report" --ignore-installed --target "$$new/none" \
	    --python-version $(OLDEST).0 --only-binary :all: .[dev,lab] pip setuptools && \
	"$$new/bin/python" -c 'import json, sys; \
	    found = {i["metadata"]["name"]: i["metadata"]["version"] for i in json.load(sys.stdin)["install"]}; \
	    print(*(f"{n}=={found[n]}" for n in sorted(found, key=str.lower) if n != "recovery-kit"), sep="\n")' \
	    <"$$new/report" >"$$new/pins" && cp "$$new/pins" constraints.txt
	@git --no-pager diff --stat constraints.txt

clean: ## remove .venv and every cache
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -prune -exec rm -rf {} +

# The pip that comes with Python may be years old, so pip is pinned too, and setuptools, which builds the package.
# PYTHONWARNINGS: setuptools warns at every editable install.
$(INSTALLED): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || \
	    { echo "$(PYTHON) is not here: install Python $(OLDEST) or later, or name one: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < tuple(map(int, "$(OLDEST)".split("."))))' || \
	    { echo "$(PYTHON) is not Python $(OLDEST) or later: name one that is: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || \
	    { echo "$(PYTHON) cannot make virtual environments: apt install python3-venv, on Debian" >&2; exit 1; }
	@echo "Setting up .venv; the first time that is 340 MB to fetch and a minute or more ..."
	@$(PYTHON) -m venv .venv
	@$(PIP) -c constraints.txt pip setuptools
	@PYTHONWARNINGS=ignore $(PIP) -c constraints.txt --build-constraint constraints.txt -e .[dev]
	@touch $@
