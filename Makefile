# Two commands: `make run` and `make test`. Both create the environment on their first run.

PYTHON ?= python3
BIN := .venv/bin
READY := .venv/ready
PACKAGES := spec reference codegen generated networks
LINKS := build/typing/svertka

.PHONY: run test check lint types book gpu bench benchmark mutation clean

run: $(READY)
	$(BIN)/svertka generate
	$(BIN)/svertka validate
	$(BIN)/svertka slides

test: $(READY)
	$(BIN)/pytest -n 2 --ignore tests/benchmarks

check: lint types test
	$(BIN)/svertka generate --check

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The lecture's layers as pages: open build/book/index.html.
book: $(READY)
	$(BIN)/svertka book

# The folders install under one name; the links show mypy that name.
types: $(READY)
	mkdir -p $(LINKS)
	for package in $(PACKAGES); do ln -sfn ../../../$$package $(LINKS)/$$package; done
	MYPYPATH=build/typing $(BIN)/mypy $(PACKAGES:%=-p svertka.%)

# The same equivalence tests on the GPU at hand, in float32, bfloat16 and float16; the report is kept.
gpu:
	$(or $(wildcard $(BIN)/python),$(PYTHON)) -m tests.benchmarks.gpu

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
