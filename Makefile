# Two commands do everything on a fresh machine: `make demo` and `make test`. The others are the habits of the house.
PYTHON ?= python3
VENV ?= .venv
ROOT ?= demo
BIN := $(VENV)/bin

.PHONY: demo test slow servers torture faults fuzz audit check format lint types contracts clean

# Builds the demo states with no network beyond the installation, splits them and draws a picture.
demo: $(VENV)/.installed
	$(BIN)/gl10m build --states CA,TX --source synthetic --root $(ROOT)
	$(BIN)/gl10m split --root $(ROOT)
	$(BIN)/gl10m picture --root $(ROOT)
	$(BIN)/gl10m verify --root $(ROOT)

test: $(VENV)/.installed
	$(BIN)/python -m pytest -n 3 --dist worksteal

# The recipes for Slurm and ssh need system packages, see docs/clusters.md; without them they are skipped.
slow: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev,clusters]"
	$(BIN)/python -m pytest -m "slow and not servers" -n 3 --dist worksteal

# Needs nginx and PostgreSQL with PostGIS, see docs/local-servers.md.
servers: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev,servers]"
	$(BIN)/python -m pytest -m servers

# Kills real builds at a hundred random moments, other commands at as many, and prints a tally.
torture: $(VENV)/.installed
	$(BIN)/python -m tests.torture

# Builds under every kind of fault, of network, clocks, processes, disks and buckets, and prints a table.
faults: $(VENV)/.installed
	$(BIN)/python -m tests.faults

# Spoils inputs of every reader, ten thousand and more, and prints a tally.
fuzz: $(VENV)/.installed
	$(BIN)/python -m tests.fuzz

# What is installed (build/sbom.json), under which licences, and what is known against it; see scripts/audit.py.
# Its tools have an environment of their own. Without a network it says what it leaves out, and is no failure.
audit: $(VENV)/.installed
	@if [ -x build/audit/bin/pip-audit ] || { $(PYTHON) -m venv build/audit && \
		build/audit/bin/python -m pip install -q -c constraints.txt cyclonedx-bom pip-audit; }; then \
		build/audit/bin/python -m scripts.audit $(BIN)/python; \
	else echo "audit: skipped, since its tools cannot be installed here"; fi

check: format lint types contracts test

format: $(VENV)/.installed
	$(BIN)/ruff format --check .

lint: $(VENV)/.installed
	$(BIN)/ruff check .

types: $(VENV)/.installed
	$(BIN)/mypy

contracts: $(VENV)/.installed
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist

# Installs the pinned versions; again whenever they or the commands change.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev]"
	touch $@
