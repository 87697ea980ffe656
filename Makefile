# make study: Table I from nothing but Python 3.11. make test: does the program work here? make test-all: everything
# but machines and drivers that fail, which are make test-faults.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed

.PHONY: study test test-all test-faults bench lint types docs clean

study: $(INSTALLED)
	$(BIN)/study run --grid table1
	$(BIN)/study analyze table1

test: lint types
	$(BIN)/python -m pytest -n auto --durations=10 -m "not (long or faults)"

test-all: lint types
	$(BIN)/python -m pytest -n auto --durations=10

test-faults: $(INSTALLED)
	$(BIN)/python -m pytest -m faults

# Long; docs/performance.md has the figures.
bench: $(INSTALLED)
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.study
	$(BIN)/python -m benchmarks.analysis
	@if $(BIN)/python -c "import sys, torch; sys.exit(not torch.cuda.is_available())"; \
	then $(BIN)/python -m benchmarks.gpu; else echo "No GPU here: benchmarks.gpu is left out."; fi

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(INSTALLED)
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/mkdocs build --strict

# The folders studies/ and reports/ stay, so that nothing has to be trained again.
clean:
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	touch $@
