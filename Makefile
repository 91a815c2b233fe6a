# Each target sets up what it needs by itself in .venv; a second call finds it there.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: demo test lint soak corpus fuzz mutants bench lock clean

# Installs attrcls, then cleans labels, trains, predicts, evaluates and reports on drawn faces.
demo: $(READY)
	$(BIN)/attrcls demo demo --overwrite

test: lint
	OMP_NUM_THREADS=1 OMP_WAIT_POLICY=passive $(BIN)/python -m pytest -n auto --dist worksteal --cov --cov-report=term:skip-covered

lint: $(READY)
	$(BIN)/ruff format --check src tests benchmarks
	$(BIN)/ruff check src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports

# Kills commands at a hundred random moments and resumes them.
soak: $(READY)
	$(BIN)/python tests/soak.py --kills 100

# Puts hundreds of bad pictures, tables and specs through every command that reads them, and counts what goes wrong.
corpus: $(READY)
	$(BIN)/python tests/count_corpus.py

# Flips bytes of good files and reads them, for a minute.
fuzz: $(READY)
	$(BIN)/python tests/fuzz.py --seconds 60

# Changes combining, splitting, balancing and margins in hundreds of small ways, and counts those that no test notices.
mutants: $(READY)
	$(BIN)/python tests/count_mutants.py

bench: $(READY)
	$(BIN)/python benchmarks/run.py

# The exact versions, hashes and all, of everything that is installed; run by hand when a dependency changes.
lock: $(READY)
	$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--extra onnx --extra openvino --extra ray --group dev pyproject.toml -o requirements.lock

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache

# uv installs the locked versions in parallel; pip only brings uv. Bytecode is made here, once: where Python may write none
# (PYTHONDONTWRITEBYTECODE, a read-only folder), each command would compile torch's sources anew, for some ten seconds.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "attrcls needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip sync --quiet --require-hashes --compile-bytecode requirements.lock
	VIRTUAL_ENV=$(CURDIR)/.venv $(BIN)/uv pip install --quiet --no-deps --no-build-isolation --editable .
	touch $(READY)
