# Two commands do everything on a fresh machine: `make demo` and `make test`. The others are the habits of the house.
PYTHON ?= python3
VENV ?= .venv
ROOT ?= demo
BIN := $(VENV)/bin

.PHONY: demo test slow servers torture check format lint types contracts clean

# Builds the demo states with no network beyond the installation, splits them and draws a picture.
demo: $(VENV)/.installed
	$(BIN)/gl10m build --states CA,TX --source synthetic --root $(ROOT)
	$(BIN)/gl10m split --root $(ROOT)
	$(BIN)/gl10m picture --root $(ROOT)
	$(BIN)/gl10m verify --root $(ROOT)

test: $(VENV)/.installed
	$(BIN)/python -m pytest

# The recipes for Slurm and ssh need system packages, see docs/clusters.md; without them they are skipped.
slow: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev,clusters]"
	$(BIN)/python -m pytest -m "slow and not servers"

# Needs nginx and PostgreSQL with PostGIS, see docs/local-servers.md.
servers: $(VENV)/.installed
	$(BIN)/python -m pip install -q -c constraints.txt -e ".[dev,servers]"
	$(BIN)/python -m pytest -m servers

# Kills real builds at a hundred random moments and prints a tally.
torture: $(VENV)/.installed
	$(BIN)/python -m tests.torture

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
