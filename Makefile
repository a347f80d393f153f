# Two commands: `make run` and `make test`. Both create the environment on their first run.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PACKAGES := spec reference codegen generated networks
LINKS := build/typing/svertka
MACHINE := build/machine

OLDEST := build/oldest
STAGES := tests/test_oldest.py tests/codegen/test_interpreting.py tests/codegen/test_launching.py tests/codegen/test_plans.py tests/codegen/test_replay.py tests/symbolic/test_point.py

.PHONY: run test oldest check lint links types book device rehearsal bench benchmark mutation clean

run: $(READY)
	$(BIN)/svertka generate
	$(BIN)/svertka validate
	$(BIN)/svertka slides

# The quick run: all but what is slow by nature, and some cases where many are of one kind. `make check` has every test.
test: $(READY)
	$(BIN)/pytest -n 2 --ignore tests/benchmarks --quick

# Every stage with the oldest versions that pyproject.toml allows. The environment takes about 6 GB.
oldest: $(OLDEST)/ready
	$(OLDEST)/bin/pytest -n 2 $(STAGES)

$(OLDEST)/ready: pyproject.toml .ci/oldest.txt
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --constraint .ci/oldest.txt --editable '.[development]'
	touch $(OLDEST)/ready

check: lint types
	$(BIN)/pytest -n 2 --ignore tests/benchmarks
	$(BIN)/svertka generate --check

lint: $(READY) links
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PYTHONPATH=build/typing $(BIN)/lint-imports --no-logo --cache-dir build/imports

# The lecture's layers as pages: open build/book/index.html.
book: $(READY)
	$(BIN)/svertka book

# The folders install under one name; the links show mypy and import-linter that name.
links:
	mkdir -p $(LINKS)
	for part in $(PACKAGES) package/*.py; do ln -sfn ../../../$$part $(LINKS)/; done

types: $(READY) links
	MYPYPATH=build/typing $(BIN)/mypy -p svertka

# On a machine with a GPU: everything that only a GPU can tell, in one command of nine minutes. Nothing needs to be installed
# but PyTorch, Triton, NumPy, SymPy and Jinja2; results go to OUT.
OUT ?= build/device
SECONDS ?= 530
device:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m tests.benchmarks.device --out $(OUT) --seconds $(SECONDS)

# The same command against a stub of the driver, in an environment of the machine's versions: some 6 GB under build/machine.
rehearsal: $(MACHINE)/ready
	env -u PYTHONPATH -u TRITON_INTERPRET $(MACHINE)/bin/python -m pytest -n 0 tests/rehearsal

$(MACHINE)/ready: .ci/machine.txt
	$(or $(shell python3.12 -c 'import sys; print(sys.executable)' 2>/dev/null),$(PYTHON)) -m venv $(MACHINE)
	$(MACHINE)/bin/python -m pip install --quiet --requirement .ci/machine.txt
	touch $@

# Times against PyTorch and the machine's limits; BENCH=--quick for the short run.
bench:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m tests.benchmarks.bench $(BENCH)

benchmark: $(READY)
	$(BIN)/pytest tests/benchmarks --benchmark-only

# Seeded faults in every stage, each against every level of validation; a run that is killed goes on where it stopped.
mutation: $(READY)
	$(BIN)/python -m tests.mutation

# Of pytorchcv single files are used; what it depends on as a whole, torchvision, is not wanted.
$(READY): pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint .ci/constraints.txt --editable '.[development]'
	$(BIN)/python -m pip install --quiet --no-deps --constraint .ci/constraints.txt pytorchcv
	touch $(READY)

clean:
	rm -rf .venv build .mypy_cache .ruff_cache .pytest_cache
